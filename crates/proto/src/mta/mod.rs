//! The MTA's side of a session.

mod config;
mod session;

pub use config::{MtaConfig, Timeouts};
pub use session::{MtaEvent, MtaSession, Turn};

pub use crate::edit::model::Profile;

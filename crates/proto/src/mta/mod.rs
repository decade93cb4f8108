//! The MTA's side of a session.

mod config;
mod session;

pub use config::{MtaConfig, Timeouts};
pub use session::{MtaEvent, MtaSession, Script, Turn};

pub use crate::edit::model::Profile;

//! The filter's side of a session.

mod session;
mod table;

pub use session::{FilterSession, Next, Sent, Warning};

//! Several filters behind a real Postfix, twice: each on a socket of its own, and all as one chain.
//!
//! What a chain promises is that nobody can tell the difference: the client hears the same replies, the same is
//! delivered and held, and each filter sees the same. What is the same is a [`Trace`].

mod run;
mod session;
mod site;
mod trace;

pub use self::run::{Arranged, Way, run_case};
pub use self::session::{Letter, Session};
pub use self::site::ChainSite;
pub use self::trace::Trace;

//! What the output of [`#[tamis::filter]`](macro@crate::filter) is made of: what handlers may return, and what
//! they may be given.

pub mod arguments;
pub(crate) mod attribute;
mod field;
mod outcome;

pub use field::Field;
pub use outcome::{Negotiated, Outcome, Silent};

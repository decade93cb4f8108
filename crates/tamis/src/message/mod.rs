//! The message: one model of what an MTA says about it, and of what a filter makes of it.

#[cfg(feature = "mime")]
pub mod mime;

//! The message: one model of what an MTA says about it, and of what a filter makes of it.

pub mod body;

pub use body::{
    Allowance, Body, BodyCollector, BodyError, BodyOptions, BodyReader, BodyWriter, Budget, Replacement,
};

//! What configurations are made of.

mod build;
mod units;

pub use build::{Build, Key, Path, Remark, Weight};
pub use units::{Size, Time};

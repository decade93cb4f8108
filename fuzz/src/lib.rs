//! What the fuzz targets share: how they read their input, and how they look at what a session wrote.

pub mod filter;
pub mod input;
pub mod limits;
pub mod wire;

pub use input::Input;

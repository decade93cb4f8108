//! The message as a filter author sees it: envelope, headers and body.

mod address;
mod text;

pub use address::Address;
pub use text::Text;

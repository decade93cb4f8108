//! The message as a filter author sees it: envelope, headers and body.

mod text;

pub use text::Text;

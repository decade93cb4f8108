//! The message as a filter author sees it: envelope, headers and body.

pub mod compile;
pub mod headers;
mod text;

pub use headers::{Header, HeaderError, HeaderId, HeaderValue, Headers};
pub use text::Text;

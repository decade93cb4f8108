//! The message as a filter author sees it: envelope, headers and body.

mod address;
pub mod body;
pub mod headers;
mod params;
mod text;

pub use address::Address;
pub use body::{
    Allowance, Body, BodyCollector, BodyError, BodyOptions, BodyReader, BodyWriter, Budget, Replacement,
};
pub use headers::{Header, HeaderError, HeaderId, HeaderValue, Headers};
pub use params::{BodyType, Notify, OriginalRecipient, Params, Return};
pub use text::Text;

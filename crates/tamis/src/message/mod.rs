//! The message as a filter author sees it: envelope, headers and body.

mod address;
mod params;
mod text;

pub use address::Address;
pub use params::{BodyType, Notify, OriginalRecipient, Params, Return};
pub use text::Text;

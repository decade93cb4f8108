//! The message as a filter author sees it: envelope, headers and body.
//!
//! # The envelope
//!
//! A [`Client`] hands in a message from a [`Sender`] to [`Recipient`]s; an [`Envelope`] collects them. Addresses and
//! parameters are kept as the client wrote them, with a view of what they mean: [`Address`], [`Params`]. What the MTA
//! tells beside that, from the queue id to the user that logged in, are [`Facts`].
//!
//! All of these are bytes first, since mail is: texts are [`Text`], or a `&str` that is `None` where the bytes are no
//! UTF-8 and that has the bytes beside it.
//!
//! ```
//! use tamis::Verdict;
//! use tamis::message::{Facts, Recipient, Sender};
//!
//! /// Lets users send as themselves, and anybody write to the postmaster.
//! fn check(sender: &Sender, recipient: &Recipient, facts: Facts<'_>) -> Verdict {
//!     if recipient.local_part().eq_ignore_case("postmaster") || sender.is_null() {
//!         return Verdict::Continue;
//!     }
//!     match (sender.domain(), facts.auth_user()) {
//!         (Some("example.com"), Some(user)) if sender.local_part() == user => Verdict::Continue,
//!         (Some("example.com"), _) => Verdict::reject("5.7.1", "log in as the sender"),
//!         _ => Verdict::Continue,
//!     }
//! }
//!
//! # use tamis::proto::{MacroTable, command};
//! # let macros = MacroTable::default();
//! # let path = |address: &[u8]| command::Envelope::with_args(address, [""; 0]).map(bytes::Bytes::from);
//! let (joe, jane) = (Sender::from(path(b"<joe@Example.com>")), Recipient::from(path(b"<jane@example.org>")));
//! assert_ne!(check(&joe, &jane, Facts::new(&macros)), Verdict::Continue);
//! ```

mod address;
pub mod body;
pub mod compile;
mod envelope;
mod facts;
pub mod headers;
#[cfg(feature = "mime")]
pub mod mime;
mod params;
mod text;

pub use address::Address;
pub(crate) use body::Budgets;
pub use body::{
    Allowance, Body, BodyCollector, BodyError, BodyOptions, BodyReader, BodyWriter, Budget, Replacement,
};
pub use envelope::{Client, Envelope, Recipient, Rejection, Sender};
pub use facts::{Fact, Facts};
#[cfg(feature = "mime")]
pub use headers::Mailbox;
pub use headers::{Header, HeaderError, HeaderId, HeaderValue, Headers};
pub use params::{BodyType, Notify, OriginalRecipient, Params, Return};
pub use text::Text;

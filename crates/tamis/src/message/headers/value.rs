//! [`HeaderValue`]: what a field can be given for a value.

use std::borrow::Cow;

use bytes::Bytes;
use tamis_proto::edit::validate::{self, Invalid, Item};

use super::Header;
use crate::message::Text;

/// A value for a header field.
///
/// Made of text it is checked when it is used: it must not have a NUL, a bare CR or a line feed that is not
/// folding, so that it cannot end the field early; CRLF before a continuation line becomes LF. Made of a [`Header`]
/// it is written back as it came, whatever it is, since the MTA has let it pass once.
///
/// # Examples
///
/// ```
/// use tamis::message::{HeaderError, HeaderValue, Headers};
/// # let mut headers = Headers::new();
/// # headers.allow(tamis::Actions::ADD_HEADERS);
/// # headers.append("Subject", "hello")?;
/// let subject = HeaderValue::from(headers.first("Subject").unwrap());
/// headers.append("X-Original-Subject", subject)?;
/// assert!(headers.append("X-Client", "me\nBcc: you@example.com").is_err());
/// # Ok::<(), HeaderError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderValue {
    text: Text,
    space: Space,
}

/// What is between the colon and the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Space {
    /// Not said yet: the text is an author's.
    Open,
    /// A space that is not part of the text.
    Implied,
    /// Nothing: the text has all there is.
    Own,
}

impl HeaderValue {
    /// A value that was checked before.
    pub(super) fn settled(text: Text, implied_space: bool) -> Self {
        Self { text, space: if implied_space { Space::Implied } else { Space::Own } }
    }

    /// Checks it, and settles what an author's text means for the space after the colon.
    pub(super) fn checked(self, own_leading_space: bool) -> Result<Self, Invalid> {
        if self.space != Space::Open {
            // An MTA cannot have sent a NUL, but a field may have been made by other means.
            return match self.text.as_bytes().iter().position(|byte| *byte == 0) {
                Some(at) => Err(Invalid::Byte { item: Item::HeaderValue, byte: 0, at }),
                None => Ok(self),
            };
        }
        let folded = match validate::header_value(self.text.as_bytes())? {
            Cow::Borrowed(_) => None,
            Cow::Owned(folded) => Some(folded),
        };
        let text = folded.map_or(self.text, Text::from);
        Ok(Self { text, space: if own_leading_space { Space::Own } else { Space::Implied } })
    }

    pub(super) fn text(&self) -> &Text {
        &self.text
    }

    pub(super) fn into_text(self) -> Text {
        self.text
    }

    pub(super) fn implied_space(&self) -> bool {
        self.space == Space::Implied
    }

    /// Whether an MTA could take a change to it for a removal.
    pub(super) fn is_blank(&self) -> bool {
        self.text.as_bytes().trim_ascii().is_empty()
    }
}

impl From<Header<'_>> for HeaderValue {
    fn from(header: Header<'_>) -> Self {
        Self::settled(header.value().clone(), header.implied_space())
    }
}

impl From<Text> for HeaderValue {
    fn from(text: Text) -> Self {
        Self { text, space: Space::Open }
    }
}

macro_rules! from_text {
    ($([$source:ty] $bytes:expr),* $(,)?) => {$(
        impl From<$source> for HeaderValue {
            fn from(text: $source) -> Self {
                let bytes: fn($source) -> Bytes = $bytes;
                Text::from(bytes(text)).into()
            }
        }
    )*};
}

from_text!(
    [&str] |text| Bytes::copy_from_slice(text.as_bytes()),
    [&String] |text| Bytes::copy_from_slice(text.as_bytes()),
    [&[u8]] Bytes::copy_from_slice,
    [&Text] |text| text.clone().into_bytes(),
    [String] Bytes::from,
    [Vec<u8>] Bytes::from,
    [Bytes] |bytes| bytes,
);

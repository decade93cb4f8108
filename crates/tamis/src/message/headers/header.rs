//! [`Header`]: one field, to be read.

use std::borrow::Cow;
use std::fmt;

use super::{Field, HeaderId, HeaderValue};
use crate::message::Text;

/// A header field of [`Headers`](super::Headers).
#[derive(Clone, Copy)]
pub struct Header<'a> {
    id: HeaderId,
    name: &'a Text,
    value: &'a Text,
    implied_space: bool,
}

impl<'a> Header<'a> {
    pub(super) fn new(id: HeaderId, field: &'a Field) -> Self {
        Self { id, name: &field.name, value: &field.value, implied_space: field.implied_space }
    }

    pub(super) fn with_value(self, value: &'a HeaderValue) -> Self {
        Self { value: value.text(), implied_space: value.implied_space(), ..self }
    }

    /// What edits know the field by.
    pub fn id(&self) -> HeaderId {
        self.id
    }

    /// The name as the message spells it.
    pub fn name(&self) -> &'a Text {
        self.name
    }

    /// Whether this is its name, in any case.
    pub fn is(&self, name: impl AsRef<[u8]>) -> bool {
        self.name.eq_ignore_case(name)
    }

    /// The value as it came over the wire: a line feed stands before each continuation line, and the space after
    /// the colon is part of it if the filter declared that it deals with it.
    pub fn value(&self) -> &'a Text {
        self.value
    }

    /// The value in one line: line breaks are removed, and the white space around it.
    pub fn unfolded(&self) -> Text {
        let value = self.value.as_bytes();
        if value.contains(&b'\n') {
            let line =
                value.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
            return line.collect::<Vec<_>>().concat().trim_ascii().to_vec().into();
        }
        self.value.clone().into_bytes().slice_ref(value.trim_ascii()).into()
    }

    /// The value with the space after the colon, as the message has it.
    pub(crate) fn spaced_value(&self) -> Cow<'a, [u8]> {
        let value = self.value.as_bytes();
        if self.implied_space { Cow::Owned([b" ", value].concat()) } else { Cow::Borrowed(value) }
    }

    /// Whether an MTA would take a change to this value for a removal.
    pub(crate) fn is_blank(&self) -> bool {
        self.value.as_bytes().trim_ascii().is_empty()
    }

    pub(crate) fn implied_space(&self) -> bool {
        self.implied_space
    }
}

/// Writes the field as the message has it, with LF line ends and U+FFFD for what is not UTF-8.
impl fmt::Display for Header<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let space = if self.implied_space { " " } else { "" };
        write!(f, "{}:{space}{}", self.name, self.value)
    }
}

impl fmt::Debug for Header<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let space = if self.implied_space { " " } else { "" };
        write!(f, "{}:{space}{}", self.name.escaped(), self.value.escaped())
    }
}

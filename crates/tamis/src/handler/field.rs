//! One header field, as it arrives.

use bytes::Bytes;
use tamis_proto::command::Header;

use crate::message::Text;

/// A header field as the MTA sent it.
///
/// ```
/// # use tamis::{handler::Field, proto::command::Header};
/// # let field = Header { name: "Subject".into(), value: "a folded\n line".into(), implied_space: true };
/// # let field = Field::from(field);
/// assert!(field.is("subject"));
/// assert_eq!(field.value(), "a folded\n line");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    name: Text,
    value: Text,
}

impl Field {
    /// The name, as the message has it.
    pub fn name(&self) -> &Text {
        &self.name
    }

    /// Everything after the colon, which may be nothing. Folded lines are as they were, with LF between them. The
    /// space after the colon is part of it only if `leading_space` was asked for and the MTA can.
    pub fn value(&self) -> &Text {
        &self.value
    }

    /// Whether it has this name, whatever the case.
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_case(name)
    }
}

impl From<Header<Bytes>> for Field {
    fn from(field: Header<Bytes>) -> Self {
        Self { name: field.name.into(), value: field.value.into() }
    }
}

//! One header field, as it arrives.

use bytes::Bytes;
use tamis_proto::command::Header;

/// A header field as the MTA sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field(Header<Bytes>);

impl Field {
    /// The name, as the message has it.
    pub fn name(&self) -> &[u8] {
        &self.0.name
    }

    /// The value.
    pub fn value(&self) -> &[u8] {
        &self.0.value
    }
}

impl From<Header<Bytes>> for Field {
    fn from(field: Header<Bytes>) -> Self {
        Self(field)
    }
}

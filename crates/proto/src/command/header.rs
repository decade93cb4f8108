//! A header field (`L`, spec §2.8).

use std::borrow::Cow;

use crate::codec::{Put, Reader};
use crate::error::Fault;

/// One header field, folded lines and all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<B> {
    /// The field's name as the message has it, never empty.
    pub name: B,
    /// Everything after the colon; a bare LF precedes each continuation line. May be empty.
    pub value: B,
    /// A space stands between the colon and the value that is not part of `value`: the MTA took it away.
    /// (Or there was none at all: without negotiated leading space nobody can tell.) If not, `value` has
    /// everything; [`MtaSession::send`](crate::MtaSession::send) does what was agreed on with either.
    pub implied_space: bool,
}

impl<'b> Header<&'b [u8]> {
    pub(super) fn decode(reader: &mut Reader<'b>) -> Result<Self, Fault> {
        let name = reader.cstr()?;
        // libmilter looks for the NUL from the second byte on and takes a NUL for a name (spec §2.8).
        if name.is_empty() {
            return Err(Fault::EmptyName);
        }
        if reader.is_empty() {
            return Err(Fault::MissingString);
        }
        Ok(Self { name, value: reader.cstr()?, implied_space: false })
    }
}

impl<B: AsRef<[u8]>> Header<B> {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.cstr(self.name.as_ref());
        out.cstr(self.value.as_ref());
    }

    /// The value with the space after the colon, as the message has it.
    pub fn spaced_value(&self) -> Cow<'_, [u8]> {
        let value = self.value.as_ref();
        if self.implied_space { Cow::Owned([b" ", value].concat()) } else { Cow::Borrowed(value) }
    }
}

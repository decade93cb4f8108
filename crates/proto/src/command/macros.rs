//! Macros on the wire (`D`, spec §2.14).

use crate::codec::{Put, strings};
use crate::command::Kind;
use crate::error::Fault;

/// Macros that belong to a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Macros<B> {
    /// The letter of the command, also one that does not exist.
    pub code: u8,
    /// Names and values as on the wire.
    pub(crate) list: B,
}

impl<'b> Macros<&'b [u8]> {
    pub(super) fn decode(payload: &'b [u8]) -> Result<Self, Fault> {
        let (code, list) = payload.split_first().ok_or(Fault::MissingPayload)?;
        Ok(Self { code: *code, list })
    }
}

impl<B: AsRef<[u8]>> Macros<B> {
    /// The command they belong to, if it exists.
    pub fn command(&self) -> Option<Kind> {
        Kind::from_code(self.code)
    }

    /// Names and values in the MTA's order; a name without a value is left out.
    pub fn pairs(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        pairs(self.list.as_ref())
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.u8(self.code);
        out.extend_from_slice(self.list.as_ref());
    }
}

impl Macros<Vec<u8>> {
    /// Macros for a command. Pairs with an empty name or a NUL in them are left out.
    pub fn new<N: AsRef<[u8]>, V: AsRef<[u8]>>(
        command: Kind,
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        let mut list = Vec::new();
        for (name, value) in pairs {
            let (name, value) = (name.as_ref(), value.as_ref());
            if !name.is_empty() && !name.contains(&0) && !value.contains(&0) {
                list.cstr(name);
                list.cstr(value);
            }
        }
        Self { code: command.code(), list }
    }
}

/// Splits a list into names and values.
pub(crate) fn pairs(list: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut strings = strings(list);
    std::iter::from_fn(move || Some((strings.next()?, strings.next()?)))
}

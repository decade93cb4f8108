//! Sender and recipient (`M`, `R`, spec §2.5).

use crate::codec::{Put, Reader, strings};
use crate::error::Fault;

/// An address of the envelope with its ESMTP parameters, as the client gave them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope<B> {
    /// The path, mostly with angle brackets: `<user@example.com>`, `<>`, but also `user@example.com`.
    pub address: B,
    /// The parameters as on the wire: each with a NUL behind it.
    args: B,
}

impl<B> Envelope<B> {
    /// Changes what holds the bytes.
    pub fn map<C>(self, mut to: impl FnMut(B) -> C) -> Envelope<C> {
        Envelope { address: to(self.address), args: to(self.args) }
    }
}

impl<B: AsRef<[u8]>> Envelope<B> {
    /// The ESMTP parameters in the client's order, such as `SIZE=1000`; duplicates and everything else kept.
    pub fn args(&self) -> impl Iterator<Item = &[u8]> + Clone {
        strings(self.args.as_ref())
    }

    /// The value of the first parameter of a name, compared without case: `Some(b"")` for one without `=`.
    pub fn arg(&self, name: &str) -> Option<&[u8]> {
        self.args().find_map(|arg| {
            let (key, value) = match memchr::memchr(b'=', arg) {
                Some(at) => (&arg[..at], &arg[at + 1..]),
                None => (arg, &b""[..]),
            };
            key.eq_ignore_ascii_case(name.as_bytes()).then_some(value)
        })
    }

    pub(crate) fn payload_len(&self) -> usize {
        self.address.as_ref().len() + 1 + self.args.as_ref().len()
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.cstr(self.address.as_ref());
        out.extend_from_slice(self.args.as_ref());
    }
}

impl<'b> Envelope<&'b [u8]> {
    /// An address without parameters.
    pub const fn new(address: &'b [u8]) -> Self {
        Self { address, args: b"" }
    }

    pub(super) fn decode(payload: &'b [u8]) -> Result<Self, Fault> {
        let mut reader = Reader(payload);
        let address = reader.cstr()?;
        // libmilter drops a last parameter without its NUL; nothing that drops bytes silently here.
        if !reader.is_empty() && !reader.0.ends_with(&[0]) {
            return Err(Fault::Unterminated);
        }
        Ok(Self { address, args: reader.0 })
    }
}

impl Envelope<Vec<u8>> {
    /// An address with parameters. A NUL ends a parameter, so what follows one is left out.
    pub fn with_args<A: AsRef<[u8]>>(address: &[u8], args: impl IntoIterator<Item = A>) -> Self {
        let mut wire = Vec::new();
        for arg in args {
            let arg = arg.as_ref();
            wire.cstr(memchr::memchr(0, arg).map_or(arg, |end| &arg[..end]));
        }
        Self { address: address.to_vec(), args: wire }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_keep_order_duplicates_and_equal_signs() {
        let envelope = Envelope::decode(b"<a@b>\0SIZE=1\0AUTH=<x=y>\0size=2\0SMTPUTF8\0").unwrap();
        assert_eq!(envelope.address, b"<a@b>");
        let args: Vec<_> = envelope.args().collect();
        assert_eq!(args, [&b"SIZE=1"[..], b"AUTH=<x=y>", b"size=2", b"SMTPUTF8"]);
        assert_eq!(envelope.arg("Size"), Some(&b"1"[..]));
        assert_eq!(envelope.arg("auth"), Some(&b"<x=y>"[..]));
        assert_eq!(envelope.arg("smtputf8"), Some(&b""[..]));
        assert_eq!(envelope.arg("body"), None);
    }

    #[test]
    fn a_last_parameter_without_nul_is_an_error() {
        assert_eq!(Envelope::decode(b"<a@b>\0SIZE=1"), Err(Fault::Unterminated));
        assert_eq!(Envelope::decode(b"<a@b>"), Err(Fault::Unterminated));
        assert_eq!(Envelope::decode(b"\0").unwrap().address, b"");
    }
}

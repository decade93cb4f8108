//! Reading and writing the primitive values of the wire: integers and NUL-terminated strings.

use memchr::memchr;

use crate::error::Fault;

/// Reads values off the front of a payload.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'b>(pub(crate) &'b [u8]);

impl<'b> Reader<'b> {
    pub(crate) fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Fault> {
        let (first, rest) = self.0.split_first().ok_or(Fault::Truncated)?;
        self.0 = rest;
        Ok(*first)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Fault> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Fault> {
        self.array().map(u32::from_be_bytes)
    }

    /// A string without its NUL; the NUL must be there.
    pub(crate) fn cstr(&mut self) -> Result<&'b [u8], Fault> {
        let end = memchr(0, self.0).ok_or(Fault::Unterminated)?;
        let text = &self.0[..end];
        self.0 = &self.0[end + 1..];
        Ok(text)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let (first, rest) = self.0.split_first_chunk().ok_or(Fault::Truncated)?;
        self.0 = rest;
        Ok(*first)
    }
}

/// The first four bytes as a number, if they are there.
pub(crate) fn peek_u32(buf: &[u8]) -> Option<u32> {
    buf.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

/// Iterates the NUL-terminated strings of `bytes`; what follows the last NUL is left out.
pub(crate) fn strings(bytes: &[u8]) -> impl Iterator<Item = &[u8]> + Clone {
    let mut rest = Reader(bytes);
    std::iter::from_fn(move || rest.cstr().ok())
}

/// Appends one frame whose payload `write` appends.
pub(crate) fn put_frame(out: &mut Vec<u8>, code: u8, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0, 0, 0, 0, code]);
    write(out);
    let length =
        u32::try_from(out.len() - start - 4).expect("senders check payloads against limits below 4 GiB");
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

/// The five bytes that precede a payload of `len` bytes which is sent from elsewhere.
pub(crate) fn head(code: u8, len: usize) -> [u8; 5] {
    let length = u32::try_from(len + 1).expect("senders check payloads against limits below 4 GiB");
    let [a, b, c, d] = length.to_be_bytes();
    [a, b, c, d, code]
}

/// Appends values to a payload.
pub(crate) trait Put {
    fn u8(&mut self, value: u8);
    fn u16(&mut self, value: u16);
    fn u32(&mut self, value: u32);
    fn cstr(&mut self, text: &[u8]);
}

impl Put for Vec<u8> {
    fn u8(&mut self, value: u8) {
        self.push(value);
    }

    fn u16(&mut self, value: u16) {
        self.extend_from_slice(&value.to_be_bytes());
    }

    fn u32(&mut self, value: u32) {
        self.extend_from_slice(&value.to_be_bytes());
    }

    /// A NUL inside would end the string early on the other side; callers refuse it before.
    fn cstr(&mut self, text: &[u8]) {
        debug_assert!(!text.contains(&0), "string with a NUL inside");
        self.extend_from_slice(text);
        self.push(0);
    }
}

//! The message: envelope, header fields, body.

use std::borrow::Cow;

use bytes::Bytes;
use memchr::{memchr, memchr_iter};

use super::body::{Body, crlf};

/// An envelope address with its ESMTP parameters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Path {
    /// The address without angle brackets; empty for the null sender.
    pub address: Bytes,
    /// The parameters, as `NOTIFY=NEVER`, one each.
    pub args: Vec<Bytes>,
}

impl Path {
    /// Takes an address, with or without angle brackets, that has no parameters.
    pub fn new(address: impl AsRef<[u8]>) -> Self {
        Self { address: Bytes::copy_from_slice(without_brackets(address.as_ref())), args: Vec::new() }
    }

    /// Takes an address and its parameters.
    pub fn with_args<A: AsRef<[u8]>>(address: impl AsRef<[u8]>, args: impl IntoIterator<Item = A>) -> Self {
        let args = args.into_iter().map(|arg| Bytes::copy_from_slice(arg.as_ref())).collect();
        Self { args, ..Self::new(address) }
    }

    /// The value of a parameter, if it is there: `NEVER` for `NOTIFY`.
    pub fn arg(&self, keyword: &str) -> Option<&[u8]> {
        self.args.iter().find_map(|arg| arg_value(arg, keyword))
    }
}

/// The value in `KEYWORD=value`.
pub(super) fn arg_value<'a>(arg: &'a [u8], keyword: &str) -> Option<&'a [u8]> {
    let (name, rest) = arg.split_at_checked(keyword.len())?;
    if name.eq_ignore_ascii_case(keyword.as_bytes()) { rest.strip_prefix(b"=") } else { None }
}

pub(super) fn without_brackets(address: &[u8]) -> &[u8] {
    let address = address.trim_ascii();
    address.strip_prefix(b"<").and_then(|inner| inner.strip_suffix(b">")).unwrap_or(address)
}

/// A header field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// The name, without the colon.
    pub name: Bytes,
    /// All after the colon, the leading space included; a bare LF stands before each continuation line.
    pub value: Bytes,
}

impl Field {
    /// Makes a field from a name and a value as they would stand in a message (`Subject`, ` hello`).
    pub fn new(name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        Self { name: Bytes::copy_from_slice(name.as_ref()), value: Bytes::copy_from_slice(value.as_ref()) }
    }

    /// The value as a filter is sent it: with `HDR_LEADSPC` (`verbatim`) all of it, else without one leading space.
    pub fn wire_value(&self, verbatim: bool) -> Bytes {
        let strip = !verbatim && self.value.first() == Some(&b' ');
        self.value.slice(usize::from(strip)..)
    }
}

/// A message with its envelope.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Envelope sender.
    pub sender: Path,
    /// Envelope recipients.
    pub recipients: Vec<Path>,
    /// Header fields from the top, those of the MTA itself included.
    pub headers: Vec<Field>,
    /// Body with CRLF line ends.
    pub body: Body,
    /// Why the message is held, if it is.
    pub quarantine: Option<Bytes>,
}

impl Message {
    /// Reads a message text with CRLF or LF line ends; the envelope is left empty.
    ///
    /// Nothing is refused: a line that is neither a field nor a continuation ends the header and begins the body.
    /// White space between a name and its colon is dropped.
    pub fn parse(raw: &[u8]) -> Self {
        Self::from_bytes(&Bytes::copy_from_slice(raw))
    }

    /// Like [`parse`](Self::parse), sharing the memory of `raw` where line ends need no change.
    pub fn from_bytes(raw: &Bytes) -> Self {
        let mut headers = Vec::new();
        let mut at = 0;
        while let Some((name_len, colon)) = field_start(&raw[at..]) {
            let end = field_end(raw, at);
            headers.push(Field {
                name: raw.slice(at..at + name_len),
                value: unfolded(&raw.slice(at + colon + 1..end)),
            });
            at = end;
        }
        let rest = &raw[at..];
        let blank = if rest.starts_with(b"\r\n") { 2 } else { usize::from(rest.starts_with(b"\n")) };
        let body = raw.slice(at + blank..);
        let body = match crlf(&body, false) {
            Cow::Borrowed(_) => body,
            Cow::Owned(changed) => changed.into(),
        };
        Self { headers, body: body.into(), ..Self::default() }
    }

    /// Writes header, empty line and body, with CRLF line ends.
    ///
    /// A CR that stands before the LF of a folded value comes out as a stray CR, as with both MTAs.
    pub fn to_bytes(&self) -> Vec<u8> {
        let header: usize = self.headers.iter().map(|field| field.name.len() + field.value.len() + 8).sum();
        let mut out = Vec::with_capacity(header + 2 + self.body.len());
        for field in &self.headers {
            out.extend_from_slice(&field.name);
            out.push(b':');
            let mut done = 0;
            for at in memchr_iter(b'\n', &field.value) {
                out.extend_from_slice(&field.value[done..at]);
                out.extend_from_slice(b"\r\n");
                done = at + 1;
            }
            out.extend_from_slice(&field.value[done..]);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"\r\n");
        for chunk in self.body.chunks() {
            out.extend_from_slice(chunk);
        }
        out
    }
}

/// The length of the name at the start of a line, and where the colon is; white space may stand between them.
pub(super) fn field_start(line: &[u8]) -> Option<(usize, usize)> {
    let name = line.iter().take_while(|byte| is_name_byte(**byte)).count();
    let space = line[name..].iter().take_while(|byte| is_blank(**byte)).count();
    (name > 0 && line.get(name + space) == Some(&b':')).then_some((name, name + space))
}

pub(super) fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

fn is_name_byte(byte: u8) -> bool {
    // 8-bit names are no names for an RFC, but MTAs pass them on.
    byte > b' ' && byte != b':' && byte != 0x7f
}

/// Where the field that begins at `at` ends, its last line end included.
fn field_end(raw: &[u8], at: usize) -> usize {
    memchr_iter(b'\n', &raw[at..])
        .map(|feed| at + feed + 1)
        .find(|next| !raw.get(*next).is_some_and(|byte| is_blank(*byte)))
        .unwrap_or(raw.len())
}

/// Removes the last line end and makes the inner ones LF.
fn unfolded(value: &Bytes) -> Bytes {
    let mut end = value.len();
    if value.last() == Some(&b'\n') {
        end -= if value.ends_with(b"\r\n") { 2 } else { 1 };
    }
    let value = value.slice(..end);
    if memchr(b'\n', &value).is_none() {
        return value;
    }
    let mut out = Vec::with_capacity(value.len());
    let mut lines = value.split(|byte| *byte == b'\n').peekable();
    while let Some(line) = lines.next() {
        if lines.peek().is_some() {
            out.extend_from_slice(line.strip_suffix(b"\r").unwrap_or(line));
            out.push(b'\n');
        } else {
            out.extend_from_slice(line);
        }
    }
    out.into()
}

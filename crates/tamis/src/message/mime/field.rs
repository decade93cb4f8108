//! Header fields of a part: found in its bytes, or kept one by one once they are edited.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use bytes::Bytes;

use super::tree::{PartId, Span, Text, Tree};
use super::words::{decode, unfold};

/// A header field of a part.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    name: &'a [u8],
    value: &'a [u8],
}

impl<'a> Field<'a> {
    /// The name as it is written; empty where a line of the header is no field.
    pub const fn name(&self) -> &'a [u8] {
        self.name
    }

    /// Whether this is its name; case does not matter.
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }

    /// Everything behind the colon, folded as it came.
    pub const fn raw(&self) -> &'a [u8] {
        self.value
    }

    /// The value in one line, without white space around it.
    pub fn value(&self) -> Cow<'a, [u8]> {
        match unfold(self.value) {
            Cow::Borrowed(value) => Cow::Borrowed(value.trim_ascii()),
            Cow::Owned(value) => Cow::Owned(value.trim_ascii().to_vec()),
        }
    }

    /// The value as text in one line, with encoded words (RFC 2047) decoded.
    #[doc(alias = "parse_header")]
    pub fn text(&self) -> String {
        decode(&self.value())
    }
}

/// The field as text, for people.
impl fmt::Debug for Field<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}:{}\"", self.name.escape_ascii(), self.value.escape_ascii())
    }
}

/// A field of a header that is edited.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) name: Bytes,
    pub(super) value: Bytes,
    /// What stands for it in the message, line end included.
    pub(super) text: Text,
    /// Its place in the header as it was read.
    pub(super) origin: Option<usize>,
}

impl Entry {
    /// Makes a field that was not there before.
    pub(super) fn new(name: &[u8], value: &[u8], eol: &str) -> Self {
        let value = Bytes::copy_from_slice(value);
        Self {
            name: Bytes::copy_from_slice(name),
            text: Text::Made(line(name, &value, eol)),
            value,
            origin: None,
        }
    }

    pub(super) fn field(&self) -> Field<'_> {
        Field { name: &self.name, value: &self.value }
    }
}

/// A field as it stands in a message; its value may be folded with LF, as milters have it.
pub(super) fn line(name: &[u8], value: &[u8], eol: &str) -> Bytes {
    let mut text = Vec::with_capacity(name.len() + value.len() + 4);
    text.extend_from_slice(name);
    text.push(b':');
    if !matches!(value.first(), None | Some(b' ' | b'\t' | b'\r' | b'\n')) {
        text.push(b' ');
    }
    for line in value.split_inclusive(|byte| *byte == b'\n') {
        match line.strip_suffix(b"\n") {
            Some(line) => {
                text.extend_from_slice(line.strip_suffix(b"\r").unwrap_or(line));
                text.extend_from_slice(eol.as_bytes());
            }
            None => text.extend_from_slice(line),
        }
    }
    text.extend_from_slice(eol.as_bytes());
    text.into()
}

/// The fields of a part, in order.
#[derive(Clone, Debug)]
pub struct Fields<'a>(Inner<'a>);

#[derive(Clone, Debug)]
enum Inner<'a> {
    Read(Split<'a>),
    Edited(std::slice::Iter<'a, Entry>),
}

impl<'a> Fields<'a> {
    pub(super) const fn read(head: &'a [u8]) -> Self {
        Self(Inner::Read(Split { head, at: 0 }))
    }

    pub(super) fn edited(entries: &'a [Entry]) -> Self {
        Self(Inner::Edited(entries.iter()))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        match &mut self.0 {
            Inner::Read(split) => {
                let found = split.next()?;
                Some(Field { name: &split.head[found.name], value: &split.head[found.value] })
            }
            Inner::Edited(entries) => Some(entries.next()?.field()),
        }
    }
}

/// Where a field is in its header.
struct Found {
    whole: Range<usize>,
    name: Range<usize>,
    value: Range<usize>,
}

/// Splits a header, which has no empty line, into fields.
#[derive(Clone, Debug)]
struct Split<'a> {
    head: &'a [u8],
    at: usize,
}

impl Iterator for Split<'_> {
    type Item = Found;

    fn next(&mut self) -> Option<Found> {
        let start = self.at;
        if start == self.head.len() {
            return None;
        }
        loop {
            self.at =
                memchr::memchr(b'\n', &self.head[self.at..]).map_or(self.head.len(), |end| self.at + end + 1);
            if !matches!(self.head.get(self.at), Some(b' ' | b'\t')) {
                break;
            }
        }
        let text = &self.head[start..self.at];
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        let first_line = memchr::memchr(b'\n', text).unwrap_or(text.len());
        let colon = memchr::memchr(b':', &text[..first_line]).filter(|_| !is_space(text[0]));
        let name = colon.map_or(0, |colon| text[..colon].trim_ascii_end().len());
        let value = if name == 0 { 0 } else { colon.map_or(0, |colon| colon + 1) };
        Some(Found {
            whole: start..self.at,
            name: start..start + name,
            value: start + value..start + text.len(),
        })
    }
}

const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

impl Tree {
    /// The fields of a part as they are now.
    pub(super) fn fields(&self, id: PartId) -> Fields<'_> {
        let node = self.node(id);
        match &node.fields {
            Some(entries) => Fields::edited(entries),
            None => Fields::read(self.bytes(node.head)),
        }
    }

    /// The fields of a part, to be edited and put back.
    pub(super) fn entries(&self, id: PartId) -> Vec<Entry> {
        let node = self.node(id);
        match &node.fields {
            Some(entries) => entries.clone(),
            None => self.split(node.head),
        }
    }

    /// The fields of a header as it was read.
    pub(super) fn split(&self, head: Span) -> Vec<Entry> {
        let slice =
            |range: Range<usize>| Span::new(head.source, head.start + range.start..head.start + range.end);
        let found = Split { head: self.bytes(head), at: 0 }.enumerate();
        found
            .map(|(at, found)| Entry {
                name: self.slice(slice(found.name)),
                value: self.slice(slice(found.value)),
                text: Text::Read(slice(found.whole)),
                origin: Some(at),
            })
            .collect()
    }
}

//! Where the parts of a path are.

use std::borrow::Cow;
use std::mem::take;
use std::ops::Range;

/// Positions of the parts of a path. Every byte is looked at a fixed number of times.
#[derive(Clone, Debug)]
pub(super) struct Spans {
    /// What is between the brackets.
    pub(super) path: Range<usize>,
    /// The source route, without its colon.
    pub(super) route: Option<Range<usize>>,
    /// What is before the `@` that counts; all of it where there is none.
    pub(super) local: Range<usize>,
    /// What is behind it; empty and at the end of the path where there is none.
    domain: Range<usize>,
    /// What is behind the closing bracket starts here.
    pub(super) end: usize,
}

impl Spans {
    pub(super) fn of(raw: &[u8]) -> Self {
        let (path, end) = path(raw);
        let route = route_len(&raw[path.clone()]).map(|len| path.start..path.start + len);
        let start = route.as_ref().map_or(path.start, |route| route.end + 1);
        let (local, domain) = match at_sign(&raw[start..path.end]) {
            Some(at) => (start..start + at, start + at + 1..path.end),
            None => (start..path.end, path.end..path.end),
        };
        Self { path, route, local, domain, end }
    }

    pub(super) fn domain<'a>(&self, raw: &'a [u8]) -> &'a [u8] {
        &raw[self.domain.clone()]
    }

    pub(super) fn mailbox(&self) -> Range<usize> {
        self.local.start..self.domain.end
    }

    /// The local part without quotes and backslashes; as it is if a quote is left open.
    pub(super) fn unquoted_local<'a>(&self, raw: &'a [u8]) -> Cow<'a, [u8]> {
        let local = &raw[self.local.clone()];
        if !protects(local) || !is_balanced(local) {
            return Cow::Borrowed(local);
        }
        let mut escaped = false;
        let mut unquoted: Vec<u8> =
            local.iter().copied().filter(|byte| take(&mut escaped) || !marks(*byte, &mut escaped)).collect();
        if escaped {
            // There is nothing behind it that it could protect.
            unquoted.push(b'\\');
        }
        Cow::Owned(unquoted)
    }
}

/// Whether a byte is a quote or a backslash, which protect others instead of meaning themselves.
fn marks(byte: u8, escaped: &mut bool) -> bool {
    *escaped = byte == b'\\';
    matches!(byte, b'"' | b'\\')
}

/// What is between the brackets, without white space around it, and where what is behind them starts.
fn path(raw: &[u8]) -> (Range<usize>, usize) {
    let start = raw.len() - raw.trim_ascii_start().len();
    let Some(inner) = raw[start..].strip_prefix(b"<") else {
        return (trimmed(raw, start..raw.len()), raw.len());
    };
    let start = start + 1;
    let close = if protects(inner) {
        unprotected(inner).find(|(_, byte)| *byte == b'>').map(|(at, _)| at)
    } else {
        memchr::memchr(b'>', inner)
    };
    match close.or_else(|| last(b'>', inner)) {
        Some(close) => (trimmed(raw, start..start + close), start + close + 1),
        None => (trimmed(raw, start..raw.len()), raw.len()),
    }
}

fn trimmed(raw: &[u8], range: Range<usize>) -> Range<usize> {
    let end = range.start + raw[range.clone()].trim_ascii_end().len();
    let start = end - raw[range.start..end].trim_ascii_start().len();
    start..end
}

/// Length of the source route that a path begins with: `@`, then up to the first colon that is in no address literal.
fn route_len(path: &[u8]) -> Option<usize> {
    let mut literal = false;
    for (at, byte) in path.iter().enumerate() {
        match byte {
            b'@' => {}
            _ if at == 0 => return None,
            b'[' => literal = true,
            b']' => literal = false,
            b'"' | b'\\' => return None,
            b':' if !literal => return Some(at),
            _ => {}
        }
    }
    None
}

/// The last `@` that is not quoted. Where a quote is left open, quotes mean nothing.
fn at_sign(mailbox: &[u8]) -> Option<usize> {
    if protects(mailbox) && is_balanced(mailbox) {
        unprotected(mailbox).filter(|(_, byte)| *byte == b'@').map(|(at, _)| at).last()
    } else {
        last(b'@', mailbox)
    }
}

fn last(wanted: u8, text: &[u8]) -> Option<usize> {
    memchr::memrchr(wanted, text)
}

/// Whether there is anything in it that protects other bytes, which is rare.
fn protects(text: &[u8]) -> bool {
    memchr::memchr2(b'"', b'\\', text).is_some()
}

/// Whether each quote that is opened is closed.
fn is_balanced(text: &[u8]) -> bool {
    let (mut quoted, mut escaped) = (false, false);
    for byte in text {
        if !take(&mut escaped) {
            marks(*byte, &mut escaped);
            quoted ^= *byte == b'"';
        }
    }
    !quoted
}

/// The bytes that no quotes and no backslash protect, and their positions.
fn unprotected(text: &[u8]) -> impl Iterator<Item = (usize, u8)> + '_ {
    let (mut quoted, mut escaped) = (false, false);
    text.iter().copied().enumerate().filter(move |(_, byte)| {
        if take(&mut escaped) {
            return false;
        }
        quoted ^= *byte == b'"';
        !marks(*byte, &mut escaped) && !quoted
    })
}

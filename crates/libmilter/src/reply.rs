//! Replies that a program sets for its next refusal (`smfi_setreply`, `smfi_setmlreply`, spec §9.4).

use crate::descr::{Status, status};

/// The text of a reply, as it goes out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredReply(Box<[u8]>);

/// Longest line (`MAXREPLYLEN`).
const MAX_LINE: usize = 980;
/// Most lines (`MAXREPLIES`).
const MAX_LINES: usize = 32;

impl StoredReply {
    /// A reply of one line, or none at all but its code.
    pub(crate) fn line(code: &[u8], enhanced: Option<&[u8]>, text: Option<&[u8]>) -> Option<Self> {
        let valid = is_code(code)
            && enhanced.is_none_or(is_enhanced)
            && text.is_none_or(|text| text.len() <= MAX_LINE && !has_line_end(text));
        valid.then(|| {
            let words: Vec<&[u8]> = enhanced.into_iter().chain(text).collect();
            Self([code, b" ", &words.join(&b' ')].concat().into())
        })
    }

    /// A reply of up to 32 lines.
    pub(crate) fn lines(code: &[u8], enhanced: Option<&[u8]>, lines: &[&[u8]]) -> Option<Self> {
        let valid = is_code(code)
            && enhanced.is_none_or(is_enhanced)
            && lines.len() <= MAX_LINES
            && lines.iter().all(|line| line.len() <= MAX_LINE && !has_line_end(line));
        if !valid {
            return None;
        }
        let enhanced = enhanced.unwrap_or(if code[0] == b'4' { b"4.0.0" } else { b"5.0.0" });
        if lines.is_empty() {
            return Some(Self([code, b" ", enhanced].concat().into()));
        }
        let mut wire = Vec::new();
        for (number, line) in lines.iter().enumerate() {
            let is_last = number + 1 == lines.len();
            wire.extend_from_slice(code);
            wire.push(if is_last { b' ' } else { b'-' });
            wire.extend_from_slice(enhanced);
            wire.push(b' ');
            wire.extend_from_slice(line);
            wire.extend_from_slice(if is_last { b"" } else { b"\r\n" });
        }
        Some(Self(wire.into()))
    }

    /// Whether it is what this status means: 5xx for a rejection, 4xx for one that is for now.
    pub(crate) fn goes_with(&self, status: Status) -> bool {
        match status {
            status::REJECT => self.0[0] == b'5',
            status::TEMPFAIL => self.0[0] == b'4',
            _ => false,
        }
    }

    pub(crate) fn text(&self) -> &[u8] {
        &self.0
    }
}

fn is_code(code: &[u8]) -> bool {
    matches!(code, [b'4' | b'5', tens, units] if tens.is_ascii_digit() && units.is_ascii_digit())
}

/// `D.ddd.ddd`; that the class goes with the code is not asked for.
fn is_enhanced(code: &[u8]) -> bool {
    let digits = |part: &[u8]| (1..=3).contains(&part.len()) && part.iter().all(u8::is_ascii_digit);
    let mut parts = code.split(|byte| *byte == b'.');
    parts.next().is_some_and(|class| matches!(class, b"2" | b"4" | b"5"))
        && parts.next().is_some_and(digits)
        && parts.next().is_some_and(digits)
        && parts.next().is_none()
}

fn has_line_end(text: &[u8]) -> bool {
    text.iter().any(|byte| matches!(byte, b'\r' | b'\n'))
}

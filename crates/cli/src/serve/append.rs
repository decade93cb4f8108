//! Text to append to plain messages.

use std::fs;
use std::path::Path;

use anyhow::{Result, anyhow};
use bytes::Bytes;

/// Most bytes of a body that are kept in memory to be changed.
pub(super) const MAX_BODY: usize = 64 << 20;

/// A text, ready to stand at the end of a body.
#[derive(Debug)]
pub(super) struct Appendix {
    /// With CRLF line ends, the last one too.
    text: Bytes,
}

/// What a message says about its body.
#[derive(Debug, Default)]
pub(super) struct Content {
    content_type: Vec<Bytes>,
    encoding: Vec<Bytes>,
}

/// A body that is kept.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pieces: Vec<Bytes>,
    length: usize,
}

impl Appendix {
    /// Reads it from a file.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let text = fs::read(path).map_err(|error| anyhow!("cannot read {}: {error}", path.display()))?;
        Self::new(&text).map_err(|why| anyhow!("cannot append {}: {why}", path.display()))
    }

    fn new(text: &[u8]) -> Result<Self, &'static str> {
        let text = std::str::from_utf8(text).map_err(|_| "it is not UTF-8")?;
        if text.is_empty() {
            return Err("it is empty");
        }
        if text.contains('\0') {
            return Err("it has a NUL");
        }
        let mut lines = String::with_capacity(text.len() + 2);
        for line in text.lines() {
            lines.push_str(line);
            lines.push_str("\r\n");
        }
        Ok(Self { text: lines.into() })
    }

    /// Why the text must not be appended to this content, if so.
    pub(super) fn objection(&self, content: &Content) -> Option<&'static str> {
        let Content { content_type, encoding } = content;
        if content_type.len() > 1 || encoding.len() > 1 {
            return Some("it says several things about its content");
        }
        let encoding = encoding.first().map(|value| token(value));
        if !matches!(encoding.as_deref(), None | Some("7bit" | "8bit")) {
            return Some("its body is encoded");
        }
        let content_type = content_type.first();
        if content_type.is_some_and(|value| token(value) != "text/plain") {
            return Some("it is not text/plain");
        }
        let charset = content_type.and_then(|value| parameter(value, "charset"));
        let utf8 = charset.is_some_and(|charset| charset == "utf-8") && encoding.as_deref() == Some("8bit");
        (!self.text.is_ascii() && !utf8)
            .then_some("the text to append is not ASCII, and the message not 8bit and UTF-8")
    }

    /// The pieces of the body with the text behind it.
    pub(super) fn append_to(&self, kept: Kept) -> Vec<Bytes> {
        let mut pieces = kept.pieces;
        if pieces.last().is_some_and(|last| !last.ends_with(b"\n")) {
            pieces.push(Bytes::from_static(b"\r\n"));
        }
        pieces.push(self.text.clone());
        pieces
    }
}

impl Content {
    /// Takes note of a header field.
    pub(super) fn see(&mut self, name: &[u8], value: &Bytes) {
        if name.eq_ignore_ascii_case(b"content-type") {
            self.content_type.push(value.clone());
        } else if name.eq_ignore_ascii_case(b"content-transfer-encoding") {
            self.encoding.push(value.clone());
        }
    }
}

impl Kept {
    /// Keeps a piece. Above the limit everything is dropped.
    pub(super) fn push(&mut self, piece: Bytes) {
        self.length = self.length.saturating_add(piece.len());
        if self.is_too_long() {
            self.pieces = Vec::new();
        } else if !piece.is_empty() {
            self.pieces.push(piece);
        }
    }

    pub(super) fn is_too_long(&self) -> bool {
        self.length > MAX_BODY
    }
}

/// What stands before parameters and comments, in small letters.
fn token(value: &[u8]) -> String {
    let end = value.iter().position(|byte| matches!(byte, b';' | b'(')).unwrap_or(value.len());
    String::from_utf8_lossy(value[..end].trim_ascii()).to_ascii_lowercase()
}

/// The value of a parameter, in small letters and without quotes.
fn parameter(value: &[u8], name: &str) -> Option<String> {
    value.split(|byte| *byte == b';').skip(1).find_map(|parameter| {
        let at = parameter.iter().position(|byte| *byte == b'=')?;
        let (key, value) = (&parameter[..at], token(&parameter[at + 1..]));
        let found = key.trim_ascii().eq_ignore_ascii_case(name.as_bytes());
        found.then(|| value.trim_matches('"').to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(fields: &[(&str, &str)]) -> Content {
        let mut content = Content::default();
        for (name, value) in fields {
            content.see(name.as_bytes(), &Bytes::copy_from_slice(value.as_bytes()));
        }
        content
    }

    fn appended(pieces: &[&str]) -> String {
        let mut kept = Kept::default();
        for piece in pieces {
            kept.push(Bytes::copy_from_slice(piece.as_bytes()));
        }
        let pieces = Appendix::new(b"--\nfoot").unwrap().append_to(kept);
        String::from_utf8(pieces.concat()).unwrap()
    }

    #[test]
    fn the_text_begins_on_a_line_of_its_own() {
        assert_eq!(appended(&["Hi\r\n"]), "Hi\r\n--\r\nfoot\r\n");
        assert_eq!(appended(&["Hi\r", "\n"]), "Hi\r\n--\r\nfoot\r\n");
        assert_eq!(appended(&["H", "i"]), "Hi\r\n--\r\nfoot\r\n");
        assert_eq!(appended(&[]), "--\r\nfoot\r\n");
    }

    #[test]
    fn only_plain_content_is_changed() {
        let ascii = Appendix::new(b"x").unwrap();
        let utf8 = Appendix::new("ü".as_bytes()).unwrap();
        for (fields, plain, unicode) in [
            (&[][..], true, false),
            (&[("Content-Type", "Text/Plain")], true, false),
            (&[("content-type", "text/plain (hm); charset=UTF-8")], true, false),
            (
                &[
                    ("Content-Type", "text/plain;\n\tcharset=\"UTF-8\""),
                    ("Content-Transfer-Encoding", "8BIT"),
                ],
                true,
                true,
            ),
            (
                &[("Content-Type", "text/plain; charset=latin1"), ("Content-Transfer-Encoding", "8bit")],
                true,
                false,
            ),
            (&[("Content-Transfer-Encoding", " 7bit ")], true, false),
            (&[("Content-Transfer-Encoding", "base64")], false, false),
            (&[("Content-Transfer-Encoding", "quoted-printable")], false, false),
            (&[("Content-Transfer-Encoding", "binary")], false, false),
            (&[("Content-Type", "")], false, false),
            (&[("Content-Type", "text/html")], false, false),
            (&[("Content-Type", "multipart/mixed; boundary=x")], false, false),
            (&[("Content-Type", "text/plain"), ("Content-Type", "text/html")], false, false),
        ] {
            let content = content(fields);
            assert_eq!(ascii.objection(&content).is_none(), plain, "{fields:?}");
            assert_eq!(utf8.objection(&content).is_none(), unicode, "{fields:?}");
        }
    }

    #[test]
    fn texts_that_cannot_be_appended_are_refused_at_the_start() {
        assert_eq!(Appendix::new(b"").unwrap_err(), "it is empty");
        assert_eq!(Appendix::new(b"\xff").unwrap_err(), "it is not UTF-8");
        assert_eq!(Appendix::new(b"a\0b").unwrap_err(), "it has a NUL");
    }

    #[test]
    fn a_body_above_the_limit_is_not_kept() {
        let mut kept = Kept::default();
        let piece = Bytes::from(vec![b'x'; 1 << 20]);
        (0..64).for_each(|_| kept.push(piece.clone()));
        assert!(!kept.is_too_long());
        kept.push(Bytes::from_static(b"x"));
        assert!(kept.is_too_long() && kept.pieces.is_empty());
    }
}

//! Text in headers: character sets, and encoded words (RFC 2047).
//!
//! The table of character sets is mail-parser's. Encoded words are found here, because a header may be as long as
//! its sender likes: each byte is looked at a bounded number of times, and nothing that looks like a word but is
//! none makes a search start anew.

use std::borrow::Cow;

use mail_parser::decoders::charsets::map::charset_decoder;
use memchr::memmem;

use super::transfer;

/// The longest name of a character set that is looked at.
const LONGEST_CHARSET: usize = 64;

/// Decodes text in a character set; UTF-8 is what unknown ones are taken for. It never fails: what is not text
/// becomes U+FFFD.
pub(super) fn charset(text: &[u8], charset: &[u8]) -> String {
    match charset_decoder(charset) {
        Some(decode) if !text.is_empty() => decode(text),
        _ => String::from_utf8_lossy(text).into_owned(),
    }
}

/// Decodes what is encoded in an unfolded header value; what is not stays as it is.
pub(super) fn decode(text: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut run: Option<Run<'_>> = None;
    let mut ends = Ends { text, next: Some(0) };
    let (mut done, mut from) = (0, 0);
    while let Some(at) = memmem::find(&text[from..], b"=?").map(|at| from + at) {
        let Some(word) = Word::parse(text, at, &mut ends) else {
            from = at + 2;
            continue;
        };
        let between = &text[done..at];
        (done, from) = (word.end, word.end);
        match &mut run {
            // A character may be cut in two by the end of a word, though RFC 2047 does not allow that.
            Some(run) if is_blank(between) && run.charset.eq_ignore_ascii_case(word.charset) => {
                run.bytes.extend(word.bytes);
                continue;
            }
            Some(run) => {
                run.finish(&mut out);
                if !is_blank(between) {
                    out.push_str(&String::from_utf8_lossy(between));
                }
            }
            None => out.push_str(&String::from_utf8_lossy(between)),
        }
        run = Some(Run { charset: word.charset, bytes: word.bytes });
    }
    if let Some(run) = run {
        run.finish(&mut out);
    }
    out.push_str(&String::from_utf8_lossy(&text[done..]));
    out
}

/// Takes line ends out of a value: what is left is what was there before it was folded.
pub(super) fn unfold(value: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr2(b'\r', b'\n', value).is_none() {
        return Cow::Borrowed(value);
    }
    Cow::Owned(value.iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect())
}

fn is_blank(text: &[u8]) -> bool {
    text.trim_ascii().is_empty()
}

/// Neighbouring words in one character set.
struct Run<'a> {
    charset: &'a [u8],
    bytes: Vec<u8>,
}

impl Run<'_> {
    fn finish(&self, out: &mut String) {
        out.push_str(&charset(&self.bytes, self.charset));
    }
}

struct Word<'a> {
    charset: &'a [u8],
    bytes: Vec<u8>,
    end: usize,
}

impl<'a> Word<'a> {
    /// Reads the word whose `=?` is at `start`.
    fn parse(text: &'a [u8], start: usize, ends: &mut Ends<'_>) -> Option<Self> {
        let rest = &text[start + 2..];
        let length = rest.iter().take(LONGEST_CHARSET).position(|byte| *byte == b'?')?;
        let charset = &rest[..length];
        if charset.is_empty() || !charset.iter().all(u8::is_ascii_graphic) {
            return None;
        }
        let [encoding, b'?', ..] = rest[length + 1..] else { return None };
        let content = start + 2 + length + 3;
        let end = ends.at_or_after(content)?;
        let bytes = match encoding {
            b'q' | b'Q' => q(&text[content..end]),
            b'b' | b'B' => transfer::base64(&text[content..end]),
            _ => return None,
        };
        // RFC 2231 has a place for the language there.
        let charset = charset.split(|byte| *byte == b'*').next().unwrap_or_default();
        Some(Self { charset, bytes, end: end + 2 })
    }
}

/// Finds the ends of words, each once.
struct Ends<'a> {
    text: &'a [u8],
    /// The first end at or after the last place asked about.
    next: Option<usize>,
}

impl Ends<'_> {
    fn at_or_after(&mut self, from: usize) -> Option<usize> {
        if self.next? < from || !self.text[self.next?..].starts_with(b"?=") {
            self.next = memmem::find(&self.text[from..], b"?=").map(|at| from + at);
        }
        self.next
    }
}

/// Decodes the Q encoding; what is no escape is text.
fn q(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [byte, tail @ ..] = rest {
        rest = tail;
        match byte {
            b'_' => out.push(b' '),
            b'=' => match transfer::hex(tail) {
                Some(byte) => {
                    out.push(byte);
                    rest = &tail[2..];
                }
                None => out.push(b'='),
            },
            byte => out.push(*byte),
        }
    }
    out
}

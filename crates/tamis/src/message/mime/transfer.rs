//! Content-Transfer-Encoding, read forgivingly: what any mail program would show, a filter has to see.

use bytes::Bytes;
use mail_builder::encoders::{Base64Encoder, QuotedPrintableEncoder};
use mail_parser::decoders::base64::base64_decode;

/// How a body is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    /// 7bit, 8bit, binary, or something that nobody knows.
    Identity,
    Base64,
    QuotedPrintable,
}

impl Encoding {
    /// Goes by the word in the field, which is in lower case.
    pub(super) fn from_word(word: &str) -> Self {
        match word {
            "base64" => Self::Base64,
            "quoted-printable" => Self::QuotedPrintable,
            _ => Self::Identity,
        }
    }

    /// Decodes a body, without a copy where it is not encoded.
    pub(super) fn decode(self, body: Bytes) -> Bytes {
        match self {
            Self::Identity => body,
            Self::Base64 => base64(&body).into(),
            Self::QuotedPrintable => quoted_printable(&body).into(),
        }
    }

    /// Encodes what goes where encoded text was. No line of it begins with a hyphen, so none is a boundary.
    pub(super) fn encode(self, body: &[u8]) -> Vec<u8> {
        match self {
            Self::Identity => body.to_vec(),
            Self::Base64 => {
                let mut out = Vec::with_capacity(body.len() / 3 * 4 + body.len() / 32 + 8);
                Base64Encoder::new().wrap_lines().encode_into(body, &mut out);
                out
            }
            Self::QuotedPrintable => {
                let mut out = Vec::with_capacity(body.len() + body.len() / 8);
                QuotedPrintableEncoder::new().encode_into(body, &mut out);
                without_leading_hyphens(out)
            }
        }
    }
}

/// Decodes base64, and passes over what does not belong there, as RFC 2045 wants it.
pub(super) fn base64(text: &[u8]) -> Vec<u8> {
    base64_decode(text).unwrap_or_else(|| {
        let known = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=".contains(byte);
        let text: Vec<u8> = text.iter().copied().filter(known).collect();
        base64_decode(&text).expect("only characters of base64 are left")
    })
}

/// Decodes quoted-printable. Line ends stay as they are, so that nothing is lost; an escape that is none is text.
fn quoted_printable(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.iter().position(|byte| matches!(byte, b'=' | b' ' | b'\t')) {
        out.extend_from_slice(&rest[..at]);
        let escape = rest[at] == b'=';
        rest = &rest[at + usize::from(escape)..];
        if let (true, Some(byte)) = (escape, hex(rest)) {
            out.push(byte);
            rest = &rest[2..];
            continue;
        }
        let space = rest.iter().position(|byte| !matches!(byte, b' ' | b'\t')).unwrap_or(rest.len());
        match (line_end(&rest[space..]), escape) {
            // A soft line break.
            (Some(end), true) => rest = &rest[space + end..],
            // White space at the end of a line was put there on the way.
            (Some(_), false) => rest = &rest[space..],
            (None, _) => {
                out.extend_from_slice(if escape { b"=" } else { b"" });
                out.extend_from_slice(&rest[..space]);
                rest = &rest[space..];
            }
        }
    }
    out.extend_from_slice(rest);
    out
}

pub(super) fn hex(text: &[u8]) -> Option<u8> {
    let digit = |at: usize| char::from(*text.get(at)?).to_digit(16);
    u8::try_from(digit(0)? << 4 | digit(1)?).ok()
}

/// The length of the line end that `text` begins with; the end of the text is one.
fn line_end(text: &[u8]) -> Option<usize> {
    match text {
        [] => Some(0),
        [b'\n', ..] => Some(1),
        [b'\r', b'\n', ..] => Some(2),
        _ => None,
    }
}

fn without_leading_hyphens(text: Vec<u8>) -> Vec<u8> {
    let leading = |text: &[u8]| text.first() == Some(&b'-') || memchr::memmem::find(text, b"\n-").is_some();
    if !leading(&text) {
        return text;
    }
    let mut out = Vec::with_capacity(text.len() + 64);
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        match line.strip_prefix(b"-") {
            Some(line) => {
                out.extend_from_slice(b"=2D");
                out.extend_from_slice(line);
            }
            None => out.extend_from_slice(line),
        }
    }
    out
}

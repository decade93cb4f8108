//! Text as case files write it: escapes, wildcards and generated filler.

use std::fmt::Write as _;

/// Turns the escapes `\\ \n \r \t \0 \" \. \xNN` into bytes; everything else stands for itself.
pub fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        let mut chars = rest[at + 1..].chars();
        out.push(match chars.next() {
            Some('\\') => b'\\',
            Some('"') => b'"',
            Some('.') => b'.',
            Some('n') => b'\n',
            Some('r') => b'\r',
            Some('t') => b'\t',
            Some('0') => 0,
            Some('x') => {
                let digits = chars.as_str().get(..2).unwrap_or_default();
                chars = chars.as_str().get(2..).unwrap_or_default().chars();
                u8::from_str_radix(digits, 16).map_err(|_| format!("\\x{digits}: two hex digits expected"))?
            }
            other => return Err(format!("unknown escape \\{}", other.map(String::from).unwrap_or_default())),
        });
        rest = chars.as_str();
    }
    out.extend_from_slice(rest.as_bytes());
    Ok(out)
}

/// Writes bytes so that [`unescape`] gives them back and a person can read them.
pub fn escape(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                c if c.is_ascii_control() => {
                    write!(out, "\\x{:02x}", u32::from(c)).expect("a string takes it");
                }
                c => out.push(c),
            }
        }
        for byte in chunk.invalid() {
            write!(out, "\\x{byte:02x}").expect("a string takes it");
        }
    }
    out
}

/// One expected line: exact text, in which `...` stands for any bytes, also none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    source: String,
    pieces: Vec<Vec<u8>>,
}

impl Pattern {
    /// Reads a line of a case file.
    pub fn parse(source: &str) -> Result<Self, String> {
        let pieces = source.split("...").map(unescape).collect::<Result<_, _>>()?;
        Ok(Self { source: source.to_owned(), pieces })
    }

    /// Expects exactly these bytes.
    pub fn exact(bytes: Vec<u8>) -> Self {
        Self { source: escape(&bytes), pieces: vec![bytes] }
    }

    /// The line as the case file has it.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The bytes expected, if there is no `...` among them.
    pub fn bytes(&self) -> Option<&[u8]> {
        if self.is_wild() { None } else { Some(&self.pieces[0]) }
    }

    /// Whether there is a `...` in it.
    pub fn is_wild(&self) -> bool {
        self.pieces.len() > 1
    }

    /// Whether these bytes, all of them, are what is expected.
    pub fn matches(&self, line: &[u8]) -> bool {
        let [first, middle @ .., last] = self.pieces.as_slice() else {
            return self.pieces[0] == line;
        };
        let Some(mut rest) = line.strip_prefix(first.as_slice()) else { return false };
        for piece in middle {
            let Some(at) = find(rest, piece) else { return false };
            rest = &rest[at + piece.len()..];
        }
        rest.ends_with(last)
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    if needle.is_empty() {
        Some(0)
    } else {
        haystack.windows(needle.len()).position(|window| window == needle)
    }
}

/// Makes `size` bytes of numbered lines, each ended by CRLF, the same bytes each time.
pub fn filler_body(size: usize) -> Vec<u8> {
    const WIDTH: usize = 72;
    let mut out = Vec::with_capacity(size);
    let mut number = 0_u32;
    while out.len() < size {
        let left = size - out.len();
        // No rest of one byte: it would be half a line end.
        let take = if left == WIDTH + 1 { WIDTH - 1 } else { left.min(WIDTH) };
        let line = format!("{number:010} {:x<60}", "");
        out.extend_from_slice(&line.as_bytes()[..take.saturating_sub(2)]);
        out.extend_from_slice(&b"\r\n"[2 - take.min(2)..]);
        number += 1;
    }
    out
}

/// Makes a header value of `size` bytes, folded by LF and a space.
pub fn filler_value(size: usize) -> Vec<u8> {
    const WIDTH: usize = 76;
    let mut out = Vec::with_capacity(size);
    while out.len() < size {
        let column = out.len() % WIDTH;
        // The last two bytes are never a fold: a fold must have something behind it.
        let fold = size - out.len() > 2;
        out.push(match column {
            74 if fold => b'\n',
            75 if out[out.len() - 1] == b'\n' => b' ',
            _ => b"abcdefghijklmnopqrstuvwxyz"[out.len() / WIDTH % 26],
        });
    }
    out
}

/// Reads a size such as `512`, `90K` or `20M` (powers of 1024).
pub fn size(text: &str) -> Result<usize, String> {
    let (digits, unit) = match text.strip_suffix(['K', 'M']) {
        Some(digits) if text.ends_with('K') => (digits, 1 << 10),
        Some(digits) => (digits, 1 << 20),
        None => (text, 1),
    };
    let number: usize = digits.parse().map_err(|_| format!("{text:?} is not a size"))?;
    Ok(number * unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_come_back() {
        let bytes = b"caf\xe9 \\ \r\n\t\0 \xc3\xa9";
        assert_eq!(escape(bytes), "caf\\xe9 \\\\ \\r\\n\\t\\x00 é");
        assert_eq!(unescape(&escape(bytes)).unwrap(), bytes);
        assert_eq!(unescape("\\q").unwrap_err(), "unknown escape \\q");
        assert_eq!(unescape("\\x4").unwrap_err(), "\\x: two hex digits expected");
    }

    #[test]
    fn dots_match_anything_and_the_rest_is_exact() {
        let pattern = Pattern::parse("250 ...: queued as ...").unwrap();
        assert!(pattern.matches(b"250 2.0.0 Ok: queued as 4F"));
        assert!(pattern.matches(b"250 : queued as "));
        assert!(!pattern.matches(b"250 2.0.0 Ok"));
        assert!(!Pattern::parse("a...a").unwrap().matches(b"a"));
        assert!(!Pattern::parse("abc").unwrap().matches(b"abcd"));
        assert!(Pattern::parse("a\\.\\.\\.").unwrap().matches(b"a..."));
    }

    #[test]
    fn filler_has_the_size_asked_for_and_whole_lines() {
        for size in [0, 2, 3, 71, 72, 73, 74, 144, 145, 1000, 70_000] {
            let body = filler_body(size);
            assert_eq!(body.len(), size);
            assert!(size == 0 || body.ends_with(b"\r\n"), "{size}");
        }
        for size in [1, 74, 75, 76, 77, 78, 90 << 10] {
            let value = filler_value(size);
            assert_eq!(value.len(), size);
            assert!(value.split(|b| *b == b'\n').skip(1).all(|line| line.len() > 1 && line[0] == b' '));
        }
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!(size("7"), Ok(7));
        assert_eq!(size("90K"), Ok(92_160));
        assert_eq!(size("20M"), Ok(20_971_520));
        assert!(size("M").is_err());
    }
}

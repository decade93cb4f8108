//! Fields with parameters: `Content-Type` and `Content-Disposition`.
//!
//! Mail programs read broken ones differently, which is how a name gets past a filter. So each parameter is kept with
//! the readings that it has; which one is right is decided by who asks.

use std::borrow::Cow;

use super::words::{charset, decode, unfold};

/// A value such as `text/plain; charset=utf-8`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Value {
    /// What is before the parameters, in lower case and without comments and white space.
    pub(super) main: String,
    params: Vec<Param>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Param {
    /// In lower case, without what RFC 2231 puts behind it.
    name: String,
    /// The number of a parameter in pieces.
    section: Option<u32>,
    /// Whether it has escapes, and, being the first piece, a character set.
    extended: bool,
    /// The value as RFC 2045 has it, then other readings.
    readings: Vec<Vec<u8>>,
}

impl Value {
    pub(super) fn parse(value: &[u8]) -> Self {
        let value = unfold(value);
        let mut segments = segments(&value);
        let (main, first_param) = split_main(segments.next().unwrap_or_default());
        let params = first_param.into_iter().chain(segments).filter_map(Param::parse).collect();
        Self { main, params }
    }

    /// The bytes of a parameter, as RFC 2045 and RFC 2231 want them read.
    pub(super) fn bytes(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        let plain = self.named(name).find(|param| param.section.is_none() && !param.extended);
        if let Some(param) = plain {
            return Some(Cow::Borrowed(&param.readings[0]));
        }
        let (bytes, _) = self.extended(name).or_else(|| self.joined(name).into_iter().next())?;
        Some(Cow::Owned(bytes))
    }

    /// The text of a parameter: the extended form of RFC 2231 if there is one, else the plain one.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.readings(name).into_iter().next()
    }

    /// Every way to read a parameter, the most correct first; there may be equal ones.
    pub(super) fn readings(&self, name: &str) -> Vec<String> {
        let mut readings = Vec::new();
        for param in self.named(name).filter(|param| param.section.is_none() && param.extended) {
            readings.extend(param.readings.iter().map(|value| {
                let (bytes, label) = unescape_with_charset(value);
                charset(&bytes, &label)
            }));
        }
        for (bytes, label) in self.joined(name) {
            encoded_words(&mut readings, charset(&bytes, &label).as_bytes());
        }
        for param in self.named(name).filter(|param| param.section.is_none() && !param.extended) {
            for value in &param.readings {
                encoded_words(&mut readings, value);
            }
        }
        readings
    }

    fn named(&self, name: &str) -> impl Iterator<Item = &Param> {
        self.params.iter().filter(move |param| param.name == name)
    }

    fn extended(&self, name: &str) -> Option<(Vec<u8>, Vec<u8>)> {
        let param = self.named(name).find(|param| param.section.is_none() && param.extended)?;
        Some(unescape_with_charset(&param.readings[0]))
    }

    /// The parameter made of its pieces, with its character set: up to the first that is missing, and all of them.
    fn joined(&self, name: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut pieces: Vec<_> = self.named(name).filter_map(|param| Some((param.section?, param))).collect();
        pieces.sort_by_key(|(section, _)| *section);
        let (mut bytes, mut label) = (Vec::new(), Vec::new());
        let mut correct = None;
        for (at, (section, piece)) in pieces.iter().enumerate() {
            if correct.is_none() && usize::try_from(*section) != Ok(at) {
                correct = Some(bytes.len());
            }
            let value = &piece.readings[0];
            if piece.extended && at == 0 {
                (bytes, label) = unescape_with_charset(value);
            } else if piece.extended {
                bytes.extend(unescape(value));
            } else {
                bytes.extend_from_slice(value);
            }
        }
        let first = correct.filter(|length| *length > 0).map(|length| bytes[..length].to_vec());
        let all = (!pieces.is_empty()).then_some(bytes);
        first.into_iter().chain(all).map(|bytes| (bytes, label.clone())).collect()
    }
}

impl Param {
    fn parse(segment: &[u8]) -> Option<Self> {
        let equals = memchr::memchr(b'=', segment)?;
        let name = without_comments(&segment[..equals]);
        // `attachment filename=a.exe`: some programs do not miss the semicolon.
        let name = name.trim_ascii().rsplit(u8::is_ascii_whitespace).next().unwrap_or_default();
        let (name, section, extended) = split_name(name);
        if name.is_empty() {
            return None;
        }
        let name = String::from_utf8_lossy(name).to_ascii_lowercase();
        Some(Self { name, section, extended, readings: readings(&segment[equals + 1..]) })
    }
}

/// Splits `name*1*` into name, section and whether it is extended.
fn split_name(name: &[u8]) -> (&[u8], Option<u32>, bool) {
    let Some(star) = memchr::memchr(b'*', name) else { return (name, None, false) };
    let (base, rest) = (name[..star].trim_ascii_end(), &name[star + 1..]);
    let (digits, extended) = rest.strip_suffix(b"*").map_or((rest, false), |digits| (digits, true));
    match std::str::from_utf8(digits).ok().and_then(|digits| digits.trim().parse().ok()) {
        Some(section) => (base, Some(section), extended),
        None => (base, None, true),
    }
}

/// The ways to read what is behind the `=`: at least one.
fn readings(value: &[u8]) -> Vec<Vec<u8>> {
    let value = value.trim_ascii();
    let quoted = value.iter().position(|byte| *byte == b'"');
    let mut readings = Vec::new();
    if let Some(rest) = value.strip_prefix(b"\"") {
        let end = closing_quote(rest);
        readings.push(unquote(&rest[..end]));
        readings.push(rest[..end].to_vec());
    } else {
        let word = value.iter().position(u8::is_ascii_whitespace).unwrap_or(value.len());
        readings.push(value[..word].to_vec());
        readings.push(value.to_vec());
        readings.push(without_comments(value).trim_ascii().to_vec());
    }
    if quoted.is_some() {
        // `"a.txt".exe` is a name for programs that only take the quotes out.
        readings.push(value.iter().copied().filter(|byte| *byte != b'"').collect());
    }
    for at in 0..readings.len() {
        // Programs written in C see no more of it.
        if let Some(end) = memchr::memchr(0, &readings[at]) {
            readings.push(readings[at][..end].to_vec());
        }
    }
    let first = readings.remove(0);
    readings.retain(|reading| *reading != first && !reading.is_empty());
    readings.insert(0, first);
    readings.dedup();
    readings
}

/// Adds a reading with its encoded words decoded, which RFC 2047 forbids there and everybody does, and as it is.
fn encoded_words(readings: &mut Vec<String>, value: &[u8]) {
    let plain = String::from_utf8_lossy(value).into_owned();
    if memchr::memmem::find(value, b"=?").is_some() {
        readings.push(decode(value));
    }
    readings.push(plain);
}

/// Splits at semicolons that are in no quoted string. What is behind a quote that is never closed is split too, since
/// some programs take such a quote for any other character.
fn segments(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(value);
    let mut quotes = true;
    std::iter::from_fn(move || {
        let text = rest?;
        let mut at = 0;
        while let Some(found) = memchr::memchr2(b';', b'"', &text[at..]) {
            at += found + 1;
            if text[at - 1] == b';' {
                rest = Some(&text[at..]);
                return Some(&text[..at - 1]);
            }
            let end = if quotes { at + closing_quote(&text[at..]) } else { at };
            if end >= text.len() {
                quotes = false;
                rest = memchr::memchr(b';', &text[at..]).map(|semicolon| &text[at + semicolon + 1..]);
                return Some(text);
            }
            at = if quotes { end + 1 } else { at };
        }
        rest = None;
        Some(text)
    })
}

/// Splits what is before the first semicolon into the value and a parameter that is there by mistake.
fn split_main(segment: &[u8]) -> (String, Option<&[u8]>) {
    let param = memchr::memchr(b'=', segment).map(|_| segment);
    let text = without_comments(segment);
    let mut words = text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let mut main = words.next().unwrap_or_default().to_vec();
    // `text / plain`, which RFC 822 allowed.
    for word in words {
        if !main.ends_with(b"/") && !word.starts_with(b"/") {
            break;
        }
        main.extend_from_slice(word);
    }
    (String::from_utf8_lossy(&main).to_ascii_lowercase(), param)
}

/// Where a quoted string ends, of which the opening quote was taken: at its closing quote, or with the text.
fn closing_quote(text: &[u8]) -> usize {
    let mut at = 0;
    while let Some(found) = memchr::memchr2(b'"', b'\\', &text[at..]) {
        at += found;
        if text[at] == b'"' {
            return at;
        }
        at += 2;
        if at >= text.len() {
            break;
        }
    }
    text.len()
}

/// Takes the backslashes out of a quoted string.
fn unquote(text: &[u8]) -> Vec<u8> {
    let mut bytes = text.iter().copied();
    std::iter::from_fn(|| match bytes.next()? {
        b'\\' => bytes.next().or(Some(b'\\')),
        byte => Some(byte),
    })
    .collect()
}

/// Takes comments out, which may be nested; one that is not closed is text.
fn without_comments(text: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(b'(', text).is_none() {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len());
    let (mut depth, mut opened) = (0_usize, 0);
    for (at, byte) in text.iter().enumerate() {
        match byte {
            b'(' => {
                if depth == 0 {
                    opened = at;
                }
                depth += 1;
            }
            b')' if depth > 0 => {
                depth -= 1;
                if depth == 0 {
                    out.push(b' ');
                }
            }
            byte if depth == 0 => out.push(*byte),
            _ => {}
        }
    }
    if depth > 0 {
        out.extend_from_slice(&text[opened..]);
    }
    Cow::Owned(out)
}

/// Splits `utf-8'en'a%20b` into its bytes and the character set.
fn unescape_with_charset(value: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let mut parts = value.splitn(3, |byte| *byte == b'\'');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(label), Some(_language), Some(text)) => (unescape(text), label.to_vec()),
        _ => (unescape(value), Vec::new()),
    }
}

/// Decodes `%20`; what is no escape is text.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [byte, tail @ ..] = rest {
        rest = tail;
        match (byte, super::transfer::hex(tail)) {
            (b'%', Some(byte)) => {
                out.push(byte);
                rest = &tail[2..];
            }
            _ => out.push(*byte),
        }
    }
    out
}

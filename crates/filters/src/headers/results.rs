//! Reads the field `Authentication-Results` (RFC 8601) as far as it says whose it is.

use std::borrow::Cow;

/// Who wrote an `Authentication-Results` field.
///
/// ```
/// use tamis_filters::headers::AuthservId;
///
/// let value = b"(by\n filter) \"mx.example.com\" (really) 1; spf=pass smtp.mailfrom=example.net";
/// let id = AuthservId::parse(value).unwrap();
/// assert_eq!((id.name(), id.version()), ("mx.example.com", 1));
/// assert!(id.is("MX.Example.Com"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthservId<'v> {
    name: Cow<'v, str>,
    version: u32,
}

/// Why a value is none of the field: where it ends to be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {at}")]
pub struct Malformed {
    what: &'static str,
    at: usize,
}

impl<'v> AuthservId<'v> {
    /// Reads the beginning of a value: comments and folding are passed over, quotes are taken off. A version that is not
    /// there is 1.
    ///
    /// # Errors
    ///
    /// When the value does not begin as RFC 8601 has it, with an identifier, perhaps a version, and then nothing or a
    /// semicolon.
    pub fn parse(value: &'v [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader { value, at: 0 };
        reader.skip()?;
        let name = reader.name()?;
        reader.skip()?;
        let version = reader.version()?;
        reader.skip()?;
        match reader.peek() {
            None | Some(b';') => Ok(Self { name, version }),
            Some(_) => Err(reader.malformed("a semicolon is missing")),
        }
    }

    /// The identifier, without quotes.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The version of the format.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Whether this is the identifier, whatever the case of its letters.
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }
}

/// What of a value was not read yet.
struct Reader<'v> {
    value: &'v [u8],
    at: usize,
}

impl<'v> Reader<'v> {
    fn peek(&self) -> Option<u8> {
        self.value.get(self.at).copied()
    }

    fn malformed(&self, what: &'static str) -> Malformed {
        Malformed { what, at: self.at }
    }

    /// Passes over white space, folding and comments, however deep these are in each other.
    fn skip(&mut self) -> Result<(), Malformed> {
        let mut depth = 0_usize;
        loop {
            if self.skip_fold()? {
                continue;
            }
            match (self.peek(), depth) {
                (Some(b'('), _) => depth += 1,
                (Some(_) | None, 0) => return Ok(()),
                (Some(b')'), _) => depth -= 1,
                (Some(b'\\'), _) => self.skip_escape()?,
                (Some(byte), _) if byte.is_ascii_control() => {
                    return Err(self.malformed("a control character"));
                }
                (Some(_), _) => {}
                (None, _) => return Err(self.malformed("a comment does not end")),
            }
            self.at += 1;
        }
    }

    /// Passes over a piece of white space or a line break; says whether there was one.
    fn skip_fold(&mut self) -> Result<bool, Malformed> {
        let length = match self.value.get(self.at..).unwrap_or_default() {
            [b' ' | b'\t', ..] => 1,
            [b'\n', b' ' | b'\t', ..] => 2,
            [b'\r', b'\n', b' ' | b'\t', ..] => 3,
            [b'\r' | b'\n', ..] => return Err(self.malformed("a line break that is no folding")),
            _ => 0,
        };
        self.at += length;
        Ok(length > 0)
    }

    /// Goes to the character that a backslash stands before.
    fn skip_escape(&mut self) -> Result<(), Malformed> {
        self.at += 1;
        match self.peek() {
            Some(byte) if !byte.is_ascii_control() || byte == b'\t' => Ok(()),
            _ => Err(self.malformed("a backslash before nothing")),
        }
    }

    fn name(&mut self) -> Result<Cow<'v, str>, Malformed> {
        let begin = self.at;
        let name = if self.peek() == Some(b'"') { self.quoted()? } else { self.token() };
        let name = match name {
            Cow::Borrowed(bytes) => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
            Cow::Owned(bytes) => String::from_utf8(bytes).ok().map(Cow::Owned),
        };
        match name {
            Some(name) if !name.is_empty() => Ok(name),
            Some(_) => Err(Malformed { what: "no identifier", at: begin }),
            None => Err(Malformed { what: "an identifier that is not UTF-8", at: begin }),
        }
    }

    fn token(&mut self) -> Cow<'v, [u8]> {
        let rest = self.value.get(self.at..).unwrap_or_default();
        let length = rest.iter().position(|byte| !is_token(*byte)).unwrap_or(rest.len());
        self.at += length;
        Cow::Borrowed(&rest[..length])
    }

    fn quoted(&mut self) -> Result<Cow<'v, [u8]>, Malformed> {
        self.at += 1;
        let mut text = Vec::new();
        loop {
            let before = self.at;
            if self.skip_fold()? {
                // Folding stands for the white space behind the line break.
                text.push(self.value[self.at - 1]);
                debug_assert!(self.at > before, "it went on");
                continue;
            }
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(Cow::Owned(text));
                }
                Some(b'\\') => {
                    self.skip_escape()?;
                    text.push(self.value[self.at]);
                }
                Some(byte) if byte.is_ascii_control() => return Err(self.malformed("a control character")),
                Some(byte) => text.push(byte),
                None => return Err(self.malformed("a quoted string does not end")),
            }
            self.at += 1;
        }
    }

    fn version(&mut self) -> Result<u32, Malformed> {
        let rest = self.value.get(self.at..).unwrap_or_default();
        let length = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
        if length == 0 {
            return Ok(1);
        }
        let digits = std::str::from_utf8(&rest[..length]).unwrap_or_default();
        let version = digits.parse().map_err(|_| self.malformed("a version that is no number"))?;
        self.at += length;
        Ok(version)
    }
}

/// Whether a byte can be in a token of MIME (RFC 2045); also what is not ASCII, as in addresses of RFC 6531.
fn is_token(byte: u8) -> bool {
    byte >= 0x80 || byte.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?=".contains(&byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_identifier_is_found_wherever_it_hides() {
        for (value, name, version) in [
            (&b"mx.example.com; spf=pass"[..], "mx.example.com", 1),
            (b"mx.example.com;none", "mx.example.com", 1),
            (b"mx.example.com", "mx.example.com", 1),
            (b"  mx.example.com  ", "mx.example.com", 1),
            (b"mx.example.com 1; spf=pass", "mx.example.com", 1),
            (b"mx.example.com 2 ; spf=pass", "mx.example.com", 2),
            (b"mx.example.com (a)\n\t01 (b) ; spf=pass", "mx.example.com", 1),
            (b"(a (nested \\) comment)) mx.example.com; none", "mx.example.com", 1),
            (b"\n mx.example.com;\n spf=pass", "mx.example.com", 1),
            (b"\r\n mx.example.com; none", "mx.example.com", 1),
            (b"\"mx.example.com\"; none", "mx.example.com", 1),
            (b"\"mx.\\example.com\"(x)1; none", "mx.example.com", 1),
            (b"\"mx\n example\"; none", "mx example", 1),
            (b"example.com(comment); none", "example.com", 1),
            ("mx.bücher.example; none".as_bytes(), "mx.bücher.example", 1),
        ] {
            let id = AuthservId::parse(value).unwrap();
            assert_eq!((id.name(), id.version()), (name, version), "{:?}", String::from_utf8_lossy(value));
        }
    }

    #[test]
    fn what_does_not_begin_with_an_identifier_is_malformed() {
        for (value, error) in [
            (&b""[..], "no identifier at byte 0"),
            (b" ", "no identifier at byte 1"),
            (b"; spf=pass", "no identifier at byte 0"),
            (b"\"\"; none", "no identifier at byte 0"),
            (b"spf=pass smtp.mailfrom=example.com", "a semicolon is missing at byte 3"),
            (b"mx.example.com spf=pass", "a semicolon is missing at byte 15"),
            (b"mx.example.com 1 1; none", "a semicolon is missing at byte 17"),
            (b"mx.example.com 99999999999; none", "a version that is no number at byte 15"),
            (b"mx.example.com/1; none", "a semicolon is missing at byte 14"),
            (b"(comment", "a comment does not end at byte 8"),
            (b"(comment\\", "a backslash before nothing at byte 9"),
            (b"\"mx.example.com; none", "a quoted string does not end at byte 21"),
            (b"\"mx\\", "a backslash before nothing at byte 4"),
            (b"mx.example.com\nspf=pass", "a line break that is no folding at byte 14"),
            (b"mx\rexample; none", "a line break that is no folding at byte 2"),
            (b"(\0) mx.example.com", "a control character at byte 1"),
            (b"\"a\0\"; none", "a control character at byte 2"),
            (b"m\xfcx; none", "an identifier that is not UTF-8 at byte 0"),
        ] {
            let said = AuthservId::parse(value).unwrap_err().to_string();
            assert_eq!(said, error, "{:?}", String::from_utf8_lossy(value));
        }
    }

    #[test]
    fn comments_may_be_as_deep_as_a_header_field_is_long() {
        let mut value = b"(".repeat(1_000_000);
        value.extend(b")".repeat(1_000_000));
        value.extend(b"mx.example.com; none");
        assert!(AuthservId::parse(&value).unwrap().is("mx.example.com"));
    }

    fn comment() -> impl Strategy<Value = String> {
        let text = "[a-z;=\" ]{0,6}".prop_map(|text| text);
        text.prop_recursive(3, 12, 3, |inner| {
            prop::collection::vec(
                prop_oneof![inner.prop_map(|inner| format!("({inner})")), Just("\\)".to_owned())],
                1..3,
            )
            .prop_map(|pieces| pieces.concat())
        })
    }

    fn cfws() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            Just(" ".to_owned()),
            Just("\n\t".to_owned()),
            Just("\r\n ".to_owned()),
            comment().prop_map(|text| format!("({text})")),
        ];
        prop::collection::vec(piece, 0..4).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn however_it_is_written_the_identifier_is_the_same(
            name in "[a-zA-Z0-9.-]{1,20}",
            quoted: bool,
            before in cfws(),
            behind in cfws(),
            version in prop::option::of(1_u32..100),
            last in cfws(),
        ) {
            let written = if quoted {
                // A backslash before each second character.
                let inner: String = name.chars().enumerate()
                    .map(|(at, letter)| if at % 2 == 0 { format!("\\{letter}") } else { letter.to_string() }).collect();
                format!("\"{inner}\"")
            } else {
                name.clone()
            };
            let version_text = version.map_or(String::new(), |version| format!(" {version}"));
            let value = format!("{before}{written}{behind}{version_text}{last}; spf=pass");
            let id = AuthservId::parse(value.as_bytes());
            prop_assert_eq!(id, Ok(AuthservId { name: name.into(), version: version.unwrap_or(1) }), "{}", value);
        }

        #[test]
        fn any_bytes_are_read_or_malformed(value in prop::collection::vec(prop_oneof![
            prop::sample::select(&b"()\"\\;= \t\r\n1a.\x00\xc3\xbc"[..]), any::<u8>()], 0..40)) {
            if let Err(error) = AuthservId::parse(&value) {
                prop_assert!(error.at <= value.len());
            }
        }
    }
}

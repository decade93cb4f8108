//! [`Text`]: what came over the wire, whatever its encoding.

use std::borrow::{Borrow, Cow};
use std::fmt::{self, Write};
use std::str::Utf8Error;

use bytes::Bytes;

/// Bytes that are mostly text, as they came over the wire.
///
/// Mail is bytes: a client may say HELO in Latin-1. So nothing is decoded until somebody asks, and whoever asks
/// chooses what happens to bytes that are no UTF-8: an error ([`to_str`](Self::to_str)), a replacement character
/// ([`Display`](fmt::Display) and [`to_lossy`](Self::to_lossy)) or an escape ([`Debug`](fmt::Debug) and
/// [`escaped`](Self::escaped)). It compares with strings and with bytes, exactly.
///
/// A clone shares the bytes. They are a slice of what was read at once from the MTA: for a text that is kept long
/// beyond its message, [`detached`](Self::detached) makes one of its own.
///
/// # Examples
///
/// ```
/// use tamis::message::Text;
///
/// let helo = Text::from(&b"caf\xe9.example"[..]);
/// assert!(helo.to_str().is_err());
/// assert_eq!(helo.to_string(), "caf\u{fffd}.example");
/// assert_eq!(helo.escaped().to_string(), r"caf\xe9.example");
/// assert_eq!(helo, b"caf\xe9.example");
/// assert!(Text::from("mx.example") == "mx.example");
/// ```
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text(Bytes);

impl Text {
    /// Makes a text of bytes that live as long as the program.
    pub const fn from_static(text: &'static str) -> Self {
        Self(Bytes::from_static(text.as_bytes()))
    }

    /// The bytes as they came.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes as they came, without a copy.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }

    /// The text, if it is UTF-8.
    ///
    /// # Errors
    ///
    /// Says where it stops being UTF-8.
    pub fn to_str(&self) -> Result<&str, Utf8Error> {
        std::str::from_utf8(&self.0)
    }

    /// The text, with U+FFFD for what is not UTF-8. For people to read, not to decide upon: different bytes become
    /// equal.
    pub fn to_lossy(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.0)
    }

    /// Writes the text on one line, unmistakably: `\xe9` for what is not UTF-8, `\u{7}`, `\n`, `\"` and `\\` as Rust
    /// writes them. For logs: no byte of a peer moves the cursor, and different bytes stay different.
    pub fn escaped(&self) -> impl fmt::Display + '_ {
        Escaped(&self.0)
    }

    /// Number of bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no byte at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Compares without the case of ASCII letters, as names of hosts, header fields and parameters are compared.
    pub fn eq_ignore_case(&self, other: impl AsRef<[u8]>) -> bool {
        self.0.eq_ignore_ascii_case(other.as_ref())
    }

    /// Copies the bytes, so that the larger piece of input which they are part of can go.
    #[must_use]
    pub fn detached(&self) -> Self {
        Self(Bytes::copy_from_slice(&self.0))
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.to_lossy())
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&Escaped(&self.0), f)
    }
}

/// Writes bytes as [`Text::escaped`] says.
pub(super) struct Escaped<'a>(pub(super) &'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for char in chunk.valid().chars() {
                match char {
                    '\'' => f.write_char(char)?,
                    _ => write!(f, "{}", char.escape_debug())?,
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

/// The same in quotes.
impl fmt::Debug for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl AsRef<[u8]> for Text {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// So that a set or map of texts can be asked for bytes.
impl Borrow<[u8]> for Text {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl From<Bytes> for Text {
    fn from(bytes: Bytes) -> Self {
        Self(bytes)
    }
}

impl From<&'static str> for Text {
    fn from(text: &'static str) -> Self {
        Self::from_static(text)
    }
}

impl From<&'static [u8]> for Text {
    fn from(bytes: &'static [u8]) -> Self {
        Self(Bytes::from_static(bytes))
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<Vec<u8>> for Text {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl From<Text> for Bytes {
    fn from(text: Text) -> Self {
        text.0
    }
}

macro_rules! compares_with {
    ($([$($generics:tt)*] $other:ty),* $(,)?) => {$(
        impl<$($generics)*> PartialEq<$other> for Text {
            fn eq(&self, other: &$other) -> bool {
                self.as_bytes() == AsRef::<[u8]>::as_ref(other)
            }
        }

        impl<$($generics)*> PartialEq<Text> for $other {
            fn eq(&self, other: &Text) -> bool {
                other == self
            }
        }
    )*};
}

compares_with!([] str, [] &str, [] String, [] [u8], [] &[u8], [] Vec<u8>, [] Bytes);
compares_with!([const N: usize] [u8; N], [const N: usize] &[u8; N]);

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashSet};

    use super::*;

    #[test]
    fn bytes_go_in_and_out_unchanged() {
        let bytes = Bytes::from_static(b"caf\xe9\r\n\0");
        let text = Text::from(bytes.clone());
        assert_eq!(text.as_bytes(), bytes);
        assert_eq!(text.clone().into_bytes().as_ptr(), bytes.as_ptr(), "shared, not copied");
        assert_eq!(text.detached(), text);
        assert_ne!(text.detached().as_bytes().as_ptr(), bytes.as_ptr());
    }

    #[test]
    fn the_author_chooses_what_happens_to_bytes_that_are_no_text() {
        let text = Text::from(&b"a\xe9b"[..]);
        assert_eq!(text.to_str().unwrap_err().valid_up_to(), 1);
        assert_eq!((text.to_string().as_str(), text.to_lossy().as_ref()), ("a\u{fffd}b", "a\u{fffd}b"));
        assert_eq!(format!("{text:?}"), r#""a\xe9b""#);
        assert_eq!(format!("[{:<4}]", Text::from("ü")), "[ü   ]");
    }

    #[test]
    fn escapes_leave_readable_text_alone_and_are_one_line() {
        for (bytes, escaped) in [
            (&b""[..], ""),
            ("J\u{fc}rgen's".as_bytes(), "Jürgen's"),
            (b"\"\\", r#"\"\\"#),
            (b"a\r\n\tb\0\x1b[2J", r"a\r\n\tb\0\u{1b}[2J"),
            (b"\xff\xc3", r"\xff\xc3"),
            (b"\\xff", r"\\xff"),
            ("\u{202e}".as_bytes(), r"\u{202e}"),
        ] {
            assert_eq!(Escaped(bytes).to_string(), escaped);
        }
    }

    #[test]
    fn it_compares_with_strings_and_bytes_on_both_sides() {
        let text = Text::from("Mx");
        assert_eq!(text, "Mx");
        assert_eq!("Mx", text);
        assert_eq!(text, *"Mx");
        assert_eq!(text, b"Mx");
        assert_eq!(b"Mx"[..], text);
        assert_eq!(text, Bytes::from_static(b"Mx"));
        assert_ne!(text, "mx");
        assert!(text.eq_ignore_case("mX") && !text.eq_ignore_case("my"));
    }

    #[test]
    fn sets_of_texts_are_asked_for_bytes() {
        let texts = ["a", "b"].map(Text::from);
        assert!(HashSet::from(texts.clone()).contains(&b"a"[..]));
        assert!(!BTreeSet::from(texts).contains(&b"c"[..]));
    }
}

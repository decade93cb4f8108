//! What our own side refuses in a modification, before it is sent and when it is received.
//!
//! No MTA checks names and values, so that an unchecked one can end a header field, or the whole header, early
//! (spec §12.3). Values that were read from the wire may be sent again as they are; these checks are for what an
//! author makes, and for what an MTA takes from a filter.

use std::borrow::Cow;
use std::fmt;

use memchr::{memchr, memchr_iter, memchr3_iter};

use super::Edit;

/// Checks the name of a header field: printable ASCII without space and colon, at least one byte.
///
/// # Errors
///
/// [`Invalid::Empty`], or [`Invalid::Byte`] for the first byte that may not be there.
pub fn header_name(name: &[u8]) -> Result<(), Invalid> {
    const ITEM: Item = Item::HeaderName;
    if name.is_empty() {
        return Err(Invalid::Empty { item: ITEM });
    }
    match name.iter().position(|byte| !byte.is_ascii_graphic() || *byte == b':') {
        Some(at) => Err(Invalid::Byte { item: ITEM, byte: name[at], at }),
        None => Ok(()),
    }
}

/// Checks the value of a header field and yields it in wire form: CRLF before a continuation line becomes LF.
///
/// A continuation line of nothing but white space is refused. RFC 5322 forbids to make such lines (§3.2.2), and a
/// relay that trims white space at line ends makes the end of the header of it: what follows would be body.
///
/// # Errors
///
/// The first thing that is wrong, with its position.
///
/// ```
/// use tamis_proto::edit::validate::header_value;
///
/// assert_eq!(header_value(b"one\r\n\ttwo").unwrap(), &b"one\n\ttwo"[..]);
/// assert_eq!(
///     header_value(b"hi\nBcc: x@example.com").unwrap_err().to_string(),
///     "header value has a line feed without white space after it at byte 2"
/// );
/// ```
pub fn header_value(value: &[u8]) -> Result<Cow<'_, [u8]>, Invalid> {
    const ITEM: Item = Item::HeaderValue;
    let mut returns = false;
    for at in memchr3_iter(0, b'\r', b'\n', value) {
        let rest = &value[at + 1..];
        match value[at] {
            0 => return Err(Invalid::Byte { item: ITEM, byte: 0, at }),
            b'\r' if rest.first() == Some(&b'\n') => returns = true,
            b'\r' => return Err(Invalid::BareReturn { at }),
            _ => {
                let line = &rest[..memchr(b'\n', rest).unwrap_or(rest.len())];
                if !matches!(line.first(), Some(b' ' | b'\t')) {
                    return Err(Invalid::UnfoldedFeed { at });
                }
                if line.trim_ascii_start().is_empty() {
                    return Err(Invalid::BlankLine { at: at + 1 });
                }
            }
        }
    }
    if !returns {
        return Ok(Cow::Borrowed(value));
    }
    // Each CR stands before an LF by now.
    let mut wire = Vec::with_capacity(value.len());
    let mut done = 0;
    for at in memchr_iter(b'\r', value) {
        wire.extend_from_slice(&value[done..at]);
        done = at + 1;
    }
    wire.extend_from_slice(&value[done..]);
    Ok(Cow::Owned(wire))
}

/// Checks a sender address, with or without angle brackets; `<>` is the null sender.
///
/// # Errors
///
/// The first thing that is wrong, with its position.
pub fn sender(address: &[u8]) -> Result<(), Invalid> {
    line(Item::Address, address)?;
    if address.is_empty() {
        return Err(Invalid::Empty { item: Item::Address });
    }
    within_brackets(address).map(drop)
}

/// Checks a recipient address, with or without angle brackets.
///
/// `<>` is refused, Sendmail would make a broken recipient of it; so is a list, of which Sendmail would add each
/// address and Postfix the first. Sendmail splits at commas, or at spaces if there is no comma.
///
/// # Errors
///
/// The first thing that is wrong, with its position.
pub fn recipient(address: &[u8]) -> Result<(), Invalid> {
    line(Item::Address, address)?;
    if address.is_empty() {
        return Err(Invalid::Empty { item: Item::Address });
    }
    let inner = within_brackets(address)?;
    if inner.is_empty() {
        return Err(Invalid::NullRecipient);
    }
    match unquoted_separator(inner) {
        Some(at) => Err(Invalid::List { at: at + usize::from(inner.len() < address.len()) }),
        None => Ok(()),
    }
}

/// Checks ESMTP parameters in the form of the wire, one text with spaces; it may be empty.
///
/// # Errors
///
/// [`Invalid::Byte`] for a NUL, CR or LF.
pub fn args(args: &[u8]) -> Result<(), Invalid> {
    line(Item::Arguments, args)
}

/// Checks the reason of a quarantine: one line, not empty.
///
/// # Errors
///
/// [`Invalid::Empty`], or [`Invalid::Byte`] for a NUL, CR or LF.
pub fn reason(reason: &[u8]) -> Result<(), Invalid> {
    line(Item::Reason, reason)?;
    if reason.is_empty() { Err(Invalid::Empty { item: Item::Reason }) } else { Ok(()) }
}

/// Checks a modification before it is sent: whatever would break the packet, the envelope or the header is
/// refused, but values and the names of existing fields may be as they came from the wire.
pub(crate) fn edit<B: AsRef<[u8]>>(edit: &Edit<B>) -> Result<(), Invalid> {
    match edit {
        Edit::AddHeader { name, value } | Edit::InsertHeader { name, value, .. } => {
            header_name(name.as_ref())?;
            without_nul(value.as_ref())
        }
        Edit::ChangeHeader { name, value, .. } => {
            line(Item::HeaderName, name.as_ref())?;
            if name.as_ref().is_empty() {
                return Err(Invalid::Empty { item: Item::HeaderName });
            }
            without_nul(value.as_ref())
        }
        other => envelope(other),
    }
}

/// Checks only that each string of a modification ends where the packet says so.
pub(crate) fn without_nuls<B: AsRef<[u8]>>(edit: &Edit<B>) -> Result<(), Invalid> {
    let check = |item, text: &B| match memchr(0, text.as_ref()) {
        Some(at) => Err(Invalid::Byte { item, byte: 0, at }),
        None => Ok(()),
    };
    match edit {
        Edit::AddHeader { name, value }
        | Edit::InsertHeader { name, value, .. }
        | Edit::ChangeHeader { name, value, .. } => {
            check(Item::HeaderName, name)?;
            check(Item::HeaderValue, value)
        }
        Edit::ChangeSender { address, args } | Edit::AddRecipientWithArgs { address, args } => {
            check(Item::Address, address)?;
            args.as_ref().map_or(Ok(()), |args| check(Item::Arguments, args))
        }
        Edit::AddRecipient { address } | Edit::DeleteRecipient { address } => check(Item::Address, address),
        Edit::Quarantine { reason } => check(Item::Reason, reason),
        Edit::ReplaceBody(_) => Ok(()),
    }
}

/// Checks a modification as an MTA receives it, where nothing may end a header field or the header early.
pub(crate) fn received_edit<B: AsRef<[u8]>>(edit: &Edit<B>) -> Result<(), Invalid> {
    match edit {
        Edit::AddHeader { name, value }
        | Edit::InsertHeader { name, value, .. }
        | Edit::ChangeHeader { name, value, .. } => {
            header_name(name.as_ref())?;
            match (header_value(value.as_ref())?, memchr(b'\r', value.as_ref())) {
                (_, Some(at)) => Err(Invalid::BareReturn { at }),
                _ => Ok(()),
            }
        }
        other => envelope(other),
    }
}

fn envelope<B: AsRef<[u8]>>(edit: &Edit<B>) -> Result<(), Invalid> {
    match edit {
        Edit::ChangeSender { address, args: parameters } => {
            sender(address.as_ref())?;
            parameters.as_ref().map_or(Ok(()), |text| args(text.as_ref()))
        }
        Edit::AddRecipient { address } => recipient(address.as_ref()),
        Edit::AddRecipientWithArgs { address, args: parameters } => {
            recipient(address.as_ref())?;
            parameters.as_ref().map_or(Ok(()), |text| args(text.as_ref()))
        }
        // It only has to equal what RCPT had.
        Edit::DeleteRecipient { address } if address.as_ref().is_empty() => {
            Err(Invalid::Empty { item: Item::Address })
        }
        Edit::DeleteRecipient { address } => line(Item::Address, address.as_ref()),
        Edit::Quarantine { reason: text } => reason(text.as_ref()),
        _ => Ok(()),
    }
}

fn without_nul(value: &[u8]) -> Result<(), Invalid> {
    match memchr(0, value) {
        Some(at) => Err(Invalid::Byte { item: Item::HeaderValue, byte: 0, at }),
        None => Ok(()),
    }
}

fn line(item: Item, text: &[u8]) -> Result<(), Invalid> {
    match memchr3_iter(0, b'\r', b'\n', text).next() {
        Some(at) => Err(Invalid::Byte { item, byte: text[at], at }),
        None => Ok(()),
    }
}

fn within_brackets(address: &[u8]) -> Result<&[u8], Invalid> {
    match (address.strip_prefix(b"<"), address.strip_suffix(b">")) {
        (Some(_), Some([_, inner @ ..])) => Ok(inner),
        (None, None) => Ok(address),
        _ => Err(Invalid::Brackets),
    }
}

fn unquoted_separator(address: &[u8]) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    address.iter().position(|&byte| {
        if std::mem::take(&mut escaped) {
            return false;
        }
        match byte {
            b'\\' => escaped = true,
            b'"' => quoted = !quoted,
            _ => return matches!(byte, b',' | b' ' | b'\t') && !quoted,
        }
        false
    })
}

/// The part of a modification that was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Item {
    /// The name of a header field.
    HeaderName,
    /// The value of a header field.
    HeaderValue,
    /// An envelope address.
    Address,
    /// ESMTP parameters.
    Arguments,
    /// The reason of a quarantine.
    Reason,
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HeaderName => "header name",
            Self::HeaderValue => "header value",
            Self::Address => "address",
            Self::Arguments => "parameter text",
            Self::Reason => "quarantine reason",
        })
    }
}

/// Why a part of a modification is refused. Positions count bytes from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Invalid {
    /// It is empty.
    Empty {
        /// What is.
        item: Item,
    },
    /// It has a byte that may not be there.
    Byte {
        /// What has it.
        item: Item,
        /// The byte.
        byte: u8,
        /// Where it is.
        at: usize,
    },
    /// A header value has a CR that is not before an LF.
    BareReturn {
        /// Where it is.
        at: usize,
    },
    /// A header value has an LF that is not before a space or tab.
    UnfoldedFeed {
        /// Where it is.
        at: usize,
    },
    /// A header value has a continuation line of nothing but white space.
    BlankLine {
        /// Where the line begins.
        at: usize,
    },
    /// An address has an angle bracket on one side only.
    Brackets,
    /// A recipient is the null address.
    NullRecipient,
    /// A recipient is a list of addresses.
    List {
        /// Where the comma or white space is.
        at: usize,
    },
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Empty { item } => write!(f, "{item} is empty"),
            Self::Byte { item, byte, at } => {
                match byte {
                    0 => write!(f, "{item} has a NUL"),
                    b'\r' => write!(f, "{item} has a carriage return"),
                    b'\n' => write!(f, "{item} has a line feed"),
                    b' ' => write!(f, "{item} has a space"),
                    b':' => write!(f, "{item} has a colon"),
                    _ => write!(f, "{item} has the byte {byte:#04x}"),
                }?;
                write!(f, " at byte {at}")
            }
            Self::BareReturn { at } => {
                write!(f, "header value has a carriage return without line feed after it at byte {at}")
            }
            Self::UnfoldedFeed { at } => {
                write!(f, "header value has a line feed without white space after it at byte {at}")
            }
            Self::BlankLine { at } => {
                write!(f, "header value has a continuation line of only white space at byte {at}")
            }
            Self::Brackets => f.write_str("address has an angle bracket on one side only"),
            Self::NullRecipient => f.write_str("recipient address is the null address"),
            Self::List { at } => {
                write!(
                    f,
                    "recipient address is a list, it has a comma or white space outside of quotes at byte {at}"
                )
            }
        }
    }
}

impl std::error::Error for Invalid {}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(result: Result<impl fmt::Debug, Invalid>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn header_names() {
        assert_eq!(header_name(b"X-Spam_Score!~"), Ok(()));
        assert_eq!(text(header_name(b"")), "header name is empty");
        assert_eq!(text(header_name(b"X:Y")), "header name has a colon at byte 1");
        assert_eq!(text(header_name(b"X Y")), "header name has a space at byte 1");
        assert_eq!(text(header_name(b"X\nY")), "header name has a line feed at byte 1");
        assert_eq!(text(header_name("Xé".as_bytes())), "header name has the byte 0xc3 at byte 1");
        assert_eq!(text(header_name(b"X\x7f")), "header name has the byte 0x7f at byte 1");
    }

    #[test]
    fn plain_and_folded_values_are_passed_on_without_a_copy() {
        for value in [&b""[..], b" ", b"hello", b"one\n\ttwo\n  three", b"\n first", b"caf\xe9 \x01"] {
            assert!(matches!(header_value(value), Ok(Cow::Borrowed(same)) if same == value), "{value:?}");
        }
    }

    #[test]
    fn network_line_ends_become_line_feeds() {
        assert_eq!(header_value(b"a\r\n b\n\tc\r\n d").unwrap(), &b"a\n b\n\tc\n d"[..]);
    }

    #[test]
    fn values_that_would_end_the_field_are_refused() {
        assert_eq!(
            text(header_value(b"twelve bytes\nEvil: x")),
            "header value has a line feed without white space after it at byte 12"
        );
        assert_eq!(header_value(b"a\r\nEvil: x"), Err(Invalid::UnfoldedFeed { at: 2 }));
        assert_eq!(header_value(b"a\n"), Err(Invalid::UnfoldedFeed { at: 1 }));
        assert_eq!(header_value(b"a\n\n b"), Err(Invalid::UnfoldedFeed { at: 1 }));
        assert_eq!(header_value(b"a\r"), Err(Invalid::BareReturn { at: 1 }));
        assert_eq!(header_value(b"a\r\r\n b"), Err(Invalid::BareReturn { at: 1 }));
        assert_eq!(header_value(b"a\n \r b"), Err(Invalid::BareReturn { at: 3 }));
        assert_eq!(text(header_value(b"a\0b")), "header value has a NUL at byte 1");
    }

    #[test]
    fn a_continuation_line_of_white_space_is_refused() {
        assert_eq!(
            text(header_value(b"a\n \n\tb")),
            "header value has a continuation line of only white space at byte 2"
        );
        assert_eq!(header_value(b"a\r\n \r\n b"), Err(Invalid::BlankLine { at: 3 }));
        assert_eq!(header_value(b"a\n\t"), Err(Invalid::BlankLine { at: 2 }));
    }

    #[test]
    fn addresses() {
        for good in [&b"a@example.com"[..], b"<a@example.com>", b"postmaster", b"\"a,b\"@example.com"] {
            assert_eq!((sender(good), recipient(good)), (Ok(()), Ok(())));
        }
        assert_eq!(sender(b"<>"), Ok(()));
        assert_eq!(text(sender(b"")), "address is empty");
        assert_eq!(text(recipient(b"<>")), "recipient address is the null address");
        assert_eq!(text(recipient(b"")), "address is empty");
        assert_eq!(text(recipient(b"a@b\r\nDATA")), "address has a carriage return at byte 3");
        assert_eq!(sender(b"<a@example.com"), Err(Invalid::Brackets));
        assert_eq!(sender(b"<"), Err(Invalid::Brackets));
        assert_eq!(recipient(b"a@example.com>"), Err(Invalid::Brackets));
        assert_eq!(recipient(b"<a@b>,<c@d>"), Err(Invalid::List { at: 5 }));
        assert_eq!(recipient(b"a@b c@d"), Err(Invalid::List { at: 3 }));
        assert_eq!(recipient(b"<\"a b\"@c>"), Ok(()));
        assert_eq!(
            text(recipient(b"a@b,c@d")),
            "recipient address is a list, it has a comma or white space outside of quotes at byte 3"
        );
    }

    #[test]
    fn args_and_reasons_are_one_line() {
        assert_eq!(args(b""), Ok(()));
        assert_eq!(args(b"NOTIFY=NEVER ORCPT=rfc822;a@b"), Ok(()));
        assert_eq!(text(args(b"RET=HDRS\n")), "parameter text has a line feed at byte 8");
        assert_eq!(reason(b"held for review"), Ok(()));
        assert_eq!(text(reason(b"")), "quarantine reason is empty");
        assert_eq!(text(reason(b"a\0")), "quarantine reason has a NUL at byte 1");
    }
}

//! Values of the parameters that have a meaning of their own.

use super::xtext;
use crate::message::Text;

/// What a body is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BodyType {
    /// Lines of ASCII: `7BIT`.
    SevenBit,
    /// Lines of any bytes: `8BITMIME`.
    EightBitMime,
    /// Any bytes: `BINARYMIME`.
    BinaryMime,
}

impl BodyType {
    pub(super) fn parse(value: &[u8]) -> Option<Self> {
        one_of(
            value,
            &[("7BIT", Self::SevenBit), ("8BITMIME", Self::EightBitMime), ("BINARYMIME", Self::BinaryMime)],
        )
    }
}

/// How much of a message a bounce shall return.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Return {
    /// All of it: `FULL`.
    Full,
    /// Its header: `HDRS`.
    Headers,
}

impl Return {
    pub(super) fn parse(value: &[u8]) -> Option<Self> {
        one_of(value, &[("FULL", Self::Full), ("HDRS", Self::Headers)])
    }
}

/// When a sender wants to be told what became of a recipient; all `false` for `NEVER`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Notify {
    /// When the message was delivered.
    pub success: bool,
    /// When it cannot be delivered.
    pub failure: bool,
    /// When it is late.
    pub delay: bool,
}

impl Notify {
    /// Whether the sender wants to be told nothing at all.
    pub const fn is_never(self) -> bool {
        !self.success && !self.failure && !self.delay
    }

    pub(super) fn parse(value: &[u8]) -> Option<Self> {
        let mut notify = Self::default();
        if value.eq_ignore_ascii_case(b"NEVER") {
            return Some(notify);
        }
        for word in value.split(|byte| *byte == b',') {
            let wants = match word.to_ascii_uppercase().as_slice() {
                b"SUCCESS" => &mut notify.success,
                b"FAILURE" => &mut notify.failure,
                b"DELAY" => &mut notify.delay,
                _ => return None,
            };
            *wants = true;
        }
        Some(notify)
    }
}

/// The address that a message was sent to at first, before anything forwarded it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OriginalRecipient {
    /// What kind of address it is, mostly `rfc822`.
    pub kind: Text,
    /// The address, decoded.
    pub address: Text,
}

impl OriginalRecipient {
    pub(super) fn parse(value: &[u8]) -> Option<Self> {
        let at = value.iter().position(|byte| *byte == b';')?;
        let (kind, address) = (&value[..at], &value[at + 1..]);
        let address = if kind.eq_ignore_ascii_case(b"utf-8") {
            xtext::decode_unicode(address)?
        } else {
            xtext::decode(address)?
        };
        Some(Self { kind: kind.to_vec().into(), address: address.into() })
    }
}

fn one_of<T: Copy>(value: &[u8], known: &[(&str, T)]) -> Option<T> {
    known.iter().find(|(name, _)| value.eq_ignore_ascii_case(name.as_bytes())).map(|(_, meaning)| *meaning)
}

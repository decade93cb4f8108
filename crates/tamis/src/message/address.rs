//! [`Address`]: a path of the envelope, as MTAs really hand it over.

mod idn;
mod split;

use std::borrow::Cow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;

use bytes::Bytes;

use self::split::Spans;
use super::Text;
use super::text::Escaped;

/// The address of a sender or recipient: the bytes that the client wrote, and what they mean.
///
/// Any bytes make an address, and all of them are kept: MTAs hand over what the client wrote, with or without angle
/// brackets, with source routes, quotes, Latin-1, and nonsense that another check will refuse. The parts are views of
/// it:
///
/// | written | [`local_part`](Self::local_part) | [`domain`](Self::domain) | |
/// | --- | --- | --- | --- |
/// | `<Joe@Example.COM>`, `Joe@Example.COM` | `Joe` | `example.com` | |
/// | `<>`, nothing | | none | [null](Self::is_null) |
/// | `<postmaster>` | `postmaster` | none | |
/// | `<"a b\"c"@example.com.>` | `a b"c` | `example.com` | quotes and the dot of the root are taken off |
/// | `<@a.example,@b.example:joe@c.example>` | `joe` | `c.example` | [source route](Self::source_route) |
/// | `<joe@[IPv6:2001:DB8::1]>` | `joe` | `[ipv6:2001:db8::1]` | [literal](Self::literal) |
/// | `<jörg@bücher.example>` | `jörg` | `bücher.example` | [`domain_ascii`](Self::domain_ascii) |
/// | `<a%b@c.example>`, `<c.example!a@b>` | `a%b`, `c.example!a` | `c.example`, `b` | hacks stay as they are |
///
/// Two addresses are equal if they are written the same; whether they mean the same mailbox is what
/// [`matches`](Self::matches) says. The parts are RFC 5321's; what the MTA made of it is told by the macros
/// [`{mail_addr}`](super::Facts::mail_addr) and [`{rcpt_addr}`](super::Facts::rcpt_addr).
///
/// # Examples
///
/// ```
/// use tamis::message::Address;
///
/// let address = Address::parse("<@relay.example:\"jane doe\"@Example.COM.>");
/// assert_eq!(address.local_part(), "jane doe");
/// assert_eq!(address.domain(), Some("example.com"));
/// assert_eq!(address.source_route(), Some(&b"@relay.example"[..]));
/// assert!(address.matches("<\"jane\\ doe\"@example.com>"));
/// assert_eq!(address.to_string(), "<@relay.example:\"jane doe\"@Example.COM.>");
/// ```
#[doc(alias = "parse_addr")]
#[derive(Clone)]
pub struct Address {
    raw: Bytes,
    spans: Spans,
    local: Text,
    /// The domain where it is not as written.
    domain: Option<Box<str>>,
}

impl Address {
    /// Reads an address. Never fails: what makes no sense as an address is a local part.
    pub fn parse(raw: impl Into<Bytes>) -> Self {
        let raw = raw.into();
        let spans = Spans::of(&raw);
        let local = match spans.unquoted_local(&raw) {
            Cow::Borrowed(_) => raw.slice(spans.local.clone()),
            Cow::Owned(unquoted) => unquoted.into(),
        };
        let domain = std::str::from_utf8(without_root(spans.domain(&raw))).ok();
        let domain = domain.filter(|domain| domain.bytes().any(|byte| byte.is_ascii_uppercase()));
        let domain = domain.map(|domain| domain.to_ascii_lowercase().into());
        Self { spans, local: local.into(), domain, raw }
    }

    /// All bytes as they came, brackets included. What an edit that removes this recipient needs.
    pub fn as_bytes(&self) -> &[u8] {
        &self.raw
    }

    /// Whether it is the null sender, `<>`, the address of bounces.
    pub fn is_null(&self) -> bool {
        self.spans.path.is_empty()
    }

    /// What is before the last `@`, without quotes and backslashes: `"a b"` and `a\ b` are both `a b`. Case is kept,
    /// as it may matter to the MTA that delivers.
    pub fn local_part(&self) -> &Text {
        &self.local
    }

    /// The local part as it was written.
    pub fn raw_local_part(&self) -> &[u8] {
        &self.raw[self.spans.local.clone()]
    }

    /// What is after the last `@`: ASCII letters in lower case, without the dot of the root at its end, an address
    /// literal in its brackets.
    ///
    /// None if there is nothing, or if it is not UTF-8; then [`domain_bytes`](Self::domain_bytes) has it.
    pub fn domain(&self) -> Option<&str> {
        if let Some(lower) = &self.domain {
            return Some(lower);
        }
        let domain = without_root(self.domain_bytes()?);
        std::str::from_utf8(domain).ok().filter(|domain| !domain.is_empty())
    }

    /// The domain as it was written. None if there is nothing after an `@`, or no `@`.
    pub fn domain_bytes(&self) -> Option<&[u8]> {
        Some(self.spans.domain(&self.raw)).filter(|domain| !domain.is_empty())
    }

    /// The domain as DNS and lists of domains have it, with A-labels: `bücher.example` is `xn--bcher-kva.example`.
    ///
    /// None without a domain and for an address literal. A domain that is not ASCII has this form only with the feature
    /// `idn`, and only if it can be a domain name; one that is ASCII has it as it stands.
    pub fn domain_ascii(&self) -> Option<Cow<'_, str>> {
        idn::to_ascii(self.domain().filter(|_| !self.is_literal())?)
    }

    /// The domain as people read it, with U-labels: `xn--bcher-kva.example` is `bücher.example`.
    ///
    /// None without a domain and for an address literal. A domain with A-labels or with letters that are not ASCII has
    /// this form only with the feature `idn`, and only if it can be a domain name. Different domains can look the same
    /// here: show it, but decide upon the other form.
    pub fn domain_unicode(&self) -> Option<Cow<'_, str>> {
        idn::to_unicode(self.domain().filter(|_| !self.is_literal())?)
    }

    /// Whether the domain is an address literal, such as `[192.0.2.1]` or `[IPv6:2001:db8::1]`.
    pub fn is_literal(&self) -> bool {
        matches!(self.spans.domain(&self.raw), [b'[', .., b']'])
    }

    /// The IP address that is written for the domain, if one is.
    pub fn literal(&self) -> Option<IpAddr> {
        let inner = self.domain()?.strip_prefix('[')?.strip_suffix(']')?;
        match inner.strip_prefix("ipv6:") {
            Some(v6) => v6.parse().ok().map(IpAddr::V6),
            None => inner.parse().ok().map(IpAddr::V4),
        }
    }

    /// The hosts that the client wanted the mail to take, `@a,@b` of `<@a,@b:joe@c>`. MTAs ignore them.
    pub fn source_route(&self) -> Option<&[u8]> {
        self.spans.route.clone().map(|route| &self.raw[route])
    }

    /// Local part and domain as they were written, without brackets and source route: the address to compare with the
    /// macros `{mail_addr}` and `{rcpt_addr}`, or to look up.
    pub fn mailbox(&self) -> &[u8] {
        &self.raw[self.spans.mailbox()]
    }

    /// What stands behind the closing bracket. Sendmail before 8.17.2 hands over parameters there if it speaks
    /// SMTPUTF8.
    pub fn trailing(&self) -> &[u8] {
        self.raw[self.spans.end..].trim_ascii()
    }

    /// Whether another address is the same mailbox: the same local part, quoted or not, at the same domain whatever
    /// its case. Source routes do not count.
    ///
    /// A domain with A-labels is not the same as one with U-labels; for these compare
    /// [`domain_ascii`](Self::domain_ascii).
    pub fn matches(&self, other: impl AsRef<[u8]>) -> bool {
        let other = other.as_ref();
        let spans = Spans::of(other);
        self.is_null() == spans.path.is_empty()
            && self.local == *spans.unquoted_local(other)
            && without_root(self.spans.domain(&self.raw))
                .eq_ignore_ascii_case(without_root(spans.domain(other)))
    }

    /// Copies the bytes, so that the larger piece of input which they are part of can go.
    #[must_use]
    pub fn detached(&self) -> Self {
        Self::parse(Bytes::copy_from_slice(&self.raw))
    }
}

/// A domain without the dot of the root, which DNS does not need to know that it is complete.
fn without_root(domain: &[u8]) -> &[u8] {
    domain.strip_suffix(b".").unwrap_or(domain)
}

impl PartialEq for Address {
    fn eq(&self, other: &Self) -> bool {
        self.raw == other.raw
    }
}

impl Eq for Address {}

impl Hash for Address {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.raw.hash(state);
    }
}

/// As it was written, with U+FFFD for what is not UTF-8.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&String::from_utf8_lossy(&self.raw))
    }
}

/// As it was written, in quotes and escaped as [`Text::escaped`] does.
impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&Escaped(&self.raw), f)
    }
}

impl AsRef<[u8]> for Address {
    fn as_ref(&self) -> &[u8] {
        &self.raw
    }
}

impl From<Address> for Bytes {
    fn from(address: Address) -> Self {
        address.raw
    }
}

macro_rules! from {
    ($($type:ty),*) => {$(
        impl From<$type> for Address {
            fn from(raw: $type) -> Self {
                Self::parse(raw)
            }
        }
    )*};
}

from!(Bytes, Text, &'static str, String, Vec<u8>);

#[cfg(test)]
mod tests;

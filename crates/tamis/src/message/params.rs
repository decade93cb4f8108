//! [`Params`]: the ESMTP parameters of MAIL and RCPT.

mod values;
mod xtext;

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use tamis_proto::command::Envelope;

use super::text::Escaped;
use super::{Address, Text};

pub use values::{BodyType, Notify, OriginalRecipient, Return};

/// The parameters that a client gave with MAIL or RCPT, such as `SIZE=1000`, in its order.
///
/// Nothing is lost: duplicates stay, and a value begins after the first `=` and may have more of them. Names are
/// compared without case. What filters use most has a reader of its own, which says `None` for what is not there *and*
/// for what makes no sense; [`get`](Self::get) has the bytes in both cases.
///
/// # Examples
///
/// ```
/// use tamis::message::{BodyType, Params};
///
/// let params: Params = ["SIZE=1000", "BODY=8BITMIME", "AUTH=joe+2Bx@example.com", "SMTPUTF8"].into_iter().collect();
/// assert_eq!(params.size(), Some(1000));
/// assert_eq!(params.body(), Some(BodyType::EightBitMime));
/// assert!(params.auth().unwrap().matches("joe+x@example.com"));
/// assert_eq!(params.get("auth"), Some(&b"joe+2Bx@example.com"[..]));
/// assert!(params.contains("smtputf8") && !params.contains("RET"));
/// assert_eq!(params.to_text(), "SIZE=1000 BODY=8BITMIME AUTH=joe+2Bx@example.com SMTPUTF8");
/// ```
#[derive(Clone)]
pub struct Params {
    /// Its parameters are what counts; without a copy they cannot be had alone.
    envelope: Envelope<Bytes>,
}

impl Params {
    /// Each parameter: its name as it was written and, if there is a `=`, its value.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> + Clone {
        self.envelope.args().map(|arg| match arg.iter().position(|byte| *byte == b'=') {
            Some(at) => (&arg[..at], Some(&arg[at + 1..])),
            None => (arg, None),
        })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.envelope.args().count()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.envelope.args().next().is_none()
    }

    /// The value of the first parameter of a name; empty for one without `=`.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.envelope.arg(name)
    }

    /// The values of all parameters of a name, in their order; empty for one without `=`.
    pub fn get_all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let wanted = self.iter().filter(move |(key, _)| key.eq_ignore_ascii_case(name.as_bytes()));
        wanted.map(|(_, value)| value.unwrap_or_default())
    }

    /// Whether there is a parameter of a name, with or without a value.
    pub fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// The values by name in upper case, those of a name in their order; `None` for a parameter without `=`.
    pub fn to_map(&self) -> BTreeMap<String, Vec<Option<&[u8]>>> {
        let mut map = BTreeMap::<_, Vec<_>>::new();
        for (name, value) in self.iter() {
            map.entry(String::from_utf8_lossy(name).to_ascii_uppercase()).or_default().push(value);
        }
        map
    }

    /// All of them as one text with single spaces, the form that changing the sender and adding a recipient take.
    pub fn to_text(&self) -> Text {
        let mut text = Vec::new();
        for arg in self.envelope.args() {
            if !text.is_empty() {
                text.push(b' ');
            }
            text.extend_from_slice(arg);
        }
        text.into()
    }

    /// How many bytes the client says that the message has (`SIZE`, RFC 1870). It may be wrong.
    pub fn size(&self) -> Option<u64> {
        let digits = self.get("SIZE").filter(|value| value.iter().all(u8::is_ascii_digit))?;
        std::str::from_utf8(digits).ok()?.parse().ok()
    }

    /// What the body is made of (`BODY`, RFC 6152 and 3030).
    pub fn body(&self) -> Option<BodyType> {
        BodyType::parse(self.get("BODY")?)
    }

    /// Whether addresses and header fields may be UTF-8 (`SMTPUTF8`, RFC 6531).
    pub fn smtputf8(&self) -> bool {
        self.contains("SMTPUTF8")
    }

    /// How much of the message a bounce shall return (`RET`, RFC 3461).
    pub fn ret(&self) -> Option<Return> {
        Return::parse(self.get("RET")?)
    }

    /// The sender's name for the message, which a bounce repeats (`ENVID`, RFC 3461), decoded.
    pub fn envid(&self) -> Option<Text> {
        xtext::decode(self.get("ENVID")?).map(Text::from)
    }

    /// Who handed in the message first, as the client says (`AUTH`, RFC 4954), decoded; the null address where it does
    /// not say it. Who logged in to the MTA is [`Facts::auth_user`](super::Facts::auth_user).
    pub fn auth(&self) -> Option<Address> {
        let value = Some(self.get("AUTH")?).filter(|value| !value.is_empty())?;
        xtext::decode(value).map(Address::from)
    }

    /// When the sender shall be told about this recipient (`NOTIFY`, RFC 3461).
    pub fn notify(&self) -> Option<Notify> {
        Notify::parse(self.get("NOTIFY")?)
    }

    /// The address that the message was sent to at first (`ORCPT`, RFC 3461), decoded.
    pub fn orcpt(&self) -> Option<OriginalRecipient> {
        OriginalRecipient::parse(self.get("ORCPT")?)
    }
}

impl Default for Params {
    fn default() -> Self {
        Envelope::new(b"").map(Bytes::from_static).into()
    }
}

impl From<Envelope<Bytes>> for Params {
    fn from(envelope: Envelope<Bytes>) -> Self {
        Self { envelope }
    }
}

/// Each item is one parameter, as `NAME=value` or `NAME`.
impl<A: AsRef<[u8]>> FromIterator<A> for Params {
    fn from_iter<I: IntoIterator<Item = A>>(params: I) -> Self {
        Envelope::with_args(b"", params).map(Bytes::from).into()
    }
}

impl PartialEq for Params {
    fn eq(&self, other: &Self) -> bool {
        self.envelope.args().eq(other.envelope.args())
    }
}

impl Eq for Params {}

/// As [`Params::to_text`], with U+FFFD for what is not UTF-8.
impl fmt::Display for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_text().fmt(f)
    }
}

impl fmt::Debug for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.envelope.args().map(Escaped)).finish()
    }
}

#[cfg(test)]
mod tests;

//! What header fields mean: decoded text, dates, addresses; and the way back.

use std::fmt;
use std::time::{Duration, SystemTime};

use mail_builder::headers::address::Address as WrittenAddress;
use mail_builder::headers::date::Date as WrittenDate;
use mail_builder::headers::text::Text as WrittenText;
use mail_parser::parsers::MessageStream;
use mail_parser::{Addr, Address as ReadAddress, HeaderValue as Read};
use tamis_proto::edit::validate::{self, Invalid};

use super::{Header, HeaderError, HeaderId, HeaderValue, Headers};

/// An address in a header field, with or without a name before it.
///
/// # Examples
///
/// ```
/// use tamis::message::Mailbox;
///
/// let mailbox = Mailbox::named("Jürgen", "juergen@example.com");
/// assert_eq!(mailbox.to_string(), "Jürgen <juergen@example.com>");
/// assert_eq!(Mailbox::new("root@example.com").to_string(), "root@example.com");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Mailbox {
    /// What people call it, decoded.
    pub name: Option<String>,
    /// The address, without angle brackets.
    pub address: String,
}

impl Mailbox {
    /// An address alone.
    pub fn new(address: impl Into<String>) -> Self {
        Self { name: None, address: address.into() }
    }

    /// An address with a name.
    pub fn named(name: impl Into<String>, address: impl Into<String>) -> Self {
        Self { name: Some(name.into()), address: address.into() }
    }

    fn read(addr: Addr<'_>) -> Option<Self> {
        let text =
            |text: Option<std::borrow::Cow<'_, str>>| text.map(String::from).filter(|text| !text.is_empty());
        match (text(addr.name), text(addr.address)) {
            (name, Some(address)) => Some(Self { name, address }),
            // A local user: `To: root`.
            (Some(user), None) if !user.contains(char::is_whitespace) => Some(Self::new(user)),
            _ => None,
        }
    }

    fn check(&self) -> Result<(), Invalid> {
        if self.address.contains(['<', '>']) {
            return Err(Invalid::Brackets);
        }
        validate::recipient(self.address.as_bytes())
    }
}

/// Writes it for people, not for a header.
impl fmt::Display for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{name} <{}>", self.address),
            None => f.write_str(&self.address),
        }
    }
}

impl Header<'_> {
    /// The value as people are to read it: on one line, with encoded words (RFC 2047, `=?utf-8?q?…?=`) decoded.
    ///
    /// For people to read, not to decide upon: different bytes become equal, and mail programs differ in what they
    /// take for an encoded word.
    ///
    /// # Examples
    ///
    /// ```
    /// # let mut headers = tamis::message::Headers::new();
    /// # headers.allow(tamis::Actions::ADD_HEADERS);
    /// headers.append("Subject", "=?iso-8859-1?q?caf=E9?= =?utf-8?b?IOKCrDM=?=")?;
    /// assert_eq!(headers.first("Subject").unwrap().text(), "café €3");
    /// # Ok::<(), tamis::message::HeaderError>(())
    /// ```
    pub fn text(&self) -> String {
        let line = self.line();
        match MessageStream::new(&line).parse_unstructured() {
            Read::Text(text) => text.into_owned(),
            _ => String::new(),
        }
    }

    /// The point in time that the value says, as a `Date` does.
    pub fn date(&self) -> Option<SystemTime> {
        let line = self.line();
        let Read::DateTime(date) = MessageStream::new(&line).parse_date() else { return None };
        let seconds = date.is_valid().then(|| date.to_timestamp())?;
        let since = Duration::from_secs(seconds.unsigned_abs());
        if seconds < 0 {
            SystemTime::UNIX_EPOCH.checked_sub(since)
        } else {
            SystemTime::UNIX_EPOCH.checked_add(since)
        }
    }

    /// The addresses in the value, those in groups (`Team: a@example.com, b@example.com;`) included.
    pub fn addresses(&self) -> Vec<Mailbox> {
        let line = self.line();
        let list = match MessageStream::new(&line).parse_address() {
            Read::Address(ReadAddress::List(list)) => list,
            Read::Address(ReadAddress::Group(groups)) => {
                groups.into_iter().flat_map(|group| group.addresses).collect()
            }
            _ => Vec::new(),
        };
        list.into_iter().filter_map(Mailbox::read).collect()
    }

    /// The value as the parser takes it: it stops at the end of a line.
    fn line(&self) -> Vec<u8> {
        [self.value().as_bytes(), b"\n"].concat()
    }
}

impl Headers {
    /// The subject as people are to read it; see [`Header::text`].
    pub fn subject(&self) -> Option<String> {
        self.first("Subject").map(|header| header.text())
    }

    /// Replaces or adds the subject, folded and with encoded words (RFC 2047) where it takes them.
    ///
    /// # Errors
    ///
    /// As [`set`](Self::set).
    pub fn set_subject(&mut self, text: &str) -> Result<HeaderId, HeaderError> {
        self.set_written("Subject", &WrittenText::new(text))
    }

    /// When the message was written, if it says so.
    pub fn date(&self) -> Option<SystemTime> {
        self.first("Date")?.date()
    }

    /// Replaces or adds the date, in universal time.
    ///
    /// # Errors
    ///
    /// As [`set`](Self::set).
    pub fn set_date(&mut self, date: SystemTime) -> Result<HeaderId, HeaderError> {
        let seconds = match date.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_secs()).map_or(i64::MIN, |seconds| -seconds),
        };
        self.set_written("Date", &WrittenDate::new(seconds))
    }

    /// The addresses in all fields of a name, such as `To`.
    pub fn addresses(&self, name: impl AsRef<[u8]>) -> Vec<Mailbox> {
        self.all(name.as_ref()).flat_map(|header| header.addresses()).collect()
    }

    /// Makes one field of a name with these addresses, where the first was or at the end; none at all for no
    /// addresses. Names are quoted, or encoded (RFC 2047), where it takes that.
    ///
    /// # Errors
    ///
    /// As [`set`](Self::set) and [`remove_all`](Self::remove_all), and for an address that is none.
    pub fn set_addresses(
        &mut self,
        name: impl AsRef<[u8]>,
        addresses: impl IntoIterator<Item = Mailbox>,
    ) -> Result<(), HeaderError> {
        let name = name.as_ref();
        let addresses: Vec<Mailbox> = addresses.into_iter().collect();
        addresses.iter().try_for_each(Mailbox::check)?;
        if addresses.is_empty() {
            return self.remove_all(name).map(drop);
        }
        let list =
            addresses.into_iter().map(|Mailbox { name, address }| WrittenAddress::new_address(name, address));
        let others: Vec<HeaderId> = self.all(name).skip(1).map(|header| header.id()).collect();
        self.set_written(name, &WrittenAddress::new_list(list.collect()))?;
        others.into_iter().try_for_each(|id| self.remove(id))
    }

    fn set_written(
        &mut self,
        name: impl AsRef<[u8]>,
        value: &impl mail_builder::headers::Header,
    ) -> Result<HeaderId, HeaderError> {
        const COLON: usize = ": ".len();
        let mut line = Vec::new();
        value.write_header(&mut line, name.as_ref().len() + COLON);
        if line.ends_with(b"\r\n") {
            line.truncate(line.len() - 2);
        }
        // Whoever deals with the leading space does so for values, not for what they mean.
        let value = HeaderValue::from(line).checked(false)?;
        self.set(name, value)
    }
}

#[cfg(test)]
mod tests;

//! The client (spec §2.3).

use std::ffi::OsStr;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use bytes::Bytes;
use tamis_proto::command::{self, Connect};

use crate::message::Text;

/// The SMTP client that hands mail to the MTA.
///
/// # Examples
///
/// ```
/// use tamis::message::Client;
/// use tamis::proto::command::Connect;
///
/// let wire = Connect::inet("mail.example.com", "192.0.2.1:4321".parse()?, false);
/// let client = Client::from(wire.map(Into::into));
/// assert_eq!(client.name(), Some("mail.example.com"));
/// assert_eq!(client.ip(), Some("192.0.2.1".parse()?));
/// assert_eq!(client.to_string(), "mail.example.com [192.0.2.1]");
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[doc(alias = "xxfi_connect")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    host: Text,
    /// Without its host.
    connect: Connect<Bytes>,
}

impl Client {
    /// What the MTA says for a name: the verified host name; the address in brackets or `unknown` where there is none.
    pub fn host(&self) -> &Text {
        &self.host
    }

    /// The host name of the client, if the MTA has verified one.
    pub fn name(&self) -> Option<&str> {
        verified(self.host.to_str().ok()?)
    }

    /// The IP address; none for a unix socket and for a client whose address the MTA does not know.
    ///
    /// It is as the MTA has it: Postfix with IPv6 sockets may say `::ffff:192.0.2.1`, which
    /// [`to_canonical`](IpAddr::to_canonical) turns into IPv4.
    pub fn ip(&self) -> Option<IpAddr> {
        self.inet().map(|inet| inet.ip())
    }

    /// The TCP port, if it is known.
    pub fn port(&self) -> Option<u16> {
        self.inet().map(|inet| inet.port()).filter(|port| *port != 0)
    }

    /// The path of the unix socket over which the client came, which may be empty.
    pub fn unix_path(&self) -> Option<&Path> {
        match self.connect.client() {
            command::Client::Unix(path) => Some(Path::new(OsStr::from_bytes(path))),
            _ => None,
        }
    }

    /// The address as the MTA wrote it, such as `IPv6:2001:db8:0:0:0:0:0:1` by Sendmail.
    pub fn address_bytes(&self) -> &[u8] {
        self.connect.address()
    }

    fn inet(&self) -> Option<SocketAddr> {
        match self.connect.client() {
            command::Client::Inet(inet) => Some(inet),
            _ => None,
        }
    }
}

/// A name that an MTA gives for a client, unless it only stands for one that it could not verify.
pub(in crate::message) fn verified(name: &str) -> Option<&str> {
    Some(name).filter(|name| !name.is_empty() && !name.starts_with('[') && *name != "unknown")
}

/// Name and address, as MTAs write it in `Received`: `mail.example.com [192.0.2.1]`.
impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.host.fmt(f)?;
        match self.ip() {
            Some(ip) if !self.host.as_bytes().starts_with(b"[") => write!(f, " [{ip}]"),
            _ => Ok(()),
        }
    }
}

impl From<Connect<Bytes>> for Client {
    fn from(mut connect: Connect<Bytes>) -> Self {
        Self { host: std::mem::take(&mut connect.host).into(), connect }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inet(host: &str, address: &str, sendmail_style: bool) -> Client {
        Connect::inet(host, address.parse().unwrap(), sendmail_style).map(Bytes::from).into()
    }

    #[test]
    fn addresses_are_typed_whoever_wrote_them() {
        for sendmail_style in [true, false] {
            let client = inet("mail.example.com", "[2001:db8::1]:25", sendmail_style);
            assert_eq!(client.ip(), Some("2001:db8::1".parse().unwrap()));
            assert_eq!((client.port(), client.unix_path()), (Some(25), None));
        }
        let client = inet("mail.example.com", "[2001:db8::1]:25", true);
        assert_eq!(client.address_bytes(), b"IPv6:2001:db8:0:0:0:0:0:1");
        assert_eq!(inet("h", "192.0.2.1:0", false).port(), None);
    }

    #[test]
    fn names_are_told_from_what_stands_for_none() {
        assert_eq!(inet("mail.example.com", "192.0.2.1:25", true).name(), Some("mail.example.com"));
        for host in ["[192.0.2.1]", "[IPv6:2001:db8::1]", "unknown", ""] {
            let client = inet(host, "192.0.2.1:25", true);
            assert_eq!((client.name(), client.host()), (None, &Text::from(host.to_owned())));
        }
    }

    #[test]
    fn clients_without_an_ip_address() {
        let unix = Client::from(Connect::unix("localhost", "/run/x").unwrap().map(Bytes::from));
        assert_eq!((unix.unix_path(), unix.ip(), unix.port()), (Some(Path::new("/run/x")), None, None));
        let unknown = Client::from(Connect::unknown("localhost").map(Bytes::from));
        assert_eq!((unknown.unix_path(), unknown.ip(), unknown.name()), (None, None, Some("localhost")));
    }

    #[test]
    fn a_client_is_shown_with_name_and_address() {
        assert_eq!(
            inet("mail.example.com", "192.0.2.1:25", true).to_string(),
            "mail.example.com [192.0.2.1]"
        );
        assert_eq!(inet("[192.0.2.1]", "192.0.2.1:25", true).to_string(), "[192.0.2.1]");
        assert_eq!(Client::from(Connect::unknown("local\u{e9}").map(Bytes::from)).to_string(), "localé");
    }
}

//! The client (`C`, spec §2.3).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::codec::{Put, Reader};
use crate::error::Fault;
use crate::rules::Rules;

/// The family of a client's address, by its letter on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Family {
    /// No address is known.
    #[doc(alias = "SMFIA_UNKNOWN")]
    Unknown = b'U',
    /// A unix socket.
    #[doc(alias = "SMFIA_UNIX")]
    Unix = b'L',
    /// IPv4.
    #[doc(alias = "SMFIA_INET")]
    Inet = b'4',
    /// IPv6.
    #[doc(alias = "SMFIA_INET6")]
    Inet6 = b'6',
}

/// The client that connected to the MTA.
///
/// Built by [`Connect::inet`] and its like, or decoded, so that the address always is one of its family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connect<B> {
    /// The verified name, or the address in brackets, as the MTA writes it. Any bytes but NUL.
    pub host: B,
    family: Family,
    port: u16,
    /// As on the wire, with Sendmail's `IPv6:` if it is there.
    address: B,
}

/// A client's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client<'a> {
    /// An IP address and a port; port 0 if it is not known.
    Inet(SocketAddr),
    /// The path of a unix socket; may be empty.
    Unix(&'a [u8]),
    /// Nothing is known, as for mail that did not come over a socket.
    Unknown,
}

/// `sun_path` on Linux, less its NUL.
const MAX_UNIX_PATH: usize = 107;

impl<B> Connect<B> {
    /// The address family.
    pub const fn family(&self) -> Family {
        self.family
    }

    /// Changes what holds the bytes.
    pub fn map<C>(self, mut to: impl FnMut(B) -> C) -> Connect<C> {
        Connect { host: to(self.host), family: self.family, port: self.port, address: to(self.address) }
    }
}

impl Connect<Vec<u8>> {
    /// A client with an IP address. `sendmail_style` writes IPv6 as Sendmail does, `IPv6:0:0:0:0:0:0:0:1`.
    pub fn inet(host: impl Into<Vec<u8>>, client: SocketAddr, sendmail_style: bool) -> Self {
        let (family, address) = match client.ip() {
            IpAddr::V4(ip) => (Family::Inet, ip.to_string()),
            IpAddr::V6(ip) if sendmail_style => {
                (Family::Inet6, format!("IPv6:{}", ip.segments().map(|part| format!("{part:x}")).join(":")))
            }
            IpAddr::V6(ip) => (Family::Inet6, ip.to_string()),
        };
        Self { host: host.into(), family, port: client.port(), address: address.into() }
    }

    /// A client without an address.
    pub fn unknown(host: impl Into<Vec<u8>>) -> Self {
        Self { host: host.into(), family: Family::Unknown, port: 0, address: Vec::new() }
    }

    /// A client on a unix socket.
    ///
    /// # Errors
    ///
    /// [`Fault::PathTooLong`] for more than 107 bytes.
    pub fn unix(host: impl Into<Vec<u8>>, path: impl Into<Vec<u8>>) -> Result<Self, Fault> {
        let address: Vec<u8> = path.into();
        if address.len() > MAX_UNIX_PATH {
            return Err(Fault::PathTooLong);
        }
        Ok(Self { host: host.into(), family: Family::Unix, port: 0, address })
    }
}

impl<'b> Connect<&'b [u8]> {
    pub(super) fn decode(reader: &mut Reader<'b>, rules: Rules) -> Result<Self, Fault> {
        let host = reader.cstr()?;
        let family = match reader.u8()? {
            b'U' => {
                return Ok(Self { host, family: Family::Unknown, port: 0, address: b"" });
            }
            b'L' => Family::Unix,
            b'4' => Family::Inet,
            b'6' => Family::Inet6,
            other => return Err(Fault::BadFamily(other)),
        };
        let port = reader.u16()?;
        let address = reader.cstr()?;
        match family {
            // Postfix has a family but no address for a client that came through a proxy without one.
            Family::Inet | Family::Inet6 if address == b"unknown" => {}
            Family::Inet
                if ipv4(address).is_none() && !(rules.short_ipv4 && short_ipv4(address).is_some()) =>
            {
                return Err(Fault::BadAddress);
            }
            Family::Inet6 if ipv6(address).is_none() => return Err(Fault::BadAddress),
            Family::Unix if address.len() > MAX_UNIX_PATH => return Err(Fault::PathTooLong),
            _ => {}
        }
        Ok(Self { host, family, port, address })
    }
}

impl<B: AsRef<[u8]>> Connect<B> {
    /// The client's address. An IPv4 address inside an IPv6 one stays what the MTA said.
    pub fn client(&self) -> Client<'_> {
        let address = self.address.as_ref();
        let ip = match self.family {
            Family::Unknown => None,
            Family::Unix => return Client::Unix(address),
            Family::Inet => ipv4(address).or_else(|| short_ipv4(address)).map(IpAddr::V4),
            Family::Inet6 => ipv6(address).map(IpAddr::V6),
        };
        ip.map_or(Client::Unknown, |ip| Client::Inet(SocketAddr::new(ip, self.port)))
    }

    /// The address as the MTA wrote it.
    pub fn address(&self) -> &[u8] {
        self.address.as_ref()
    }

    pub(crate) fn payload_len(&self) -> usize {
        let address = if self.family == Family::Unknown { 0 } else { 2 + self.address().len() + 1 };
        self.host.as_ref().len() + 2 + address
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.cstr(self.host.as_ref());
        out.u8(self.family as u8);
        if self.family != Family::Unknown {
            out.u16(self.port);
            out.cstr(self.address.as_ref());
        }
    }
}

fn ipv4(text: &[u8]) -> Option<Ipv4Addr> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Sendmail writes `IPv6:` first, Postfix does not; any case is accepted.
fn ipv6(text: &[u8]) -> Option<Ipv6Addr> {
    let text = std::str::from_utf8(text).ok()?;
    match text.split_at_checked(5) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case("ipv6:") => rest.parse().ok(),
        _ => text.parse().ok(),
    }
}

/// What `inet_aton` takes beyond dotted quads: one to four numbers, the last one filling what is left.
fn short_ipv4(text: &[u8]) -> Option<Ipv4Addr> {
    let number = |part: &str| {
        let (digits, radix) = match part.strip_prefix("0x").or_else(|| part.strip_prefix("0X")) {
            Some(hex) => (hex, 16),
            None if part.len() > 1 && part.starts_with('0') => (part, 8),
            None => (part, 10),
        };
        // A sign is a digit for the standard library.
        let sound = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        u32::from_str_radix(digits, radix).ok().filter(|_| sound)
    };
    let parts = std::str::from_utf8(text).ok()?.split('.').map(number).collect::<Option<Vec<u32>>>()?;
    let (last, head) = parts.split_last()?;
    let mut address = *last;
    for (place, part) in head.iter().enumerate() {
        let shift = 24_u32.checked_sub(8 * u32::try_from(place).ok()?)?;
        if *part > 255 || *last >> shift > 0 {
            return None;
        }
        address |= part << shift;
    }
    (head.len() < 4).then(|| Ipv4Addr::from(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(payload: &[u8], rules: Rules) -> Result<Connect<&[u8]>, Fault> {
        Connect::decode(&mut Reader(payload), rules)
    }

    #[test]
    fn both_spellings_of_ipv6_are_understood() {
        for text in ["::1", "IPv6:::1", "ipv6:0:0:0:0:0:0:0:1"] {
            let payload = [b"[::1]\x006\0\x19", text.as_bytes(), b"\0"].concat();
            let connect = decode(&payload, Rules::tamis()).unwrap();
            assert_eq!(connect.client(), Client::Inet("[::1]:25".parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn short_ipv4_is_only_libmilters() {
        let payload = b"h\x004\0\x1910.1\0";
        assert_eq!(decode(payload, Rules::tamis()), Err(Fault::BadAddress));
        let connect = decode(payload, Rules::libmilter()).unwrap();
        assert_eq!(connect.client(), Client::Inet("10.0.0.1:25".parse().unwrap()));
        for bad in ["", ".", "1.2.3.4.5", "256.1", "1.2.65536", "x", "1.16777216", "+1", "0x+1"] {
            assert_eq!(short_ipv4(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(short_ipv4(b"0x7f.1"), Some(Ipv4Addr::LOCALHOST));
        assert_eq!(short_ipv4(b"2130706433"), Some(Ipv4Addr::LOCALHOST));
    }

    #[test]
    fn clients_without_an_address_have_no_port() {
        let unix = decode(b"h\0L\0\0/run/x\0", Rules::tamis()).unwrap();
        assert_eq!(unix.client(), Client::Unix(b"/run/x"));
        assert_eq!(decode(b"h\0U", Rules::tamis()).unwrap().client(), Client::Unknown);
        assert_eq!(decode(b"h\0X\0\0a\0", Rules::tamis()), Err(Fault::BadFamily(b'X')));
        assert_eq!(decode(b"h\0\x00", Rules::tamis()).unwrap_err(), Fault::BadFamily(0));
    }

    #[test]
    fn postfix_gives_a_family_to_clients_it_does_not_know() {
        let connect = decode(b"unknown\x004\xcb\x7eunknown\0", Rules::tamis()).unwrap();
        assert_eq!((connect.client(), connect.address()), (Client::Unknown, &b"unknown"[..]));
    }

    #[test]
    fn sendmail_spells_ipv6_in_full() {
        let connect = Connect::inet("h", "[2001:db8::1]:9".parse().unwrap(), true);
        assert_eq!(connect.address(), b"IPv6:2001:db8:0:0:0:0:0:1");
    }
}

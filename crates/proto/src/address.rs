//! Socket specifications, as mail administrators write them (spec §7.4).
//!
//! Only the syntax: nothing here opens a socket, asks a name server or looks up a service name.
//!
//! ```text
//! unix:/run/filter.sock    local:/run/filter.sock    :/run/filter.sock    /run/filter.sock
//! inet:8899@127.0.0.1      inet:8899                 inet6:8899@[::1]     inet:smtp@host       Sendmail's order
//! inet:127.0.0.1:8899      inet:[::1]:8899           inet:host:smtp                            Postfix's order
//! 127.0.0.1:8899           [::1]:8899                host:8899                                 short
//! ```
//!
//! Everything is shown in Sendmail's syntax, which is the one that can say all of it:
//!
//! ```
//! use tamis_proto::address::SocketSpec;
//!
//! let spec: SocketSpec = "inet:127.0.0.1:8899".parse()?;
//! assert_eq!(spec.to_string(), "inet:8899@127.0.0.1");
//! assert_eq!(spec.postfix(), "inet:127.0.0.1:8899");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod bad;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::str::FromStr;

pub use bad::BadSpec;

/// The longest path of a unix socket in bytes; libmilter's bound, one less than Sendmail's.
pub const MAX_PATH: usize = 106;

/// The longest host name in bytes (RFC 1035, without the final dot).
const MAX_NAME: usize = 253;

/// Names a socket to listen on or to connect to.
#[doc(alias = "smfi_setconn")]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SocketSpec {
    /// A unix stream socket at this path. A relative path is the caller's to interpret.
    Unix(PathBuf),
    /// TCP over IPv4.
    Inet {
        /// The address or name; [`Host::Any`] only for listening.
        host: Host,
        /// The port.
        port: Port,
    },
    /// TCP over IPv6.
    Inet6 {
        /// The address or name; [`Host::Any`] only for listening.
        host: Host,
        /// The port.
        port: Port,
    },
}

/// Says where a TCP socket is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// No host was given: the wildcard address of the family.
    Any,
    /// A literal address.
    Ip(IpAddr),
    /// A name, which the caller resolves.
    Name(String),
}

/// Says which port of a host is meant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Port {
    /// A port number.
    Number(u16),
    /// A service name, which the caller looks up.
    Service(String),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    V4,
    V6,
}

/// How a host and a port were put together; it decides what the protocol word may mean.
#[derive(Clone, Copy)]
enum Order {
    /// `inet:port@host`: the word is the family.
    Sendmail(Family),
    /// `inet:host:port`: the word `inet` only means TCP.
    Postfix(Family),
    /// `host:port`.
    Short,
}

impl SocketSpec {
    /// Writes the specification as Postfix's `smtpd_milters` takes it: host before port.
    ///
    /// Postfix connects, so a wildcard is written as the loopback address of its family. The difference between
    /// `inet` and `inet6` is lost for a host name: Postfix tries the families of `inet_protocols`.
    pub fn postfix(&self) -> String {
        match self {
            Self::Unix(path) => format!("unix:{}", path.display()),
            Self::Inet { host, port } => format!("inet:{}:{port}", host.reachable(Family::V4)),
            Self::Inet6 { host, port } => format!("inet:{}:{port}", host.reachable(Family::V6)),
        }
    }

    /// Writes the specification as Sendmail's `S=` takes it: port before host.
    ///
    /// This is the text of [`Display`](fmt::Display), except that Sendmail connects and insists on a host: a wildcard
    /// is written as the loopback address of its family.
    pub fn sendmail(&self) -> String {
        match self {
            Self::Unix(path) => format!("unix:{}", path.display()),
            Self::Inet { host, port } => format!("inet:{port}@{}", host.reachable(Family::V4)),
            Self::Inet6 { host, port } => format!("inet6:{port}@{}", host.reachable(Family::V6)),
        }
    }

    fn tcp(order: Order, host: Host, port: Port) -> Result<Self, BadSpec> {
        let family = match (order, &host) {
            (Order::Sendmail(Family::V4), Host::Ip(IpAddr::V6(_))) => {
                let instead = Self::Inet6 { host: host.clone(), port }.to_string();
                return Err(BadSpec::WrongFamily { host: host.to_string(), word: "inet", instead });
            }
            (Order::Sendmail(Family::V6) | Order::Postfix(Family::V6), Host::Ip(IpAddr::V4(_))) => {
                let instead = Self::Inet { host: host.clone(), port }.to_string();
                return Err(BadSpec::WrongFamily { host: host.to_string(), word: "inet6", instead });
            }
            (_, Host::Ip(IpAddr::V6(_))) => Family::V6,
            (Order::Sendmail(family) | Order::Postfix(family), _) => family,
            (Order::Short, _) => Family::V4,
        };
        Ok(match family {
            Family::V4 => Self::Inet { host, port },
            Family::V6 => Self::Inet6 { host, port },
        })
    }
}

impl fmt::Display for SocketSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Inet { host: Host::Any, port } => write!(f, "inet:{port}"),
            Self::Inet { host, port } => write!(f, "inet:{port}@{host}"),
            Self::Inet6 { host: Host::Any, port } => write!(f, "inet6:{port}"),
            Self::Inet6 { host, port } => write!(f, "inet6:{port}@{host}"),
        }
    }
}

impl FromStr for SocketSpec {
    type Err = BadSpec;

    fn from_str(text: &str) -> Result<Self, BadSpec> {
        if text.is_empty() {
            return Err(BadSpec::Empty);
        }
        if let Some(inside) = text.trim_start().strip_prefix('{') {
            return Err(BadSpec::braces(inside));
        }
        if text.starts_with('[') {
            return host_then_port(Order::Short, text);
        }
        if text.parse::<Ipv6Addr>().is_ok() {
            return Err(BadSpec::BareV6 { address: text.to_owned() });
        }
        let Some((word, rest)) = text.split_once(':') else {
            return if text.starts_with('/') { unix(text) } else { Err(BadSpec::no_protocol(text)) };
        };
        match word.to_ascii_lowercase().as_str() {
            "unix" | "local" => unix(rest),
            "" if rest.is_empty() || rest.starts_with('/') => unix(rest),
            "" => Err(BadSpec::RelativePath { path: rest.to_owned() }),
            "inet" => tcp(Family::V4, rest),
            "inet6" => tcp(Family::V6, rest),
            _ if word.starts_with('/') => Err(BadSpec::ColonInPath { path: text.to_owned() }),
            // A service name here would make every misspelt protocol word a host name.
            _ if all_digits(rest) => host_then_port(Order::Short, text),
            _ => Err(BadSpec::UnknownProtocol { word: word.to_owned() }),
        }
    }
}

fn unix(path: &str) -> Result<SocketSpec, BadSpec> {
    if path.is_empty() {
        return Err(BadSpec::EmptyPath);
    }
    if path.contains('\0') {
        return Err(BadSpec::NulInPath);
    }
    if path.len() > MAX_PATH {
        return Err(BadSpec::PathTooLong { length: path.len() });
    }
    Ok(SocketSpec::Unix(path.into()))
}

/// Parses what stands behind `inet:` or `inet6:`.
fn tcp(family: Family, rest: &str) -> Result<SocketSpec, BadSpec> {
    if let Some((port, host)) = rest.split_once('@') {
        if host.is_empty() {
            return Err(BadSpec::MissingHost { instead: "inet:port@host" });
        }
        if all_digits(host) && !port.is_empty() && !all_digits(port) {
            return Err(BadSpec::Swapped { instead: format!("{}:{host}@{port}", family.word()) });
        }
        let port = port.parse()?;
        return SocketSpec::tcp(Order::Sendmail(family), host.parse()?, port);
    }
    if rest.contains(':') {
        return host_then_port(Order::Postfix(family), rest);
    }
    if rest.starts_with('[') || rest.parse::<Ipv4Addr>().is_ok() {
        return Err(BadSpec::MissingPort { instead: "inet:port@host" });
    }
    SocketSpec::tcp(Order::Sendmail(family), Host::Any, rest.parse()?)
}

/// Parses `host:port`, where an IPv6 address stands in brackets.
fn host_then_port(order: Order, text: &str) -> Result<SocketSpec, BadSpec> {
    let (host, port) = match text.find(']') {
        Some(end) if text.starts_with('[') => match text.split_at(end + 1) {
            (_, "") => return Err(BadSpec::MissingPort { instead: "inet6:port@[address]" }),
            (host, rest) => (host, rest.strip_prefix(':').ok_or_else(|| BadSpec::host(text))?),
        },
        _ => match text.rsplit_once(':') {
            Some((host, _)) if host.contains(':') => {
                return Err(BadSpec::BareV6 { address: text.to_owned() });
            }
            Some(both) => both,
            None => return Err(BadSpec::host(text)),
        },
    };
    if host.is_empty() {
        return Err(BadSpec::MissingHost { instead: "inet:host:port" });
    }
    if all_digits(host) && !port.is_empty() && !all_digits(port) {
        return Err(BadSpec::Swapped { instead: format!("inet:{port}:{host}") });
    }
    let host = host.parse()?;
    SocketSpec::tcp(order, host, port.parse()?)
}

fn all_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

impl Family {
    fn word(self) -> &'static str {
        match self {
            Self::V4 => "inet",
            Self::V6 => "inet6",
        }
    }
}

impl Host {
    /// The host that somebody on the same machine connects to.
    fn reachable(&self, family: Family) -> Self {
        match (self, family) {
            (Self::Any, Family::V4) => Self::Ip(Ipv4Addr::LOCALHOST.into()),
            (Self::Any, Family::V6) => Self::Ip(Ipv6Addr::LOCALHOST.into()),
            (host, _) => host.clone(),
        }
    }
}

impl fmt::Display for Host {
    /// Writes an IPv6 address in brackets, and the wildcard as `*`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Ip(IpAddr::V6(address)) => write!(f, "[{address}]"),
            Self::Ip(IpAddr::V4(address)) => write!(f, "{address}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl FromStr for Host {
    type Err = BadSpec;

    /// Parses a name or an address: `host`, `1.2.3.4`, `[1.2.3.4]`, `::1`, `[::1]`, `[IPv6:::1]`.
    fn from_str(text: &str) -> Result<Self, BadSpec> {
        if let Some(rest) = text.strip_prefix('[') {
            let inside = rest.strip_suffix(']').ok_or_else(|| BadSpec::host(text))?;
            let address = match inside.split_at_checked(5) {
                Some((prefix, address)) if prefix.eq_ignore_ascii_case("ipv6:") => {
                    address.parse().map(IpAddr::V6).ok()
                }
                _ => inside.parse().ok(),
            };
            return address.map(Self::Ip).ok_or_else(|| BadSpec::BadAddress { address: inside.to_owned() });
        }
        if let Ok(address) = text.parse() {
            return Ok(Self::Ip(address));
        }
        // What ends in a number is meant as an address: `10.1` and `999.0.0.1` are no names.
        if text.contains(':') || text.rsplit('.').next().is_some_and(all_digits) {
            return Err(BadSpec::BadAddress { address: text.to_owned() });
        }
        let clean = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
        let labels = text.strip_suffix('.').unwrap_or(text).split('.').all(|label| !label.is_empty());
        if !clean || !labels || text.len() > MAX_NAME {
            return Err(BadSpec::host(text));
        }
        Ok(Self::Name(text.to_owned()))
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Service(name) => f.write_str(name),
        }
    }
}

impl FromStr for Port {
    type Err = BadSpec;

    /// Parses a number from 0 to 65535, or the syntax of a service name, which begins with a letter.
    fn from_str(text: &str) -> Result<Self, BadSpec> {
        if text.is_empty() {
            return Err(BadSpec::MissingPort { instead: "inet:port@host" });
        }
        if all_digits(text) {
            let number = text.parse().map_err(|_| BadSpec::PortTooLarge { port: text.to_owned() })?;
            return Ok(Self::Number(number));
        }
        let clean = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._+/".contains(&byte));
        if !clean || !text.starts_with(|first: char| first.is_ascii_alphabetic()) {
            return Err(BadSpec::BadPort { port: text.to_owned() });
        }
        Ok(Self::Service(text.to_owned()))
    }
}

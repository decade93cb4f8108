//! From socket specifications to addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};

use tamis_proto::address::{Host, Port, SocketSpec};

/// Why a host or a port has no address.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// The system does not know the host name.
    #[error("host {host} has no {family} address: {source}")]
    Host {
        /// The name.
        host: String,
        /// IPv4 or IPv6.
        family: &'static str,
        /// What the system says.
        source: std::io::Error,
    },
    /// The system does not know the service.
    #[error("service {0} is not in /etc/services; write its port number instead")]
    Service(String),
}

/// Finds the address of a TCP specification; `None` for a unix socket. Name look-ups block.
///
/// # Errors
///
/// When the system knows no such host or service.
pub fn resolve(spec: &SocketSpec) -> Result<Option<SocketAddr>, ResolveError> {
    let (host, port, v6) = match spec {
        SocketSpec::Unix(_) => return Ok(None),
        SocketSpec::Inet { host, port } => (host, port, false),
        SocketSpec::Inet6 { host, port } => (host, port, true),
    };
    let port = match port {
        Port::Number(number) => *number,
        Port::Service(name) => service(name).ok_or_else(|| ResolveError::Service(name.clone()))?,
    };
    let ip = match host {
        Host::Any if v6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        Host::Any => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        Host::Ip(ip) => *ip,
        Host::Name(name) => lookup(name, port, v6)?,
    };
    Ok(Some(SocketAddr::new(ip, port)))
}

fn lookup(name: &str, port: u16, v6: bool) -> Result<IpAddr, ResolveError> {
    let family = if v6 { "IPv6" } else { "IPv4" };
    let fail = |source| ResolveError::Host { host: name.to_owned(), family, source };
    let mut found = (name, port).to_socket_addrs().map_err(fail)?;
    let address = found.find(|address| address.is_ipv6() == v6);
    let none = || fail(std::io::Error::new(std::io::ErrorKind::NotFound, "no such address"));
    address.map(|address| address.ip()).ok_or_else(none)
}

/// The TCP port of a service, from where the C library looks too.
fn service(name: &str) -> Option<u16> {
    let services = std::fs::read_to_string("/etc/services").ok()?;
    services.lines().find_map(|line| {
        let mut words = line.split('#').next()?.split_whitespace();
        let (first, port) = (words.next()?, words.next()?.strip_suffix("/tcp")?);
        std::iter::once(first).chain(words).any(|word| word == name).then(|| port.parse().ok())?
    })
}

//! The socket that MTAs connect to: `smfi_setconn`'s syntax, and how it is opened (spec §7.4).

use std::ffi::{OsStr, c_int};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use crate::sys::{self, SocketAddress};

/// A socket that is listened on.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: OwnedFd,
    /// The file to remove at the end.
    path: Option<PathBuf>,
}

/// Longest path of a unix socket; libmilter's own bound.
const MAX_PATH: usize = 106;

/// Why a socket cannot be listened on.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The specification is not one.
    Syntax(String),
    /// The system said no.
    System { what: String, error: io::Error },
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Syntax(why) => f.write_str(why),
            Self::System { what, error } => write!(f, "{what}: {error}"),
        }
    }
}

impl Listener {
    /// Opens what a specification says. A unix socket that is there is removed first if `remove` is set.
    pub(crate) fn open(spec: &[u8], backlog: Option<c_int>, remove: bool) -> Result<Self, Failure> {
        let place = Place::parse(spec)?;
        if let (Place::Unix(path), true) = (&place, remove) {
            remove_socket(path)?;
        }
        let (address, family) = match &place {
            Place::Unix(path) => (SocketAddress::unix(path.as_os_str().as_bytes()), libc::AF_UNIX),
            Place::Inet(address) if address.is_ipv4() => (SocketAddress::inet(*address), libc::AF_INET),
            Place::Inet(address) => (SocketAddress::inet(*address), libc::AF_INET6),
        };
        let system = |what: &str| {
            let what = format!("cannot {what} {place}");
            move |error| Failure::System { what, error }
        };
        let socket = sys::stream_socket(family).map_err(system("make a socket for"))?;
        if let Place::Inet(_) = place {
            sys::set_option(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)
                .map_err(system("set up a socket for"))?;
        }
        sys::bind(socket.as_fd(), &address).map_err(system("bind to"))?;
        sys::listen(socket.as_fd(), backlog.unwrap_or(libc::SOMAXCONN)).map_err(system("listen on"))?;
        let path = match place {
            Place::Unix(path) => Some(path),
            Place::Inet(_) => None,
        };
        Ok(Self { socket, path })
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Ends listening. The file of a unix socket is removed, but not by root, who might remove what somebody put there
    /// instead.
    pub(crate) fn close(self) {
        if let Some(path) = &self.path
            && !sys::is_root()
        {
            // It may be in a folder that only root could write to.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Removes a socket file; anything else that is there stays, and is an error.
fn remove_socket(path: &Path) -> Result<(), Failure> {
    let failure = |error| Failure::System { what: format!("cannot remove {}", path.display()), error };
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failure(error)),
        Ok(found) if found.file_type().is_socket() => std::fs::remove_file(path).map_err(failure),
        Ok(_) => Err(Failure::Syntax(format!("{} is there and no socket: it is left alone", path.display()))),
    }
}

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Unix(PathBuf),
    Inet(SocketAddr),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix socket {}", path.display()),
            Self::Inet(address) => write!(f, "port {} of {}", address.port(), address.ip()),
        }
    }
}

impl Place {
    /// Reads a specification with libmilter's rules: everything behind the first colon is the address.
    fn parse(spec: &[u8]) -> Result<Self, Failure> {
        let (word, address) = match spec.iter().position(|byte| *byte == b':') {
            Some(colon) => (&spec[..colon], &spec[colon + 1..]),
            None => (&b""[..], spec),
        };
        match word.to_ascii_lowercase().as_slice() {
            b"" | b"unix" | b"local" => {
                if address.is_empty() || address.len() > MAX_PATH {
                    return Err(Failure::Syntax(format!(
                        "path of a unix socket has {} bytes, it must have from 1 to {MAX_PATH}",
                        address.len()
                    )));
                }
                Ok(Self::Unix(OsStr::from_bytes(address).into()))
            }
            b"inet" => inet(address, false),
            b"inet6" => inet(address, true),
            word => Err(Failure::Syntax(format!(
                "unknown socket type {:?}, it must be unix, local, inet or inet6",
                String::from_utf8_lossy(word)
            ))),
        }
    }
}

/// Reads `port@host` or `port`.
fn inet(address: &[u8], v6: bool) -> Result<Place, Failure> {
    let text = std::str::from_utf8(address)
        .map_err(|_| Failure::Syntax("address of the socket is not text".to_owned()))?;
    let (port, host) = match text.split_once('@') {
        Some((port, host)) => (port, Some(host)),
        None => (text, None),
    };
    let port = self::port(port)?;
    let host = match host {
        None if v6 => SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)),
        None => SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)),
        Some(host) => self::host(host, port, v6)?,
    };
    Ok(Place::Inet(host))
}

/// Reads a number, or looks up a name. Behind a number anything may stand, as for `atoi`.
fn port(text: &str) -> Result<u16, Failure> {
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        let digits = text.find(|c: char| !c.is_ascii_digit()).map_or(text, |end| &text[..end]);
        return digits.parse().map_err(|_| Failure::Syntax(format!("port {digits} is above 65535")));
    }
    sys::service_port(text).ok_or_else(|| Failure::Syntax(format!("no TCP service has the name {text:?}")))
}

/// Reads an address in brackets, or looks up a name.
fn host(text: &str, port: u16, v6: bool) -> Result<SocketAddr, Failure> {
    if let Some(inside) = text.strip_prefix('[') {
        let address = inside.strip_suffix(']').and_then(|literal| {
            let without = literal.get(5..).filter(|_| literal[..5].eq_ignore_ascii_case("ipv6:"));
            if v6 {
                without.unwrap_or(literal).parse().ok().map(|ip: Ipv6Addr| SocketAddr::from((ip, port)))
            } else {
                literal.parse().ok().map(|ip: Ipv4Addr| SocketAddr::from((ip, port)))
            }
        });
        let family = if v6 { "IPv6" } else { "IPv4" };
        return address
            .ok_or_else(|| Failure::Syntax(format!("{text:?} is no {family} address in brackets")));
    }
    let found = (text, port)
        .to_socket_addrs()
        .map_err(|error| Failure::System { what: format!("cannot find the address of {text:?}"), error })?;
    let family = if v6 { "IPv6" } else { "IPv4" };
    found
        .into_iter()
        .find(|address| address.is_ipv6() == v6)
        .ok_or_else(|| Failure::Syntax(format!("{text:?} has no {family} address")))
}

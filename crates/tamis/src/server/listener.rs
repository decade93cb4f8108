//! Listening sockets.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tamis_proto::address::{Host, Port, SocketSpec};
use tokio::net::{TcpListener, UnixListener};

use super::allow::{AllowList, NotAllowed};
use super::resolve::{ResolveError, resolve};
use super::unix::{self, SocketFile};
use crate::filter::{Credentials, Peer, PeerAddress};
use crate::stream::Stream;

/// A socket that MTAs connect to. Clones are the same socket: one server can take it over from another. The file of a
/// unix socket is removed when the last of them is dropped.
#[derive(Clone, Debug)]
pub struct Listener {
    spec: SocketSpec,
    kind: Arc<Kind>,
    allowed: Option<Arc<AllowList>>,
}

#[derive(Debug)]
enum Kind {
    Tcp(TcpListener),
    Unix { listener: UnixListener, path: Arc<Path>, _file: Option<SocketFile> },
}

/// How sockets are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BindOptions {
    /// Connections that may wait to be accepted; 1,024 by default.
    #[doc(alias = "smfi_setbacklog")]
    pub backlog: u32,
    /// Permissions of unix sockets; `0o660` by default.
    pub unix_mode: u32,
    /// User that unix sockets belong to, by number; the one of the process by default. Only root may choose another.
    pub unix_owner: Option<u32>,
    /// Group that unix sockets belong to, by number; the one that new files of the process get by default. Who is
    /// not root may choose among its own.
    pub unix_group: Option<u32>,
}

impl Default for BindOptions {
    fn default() -> Self {
        Self { backlog: 1024, unix_mode: 0o660, unix_owner: None, unix_group: None }
    }
}

/// Why a socket cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// There is no such address.
    #[error("cannot listen on {spec}: {source}")]
    Resolve {
        /// What was to be listened on.
        spec: String,
        /// Why not.
        source: ResolveError,
    },
    /// Something listens there already.
    #[error("cannot listen on {0}: it is in use by another process")]
    InUse(String),
    /// There is a file at the path that is no socket.
    #[error("cannot listen on {0}: the file there is not a socket; remove it or choose another path")]
    NotASocket(String),
    /// The system refuses.
    #[error("cannot listen on {spec}: {what}: {source}{hint}")]
    Io {
        /// What was to be listened on.
        spec: String,
        /// What was tried.
        what: String,
        /// What the system says.
        source: io::Error,
        /// What to change, with `; ` before it, or nothing.
        hint: String,
    },
}

/// Listens on several sockets, or on none of them.
///
/// Must be called within a tokio runtime.
///
/// # Errors
///
/// The first socket that cannot be listened on, and why.
#[doc(alias = "smfi_setconn")]
#[doc(alias = "smfi_opensocket")]
pub fn bind(specs: &[SocketSpec]) -> Result<Vec<Listener>, BindError> {
    bind_with(specs, BindOptions::default())
}

/// As [`bind`], with settings.
///
/// # Errors
///
/// As [`bind`].
pub fn bind_with(specs: &[SocketSpec], options: BindOptions) -> Result<Vec<Listener>, BindError> {
    specs.iter().map(|spec| Listener::bind(spec, options)).collect()
}

impl Listener {
    fn bind(spec: &SocketSpec, options: BindOptions) -> Result<Self, BindError> {
        let address =
            resolve(spec).map_err(|source| BindError::Resolve { spec: spec.to_string(), source })?;
        let kind = match (spec, address) {
            (SocketSpec::Unix(path), _) => {
                let (listener, file) = unix::listen(path, spec, options)?;
                Kind::Unix { listener, path: path.as_path().into(), _file: Some(file) }
            }
            (_, Some(address)) => tcp(address, spec, options)?,
            (_, None) => unreachable!("only unix sockets have no address"),
        };
        Ok(Self { spec: spec.clone(), kind: Arc::new(kind), allowed: None })
    }

    /// A TCP socket that somebody else listens on, such as the one that systemd hands over.
    ///
    /// Must be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// When it has no address, or cannot be waited for.
    pub fn from_tcp(listener: std::net::TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (host, port) = (Host::Ip(address.ip()), Port::Number(address.port()));
        let spec = if address.is_ipv4() {
            SocketSpec::Inet { host, port }
        } else {
            SocketSpec::Inet6 { host, port }
        };
        let kind = Kind::Tcp(TcpListener::from_std(listener)?);
        Ok(Self { spec, kind: Arc::new(kind), allowed: None })
    }

    /// A unix socket that somebody else listens on. Its file stays when it is dropped.
    ///
    /// Must be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// When it has no path, or cannot be waited for.
    pub fn from_unix(listener: std::os::unix::net::UnixListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let path = address.as_pathname().ok_or_else(|| io::Error::other("the unix socket has no path"))?;
        let (spec, path) = (SocketSpec::Unix(path.to_owned()), path.into());
        let kind = Kind::Unix { listener: UnixListener::from_std(listener)?, path, _file: None };
        Ok(Self { spec, kind: Arc::new(kind), allowed: None })
    }

    /// Lets only those connect to it who are on a list.
    #[must_use]
    pub fn allow(mut self, list: AllowList) -> Self {
        self.allowed = Some(Arc::new(list));
        self
    }

    /// Why a peer may not connect to it, if so.
    pub(super) fn refuses(&self, peer: &Peer) -> Option<NotAllowed> {
        self.allowed.as_ref()?.check(peer).err()
    }

    /// What was asked for.
    pub fn spec(&self) -> &SocketSpec {
        &self.spec
    }

    /// The address in use, which has a number where port 0 was asked for; `None` for a unix socket.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match &*self.kind {
            Kind::Tcp(listener) => listener.local_addr().ok(),
            Kind::Unix { .. } => None,
        }
    }

    pub(super) async fn accept(&self) -> io::Result<(Stream, PeerAddress, Option<Credentials>)> {
        match &*self.kind {
            Kind::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                // Replies are small and awaited; a lost MTA must be noticed in the end.
                // A connection that is gone again may refuse, which is not the listener's fault.
                let _ = stream.set_nodelay(true);
                let _ = SockRef::from(&stream).set_keepalive(true);
                Ok((Stream::Tcp(stream), PeerAddress::Inet(peer), None))
            }
            Kind::Unix { listener, path, .. } => {
                let (stream, _) = listener.accept().await?;
                let credentials = stream.peer_cred().ok().map(|who| Credentials {
                    uid: who.uid(),
                    gid: who.gid(),
                    pid: who.pid(),
                });
                Ok((Stream::Unix(stream), PeerAddress::Unix(path.clone()), credentials))
            }
        }
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.spec.fmt(f)
    }
}

fn tcp(address: SocketAddr, spec: &SocketSpec, options: BindOptions) -> Result<Kind, BindError> {
    let io = |what: &'static str| {
        move |source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => BindError::InUse(spec.to_string()),
            _ => BindError::Io {
                spec: spec.to_string(),
                what: what.into(),
                hint: if source.kind() == io::ErrorKind::PermissionDenied {
                    port_hint(address)
                } else {
                    String::new()
                },
                source,
            },
        }
    };
    let socket =
        Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP)).map_err(io("socket"))?;
    if address.is_ipv6() {
        // `inet6:` is IPv6 alone, so that both families can be listened on side by side.
        socket.set_only_v6(true).map_err(io("socket option"))?;
    }
    socket.set_reuse_address(true).map_err(io("socket option"))?;
    socket.set_nonblocking(true).map_err(io("socket option"))?;
    socket.bind(&address.into()).map_err(io("bind"))?;
    let backlog = i32::try_from(options.backlog).unwrap_or(i32::MAX);
    socket.listen(backlog).map_err(io("listen"))?;
    TcpListener::from_std(socket.into()).map(Kind::Tcp).map_err(io("register"))
}

/// What to say where the system may refuse a port.
fn port_hint(address: SocketAddr) -> String {
    match address.port() {
        1..1024 => "; ports below 1024 are for root and processes with CAP_NET_BIND_SERVICE".to_owned(),
        _ => String::new(),
    }
}

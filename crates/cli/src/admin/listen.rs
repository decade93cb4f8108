//! The sockets over which the daemon shows itself.

use std::fs::{self, Permissions};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tamis::SocketSpec;
use tamis::server::resolve;
use tokio::net::{TcpListener, UnixListener, UnixSocket};

use crate::config::Admin;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 128;

/// The sockets over which the daemon shows itself. Clones are the same sockets: one [`serve`](super::serve) can take them
/// over from another. Those on disk go away with the last of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Listeners(pub(super) Vec<Listener>);

#[derive(Clone, Debug)]
pub(super) struct Listener {
    pub(super) door: Door,
    /// As it stands in the configuration.
    text: String,
    pub(super) socket: Arc<Socket>,
}

/// What is shown at a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    /// What tells nothing about single messages.
    Metrics,
    /// Everything, and reloading.
    Admin,
}

#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpListener),
    Unix { listener: UnixListener, _file: SocketFile },
}

impl Listeners {
    /// Opens the sockets of a configuration. Those on disk belong to `owner`, a user and a group, or else to the process:
    /// a daemon that root starts and that becomes somebody else later says whom. Must be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// The socket that cannot be listened on, and why.
    pub(crate) fn bind(admin: &Admin, owner: Option<(u32, u32)>) -> Result<Self, String> {
        Self::default().rebind(admin, owner)
    }

    /// As [`bind`](Self::bind), with those of these that the configuration still has.
    pub(crate) fn rebind(&self, admin: &Admin, owner: Option<(u32, u32)>) -> Result<Self, String> {
        let mut listeners = Vec::new();
        let mut open = |door, text: &str, bind: &dyn Fn() -> Result<Socket, String>| {
            let before = self.0.iter().find(|listener| listener.door == door && listener.text == text);
            let listener = match before {
                Some(listener) => listener.clone(),
                None => Listener { door, text: text.to_owned(), socket: Arc::new(bind()?) },
            };
            listeners.push(listener);
            Ok::<_, String>(())
        };
        if !admin.metrics.is_empty() {
            let text = &admin.metrics;
            let say = |error: &dyn std::fmt::Display| format!("cannot serve metrics on {text}: {error}");
            let spec: SocketSpec = text.parse().map_err(|error| say(&error))?;
            open(Door::Metrics, text, &|| {
                let socket = match &spec {
                    // Whoever may reach the folder may read them, as whoever may reach the port.
                    SocketSpec::Unix(path) => unix(path, 0o666, owner),
                    _ => tcp(&spec),
                };
                socket.map_err(|error| say(&error))
            })?;
        }
        if !admin.socket.is_empty() {
            let path = Path::new(&admin.socket);
            open(Door::Admin, &admin.socket, &|| {
                unix(path, 0o600, owner)
                    .map_err(|error| format!("cannot make the admin socket {}: {error}", path.display()))
            })?;
        }
        Ok(Self(listeners))
    }

    /// Where metrics are served over TCP: with the port in use where any was asked for.
    pub(crate) fn metrics_address(&self) -> Option<SocketAddr> {
        self.0.iter().find_map(|listener| match &*listener.socket {
            Socket::Tcp(listener) => listener.local_addr().ok(),
            Socket::Unix { .. } => None,
        })
    }
}

fn tcp(spec: &SocketSpec) -> Result<Socket, String> {
    let address = resolve(spec).map_err(|error| error.to_string())?;
    let address = address.expect("sockets that are no unix sockets have an address");
    let listen = || {
        let socket = match address {
            SocketAddr::V4(_) => tokio::net::TcpSocket::new_v4(),
            SocketAddr::V6(_) => tokio::net::TcpSocket::new_v6(),
        }?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    match listen() {
        Ok(listener) => Ok(Socket::Tcp(listener)),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            Err("it is in use by another process".to_owned())
        }
        Err(error) => Err(error.to_string()),
    }
}

/// Makes a unix socket that appears at its path all at once, with its permissions and already listening.
fn unix(path: &Path, mode: u32, owner: Option<(u32, u32)>) -> Result<Socket, String> {
    make_way(path)?;
    let socket = UnixSocket::new_stream().map_err(|error| error.to_string())?;
    let new = path.with_file_name(format!(".a{:x}", std::process::id()));
    // Left behind by a process of the same number that was killed.
    let _ = fs::remove_file(&new);
    socket.bind(&new).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => "its folder does not exist".to_owned(),
        _ => format!("creating it: {error}"),
    })?;
    let file = SocketFile::new(new).map_err(|error| error.to_string());
    let mut file = file?;
    let finish = |file: &Path| {
        if let Some((user, group)) = owner {
            lchown(file, Some(user), Some(group))?;
        }
        fs::set_permissions(file, Permissions::from_mode(mode))?;
        let listener = socket.listen(BACKLOG)?;
        fs::rename(file, path)?;
        Ok(listener)
    };
    let listener = finish(&file.path).map_err(|error: io::Error| error.to_string())?;
    path.clone_into(&mut file.path);
    Ok(Socket::Unix { listener, _file: file })
}

/// Checks that the path is free, or has a socket that nobody listens on any more.
fn make_way(path: &Path) -> Result<(), String> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error.to_string()),
        Ok(found) if !found.file_type().is_socket() => {
            Err("the file there is not a socket; remove it or choose another path".to_owned())
        }
        Ok(_) => match connect(path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
            Ok(()) => Err("it is in use by another process".to_owned()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                Err("it is in use by another process".to_owned())
            }
            Err(error) => Err(format!("connecting to the socket that is there: {error}")),
        },
    }
}

/// Tries to connect without ever waiting.
fn connect(path: &Path) -> io::Result<()> {
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.connect(&socket2::SockAddr::unix(path)?)
}

/// A socket's file; removed when dropped, if it still is the one that was made.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    fn new(path: PathBuf) -> io::Result<Self> {
        let identity = identity(&path)?;
        Ok(Self { path, identity })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|identity| identity == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let file = fs::symlink_metadata(path)?;
    Ok((file.dev(), file.ino()))
}

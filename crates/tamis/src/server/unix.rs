//! Unix sockets: a file that appears with everything it needs, takes a stale one's place, and goes away at the end.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};

use socket2::{Domain, Socket, Type};
use tamis_proto::address::SocketSpec;
use tokio::net::UnixListener;

use super::listener::{BindError, BindOptions};
use crate::permission::{Wish, missing};

/// Makes a unix socket that appears at its path all at once, with its permissions and already listening.
pub(super) fn listen(
    path: &Path,
    spec: &SocketSpec,
    options: BindOptions,
) -> Result<(UnixListener, SocketFile), BindError> {
    let io = |what: String| {
        move |source| BindError::Io { spec: spec.to_string(), what, source, hint: String::new() }
    };
    make_way(path, spec)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(io("socket".into()))?;
    let new = bind_temporary(&socket, path).map_err(|source| {
        let hint = missing(path, Wish::Create, &source);
        let what = format!("creating a file in {}", parent(path).display());
        BindError::Io { spec: spec.to_string(), what, source, hint }
    })?;
    // From here on the file goes away again if anything fails.
    let mut file = SocketFile::new(new).map_err(io("looking at the new socket".into()))?;
    // Before the mode, which would let the wrong group in.
    give_to(&file.path, spec, options)?;
    let mode = fs::Permissions::from_mode(options.unix_mode);
    fs::set_permissions(&file.path, mode).map_err(io(format!("setting mode {:o}", options.unix_mode)))?;
    socket.set_nonblocking(true).map_err(io("socket option".into()))?;
    socket.listen(i32::try_from(options.backlog).unwrap_or(i32::MAX)).map_err(io("listen".into()))?;
    fs::rename(&file.path, path).map_err(io(format!("renaming {} to it", file.path.display())))?;
    path.clone_into(&mut file.path);
    let listener = UnixListener::from_std(socket.into()).map_err(io("register".into()))?;
    Ok((listener, file))
}

/// Checks that the path is free, or has a socket that nobody listens on any more.
fn make_way(path: &Path, spec: &SocketSpec) -> Result<(), BindError> {
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => Err(BindError::NotASocket(spec.to_string())),
        Ok(_) => match connect(path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                tracing::info!("replacing the stale socket {}", path.display());
                Ok(())
            }
            Ok(()) => Err(BindError::InUse(spec.to_string())),
            // Somebody listens, with more to accept than there is room for.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                Err(BindError::InUse(spec.to_string()))
            }
            Err(source) => Err(BindError::Io {
                spec: spec.to_string(),
                what: "connecting to the socket that is there".into(),
                hint: missing(path, Wish::Connect, &source),
                source,
            }),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => {
            let what = format!("looking at {}", path.display());
            let hint = missing(path, Wish::Create, &source);
            Err(BindError::Io { spec: spec.to_string(), what, source, hint })
        }
    }
}

/// Changes user and group of a new socket, if asked for.
fn give_to(file: &Path, spec: &SocketSpec, options: BindOptions) -> Result<(), BindError> {
    let (owner, group) = (options.unix_owner, options.unix_group);
    let (what, hint) = match (owner, group) {
        (None, None) => return Ok(()),
        (Some(owner), None) => (format!("giving it to user {owner}"), "; only root may give a file away"),
        (None, Some(group)) => {
            (format!("giving it to group {group}"), "; only root and members of the group may do that")
        }
        (Some(owner), Some(group)) => {
            (format!("giving it to user {owner} and group {group}"), "; only root may give a file away")
        }
    };
    lchown(file, owner, group).map_err(|source| {
        let hint = if source.kind() == io::ErrorKind::PermissionDenied { hint } else { "" }.to_owned();
        BindError::Io { spec: spec.to_string(), what, source, hint }
    })
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// Tries to connect without ever waiting.
fn connect(path: &Path) -> io::Result<()> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.connect(&socket2::SockAddr::unix(path)?)
}

/// Binds to a short name that is free in the same folder, as the path of a socket is limited.
fn bind_temporary(socket: &Socket, path: &Path) -> io::Result<PathBuf> {
    let id = std::process::id();
    // Other processes with this id, in containers of their own, or other threads may be at it too.
    let mut number = 0;
    loop {
        let new = path.with_file_name(format!(".t{id:x}.{number:x}"));
        match socket.bind(&socket2::SockAddr::unix(&new)?) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && number < 0xff => number += 1,
            result => return result.map(|()| new),
        }
    }
}

/// A socket's file; removed when dropped, if it still is the one that was made.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    fn new(path: PathBuf) -> io::Result<Self> {
        let identity = Self::identity(&path)?;
        Ok(Self { path, identity })
    }

    fn identity(path: &Path) -> io::Result<(u64, u64)> {
        let file = fs::symlink_metadata(path)?;
        Ok((file.dev(), file.ino()))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if Self::identity(&self.path).is_ok_and(|identity| identity == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

//! Asking a running daemon, over its admin socket.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderValue};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use nix::unistd::{Gid, Group, Uid, User};
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::time::timeout;
use toml::de::DeTable;

use super::record::Problem;
use crate::config;

/// Bytes of an answer; far more than all records take.
const MAX_ANSWER: usize = 512 * 1024 * 1024;

/// Where the daemon is that is asked.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Daemon {
    /// The daemon's admin socket; what `[admin] socket` of its configuration says, if left out.
    #[arg(long, env = "TAMIS_ADMIN_SOCKET", value_name = "PATH")]
    socket: Option<PathBuf>,

    /// The daemon's configuration, which says where its admin socket is.
    #[arg(long, env = "TAMIS_CONFIG", value_name = "FILE", conflicts_with = "socket")]
    config: Option<PathBuf>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    body: Bytes,
}

impl Daemon {
    /// Asks for something and waits for the answer.
    ///
    /// # Errors
    ///
    /// When there is no daemon, when it may not be asked, or when it does not answer: in words that say what to do.
    pub(crate) fn ask(&self, method: &Method, path: &str, patience: Duration) -> Result<Answer, String> {
        let socket = self.socket()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| format!("cannot ask the daemon: {error}"))?;
        runtime.block_on(async {
            let stream = UnixStream::connect(&socket).await;
            let stream = stream.map_err(|error| unreachable(&socket, &error))?;
            let answer = match timeout(patience, exchange(stream, method, path)).await {
                Ok(answer) => answer.map_err(|error| error.to_string()),
                Err(_) => Err(format!("it said nothing for {patience:?}")),
            };
            answer.map_err(|error| format!("the daemon at {} did not answer: {error}", socket.display()))
        })
    }

    /// Where the admin socket is.
    fn socket(&self) -> Result<PathBuf, String> {
        if let Some(socket) = &self.socket {
            return Ok(socket.clone());
        }
        let file = self.config.as_deref();
        let said = match fs::read_to_string(file.unwrap_or(Path::new(config::PATH))) {
            Ok(text) => socket_in(&text),
            Err(error) => match file {
                Some(file) => return Err(format!("cannot read {}: {error}", file.display())),
                // Perhaps the daemon runs without a configuration, or its configuration is not for everybody's eyes.
                None => None,
            },
        };
        match said.unwrap_or_else(|| config::Admin::default().socket) {
            socket if socket.is_empty() => Err(format!(
                "the daemon has no admin socket: `socket` under [admin] in {} is empty",
                file.unwrap_or(Path::new(config::PATH)).display()
            )),
            socket => Ok(socket.into()),
        }
    }
}

impl Answer {
    /// Reads it as JSON.
    ///
    /// # Errors
    ///
    /// What the daemon says instead, or that it is none of ours.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T, String> {
        serde_json::from_slice(&self.body).map_err(|error| {
            match serde_json::from_slice::<Problem>(&self.body) {
                Ok(Problem { error }) => error,
                Err(_) => format!("the daemon's answer ({}) cannot be read: {error}", self.status),
            }
        })
    }

    /// As it came.
    pub(crate) fn json(&self) -> &[u8] {
        &self.body
    }
}

async fn exchange(
    stream: UnixStream,
    method: &Method,
    path: &str,
) -> Result<Answer, Box<dyn std::error::Error + Send + Sync>> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.method_mut() = method.clone();
    *request.uri_mut() = path.parse()?;
    request.headers_mut().insert(HOST, HeaderValue::from_static("tamis"));
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await?.to_bytes();
    Ok(Answer { status, body })
}

/// What a configuration says of the admin socket. It may have mistakes, which is often why a daemon is asked to
/// read it.
fn socket_in(text: &str) -> Option<String> {
    let (root, _) = DeTable::parse_recoverable(text);
    let admin = root.get_ref().get("admin")?.get_ref().as_table()?;
    Some(admin.get("socket")?.get_ref().as_str()?.to_owned())
}

/// Why there is no talking to the daemon.
fn unreachable(socket: &Path, error: &io::Error) -> String {
    let path = socket.display();
    match error.kind() {
        io::ErrorKind::NotFound => format!(
            "there is no daemon at {path}: nothing is there; start `tamis serve`, or say with --socket or --config \
             where its admin socket is"
        ),
        io::ErrorKind::ConnectionRefused => {
            format!("there is no daemon at {path} any more: nobody listens; start `tamis serve`")
        }
        io::ErrorKind::PermissionDenied => match barrier(socket) {
            Some((barrier, owner)) => format!(
                "the daemon at {path} may not be asked by this user: {} belongs to {owner}; run this as that user or \
                 as root",
                barrier.display()
            ),
            None => format!("the daemon at {path} may not be asked by this user: {error}"),
        },
        _ => format!("cannot ask the daemon at {path}: {error}"),
    }
}

/// What is in the way to a socket, the socket itself or a folder, and whose it is.
fn barrier(socket: &Path) -> Option<(&Path, String)> {
    // What can be looked at last is what lets nobody any further.
    let (path, found) = socket.ancestors().find_map(|path| Some((path, fs::metadata(path).ok()?)))?;
    let user = User::from_uid(Uid::from_raw(found.uid())).ok().flatten();
    let group = Group::from_gid(Gid::from_raw(found.gid())).ok().flatten();
    let user = user.map_or_else(|| found.uid().to_string(), |user| user.name);
    let group = group.map_or_else(|| found.gid().to_string(), |group| group.name);
    Some((path, format!("{user}:{group}, with mode {:04o}", found.permissions().mode() & 0o7777)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_is_found_in_a_configuration_with_mistakes() {
        let said = |text| socket_in(text);
        assert_eq!(said("[admin]\nsocket = \"/run/a\"\n").as_deref(), Some("/run/a"));
        assert_eq!(said("[admin]\nsocket = \"/run/a\"\nhistory = \n[chian").as_deref(), Some("/run/a"));
        assert_eq!(said("admin = 7"), None);
        assert_eq!(said("[admin]\nsocket = 7"), None);
        assert_eq!(said(""), None);
    }

    #[test]
    fn who_is_in_the_way_is_named() {
        let root = barrier(Path::new("/proc/1/no-such-thing/admin.sock")).unwrap();
        assert_eq!(root.0, Path::new("/proc/1"));
        assert!(root.1.contains(':') && root.1.contains("with mode 0555"), "{root:?}");
    }
}

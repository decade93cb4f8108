//! Where figures go: into a file that is always whole, or to whoever connects to a socket.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::{Gauges, begin};
use crate::log;
use crate::settings::MetricsTo;

/// Writes figures, until it is dropped.
pub(crate) struct Publisher {
    /// Nothing is ever sent: its end is what counts.
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// How often a file is written.
const EVERY: Duration = Duration::from_secs(10);
/// How long a client of the socket may take.
const CLIENT: Duration = Duration::from_millis(500);

/// Begins to count, and to publish.
///
/// # Errors
///
/// When nothing can be written there.
pub(crate) fn publish(
    to: &MetricsTo,
    filter: String,
    gauges: impl Fn() -> Gauges + Send + 'static,
) -> io::Result<Publisher> {
    let metrics = begin();
    let text = move || metrics.text(&filter, gauges());
    let (stop, stopped) = sync_channel::<()>(0);
    let work: Box<dyn FnOnce() + Send> = match to {
        MetricsTo::File(path) => {
            write_file(path, &text())?;
            let path = path.clone();
            Box::new(move || {
                let mut complained = false;
                loop {
                    let over = stopped.recv_timeout(EVERY) == Err(RecvTimeoutError::Disconnected);
                    if let Err(error) = write_file(&path, &text())
                        && !std::mem::replace(&mut complained, true)
                    {
                        log::error(format_args!("cannot write metrics to {}: {error}", path.display()));
                    }
                    if over {
                        return;
                    }
                }
            })
        }
        MetricsTo::Unix(path) => {
            let listener = bind(path)?;
            listener.set_nonblocking(true)?;
            let path = path.clone();
            Box::new(move || {
                while stopped.recv_timeout(Duration::ZERO) != Err(RecvTimeoutError::Disconnected) {
                    if let Some(client) = next_client(&listener) {
                        // A client that goes away is its own business.
                        let _ = serve(client, &text());
                    }
                }
                let _ = std::fs::remove_file(path);
            })
        }
    };
    let thread = std::thread::Builder::new().name("milter-metrics".to_owned()).spawn(work)?;
    Ok(Publisher { stop: Some(stop), thread: Some(thread) })
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Writes a file beside the old one, and puts it in its place.
fn write_file(path: &Path, text: &str) -> io::Result<()> {
    let new = beside(path);
    std::fs::write(&new, text)?;
    std::fs::rename(&new, path)
}

/// Binds a socket; one that is there is taken out of the way, anything else is not.
fn bind(path: &Path) -> io::Result<UnixListener> {
    use std::os::unix::fs::FileTypeExt as _;
    match std::fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "it is there and no socket"));
        }
        _ => {}
    }
    let new = beside(path);
    let _ = std::fs::remove_file(&new);
    let listener = UnixListener::bind(&new)?;
    std::fs::rename(&new, path)?;
    Ok(listener)
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}", std::process::id()));
    name.into()
}

/// Waits a while for somebody.
fn next_client(listener: &UnixListener) -> Option<UnixStream> {
    use std::os::fd::AsFd as _;
    let [ready] = crate::sys::wait_readable([listener.as_fd()], Some(CLIENT)).ok()?;
    if ready { listener.accept().ok().map(|(client, _)| client) } else { None }
}

/// Gives the text to a client: as HTTP if it asks so, else as it is.
fn serve(mut client: UnixStream, text: &str) -> io::Result<()> {
    client.set_nonblocking(false)?;
    client.set_read_timeout(Some(CLIENT))?;
    client.set_write_timeout(Some(CLIENT))?;
    let mut asked = [0; 4096];
    let count = client.read(&mut asked).unwrap_or(0);
    if asked[..count].starts_with(b"GET ") {
        write!(
            client,
            "HTTP/1.0 200 OK\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n",
            text.len()
        )?;
    }
    client.write_all(text.as_bytes())
}

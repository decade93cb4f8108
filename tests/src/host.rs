//! The boundary between this harness and the filter under test.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use crate::script::Script;
use crate::text::escape;

/// Where a filter listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// A TCP port.
    Tcp(SocketAddr),
    /// A socket file that everybody may connect to (mode 0666): the MTA runs as another user.
    Unix(PathBuf),
}

/// Turns scripts into running filters.
pub trait FilterHost: Sync {
    /// Starts a filter that does what the script says; when this returns it accepts connections.
    fn start(&self, script: &Script, listen: &Listen) -> Box<dyn RunningFilter>;
}

/// A filter that serves; it stops at once when dropped.
pub trait RunningFilter: Send {
    /// What the filter has seen so far, over all connections, as [`EventLog`] describes.
    fn log(&self) -> &EventLog;

    /// Drops the listener and all connections at once, without a word to the MTA.
    fn kill(&mut self);

    /// Listens again at the same address, after [`kill`](Self::kill) or [`shutdown`](Self::shutdown).
    fn restart(&mut self);

    /// Stops accepting, and returns when the messages in work are finished.
    fn shutdown(&mut self);
}

/// The list of what a filter has seen, one line each.
///
/// The lines are made by the functions of this type, so that every host writes the same: `connect HOST ADDRESS`,
/// `helo NAME`, `mail PATH ARGS…`, `rcpt PATH ARGS…`, `rcpt-rejected PATH ARGS…`, `data`, `header NAME=VALUE`,
/// `eoh`, `body SIZE`, `eom`, `unknown LINE`, `macro NAME=VALUE` or `macro NAME unset`, `field NAME=VALUE`,
/// `kept-body SIZE …`, `log LINE`, `abort`, `close`; bytes are written as by [`escape`].
#[derive(Clone, Debug, Default)]
pub struct EventLog {
    shared: Arc<(Mutex<Vec<String>>, Condvar)>,
    bodies: Arc<Mutex<Vec<u8>>>,
}

impl EventLog {
    /// All lines so far.
    pub fn all(&self) -> Vec<String> {
        self.lines().clone()
    }

    /// Waits until the lines satisfy `enough`; `false` if that did not happen in time.
    ///
    /// # Panics
    ///
    /// When a filter panicked while it wrote a line.
    pub fn wait(&self, patience: Duration, enough: impl Fn(&[String]) -> bool) -> bool {
        let waited = self.shared.1.wait_timeout_while(self.lines(), patience, |lines| !enough(lines));
        !waited.expect("nobody panics while writing a line").1.timed_out()
    }

    /// Waits until a line that starts like this is there.
    pub fn wait_for(&self, start: &str, patience: Duration) -> bool {
        self.wait(patience, |lines| lines.iter().any(|line| line.starts_with(start)))
    }

    /// Adds `connect`; the address is `None` when the MTA does not know it.
    pub fn connect(&self, host: &[u8], address: Option<&str>) {
        self.push(format!("connect {} {}", escape(host), address.unwrap_or("unknown")));
    }

    /// Adds `helo`.
    pub fn helo(&self, name: &[u8]) {
        self.push(format!("helo {}", escape(name)));
    }

    /// Adds `mail`: the path as the client wrote it, and its arguments.
    pub fn mail<'a>(&self, path: &[u8], arguments: impl IntoIterator<Item = &'a [u8]>) {
        self.push(path_line("mail", path, arguments));
    }

    /// Adds `rcpt`, or `rcpt-rejected` for a recipient that the MTA refuses itself.
    pub fn rcpt<'a>(&self, path: &[u8], arguments: impl IntoIterator<Item = &'a [u8]>, rejected: bool) {
        self.push(path_line(if rejected { "rcpt-rejected" } else { "rcpt" }, path, arguments));
    }

    /// Adds `header`: the value exactly as the MTA sent it.
    pub fn header(&self, name: &[u8], value: &[u8]) {
        self.push(format!("header {}={}", escape(name), escape(value)));
    }

    /// Adds `body` with the size of this chunk.
    pub fn body(&self, chunk: &[u8]) {
        self.bodies.lock().expect("nobody panics while keeping a body").extend_from_slice(chunk);
        self.push(format!("body {}", chunk.len()));
    }

    /// All chunks of all bodies so far, one behind the other.
    ///
    /// # Panics
    ///
    /// When a filter panicked while it wrote a line.
    pub fn bodies(&self) -> Vec<u8> {
        self.bodies.lock().expect("nobody panics while keeping a body").clone()
    }

    /// Adds `macro` with the value of a macro, or without one if the MTA did not send it.
    pub fn macro_value(&self, name: &str, value: Option<&[u8]>) {
        self.push(match value {
            Some(value) => format!("macro {name}={}", escape(value)),
            None => format!("macro {name} unset"),
        });
    }

    /// Adds `unknown`: the command line as the MTA sent it.
    pub fn unknown(&self, line: &[u8]) {
        self.push(format!("unknown {}", escape(line)));
    }

    /// Adds `field` for one that the library kept.
    pub fn field(&self, name: &[u8], value: &[u8]) {
        self.push(format!("field {}={}", escape(name), escape(value)));
    }

    /// Adds `kept-body` for the body that the library kept: its size, and how it begins and ends.
    pub fn kept_body(&self, body: &[u8]) {
        const SHOWN: usize = 100;
        let (start, end) = (&body[..body.len().min(SHOWN)], &body[body.len().saturating_sub(SHOWN)..]);
        self.push(format!("kept-body {} {} ... {}", body.len(), escape(start), escape(end)));
    }

    /// Adds `log` with a line that a filter has written into the log.
    pub fn log_line(&self, line: &str) {
        self.push(format!("log {}", escape(line.as_bytes())));
    }

    /// Adds one of the events that have nothing to say: `data`, `eoh`, `eom`, `abort`, `close`.
    pub fn plain(&self, event: &str) {
        self.push(event.to_owned());
    }

    fn push(&self, line: String) {
        self.lines().push(line);
        self.shared.1.notify_all();
    }

    fn lines(&self) -> MutexGuard<'_, Vec<String>> {
        self.shared.0.lock().expect("nobody panics while writing a line")
    }
}

fn path_line<'a>(event: &str, path: &[u8], arguments: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut line = format!("{event} {}", escape(path));
    for argument in arguments {
        line.push(' ');
        line.push_str(&escape(argument));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_one_form_for_every_host() {
        let log = EventLog::default();
        log.connect(b"[192.0.2.1]", Some("192.0.2.1"));
        log.helo(b"caf\xe9");
        log.mail(b"<a@x>", [b"SIZE=1".as_slice(), b"RET=HDRS"]);
        log.rcpt(b"<b@x>", [], true);
        log.header(b"X", b" a\n\tb");
        log.body(b"a body\n");
        log.plain("eom");
        let expected = [
            "connect [192.0.2.1] 192.0.2.1",
            "helo caf\\xe9",
            "mail <a@x> SIZE=1 RET=HDRS",
            "rcpt-rejected <b@x>",
            "header X= a\\n\\tb",
            "body 7",
            "eom",
        ];
        assert_eq!(log.all(), expected);
        assert!(log.wait_for("eo", Duration::ZERO));
        assert!(!log.wait_for("abort", Duration::ZERO));
    }
}

//! Private Sendmail instances, from packages that are unpacked and not installed; nothing of the system is touched.
//!
//! Sendmail sleeps a minute at its start where the host's name has no dot: each instance gets a name of its own, in
//! a UTS namespace.

mod cf;
mod installation;
mod queue;

use std::fs::{self, File, Permissions};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use self::installation::Installation;
use crate::host::Listen;
use crate::mta::{HOST_NAME, Held, Mta};
use crate::port;

const PATIENCE: Duration = Duration::from_mins(1);

/// A running instance; it stops when dropped.
#[derive(Debug)]
pub struct Sendmail {
    smtp: SocketAddr,
    daemon: Child,
    filters: Vec<Listen>,
    folder: Folder,
}

/// What an instance is to be.
#[derive(Clone, Debug)]
pub struct Builder {
    relay: SocketAddr,
    unix_sockets: Vec<bool>,
    ipv6: bool,
    settings: Vec<(String, String)>,
}

/// The folder of an instance.
#[derive(Debug)]
struct Folder(TempDir);

/// Tells what is missing for instances to start, and what to do about it.
pub fn check() -> Result<(), String> {
    require().map(drop)
}

fn require() -> Result<Installation, String> {
    installation::require_namespace()?;
    Installation::find()
}

impl Builder {
    /// An instance that relays everything to this address, with no filter yet.
    pub fn new(relay: SocketAddr) -> Self {
        Self { relay, unix_sockets: Vec::new(), ipv6: false, settings: Vec::new() }
    }

    /// Sends all mail through one more filter, on a TCP port; [`Sendmail::filters`] says where it must listen.
    #[must_use]
    pub fn milter_tcp(mut self) -> Self {
        self.unix_sockets.push(false);
        self
    }

    /// Sends all mail through one more filter, on a unix socket.
    #[must_use]
    pub fn milter_unix(mut self) -> Self {
        self.unix_sockets.push(true);
        self
    }

    /// Sets one of the names that `README.md` lists for `[sendmail]`, or defines one of the names that Sendmail's
    /// own configuration macros use, such as `confMAX_HEADERS_LENGTH`.
    #[must_use]
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        match (name, value) {
            ("client", "ipv6") => self.ipv6 = true,
            _ => self.settings.push((name.to_owned(), value.to_owned())),
        }
        self
    }

    /// Starts the instance, and returns once it takes connections.
    ///
    /// # Panics
    ///
    /// When Sendmail is not there, when this process may not make a UTS namespace, and when the instance does not
    /// come up; the text says which, and what to do.
    pub fn start(self) -> Sendmail {
        let installation = require().unwrap_or_else(|error| panic!("{error}"));
        let folder = Folder(
            tempfile::Builder::new()
                .prefix("tamis-sendmail-")
                .permissions(Permissions::from_mode(0o755))
                .tempdir()
                .expect("a temporary folder can be made"),
        );
        let loopback = if self.ipv6 { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() };
        let smtp = SocketAddr::new(loopback, port::free().port());
        fs::create_dir(folder.queue()).expect("a folder can be made in one's own");
        fs::set_permissions(folder.queue(), Permissions::from_mode(0o700)).expect("the folder is ours");
        let filters: Vec<Listen> =
            (1..).zip(&self.unix_sockets).map(|(n, unix)| folder.filter(n, *unix)).collect();
        fs::write(folder.path().join("service.switch"), "hosts files\n").expect("the folder is ours");
        for name in ["hosts", "aliases"] {
            fs::write(folder.path().join(name), "").expect("the folder is ours");
        }
        let source = cf::source(folder.path(), smtp, self.relay, &filters, &self.settings);
        fs::write(folder.path().join("test.mc"), source).expect("the folder is ours");
        installation.make_cf(&folder.path().join("test.mc"), &folder.cf());

        let output = File::create(folder.path().join("start.log")).expect("the folder is ours");
        let mut command = Command::new("unshare");
        command.args(["--uts", "sh", "-c", "hostname \"$0\" && exec \"$@\"", HOST_NAME]);
        command
            .arg(installation.program())
            .arg("-C")
            .arg(folder.cf())
            .arg("-bD")
            .arg("-X")
            .arg(folder.traffic());
        let daemon = command
            .envs(installation.environment())
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a file can be shared"))
            .stderr(output)
            // Its sessions and deliveries are processes of this group.
            .process_group(0)
            .spawn()
            .expect("unshare was there a moment ago");
        let mut sendmail = Sendmail { smtp, daemon, filters, folder };
        sendmail.wait_until_up();
        sendmail
    }
}

impl Sendmail {
    /// Where its filters must listen, in the order in which they are asked.
    pub fn filters(&self) -> &[Listen] {
        &self.filters
    }

    fn wait_until_up(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        // Not by connecting: that would be a session for the filter to see. And not by its pid file, which Sendmail
        // writes when the port is bound, a moment before it listens.
        while !port::is_listening(self.smtp) {
            let ended = self.daemon.try_wait().expect("our child can be asked");
            if ended.is_some() || Instant::now() > deadline {
                let start = fs::read_to_string(self.folder.path().join("start.log")).unwrap_or_default();
                panic!("sendmail did not start ({ended:?}):\n{start}{}", self.log());
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn signal(&self, signal: &str) {
        let group = format!("-{}", self.daemon.id());
        drop(Command::new("kill").args([signal, "--", &group]).output());
    }
}

impl Mta for Sendmail {
    fn smtp(&self) -> SocketAddr {
        self.smtp
    }

    /// Its sessions and deliveries, word for word: what it would log goes to the system's log, if there is one.
    fn log(&self) -> String {
        let log = fs::read(self.folder.traffic());
        log.map(|log| String::from_utf8_lossy(&log).into_owned()).unwrap_or_default()
    }

    fn wait_until_idle(&self, patience: Duration) -> bool {
        queue::wait_until_idle(&self.folder.queue(), patience)
    }

    fn is_clear(&self) -> bool {
        queue::is_empty(&self.folder.queue())
    }

    fn held(&self) -> Vec<Held> {
        queue::held(&self.folder.queue())
    }

    fn deferred(&self) -> Vec<String> {
        queue::deferred(&self.folder.queue())
    }

    fn clear(&self) {
        queue::clear(&self.folder.queue());
    }
}

impl Drop for Sendmail {
    fn drop(&mut self) {
        self.signal("-TERM");
        drop(self.daemon.wait());
        // Sessions that still wait for a filter or a client.
        self.signal("-KILL");
    }
}

impl Folder {
    fn path(&self) -> &Path {
        self.0.path()
    }

    fn cf(&self) -> PathBuf {
        self.path().join("sendmail.cf")
    }

    fn queue(&self) -> PathBuf {
        self.path().join("queue")
    }

    fn traffic(&self) -> PathBuf {
        self.path().join("traffic")
    }

    fn filter(&self, number: usize, unix: bool) -> Listen {
        if unix {
            Listen::Unix(self.path().join(format!("filter{number}.sock")))
        } else {
            Listen::Tcp(port::free())
        }
    }
}

//! Private Postfix instances: each with its own folder and port, none of them touching the system's.

use std::fs::{self, File, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::host::Listen;
use crate::mta::{HOST_NAME, Held, Mta};
use crate::port;
use crate::queue::Queue;

const PATIENCE: Duration = Duration::from_secs(30);

/// A running instance; it stops when dropped.
#[derive(Debug)]
pub struct Postfix {
    smtp: SocketAddr,
    others: Vec<SocketAddr>,
    master: Child,
    folder: Folder,
}

/// What an instance is to be.
#[derive(Clone, Debug)]
pub struct Builder {
    relay: SocketAddr,
    milter: Option<Milter>,
    /// The filters' sockets of each further SMTP server.
    others: Vec<Vec<String>>,
    chroot: bool,
    settings: Vec<(String, String)>,
}

/// Where the instance finds its filter.
#[derive(Clone, Debug)]
enum Milter {
    Tcp(SocketAddr),
    /// A name under the instance's [`Folder::sockets`].
    Unix(String),
}

/// What `/proc` says of a process.
struct Process {
    pid: u32,
    parent: u32,
    name: String,
    cpu_time: Duration,
}

impl Process {
    /// Nothing if there is none any more.
    fn read(folder: &Path) -> Option<Self> {
        let pid = folder.file_name()?.to_str()?.parse().ok()?;
        let stat = fs::read_to_string(folder.join("stat")).ok()?;
        // The name stands in parentheses and may have some itself; state and parent follow.
        let (before, after) = stat.rsplit_once(") ")?;
        let parent = after.split(' ').nth(1)?.parse().ok()?;
        let name = before.split_once('(')?.1.to_owned();
        let ran = fs::read_to_string(folder.join("schedstat")).ok()?;
        let cpu_time = Duration::from_nanos(ran.split(' ').next()?.parse().ok()?);
        Some(Self { pid, parent, name, cpu_time })
    }
}

/// The folder of an instance.
#[derive(Debug)]
struct Folder(TempDir);

impl Builder {
    /// An instance that relays everything to this address, with no filter yet.
    pub fn new(relay: SocketAddr) -> Self {
        Self { relay, milter: None, others: Vec::new(), chroot: false, settings: Vec::new() }
    }

    /// Sends all SMTP mail through a filter on a TCP port.
    #[must_use]
    pub fn milter_tcp(mut self, address: SocketAddr) -> Self {
        self.milter = Some(Milter::Tcp(address));
        self
    }

    /// Sends all SMTP mail through a filter on a unix socket: [`Postfix::socket`] says where it must listen.
    #[must_use]
    pub fn milter_unix(mut self, name: &str) -> Self {
        self.milter = Some(Milter::Unix(name.to_owned()));
        self
    }

    /// Adds an SMTP server on a port of its own, whose mail goes through these filters on unix sockets, one after
    /// the other.
    #[must_use]
    pub fn server(mut self, names: &[&str]) -> Self {
        self.others.push(names.iter().copied().map(str::to_owned).collect());
        self
    }

    /// Runs the SMTP server in a chroot.
    #[must_use]
    pub fn chroot(mut self, chroot: bool) -> Self {
        self.chroot = chroot;
        self
    }

    /// Sets a value in `main.cf`, over what this module would write.
    #[must_use]
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts the instance, and returns once it takes connections.
    ///
    /// # Panics
    ///
    /// When Postfix is not installed, when this is not run by root, and when the instance does not come up; the
    /// text says which.
    pub fn start(self) -> Postfix {
        let postfix_uid = require_postfix();
        let folder = Folder(
            tempfile::Builder::new()
                .prefix("tamis-postfix-")
                .permissions(Permissions::from_mode(0o755))
                .tempdir()
                .expect("a temporary folder can be made"),
        );
        let smtp = port::free();
        let others: Vec<SocketAddr> = self.others.iter().map(|_| port::free()).collect();
        for path in [folder.etc(), folder.queue(), folder.data(), folder.sockets()] {
            fs::create_dir_all(&path).expect("a folder can be made in one's own");
        }
        chown(folder.data(), Some(postfix_uid), None).expect("root can give folders away");
        fs::write(folder.etc().join("main.cf"), self.main_cf(&folder)).expect("the folder is ours");
        fs::write(folder.etc().join("master.cf"), self.master_cf(&folder, smtp, &others))
            .expect("the folder is ours");
        let output = File::create(folder.path().join("start.log")).expect("the folder is ours");
        let master = Command::new("postfix")
            .arg("-c")
            .arg(folder.etc())
            .arg("start-fg")
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a file can be shared"))
            .stderr(output)
            // The master process signals its whole group when it stops: that must not be ours.
            .process_group(0)
            .spawn()
            .expect("postfix was there a moment ago");
        let mut postfix = Postfix { smtp, others, master, folder };
        postfix.wait_until_up();
        postfix
    }

    fn main_cf(&self, folder: &Folder) -> String {
        let path = |path: PathBuf| path.display().to_string();
        let mut lines = vec![
            ("compatibility_level", "3.6".to_owned()),
            ("queue_directory", path(folder.queue())),
            ("data_directory", path(folder.data())),
            ("maillog_file", path(folder.log())),
            ("maillog_file_prefixes", path(folder.path().to_owned())),
            ("daemon_directory", "/usr/lib/postfix/sbin".to_owned()),
            ("meta_directory", "/etc/postfix".to_owned()),
            ("shlib_directory", "/usr/lib/postfix".to_owned()),
            ("myhostname", HOST_NAME.to_owned()),
            ("inet_interfaces", "127.0.0.1".to_owned()),
            ("inet_protocols", "all".to_owned()),
            ("mydestination", String::new()),
            ("local_recipient_maps", String::new()),
            ("alias_maps", String::new()),
            ("alias_database", String::new()),
            ("mynetworks", "127.0.0.0/8, [2001:db8::]/32, 192.0.2.0/24".to_owned()),
            ("relayhost", format!("[{}]:{}", self.relay.ip(), self.relay.port())),
            ("disable_dns_lookups", "yes".to_owned()),
            ("smtp_host_lookup", "native".to_owned()),
            ("smtp_dns_support_level", "disabled".to_owned()),
            ("smtputf8_enable", "yes".to_owned()),
            // No Date, From or Message-Id of Postfix's own: what is delivered is what was sent, and the edits.
            ("local_header_rewrite_clients", String::new()),
            // Long lines leave as they came.
            ("smtp_line_length_limit", "0".to_owned()),
            ("smtpd_peername_lookup", "no".to_owned()),
            ("smtpd_relay_restrictions", "permit_mynetworks, reject".to_owned()),
            ("smtpd_authorized_xclient_hosts", "127.0.0.0/8".to_owned()),
            ("smtpd_error_sleep_time", "0".to_owned()),
            ("smtpd_soft_error_limit", "10000".to_owned()),
            ("smtpd_hard_error_limit", "10000".to_owned()),
            ("smtpd_client_connection_count_limit", "0".to_owned()),
            ("in_flow_delay", "0".to_owned()),
            ("message_size_limit", "104857600".to_owned()),
            ("mailbox_size_limit", "0".to_owned()),
            ("milter_default_action", "tempfail".to_owned()),
            ("milter_connect_timeout", "5s".to_owned()),
            ("milter_command_timeout", "10s".to_owned()),
            ("milter_content_timeout", "10s".to_owned()),
        ];
        match &self.milter {
            Some(Milter::Tcp(address)) => {
                lines.push(("smtpd_milters", format!("inet:{}:{}", address.ip(), address.port())));
            }
            // In the chroot the queue folder is the root.
            Some(Milter::Unix(name)) if self.chroot => {
                lines.push(("smtpd_milters", format!("unix:/milter/{name}")));
            }
            Some(Milter::Unix(name)) => {
                lines.push(("smtpd_milters", format!("unix:{}", path(folder.sockets().join(name)))));
            }
            None => {}
        }
        lines.retain(|(name, _)| !self.settings.iter().any(|(set, _)| set == name));
        let own = lines.iter().map(|(name, value)| format!("{name} = {value}\n"));
        own.chain(self.settings.iter().map(|(name, value)| format!("{name} = {value}\n"))).collect()
    }

    fn master_cf(&self, folder: &Folder, smtp: SocketAddr, others: &[SocketAddr]) -> String {
        let chroot = if self.chroot { "y" } else { "n" };
        let others = others.iter().zip(&self.others).map(|(address, names)| {
            let sockets = names.iter().map(|name| format!("unix:{}", folder.sockets().join(name).display()));
            let sockets = sockets.collect::<Vec<_>>().join(",");
            format!("{address} inet n - n - - smtpd -o smtpd_milters={sockets}\n")
        });
        format!("{smtp} inet n - {chroot} - - smtpd\n{}{SERVICES}", others.collect::<String>())
    }
}

const SERVICES: &str = "\
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
";

impl Postfix {
    /// Where the servers of [`Builder::server`] take SMTP.
    pub fn others(&self) -> &[SocketAddr] {
        &self.others
    }

    /// Where a filter of [`Builder::milter_unix`] or [`Builder::server`] must listen.
    pub fn socket(&self, name: &str) -> Listen {
        Listen::Unix(self.folder.sockets().join(name))
    }

    /// CPU time that processes of this name have taken that are there now.
    ///
    /// # Panics
    ///
    /// Where the system does not say it in `/proc`.
    pub fn cpu_time(&self, name: &str) -> Duration {
        let processes: Vec<Process> = fs::read_dir("/proc")
            .expect("this is Linux")
            .filter_map(|entry| Process::read(&entry.ok()?.path()))
            .collect();
        let parent = |pid| processes.iter().find(|process| process.pid == pid).map(|process| process.parent);
        let is_ours = |process: &&Process| {
            let mut above = std::iter::successors(Some(process.parent), |pid| parent(*pid));
            process.name == name && above.any(|pid| pid == self.master.id())
        };
        processes.iter().filter(is_ours).map(|process| process.cpu_time).sum()
    }

    fn queue(&self) -> Queue {
        Queue::new(&self.folder.etc(), &self.folder.queue())
    }

    fn wait_until_up(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        // Not by connecting: that would be a session for the filter to see.
        while !self.log().contains("daemon started") {
            let ended = self.master.try_wait().expect("our child can be asked");
            if ended.is_some() || Instant::now() > deadline {
                let start = fs::read_to_string(self.folder.path().join("start.log")).unwrap_or_default();
                panic!("postfix did not start ({ended:?}):\n{start}{}", self.log());
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Mta for Postfix {
    fn smtp(&self) -> SocketAddr {
        self.smtp
    }

    fn log(&self) -> String {
        fs::read(self.folder.log()).map(|log| String::from_utf8_lossy(&log).into_owned()).unwrap_or_default()
    }

    fn wait_until_idle(&self, patience: Duration) -> bool {
        self.queue().wait_until_idle(patience)
    }

    fn is_clear(&self) -> bool {
        self.queue().is_clear()
    }

    fn held(&self) -> Vec<Held> {
        self.queue().held()
    }

    fn deferred(&self) -> Vec<String> {
        self.queue().deferred()
    }

    fn clear(&self) {
        self.queue().clear();
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        let stop = Command::new("postfix").arg("-c").arg(self.folder.etc()).arg("stop").output();
        if !stop.is_ok_and(|output| output.status.success()) {
            let group = format!("-{}", self.master.id());
            drop(Command::new("kill").args(["-KILL", "--", &group]).output());
        }
        drop(self.master.wait());
    }
}

impl Folder {
    fn path(&self) -> &Path {
        self.0.path()
    }

    fn etc(&self) -> PathBuf {
        self.path().join("etc")
    }

    fn queue(&self) -> PathBuf {
        self.path().join("queue")
    }

    fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    fn log(&self) -> PathBuf {
        self.path().join("maillog")
    }

    /// Under the queue folder, so that a chrooted SMTP server reaches it too.
    fn sockets(&self) -> PathBuf {
        self.queue().join("milter")
    }
}

/// Makes sure that Postfix can be run, and returns the user id it works under.
fn require_postfix() -> u32 {
    let version = Command::new("postconf").args(["-d", "-h", "mail_version"]).output();
    assert!(
        version.is_ok_and(|output| output.status.success()),
        "Postfix is not installed, and this test is about it: apt-get install postfix (as \"No configuration\")"
    );
    let id = |arguments: &[&str]| -> u32 {
        let output = Command::new("id").args(arguments).output().expect("every system has `id`");
        String::from_utf8_lossy(&output.stdout).trim().parse().expect("`id` prints a number")
    };
    assert_eq!(id(&["-u"]), 0, "Postfix changes users, so this test must be run by root");
    id(&["-u", "postfix"])
}

//! `tamis serve --config`: reloading, and life under systemd.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bytes::Bytes;
use tamis::client::Client;
use tamis::proto::command::{Command as Step, Connect, Envelope};
use tamis::proto::{MtaConfig, Profile};
use tempfile::TempDir;

use crate::common::{PATIENCE, Serve, run, tamis, through};

/// A configuration in a folder of its own.
struct Configured {
    folder: TempDir,
}

impl Configured {
    fn new(text: &str) -> Self {
        let configured = Self { folder: tempfile::tempdir().unwrap() };
        configured.write(text);
        configured
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("tamis.toml")
    }

    /// Writes it with what all have.
    fn write(&self, text: &str) {
        let text = format!("[log]\nformat = \"json\"\n[admin]\nsocket = \"\"\n{text}");
        fs::write(self.path(), text).unwrap();
    }

    fn command(&self) -> Command {
        tamis(["serve", "--config", self.path().to_str().unwrap()])
    }

    fn start(&self) -> Serve {
        Serve::spawn(self.command())
    }

    fn socket(&self, name: &str) -> String {
        format!("unix:{}", self.folder.path().join(name).display())
    }
}

fn listeners(sockets: &[&str]) -> String {
    sockets.iter().flat_map(|socket| ["[[listener]]\nsocket = \"", socket, "\"\n"]).collect()
}

/// A message up to its sender.
pub(crate) async fn begin(address: &str) -> Client {
    let config = MtaConfig::new(Profile::Postfix);
    let mut client = Client::connect(&address.parse().unwrap(), config).await.unwrap();
    client.step(&Step::Connect(Connect::unknown("local")), None).await.unwrap();
    client.step(&Step::Helo("client.example"), None).await.unwrap();
    client.step(&Step::Mail(Envelope::new(&b"<a@example.com>"[..])), None).await.unwrap();
    client
}

async fn end(client: &mut Client) {
    client.step(&Step::Rcpt(Envelope::new(&b"<to@example.com>"[..])), None).await.unwrap();
    client.step(&Step::<Bytes>::EndOfHeaders, None).await.unwrap();
    client.step(&Step::<Bytes>::EndOfMessage(Bytes::new()), None).await.unwrap();
}

#[tokio::test]
async fn sessions_in_work_outlive_a_reload_and_new_ones_are_served_by_the_new_configuration() {
    let configured = Configured::new("");
    let (kept, old, new) = (configured.socket("kept"), configured.socket("old"), configured.socket("new"));
    configured.write(&listeners(&[&kept, &old]));
    let mut serve = configured.start();
    let mut on_kept = begin(&kept).await;
    let mut on_old = begin(&old).await;
    configured.write(&listeners(&[&kept, &new]));
    serve.signal("HUP");
    serve.wait_for("in force for new connections");
    // What is gone is gone, what is new is there.
    end(&mut begin(&new).await).await;
    end(&mut begin(&kept).await).await;
    for client in [&mut on_kept, &mut on_old] {
        end(client).await;
        client.step(&Step::Mail(Envelope::new(&b"<b@example.com>"[..])), None).await.unwrap();
        end(client).await;
    }
    drop(on_old);
    let gone = run(["send", "--to", &old, "/dev/null"]);
    assert_eq!(gone.code, 1, "{gone:?}");
    serve.signal("TERM");
    drop(on_kept);
    assert_eq!(serve.wait(), 0);
}

#[tokio::test]
async fn limits_on_connections_count_those_of_configurations_before() {
    let configured = Configured::new("");
    let socket = configured.socket("s");
    configured.write(&format!("{}[limits]\nmax_connections = 2\n", listeners(&[&socket])));
    let mut serve = configured.start();
    let mut first = begin(&socket).await;
    let mut second = begin(&socket).await;
    serve.signal("HUP");
    serve.wait_for("in force for new connections");
    let third = run(["send", "--to", &socket, "/dev/null"]);
    assert_eq!(third.code, 1, "{third:?}");
    let line = serve.wait_for("connection refused");
    assert!(line.contains("2 connections are open, the limit (max-connections)"), "{line}");
    end(&mut first).await;
    drop(first);
    // Nobody tells when the place is free.
    while run(["send", "--to", &socket, "/dev/null"]).code != 0 {}
    end(&mut second).await;
    drop(second);
    serve.signal("TERM");
    assert_eq!(serve.wait(), 0);
}

#[tokio::test]
async fn a_mistake_leaves_everything_as_it_is_and_is_logged_with_its_place() {
    let configured = Configured::new("");
    let (kept, new) = (configured.socket("kept"), configured.socket("new"));
    configured.write(&listeners(&[&kept]));
    let mut serve = configured.start();
    configured.write(&format!("{}[chain]\nmode = \"pipe\"\n", listeners(&[&new])));
    serve.signal("HUP");
    let line = serve.wait_for("tamis.toml:8:8: error: there is no value `pipe`");
    assert!(line.contains("\"level\":\"ERROR\""), "{line}");
    serve.wait_for("not taken over: the configuration in force stays");
    end(&mut begin(&kept).await).await;
    // A socket that cannot be had is a mistake, too, and takes no other one away.
    configured.write(&listeners(&[&kept, &new, "unix:/no/such/folder/s"]));
    serve.signal("HUP");
    serve.wait_for("/no/such/folder");
    serve.wait_for("not taken over");
    assert!(!Path::new(new.strip_prefix("unix:").unwrap()).exists());
    end(&mut begin(&kept).await).await;
    serve.signal("TERM");
    assert_eq!(serve.wait(), 0);
}

#[test]
fn mistakes_at_the_start_are_shown_and_nothing_is_served() {
    let configured = Configured::new("[chain]\nmode = \"pipe\"\n");
    let output = configured.command().output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr.contains("tamis.toml:6:8: error: there is no value `pipe`"), "{stderr}");
    assert!(stderr.ends_with("there are mistakes in the configuration\n"), "{stderr}");
}

#[test]
fn a_file_and_options_of_the_same_things_are_refused() {
    let configured = Configured::new("");
    for option in ["--listen=inet:0", "--max-connections=3", "--socket-mode=0600", "--filter=trace"] {
        let output = configured.command().arg(option).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{option}: {stderr}");
        assert!(stderr.contains("cannot be used with"), "{stderr}");
    }
}

/// A stand-in for systemd's end of the notifications.
struct Notified(UnixDatagram);

impl Notified {
    fn next(&self) -> String {
        let mut text = [0; 512];
        let length = self.0.recv(&mut text).expect("a notification in time");
        String::from_utf8(text[..length].to_vec()).unwrap()
    }

    fn wait_for(&self, state: &str) {
        while !self.next().lines().any(|line| line == state) {}
    }
}

#[test]
fn systemd_is_told_of_readiness_reloads_the_end_and_that_all_is_alive() {
    let configured = Configured::new("");
    configured.write(&listeners(&[&configured.socket("s")]));
    let path = configured.folder.path().join("notify");
    let notified = Notified(UnixDatagram::bind(&path).unwrap());
    notified.0.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut command = configured.command();
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "200000");
    let mut serve = Serve::spawn(command);
    notified.wait_for("READY=1");
    notified.wait_for("WATCHDOG=1");
    notified.wait_for("WATCHDOG=1");
    serve.signal("HUP");
    loop {
        let text = notified.next();
        if text.contains("RELOADING=1") {
            assert!(text.contains("MONOTONIC_USEC="), "{text}");
            break;
        }
    }
    notified.wait_for("READY=1");
    serve.signal("TERM");
    notified.wait_for("STOPPING=1");
    assert_eq!(serve.wait(), 0);
}

/// The program with a socket from somebody who is there before it, as systemd does it.
fn with_socket(configured: &Configured, socket: OwnedFd, name: &str) -> Command {
    let script =
        format!("exec 3<&0 0</dev/null; LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES={name} exec \"$@\"");
    let mut command =
        through(["sh", "-c", &script, "sh"], ["serve", "--config", configured.path().to_str().unwrap()]);
    command.stdin(Stdio::from(socket));
    command
}

#[test]
fn sockets_that_systemd_passes_are_listened_on_by_their_name() {
    let configured = Configured::new("[[listener]]\nsocket = \"systemd:milter\"\n");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // One who came before the program did.
    let _early = TcpStream::connect(address).unwrap();
    let mut serve = Serve::spawn(with_socket(&configured, listener.into(), "milter"));
    assert_eq!(serve.address, format!("inet:{}@127.0.0.1", address.port()));
    assert_eq!(serve.send(&[]).code, 0);
    // They are there after a reload, and belong to somebody else.
    serve.signal("HUP");
    serve.wait_for("in force for new connections");
    assert_eq!(serve.send(&[]).code, 0);
    serve.signal("TERM");
    assert_eq!(serve.wait(), 0);
}

#[test]
fn a_socket_that_systemd_did_not_pass_is_named_with_those_it_did() {
    let configured = Configured::new("[[listener]]\nsocket = \"systemd:milter\"\n");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let output = with_socket(&configured, listener.into(), "other").output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr.contains("systemd passed no socket named \"milter\", only other"), "{stderr}");
    let output = configured.command().output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("none at all; the service needs a socket unit"), "{stderr}");
}

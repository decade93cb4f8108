//! What systemd's journal gets: from a stand-in for its socket, which the program sees where the journal's would be.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::common::{PATIENCE, Serve, run, tamis, through};

/// Runs a program where a folder of ours is the journal's.
const INSIDE: &str = "mount -t tmpfs tmpfs /run && mkdir -p /run/systemd && ln -s \"$JOURNAL\" /run/systemd/journal && \
                      unset JOURNAL && exec \"$@\"";

/// A namespace of one's own, in which whoever this is may mount.
const NAMESPACE: [&str; 3] = ["unshare", "--mount", "--map-root-user"];

/// The words before the program's, if this system lets a test have a namespace.
fn starter() -> Option<Vec<&'static str>> {
    let root = fs::metadata("/proc/self").unwrap().uid() == 0;
    let words: Vec<_> =
        NAMESPACE[..if root { 2 } else { 3 }].iter().copied().chain(["sh", "-c", INSIDE, "sh"]).collect();
    let try_it = Command::new(words[0]).args(&words[1..]).arg("true").env("JOURNAL", "/").output();
    match try_it {
        Ok(output) if output.status.success() => Some(words),
        why => {
            println!("skipped: this system lets no test mount anything in a namespace of its own: {why:?}");
            None
        }
    }
}

/// A daemon that logs to a journal.
struct Journaled {
    child: Child,
    socket: UnixDatagram,
    folder: TempDir,
}

impl Journaled {
    /// `config` besides where it listens.
    fn start(starter: &[&str], config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let socket = UnixDatagram::bind(path("socket")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let text = format!(
            "[[listener]]\nsocket = \"unix:{}\"\n[admin]\nsocket = \"\"\n{config}",
            path("milter.sock").display()
        );
        fs::write(path("tamis.toml"), text).unwrap();
        let stderr = File::create(path("stderr")).unwrap();
        let stream = stderr.metadata().unwrap();
        let mut command =
            through(starter.iter().copied(), ["serve", "--config", path("tamis.toml").to_str().unwrap()]);
        command
            .env("JOURNAL", folder.path())
            .env("JOURNAL_STREAM", format!("{}:{}", stream.dev(), stream.ino()))
            .stdout(Stdio::null())
            .stderr(stderr);
        let child = command.spawn().unwrap();
        Self { child, socket, folder }
    }

    /// The next entry.
    fn next(&self) -> BTreeMap<String, String> {
        let mut bytes = vec![0; 1 << 16];
        let length = self.socket.recv(&mut bytes).unwrap_or_else(|error| {
            panic!("no entry: {error}; {}", fs::read_to_string(self.folder.path().join("stderr")).unwrap())
        });
        fields(&bytes[..length])
    }

    /// The next entry with a message like that.
    fn wait_for(&self, message: &str) -> BTreeMap<String, String> {
        loop {
            let entry = self.next();
            // The first one is empty: to see whether there is a journal.
            if entry.get("MESSAGE").is_some_and(|text| text.contains(message)) {
                return entry;
            }
        }
    }
}

impl Drop for Journaled {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads an entry: `NAME=value` lines, or a name, the length as 8 bytes, and the value.
fn fields(mut bytes: &[u8]) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
        let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
        if let Some(equals) = line.iter().position(|byte| *byte == b'=') {
            fields.insert(text(&line[..equals]), text(&line[equals + 1..]));
            bytes = rest;
        } else {
            let (length, rest) = rest.split_at(8);
            let length = usize::try_from(u64::from_le_bytes(length.try_into().unwrap())).unwrap();
            fields.insert(text(line), text(&rest[..length]));
            bytes = &rest[length + 1..];
        }
    }
    assert!(bytes.is_empty(), "{bytes:?}");
    fields
}

#[test]
fn the_journal_gets_fields_that_can_be_asked_for() {
    let Some(starter) = starter() else { return };
    let journaled = Journaled::start(
        &starter,
        "[[filter]]\ntype = \"log\"\nformat = \"journald\"\nfields = [\"queue_id\", \"client_ip\", \"sender\", \"size\", \
         \"header:Subject\"]\n",
    );
    let listening = journaled.wait_for("listening");
    assert_eq!((&*listening["SYSLOG_IDENTIFIER"], &*listening["PRIORITY"]), ("tamis", "6"));
    let to = format!("unix:{}", journaled.folder.path().join("milter.sock").display());
    let file = journaled.folder.path().join("message");
    fs::write(&file, "Subject: two\r\n lines\r\n\r\nHi!\r\n").unwrap();
    let mut args = vec!["send", "--to", &to, file.to_str().unwrap()];
    args.extend(["--macro=i=4Rx8Kq0Lz9z1", "--client=192.0.2.7", "--from=joe@example.com"]);
    let sent = run(args);
    assert_eq!(sent.code, 0, "{sent:?}");
    let entry = journaled.wait_for("message passed");
    for (name, value) in [
        ("QUEUE_ID", "4Rx8Kq0Lz9z1"),
        ("CLIENT_IP", "192.0.2.7"),
        ("SENDER", "joe@example.com"),
        ("SIZE", "27"),
        ("PRIORITY", "6"),
        ("SYSLOG_IDENTIFIER", "tamis"),
    ] {
        assert_eq!(entry.get(name).map(String::as_str), Some(value), "{name} in {entry:#?}");
    }
    assert!(entry["MORE"].contains("two"), "{entry:#?}");
    let stderr = fs::read_to_string(journaled.folder.path().join("stderr")).unwrap();
    assert_eq!(stderr, "", "nothing is said twice");
}

#[test]
fn a_journal_that_stderr_does_not_lead_to_is_not_taken() {
    // As in a terminal that a service has opened: the variable is inherited, and stderr is another.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tamis.toml");
    let socket = folder.path().join("milter.sock");
    fs::write(
        &file,
        format!("[[listener]]\nsocket = \"unix:{}\"\n[admin]\nsocket = \"\"\n", socket.display()),
    )
    .unwrap();
    let mut command = tamis(["serve", "--config", file.to_str().unwrap()]);
    command.env("JOURNAL_STREAM", "1:1");
    let serve = Serve::spawn(command);
    serve.end();
}

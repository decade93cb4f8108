//! `tamis serve --config` with `tamis explain`, `tamis reload` and a reader of metrics.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use bytes::Bytes;
use tamis::proto::command::{Command as Step, Envelope};
use tamis::{Needs, Stage, Verdict};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::common::{Ran, Serve, filter, run, tamis};

/// A daemon with a filter that edits, one that is tried out and a milter that is not there.
const FILTERS: &str = "\
[[filter]]
name = \"tag\"
type = \"headers\"
rules = [{ add = \"X-Seen: yes\" }]
[[filter]]
name = \"trial\"
type = \"headers\"
mode = \"dry-run\"
rules = [{ header = \"Subject\", replace = \"[outside]\" }]
[[filter]]
name = \"scan\"
type = \"milter\"
socket = \"unix:/no/such/socket\"
on_failure = \"accept\"
";

struct Daemon {
    folder: TempDir,
    serve: Serve,
    metrics: String,
}

fn write(folder: &TempDir, filters: &str) {
    let path = |name: &str| folder.path().join(name).display().to_string();
    let text = format!(
        "[[listener]]\nsocket = \"unix:{}\"\n[log]\nformat = \"json\"\n[admin]\nsocket = \"{}\"\nmetrics = \
         \"inet:0@127.0.0.1\"\n{filters}",
        path("milter.sock"),
        path("admin.sock")
    );
    fs::write(folder.path().join("tamis.toml"), text).unwrap();
}

impl Daemon {
    fn start(filters: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        write(&folder, filters);
        let file = folder.path().join("tamis.toml");
        let mut serve = Serve::spawn(tamis(["serve", "--config", file.to_str().unwrap()]));
        let line = serve.wait_for("\"metrics\"");
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        let metrics = line["address"].as_str().unwrap().to_owned();
        Self { folder, serve, metrics }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, args: &[&str]) -> Ran {
        let file = self.path("tamis.toml");
        run(args.iter().copied().chain(["--config", file.to_str().unwrap()]))
    }

    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.metrics).unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    }

    fn send(&self, id: &str) {
        let ran = self.serve.send(&["--macro", &format!("i={id}")]);
        assert_eq!(ran.code, 0, "{ran:?}");
    }
}

#[test]
fn a_message_is_explained_and_counted() {
    let daemon = Daemon::start(FILTERS);
    daemon.send("4Rx8Kq0Lz9z1");
    let ran = daemon.run(&["explain", "4Rx8Kq0Lz9z1"]);
    assert_eq!((ran.code, &*ran.stderr), (0, ""), "{ran:?}");
    for part in [
        "4Rx8Kq0Lz9z1, message 1\n  passed at end-of-message\n  decided   by none: no filter refused it\n",
        "\ntag (headers)\n  lets it go on\n  adds the field X-Seen: yes\n  took ",
        "\ntrial (headers), dry run: nothing of this had an effect\n  lets it go on\n  changes the field Subject to: ",
        "\nscan (milter)\n  fails at ",
        "\n  on_failure is accept: the message goes on without it\n",
    ] {
        assert!(ran.stdout.contains(part), "{part:?} in {}", ran.stdout);
    }
    let table = daemon.run(&["explain"]).stdout;
    assert!(table.contains("\n1       4Rx8Kq0Lz9z1  20"), "{table}");
    let missing = daemon.run(&["explain", "4Rx8Kq0Lz9z2"]);
    assert!(missing.code == 1 && missing.stderr.contains(": 1 are known, since 20"), "{missing:?}");
    let page = daemon.get("/metrics");
    for line in [
        "tamis_ready 1",
        "tamis_messages_total 1",
        "tamis_connections_total{result=\"accepted\"} 1",
        "tamis_verdicts_total{stage=\"end-of-message\",verdict=\"continue\"} 1",
        "tamis_filter_edits_total{filter=\"tag\",dry_run=\"false\",edit=\"add-header\"} 1",
        "tamis_filter_edits_total{filter=\"trial\",dry_run=\"true\",edit=\"change-header\"} 1",
        "tamis_filter_failures_total{filter=\"scan\",dry_run=\"false\"} 1",
        "tamis_breaker_failures_total{milter=\"scan\"} 1",
        "tamis_filter_duration_seconds_count{filter=\"tag\",dry_run=\"false\"} 1",
    ] {
        assert!(page.lines().any(|other| other == line), "{line} in {page}");
    }
    assert!(!page.contains("4Rx8"), "{page}");
    assert!(daemon.get("/readyz").starts_with("HTTP/1.1 200 "));
    let mode = fs::metadata(daemon.path("admin.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn who_sent_what_to_whom_is_told_of_messages_and_of_refused_clients() {
    // No filter asks for anything of the envelope but the client.
    let policy = "[[filter]]\ntype = \"policy\"\nclient = [\"192.0.2.66 REJECT go away\"]\n";
    let daemon = Daemon::start(policy);
    let bad = daemon.serve.send(&["--client", "192.0.2.66"]);
    assert!(bad.stdout.contains("go away"), "{bad:?}");
    let ran = daemon.serve.send(&[
        "--macro=i=4Rx8",
        "--client=192.0.2.7",
        "--from=joe@example.com",
        "--rcpt=jane@example.org",
        "--rcpt=bob@example.net",
    ]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let text = daemon.run(&["explain", "4Rx8"]).stdout;
    for part in [
        "\n  client    ",
        "[192.0.2.7], HELO ",
        "\n  from      joe@example.com\n  to        jane@example.org\n            bob@example.net\n  began     20",
    ] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
    let json = daemon.run(&["explain", "--client", "192.0.2.66", "--json"]).stdout;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let records = json["records"].as_array().unwrap();
    assert_eq!(records.len(), 1, "{json}");
    assert_eq!((&records[0]["about"], &records[0]["queue_id"]), (&"client".into(), &serde_json::Value::Null));
    assert_eq!(records[0]["verdict"]["reply"], "550 5.7.1 go away");
    let refused = daemon.run(&["explain", "--number", &records[0]["number"].to_string()]).stdout;
    assert!(
        refused.starts_with("a client without a message, record 1\n  rejected at connect\n"),
        "{refused}"
    );
    let table = daemon.run(&["explain", "--recipient", "example.net"]).stdout;
    assert!(table.lines().count() == 2 && table.contains("jane@example.org +1"), "{table}");
    let other = daemon.run(&["explain", "--sender", "example.org"]).stdout;
    assert_eq!(other, "nothing like that is among the 2 records that are kept\n");
}

#[test]
fn a_reload_is_asked_for_and_records_outlive_it() {
    let mut daemon = Daemon::start(FILTERS);
    daemon.send("4Rx8Kq0Lz9z1");
    write(
        &daemon.folder,
        "[[filter]]\nname = \"other\"\ntype = \"headers\"\nrules = [{ add = \"X-Other: yes\" }]\n",
    );
    let ran = daemon.run(&["reload"]);
    assert_eq!((ran.code, &*ran.stdout), (0, "the new configuration is in use\n"), "{ran:?}");
    daemon.send("4Rx8Kq0Lz9z2");
    let other = daemon.run(&["explain", "4Rx8Kq0Lz9z2"]).stdout;
    assert!(other.contains("other (headers)\n") && other.contains("adds the field X-Other: yes"), "{other}");
    assert!(daemon.run(&["explain", "4Rx8Kq0Lz9z1"]).stdout.contains("adds the field X-Seen: yes"));
    write(&daemon.folder, "[[filter]]\ntype = \"headres\"\n");
    let ran = daemon.run(&["reload"]);
    assert_eq!((ran.code, &*ran.stdout), (1, ""), "{ran:?}");
    assert!(ran.stderr.contains("tamis.toml:9:8: error: there is no type of filter `headres`"), "{ran:?}");
    assert!(ran.stderr.ends_with("tamis: the old configuration stays\n"), "{ran:?}");
    let page = daemon.get("/metrics");
    for line in [
        "tamis_messages_total 2",
        "tamis_config_reloads_total{result=\"ok\"} 1",
        "tamis_config_reloads_total{result=\"failed\"} 1",
        "tamis_config_last_reload_successful 0",
    ] {
        assert!(page.lines().any(|other| other == line), "{line} in {page}");
    }
    // The socket moves, and who asked over the old one is told; metrics stay where they are.
    let (old, new) = (daemon.path("admin.sock"), daemon.path("moved.sock"));
    let file = daemon.path("tamis.toml");
    write(&daemon.folder, "");
    fs::write(&file, fs::read_to_string(&file).unwrap().replace("admin.sock", "moved.sock")).unwrap();
    let ran = run(["reload", "--socket", old.to_str().unwrap()]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(daemon.run(&["explain", "4Rx8Kq0Lz9z1"]).code, 0);
    assert!(daemon.get("/metrics").contains("tamis_config_generation"));
    assert!(!old.exists() && new.exists());
    daemon.serve.signal("TERM");
    assert_eq!(daemon.serve.wait(), 0);
    assert!(!new.exists());
}

#[test]
fn what_a_message_in_work_has_in_buffers_is_shown() {
    // Behind a filter that edits, a milter sees the body at the end of the message: until then it is kept.
    let milter = filter(Needs::new().answer([Stage::Body]), |_, _| Verdict::Continue);
    let scan = format!("[[filter]]\ntype = \"milter\"\nsocket = \"{}\"\n", milter.address);
    let tag = "[[filter]]\ntype = \"headers\"\nrules = [{ add = \"X-Seen: yes\" }]\n";
    let daemon = Daemon::start(&format!("[limits]\ntotal_body_memory = \"1M\"\n{tag}{scan}"));
    let bodies = |daemon: &Daemon| {
        let page = daemon.get("/metrics");
        assert!(page.contains("\ntamis_buffered_bytes_limit{buffer=\"bodies\"} 1048576\n"), "{page}");
        let line =
            page.lines().find_map(|line| line.strip_prefix("tamis_buffered_bytes{buffer=\"bodies\"} "));
        line.unwrap_or_else(|| panic!("{page}")).parse::<u64>().unwrap()
    };
    assert_eq!(bodies(&daemon), 0);
    Runtime::new().unwrap().block_on(async {
        let mut client = crate::daemon::begin(&daemon.serve.address).await;
        client.step(&Step::Rcpt(Envelope::new(&b"<to@example.com>"[..])), None).await.unwrap();
        client.step(&Step::<Bytes>::EndOfHeaders, None).await.unwrap();
        client.step(&Step::Body(Bytes::from(vec![b'x'; 60_000])), None).await.unwrap();
        while bodies(&daemon) < 60_000 - 16 * 1024 {}
        client.step(&Step::<Bytes>::EndOfMessage(Bytes::new()), None).await.unwrap();
        while bodies(&daemon) > 0 {}
    });
}

#[test]
fn a_socket_that_cannot_be_made_is_said_and_nothing_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tamis.toml");
    fs::write(
        &file,
        "[[listener]]\nsocket = \"inet:0@127.0.0.1\"\n[admin]\nsocket = \"/no/such/folder/s\"\n",
    )
    .unwrap();
    let ran = run(["serve", "--config", file.to_str().unwrap()]);
    let expected = "tamis: cannot make the admin socket /no/such/folder/s: its folder does not exist\n";
    assert!(ran.code == 1 && ran.stderr.ends_with(expected), "{ran:?}");
}

#[test]
fn while_messages_are_finished_the_daemon_is_not_ready() {
    // One that answers at MAIL, so that the message is known to have begun.
    let milter = filter(Needs::new().answer([Stage::Mail]), |_, _| Verdict::Continue);
    let configured = format!("[[filter]]\ntype = \"milter\"\nsocket = \"{}\"\n", milter.address);
    let mut daemon = Daemon::start(&configured);
    let runtime = Runtime::new().unwrap();
    let _in_work = runtime.block_on(crate::daemon::begin(&daemon.serve.address));
    daemon.serve.signal("TERM");
    daemon.serve.wait_for("stopping when the messages in work are finished");
    let answer = daemon.get("/readyz");
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("draining: "), "{answer}");
    assert!(daemon.get("/healthz").starts_with("HTTP/1.1 200 "));
}

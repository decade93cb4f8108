//! `tamis explain` and `tamis reload`, and what they say to a daemon that is a stand-in.

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::thread::{self, JoinHandle};

use tempfile::TempDir;

use crate::common::{Ran, run, tamis};

/// What a daemon answers: a test of the daemon's side makes sure of it.
const RECORDS: &str = include_str!("records.json");

const NONE: &str = r#"{"kept":100,"history":100,"since":"2026-11-21T19:08:55Z","records":[]}"#;

/// Answers one request at a socket.
struct StandIn {
    folder: TempDir,
    thread: JoinHandle<String>,
}

impl StandIn {
    fn new(status: u16, body: &'static str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("admin.sock")).unwrap();
        let thread = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                request.push(byte[0]);
            }
            let length = body.len();
            let head =
                format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
            stream.write_all((head + body).as_bytes()).unwrap();
            String::from_utf8(request).unwrap().lines().next().unwrap().to_owned()
        });
        Self { folder, thread }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("admin.sock")
    }

    /// Runs the program against it; what came of it, and what was asked for.
    fn run(self, args: &[&str]) -> (Ran, String) {
        let socket = self.socket();
        let all = args.iter().copied().chain(["--socket", socket.to_str().unwrap()]);
        let ran = Ran::from(tamis(all).env("TZ", "Europe/Berlin").output().unwrap());
        (ran, self.thread.join().unwrap())
    }
}

#[test]
fn a_message_is_explained_in_plain_words() {
    let (ran, asked) = StandIn::new(200, RECORDS).run(&["explain", "4Rx8Kq0Lz9z1"]);
    assert_eq!((ran.code, &*ran.stderr), (0, ""), "{ran:?}");
    assert_eq!(asked, "GET /records/4Rx8Kq0Lz9z1 HTTP/1.1");
    let (_, eventful) = ran.stdout.split_once("\n\n4Rx8").unwrap();
    let expected = "\
Kq0Lz9z1, message 2
  rejected at end-of-message
  reply     550 5.7.1 not allowed here
  decided   by access
  client    mail.example.com [192.0.2.7], HELO helo.example.com
  login     joe
  from      joe@example.com
  to        jane@example.org
            bob@example.org, refused
            and 12 more
  began     2026-11-21 20:08:54.000 +01:00
  finished  2026-11-21 20:08:55.123 +01:00
  filters   3, 1.5 ms in all

access (policy)
  rejects it at end-of-message: 550 5.7.1 not allowed here
  adds the field X-Access: checked
  removes the 2nd field Received
  took 1.5 ms in 3 calls, the longest 1.2 ms at end-of-message

trial (policy), dry run: nothing of this had an effect
  has it discarded at mail
  replaces the body
  took 12 µs in 1 call

scan (milter)
  fails at end-of-headers: no verdict within 10s
  on_failure is accept: the message goes on without it
  took 12 µs in 1 call

conflicts, where two filters changed the same thing:
  header field Subject: access and scan; the change of scan counts
";
    assert_eq!(eventful, expected);
}

#[test]
fn the_last_messages_are_a_table() {
    let (ran, asked) = StandIn::new(200, RECORDS).run(&["explain"]);
    assert_eq!(asked, "GET /records?limit=10 HTTP/1.1");
    let expected = "\
NUMBER  QUEUE ID      FINISHED                        CLIENT     FROM             TO                    OUTCOME                     DECIDED BY  TIME    WHY
1       -             2026-11-21 20:08:55.123 +01:00  -          -                -                     passed at end-of-message    -           36 µs
2       4Rx8Kq0Lz9z1  2026-11-21 20:08:55.123 +01:00  192.0.2.7  joe@example.com  jane@example.org +13  rejected at end-of-message  access      1.5 ms  550 5.7.1 not allowed here
";
    assert_eq!((ran.code, &*ran.stdout), (0, expected), "{ran:?}");
    let (_, asked) = StandIn::new(200, RECORDS).run(&["explain", "--last", "50"]);
    assert_eq!(asked, "GET /records?limit=50 HTTP/1.1");
}

#[test]
fn messages_are_searched_for_by_client_sender_and_recipient() {
    let args = ["explain", "--client", "192.0.2.0/24", "--sender", "<>", "--recipient", "a&b@example.org"];
    let (ran, asked) = StandIn::new(200, RECORDS).run(&args);
    assert_eq!(
        asked,
        "GET /records?limit=10&client=192%2E0%2E2%2E0%2F24&sender=%3C%3E&recipient=a%26b%40example%2Eorg HTTP/1.1"
    );
    assert!(ran.code == 0 && ran.stdout.starts_with("NUMBER  QUEUE ID"), "{ran:?}");
    let none = r#"{"kept":7,"history":100,"since":null,"records":[]}"#;
    let (ran, _) = StandIn::new(200, none).run(&args);
    assert_eq!((ran.code, &*ran.stdout), (0, "nothing like that is among the 7 records that are kept\n"));
}

#[test]
fn json_is_what_the_daemon_says() {
    let (ran, asked) = StandIn::new(200, RECORDS).run(&["explain", "--number", "2", "--json"]);
    assert_eq!((ran.code, &*ran.stdout), (0, RECORDS));
    assert_eq!(asked, "GET /records?number=2 HTTP/1.1");
}

#[test]
fn a_message_that_is_not_known_is_said_with_what_is() {
    let (ran, asked) = StandIn::new(404, NONE).run(&["explain", "a/b\u{1b}[31m"]);
    assert_eq!(asked, "GET /records/a%2Fb%1B%5B31m HTTP/1.1");
    let expected = "tamis: no message has the queue id a/b\\u{1b}[31m: 100 are known, since 2026-11-21 20:08:55.000 +01:00, \
                    which is as many as `history` lets\n";
    assert_eq!((ran.code, &*ran.stderr), (1, expected));
    let none = r#"{"kept":0,"history":0,"since":null,"records":[]}"#;
    let (ran, _) = StandIn::new(404, none).run(&["explain", "--number", "7"]);
    assert!(ran.stderr.contains("`history` under [admin] in its configuration is 0"), "{ran:?}");
}

#[test]
fn a_daemon_that_is_not_there_is_said_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    let name = path.to_str().unwrap();
    for command in ["explain", "reload"] {
        let ran = run([command, "--socket", name]);
        let expected = format!(
            "tamis: there is no daemon at {name}: nothing is there; start `tamis serve`, or say with --socket or --config \
             where its admin socket is\n"
        );
        assert_eq!((ran.code, ran.stderr), (1, expected));
    }
    drop(UnixListener::bind(&path).unwrap());
    let ran = run(["explain", "--socket", name]);
    let expected =
        format!("tamis: there is no daemon at {name} any more: nobody listens; start `tamis serve`\n");
    assert_eq!((ran.code, ran.stderr), (1, expected));
}

#[test]
fn who_may_not_ask_is_told_whose_socket_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let own = fs::metadata("/proc/self").unwrap().uid();
    if own != 0 {
        // Only root can be refused something of another's here.
        return;
    }
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    let program = folder.path().join("tamis");
    // By another process: one that a test beside this one starts could still have the copy open for writing.
    let copied = Command::new("cp").arg(tamis([]).get_program()).arg(&program).status().unwrap();
    assert!(copied.success());
    let inner = folder.path().join("run");
    fs::create_dir(&inner).unwrap();
    let path = inner.join("admin.sock");
    let _listener = UnixListener::bind(&path).unwrap();
    let ask = || {
        let mut command = Command::new(&program);
        command.args(["explain", "--socket"]).arg(&path).uid(65_534).gid(65_534);
        Ran::from(command.output().unwrap())
    };
    fs::set_permissions(&inner, Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    let expected = format!(
        "tamis: the daemon at {0} may not be asked by this user: {0} belongs to root:root, with mode 0600; run this as that \
         user or as root\n",
        path.display()
    );
    let ran = ask();
    assert_eq!((ran.code, ran.stderr), (1, expected));
    // The folder is in the way, so that nothing can be said of the socket.
    fs::set_permissions(&inner, Permissions::from_mode(0o700)).unwrap();
    let ran = ask();
    let barrier = format!("user: {} belongs to root:root, with mode 0700;", inner.display());
    assert!(ran.code == 1 && ran.stderr.contains(&barrier), "{ran:?}");
}

#[test]
fn the_socket_is_found_in_a_configuration_even_if_it_has_mistakes() {
    let stand_in = StandIn::new(422, r#"{"reloaded":false,"findings":"tamis.toml:3:1: error: no such key"}"#);
    let file = stand_in.folder.path().join("tamis.toml");
    fs::write(&file, format!("[admin]\nsocket = \"{}\"\n[[[\n", stand_in.socket().display())).unwrap();
    let ran = run(["reload", "--config", file.to_str().unwrap()]);
    let expected = "tamis.toml:3:1: error: no such key\ntamis: the old configuration stays\n";
    assert_eq!((ran.code, &*ran.stdout, &*ran.stderr), (1, "", expected));
    assert_eq!(stand_in.thread.join().unwrap(), "POST /reload HTTP/1.1");
    fs::write(&file, "[admin]\nsocket = \"\"\n").unwrap();
    let ran = run(["reload", "--config", file.to_str().unwrap()]);
    assert!(ran.code == 1 && ran.stderr.contains("`socket` under [admin] in"), "{ran:?}");
    let ran = run(["reload", "--config", "/no/such/file"]);
    assert!(ran.code == 1 && ran.stderr.starts_with("tamis: cannot read /no/such/file: "), "{ran:?}");
}

#[test]
fn a_reload_tells_warnings_and_that_it_is_done() {
    let (ran, _) =
        StandIn::new(200, r#"{"reloaded":true,"findings":"tamis.toml:3:1: warning: hm"}"#).run(&["reload"]);
    let expected = "the new configuration is in use\n";
    assert_eq!((ran.code, &*ran.stdout, &*ran.stderr), (0, expected, "tamis.toml:3:1: warning: hm\n"));
    let (ran, _) = StandIn::new(200, r#"{"reloaded":true,"findings":""}"#).run(&["reload"]);
    assert_eq!((ran.code, &*ran.stdout, &*ran.stderr), (0, expected, ""));
    let (ran, _) = StandIn::new(503, r#"{"error":"it is about to end"}"#).run(&["reload"]);
    assert_eq!((ran.code, &*ran.stderr), (1, "tamis: it is about to end\n"));
}

#[test]
fn an_answer_of_something_else_is_said() {
    let (ran, _) = StandIn::new(200, "<html>").run(&["explain"]);
    assert!(
        ran.code == 1 && ran.stderr.starts_with("tamis: the daemon's answer (200 OK) cannot be read: "),
        "{ran:?}"
    );
}

#[test]
fn help_has_examples_exit_codes_and_the_json() {
    let help = run(["explain", "--help"]).stdout;
    for part in ["Examples:\n", "Exit codes:\n", "edits_left_out", "--last <NUMBER>", "given-up"] {
        assert!(help.contains(part), "{part:?} in {help}");
    }
    let help = run(["reload", "--help"]).stdout;
    for part in ["Examples:\n", "1  the old configuration stays", "SIGHUP"] {
        assert!(help.contains(part), "{part:?} in {help}");
    }
    assert_eq!(run(["explain", "a", "--last", "3"]).code, 2);
    assert_eq!(run(["explain", "a", "--client", "192.0.2.1"]).code, 2);
    assert_eq!(run(["explain", "--last", "0"]).code, 2);
}

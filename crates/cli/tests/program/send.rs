//! `tamis send` against filters of all kinds.

use std::io::Write;
use std::net::TcpListener;
use std::process::Stdio;

use serde_json::{Value, json};
use tamis::proto::{Frame, MacroStage};
use tamis::{Actions, Event, Needs, Stage, Verdict};

use crate::common::{MESSAGE, Ran, Running, Serve, file, filter, run, tamis};

fn send(filter: &Running, args: &[&str]) -> Ran {
    let message = file(MESSAGE.as_bytes());
    run(["send", "--to", &filter.address, message.name()].into_iter().chain(args.iter().copied()))
}

fn report(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

#[test]
fn the_exit_code_tells_the_verdict() {
    let end = || Needs::new().answer([Stage::EndOfMessage]);
    let mail = || Needs::new().answer([Stage::Mail]);
    for (code, word, filter) in [
        (0, "accepted: continue at end-of-message", filter(end(), |_, _| Verdict::Continue)),
        (0, "accepted: accept at mail", filter(mail(), |_, _| Verdict::Accept)),
        (10, "rejected: reject at end-of-message", filter(end(), |_, _| Verdict::Reject)),
        (10, "rejected: reply 550 5.7.1 no at mail", filter(mail(), |_, _| Verdict::reject("5.7.1", "no"))),
        (11, "tempfailed: tempfail at mail", filter(mail(), |_, _| Verdict::Tempfail)),
        (
            11,
            "tempfailed: reply 451 4.7.1 later at end-of-message",
            filter(end(), |_, _| Verdict::tempfail("4.7.1", "later")),
        ),
        (12, "discarded: discard at end-of-message", filter(end(), |_, _| Verdict::Discard)),
    ] {
        for mta in ["postfix", "sendmail"] {
            let ran = send(&filter, &["--as", mta]);
            assert_eq!(ran.code, code, "{ran:?}");
            assert!(ran.stdout.contains(&format!("\n{word}, ")), "{}", ran.stdout);
            assert_eq!(report(&send(&filter, &["--as", mta, "--json"]))["exit_code"], code);
        }
    }
}

#[test]
fn the_report_shows_negotiation_steps_edits_and_difference() {
    let needs = Needs::new()
        .watch([Stage::Helo])
        .answer([Stage::Rcpt, Stage::EndOfMessage])
        .require(
            Actions::ADD_HEADERS | Actions::CHANGE_HEADERS | Actions::CHANGE_SENDER | Actions::QUARANTINE,
        )
        .macros(MacroStage::Mail, ["i", "auth_authen"]);
    let filter = filter(needs, |cx, event| {
        if let Event::EndOfMessage = event {
            let login = cx.macro_value("auth_authen").unwrap_or_default().to_vec();
            cx.add_header("X-Login", login).unwrap();
            cx.change_header(1, "Subject", "bye\u{1b}").unwrap();
            cx.change_sender("<new@example.com>", None).unwrap();
            cx.quarantine("look at it").unwrap();
        }
        match event {
            Event::Rcpt(rcpt) if rcpt.address.starts_with(b"<no@") => Verdict::reject("5.1.1", "nobody"),
            _ => Verdict::Continue,
        }
    });
    let args = ["--rcpt=no@example.com", "--rcpt=<yes@example.com> NOTIFY=NEVER", "--macro=auth_authen=user"];
    let ran = send(&filter, &args);
    assert_eq!(ran.code, 0, "{ran:?}");
    for part in [
        "as postfix, client 192.0.2.1:49152: version 6, packets of up to 65535 bytes\n",
        "  actions  add-headers|change-headers|quarantine|change-sender|macro-lists\n",
        "  steps    no-connect|no-mail|no-body|no-header|no-end-of-headers|no-unknown|no-data|",
        "  macros   mail: i {auth_authen}\n",
        "no reply\n",
        "not sent\n",
        "reply 550 5.1.1 nobody\n",
        "\nedits:\n  add-header \"X-Login\" \"user\"\n  change-header 1 \"Subject\" \"bye\\x1b\"\n",
        "\nenvelope after:\n  from <new@example.com>\n  to   <yes@example.com> NOTIFY=NEVER\n",
        "held in quarantine: \"look at it\"",
        "--- before\n+++ after\n",
        "-Subject: hello\n+Subject: bye\\u{1b}\n+X-Login: user\n",
        "\naccepted: continue at end-of-message, ",
    ] {
        assert!(ran.stdout.contains(part), "{part:?} in {}", ran.stdout);
    }
    assert!(!ran.stdout.contains('\u{1b}'), "no colours in a pipe");

    let ran = send(&filter, &[&args[..], &["--json"]].concat());
    let report = report(&ran);
    assert_eq!(report["negotiation"]["version"], 6);
    assert_eq!(report["negotiation"]["macros"], json!({ "mail": ["i", "{auth_authen}"] }));
    assert!(report["negotiation"]["steps"].as_array().unwrap().contains(&json!("no-reply-helo")));
    let rcpt = report["steps"].as_array().unwrap().iter().find(|step| step["stage"] == "rcpt").unwrap();
    assert_eq!(
        rcpt["verdict"],
        json!({ "name": "reply", "code": 550, "enhanced": "5.1.1", "lines": ["nobody"] })
    );
    assert!(rcpt["ms"].is_f64());
    let edit = json!({ "edit": "add-header", "name": "X-Login", "value": "user", "effect": "done" });
    assert_eq!(report["edits"][0], edit);
    assert_eq!(report["delivered"]["sender"]["address"], "new@example.com");
    assert_eq!(report["delivered"]["quarantine"], "look at it");
    assert_eq!(report["result"], "accepted");
    assert!(report["diff"].as_str().unwrap().contains("+X-Login: user\n"));
}

#[test]
fn refused_edits_are_shown_and_end_a_strict_session() {
    // No action was negotiated, so the filter has to be one that does not care.
    let answer = |strict: &[&str]| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("inet:{}@127.0.0.1", listener.local_addr().unwrap().port());
        let peer = std::thread::spawn(move || careless(&listener));
        let message = file(MESSAGE.as_bytes());
        let ran = run(["send", "--to", &address, message.name(), "--json"]
            .into_iter()
            .chain(strict.iter().copied()));
        let _ = peer.join();
        ran
    };
    let ran = answer(&[]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let refused = &report(&ran)["refused"][0];
    assert_eq!((&refused["edit"], &refused["name"]), (&json!("add-header"), &json!("X")));
    assert!(refused["why"].as_str().unwrap().contains("not negotiated"), "{refused}");
    let ran = answer(&["--strict"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert_eq!(report(&ran)["result"], "failed");
}

/// A filter on a plain socket that adds a header without having asked.
fn careless(listener: &TcpListener) -> Option<()> {
    use std::io::Read;
    let (mut stream, _) = listener.accept().ok()?;
    let mut buf = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        while let Ok(Some((used, frame))) = Frame::parse(&buf, 1 << 20) {
            let answer: &[u8] = match frame.code {
                b'O' => b"\0\0\0\x0dO\0\0\0\x06\0\0\0\0\0\0\0\0",
                b'D' | b'A' | b'Q' => b"",
                b'E' => b"\0\0\0\x05hX\0y\0\0\0\0\x01c",
                _ => b"\0\0\0\x01c",
            };
            buf.drain(..used);
            stream.write_all(answer).ok()?;
        }
        match stream.read(&mut chunk).ok()? {
            0 => return Some(()),
            count => buf.extend_from_slice(&chunk[..count]),
        }
    }
}

#[test]
fn old_versions_of_the_protocol_can_be_offered() {
    let mut serve = Serve::start(&["--add-header=X: y"]);
    for version in ["2", "3", "4", "5", "6"] {
        let ran = serve.send(&["--milter-version", version, "--json"]);
        assert_eq!(ran.code, 0, "{ran:?}");
        let report = report(&ran);
        assert_eq!(report["negotiation"]["version"].to_string(), version);
        assert!(report["diff"].as_str().unwrap().contains("+X: y\n"));
        serve.wait_for("tamis::message");
    }
}

#[test]
fn malformed_messages_are_sent_as_they_are() {
    let mut serve = Serve::start(&[]);
    for (content, size) in [
        (&b""[..], 2),
        (b"no header at all", 18),
        (b"Subject: only a header", 26),
        (b": no name\r\n\r\n\0\xff\r\n", 18),
        (b" folded from nothing\r\n", 24),
        (b"X\r\nY: z\r\n", 11),
        (b"A: b\n\nbare\nfeeds\n", 19),
    ] {
        let ran = serve.send_file(&file(content), &[]);
        assert_eq!(ran.code, 0, "{content:?}: {ran:?}");
        let line = serve.wait_for("tamis::message");
        assert!(line.contains(" verdict=\"accept\" "), "{line}");
        let logged: i64 = line.split(" size=").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
        assert!((logged - size).abs() <= 4, "{content:?}: {line}");
    }
}

#[test]
fn a_message_comes_from_stdin_too() {
    let mut serve = Serve::start(&[]);
    let mut command = tamis(["send", "--to", &serve.address, "-"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"Subject: piped\r\n\r\n").unwrap();
    assert!(child.wait().unwrap().success());
    assert!(serve.wait_for("tamis::message").contains("subject=\"piped\""));
}

#[test]
fn no_talking_to_the_filter_is_exit_code_1() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let message = file(MESSAGE.as_bytes());
    let ran = run(["send", "--to", &format!("inet:{free}@127.0.0.1"), message.name()]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.starts_with(&format!("tamis: cannot connect to inet:{free}@127.0.0.1: ")), "{ran:?}");
    let ran = run(["send", "--to", "inet:1@127.0.0.1", "/does/not/exist"]);
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.starts_with("tamis: cannot read message /does/not/exist: No such file"), "{ran:?}");
    // It accepts connections and never says a word.
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("inet:{}@127.0.0.1", mute.local_addr().unwrap().port());
    let ran = run(["send", "--to", &address, "--timeout=50ms", "--json", message.name()]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert_eq!(report(&ran)["result"], "failed");
}

#[test]
fn wrong_usage_is_exit_code_2() {
    for (args, text) in [
        (&["--to=8899", "m"][..], "--to"),
        (&["--to=inet:1@h"], "<MESSAGE>"),
        (&["--to=inet:1@h", "m", "--milter-version=7"], "2..=6"),
        (&["--to=inet:1@h", "m", "--client=mail.example"], "write 192.0.2.1"),
        (&["--to=inet:1@h", "m", "--macro=nowhere:i=1"], "\"nowhere\" is not a stage"),
        (&["--to=inet:1@h", "m", "--rcpt=<a@b"], "the bracket is not closed"),
        (&["--to=inet:1@h", "m", "--as=exim"], "postfix, sendmail"),
        (&["--to=inet:1@h", "m", "--timeout=soon"], "write a time"),
    ] {
        let ran = run(["send"].into_iter().chain(args.iter().copied()));
        assert_eq!(ran.code, 2, "{ran:?}");
        assert!(ran.stderr.contains(text), "{text:?} in {}", ran.stderr);
    }
}

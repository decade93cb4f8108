//! `tamis serve`, mostly with `tamis send` as the MTA.

use std::io::Write;

use bytes::Bytes;
use serde_json::Value;
use tamis::client::Client;
use tamis::proto::command::Envelope;
use tamis::proto::{Command, MtaConfig, Profile};

use crate::common::{Serve, file, tamis};

#[test]
fn the_start_tells_what_to_tell_the_mta() {
    let mut serve = Serve::start(&[]);
    let port = serve.address.strip_prefix("inet:").unwrap().strip_suffix("@127.0.0.1").unwrap().to_owned();
    assert_ne!(port, "0");
    serve.wait_for(&format!("postconf -e 'smtpd_milters = inet:127.0.0.1:{port}'"));
    serve.wait_for("postconf -e 'milter_default_action = accept'");
    serve.wait_for(&format!(
        "INPUT_MAIL_FILTER(`tamis', `S=inet:{port}@127.0.0.1, F=T, T=C:10s;S:10s;R:10s;E:5m')dnl"
    ));
}

#[test]
fn a_message_is_one_line_of_text() {
    let mut serve = Serve::start(&[]);
    let line = serve.log_line(&[
        "--client=192.0.2.7",
        "--client-name=mail.example",
        "--from=<>",
        "--rcpt=<a@example.com> NOTIFY=NEVER",
        "--rcpt=b@example.com",
    ]);
    for field in [
        " INFO connection{id=1}: tamis::message: ",
        r#" queue_id="4TAMIS0SEND" "#,
        r#" client="192.0.2.7" client_name="mail.example" "#,
        r#" helo="client.example" "#,
        r#" sender="<>" "#,
        r#" recipients=["a@example.com","b@example.com"] "#,
        " size=44 ",
        r#" subject="hello" "#,
        r#" verdict="accept" "#,
        " ms=",
    ] {
        assert!(line.contains(field), "{field} in {line}");
    }
    assert!(!line.contains("stage="));
}

#[test]
fn a_message_is_one_line_of_json() {
    let mut serve = Serve::start(&["--log-format=json"]);
    let line = serve.log_line(&["--rcpt=a@example.com", "--rcpt=b@example.com"]);
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["level"], "INFO");
    assert_eq!(line["target"], "tamis::message");
    assert_eq!(line["connection"]["id"], 1);
    assert_eq!(line["message"], "message");
    assert_eq!(line["queue_id"], "4TAMIS0SEND");
    assert_eq!(line["client"], "192.0.2.1");
    assert_eq!(line["helo"], "client.example");
    assert_eq!(line["sender"], "sender@example.com");
    assert_eq!(line["recipients"], serde_json::json!(["a@example.com", "b@example.com"]));
    assert_eq!(line["size"], 44);
    assert_eq!(line["subject"], "hello");
    assert_eq!(line["verdict"], "accept");
    assert!(line["ms"].is_u64() && line["timestamp"].is_string());
    let listening: Value = serde_json::from_str(&serve.seen[0]).expect("the start is JSON too");
    assert!(listening["smtpd_milters"].as_str().unwrap().starts_with("inet:127.0.0.1:"));
    assert!(listening["sendmail_mc"].as_str().unwrap().starts_with("INPUT_MAIL_FILTER(`tamis', "));
}

#[test]
fn what_clients_say_cannot_write_log_lines_or_move_the_cursor() {
    let message = file(b"Subject: a\x1b[2J\"\r\n fold\xff\xc2\x9b\xe2\x80\xae\r\n\r\n");
    for format in ["text", "json"] {
        let mut serve = Serve::start(&["--log-format", format]);
        let rcpt = "--rcpt=\"\u{1b}[1m\u{202e}\"@example.com";
        let ran = serve.send_file(&message, &["--helo=h\nINFO forged", rcpt]);
        assert_eq!(ran.code, 0, "{ran:?}");
        let line = serve.wait_for("tamis::message");
        assert!(line.contains("forged"), "{line}");
        let bad = |c: char| c.is_control() || c == '\u{202e}';
        assert!(!line.contains(bad), "{line:?}");
        if format == "json" {
            let line: Value = serde_json::from_str(&line).unwrap();
            assert_eq!(line["subject"], "a\u{1b}[2J\"\n fold\u{fffd}\u{9b}\u{202e}");
            assert_eq!(line["recipients"][0], "\"\u{1b}[1m\u{202e}\"@example.com");
        }
    }
}

#[test]
fn headers_are_added_with_macros_in_them() {
    let serve = Serve::start(&[
        "--add-header=X-Tamis: {i} {mail_addr} {client_addr} [{unheard_of}] {{i}}",
        "--add-header=X-Second: yes",
    ]);
    for mta in ["postfix", "sendmail"] {
        let ran = serve.send(&["--as", mta, "--client=[2001:db8::1]:25"]);
        assert_eq!(ran.code, 0, "{ran:?}");
        let line = "+X-Tamis: 4TAMIS0SEND sender@example.com 2001:db8::1 [] {i}\n+X-Second: yes\n";
        assert!(ran.stdout.contains(line), "{}", ran.stdout);
    }
}

#[test]
fn text_is_appended_to_plain_messages_only() {
    let text = file(b"-- \nfoot");
    let serve = Serve::start(&["--append-text", text.name()]);
    let ran = serve.send(&[]);
    assert!(ran.stdout.contains(" Hi!\n+-- \n+foot\n"), "{}", ran.stdout);
    let html = file(b"Content-Type: text/html\r\n\r\n<p>Hi!</p>\r\n");
    let ran = serve.send_file(&html, &[]);
    assert!(ran.stdout.contains("the message is unchanged"), "{}", ran.stdout);
    let empty = file(b"Subject: x\r\n\r\n");
    let ran = serve.send_file(&empty, &[]);
    assert!(ran.stdout.contains("\n+-- \n+foot\n"), "{}", ran.stdout);
}

#[test]
fn text_is_appended_to_bodies_of_many_packets() {
    let text = file(b"foot\n");
    let serve = Serve::start(&["--append-text", text.name()]);
    let body = "0123456789\r\n".repeat(30_000);
    let message = file(format!("Subject: x\r\n\r\n{body}").as_bytes());
    let ran = serve.send_file(&message, &["--json"]);
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    let after = report["delivered"]["message"].as_str().unwrap();
    assert!(after.ends_with(&format!("\r\n\r\n{body}foot\r\n")));
}

#[test]
fn bodies_that_are_too_long_pass_unchanged_with_a_warning() {
    let text = file(b"foot\n");
    let mut serve = Serve::start(&["--append-text", text.name()]);
    let mut message = b"Subject: x\r\n\r\n".to_vec();
    message.resize(message.len() + (64 << 20) + 1, b'x');
    let ran = serve.send_file(&file(&message), &[]);
    assert_eq!(ran.code, 0);
    assert!(ran.stdout.contains("the message is unchanged"), "{}", ran.stdout);
    serve.wait_for("no text is appended to a body of more than 64 MiB");
}

#[test]
fn options_come_from_the_environment_too() {
    let text = file(b"foot\n");
    let mut command = tamis(["serve"]);
    command
        .env("TAMIS_LISTEN", "inet:0@127.0.0.1, inet:0@127.0.0.2")
        .env("TAMIS_LOG_FORMAT", "json")
        .env("TAMIS_LOG_LEVEL", "tamis::message=info")
        .env("TAMIS_ADD_HEADER", "X-One: 1\nX-Two: {i}\n")
        .env("TAMIS_APPEND_TEXT", text.name())
        .env("TAMIS_SOCKET_MODE", "0600")
        .env("TAMIS_ON_FAILURE", "accept");
    let mut serve = Serve::spawn(command);
    serve.wait_for("@127.0.0.2");
    let ran = serve.send(&[]);
    assert!(ran.stdout.contains("+X-One: 1\n+X-Two: 4TAMIS0SEND\n \n Hi!\n+foot\n"), "{}", ran.stdout);
    let line = serve.wait_for("tamis::message");
    assert!(serde_json::from_str::<Value>(&line).is_ok());
}

#[test]
fn the_wire_trace_decodes_flags() {
    let mut serve = Serve::start(&["--log-level=tamis::wire=trace", "--add-header=X: y"]);
    assert_eq!(serve.send(&[]).code, 0);
    let offer = serve.wait_for("> negotiate version=6");
    assert!(
        offer.contains("actions=add-headers|replace-body|") && offer.contains("|no-reply-body|"),
        "{offer}"
    );
    let answer = serve.wait_for("< negotiate version=6");
    assert!(answer.contains(" actions=add-headers steps=") && answer.contains("no-unknown"), "{answer}");
    serve.wait_for("> helo \"client.example\"");
    serve.wait_for("< add-header \"X\" \"y\"");
    assert!(!serve.seen.iter().any(|line| line.contains("macros-")), "macro lists of the MTA are left alone");
}

#[test]
fn other_levels_keep_their_meaning() {
    let mut serve = Serve::start(&["--log-level=warn"]);
    assert_eq!(serve.send(&[]).code, 0);
    serve.signal("TERM");
    assert_eq!(serve.wait(), 0);
    assert!(!serve.seen.iter().any(|line| line.contains("INFO")), "{:#?}", serve.seen);
}

/// A message up to its recipient.
async fn begin(address: &str) -> Client {
    let config = MtaConfig::new(Profile::Sendmail);
    let mut client = Client::connect(&address.parse().unwrap(), config).await.unwrap();
    let connect = tamis::proto::command::Connect::unknown("local");
    client.step(&Command::Connect(connect), None).await.unwrap();
    client.step(&Command::Helo("client.example"), None).await.unwrap();
    client.step(&Command::Mail(Envelope::new(&b"<a@example.com>"[..])), None).await.unwrap();
    client.step(&Command::Rcpt(Envelope::new(&b"<b@example.com>"[..])), None).await.unwrap();
    client
}

#[tokio::test]
async fn a_message_in_work_is_finished_before_the_end() {
    let mut serve = Serve::start(&["--log-level=tamis::wire=trace"]);
    let mut client = begin(&serve.address).await;
    serve.wait_for("> rcpt");
    serve.signal("TERM");
    serve.wait_for("SIGTERM: stopping when the messages in work are finished");
    client.step(&Command::<Bytes>::EndOfHeaders, None).await.unwrap();
    client.step(&Command::<Bytes>::EndOfMessage(Bytes::new()), None).await.unwrap();
    let line = serve.wait_for("tamis::message");
    assert!(line.contains(r#"sender="a@example.com""#) && line.contains(r#"verdict="accept""#), "{line}");
    assert_eq!(serve.wait(), 0);
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let mut serve = Serve::start(&["--log-level=tamis::wire=trace"]);
    let _client = begin(&serve.address).await;
    serve.wait_for("> rcpt");
    serve.signal("INT");
    serve.wait_for("SIGINT: stopping when");
    serve.signal("TERM");
    serve.wait_for("SIGTERM again: stopping at once");
    assert_eq!(serve.wait(), 0);
    let aborted = serve.seen.iter().any(|line| line.contains(r#"verdict="aborted" stage="rcpt""#));
    assert!(aborted, "{:#?}", serve.seen);
}

#[tokio::test]
async fn a_message_that_is_given_up_is_logged_with_its_stage() {
    let mut serve = Serve::start(&[]);
    let mut client = begin(&serve.address).await;
    client.step(&Command::<Bytes>::Abort, None).await.unwrap();
    let line = serve.wait_for("tamis::message");
    assert!(line.contains(r#"recipients=["b@example.com"]"#), "{line}");
    assert!(line.contains(r#"verdict="aborted" stage="rcpt""#), "{line}");
    client.step(&Command::Mail(Envelope::new(&b"<>"[..])), None).await.unwrap();
    drop(client);
    let line = serve.wait_for("tamis::message");
    assert!(line.contains("recipients=[]") && line.contains(r#"stage="mail""#), "{line}");
}

#[test]
fn unix_sockets_have_the_mode_that_is_asked_for_and_go_away() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let socket = format!("unix:{}", path.display());
    let mut serve = Serve::spawn(tamis(["serve", "--listen", &socket, "--socket-mode=0600"]));
    assert_eq!(serve.address, socket);
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(serve.send(&[]).code, 0);
    serve.signal("TERM");
    assert_eq!(serve.wait(), 0);
    assert!(!path.exists());
}

#[test]
fn a_failure_has_the_verdict_that_was_chosen() {
    // A header field that fits no packet.
    let big = format!("--macro=mail:{{big}}={}", "x".repeat(40_000));
    for (policy, code) in [("tempfail", 11), ("reject", 10), ("accept", 0)] {
        let mut serve = Serve::start(&["--add-header=X: {big}{big}", "--on-failure", policy]);
        let ran = serve.send(&[&big]);
        assert_eq!(ran.code, code, "{ran:?}");
        let line = serve.wait_for("tamis::message");
        assert!(line.contains(&format!("verdict=\"{policy}\"")), "{line}");
        serve.wait_for("filter failed: modification of 80003 bytes exceeds the packet size of 65535");
    }
}

#[test]
fn only_those_allowed_may_connect() {
    let mut refusing = Serve::start(&["--allow-network", "192.0.2.0/24,198.51.100.7"]);
    assert_eq!(refusing.send(&[]).code, 1);
    refusing.wait_for("connection refused: its address is in no network that is allowed");
    let serve = Serve::start(&["--allow-network=127.0.0.1"]);
    assert_eq!(serve.send(&[]).code, 0);
}

#[test]
fn flight_records_tell_what_was_said_before_a_connection_broke() {
    let mut serve = Serve::start(&["--flight-recorder=16K", "--log-format=json"]);
    let mut mta = serve.connect();
    // An offer, a HELO with what a terminal would obey and JSON would not, and no frame.
    let offer = b"\0\0\0\x0dO\0\0\0\x06\0\0\x01\xff\0\x1f\xff\xff";
    let helo = b"\0\0\0\x0aHa\"\\\x1b[e\xcc\x81\0";
    mta.write_all(&[&offer[..], helo, b"\0\0\0\0"].concat()).unwrap();
    let line = serve.wait_for("tamis::recorder");
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&line["cause"], &line["place"]), (&Value::from("connection"), &Value::from("connection")));
    let frames: Vec<_> =
        line["frames"].as_array().unwrap().iter().map(|frame| frame.as_str().unwrap()).collect();
    assert_eq!(line["count"], frames.len());
    assert!(frames[0].contains(" > negotiate version=6 "), "{frames:?}");
    assert!(frames.iter().any(|frame| frame.contains(" < negotiate version=6 ")), "{frames:?}");
    assert!(frames.iter().any(|frame| frame.ends_with("> helo \"a\\\"\\\\\\x1b[e\u{301}\"")), "{frames:?}");
    assert!(frames.last().unwrap().ends_with(r#" > no frame "\x00\x00\x00\x00""#), "{frames:?}");
}

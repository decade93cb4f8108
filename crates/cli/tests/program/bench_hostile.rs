//! `tamis bench` against filters that break the protocol, hang or are not there.

use std::net::TcpListener;

use serde_json::json;
use tamis::{Needs, Stage, Verdict};

use crate::bench::{bench, report};
use crate::common::{Serve, filter};
use crate::plain::{self, Answer};

/// A filter that behaves but for one command of each message; the first connection, which only asks what is
/// negotiated, is spared.
fn but_for(code: u8, answer: fn() -> Answer) -> String {
    plain::filter(
        move |said| if said.code == code && said.connection > 0 { answer() } else { Answer::Continue },
    )
}

/// The error of this kind in full, which must be the only kind there is, and as often as there are failures.
fn only_error(address: &str, kind: &str, args: &[&str]) -> String {
    let report = report(20, address, args);
    let errors = report["errors"].as_object().unwrap();
    assert_eq!(errors.keys().collect::<Vec<_>>(), [kind], "{report}");
    assert_eq!(report["ending"], "given-up");
    assert_eq!(report["messages"], 0);
    assert_eq!(errors[kind], 20, "{report}");
    report["first_errors"][kind].as_str().unwrap().to_owned()
}

#[test]
fn filter_that_closes_in_mid_message_is_an_error_for_each() {
    let address = but_for(b'R', || Answer::Close);
    let text = only_error(&address, "end-too-early", &["--messages=1000"]);
    assert!(text.starts_with("filter: connection closed before the end, state rcpt, byte "), "{text}");
}

#[test]
fn garbage_is_an_error_by_what_is_wrong_with_it() {
    for (bytes, kind, text) in [
        (&b"\0\0\0\x01?"[..], "unknown-code", "no such code (code 0x3f), state header"),
        (b"\0\0\0\0", "empty-frame", "frame of length 0, state header"),
        (b"HTTP/1.1 400\r\n", "frame-too-long", "frame of 1213486159 bytes exceeds the limit"),
        (b"\0\0\0\x02cx", "unexpected-payload", "payload where none belongs in continue"),
        (b"\0\0\0\x01c\0\0\0\x01c", "unsolicited", "reply although none is due"),
        (b"\0\0\0\x05hX\0y\0", "out-of-order", "not allowed now in add-header"),
    ] {
        let address = plain::filter(move |said| match said.code {
            b'L' => Answer::Say(bytes.to_vec()),
            _ => Answer::Continue,
        });
        let said = only_error(&address, kind, &["--messages=1000"]);
        assert!(said.contains(text), "{said}");
    }
}

#[test]
fn filter_that_never_answers_costs_the_time_that_is_set() {
    let address = but_for(b'M', || Answer::Silence);
    let said = only_error(&address, "timed-out", &["--timeout=20ms"]);
    assert!(said.starts_with("filter: no answer in time, state mail, byte "), "{said}");
}

#[test]
fn filter_that_reads_nothing_costs_the_time_that_is_set() {
    // It negotiates that nothing is answered, and then stops.
    let address = plain::filter(|said| match said.code {
        b'M' => loop {
            std::thread::park();
        },
        _ => Answer::ContinueAtEnd,
    });
    let said = only_error(&address, "write-timed-out", &["--timeout=20ms", "--body=50MiB"]);
    assert_eq!(said, "the filter read nothing of a command for 20ms");
}

#[test]
fn errors_do_not_end_what_can_go_on() {
    // Each connection carries three messages and is then cut off in the fourth.
    let address = plain::filter(|said| match said.code {
        b'M' if said.nth > 100 => Answer::Close,
        _ => Answer::Continue,
    });
    let args = ["--messages=100", "--warmup=0", "--connections=3", "--headers=9"];
    let report = report(20, &address, &args);
    let (messages, errors) = (&report["messages"], &report["errors"]["end-too-early"]);
    assert_eq!(messages.as_u64().unwrap() + errors.as_u64().unwrap(), 100, "{report}");
    assert!(errors.as_u64().unwrap() > 10 && messages.as_u64().unwrap() > 50, "{report}");
    assert_eq!(report["ending"], "done");
}

#[test]
fn filter_that_is_not_there_or_hangs_at_once_is_exit_code_1() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("inet:{free}@127.0.0.1");
    let ran = bench(&address, &[]);
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""));
    assert!(
        ran.stderr.starts_with(&format!("tamis: cannot connect to {address}: Connection refused")),
        "{ran:?}"
    );
    let ran = bench("unix:/does/not/exist", &["--json"]);
    assert_eq!(ran.code, 1);
    assert!(ran.stdout.contains("\"exit_code\": 1"), "{ran:?}");
    // It accepts connections and never says a word.
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("inet:{}@127.0.0.1", mute.local_addr().unwrap().port());
    let ran = bench(&address, &["--timeout=50ms"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert_eq!(ran.stderr, "tamis: filter: no answer in time, state negotiating, byte 0\n");
}

#[test]
fn filter_that_serves_only_some_of_the_connections_is_exit_code_1() {
    let serve = Serve::start(&["--max-connections=3"]);
    let ran = bench(&serve.address, &["--connections=5"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.starts_with(&format!("tamis: {}: connection ", serve.address)), "{ran:?}");
    assert!(ran.stderr.contains(" of 5: "), "{ran:?}");
    let ran = bench(&serve.address, &["--idle=4"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains(": idle connection ") && ran.stderr.contains(" of 4: "), "{ran:?}");
}

#[test]
fn filter_that_wants_nothing_of_a_connection_cannot_be_measured() {
    let needs = || Needs::new().answer([Stage::Connect, Stage::EndOfMessage]);
    for filter in [filter(needs(), |_, _| Verdict::Accept), filter(needs(), |_, _| Verdict::Reject)] {
        let ran = bench(&filter.address, &[]);
        assert_eq!(ran.code, 1, "{ran:?}");
        assert!(ran.stderr.contains(" at connect: no message goes over such a connection"), "{ran:?}");
    }
}

#[test]
fn check_finds_a_filter_that_speaks_unasked() {
    // The second reply comes after all of the first was read: only whoever looks finds it.
    let address = but_for(b'A', || Answer::Say(b"\0\0\0\x01c".to_vec()));
    let report = report(20, &address, &["--check", "--messages=30", "--warmup=0", "--connections=2"]);
    let kinds: Vec<_> = report["errors"].as_object().unwrap().keys().cloned().collect();
    assert!(kinds.iter().any(|kind| kind == "unsolicited"), "{report}");
}

#[test]
fn check_finds_a_filter_that_stays_after_quit() {
    let address = but_for(b'Q', || Answer::Silence);
    let args = ["--check", "--messages=4", "--warmup=0", "--per-connection=1", "--timeout=50ms"];
    let report = report(20, &address, &args);
    assert_eq!(report["messages"], 4);
    let (kind, text) = ("not-closed", "the filter did not close the connection within 50ms after quit");
    assert_eq!(report["first_errors"], json!({ kind: text }), "{report}");
    // Without the check nobody waits for that.
    self::report_of_unchecked(&address);
}

fn report_of_unchecked(address: &str) {
    let report = report(0, address, &["--messages=4", "--warmup=0", "--per-connection=1"]);
    assert_eq!(report["errors"], json!({}));
}

#[test]
fn first_message_that_fails_is_said_where_all_are_compared_with_it() {
    let address = but_for(b'E', || Answer::Close);
    let ran = bench(&address, &["--check"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    let text =
        format!("tamis: {address}: the first message failed: filter: connection closed before the end");
    assert!(ran.stderr.starts_with(&text), "{ran:?}");
}

#[test]
fn process_that_is_not_there_is_exit_code_1() {
    let mut gone = std::process::Command::new("true").spawn().unwrap();
    gone.wait().unwrap();
    let ran = bench("inet:1@127.0.0.1", &["--server-pid", &gone.id().to_string()]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert_eq!(ran.stderr, format!("tamis: there is no process {}, or not any more\n", gone.id()));
}

//! `tamis bench` against filters that behave, and what it finds out about them.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tamis::{Actions, Event, Needs, Stage, Verdict};

use crate::common::{PATIENCE, Ran, Serve, filter, run, tamis, through};
use crate::plain::{self, Answer};

pub(crate) fn bench(address: &str, args: &[&str]) -> Ran {
    run(["bench", "--to", address].into_iter().chain(args.iter().copied()))
}

/// Runs it for the report for programs, which must come with this exit code.
pub(crate) fn report(code: i32, address: &str, args: &[&str]) -> Value {
    let ran = bench(address, &[args, &["--json"]].concat());
    assert_eq!(ran.code, code, "{ran:?}");
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

fn number(report: &Value, path: &str) -> f64 {
    report.pointer(path).and_then(Value::as_f64).unwrap_or_else(|| panic!("{path} in {report}"))
}

#[test]
fn serve_is_measured_with_its_process() {
    let mut serve = Serve::start(&["--add-header=X-Seen: {i}"]);
    let pid = serve.pid().to_string();
    let args = ["--connections=3", "--messages=200", "--warmup=10", "--server-pid", &pid];
    let report = report(0, &serve.address, &args);
    assert_eq!(report["messages"], 200);
    assert_eq!(
        report["verdicts"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum::<u64>(),
        200
    );
    assert_eq!(report["edits"], json!({ "add-header": 200 }));
    assert_eq!((&report["errors"], &report["ending"]), (&json!({}), &json!("done")));
    assert_eq!(report["settings"]["connections"], 3);
    let latency: Vec<f64> = ["min", "p50", "p90", "p95", "p99", "p99_9", "max"]
        .iter()
        .map(|name| number(&report, &format!("/latency_us/{name}")))
        .collect();
    assert!(latency[0] > 0.0 && latency.is_sorted(), "{latency:?}");
    for path in [
        "/seconds",
        "/messages_per_second",
        "/megabytes_per_second",
        "/latency_us/mean",
        "/client_cpu_us_per_message",
        "/server/cpu_us_per_message",
        "/server/threads",
        "/server/resident_kib",
        "/server/peak_resident_kib",
    ] {
        assert!(number(&report, path) > 0.0, "{path} in {report}");
    }
    let (user, system) = ("/server/user_us_per_message", "/server/system_us_per_message");
    let parts = number(&report, user) + number(&report, system);
    assert!((parts - number(&report, "/server/cpu_us_per_message")).abs() < 0.01, "{report}");
    assert_eq!(report["server"]["pid"].to_string(), pid);
    // The warm-up and the measured messages, and none that was begun and not finished.
    for _ in 0..210 {
        assert!(!serve.wait_for("tamis::message").contains("aborted"));
    }
    assert_eq!(serve.end().iter().filter(|line| line.contains("tamis::message")).count(), 210);
}

#[test]
fn people_get_a_report_too() {
    let serve = Serve::start(&[]);
    let pid = serve.pid().to_string();
    let ran = bench(&serve.address, &["--messages=20", "--server-pid", &pid, "--idle=2", "--check"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    for part in [
        "as postfix: version 6\n",
        "\nmessages   20 in ",
        "\nlatency    p50 ",
        ", p99.9 ",
        "\nverdicts   20 ",
        "\nedits      none\n",
        "\ncheck      20 messages compared with the first, 0 differ\n",
        "\nerrors     none\n",
        "\nclient     ",
        "\nserver     ",
        " bytes resident for each of 2 idle connections\n",
    ] {
        assert!(ran.stdout.contains(part), "{part:?} in {}", ran.stdout);
    }
    assert_eq!(ran.stderr, "", "no progress where stderr is no terminal");
}

#[test]
fn idle_connections_are_held_while_messages_go_over_the_others() {
    let most = std::sync::Arc::new(AtomicU64::new(0));
    let seen = most.clone();
    let address = plain::filter(move |said| {
        if said.code == b'E' {
            seen.fetch_max(said.open, Ordering::Relaxed);
        }
        Answer::Continue
    });
    let report = report(0, &address, &["--idle=40", "--connections=2", "--messages=10", "--warmup=0"]);
    assert_eq!(report["messages"], 10);
    assert_eq!(most.load(Ordering::Relaxed), 42);
}

#[test]
fn connections_carry_as_many_messages_as_they_should() {
    for (each, most, fewest_connections) in [("0", 20, 2), ("5", 5, 4), ("1", 1, 20)] {
        let carried = std::sync::Arc::new(Mutex::new(BTreeMap::<u64, u64>::new()));
        let counts = carried.clone();
        let address = plain::filter(move |said| {
            if said.code == b'M' {
                *counts.lock().unwrap().entry(said.connection).or_default() += 1;
            }
            Answer::Continue
        });
        let args = ["--connections=2", "--messages=20", "--warmup=0", "--per-connection", each];
        let report = report(0, &address, &args);
        let carried = carried.lock().unwrap();
        assert!(carried.values().all(|count| *count <= most), "{each}: {carried:?}");
        assert_eq!(carried.values().sum::<u64>(), 20);
        // Whoever comes late finds no message left.
        let connections = report["connections"].as_u64().unwrap();
        assert!((fewest_connections..=fewest_connections + 2).contains(&connections), "{report}");
    }
}

#[test]
fn filter_gets_what_an_mta_would_send() {
    let turns = |mta: &str, answers: bool| {
        let letters = std::sync::Arc::new(Mutex::new(String::new()));
        let heard = letters.clone();
        let address = plain::filter(move |said| {
            // The first connection only asks what is negotiated.
            if said.connection > 0 {
                let end = if said.is_answered() { " " } else { "" };
                let mut letters = heard.lock().unwrap();
                letters.push(char::from(said.code));
                letters.push_str(end);
            }
            if answers { Answer::Continue } else { Answer::ContinueAtEnd }
        });
        let args =
            ["--as", mta, "--messages=2", "--warmup=0", "--headers=2", "--body=64KiB", "--recipients=2"];
        report(0, &address, &args);
        let letters = letters.lock().unwrap();
        letters.clone()
    };
    let postfix = "DM DR DR DT DL DL DN DB DB DE";
    assert_eq!(turns("postfix", true), format!("ODC DH {postfix} A{postfix} AQ"));
    let sendmail = "DM DR DR T L L N B B DE";
    assert_eq!(turns("sendmail", true), format!("ODC DH {sendmail} {sendmail} Q"));
    assert_eq!(turns("postfix", false), format!("ODC DH {postfix} A{postfix} AQ"));
}

#[test]
fn messages_have_the_shape_that_is_asked_for() {
    static SEEN: Mutex<[usize; 4]> = Mutex::new([0; 4]);
    let needs = Needs::new().answer(Stage::ALL);
    let filter = filter(needs, |cx, event| {
        let mut seen = SEEN.lock().unwrap();
        match event {
            Event::Rcpt(_) => seen[0] += 1,
            Event::Header(header) => {
                assert_eq!(cx.macro_value("i").map(<[u8]>::is_empty), Some(false), "{header:?}");
                seen[1] += 1;
            }
            Event::Body(piece) => {
                seen[2] += piece.len();
                seen[3] = usize::from(piece.ends_with(b"\r\n"));
            }
            _ => {}
        }
        Verdict::Continue
    });
    for (recipients, headers, body, bytes) in [
        ("1", "0", "0", 0),
        ("3", "15", "4KiB", 4096),
        ("1200", "1500", "65535", 65_535),
        ("2", "1", "1MiB", 1 << 20),
    ] {
        *SEEN.lock().unwrap() = [0; 4];
        let shape = ["--recipients", recipients, "--headers", headers, "--body", body];
        let report = report(0, &filter.address, &[&shape[..], &["--messages=1", "--warmup=0"]].concat());
        let expected = [recipients.parse().unwrap(), headers.parse().unwrap(), bytes, usize::from(bytes > 0)];
        assert_eq!((*SEEN.lock().unwrap(), &report["messages"]), (expected, &json!(1)));
    }
}

#[test]
fn verdicts_and_refused_recipients_are_counted() {
    let needs = Needs::new().answer([Stage::Rcpt, Stage::EndOfMessage]);
    let filter = filter(needs, |_, event| match event {
        Event::Rcpt(rcpt) if rcpt.address.starts_with(b"<recipient-2@") => Verdict::reject("5.1.1", "nobody"),
        Event::EndOfMessage => Verdict::tempfail("4.7.1", "later"),
        _ => Verdict::Continue,
    });
    for mta in ["postfix", "sendmail"] {
        let report = report(0, &filter.address, &["--messages=10", "--warmup=0", "--as", mta]);
        assert_eq!(report["verdicts"], json!({ "reply": 10 }));
        assert_eq!(report["refused_recipients"], 10);
        // The only recipient of a message is refused, so that it ends there.
        let args =
            ["--messages=10", "--warmup=0", "--as", mta, "--expect=refused", "--check", "--recipients=1"];
        assert_eq!(self::report(0, &filter.address, &args)["verdicts"], json!({ "reply": 10 }));
    }
}

#[test]
fn message_that_is_decided_early_is_over() {
    for stage in [Stage::Mail, Stage::Data, Stage::Header, Stage::Body] {
        let letters = std::sync::Arc::new(AtomicU64::new(0));
        let ends = letters.clone();
        let code = tamis::proto::command::Kind::of_stage(stage).code();
        let address = plain::filter(move |said| {
            ends.fetch_add(u64::from(said.code == b'E'), Ordering::Relaxed);
            if said.code == code { Answer::Say(b"\0\0\0\x01a".to_vec()) } else { Answer::Continue }
        });
        for mta in ["postfix", "sendmail"] {
            let report = report(0, &address, &["--messages=5", "--warmup=0", "--as", mta, "--check"]);
            assert_eq!(report["verdicts"], json!({ "accept": 5 }), "{stage}");
        }
        assert_eq!(letters.load(Ordering::Relaxed), 0, "{stage}");
    }
}

#[test]
fn same_edits_pass_the_check_and_what_is_expected_is_verified() {
    let all = Needs::new().answer([Stage::Body, Stage::EndOfMessage]);
    let needs = all.require(Actions::ADD_HEADERS | Actions::REPLACE_BODY);
    let header = filter(needs.clone(), |cx, event| {
        if let Event::EndOfMessage = event {
            cx.add_header("X", "y").unwrap();
        }
        Verdict::Continue
    });
    let body = filter(needs, |cx, event| {
        if let Event::EndOfMessage = event {
            cx.replace_body(vec![b'x'; 200_000]).unwrap();
        }
        Verdict::Continue
    });
    let serve = Serve::start(&[]);
    let appends = crate::common::file(b"a footer\n");
    let footer = Serve::start(&["--append-text", appends.name()]);
    let args = |expect| ["--check", "--expect", expect, "--messages=20", "--body=100KiB", "--connections=3"];
    for (address, expected) in
        [(&serve.address, "nothing"), (&header.address, "header"), (&footer.address, "footer")]
    {
        for expect in ["nothing", "header", "footer", "body", "refused"] {
            let ran = bench(address, &args(expect));
            assert_eq!(ran.code, i32::from(expect != expected), "{expect}: {ran:?}");
            let said = format!(": the first message is not treated as --expect {expect} says: it");
            assert_eq!(ran.stderr.contains(&said), expect != expected, "{ran:?}");
        }
    }
    let report = report(0, &body.address, &["--check", "--messages=20", "--warmup=5", "--connections=3"]);
    assert_eq!(report["check"], json!({ "messages": 20, "mismatches": 0 }));
    assert_eq!(report["edits"], json!({ "replace-body": 20 * 200_000_u32.div_ceil(65_535) }));
}

type OddScript = fn(&mut tamis::Context<'_, ()>, Event, bool) -> Verdict;

/// What the check says of a filter that treats one message in four differently.
fn difference(script: OddScript) -> String {
    // One at a time: the filters share the count.
    static ONE: Mutex<()> = Mutex::new(());
    static SCRIPT: Mutex<Option<OddScript>> = Mutex::new(None);
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let _one = ONE.lock().unwrap();
    *SCRIPT.lock().unwrap() = Some(script);
    COUNT.store(0, Ordering::Relaxed);
    let needs = Needs::new()
        .answer([Stage::Mail, Stage::EndOfMessage])
        .require(Actions::ADD_HEADERS | Actions::REPLACE_BODY);
    let filter = filter(needs, |cx, event| {
        let count = COUNT.fetch_add(u64::from(matches!(event, Event::Mail(_))), Ordering::Relaxed);
        let count = count + u64::from(matches!(event, Event::Mail(_)));
        let script = SCRIPT.lock().unwrap().expect("it was set");
        script(cx, event, count.is_multiple_of(4))
    });
    let report = report(20, &filter.address, &["--check", "--messages=19", "--warmup=0"]);
    assert_eq!(report["check"], json!({ "messages": 19, "mismatches": 5 }));
    assert_eq!(report["errors"], json!({ "mismatch": 5 }));
    report["first_errors"]["mismatch"].as_str().unwrap().to_owned()
}

#[test]
fn message_that_is_treated_differently_is_found_and_explained() {
    let verdict = difference(|_, event, odd| match event {
        Event::EndOfMessage if odd => Verdict::Reject,
        _ => Verdict::Continue,
    });
    let text = "message 3: it had the verdict reject at end-of-message where the first had the verdict continue at \
                end-of-message";
    assert_eq!(verdict, text);
    let stage = difference(|_, event, odd| match event {
        Event::Mail(_) if odd => Verdict::Accept,
        _ => Verdict::Continue,
    });
    assert!(stage.contains("the verdict accept at mail where the first had the verdict continue"), "{stage}");
    let edit = difference(|cx, event, odd| {
        if let Event::EndOfMessage = event {
            cx.add_header("X", if odd { "b" } else { "a" }).unwrap();
        }
        Verdict::Continue
    });
    assert!(edit.contains("value: b\"b\"") && edit.contains("where the first had the edit"), "{edit}");
    let more = difference(|cx, event, odd| {
        if odd && matches!(event, Event::EndOfMessage) {
            cx.add_header("X", "a").unwrap();
        }
        Verdict::Continue
    });
    assert!(more.contains("it had the edit AddHeader"), "{more}");
    let body = difference(|cx, event, odd| {
        if let Event::EndOfMessage = event {
            let mut body = vec![b'x'; 150_000];
            body[140_000] = if odd { b'y' } else { b'x' };
            cx.replace_body(body).unwrap();
        }
        Verdict::Continue
    });
    assert_eq!(body, "message 3: its new body differs from that of the first at byte 140000");
    let short = difference(|cx, event, odd| {
        if let Event::EndOfMessage = event {
            cx.replace_body(vec![b'x'; if odd { 70_000 } else { 80_000 }]).unwrap();
        }
        Verdict::Continue
    });
    assert_eq!(short, "message 3: its new body ends after 70000 bytes, that of the first has 80000");
}

#[test]
fn messages_begin_when_they_are_due_and_their_time_counts_from_then() {
    // It stalls with the first message; all others are due while it does.
    static STALLED: AtomicU64 = AtomicU64::new(0);
    let filter = filter(Needs::new().answer([Stage::EndOfMessage]), |_, event| {
        let first = matches!(event, Event::EndOfMessage) && STALLED.fetch_add(1, Ordering::Relaxed) == 0;
        if first {
            std::thread::sleep(Duration::from_millis(700));
        }
        Verdict::Continue
    });
    let args = ["--rate=100", "--messages=40", "--warmup=0"];
    let first = report(0, &filter.address, &args);
    assert!(number(&first, "/latency_us/min") >= 300_000.0, "{first}");
    // Without the stall it takes as long as the last message is due, at the least.
    let second = report(0, &filter.address, &args);
    assert!(number(&second, "/seconds") >= 0.39, "{second}");
    assert_eq!((&second["messages"], &second["missed"]), (&json!(40), &json!(0)));
}

#[test]
fn measuring_ends_when_its_time_is_over() {
    let serve = Serve::start(&[]);
    let report = report(0, &serve.address, &["--seconds=0.2", "--connections=2"]);
    assert!(number(&report, "/seconds") >= 0.1 && number(&report, "/messages") >= 1.0, "{report}");
}

#[test]
fn ctrl_c_ends_it_with_a_report_of_what_was_measured() {
    let (begun, hear) = std::sync::mpsc::channel();
    let begun = Mutex::new(begun);
    let address = plain::filter(move |said| {
        if said.code == b'E' {
            let _ = begun.lock().unwrap().send(());
        }
        Answer::Continue
    });
    let mut command = tamis(["bench", "--to", &address, "--seconds=3600", "--warmup=0", "--json"]);
    let child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    for _ in 0..10 {
        hear.recv_timeout(PATIENCE).unwrap();
    }
    let pid = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let ran = Ran::from(child.wait_with_output().unwrap());
    assert_eq!(ran.code, 130, "{ran:?}");
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(report["ending"], "interrupted");
    assert!(number(&report, "/messages") >= 9.0, "{report}");
}

#[test]
fn too_few_open_files_are_said_before_anything_begins() {
    let limit = ["sh", "-c", "ulimit -n 100 && exec \"$0\" \"$@\""];
    let args = ["bench", "--to=inet:1@127.0.0.1", "--idle=60", "--connections=20"];
    let ran = Ran::from(through(limit, args).output().unwrap());
    assert_eq!(ran.code, 1, "{ran:?}");
    let text = "tamis: 80 connections need 112 open files, and this process may have 100; \
                raise the limit as root (ulimit -n 112) or ask for fewer connections\n";
    assert_eq!(ran.stderr, text);
}

#[test]
fn soft_limit_on_open_files_is_raised() {
    let address = plain::filter(|_| Answer::Continue);
    let limit = ["sh", "-c", "ulimit -Sn 50 && exec \"$0\" \"$@\""];
    let args = ["bench", "--to", &address, "--idle=60", "--messages=5"];
    let ran = Ran::from(through(limit, args).output().unwrap());
    assert_eq!(ran.code, 0, "{ran:?}");
}

#[test]
fn wrong_usage_is_exit_code_2() {
    for (args, text) in [
        (&[][..], "--to <SOCKET>"),
        (&["--to=8899"], "--to"),
        (&["--to=inet:1@h", "--connections=0"], "from 1 to 1000000"),
        (&["--to=inet:1@h", "--messages=0"], "1 at the least"),
        (&["--to=inet:1@h", "--rate=0"], "messages a second"),
        (&["--to=inet:1@h", "--seconds=-1"], "--seconds"),
        (&["--to=inet:1@h", "--body=1.5M"], "KiB, MiB or GiB"),
        (&["--to=inet:1@h", "--as=exim"], "postfix, sendmail"),
        (&["--to=inet:1@h", "--expect=header"], "--check"),
        (&["--to=inet:1@h", "--check", "--expect=magic"], "nothing, header, footer, body, refused"),
        (&["--to=inet:1@h", "--timeout=soon"], "write a time"),
    ] {
        let ran = run(["bench"].into_iter().chain(args.iter().copied()));
        assert_eq!(ran.code, 2, "{ran:?}");
        assert!(ran.stderr.contains(text), "{text:?} in {}", ran.stderr);
    }
}

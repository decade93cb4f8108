//! `tamis serve` with several filters on each connection.

use crate::common::{Serve, file, run};

/// The name of a milter that listens there.
fn milter(name: &str, at: &Serve, settings: &str) -> String {
    format!("--milter={name}={}{settings}", at.address)
}

#[test]
fn examples_and_milters_edit_the_message_one_after_the_other() {
    let first = Serve::start(&["--add-header=X-First: {i}"]);
    let mut serve = Serve::start(&[
        "--chain",
        "--filter=client-header",
        &milter("first", &first, ",timeout=10s"),
        "--filter=footer",
        "--add-header=X-Last: yes",
    ]);
    serve.wait_for(r#"chain mode="pipeline" filters=["client-header","first","footer","serve"]"#);
    let ran = serve.send(&["--client=192.0.2.7"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    for line in ["X-First: 4TAMIS0SEND", "X-Last: yes", "-- "] {
        assert!(
            ran.stdout.lines().any(|it| it.trim_start_matches('+').trim_start() == line.trim_start()),
            "{line} in {ran:?}"
        );
    }
    let first = first.end();
    assert!(first.iter().any(|line| line.contains("tamis::message")), "{first:?}");
}

#[test]
fn a_dead_milter_costs_what_its_policy_says() {
    let dead = "--milter=dead=unix:/nobody/is/here";
    for (policy, code) in [("accept", 0), ("tempfail", 11), ("reject", 10)] {
        let serve = Serve::start(&["--filter=footer", &format!("{dead},on-failure={policy}")]);
        let ran = serve.send(&[]);
        assert_eq!(ran.code, code, "{policy}: {ran:?}");
        assert_eq!(ran.stdout.contains("To leave this list"), policy == "accept", "{ran:?}");
        let log = serve.end().join("\n");
        assert!(log.contains("dead") && log.contains("/nobody/is/here"), "{log}");
    }
}

#[test]
fn a_dry_run_changes_nothing() {
    let serve = Serve::start(&["--filter=footer,dry-run"]);
    let ran = serve.send(&[]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(!ran.stdout.contains("To leave this list"), "{ran:?}");
}

#[test]
fn an_example_has_its_own_flags_behind_it() {
    let table = file(b"example.com go away\n");
    let filter = format!("--filter=reject-sender,table={}", table.name());
    let serve = Serve::start(&["--chain=parallel", &filter]);
    let ran = serve.send(&["--from=a@example.com"]);
    assert_eq!(ran.code, 10, "{ran:?}");
    assert!(ran.stdout.contains("go away"), "{ran:?}");
    assert_eq!(serve.send(&["--from=a@example.net"]).code, 0);
}

#[test]
fn what_is_wrong_with_a_chain_is_said_at_the_start() {
    for (args, code, says) in [
        (&["--milter=inet:1@h"][..], 2, "is no NAME=SOCKET"),
        (&["--filter=nobody"], 2, "there is no example"),
        (&["--chain"], 2, "--filter"),
        (&["--filter=trace", "--filter=trace"], 1, "two filters of the chain are named \"trace\""),
        (&["--filter=reject-sender,table=/no/such"], 1, "cannot read the table /no/such"),
    ] {
        let ran = run(["serve", "--listen=inet:0@127.0.0.1"].into_iter().chain(args.iter().copied()));
        assert_eq!(ran.code, code, "{ran:?}");
        assert!(ran.stderr.contains(says), "{says} in {ran:?}");
    }
}

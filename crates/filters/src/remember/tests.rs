use std::fs;
use std::path::Path;

use tamis::chain::Chain;
use tamis::testing::{Mta, Report};

use crate::kind::Plan;
use crate::testing::{build, misread, texts};

/// A filter that remembers, and one that adds a field to mail from or to whom is remembered.
fn plans(folder: &Path, what: &str, key: &str) -> [Plan; 2] {
    [
        ("remember", format!("what = '{what}'\nfile = 'known'\nlifetime = '1h'")),
        ("headers", format!("rules = [{{ when = {{ {key} = 'remembered:known' }}, add = 'X-Known: yes' }}]")),
    ]
    .map(|(kind, text)| {
        let (plan, remarks) = build(kind, &text, folder);
        assert!(remarks.is_empty(), "{remarks:?}");
        plan.unwrap()
    })
}

fn run(plans: &[Plan; 2], sender: &str, to: &[&str]) -> Report {
    let chain = Chain::pipeline().member(plans[1].member("looks")).member(plans[0].member("remembers"));
    let mta = Mta::postfix().client("h", "[::ffff:192.0.2.7]:1".parse().unwrap()).from(sender);
    let mta = to.iter().fold(mta, Mta::to).message("Subject: x\n\nx\n");
    mta.run_blocking(|_| chain).unwrap()
}

fn is_known(report: &Report) -> bool {
    report.message().unwrap().header("X-Known").is_some()
}

#[test]
fn those_whom_somebody_wrote_to_are_known_when_they_answer() {
    let folder = tempfile::tempdir().unwrap();
    let plans = plans(folder.path(), "recipients", "sender");
    assert!(!is_known(&run(
        &plans,
        "<bob@example.org>",
        &["<alice@example.com>", "<\"Carol\"@Example.NET>"]
    )));
    for sender in ["<alice@example.com>", "<carol@example.net>", "<Carol@EXAMPLE.net.>"] {
        assert!(is_known(&run(&plans, sender, &["<dave@example.org>"])), "{sender}");
    }
    assert!(!is_known(&run(&plans, "<bob@example.org>", &["<dave@example.org>"])));
    drop(plans);
    let text = fs::read_to_string(folder.path().join("known")).unwrap();
    assert!(text.contains(" carol@example.net\n") && text.contains(" dave@example.org\n"), "{text}");
}

#[test]
fn clients_and_senders_can_be_remembered_too() {
    let folder = tempfile::tempdir().unwrap();
    let by_client = plans(folder.path(), "client", "client");
    assert!(!is_known(&run(&by_client, "<a@example.com>", &["<b@example.com>"])));
    assert!(is_known(&run(&by_client, "<c@example.com>", &["<d@example.com>"])));
    drop(by_client);
    assert!(fs::read_to_string(folder.path().join("known")).unwrap().ends_with(" 192.0.2.7\n"));

    let folder = tempfile::tempdir().unwrap();
    let by_sender = plans(folder.path(), "sender", "recipient");
    run(&by_sender, "<>", &["<b@example.com>"]);
    assert!(!is_known(&run(&by_sender, "<a@example.com>", &["<b@example.com>"])));
    assert!(is_known(&run(&by_sender, "<x@example.com>", &["<a@example.com>"])));
}

#[test]
fn whole_domains_can_be_remembered() {
    let folder = tempfile::tempdir().unwrap();
    let plans = plans(folder.path(), "recipient-domains", "sender_domain");
    run(&plans, "<bob@example.org>", &["<alice@Example.COM.>"]);
    assert!(is_known(&run(&plans, "<somebody@example.com>", &["<x@example.org>"])));
    assert!(!is_known(&run(&plans, "<somebody@a.example.com>", &["<x@example.org>"])));

    let folder = tempfile::tempdir().unwrap();
    let plans = self::plans(folder.path(), "sender-domain", "recipient_domain");
    run(&plans, "<bob@example.net>", &["<alice@example.com>"]);
    assert!(is_known(&run(&plans, "<alice@example.com>", &["<x@example.net>"])));
    assert!(!is_known(&run(&plans, "<>", &["<x@example.edu>"])), "the null sender has no domain");
}

#[test]
fn mistakes_say_what_to_write() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("bad"), "what\n").unwrap();
    for (text, said) in [
        ("what = 'client'\nfile = 'none/known'", "file: there is no folder for "),
        ("what = 'client'\nfile = 'bad'", "file: "),
        ("what = 'client'\nfile = 'x'\nmax = 0", "max: to remember nothing"),
    ] {
        let remarks = texts(&build("remember", text, folder.path()).1);
        assert!(remarks.len() == 1 && remarks[0].starts_with(said), "{text}: {remarks:?}");
    }
    assert!(misread("remember", "file = 'x'").contains("missing field `what`"));
    let words = "rules = [{ when = { authenticated = 'remembered:x' }, add = 'A: b' }]";
    let remarks = texts(&build("headers", words, "/").1);
    assert!(remarks[0].contains("users are not remembered"), "{remarks:?}");
}

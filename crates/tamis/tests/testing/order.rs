//! A message file in process, in the MTA's order (T1).

use std::sync::{Arc, Mutex};

use tamis::testing::{Mta, Outcome, RunError};
use tamis::{Event, Needs, Stage, Verdict};

use crate::MESSAGE;
use crate::filter::{GO, does, says};

#[test]
fn filter_sees_a_message_file_in_the_order_of_the_mta() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), MESSAGE).unwrap();
    for mta in Mta::both() {
        let filter = does(Needs::everything(), |_, _| GO);
        let seen = filter.seen.clone();
        let report = mta
            .to("<1@example.com>")
            .to("<2@example.com>")
            .message_file(file.path())
            .run_blocking(|_| filter);
        let report = report.unwrap();
        let mut expected = vec!["connect", "helo", "mail", "rcpt", "rcpt", "data", "header", "header"];
        expected.extend(["end-of-headers", "body", "end-of-message", "close"]);
        assert_eq!(*seen.lock().unwrap(), expected);
        assert_eq!(report.message().unwrap().to_bytes(), report.messages()[0].original().to_bytes());
        assert_eq!(report.message().unwrap().header("subject").as_deref(), Some("hello"));
    }
}

#[test]
fn message_file_that_is_not_there_is_an_error() {
    let error =
        Mta::postfix().message_file("/nowhere/at/all").run_blocking(|_| says(Stage::Mail, Verdict::Reject));
    let error = error.unwrap_err();
    assert!(matches!(error, RunError::File { .. }));
    assert!(error.to_string().starts_with("cannot read the message /nowhere/at/all: "), "{error}");
    assert_eq!(format!("{error:?}"), error.to_string(), "what a test shows that returns it");
}

#[test]
fn stages_that_are_not_asked_for_are_not_shown() {
    let needs = Needs::new().answer([Stage::Rcpt]).watch([Stage::Mail]);
    let report = Mta::postfix().message(MESSAGE).run_blocking(|_| does(needs, |_, _| GO)).unwrap();
    let outcome = |stage| &report.steps().find(|step| step.stage == stage).unwrap().outcome;
    assert_eq!(*outcome(Stage::Connect), Outcome::NotSent);
    assert_eq!(*outcome(Stage::Mail), Outcome::NoReply);
    assert_eq!(report.verdict_at(Stage::Mail), None);
    assert_eq!(report.verdict_at(Stage::Rcpt), Some(&Verdict::Continue));
}

#[test]
fn client_and_envelope_are_those_of_the_test() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    for mta in Mta::both() {
        let notes = seen.clone();
        let filter = does(Needs::everything(), move |_, event| {
            let note = |text: String| notes.lock().unwrap().push(text);
            match event {
                Event::Connect(connect) => {
                    note(format!("{} {:?}", connect.host.escape_ascii(), connect.client()));
                }
                Event::Helo(name) => note(name.escape_ascii().to_string()),
                Event::Mail(path) | Event::Rcpt(path) => {
                    note(path.address.escape_ascii().to_string());
                    path.args().for_each(|arg| note(arg.escape_ascii().to_string()));
                }
                _ => {}
            }
            GO
        });
        mta.client("mail.example.net", "192.0.2.9:4321".parse().unwrap())
            .helo("me")
            .from("<alice@example.org> SIZE=10 BODY=8BITMIME")
            .to("<bob@example.com> NOTIFY=NEVER")
            .message(MESSAGE)
            .run_blocking(|_| filter)
            .unwrap();
        let expected = [
            "mail.example.net Inet(192.0.2.9:4321)",
            "me",
            "<alice@example.org>",
            "SIZE=10",
            "BODY=8BITMIME",
            "<bob@example.com>",
            "NOTIFY=NEVER",
        ];
        assert_eq!(std::mem::take(&mut *seen.lock().unwrap()), expected);
    }
}

#[test]
fn factory_is_told_who_the_mta_is() {
    let address = tamis::PeerAddress::Unix(std::path::Path::new("/run/postfix.sock").into());
    let mta = Mta::postfix().peer(address.clone()).message(MESSAGE);
    let mut told = None;
    mta.run_blocking(|peer| {
        told = Some((peer.id, peer.address.clone()));
        says(Stage::Mail, Verdict::Continue)
    })
    .unwrap();
    assert_eq!(told, Some((1, address)));
}

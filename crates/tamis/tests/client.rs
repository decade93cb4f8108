//! The MTA's role against the server: whole messages as Postfix and as Sendmail.

mod common;

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use common::{Act, Notes, Probe, Running, go, patient, serve_probe};
use tamis::client::{Client, ClientError, Macro, Mail, Outcome, Report};
use tamis::proto::command::{Connect, Envelope};
use tamis::proto::edit::model::Field;
use tamis::proto::{Command, Misuse, MtaConfig, Profile};
use tamis::{Actions, Event, MacroStage, Needs, Stage, Verdict};

const PROFILES: [Profile; 2] = [Profile::Postfix, Profile::Sendmail];
const MESSAGE: &str = "Subject: hello\r\nTo: you\r\n\r\nHi!\r\n";

async fn client(server: &Running, profile: Profile) -> Client {
    Client::connect(&server.spec(), MtaConfig::new(profile)).await.unwrap()
}

fn mail() -> Mail {
    Mail::new("from@example.com", ["1@example.com", "2@example.com"], MESSAGE)
}

fn stages(report: &Report) -> Vec<(Stage, Outcome)> {
    report.steps.iter().map(|step| (step.stage, step.outcome.clone())).collect()
}

/// One mail through a filter.
async fn sent(profile: Profile, filter: (Probe, Notes), mail: &Mail) -> Report {
    let server = serve_probe(patient(), &filter.0);
    let mut client = client(&server, profile).await;
    let report = client.send(mail).await.unwrap();
    client.quit().await.unwrap();
    server.drain().await;
    report
}

#[tokio::test]
async fn filter_sees_a_whole_message_and_each_step_has_its_verdict_and_time() {
    use Stage::{Body, Connect, Data, EndOfHeaders, EndOfMessage, Header, Helo, Mail, Rcpt};
    for profile in PROFILES {
        let (probe, mut notes) = Probe::quiet();
        let server = serve_probe(patient(), &probe);
        let mut client = client(&server, profile).await;
        let report = client.send(&mail()).await.unwrap();
        client.quit().await.unwrap();
        let expected =
            [Connect, Helo, Mail, Rcpt, Rcpt, Data, Header, Header, EndOfHeaders, Body, EndOfMessage];
        let answered: Vec<_> =
            expected.into_iter().map(|stage| (stage, Outcome::Verdict(Verdict::Continue))).collect();
        assert_eq!(stages(&report), answered);
        assert!(report.steps.iter().all(|step| !step.elapsed.is_zero() && step.elapsed <= report.elapsed));
        assert_eq!(report.steps[4].about, "2@example.com");
        assert_eq!((report.verdict, report.stage), (Verdict::Continue, EndOfMessage));
        assert_eq!(report.delivered.unwrap(), report.original);
        let mut seen = notes.ended().await;
        seen.retain(|note| !note.starts_with("message"));
        let names: Vec<_> = expected.iter().map(|stage| stage.name().to_owned()).collect();
        assert_eq!(seen, [&names[..], &["close".into()]].concat());
        server.drain().await;
    }
}

#[tokio::test]
async fn unwanted_and_unanswered_steps_are_told_apart() {
    for profile in PROFILES {
        let needs = Needs::new().watch([Stage::Mail, Stage::Body]).answer([Stage::Rcpt]);
        let report = sent(profile, Probe::new(needs, |_, _| go()), &mail()).await;
        let outcome = |stage| report.steps.iter().find(|step| step.stage == stage).unwrap().outcome.clone();
        assert_eq!(outcome(Stage::Connect), Outcome::NotSent);
        assert_eq!(outcome(Stage::Mail), Outcome::NoReply);
        assert_eq!(outcome(Stage::Rcpt), Outcome::Verdict(Verdict::Continue));
        assert_eq!(outcome(Stage::Header), Outcome::NotSent);
        assert_eq!(outcome(Stage::Body), Outcome::NoReply);
        assert_eq!(outcome(Stage::EndOfMessage), Outcome::Verdict(Verdict::Continue));
    }
}

#[tokio::test]
async fn skip_keeps_the_rest_of_the_body_back() {
    for profile in PROFILES {
        let (probe, mut notes) = Probe::new(Needs::everything(), |_, event| match event {
            Event::Body(_) => Act::Say(Verdict::Skip),
            _ => go(),
        });
        let server = serve_probe(patient(), &probe);
        let mut client = client(&server, profile).await;
        let body = "x".repeat(78) + "\r\n";
        let long = Mail::new("a@b", ["c@d"], format!("A: b\r\n\r\n{}", body.repeat(3_000)));
        let report = client.send(&long).await.unwrap();
        let pieces: Vec<_> = report.steps.iter().filter(|step| step.stage == Stage::Body).collect();
        assert_eq!(pieces.len(), 4);
        assert_eq!(pieces[0].outcome, Outcome::Verdict(Verdict::Skip));
        assert!(pieces[1..].iter().all(|step| step.outcome == Outcome::NotSent));
        assert_eq!(report.delivered.unwrap().body.len(), 240_000);
        client.quit().await.unwrap();
        let seen = notes.ended().await;
        assert_eq!(seen.iter().filter(|note| *note == "body").count(), 1);
        server.drain().await;
    }
}

fn refusing(refused: &'static [&'static str]) -> (Probe, Notes) {
    Probe::new(Needs::everything(), move |_, event| match event {
        Event::Rcpt(recipient) if refused.iter().any(|bad| recipient.address == *bad) => {
            Act::Say(Verdict::reject("5.1.1", "nobody"))
        }
        _ => go(),
    })
}

#[tokio::test]
async fn refused_recipients_get_no_message() {
    for profile in PROFILES {
        let report = sent(profile, refusing(&["<1@example.com>"]), &mail()).await;
        assert_eq!((report.verdict, report.stage), (Verdict::Continue, Stage::EndOfMessage));
        let recipients = report.delivered.unwrap().recipients;
        assert_eq!(recipients.iter().map(|path| &path.address[..]).collect::<Vec<_>>(), [b"2@example.com"]);

        let report = sent(profile, refusing(&["<1@example.com>", "<2@example.com>"]), &mail()).await;
        assert_eq!((report.verdict, report.stage), (Verdict::reject("5.1.1", "nobody"), Stage::Rcpt));
        assert_eq!(report.delivered, None);
    }
}

#[tokio::test]
async fn edits_make_the_message_that_would_be_delivered() {
    for profile in PROFILES {
        let needs = Needs::everything().require(Actions::CURRENT & !Actions::MACRO_LISTS);
        let filter = Probe::new(needs, |cx, event| {
            if matches!(event, Event::EndOfMessage) {
                cx.quarantine("suspicious").unwrap();
                cx.change_sender("<new@example.com>", None).unwrap();
                cx.delete_recipient("<1@example.com>").unwrap();
                cx.add_recipient("<3@example.com>").unwrap();
                cx.add_recipient_with_args("<4@example.com>", "NOTIFY=NEVER").unwrap();
                cx.delete_header(1, "To").unwrap();
                cx.change_header(1, "Subject", "changed").unwrap();
                cx.insert_header(0, "X-Top", "top").unwrap();
                cx.add_header("X-End", "one\r\n two").unwrap();
                cx.replace_body("new\r\n").unwrap();
                cx.replace_body("body\r\n").unwrap();
            }
            go()
        });
        let report = sent(profile, filter, &mail()).await;
        assert!(report.refused.is_empty(), "{:?}", report.refused);
        assert!(report.edits.len() >= 10);
        let message = report.delivered.unwrap();
        assert_eq!(message.sender.address, "new@example.com");
        let recipients: Vec<_> = message.recipients.iter().map(|path| &path.address[..]).collect();
        assert_eq!(recipients, [&b"2@example.com"[..], b"3@example.com", b"4@example.com"]);
        assert_eq!(message.recipients[2].arg("notify"), Some(&b"NEVER"[..]));
        let received = report.original.headers[0].clone();
        let fields = [
            Field::new("X-Top", " top"),
            received,
            Field::new("Subject", " changed"),
            Field::new("X-End", " one\n two"),
        ];
        assert_eq!(message.headers, fields, "{profile:?}");
        assert_eq!(message.body.to_vec(), b"new\r\nbody\r\n");
        assert_eq!(message.quarantine, Some(Bytes::from("suspicious")));
    }
}

#[tokio::test]
async fn edits_with_a_verdict_that_stops_deliver_nothing() {
    let filter = Probe::new(Needs::everything(), |_, event| match event {
        Event::EndOfMessage => Act::Say(Verdict::Discard),
        _ => go(),
    });
    let report = sent(Profile::Postfix, filter, &mail()).await;
    assert_eq!((report.verdict, report.delivered), (Verdict::Discard, None));
}

type Values = Arc<Mutex<Vec<(Stage, Option<Vec<u8>>)>>>;

#[tokio::test]
async fn macros_are_those_that_the_filter_lists() {
    for profile in PROFILES {
        let values = Values::default();
        let seen = values.clone();
        let needs =
            Needs::everything().macros(MacroStage::Mail, ["auth_authen"]).macros(MacroStage::Rcpt, ["i"]);
        let filter = Probe::new(needs, move |cx, event| {
            if let Some(stage @ (Stage::Mail | Stage::Rcpt)) = event.stage() {
                let mut seen = seen.lock().unwrap();
                for name in ["{auth_authen}", "{mail_addr}", "{rcpt_addr}"] {
                    seen.push((stage, cx.macro_value(name).map(<[u8]>::to_vec)));
                }
            }
            go()
        });
        let mut mail = Mail::new("from@example.com", ["1@example.com"], MESSAGE);
        mail.macros.push(Macro { stage: None, name: "auth_authen".into(), value: "me".into() });
        let report = sent(profile, filter, &mail).await;
        assert_eq!(report.agreement.macros.get(MacroStage::Mail), Some(&["{auth_authen}".to_owned()][..]));
        let me = Some(b"me".to_vec());
        let (mail, rcpt) = (Stage::Mail, Stage::Rcpt);
        let expected =
            [(mail, me.clone()), (mail, None), (mail, None), (rcpt, me), (rcpt, None), (rcpt, None)];
        assert_eq!(*values.lock().unwrap(), expected, "{profile:?}");
    }
}

#[tokio::test]
async fn several_mails_go_over_one_connection() {
    for profile in PROFILES {
        let (probe, mut notes) = Probe::new(Needs::everything(), |_, event| match event {
            Event::Mail(sender) if sender.address == "<bad@example.com>" => Act::Say(Verdict::Reject),
            _ => go(),
        });
        let server = serve_probe(patient(), &probe);
        let mut client = client(&server, profile).await;
        let bad = Mail::new("bad@example.com", ["1@example.com"], MESSAGE);
        for _ in 0..3 {
            assert_eq!(client.send(&mail()).await.unwrap().verdict, Verdict::Continue);
            let report = client.send(&bad).await.unwrap();
            assert_eq!((report.verdict, report.stage), (Verdict::Reject, Stage::Mail));
        }
        client.quit().await.unwrap();
        let seen = notes.ended().await;
        assert_eq!(seen.iter().filter(|note| *note == "connect").count(), 1);
        assert_eq!(seen.iter().filter(|note| *note == "mail").count(), 6);
        assert_eq!(server.counters.messages(), 6);
        server.drain().await;
    }
}

#[tokio::test]
async fn filter_that_accepts_the_connection_sits_out() {
    let (probe, _notes) = Probe::new(Needs::everything(), |_, event| match event {
        Event::Connect(_) => Act::Say(Verdict::Accept),
        _ => panic!("asked again"),
    });
    let server = serve_probe(patient(), &probe);
    let mut client = client(&server, Profile::Postfix).await;
    let report = client.send(&mail()).await.unwrap();
    assert_eq!((report.verdict, report.stage), (Verdict::Accept, Stage::Connect));
    assert!(client.sits_out());
    client.quit().await.unwrap();
    server.drain().await;
}

#[tokio::test]
async fn step_out_of_order_changes_nothing() {
    let (probe, _notes) = Probe::quiet();
    let server = serve_probe(patient(), &probe);
    let mut client = client(&server, Profile::Postfix).await;
    let error = client.step(&Command::<Bytes>::Data, None).await.unwrap_err();
    assert!(matches!(error, ClientError::Misuse(Misuse::OutOfOrder(_))), "{error}");
    client.step(&Command::Connect(Connect::unknown("h")), None).await.unwrap();
    let sender = Envelope::with_args(b"<a@b>", [b"SIZE=1"]);
    let answer = client.step(&Command::Mail(sender), None).await.unwrap();
    assert_eq!(answer.outcome, Outcome::Verdict(Verdict::Continue));
    client.quit().await.unwrap();
    server.drain().await;
}

#[tokio::test]
async fn mail_after_a_refused_client_is_refused_without_asking() {
    for profile in PROFILES {
        let (probe, _notes) = Probe::new(Needs::everything(), |_, event| match event {
            Event::Helo(_) => Act::Say(Verdict::Tempfail),
            _ => go(),
        });
        let server = serve_probe(patient(), &probe);
        let mut client = client(&server, profile).await;
        for asked in [2, 0] {
            let report = client.send(&mail()).await.unwrap();
            assert_eq!((report.verdict, report.stage), (Verdict::Tempfail, Stage::Helo));
            assert_eq!((report.steps.len(), report.delivered), (asked, None));
        }
        server.drain().await;
    }
}

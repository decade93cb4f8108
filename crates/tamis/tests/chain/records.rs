//! What is written down of a message.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tamis::chain::{Chain, Condition, FilterRecord, Member, Observer, OnFailure, Parties, Record};
use tamis::proto::{Offer, See};
use tamis::testing::Mta;
use tamis::{Actions, Event, Filter, Needs, Stage, Verdict};

use crate::common::{Act, Captured, Probe};
use crate::support::{BOTH, mail, play, quiet, says};

#[test]
fn an_observer_is_told_what_each_filter_did_about_each_message() {
    for mode in BOTH {
        let records = Arc::new(Mutex::new(Vec::<Record>::new()));
        let notes = records.clone();
        let needs = Needs::everything().require(Actions::ADD_HEADERS | Actions::REPLACE_BODY);
        let (edits, _) = Probe::new(needs.clone(), |cx, event| {
            if matches!(event, Event::EndOfMessage) {
                cx.add_header("X-A", "1").unwrap();
                cx.replace_body("new\r\n").unwrap();
            }
            Act::SayNow(Verdict::Continue)
        });
        let (fails, _) = Probe::new(Needs::everything(), |_, event| {
            if event.stage() == Some(Stage::Data) {
                Act::FailNow("broken")
            } else {
                Act::SayNow(Verdict::Continue)
            }
        });
        let (accepts, _) = Probe::new(Needs::everything(), |_, event| {
            Act::Say(if event.stage() == Some(Stage::Rcpt) { Verdict::Accept } else { Verdict::Continue })
        });
        let (tried, _) = Probe::new(needs, |cx, event| {
            if matches!(event, Event::EndOfMessage) {
                cx.add_header("X-Tried", "1").unwrap();
                return Act::SayNow(Verdict::Reject);
            }
            Act::SayNow(Verdict::Continue)
        });
        let chain = mode
            .chain()
            .add("edits", edits)
            .member(Member::new("fails", fails).on_failure(OnFailure::Accept))
            .add("accepts", accepts)
            .member(Member::new("tried", tried).dry_run())
            .member(Member::new("absent", quiet().0).condition(Condition::authenticated()))
            .observer(Arc::new(move |record: &Record| notes.lock().unwrap().push(record.clone())));
        let mta = mail(Mta::sendmail()).from("<x@example.net>").to("<b@example.org>").reset();
        play(&mta, chain);
        let records = records.lock().unwrap().clone();
        assert_eq!(records.len(), 2);
        let record = &records[0];
        assert_eq!(record.verdict, Some((Stage::EndOfMessage, Verdict::Continue)));
        assert!(record.queue_id.is_some());
        let names: Vec<&str> = record.filters.iter().map(|filter| &*filter.name).collect();
        assert_eq!(names, ["edits", "fails", "accepts", "tried", "absent"]);
        let [edits, fails, accepts, tried, absent] = &record.filters[..] else { unreachable!() };
        assert_eq!((edits.edits.len(), edits.new_body, &edits.verdict), (1, true, &None));
        assert_eq!(edits.calls, 9);
        assert!(edits.time > Duration::ZERO && edits.slowest.is_some());
        assert_eq!(fails.failure, Some(("data", "broken".to_owned())));
        assert_eq!(accepts.verdict, Some((Stage::Rcpt, Verdict::Accept)));
        assert_eq!((tried.dry_run, tried.edits.len()), (true, 1));
        assert_eq!(tried.verdict, Some((Stage::EndOfMessage, Verdict::Reject)));
        assert_eq!((absent.calls, &absent.verdict), (0, &None));
        assert_eq!(records[1].verdict, None, "it was given up");
        let calls = |filter: &FilterRecord| filter.calls;
        assert_eq!(records[1].filters.iter().map(calls).collect::<Vec<_>>(), [2, 2, 2, 2, 0]);
    }
}

#[test]
fn each_message_is_logged_in_one_line() {
    for mode in BOTH {
        let log = Captured::new("info");
        let refuses = Probe::new(Needs::everything(), |_, event| {
            Act::SayNow(if event.stage() == Some(Stage::Data) {
                Verdict::reject("5.7.1", "never")
            } else {
                Verdict::Continue
            })
        });
        play(&mail(Mta::sendmail()), mode.chain().add("quiet", quiet().0).add("refuses", refuses.0));
        let lines = log.text();
        let lines: Vec<_> = lines.lines().filter(|line| line.contains("tamis::chain::record")).collect();
        assert_eq!(lines.len(), 1, "{lines:?}");
        for part in [
            "verdict=\"550 5.7.1 never\"",
            "stage=\"data\"",
            r#"[{"name":"quiet","verdict":"continue","calls":4,"us":"#,
            r#"{"name":"refuses","verdict":"550 5.7.1 never","stage":"data","calls":4,"us":"#,
        ] {
            assert!(lines[0].contains(part), "{part} in {}", lines[0]);
        }
    }
}

/// Keeps what it is told: of messages, and of refused clients.
#[derive(Default)]
struct Both {
    messages: Mutex<Vec<Record>>,
    clients: Mutex<Vec<Record>>,
}

impl Observer for Both {
    fn message(&self, record: &Record) {
        self.messages.lock().unwrap().push(record.clone());
    }

    fn refused_client(&self, record: &Record) {
        self.clients.lock().unwrap().push(record.clone());
    }
}

/// Plays a session to a chain with an observer; what that is told.
fn observed(mta: &Mta, chain: Chain) -> (Vec<Record>, Vec<Record>) {
    let both = Arc::new(Both::default());
    play(mta, chain.observer(both.clone()));
    let messages = std::mem::take(&mut *both.messages.lock().unwrap());
    (messages, std::mem::take(&mut *both.clients.lock().unwrap()))
}

fn client(parties: &Parties) -> (Option<&[u8]>, Option<String>, Option<&[u8]>) {
    let address = parties.client_addr.map(|address| address.to_string());
    (parties.client_name.as_deref(), address, parties.helo.as_deref())
}

#[test]
fn an_observer_is_told_who_sends_each_message_to_whom() {
    for mode in BOTH {
        // One that needs nothing of the envelope, and one that refuses a recipient.
        let (idle, _) =
            Probe::new(Needs::new().answer([Stage::EndOfMessage]), |_, _| Act::SayNow(Verdict::Continue));
        let (refuses, _) = Probe::new(Needs::new().answer([Stage::Rcpt]), |_, event| {
            Act::Say(match event {
                Event::Rcpt(to) if &*to.address == b"<c@example.org>" => Verdict::Reject,
                _ => Verdict::Continue,
            })
        });
        let mta = Mta::postfix().client("mail.example.com", "[::ffff:192.0.2.7]:4321".parse().unwrap());
        let mta = mail(mta.helo("helo.example").macro_value("{auth_authen}", "joe"));
        let mta = mta.from("<>").to("<d@example.org>").message("Subject: second\n\nHi!\n");
        let (messages, clients) = observed(&mta, mode.chain().add("idle", idle).add("refuses", refuses));
        assert_eq!((messages.len(), clients.len()), (2, 0));
        for message in &messages {
            assert!(message.began.is_some());
            let expected = (&b"mail.example.com"[..], "192.0.2.7".to_owned(), &b"helo.example"[..]);
            assert_eq!(client(&message.parties), (Some(expected.0), Some(expected.1), Some(expected.2)));
        }
        let recipients = |record: &Record| {
            let all = record.parties.recipients.iter();
            all.map(|to| (to.address.clone(), to.refused)).collect::<Vec<_>>()
        };
        let [first, second] = &messages[..] else { unreachable!() };
        assert_eq!(first.parties.sender.as_deref(), Some(&b"<a@example.net>"[..]));
        assert_eq!(recipients(first), [("<b@example.org>".into(), false), ("<c@example.org>".into(), true)]);
        assert_eq!(second.parties.sender.as_deref(), Some(&b"<>"[..]));
        assert_eq!(recipients(second), [("<d@example.org>".into(), false)]);
        assert_eq!(second.parties.auth_user.as_deref(), Some(&b"joe"[..]));
    }
}

#[test]
fn who_sends_to_whom_has_bounds_whatever_the_client_says() {
    let long = format!("<{}@example.org>", "x".repeat(2_000));
    let mta = Mta::sendmail().helo(&long).from(&long);
    let mta = (0..Parties::MAX_RECIPIENTS + 7).fold(mta, |mta, _| mta.to(&long));
    let (messages, _) =
        observed(&mta.message("Subject: hello\n\nHi!\n"), BOTH[0].chain().add("quiet", quiet().0));
    let parties = &messages[0].parties;
    assert_eq!((parties.recipients.len(), parties.more_recipients), (Parties::MAX_RECIPIENTS, 7));
    let texts = parties.recipients.iter().map(|to| &to.address).chain(&parties.sender).chain(&parties.helo);
    let lengths: Vec<_> = texts.map(bytes::Bytes::len).collect();
    assert_eq!(lengths, [Parties::MAX_TEXT; Parties::MAX_RECIPIENTS + 2]);
}

#[test]
fn a_client_that_is_refused_before_it_has_a_message_is_told_once() {
    for mode in BOTH {
        for stage in [Stage::Connect, Stage::Helo] {
            let refusal = Verdict::reject("5.7.1", "go away");
            let (refuses, _) = says(stage, refusal.clone());
            let mta = Mta::sendmail().client("mail.example.com", "192.0.2.7:4321".parse().unwrap());
            let mta = mta.helo("helo.example").lenient();
            let (messages, clients) =
                observed(&mta, mode.chain().add("quiet", quiet().0).add("refuses", refuses));
            assert_eq!((messages.len(), clients.len()), (0, 1), "{stage}");
            let record = &clients[0];
            assert_eq!(record.verdict, Some((stage, refusal.clone())));
            assert_eq!(record.filters[1].verdict, Some((stage, refusal)));
            assert_eq!(record.parties.client_name.as_deref(), Some(&b"mail.example.com"[..]));
            assert_eq!(record.parties.helo.is_some(), stage == Stage::Helo);
            assert!(record.began.is_some() && record.queue_id.is_none());
        }
    }
}

#[tokio::test]
async fn the_envelope_is_asked_for_where_an_observer_is() {
    let needs = Needs::new().answer([Stage::EndOfMessage]);
    let offer = Offer::of_version(6);
    for (observed, sees) in [(false, See::Nothing), (true, See::Watch)] {
        let (idle, _) = Probe::new(needs.clone(), |_, _| Act::SayNow(Verdict::Continue));
        let chain = Chain::pipeline().add("idle", idle);
        let mut chain = if observed { chain.observer(Arc::new(|_: &Record| {})) } else { chain };
        let needs = chain.negotiate(&offer).await.unwrap();
        for stage in [Stage::Connect, Stage::Helo, Stage::Mail, Stage::Rcpt] {
            assert_eq!(needs.sees(stage), sees, "{stage}");
        }
    }
}

//! What is written down of a message.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tamis::chain::{Condition, FilterRecord, Member, OnFailure, Record};
use tamis::testing::Mta;
use tamis::{Actions, Event, Needs, Stage, Verdict};

use crate::common::{Act, Captured, Probe};
use crate::support::{BOTH, mail, play, quiet};

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

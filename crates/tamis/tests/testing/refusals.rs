//! What an MTA refuses: modifications before the end of message (T3, A12) and macros that nobody asked for (T3).

use std::sync::{Arc, Mutex};

use tamis::proto::Misuse;
use tamis::testing::{Mta, MtaConfig, Profile, RunError};
use tamis::{Actions, Event, IfMissing, MacroStage, Needs, Offer, Stage, Verdict};

use crate::MESSAGE;
use crate::filter::{GO, does, edits};

#[test]
fn modification_before_there_is_a_message_is_an_error_at_the_call() {
    let needs = Needs::everything().require(Actions::ADD_HEADERS);
    for at in [Stage::Connect, Stage::Helo] {
        let filter = does(needs.clone(), move |cx, event| {
            if event.stage() == Some(at) {
                assert_eq!(cx.add_header("X-Early", "yes"), Err(Misuse::NotAtEndOfMessage));
            }
            GO
        });
        let report = Mta::postfix().message(MESSAGE).run_blocking(|_| filter).unwrap();
        assert!(report.failures().is_empty() && report.edits().is_empty(), "{report}");
    }
}

#[test]
fn modification_that_was_not_declared_is_an_error_at_the_call() {
    let filter = does(Needs::everything().require(Actions::ADD_HEADERS), |cx, event| {
        if *event == Event::EndOfMessage {
            let refused = cx.replace_body("new");
            assert_eq!(refused, Err(Misuse::DisabledAction(Actions::REPLACE_BODY)));
        }
        GO
    });
    let report = Mta::postfix().message(MESSAGE).run_blocking(|_| filter).unwrap();
    assert!(report.failures().is_empty() && report.edits().is_empty(), "{report}");
}

#[test]
fn macros_are_shown_only_where_they_are_asked_for() {
    let values = Arc::new(Mutex::new(Vec::new()));
    for mta in Mta::both() {
        for (needs, expected) in [
            (Needs::everything(), [Some("alice"), None]),
            (Needs::everything().macros(MacroStage::Mail, ["x_custom"]), [None, Some("1")]),
        ] {
            let notes = values.clone();
            let filter = does(needs, move |cx, event| {
                if event.stage() == Some(Stage::Mail) {
                    let value =
                        |name| cx.macro_value(name).map(|value| String::from_utf8(value.to_vec()).unwrap());
                    *notes.lock().unwrap() = vec![value("auth_authen"), value("{x_custom}")];
                }
                GO
            });
            let mta = mta.clone().macro_value("auth_authen", "alice").macro_value("x_custom", "1");
            let report = mta.message(MESSAGE).run_blocking(|_| filter).unwrap();
            assert_eq!(*values.lock().unwrap(), expected.map(|value| value.map(str::to_owned)));
            let missing: Vec<_> =
                report.macros_not_asked_for().iter().map(|missing| &missing.name[..]).collect();
            let expected = if expected[0].is_none() { "{auth_authen}" } else { "{x_custom}" };
            assert_eq!(missing, [expected]);
            assert_eq!(report.macros_not_asked_for()[0].stage, Some(Stage::Mail));
        }
    }
}

#[test]
fn macro_without_a_value_is_not_one_that_nobody_asked_for() {
    let needs = Needs::everything().macros(MacroStage::Connect, ["client_ptr"]);
    let filter = does(needs, |cx, event| {
        if event.stage() == Some(Stage::Rcpt) {
            assert_eq!(cx.macro_value("client_ptr"), Some(&b"unknown"[..]));
            assert_eq!(cx.macro_value("auth_type"), None);
            assert_eq!(cx.macro_value("{tls_version}"), None);
        }
        GO
    });
    let report = Mta::postfix().message(MESSAGE).run_blocking(|_| filter).unwrap();
    assert_eq!(report.macros_not_asked_for(), []);
}

#[test]
fn macro_that_the_administrator_added_comes_unless_the_filter_has_a_list() {
    for (list, expected) in [(None, true), (Some("i"), false)] {
        let found = Arc::new(Mutex::new(false));
        let note = found.clone();
        let mut needs = Needs::everything();
        if let Some(name) = list {
            needs = needs.macros(MacroStage::Rcpt, [name]);
        }
        let filter = does(needs, move |cx, event| {
            if event.stage() == Some(Stage::Rcpt) {
                *note.lock().unwrap() = cx.macro_value("x_site").is_some();
            }
            GO
        });
        let mta =
            Mta::postfix().sends_macro(Stage::Rcpt, "x_site").macro_value("x_site", "1").message(MESSAGE);
        mta.run_blocking(|_| filter).unwrap();
        assert_eq!(*found.lock().unwrap(), expected);
    }
}

#[test]
fn filter_that_needs_what_the_mta_does_not_offer_is_told_so() {
    let offer = Offer { actions: Actions::ADD_HEADERS, ..Offer::CURRENT };
    let mta = Mta::new(MtaConfig::new(Profile::Postfix).with_offer(offer)).message(MESSAGE);
    let filter = || edits(|cx| cx.replace_body("new"));
    let error = mta.run_blocking(|_| filter()).unwrap_err();
    let RunError::Lost { why, .. } = &error else { panic!("{error}") };
    assert!(why.starts_with("negotiation failed: "), "{why}");
    let report = mta.clone().lenient().run_blocking(|_| filter()).unwrap();
    assert_eq!((report.verdict(), report.agreement()), (&Verdict::Tempfail, None));
    assert_eq!(report.reply(), "451 4.7.1 Service unavailable - try again later");

    let refuses = does(filter().needs.if_missing(IfMissing::TempfailMail), |_, _| GO);
    let report = mta.run_blocking(|_| refuses).unwrap();
    assert_eq!(report.stage(), Stage::Mail);
    assert!(report.verdict().stops());
}

#[test]
fn modification_asked_for_early_is_sent_at_end_of_message() {
    let needs = Needs::everything().require(Actions::ADD_HEADERS);
    for mta in Mta::both() {
        let filter = does(needs.clone(), |cx, event| {
            if event.stage() == Some(Stage::Rcpt) {
                cx.add_header("X-Early", "yes").unwrap();
            }
            GO
        });
        // An MTA that is strict ends the session at a modification that comes early.
        let report = mta.message(MESSAGE).run_blocking(|_| filter).unwrap();
        assert_eq!(report.edits().len(), 1);
        assert_eq!(report.message().unwrap().header("x-early").as_deref(), Some("yes"));
    }
}

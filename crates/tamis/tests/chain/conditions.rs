//! Filters that are asked about some messages only, and filters that are tried out.

use tamis::chain::{Chain, Condition, Member, OnFailure};
use tamis::proto::Steps;
use tamis::testing::{Mta, Report};
use tamis::{Actions, Event, MacroStage, Needs, Stage, Verdict};

use crate::common::{Act, Notes, Probe};
use crate::support::{ALL, BOTH, Mode, events, mail, play, quiet, says};

/// Plays a session to a chain of a filter with a condition and one without.
fn run(mode: Mode, mta: &Mta, probe: Probe, condition: Condition) -> Report {
    let chain =
        mode.chain().member(Member::new("conditional", probe).condition(condition)).add("other", quiet().0);
    let report = play(mta, chain);
    assert!(report.failures().is_empty(), "{report}");
    report
}

fn is_asked(mta: &Mta, condition: &Condition) -> bool {
    let asked = BOTH.map(|mode| {
        let (probe, mut notes) = quiet();
        let report = run(mode, mta, probe, condition.clone());
        assert!(report.message().is_some(), "{report}");
        let seen = events(&mut notes);
        // All of it in order, or nothing.
        assert!(seen == ALL || seen == ["close"], "{condition:?} {seen:?}");
        seen == ALL
    });
    assert_eq!(asked[0], asked[1]);
    asked[0]
}

#[test]
fn a_filter_is_asked_about_messages_that_meet_its_condition_and_sees_nothing_of_others() {
    let mta = || mail(Mta::postfix().client_address("192.0.2.7:4000".parse().unwrap()));
    let net = |network: &str| Condition::client_in([network.parse().unwrap()]);
    assert!(is_asked(&mta(), &net("192.0.2.0/24")));
    assert!(!is_asked(&mta(), &net("198.51.100.0/24")));
    assert!(!is_asked(&mail(Mta::postfix().unknown_client()), &net("0.0.0.0/0")));
    let mapped = mail(Mta::postfix().client_address("[::ffff:192.0.2.7]:4000".parse().unwrap()));
    assert!(is_asked(&mapped, &net("192.0.2.0/24")));

    assert!(!is_asked(&mta(), &Condition::authenticated()));
    let logged_in = mail(Mta::postfix().macro_value("auth_authen", "joe").macro_value("auth_type", "PLAIN"));
    assert!(is_asked(&logged_in, &Condition::authenticated()));
    assert!(!is_asked(&mta(), &Condition::tls()));
    assert!(!is_asked(&mta(), &Condition::daemon("submission")));
    let submission = mail(Mta::postfix().macro_value("daemon_name", "submission"));
    assert!(is_asked(&submission, &Condition::daemon("submission")));

    assert!(is_asked(&mta(), &Condition::sender_domain("EXAMPLE.net")));
    assert!(!is_asked(&mta(), &Condition::sender_domain("example.org")));
    assert!(is_asked(&mta(), &Condition::recipient_domain("example.org")));
    assert!(!is_asked(&mta(), &Condition::recipient_domain("example.com")));
    assert!(is_asked(&mta(), &!Condition::recipient_domain("example.com")));
}

#[test]
fn conditions_are_combined_and_decided_as_soon_as_they_can_be() {
    let mta = mail(Mta::postfix());
    let (yes, no) = (|| Condition::sender_domain("example.net"), || Condition::sender_domain("example.com"));
    let late = || Condition::recipient_domain("example.org");
    assert!(is_asked(&mta, &(yes() | no())) && !is_asked(&mta, &(yes() & no())));
    assert!(is_asked(&mta, &(yes() & late())) && !is_asked(&mta, &(no() & late())));
    assert!(is_asked(&mta, &Condition::all([])) && !is_asked(&mta, &Condition::any([])));
    let two = Condition::when(Stage::Data, |seen| seen.envelope().recipients().count() == 2);
    assert!(is_asked(&mta, &two) && !is_asked(&mta, &!two.clone()));
}

#[test]
fn what_was_held_back_is_shown_when_the_condition_is_decided_and_answered_there() {
    for mode in BOTH {
        for (refused, condition, told) in [
            (Stage::Connect, Condition::sender_domain("example.net"), Stage::Mail),
            (Stage::Helo, Condition::sender_domain("example.net"), Stage::Mail),
            (Stage::Mail, Condition::recipient_domain("example.org"), Stage::Rcpt),
            (Stage::Connect, Condition::recipient_domain("example.org"), Stage::Rcpt),
            (Stage::Mail, !Condition::recipient_domain("example.com"), Stage::Data),
            (Stage::Rcpt, !Condition::recipient_domain("example.com"), Stage::Data),
        ] {
            let verdict = Verdict::reject("5.7.1", "never");
            let (probe, mut notes) = says(refused, verdict.clone());
            let chain = mode.chain().member(Member::new("conditional", probe).condition(condition.clone()));
            let report = play(&mail(Mta::postfix()), chain);
            assert_eq!(report.verdict_at(told), Some(&verdict), "{condition:?} {report}");
            assert!(report.message().is_none(), "{condition:?} {report}");
            let seen = events(&mut notes);
            let at = seen.iter().position(|event| event == refused.name()).unwrap();
            // Who refused a recipient has not said its last word on the message.
            let rest: &[&str] = if refused == Stage::Rcpt { &["abort", "close"] } else { &["close"] };
            assert_eq!(seen[at + 1..], *rest, "{condition:?} {seen:?}");
        }
    }
}

#[test]
fn a_refused_client_is_refused_for_the_messages_that_meet_the_condition() {
    for mode in BOTH {
        let verdict = Verdict::reject("5.7.1", "never");
        let (probe, mut notes) = says(Stage::Connect, verdict.clone());
        let mta = mail(Mta::postfix()).from("<x@example.com>").message("A: b\n\n");
        let mta = mail(mta);
        let report = run(mode, &mta, probe, Condition::sender_domain("example.net"));
        let refused = report.messages().iter().map(|message| message.message().is_none()).collect::<Vec<_>>();
        assert_eq!(refused, [true, false, true], "{report}");
        assert_eq!(events(&mut notes), ["connect", "close"]);
    }
}

#[test]
fn each_message_is_a_case_of_its_own() {
    for mode in BOTH {
        let (probe, mut notes) = quiet();
        let mta = Mta::postfix().from("<x@example.com>").message("A: b\n\n");
        let mta = mail(mail(mta)).from("<x@example.com>").message("A: b\n\n");
        run(mode, &mta, probe, Condition::sender_domain("example.net"));
        let mut expected = ALL[..11].to_vec();
        expected.extend(&ALL[2..]);
        assert_eq!(events(&mut notes), expected);
    }
}

#[test]
fn a_filter_behind_one_that_accepted_or_failed_can_depend_on_that() {
    for mode in BOTH {
        for (verdict, condition, asked) in [
            (Act::SayNow(Verdict::Accept), Condition::accepted_by("first"), true),
            (Act::SayNow(Verdict::Continue), Condition::accepted_by("first"), false),
            (Act::SayNow(Verdict::Accept), !Condition::accepted_by("first"), false),
            (Act::FailNow("broken"), Condition::failed("first"), true),
            (Act::SayNow(Verdict::Accept), Condition::failed("first"), false),
        ] {
            let (first, _) = Probe::new(Needs::everything(), move |_, event| {
                if matches!(event, Event::Mail(_)) { verdict.clone() } else { Act::SayNow(Verdict::Continue) }
            });
            let (probe, mut notes) = quiet();
            let chain = mode
                .chain()
                .member(Member::new("first", first).on_failure(OnFailure::Accept))
                .member(Member::new("second", probe).condition(condition.clone()));
            let report = play(&mail(Mta::postfix()), chain);
            assert!(report.message().is_some());
            assert_eq!(events(&mut notes) == ALL, asked, "{mode:?} {condition:?}");
        }
    }
}

#[test]
fn handlers_that_need_time_are_shown_what_was_held_back_in_order() {
    for mode in BOTH {
        let (probe, mut notes) = Probe::new(Needs::everything(), |cx, event| {
            assert_eq!(cx.stage(), event.stage());
            Act::Say(Verdict::Continue)
        });
        let report = run(mode, &mail(Mta::postfix()), probe, !Condition::recipient_domain("example.com"));
        assert!(report.message().is_some());
        assert_eq!(events(&mut notes), ALL);
    }
}

#[test]
fn macros_that_a_condition_looks_at_are_asked_for() {
    for mode in BOTH {
        let (probe, _) = quiet();
        let report = run(mode, &mail(Mta::postfix()), probe, Condition::authenticated() | Condition::tls());
        let lists = &report.agreement().unwrap().macros;
        assert!(lists.get(MacroStage::Mail).unwrap().contains(&"{auth_type}".to_owned()));
        assert!(lists.get(MacroStage::Mail).unwrap().contains(&"{mail_addr}".to_owned()), "as by default");
        assert!(lists.get(MacroStage::Helo).unwrap().contains(&"{tls_version}".to_owned()));
    }
}

fn tried(act: impl Fn(&Event) -> Act + Send + Sync + 'static) -> (Probe, Notes) {
    let needs =
        Needs::everything().require(Actions::ADD_HEADERS | Actions::REPLACE_BODY | Actions::ADD_RECIPIENTS);
    Probe::new(needs, move |cx, event| {
        if matches!(event, Event::EndOfMessage) {
            cx.add_header("X-Tried", "1").unwrap();
            cx.add_recipient("<tried@example.com>").unwrap();
            cx.replace_body("tried\r\n").unwrap();
        }
        act(event)
    })
}

#[test]
fn a_filter_that_is_tried_out_sees_all_and_changes_nothing() {
    for mode in BOTH {
        let (probe, mut notes) = tried(|_| Act::SayNow(Verdict::Continue));
        let (behind, mut seen_behind) = quiet();
        let chain: Chain = mode.chain().member(Member::new("tried", probe).dry_run()).add("behind", behind);
        let report = play(&mail(Mta::postfix()), chain);
        assert!(report.edits().is_empty() && report.failures().is_empty(), "{report}");
        assert_eq!(report.message().unwrap().body(), b"Hi!\r\n");
        assert_eq!(events(&mut notes), ALL);
        assert_eq!(events(&mut seen_behind), ALL);
    }
}

#[test]
fn what_a_filter_that_is_tried_out_says_is_not_told_to_the_mta() {
    for mode in BOTH {
        for verdict in [Verdict::Reject, Verdict::Tempfail, Verdict::Discard, Verdict::Accept] {
            for stage in [Stage::Connect, Stage::Mail, Stage::Rcpt, Stage::Body, Stage::EndOfMessage] {
                let said = verdict.clone();
                let (probe, _) = tried(move |event| {
                    Act::SayNow(if event.stage() == Some(stage) { said.clone() } else { Verdict::Continue })
                });
                let chain =
                    mode.chain().member(Member::new("tried", probe).dry_run()).add("other", quiet().0);
                let report = play(&mail(Mta::postfix()), chain);
                assert!(report.message().is_some(), "{verdict} at {stage} {report}");
                assert_eq!(report.message().unwrap().recipients().len(), 2);
            }
        }
        for act in [Act::FailNow("broken"), Act::PanicNow("boom"), Act::PanicLater("boom"), Act::Hang] {
            let (probe, _) = tried(move |event| {
                if event.stage() == Some(Stage::Mail) { act.clone() } else { Act::SayNow(Verdict::Continue) }
            });
            let chain = mode.chain().member(Member::new("tried", probe).dry_run()).add("other", quiet().0);
            let report = play(&mail(Mta::postfix()), chain);
            assert!(report.message().is_some(), "{report}");
        }
    }
}

#[test]
fn an_mta_is_not_made_to_wait_for_a_filter_that_is_tried_out_alone() {
    for mode in BOTH {
        let (probe, _) = tried(|_| Act::SayNow(Verdict::Continue));
        let report = play(&mail(Mta::postfix()), mode.chain().member(Member::new("tried", probe).dry_run()));
        let steps = report.agreement().unwrap().steps;
        assert!(steps.contains(Steps::NO_REPLIES), "{report}");
    }
}

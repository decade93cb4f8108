//! Verdicts, skip and replies (R1–R7, R9, N9, appendix C "exactly one verdict").

use super::*;
use crate::reply::SmtpReply;

const LETTERS: [(Stage, &str); 10] = [
    (Stage::Connect, "C"),
    (Stage::Helo, "CH"),
    (Stage::Mail, "CHM"),
    (Stage::Rcpt, "CHMR"),
    (Stage::Data, "CHMRT"),
    (Stage::Header, "CHMRTL"),
    (Stage::EndOfHeaders, "CHMRTLN"),
    (Stage::Body, "CHMRTLNB"),
    (Stage::EndOfMessage, "CHMRTLNBE"),
    (Stage::Unknown, "CHU"),
];

fn verdicts() -> [(Verdict, char); 7] {
    [
        (Verdict::Continue, 'c'),
        (Verdict::Accept, 'a'),
        (Verdict::Reject, 'r'),
        (Verdict::Tempfail, 't'),
        (Verdict::Discard, 'd'),
        (Verdict::Skip, 's'),
        (Verdict::reject("5.7.1", "no"), 'y'),
    ]
}

#[test]
fn every_verdict_at_every_stage_is_sent_mended_or_refused() {
    for (stage, way) in LETTERS {
        for (verdict, letter) in verdicts() {
            let mut filter = Filter::everything();
            filter.reach(way);
            let misleads = match verdict {
                Verdict::Discard => matches!(stage, Stage::Connect | Stage::Helo | Stage::Unknown),
                Verdict::Accept => stage == Stage::Unknown,
                _ => false,
            };
            let said = filter.session.respond(verdict.clone());
            if verdict == Verdict::Skip && stage != Stage::Body {
                assert_eq!(said, Err(Misuse::NotAtThisStage { verdict: "skip", stage }));
                assert_eq!(filter.letters(), "");
                assert_eq!(filter.session.waits_for(), Some(stage), "the event still waits");
            } else if misleads {
                assert_eq!(said, Ok(Sent::ContinueInstead), "{verdict} at {stage}");
                assert_eq!(filter.letters(), "c");
            } else {
                assert_eq!(said, Ok(Sent::Given), "{verdict} at {stage}");
                assert_eq!(filter.letters(), letter.to_string());
            }
        }
    }
}

#[test]
fn one_event_has_one_verdict() {
    let mut filter = Filter::everything();
    assert_eq!(filter.session.respond(Verdict::Continue), Err(Misuse::NoVerdictDue));
    filter.reach("CH");
    filter.session.respond(Verdict::Continue).unwrap();
    assert_eq!(filter.session.respond(Verdict::Reject), Err(Misuse::NoVerdictDue));
    assert_eq!(filter.letters(), "c");
    filter.run("M");
    filter.receive(b'A', b"");
    filter.event().unwrap();
    assert_eq!(filter.session.respond(Verdict::Continue), Err(Misuse::NoVerdictDue), "an abort has none");
}

#[test]
fn a_watched_stage_cannot_have_a_verdict() {
    for offered in [Steps::CURRENT, Steps::VERSION_2] {
        for (stage, way) in LETTERS {
            let others = Stage::ALL.into_iter().filter(|other| *other != stage);
            let needs = Needs::new().answer(others).watch([stage]);
            for (verdict, _) in verdicts().into_iter().skip(1) {
                let mut filter = Filter::with_offer(offer(6, Actions::CURRENT, offered), &needs);
                filter.reach(way);
                assert_eq!(filter.session.respond(verdict), Err(Misuse::NoReplyStage(stage)));
                assert_eq!(filter.letters(), "", "nothing on the wire");
            }
        }
    }
}

#[test]
fn replies_have_up_to_32_lines_and_double_their_percent_signs() {
    for (reply, wire) in [
        (SmtpReply::new(550, "5.7.1", "100% no").unwrap(), &b"550 5.7.1 100%% no\0"[..]),
        (SmtpReply::new(451, "", "later").unwrap(), b"451 later\0"),
        (
            SmtpReply::multiline(550, "5.7.1", ["one", "%", "three"]).unwrap(),
            b"550-5.7.1 one\r\n550-5.7.1 %%\r\n550 5.7.1 three\0",
        ),
    ] {
        let mut filter = Filter::everything();
        filter.reach("CHM");
        filter.session.respond(reply.into()).unwrap();
        assert_eq!(filter.sent(), frame(b'y', wire));
    }
    let lines = vec!["x".repeat(980); 32];
    let reply = SmtpReply::multiline(550, "5.7.1", lines).unwrap();
    let mut filter = Filter::everything();
    filter.reach("CHM");
    filter.session.respond(reply.into()).unwrap();
    assert_eq!(filter.letters(), "y", "fits a packet");
}

#[test]
fn a_shutdown_is_a_421_and_never_the_letter_4() {
    for (_, way) in LETTERS {
        let mut filter = Filter::everything();
        filter.reach(way);
        filter.session.respond(Verdict::shutdown("bye")).unwrap();
        assert_eq!(filter.sent(), frame(b'y', b"421 4.7.0 bye\0"));
    }
}

#[test]
fn skip_ends_the_body() {
    let mut filter = Filter::everything();
    filter.reach("CHMRTLNB");
    filter.session.respond(Verdict::Skip).unwrap();
    assert_eq!(filter.letters(), "s");
    assert_eq!(filter.run("E"), "=end-of-message c");
}

#[test]
fn the_rest_of_a_skipped_body_is_swallowed_where_the_mta_cannot_skip() {
    for needs in [everything(), everything().skip(false)] {
        for steps in [Steps::CURRENT - Steps::SKIP, Steps::CURRENT] {
            let mut filter = Filter::with_offer(offer(6, Actions::CURRENT, steps), &needs);
            filter.reach("CHMRTLNB");
            filter.session.respond(Verdict::Skip).unwrap();
            let skips = filter.session.steps().contains(Steps::SKIP);
            assert_eq!(filter.letters(), if skips { "s" } else { "c" });
            assert_eq!(filter.run("BBE"), "c c =end-of-message c");
            assert_eq!(
                filter.run("MRLNBE"),
                "=mail c =rcpt c =header c =end-of-headers c =body c =end-of-message c"
            );
        }
    }
}

#[test]
fn body_data_in_the_end_of_message_gets_exactly_one_verdict() {
    for (verdict, letter) in verdicts() {
        let mut filter = Filter::everything();
        filter.run("CHMRTLNB");
        filter.receive(b'E', b"last piece");
        assert_eq!(filter.event(), Some(Event::Body(b"last piece".to_vec())));
        assert_eq!(filter.event(), None);
        filter.session.respond(verdict.clone()).unwrap();
        if matches!(verdict, Verdict::Continue | Verdict::Skip) {
            assert_eq!(filter.letters(), "", "the verdict is that of the end of message");
            assert_eq!(filter.event(), Some(Event::EndOfMessage));
            assert_eq!(filter.session.edit(Edit::ReplaceBody(Bytes::new())), Ok(()));
            filter.session.respond(Verdict::Accept).unwrap();
            assert_eq!(filter.letters(), "ba");
        } else {
            assert_eq!(filter.letters(), letter.to_string());
            assert_eq!(filter.event(), None);
        }
        assert!(filter.buf.is_empty());
        assert_eq!(filter.run("MRLNE"), "=mail c =rcpt c =header c =end-of-headers c =end-of-message c");
        assert_eq!(filter.run("Q"), "=close");
    }
}

#[test]
fn body_data_in_the_end_of_message_is_only_for_those_who_want_bodies() {
    let run = |needs: &Needs, before: &str| {
        let mut filter = Filter::new(needs);
        filter.run(before);
        filter.receive(b'E', b"last piece");
        let mut log = String::new();
        while let Some(event) = filter.event() {
            log += event.name();
            filter.session.respond(Verdict::Continue).unwrap();
        }
        log + &filter.letters()
    };
    assert_eq!(run(&Needs::new().answer([Stage::EndOfMessage]), ""), "end-of-messagec");
    assert_eq!(run(&Needs::new().watch([Stage::Body]), ""), "bodyc");
    assert_eq!(run(&everything(), "CHMR"), "bodyend-of-messagec", "straight after the recipients");
    let mut filter = Filter::everything();
    filter.reach("CHMRTLNB");
    filter.session.respond(Verdict::Skip).unwrap();
    filter.receive(b'E', b"last piece");
    assert_eq!(filter.event(), Some(Event::EndOfMessage), "a skipped body stays skipped");
}

#[test]
fn a_skipped_body_is_not_skipped_in_the_next_message() {
    // Nothing but bodies: each message is the body data in its end of message, and nothing else.
    let mut filter = Filter::new(&Needs::new().answer([Stage::Body]));
    filter.reach("B");
    filter.session.respond(Verdict::Skip).unwrap();
    assert_eq!(filter.run("E"), "sc");
    filter.receive(b'E', b"second message");
    assert_eq!(filter.event(), Some(Event::Body(b"second message".to_vec())));
}

#[test]
fn a_message_that_was_decided_gets_the_same_answer_to_whatever_else_comes_of_it() {
    for (verdict, inside, end) in [
        (Verdict::Accept, 'c', 'a'),
        (Verdict::Reject, 'r', 'r'),
        (Verdict::Tempfail, 't', 't'),
        (Verdict::Discard, 'd', 'd'),
        (Verdict::reject("5.7.1", "no"), 'y', 'y'),
    ] {
        let mut filter = Filter::everything();
        filter.reach("CHM");
        filter.session.respond(verdict).unwrap();
        filter.sent();
        let i = inside;
        assert_eq!(filter.run("RTLNBE"), format!("{i} {i} {i} {i} {i} {end}"));
        assert_eq!(filter.run("MRLNE"), "=mail c =rcpt c =header c =end-of-headers c =end-of-message c");
    }
}

#[test]
fn a_message_that_was_decided_ends_without_an_abort() {
    for (stage, way) in &LETTERS[2..8] {
        for code in "AMHQK".chars() {
            let mut filter = Filter::everything();
            filter.reach(way);
            // A recipient is refused alone; accepting ends the message at every stage.
            filter.session.respond(Verdict::Accept).unwrap();
            filter.sent();
            let log = filter.run(&code.to_string());
            assert!(!log.contains("abort"), "{stage}, then {code}: {log}");
            assert!(!filter.end().contains(&"abort") || code == 'M');
        }
    }
}

/// In libmilter an unreadable command begins a message that has to be aborted; one that would only be answered once more
/// is not executed there.
#[test]
fn what_cannot_be_read_begins_no_message_behind_a_decided_one() {
    let mut filter = Filter::with_rules(Rules::libmilter(), Offer::CURRENT, &everything());
    filter.run_with("CHM", |stage| if stage == Stage::Mail { Verdict::Tempfail } else { Verdict::Continue });
    filter.receive(b'L', b"a name without a value\0");
    assert!(filter.try_event().is_err());
    assert_eq!(filter.end(), ["close"]);
}

#[test]
fn the_message_after_a_decided_one_is_seen_where_senders_and_recipients_are_not() {
    // Sendmail sends no abort: the next message begins with the first stage that is not switched off (spec §6.8).
    let needs = Needs::new().answer([Stage::Header, Stage::EndOfMessage]);
    let mut filter = Filter::new(&needs);
    filter.reach("L");
    filter.session.respond(Verdict::Accept).unwrap();
    filter.sent();
    assert_eq!(filter.run("LLE"), "=header c =header c =end-of-message c");
    let mut filter = Filter::new(&Needs::new().answer([Stage::Body, Stage::EndOfMessage]));
    filter.reach("B");
    filter.session.respond(Verdict::Reject).unwrap();
    filter.sent();
    assert_eq!(filter.run("E"), "=end-of-message c", "a message without a body");
}

#[test]
fn refusing_recipients_leaves_the_message_alone() {
    let mut filter = Filter::everything();
    filter.run("CHM");
    let mut count = 0;
    let log = filter.run_with("RRR", |_| {
        count += 1;
        if count == 2 { Verdict::Reject } else { Verdict::Continue }
    });
    assert_eq!(log, "=rcpt c =rcpt r =rcpt c");
    let log = filter.run_with("R", |_| Verdict::tempfail("4.7.1", "later"));
    assert_eq!(log, "=rcpt y");
    assert_eq!(filter.run("TLNBE"), "=data c =header c =end-of-headers c =body c =end-of-message c");
}

#[test]
fn a_discard_at_rcpt_ends_the_message_but_not_for_libmilter() {
    let run = |rules| {
        let mut filter = Filter::with_rules(rules, Offer::CURRENT, &everything());
        filter.run("CHM");
        filter.run_with("R", |_| Verdict::Discard);
        filter.run("A")
    };
    assert_eq!(run(Rules::tamis()), "");
    assert_eq!(run(Rules::libmilter()), "=abort");
}

#[test]
fn verdicts_of_libmilter_filters_go_out_as_they_are() {
    for (way, verdict, letter) in [
        ("C", Verdict::Discard, "d"),
        ("CH", Verdict::Discard, "d"),
        ("CHU", Verdict::Accept, "a"),
        ("CHU", Verdict::Discard, "d"),
        ("CHMRTL", Verdict::Skip, "s"),
    ] {
        let mut filter = Filter::with_rules(Rules::libmilter(), Offer::CURRENT, &everything());
        filter.reach(way);
        assert_eq!(filter.session.respond(verdict), Ok(Sent::Given));
        assert_eq!(filter.letters(), letter);
    }
}

#[test]
fn accepting_at_unknown_ends_a_message_of_a_libmilter_filter() {
    let mut filter = Filter::with_rules(Rules::libmilter(), Offer::CURRENT, &everything());
    filter.reach("CHMRU");
    filter.session.respond(Verdict::Accept).unwrap();
    assert_eq!(filter.letters(), "a");
    assert_eq!(filter.run("A"), "");
    filter.reach("U");
    filter.session.respond(Verdict::Accept).unwrap();
    filter.sent();
    assert_eq!(filter.run("MR"), "=mail c =rcpt c", "outside a message nothing is decided");
}

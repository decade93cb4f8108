//! What a filter may say and what ends the session (§3.12, §3.15, §7.1, §12.3).

use std::time::Duration;

use super::*;
use crate::edit::validate::{Invalid, Item};
use crate::mta::Timeouts;
use crate::negotiate::MacroStage;

/// Ways to each answered stage.
const WAYS: [&str; 10] =
    ["C", "CH", "CHU", "CHM", "CHMR", "CHMRT", "CHMRTL", "CHMRTLN", "CHMRTLNB", "CHMRTLNBE"];

fn at_end(config: MtaConfig, actions: Actions) -> Mta {
    let mut mta = Mta::with(config, 6, actions, Steps::empty());
    mta.reach("MRTLNBE");
    mta
}

#[test]
fn the_answer_to_the_offer_is_checked() {
    let all = Actions::CURRENT;
    for (code, payload, fault) in [
        (b'c', vec![], Fault::OutOfOrder),
        (b'O', vec![0; 11], Fault::Truncated),
        (b'O', answer(0, all, Steps::empty()), Fault::BadVersion(0)),
        (b'O', answer(1, all, Steps::empty()), Fault::BadVersion(1)),
        (b'O', answer(7, all, Steps::empty()), Fault::BadVersion(7)),
        (b'O', answer(u32::MAX, all, Steps::empty()), Fault::BadVersion(u32::MAX)),
        (b'O', answer(6, Actions::from_bits_retain(0x3ff), Steps::empty()), Fault::ExcessActions(0x200)),
        (b'O', answer(6, all, Steps::PAYLOAD_1M), Fault::ExcessSteps(0x2000_0000)),
    ] {
        let mut mta = Mta::fresh(MtaConfig::new(Profile::Postfix));
        mta.session.negotiate(mta.now).unwrap();
        mta.sent();
        assert_eq!(mta.try_reply(code, &payload), Err(fault));
        assert!(mta.session.is_closed());
    }
    let mut mta = Mta::fresh(MtaConfig::new(Profile::Postfix).lenient());
    mta.session.negotiate(mta.now).unwrap();
    let MtaEvent::Negotiated { agreement, .. } =
        mta.reply(b'O', &answer(6, all, Steps::PAYLOAD_1M | Steps::SKIP))
    else {
        panic!("not negotiated")
    };
    assert_eq!(
        (agreement.steps, agreement.data_size),
        (Steps::SKIP, DataSize::K64),
        "excess steps are masked"
    );
}

#[test]
fn macro_lists_are_read_and_those_for_stages_that_do_not_exist_passed_over() {
    let mut mta = Mta::fresh(MtaConfig::new(Profile::Postfix));
    mta.session.negotiate(mta.now).unwrap();
    let lists = b"\0\0\0\x02i {mail_addr}\0\0\0\0\x07x\0\0\0\0\x05\0";
    let answer = [answer(6, Actions::CURRENT, Steps::empty()), lists.to_vec()].concat();
    let MtaEvent::Negotiated { agreement, unknown_stages } = mta.reply(b'O', &answer) else {
        panic!("no answer")
    };
    assert_eq!(unknown_stages, 1);
    assert_eq!(agreement.macros.get(MacroStage::Mail).unwrap(), ["i", "{mail_addr}"]);
    assert_eq!(agreement.macros.get(MacroStage::EndOfMessage), Some(&[][..]), "an empty list asks for none");
    for cut in [&b"\0\0\0"[..], b"\0\0\0\x02i"] {
        let mut mta = Mta::fresh(MtaConfig::new(Profile::Postfix));
        mta.session.negotiate(mta.now).unwrap();
        let answer = [super::answer(6, Actions::CURRENT, Steps::empty()), cut.to_vec()].concat();
        assert!(mta.try_reply(b'O', &answer).is_err());
    }
}

#[test]
fn replies_that_do_not_belong_to_the_stage_end_the_session() {
    for way in WAYS {
        let end = way.ends_with('E');
        for code in 0..=255 {
            let legal = b"cartdy".contains(&code)
                || (end && b"p+-2behimq".contains(&code))
                || (way.ends_with('B') && code == b's');
            let mut mta = Mta::new(Profile::Postfix, Steps::SKIP);
            mta.reach(way);
            let payload: &[u8] = match code {
                b'y' => b"550 no\0",
                b'+' | b'-' | b'2' | b'e' | b'q' => b"<a@b>\0",
                b'h' => b"X\0v\0",
                b'i' | b'm' => b"\0\0\0\x01X\0v\0",
                b'O' => &[0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0],
                _ => b"",
            };
            let result = mta.try_reply(code, payload);
            assert_eq!(result.is_ok(), legal, "{:?} at {way}: {result:?}", char::from(code));
            assert_eq!(mta.session.is_closed(), !legal);
        }
    }
}

#[test]
fn skip_is_only_for_those_who_asked_for_it() {
    let mut mta = Mta::new(Profile::Postfix, Steps::empty());
    mta.reach("MRTLNB");
    assert!(mta.try_reply(b's', b"").is_err());
}

#[test]
fn bytes_behind_a_simple_verdict_end_the_session_unless_lenient() {
    for code in *b"cartdp" {
        let mut mta = at_end(MtaConfig::new(Profile::Postfix), Actions::CURRENT);
        assert_eq!(mta.try_reply(code, b"x"), Err(Fault::UnexpectedPayload));
        let mut mta = at_end(MtaConfig::new(Profile::Sendmail).lenient(), Actions::CURRENT);
        assert!(mta.try_reply(code, b"x").is_ok());
    }
}

#[test]
fn modifications_with_broken_strings_end_the_session() {
    for (code, payload) in [
        (b'+', &b"<a@b>"[..]),
        (b'+', b"<a@b>\0x\0"),
        (b'-', b"<a@b>\0x"),
        (b'2', b"<a@b>\0x"),
        (b'2', b"<a@b>\0x\0y\0"),
        (b'e', b"<a@b>"),
        (b'h', b"X\0"),
        (b'h', b"X\0v"),
        (b'h', b"X\0v\0w\0"),
        (b'i', b"\0\0\0"),
        (b'i', b"\0\0\0\x01X\0"),
        (b'm', b"\0\0\0\x01X\0v\0\0"),
        (b'q', b"why"),
        (b'q', b""),
        (b'h', b""),
    ] {
        for profile in BOTH {
            let mut mta = at_end(MtaConfig::new(profile).lenient(), Actions::CURRENT);
            assert!(mta.try_reply(code, payload).is_err(), "{:?} {payload:?}", char::from(code));
        }
    }
}

#[test]
fn modifications_that_would_forge_header_or_envelope_are_refused_one_by_one() {
    let header = |item, byte, at| Invalid::Byte { item, byte, at };
    for (code, payload, why) in [
        (b'h', &b"X\0a\nBcc: x\0"[..], Invalid::UnfoldedFeed { at: 1 }),
        (b'h', b"X\0a\rb\0", Invalid::BareReturn { at: 1 }),
        (b'h', b"X\0a\r\n b\0", Invalid::BareReturn { at: 1 }),
        (b'h', b"X\0a\n\0", Invalid::UnfoldedFeed { at: 1 }),
        (b'i', b"\0\0\0\0X Y\0v\0", header(Item::HeaderName, b' ', 1)),
        (b'm', b"\0\0\0\0X:\0v\0", header(Item::HeaderName, b':', 1)),
        (b'h', b"\xc3\xa4\0v\0", header(Item::HeaderName, 0xc3, 0)),
        (b'h', b"\0v\0", Invalid::Empty { item: Item::HeaderName }),
        (b'+', b"<>\0", Invalid::NullRecipient),
        (b'+', b"a\nb\0", header(Item::Address, b'\n', 1)),
        (b'2', b"<a@b>\0NOTIFY=\rX\0", header(Item::Arguments, b'\r', 7)),
        (b'e', b"<a@b\0", Invalid::Brackets),
        (b'q', b"a\nb\0", header(Item::Reason, b'\n', 1)),
    ] {
        let mut mta = at_end(MtaConfig::new(Profile::Postfix), Actions::CURRENT);
        let event = mta.reply(code, payload);
        assert!(
            matches!(&event, MtaEvent::RefusedEdit(_, Misuse::Invalid(found)) if *found == why),
            "{payload:?}: {event:?}"
        );
        assert_eq!(mta.verdict(b'c', b""), Verdict::Continue, "the session goes on");
    }
}

#[test]
fn modifications_that_were_not_negotiated_end_the_session_or_are_ignored() {
    for (code, payload) in [
        (b'h', &b"X\0v\0"[..]),
        (b'b', b"body"),
        (b'+', b"<a@b>\0"),
        (b'2', b"<a@b>\0"),
        (b'-', b"<a@b>\0"),
        (b'm', b"\0\0\0\x01X\0v\0"),
        (b'q', b"why\0"),
        (b'e', b"<a@b>\0"),
    ] {
        let mut mta = at_end(MtaConfig::new(Profile::Sendmail), Actions::empty());
        assert_eq!(mta.try_reply(code, payload), Err(Fault::NotNegotiated));
        let mut mta = at_end(MtaConfig::new(Profile::Sendmail).lenient(), Actions::empty());
        assert!(matches!(mta.reply(code, payload), MtaEvent::RefusedEdit(_, Misuse::DisabledAction(_))));
        mta.verdict(b'c', b"");
    }
}

#[test]
fn a_scattered_body_is_an_error_on_postfix_only() {
    for between in [(b'p', &b""[..]), (b'h', b"X\0v\0")] {
        for profile in BOTH {
            let mut mta = at_end(MtaConfig::new(profile), Actions::CURRENT);
            mta.reply(between.0, between.1);
            mta.reply(b'b', b"one");
            mta.reply(b'b', b"");
            mta.reply(between.0, between.1);
            let again = mta.try_reply(b'b', b"two");
            if profile == Profile::Postfix {
                assert_eq!(again, Err(Fault::ScatteredBody));
            } else {
                assert_eq!(again, Ok(MtaEvent::Edit(Edit::ReplaceBody(b"two"))));
            }
        }
    }
    let mut mta = at_end(MtaConfig::new(Profile::Postfix), Actions::CURRENT);
    mta.reply(b'b', b"one");
    mta.reply(b'p', b"");
    mta.verdict(b'c', b"");
    mta.reach("MRE".replace('E', "NE").as_str());
    mta.reply(b'b', b"the next message has a body of its own");
}

#[test]
fn a_replaced_body_is_bounded() {
    let mut mta = at_end(MtaConfig::new(Profile::Postfix).with_body_limit(10), Actions::CURRENT);
    mta.reply(b'b', b"12345");
    mta.reply(b'b', b"67890");
    assert_eq!(mta.try_reply(b'b', b"x"), Err(Fault::BodyTooLong { limit: 10 }));
}

#[test]
fn reply_texts_are_undone_or_mended_never_passed_on() {
    for (text, want) in [
        (&b"550 5.7.1 100%% no\0"[..], "550 5.7.1 100% no"),
        (b"450 5% off\0", "450 5 off"),
        (b"550-5.7.1 a\r\n550 5.7.1 b\0", "550-5.7.1 a / 550 5.7.1 b"),
    ] {
        let mut mta = Mta::new(Profile::Postfix, Steps::empty());
        mta.reach("M");
        assert_eq!(mta.verdict(b'y', text).to_string(), want);
    }
    for (text, want) in [
        (&b"550 a\nb\0"[..], Some(Verdict::Reject)),
        (b"550-a\r\n250 b\0", Some(Verdict::Reject)),
        (b"550 a\0b\0", Some(Verdict::Reject)),
        (b"450 no NUL", Some(Verdict::Tempfail)),
        (b"450 5.7.1 class\0", Some(Verdict::Tempfail)),
        (b"5\0", Some(Verdict::Reject)),
        (b"250 ok\0", None),
        (b"\0", None),
        (b"", None),
    ] {
        let mut mta = Mta::new(Profile::Postfix, Steps::empty());
        mta.reach("M");
        match (mta.try_reply(b'y', text), want) {
            (Ok(MtaEvent::Verdict { verdict, mended: true, .. }), Some(want)) => assert_eq!(verdict, want),
            (Err(Fault::BadReply), None) => {}
            (found, _) => panic!("{text:?}: {found:?}"),
        }
    }
}

#[test]
fn a_421_ends_the_connection_for_the_filter_at_every_stage() {
    for way in WAYS {
        let mut mta = Mta::new(Profile::Postfix, Steps::empty());
        mta.reach(way);
        mta.verdict(b'y', b"421 4.7.0 bye\0");
        assert!(mta.session.sits_out(), "{way}");
    }
}

#[test]
fn bytes_while_no_answer_is_due_are_unsolicited() {
    for steps in [Steps::empty(), Steps::NO_REPLIES] {
        let mut mta = Mta::new(Profile::Postfix, steps);
        mta.send('H').unwrap();
        if steps.is_empty() {
            mta.verdict(b'c', b"");
        }
        assert_eq!(mta.session.next(&[], mta.now), Ok((0, None)));
        let error = mta.session.next(&[0], mta.now).unwrap_err();
        assert_eq!(error.fault, Fault::Unsolicited, "one byte tells");
        assert_eq!(mta.send('M'), Err(Misuse::Ended), "errors are final");
    }
}

#[test]
fn lengths_are_bounded_before_anything_is_waited_for() {
    for (length, fault) in [
        ([0, 0, 0, 0], Fault::EmptyFrame),
        ([0x80, 0, 0, 0], Fault::FrameTooLong { length: 0x7fff_ffff, limit: 1_048_575 }),
        ([0xff; 4], Fault::FrameTooLong { length: 0xffff_fffe, limit: 1_048_575 }),
    ] {
        let mut mta = at_end(MtaConfig::new(Profile::Postfix), Actions::CURRENT);
        assert_eq!(mta.session.next(&length, mta.now).unwrap_err().fault, fault);
    }
}

#[test]
fn a_filter_that_goes_away_is_an_error_that_stays() {
    for way in WAYS {
        for (rest, fault) in [(&b""[..], Fault::EndTooEarly), (b"\0\0", Fault::EndInFrame)] {
            let mut mta = Mta::new(Profile::Postfix, Steps::empty());
            mta.reach(way);
            assert_eq!(mta.session.eof(rest).unwrap_err().fault, fault);
            assert_eq!(mta.send('M'), Err(Misuse::Ended));
            assert_eq!(mta.send('A'), Err(Misuse::Ended));
            assert_eq!(mta.letters(), "", "nor is a quit sent after an error");
            assert_eq!(mta.session.eof(b""), Ok(()));
        }
    }
    let mut mta = Mta::new(Profile::Postfix, Steps::empty());
    mta.run("CQ");
    assert_eq!(mta.session.eof(b""), Ok(()), "after a quit it is expected");
}

#[test]
fn each_stage_has_its_deadline_and_only_its_own() {
    let seconds = Duration::from_secs;
    for way in WAYS {
        let mut mta = Mta::new(Profile::Postfix, Steps::empty());
        assert_eq!(mta.session.deadline(), None);
        mta.reach(way);
        let wait = if way.len() > 5 { 300 } else { 30 };
        assert_eq!(mta.session.deadline(), Some(mta.now + seconds(wait)), "{way}");
        assert_eq!(mta.session.check_time(mta.now + seconds(wait - 1)), Ok(()));
        let error = mta.session.check_time(mta.now + seconds(wait)).unwrap_err();
        assert_eq!(error.fault, Fault::TimedOut);
        assert!(mta.session.is_closed(), "never reused after an answer that did not come");
        assert_eq!(mta.session.check_time(mta.now + seconds(9999)), Ok(()));
    }
    let mut mta = Mta::fresh(MtaConfig::new(Profile::Sendmail).with_timeouts(Timeouts::all(seconds(5))));
    mta.session.negotiate(mta.now).unwrap();
    assert_eq!(mta.session.deadline(), Some(mta.now + seconds(5)));
}

#[test]
fn progress_and_modifications_extend_the_wait_but_not_for_ever() {
    let mut mta = at_end(MtaConfig::new(Profile::Postfix), Actions::CURRENT);
    let since = mta.now;
    for minute in 1..=15 {
        mta.now = since + Duration::from_mins(minute * 4 - 1);
        assert_eq!(mta.session.check_time(mta.now), Ok(()), "minute {}", minute * 4);
        match minute % 2 {
            0 => assert_eq!(mta.reply(b'p', b""), MtaEvent::Progress),
            _ => assert!(matches!(mta.reply(b'h', b"X\0v\0"), MtaEvent::Edit(_))),
        }
    }
    assert_eq!(mta.session.deadline(), Some(since + Duration::from_hours(1)), "the cap");
    assert!(mta.session.check_time(since + Duration::from_hours(1)).is_err());
}

#[test]
fn an_answer_stops_the_clock() {
    let mut mta = Mta::new(Profile::Postfix, Steps::empty());
    mta.run("CH");
    assert_eq!(mta.session.deadline(), None);
    assert_eq!(mta.session.check_time(mta.now + Duration::from_hours(9)), Ok(()));
}

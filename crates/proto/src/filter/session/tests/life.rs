//! Messages, aborts, ends and macros (S1–S3, S8, M1–M3, W4, appendix C "abort/close exactly once").

use super::*;

const MESSAGE: &str = "MRTLNBE";
const MESSAGE_LOG: &str = "=mail c =rcpt c =data c =header c =end-of-headers c =body c =end-of-message c";

/// A way to each state; all but the first begin with an open message from `CHM` to `CHMRTLNB`.
const WAYS: [&str; 11] =
    ["", "C", "CH", "CHM", "CHMR", "CHMRT", "CHMRTL", "CHMRTLN", "CHMRTLNB", "CHMRTLNBE", "CHMRTLNBEA"];

fn open(way: &str) -> bool {
    (3..=8).contains(&way.len())
}

#[test]
fn one_message_follows_another_with_or_without_an_abort_between() {
    let mut filter = Filter::everything();
    filter.run("CH");
    for between in ["", "A", "AAA", "U", ""] {
        assert_eq!(filter.run(MESSAGE), MESSAGE_LOG);
        filter.run(between);
    }
    assert_eq!(filter.run("Q"), "=close");
    assert!(filter.end().is_empty());
    assert!(filter.session.is_closed());
}

#[test]
fn an_open_message_is_aborted_by_whatever_ends_it() {
    for way in WAYS {
        let abort = if open(way) { "=abort " } else { "" };
        for (code, rest) in [("H", "=helo c"), ("M", "=mail c"), ("Q", "=close"), ("K", "=close")] {
            let mut filter = Filter::everything();
            filter.run(way);
            assert_eq!(filter.run(code), format!("{abort}{rest}"), "{way}, then {code}");
        }
        let mut filter = Filter::everything();
        filter.run(way);
        assert_eq!(filter.run("AA"), abort.trim_end(), "{way}: once, and nothing is answered");
    }
}

#[test]
fn end_aborts_an_open_message_once_and_closes_once() {
    for way in WAYS {
        for eof_first in [false, true] {
            let mut filter = Filter::everything();
            filter.run(way);
            if eof_first {
                assert_eq!(filter.session.eof(&[]).is_err(), open(way), "{way}");
            }
            let want = if open(way) { vec!["abort", "close"] } else { vec!["close"] };
            assert_eq!(filter.end(), want, "{way}");
            assert!(filter.end().is_empty());
            assert_eq!(filter.session.eof(&[]), Ok(()));
            assert_eq!(
                filter.session.next(&frame(b'C', usual(b'C'))),
                Ok((0, None)),
                "nothing comes any more"
            );
        }
    }
    let mut filter = Filter::fresh(Rules::tamis());
    assert_eq!(filter.end(), ["close"], "even if nothing was ever received");
}

#[test]
fn end_while_a_verdict_is_due_aborts_too() {
    for way in &WAYS[1..=9] {
        let mut filter = Filter::everything();
        filter.reach(way);
        assert!(filter.session.eof(&[]).is_err(), "{way}");
        let want = if open(way) || way.ends_with('E') { vec!["abort", "close"] } else { vec!["close"] };
        assert_eq!(filter.end(), want, "{way}");
    }
    let mut filter = Filter::with_rules(Rules::libmilter(), Offer::CURRENT, &everything());
    filter.reach("CHMRTLNBE");
    assert_eq!(filter.end(), ["close"], "libmilter never aborts after the end of message");
    let mut filter = Filter::fresh(Rules::tamis());
    filter.offer(Offer::CURRENT);
    assert!(filter.session.eof(&[]).is_err());
    assert_eq!(filter.end(), ["close"]);
}

#[test]
fn the_stream_may_not_end_inside_a_frame() {
    let mut filter = Filter::everything();
    filter.run("CH");
    assert_eq!(filter.session.eof(&[]), Ok(()));
    assert_eq!(filter.session.eof(&[0]).unwrap_err().fault, Fault::EndInFrame);
    filter.run("M");
    assert_eq!(filter.session.eof(&[]).unwrap_err().fault, Fault::EndTooEarly);
}

#[test]
fn a_new_connection_starts_clean_with_the_options_that_were_agreed_on() {
    for way in WAYS {
        let mut filter = Filter::new(&Needs::everything().watch([Stage::Helo]).leading_space());
        let steps = filter.session.steps();
        filter.receive(b'D', b"Cj\0mta\0");
        filter.run(way);
        filter.run("K");
        assert_eq!(filter.session.macros().get("j"), None);
        assert_eq!(filter.session.steps(), steps);
        assert_eq!(filter.run("CH"), "=connect c =helo c");
        assert_eq!(filter.run(MESSAGE), MESSAGE_LOG);
        assert_eq!(filter.end(), ["close"], "each connection has one");
    }
}

#[test]
fn a_settled_message_and_a_skipped_body_do_not_survive_a_new_connection() {
    let mut filter = Filter::everything();
    filter.reach("CHMRTLNB");
    filter.session.respond(Verdict::Skip).unwrap();
    filter.reach("KCHM");
    filter.session.respond(Verdict::Reject).unwrap();
    filter.run("KCH");
    assert_eq!(filter.run(MESSAGE), MESSAGE_LOG);
}

#[test]
fn an_abort_drops_the_message_and_the_next_one_is_clean() {
    let mut filter = Filter::everything();
    filter.reach("CHMRTLNB");
    filter.session.respond(Verdict::Skip).unwrap();
    assert_eq!(filter.letters(), "s");
    assert_eq!(filter.run("A"), "=abort");
    assert_eq!(filter.run(MESSAGE), MESSAGE_LOG, "its body is not skipped");
}

#[test]
fn a_reply_text_does_not_leak_into_the_next_message() {
    let mut filter = Filter::everything();
    filter.run("CH");
    filter.reach("M");
    filter.session.respond(Verdict::reject("5.7.1", "first message")).unwrap();
    filter.sent();
    filter.reach("M");
    filter.session.respond(Verdict::Reject).unwrap();
    assert_eq!(filter.sent(), frame(b'r', b""));
    filter.receive(b'R', usual(b'R'));
    assert_eq!(filter.event(), None);
    assert_eq!(filter.sent(), frame(b'r', b""), "nor does what the first one was decided to be");
}

#[test]
fn an_abort_outside_a_message_is_nothing_even_where_senders_are_not_sent() {
    let mut filter = Filter::new(&Needs::new().answer([Stage::Helo, Stage::Rcpt, Stage::EndOfMessage]));
    assert!(filter.session.steps().contains(Steps::NO_MAIL));
    assert_eq!(filter.run("AHAA"), "=helo c");
    assert_eq!(filter.run("RA"), "=rcpt c =abort");
    assert_eq!(filter.run("RREA"), "=rcpt c =rcpt c =end-of-message c");
    assert_eq!(filter.end(), ["close"]);
}

#[test]
fn unknown_commands_change_nothing_wherever_they_come() {
    for way in WAYS {
        let mut filter = Filter::everything();
        filter.run(way);
        assert_eq!(filter.run("UU"), "=unknown c =unknown c", "{way}");
        let rest = &"CHMRTLNBE"[way.len().min(9)..];
        let log = filter.run(rest);
        assert!(!log.contains("abort"), "{way}, unknown, {rest}: {log}");
        assert_eq!(filter.end(), ["close"]);
    }
}

#[test]
fn stages_may_be_left_out_as_libmilter_allows() {
    for codes in ["HMRE", "MRBE", "CMRLNE", "CHMRNE", "CHMRLLNBBE", "UCHMRE", "CHMRTLNE"] {
        let mut filter = Filter::everything();
        let log = filter.run(codes);
        assert!(log.ends_with("=end-of-message c") && !log.contains("abort"), "{codes}: {log}");
    }
    for codes in ["CC", "L", "CHR", "CHMT", "CHME", "CHMRTB", "CHMRLE", "CHMRTLNL", "CHMRTLNBL", "CHMRER"] {
        let (last, before) = codes.as_bytes().split_last().unwrap();
        let mut filter = Filter::everything();
        filter.run(std::str::from_utf8(before).unwrap());
        filter.receive(*last, usual(*last));
        assert_eq!(filter.fault(), Fault::OutOfOrder, "{codes}");
    }
}

#[test]
fn macros_are_seen_at_their_stage_and_after() {
    let mut filter = Filter::everything();
    let mut go = |code: u8, list: &[u8], name: &str| {
        if !list.is_empty() {
            filter.receive(b'D', &[&[code], list].concat());
        }
        filter.receive(code, usual(code));
        filter.event().unwrap();
        let value = filter.session.macros().get(name).map(|value| String::from_utf8(value.to_vec()).unwrap());
        filter.session.respond(Verdict::Continue).unwrap();
        value
    };
    assert_eq!(go(b'C', b"j\0mta\0", "{j}").as_deref(), Some("mta"));
    assert_eq!(go(b'H', b"", "j").as_deref(), Some("mta"));
    assert_eq!(go(b'M', b"{i}\0Q1\0", "i").as_deref(), Some("Q1"));
    assert_eq!(go(b'R', b"{rcpt_addr}\0one\0", "rcpt_addr").as_deref(), Some("one"));
    assert_eq!(go(b'R', b"{rcpt_addr}\0two\0", "{rcpt_addr}").as_deref(), Some("two"));
    assert_eq!(go(b'T', b"x\0data\0", "rcpt_addr").as_deref(), Some("two"));
    assert_eq!(go(b'L', b"x\0header\0", "x").as_deref(), Some("header"));
    assert_eq!(go(b'L', b"", "x").as_deref(), Some("data"), "macros of one header");
    assert_eq!(go(b'N', b"x\0eoh\0", "x").as_deref(), Some("eoh"));
    assert_eq!(go(b'B', b"x\0body\0", "x").as_deref(), Some("body"));
    assert_eq!(go(b'E', b"x\0eom\0", "x").as_deref(), Some("eom"));
    assert_eq!(go(b'M', b"", "x"), None, "the next message");
    assert_eq!(go(b'R', b"", "j").as_deref(), Some("mta"), "what the connection has stays");
    assert_eq!(go(b'T', b"", "i").as_deref(), Some("Q1"), "mail had no new ones");
}

#[test]
fn a_dangling_macro_is_dropped_and_reported_once() {
    let mut filter = Filter::everything();
    filter.receive(b'D', b"Ca\x001\0b");
    assert_eq!(filter.run("C"), "=connect c");
    assert_eq!(filter.session.macros().get("a"), Some(&b"1"[..]));
    assert_eq!(filter.session.warning(), Some(Warning::DanglingMacro));
    assert_eq!(filter.session.warning(), None);
}

#[test]
fn macros_of_any_code_at_any_time_change_no_state() {
    for way in WAYS {
        let mut filter = Filter::everything();
        filter.run(way);
        for code in 0..=255 {
            filter.receive(b'D', &[code]);
            filter.receive(b'D', &[code, b'x', 0, b'y', 0]);
        }
        assert_eq!(filter.event(), None);
        assert_eq!(filter.letters(), "");
        let rest = &"CHMRTLNBE"[way.len().min(9)..];
        assert!(!filter.run(rest).contains("abort"));
    }
}

#[test]
fn endless_commands_outside_messages_leave_nothing_behind() {
    let mut filter = Filter::everything();
    filter.run("C");
    for _ in 0..1000 {
        assert_eq!(filter.run("AUH"), "=unknown c =helo c");
    }
}

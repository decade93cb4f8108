//! What a message may have of everything.

use super::*;
use crate::negotiate::DataSize;

/// A session with limits, negotiated with an MTA that can do everything.
fn limited(limits: Limits, needs: &Needs) -> Filter {
    let mut filter = Filter { session: FilterSession::new(Rules::tamis(), limits), buf: Vec::new() };
    let steps = Offer::CURRENT.steps | Steps::PAYLOAD_SIZES;
    filter.offer(Offer { steps, ..Offer::CURRENT });
    filter.session.negotiate(needs).unwrap();
    filter.sent();
    filter
}

/// Has the session take commands, answering all with continue, up to what is wrong with the last one.
fn refused(filter: &mut Filter, codes: &str, last: u8, payload: &[u8]) -> String {
    filter.run(codes);
    filter.receive(last, payload);
    let error = filter.try_event().unwrap_err();
    assert!(filter.sent().is_empty(), "nothing is said to what is refused");
    error.to_string()
}

#[test]
fn one_header_field_above_the_limit_ends_the_session() {
    let mut filter = limited(Limits::new().with_headers(3), &everything());
    let said = refused(&mut filter, "CHMRTLLL", b'L', b"X\0y\0");
    assert!(said.starts_with("MTA: message has more than 3 header fields in header ('L'), state "), "{said}");
    assert_eq!(filter.end(), ["abort", "close"]);
}

#[test]
fn header_fields_above_their_bytes_end_the_session() {
    // "Subject", "Hello" and their ends have 14 bytes.
    let mut filter = limited(Limits::new().with_header_bytes(30), &everything());
    let said = refused(&mut filter, "CHMRTLL", b'L', b"X\0\0");
    assert!(said.contains("header fields of the message exceed the limit of 30 bytes"), "{said}");
}

#[test]
fn header_fields_that_the_filter_does_not_see_are_counted_too() {
    // Only an MTA that cannot leave them out sends them.
    let needs = Needs::new().answer([Stage::Mail]);
    let mut filter = limited(Limits::new().with_headers(1), &needs);
    filter.run("CHMRTL");
    filter.receive(b'L', usual(b'L'));
    assert_eq!(filter.fault(), Fault::TooManyHeaders { limit: 1 });
}

#[test]
fn one_recipient_above_the_limit_ends_the_session_refused_ones_included() {
    let mut filter = limited(Limits::new().with_recipients(2), &everything());
    filter.run_with("CHMRR", |stage| match stage {
        Stage::Rcpt => Verdict::Reject,
        _ => Verdict::Continue,
    });
    let said = refused(&mut filter, "", b'R', usual(b'R'));
    assert!(said.contains("message has more than 2 recipients in rcpt ('R')"), "{said}");
}

#[test]
fn each_message_has_limits_of_its_own() {
    let limits = Limits::new().with_headers(2).with_header_bytes(28).with_recipients(2);
    let mut filter = limited(limits, &everything());
    filter.run("CH");
    for _ in 0..5 {
        // Ended, aborted, and followed by the next one without a word.
        filter.run("MRRTLLNBE");
        filter.run("MRRTLLA");
        filter.run("MRRTLL");
    }
    filter.run("MRR");
    filter.receive(b'R', usual(b'R'));
    assert_eq!(filter.fault(), Fault::TooManyRecipients { limit: 2 });
}

#[test]
fn what_a_client_said_is_bounded_at_each_command() {
    for (before, code, payload) in [
        ("", b'C', &b"client.example\0U"[..]),
        ("C", b'H', b"mail.example\0"),
        ("CH", b'M', b"<a@b>\0SIZE=1\0"),
        ("CHM", b'R', b"<a@b>\0X=Y=Z\0"),
        ("CH", b'U', b"XFOO BAR BAZ\0"),
    ] {
        let length = payload.len();
        // What comes before is longer than what some of the limits permit.
        let mut filter = limited(Limits::new(), &everything());
        filter.run(before);
        filter.session.limits = Limits::new().with_argument(length).into();
        filter.receive(code, payload);
        assert!(filter.event().is_some(), "{} fits", char::from(code));
        let mut filter = limited(Limits::new(), &everything());
        filter.run(before);
        filter.session.limits = Limits::new().with_argument(length - 1).into();
        let said = refused(&mut filter, "", code, payload);
        let expected = format!("argument of {length} bytes exceeds the limit of {}", length - 1);
        assert!(said.contains(&expected), "{said}");
    }
}

#[test]
fn macros_above_their_bytes_end_the_session_at_any_time() {
    let mut filter = Filter {
        session: FilterSession::new(Rules::tamis(), Limits::new().with_macro_bytes(8)),
        buf: Vec::new(),
    };
    filter.receive(b'D', b"Ci\0abcde\0");
    assert!(filter.event().is_none(), "as many as fit, before the negotiation");
    filter.receive(b'D', b"Ci\0abcdef\0");
    assert_eq!(filter.fault(), Fault::MacrosTooLong { length: 9, limit: 8 });
    let mut filter = limited(Limits::new().with_macro_bytes(8), &everything());
    let said = refused(&mut filter, "CHM", b'D', b"Xi\0abcdef\0");
    assert!(said.contains("macros of 9 bytes exceed the limit of 8 at one stage"), "{said}");
}

#[test]
fn larger_packets_that_were_negotiated_are_taken() {
    let long = |code: u8| [&vec![b'x'; 100_000][..], if code == b'D' { b"\0v\0" } else { b"\0" }].concat();
    for (size, fits) in [(DataSize::K64, false), (DataSize::K256, true)] {
        for code in *b"MD" {
            let mut filter = limited(Limits::new(), &everything().data_size(size));
            filter.run("CH");
            filter.receive(code, &long(code));
            assert_eq!(filter.try_event().is_ok(), fits, "{} with {size:?}", char::from(code));
        }
    }
}

#[test]
fn defaults_let_the_largest_mail_of_the_usual_mtas_through() {
    let mut filter = Filter::everything();
    filter.run("CH");
    // Postfix: lines of 2,048 bytes, 1,000 recipients, a header field of 102,400 bytes.
    filter.receive(b'M', &[&vec![b'a'; 2_040][..], b"\0"].concat());
    assert!(filter.event().is_some());
    filter.session.respond(Verdict::Continue).unwrap();
    filter.run(&"R".repeat(1_000));
    filter.run("T");
    filter.receive(b'L', &[b"To\0", &vec![b'a'; 102_400][..], b"\0"].concat());
    assert!(filter.event().is_some());
    filter.session.respond(Verdict::Continue).unwrap();
    filter.run(&"L".repeat(1_000));
    assert_eq!(filter.run("NBE"), "=end-of-headers c =body c =end-of-message c");
}

#[test]
fn commands_wait_while_too_many_replies_do() {
    let limits = Limits::new().with_replies(20);
    // It sees connect only; everything else is answered for it.
    let mut filter = limited(limits, &Needs::new().answer([Stage::Connect]));
    filter.run("C");
    let mut filter = Filter { session: filter.session, buf: frame(b'U', usual(b'U')).repeat(10) };
    filter.session.steps = Steps::empty();
    let mut written = 0;
    while !filter.buf.is_empty() {
        assert!(filter.event().is_none());
        let replies = filter.letters();
        assert!(!replies.is_empty() && replies.len() <= 4, "{replies}");
        written += replies.len();
    }
    assert_eq!(written, 10);
}

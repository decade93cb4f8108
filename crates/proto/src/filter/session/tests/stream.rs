//! Bytes to events (W1–W6, W9–W13, appendix C "buffer several packets").

use super::*;
use crate::command::Client;

/// A session in which every command occurs.
fn all_commands() -> Vec<u8> {
    let mut wire = Vec::new();
    for code in *b"CHMRTLNBEUMAKCQ" {
        wire.extend_from_slice(&frame(b'D', &[code, b'i', 0, b'1', 0]));
        wire.extend_from_slice(&frame(code, usual(code)));
    }
    wire
}

fn events(wire: &[u8], chunk: usize) -> (Vec<Event<Vec<u8>>>, Vec<u8>) {
    let mut filter = Filter::everything();
    let mut events = Vec::new();
    for piece in wire.chunks(chunk) {
        filter.buf.extend_from_slice(piece);
        while let Some(event) = filter.event() {
            if event.stage().is_some() {
                filter.session.respond(Verdict::Continue).unwrap();
            }
            events.push(event);
        }
    }
    assert!(filter.buf.is_empty());
    (events, filter.sent())
}

#[test]
fn every_command_becomes_its_event_with_the_exact_payload() {
    let (events, sent) = events(&all_commands(), usize::MAX);
    let names: Vec<_> = events.iter().map(Event::name).collect();
    assert_eq!(
        names.join(" "),
        "connect helo mail rcpt data header end-of-headers body end-of-message unknown mail abort close connect close"
    );
    assert_eq!(sent, frame(b'c', b"").repeat(12));
    assert_eq!(events[1], Event::Helo(b"host".to_vec()));
    assert!(matches!(&events[2], Event::Mail(sender) if sender.address == b"<a@example.com>"));
    assert!(matches!(&events[5], Event::Header(h) if h.name == b"Subject" && h.value == b"Hello"));
    assert_eq!(events[7], Event::Body(b"text\r\n".to_vec()));
    assert_eq!(events[9], Event::Unknown(b"FOOBAR".to_vec()));
}

#[test]
fn reads_of_any_size_give_the_same_events() {
    let wire = all_commands();
    let whole = events(&wire, usize::MAX);
    for chunk in [1, 2, 3, 4, 5, 7, 11, 64] {
        assert_eq!(events(&wire, chunk), whole, "reads of {chunk}");
    }
}

#[test]
fn an_event_that_waits_for_its_verdict_holds_back_what_follows() {
    let mut filter = Filter::everything();
    for code in *b"CHM" {
        filter.receive(code, usual(code));
    }
    assert_eq!(filter.event().unwrap().name(), "connect");
    let waiting = filter.buf.len();
    assert_eq!(filter.event(), None);
    assert_eq!(filter.buf.len(), waiting, "nothing is used up while a verdict is due");
    assert_eq!(filter.letters(), "");
    filter.session.respond(Verdict::Continue).unwrap();
    assert_eq!(filter.event().unwrap().name(), "helo");
    assert_eq!(filter.letters(), "c");
}

#[test]
fn body_pieces_are_views_of_the_receive_buffer() {
    let mut filter = Filter::everything();
    filter.run("CHMRTLN");
    let wire = frame(b'B', b"a body");
    let (used, event) = filter.session.next(&wire).unwrap();
    let Some(Event::Body(piece)) = event else { panic!("{event:?}") };
    assert_eq!((used, piece), (wire.len(), &b"a body"[..]));
    assert_eq!(piece.as_ptr(), wire[5..].as_ptr(), "not copied");
}

#[test]
fn lengths_are_refused_before_the_payload_arrives() {
    for (length, fault) in [
        ([0, 0, 0, 0], Fault::EmptyFrame),
        ([0, 0x10, 0, 1], Fault::FrameTooLong { length: 1_048_576, limit: 1_048_575 }),
        ([0x80, 0, 0, 0], Fault::FrameTooLong { length: 0x7fff_ffff, limit: 1_048_575 }),
        ([0xff; 4], Fault::FrameTooLong { length: 0xffff_fffe, limit: 1_048_575 }),
    ] {
        let mut filter = Filter::everything();
        filter.buf.extend_from_slice(&length);
        assert_eq!(filter.fault(), fault);
        assert_eq!(filter.end(), ["close"]);
        assert!(filter.sent().is_empty());
    }
    let limits = Limits::new().with_payload(0);
    assert_eq!(FilterSession::new(Rules::tamis(), limits).payload_limit(), 65_535, "every MTA may send that");
}

#[test]
fn bytes_that_are_not_ascii_pass_unchanged() {
    let mut filter = Filter::everything();
    filter.run("C");
    filter.receive(b'D', b"Hx\0\xe4\xff\0");
    for (code, payload) in [
        (b'H', &b"h\xe4\xff\0"[..]),
        (b'M', b"<\xfc\x80@example.com>\0SMTPUTF8\0X=\xff\0"),
        (b'R', b"\xc3\xbc\0"),
        (b'L', b"X-\xe4\0\xff\r\n \x01\0"),
        (b'U', b"\xffOO\0"),
    ] {
        filter.receive(code, payload);
        let event = filter.event().unwrap();
        let texts = match &event {
            Event::Helo(text) | Event::Unknown(text) => vec![&text[..]],
            Event::Mail(path) | Event::Rcpt(path) => {
                std::iter::once(&path.address[..]).chain(path.args()).collect()
            }
            Event::Header(header) => vec![&header.name[..], &header.value[..]],
            other => panic!("{other:?}"),
        };
        assert_eq!([texts.join(&0), vec![0]].concat(), payload);
        if code == b'H' {
            assert_eq!(filter.session.macros().get("x"), Some(&b"\xe4\xff"[..]));
        }
        filter.session.respond(Verdict::Continue).unwrap();
    }
}

#[test]
fn clients_of_every_family_are_understood() {
    for (payload, client) in [
        (&b"h\x004\0\x19192.0.2.1\0"[..], Client::Inet("192.0.2.1:25".parse().unwrap())),
        (b"[::1]\x006\0\x19::1\0", Client::Inet("[::1]:25".parse().unwrap())),
        (b"h\x006\0\x19IPv6:0:0:0:0:0:0:0:1\0", Client::Inet("[::1]:25".parse().unwrap())),
        (b"h\0L\0\0/run/socket\0", Client::Unix(b"/run/socket")),
        (b"h\0L\0\0\0", Client::Unix(b"")),
        (b"h\0Uwhatever", Client::Unknown),
        (b"\0U", Client::Unknown),
    ] {
        let mut filter = Filter::everything();
        filter.receive(b'C', payload);
        let Some(Event::Connect(connect)) = filter.event() else { panic!("no connect") };
        assert_eq!(connect.client(), client);
    }
}

#[test]
fn malformed_commands_end_the_session_without_an_answer() {
    for (before, code, payload, fault) in [
        ("", b'C', &b"host"[..], Fault::Unterminated),
        ("", b'C', b"host\0", Fault::Truncated),
        ("", b'C', b"host\x004\0", Fault::Truncated),
        ("", b'C', b"host\x004\0\x19nonsense\0", Fault::BadAddress),
        ("", b'C', b"host\x004\0\x1910.1\0", Fault::BadAddress),
        ("", b'C', b"host\x006\0\x19[::1]\0", Fault::BadAddress),
        ("", b'C', b"host\x009\0\x19x\0", Fault::BadFamily(b'9')),
        ("C", b'H', b"abc", Fault::Unterminated),
        ("CH", b'M', b"<a@b>", Fault::Unterminated),
        ("CH", b'M', b"<a@b>\0SIZE=1", Fault::Unterminated),
        ("CHMR", b'L', b"Name\0", Fault::MissingString),
        ("CHMR", b'L', b"\0v\0x\0", Fault::EmptyName),
        ("CHMR", b'L', b"Name\0value", Fault::Unterminated),
        ("CHMRLN", b'B', b"", Fault::MissingPayload),
        ("C", b'U', b"FOO", Fault::Unterminated),
        ("C", b'D', b"", Fault::MissingPayload),
        ("C", b'Z', b"", Fault::UnknownCode),
        ("C", 0, b"", Fault::UnknownCode),
        ("C", 0xff, b"", Fault::UnknownCode),
        ("C", b'T', b"", Fault::OutOfOrder),
    ] {
        let mut filter = Filter::everything();
        filter.run(before);
        filter.receive(code, payload);
        assert_eq!(filter.fault(), fault, "{:?} {payload:?}", char::from(code));
        assert!(filter.sent().is_empty());
        let open = before.contains('M');
        assert_eq!(filter.end(), if open { vec!["abort", "close"] } else { vec!["close"] });
    }
}

#[test]
fn bytes_behind_the_expected_strings_are_ignored_unless_strict() {
    for (before, code, payload) in [
        ("", b'C', &b"h\0Uxx"[..]),
        ("C", b'H', b"a\0b\0"),
        ("C", b'U', b"a\0b\0"),
        ("CHMR", b'L', b"N\0v\0x\0"),
    ] {
        let mut filter = Filter::everything();
        filter.run(before);
        filter.receive(code, payload);
        assert!(filter.event().is_some());
        let mut filter = Filter::with_rules(Rules::tamis().strict(), Offer::CURRENT, &everything());
        filter.run(before);
        filter.receive(code, payload);
        assert_eq!(filter.fault(), Fault::TrailingBytes);
    }
    let mut filter = Filter::everything();
    filter.run("CHMR");
    filter.receive(b'A', b"payload of an abort");
    assert_eq!(filter.event(), Some(Event::Abort));
}

#[test]
fn errors_say_who_where_and_why() {
    let mut filter = Filter::everything();
    filter.run("CH");
    filter.receive(b'T', b"");
    let error = filter.try_event().unwrap_err();
    assert_eq!(error.to_string(), "MTA: not allowed now in data ('T'), state greeted, byte 50");
}

//! Modifications and progress (A1–A3, A6–A10, A12, A13, A15, N12, R7).

use super::*;
use crate::edit::validate::{Invalid, Item};

fn b(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn all_edits() -> Vec<(Edit<Bytes>, &'static [u8])> {
    vec![
        (Edit::AddHeader { name: b("X-A"), value: b("one\n\ttwo") }, b"hX-A\0one\n\ttwo\0"),
        (Edit::InsertHeader { index: 1, name: b("X-B"), value: b("") }, b"i\0\0\0\x01X-B\0\0"),
        (Edit::ChangeHeader { index: 258, name: b("X-C"), value: b("v") }, b"m\0\0\x01\x02X-C\0v\0"),
        (Edit::ChangeHeader { index: 1, name: b("X-C"), value: b("") }, b"m\0\0\0\x01X-C\0\0"),
        (Edit::ChangeSender { address: b("<>"), args: None }, b"e<>\0"),
        (
            Edit::ChangeSender { address: b("<a@b>"), args: Some(b("RET=HDRS ENVID=x")) },
            b"e<a@b>\0RET=HDRS ENVID=x\0",
        ),
        (Edit::AddRecipient { address: b("c@d") }, b"+c@d\0"),
        (
            Edit::AddRecipientWithArgs { address: b("<c@d>"), args: Some(b("NOTIFY=NEVER")) },
            b"2<c@d>\0NOTIFY=NEVER\0",
        ),
        (Edit::AddRecipientWithArgs { address: b("<c@d>"), args: None }, b"2<c@d>\0"),
        (Edit::AddRecipientWithArgs { address: b("<c@d>"), args: Some(b("")) }, b"2<c@d>\0\0"),
        (Edit::DeleteRecipient { address: b("<e@f>") }, b"-<e@f>\0"),
        (Edit::Quarantine { reason: b("held for review") }, b"qheld for review\0"),
    ]
}

#[test]
fn each_modification_has_its_exact_bytes_and_they_leave_in_order() {
    let mut filter = Filter::everything();
    filter.reach("CHMRTLNE");
    filter.sent();
    let mut wire = Vec::new();
    for (edit, bytes) in all_edits() {
        filter.session.edit(edit).unwrap();
        wire.extend_from_slice(&frame(bytes[0], &bytes[1..]));
    }
    filter.session.respond(Verdict::Continue).unwrap();
    wire.extend_from_slice(&frame(b'c', b""));
    assert_eq!(filter.sent(), wire);
}

#[test]
fn nothing_but_the_end_of_message_can_modify_or_show_progress() {
    let refused = |filter: &mut Filter, place: &str| {
        for (edit, _) in all_edits().into_iter().chain([(Edit::ReplaceBody(b("x")), &b""[..])]) {
            assert_eq!(filter.session.edit(edit), Err(Misuse::NotAtEndOfMessage), "{place}");
        }
        assert_eq!(filter.session.progress(), Err(Misuse::NotAtEndOfMessage), "{place}");
        assert!(filter.sent().is_empty());
    };
    for way in ["C", "CH", "CHU", "CHM", "CHMR", "CHMRT", "CHMRTL", "CHMRTLN", "CHMRTLNB"] {
        let mut filter = Filter::everything();
        filter.reach(way);
        filter.sent();
        refused(&mut filter, way);
        filter.session.respond(Verdict::Continue).unwrap();
        filter.sent();
        refused(&mut filter, "after the verdict");
    }
    let mut filter = Filter::everything();
    filter.run("CHMRTLNBE");
    refused(&mut filter, "after the message");
    filter.run("MRTLNB");
    filter.receive(b'E', b"piece");
    assert!(matches!(filter.event(), Some(Event::Body(_))));
    refused(&mut filter, "at the last piece of the body");
}

#[test]
fn an_action_that_was_not_negotiated_is_an_error_and_sends_nothing() {
    for (edit, _) in all_edits() {
        let action = edit.action();
        for needs in [everything(), Needs::everything().allow(Actions::CURRENT - action)] {
            let mut filter = Filter::with_offer(
                offer(
                    6,
                    if needs == everything() { Actions::CURRENT - action } else { Actions::CURRENT },
                    Steps::CURRENT,
                ),
                &needs,
            );
            filter.reach("CHMRTLNE");
            filter.sent();
            assert_eq!(filter.session.edit(edit.clone()), Err(Misuse::DisabledAction(action)));
            assert!(filter.sent().is_empty());
            assert_eq!(filter.session.waits_for(), Some(Stage::EndOfMessage));
        }
    }
}

#[test]
fn a_header_value_of_10_kib_fits_and_one_of_64_kib_does_not() {
    let mut filter = Filter::everything();
    filter.reach("CHMRTLNE");
    filter.sent();
    let value = |length| Edit::AddHeader { name: b("X"), value: Bytes::from(vec![b'x'; length]) };
    filter.session.edit(value(10_240)).unwrap();
    assert_eq!(filter.sent().len(), 5 + 2 + 10_240 + 1);
    filter.session.edit(value(65_532)).unwrap();
    filter.sent();
    assert_eq!(filter.session.edit(value(65_533)), Err(Misuse::TooLong { length: 65_536, limit: 65_535 }));
    assert!(filter.sent().is_empty());
}

#[test]
fn a_body_of_70000_bytes_leaves_as_65535_and_4465() {
    let mut filter = Filter::everything();
    filter.reach("CHMRTLNE");
    filter.sent();
    let body = vec![b'z'; 70_000];
    filter.session.edit(Edit::ReplaceBody(body.clone().into())).unwrap();
    filter.session.respond(Verdict::Continue).unwrap();
    let wire = [frame(b'b', &body[..65_535]), frame(b'b', &body[65_535..]), frame(b'c', b"")].concat();
    assert_eq!(filter.sent(), wire);
}

#[test]
fn large_data_size_does_not_make_body_packets_larger() {
    let offer = Offer { steps: Steps::CURRENT | Steps::PAYLOAD_1M, ..Offer::CURRENT };
    let mut filter = Filter::with_offer(offer, &everything().data_size(DataSize::M1));
    filter.reach("CHMRTLNE");
    filter.sent();
    filter.session.edit(Edit::ReplaceBody(vec![b'z'; 200_000].into())).unwrap();
    filter.session.respond(Verdict::Continue).unwrap();
    assert_eq!(filter.letters(), "bbbbc");
}

#[test]
fn an_empty_body_is_one_empty_packet() {
    for pieces in [&[""][..], &["", "", ""]] {
        let mut filter = Filter::everything();
        filter.reach("CHMRTLNE");
        filter.sent();
        for piece in pieces {
            filter.session.edit(Edit::ReplaceBody(b(piece))).unwrap();
        }
        filter.session.respond(Verdict::Continue).unwrap();
        assert_eq!(filter.sent(), [frame(b'b', b""), frame(b'c', b"")].concat());
    }
    let mut filter = Filter::everything();
    filter.reach("CHMRTLNE");
    filter.sent();
    filter.session.edit(Edit::ReplaceBody(b(""))).unwrap();
    filter.session.edit(Edit::ReplaceBody(b("x"))).unwrap();
    filter.session.respond(Verdict::Continue).unwrap();
    assert_eq!(filter.letters(), "bc", "no empty packet where there is a body");
}

#[test]
fn pieces_of_a_body_leave_in_a_row_behind_all_other_modifications_and_progress() {
    let mut filter = Filter::everything();
    filter.reach("CHMRTLNE");
    filter.sent();
    filter.session.edit(Edit::ReplaceBody(b("one "))).unwrap();
    filter.session.edit(Edit::AddRecipient { address: b("<c@d>") }).unwrap();
    filter.session.edit(Edit::ReplaceBody(b("two"))).unwrap();
    filter.session.progress().unwrap();
    filter.session.edit(Edit::Quarantine { reason: b("why") }).unwrap();
    assert_eq!(filter.letters(), "+pq", "the body is kept back");
    filter.session.respond(Verdict::Accept).unwrap();
    assert_eq!(filter.sent(), [frame(b'b', b"one "), frame(b'b', b"two"), frame(b'a', b"")].concat());
}

#[test]
fn a_libmilter_filter_writes_its_body_at_once() {
    let mut filter = Filter::with_rules(Rules::libmilter(), Offer::CURRENT, &everything());
    filter.reach("CHMRTLNE");
    filter.sent();
    filter.session.edit(Edit::ReplaceBody(b("one"))).unwrap();
    filter.session.edit(Edit::AddRecipient { address: b("<c@d>") }).unwrap();
    filter.session.edit(Edit::ReplaceBody(vec![0; 70_000].into())).unwrap();
    filter.session.edit(Edit::ReplaceBody(b(""))).unwrap();
    assert_eq!(filter.letters(), "b+bbb");
}

#[test]
fn a_body_is_not_sent_for_a_message_that_is_refused_nor_for_the_next_one() {
    for verdict in [Verdict::Reject, Verdict::Tempfail, Verdict::Discard, Verdict::reject("", "no")] {
        let mut filter = Filter::everything();
        filter.reach("CHMRTLNE");
        filter.sent();
        filter.session.edit(Edit::ReplaceBody(b("secret"))).unwrap();
        filter.session.respond(verdict).unwrap();
        assert_eq!(filter.letters().len(), 1);
        assert_eq!(filter.run("MRE"), "=mail c =rcpt c =end-of-message c");
    }
}

#[test]
fn progress_can_be_shown_any_number_of_times() {
    let mut filter = Filter::everything();
    filter.reach("CHMRTLNE");
    filter.sent();
    for _ in 0..5 {
        filter.session.progress().unwrap();
    }
    assert_eq!(filter.session.progress_frame(), Ok(&frame(b'p', b"")[..]));
    filter.session.respond(Verdict::Continue).unwrap();
    assert_eq!(filter.letters(), "pppppc");
}

#[test]
fn text_that_would_break_the_packet_the_envelope_or_the_header_is_refused() {
    let name = |byte, at| Invalid::Byte { item: Item::HeaderName, byte, at };
    let bad: Vec<(Edit<Bytes>, Invalid)> = vec![
        (Edit::AddHeader { name: b(""), value: b("v") }, Invalid::Empty { item: Item::HeaderName }),
        (Edit::AddHeader { name: b("X Y"), value: b("v") }, name(b' ', 1)),
        (Edit::AddHeader { name: b("X:"), value: b("v") }, name(b':', 1)),
        (Edit::InsertHeader { index: 0, name: b("X\n"), value: b("v") }, name(b'\n', 1)),
        (
            Edit::AddHeader { name: b("X"), value: b("a\0b") },
            Invalid::Byte { item: Item::HeaderValue, byte: 0, at: 1 },
        ),
        (Edit::ChangeHeader { index: 1, name: b("X\r"), value: b("") }, name(b'\r', 1)),
        (
            Edit::ChangeHeader { index: 1, name: b(""), value: b("") },
            Invalid::Empty { item: Item::HeaderName },
        ),
        (Edit::AddRecipient { address: b("<>") }, Invalid::NullRecipient),
        (Edit::AddRecipient { address: b("<a@b>,<c@d>") }, Invalid::List { at: 5 }),
        (
            Edit::AddRecipient { address: b("<a@b>\r\nx") },
            Invalid::Byte { item: Item::Address, byte: b'\r', at: 5 },
        ),
        (Edit::ChangeSender { address: b("<a@b"), args: None }, Invalid::Brackets),
        (
            Edit::ChangeSender { address: b("<a@b>"), args: Some(b("RET=HDRS\n")) },
            Invalid::Byte { item: Item::Arguments, byte: b'\n', at: 8 },
        ),
        (Edit::Quarantine { reason: b("") }, Invalid::Empty { item: Item::Reason }),
        (Edit::Quarantine { reason: b("a\nb") }, Invalid::Byte { item: Item::Reason, byte: b'\n', at: 1 }),
    ];
    let mut filter = Filter::everything();
    filter.reach("CHMRTLNE");
    filter.sent();
    for (edit, why) in bad {
        assert_eq!(filter.session.edit(edit.clone()), Err(Misuse::Invalid(why)), "{edit:?}");
        assert!(filter.sent().is_empty());
    }
}

#[test]
fn a_value_that_was_read_can_be_written_back_whatever_is_in_it() {
    let value = b"\xff\rbare\n unfolded\nline\r\nnext\x01";
    let mut filter = Filter::everything();
    filter.run("CHMRT");
    filter.receive(b'L', &[b"X\0", &value[..], b"\0"].concat());
    let Some(Event::Header(header)) = filter.event() else { panic!("no header") };
    filter.session.respond(Verdict::Continue).unwrap();
    filter.reach("NE");
    filter.sent();
    let edit = Edit::ChangeHeader { index: 1, name: header.name.into(), value: header.value.into() };
    filter.session.edit(edit).unwrap();
    assert_eq!(filter.sent(), frame(b'm', &[b"\0\0\0\x01X\0", &value[..], b"\0"].concat()));
}

#[test]
fn a_streamed_body_leaves_at_once_and_nothing_gets_between_it_and_the_verdict() {
    let mut filter = Filter::everything();
    filter.reach("CHMRTLNE");
    filter.sent();
    filter.session.edit(Edit::ReplaceBody(b("zero "))).unwrap();
    filter.session.edit(Edit::Quarantine { reason: b("why") }).unwrap();
    filter.session.stream_body(b("one ")).unwrap();
    assert_eq!(filter.sent(), [frame(b'q', b"why\0"), frame(b'b', b"zero "), frame(b'b', b"one ")].concat());
    for (edit, _) in all_edits().into_iter().chain([(Edit::ReplaceBody(b("x")), &b""[..])]) {
        assert_eq!(filter.session.edit(edit), Err(Misuse::InsideBody));
    }
    assert_eq!(filter.session.progress(), Err(Misuse::InsideBody));
    filter.session.stream_body(b("")).unwrap();
    filter.session.stream_body(vec![b'z'; 70_000].into()).unwrap();
    assert_eq!(filter.letters(), "bb");
    filter.session.respond(Verdict::Continue).unwrap();
    assert_eq!(filter.letters(), "c");
    // The next message is as free as any.
    filter.reach("MRE");
    filter.sent();
    filter.session.progress().unwrap();
    filter.session.edit(Edit::ReplaceBody(b("x"))).unwrap();
    filter.session.respond(Verdict::Continue).unwrap();
    assert_eq!(filter.letters(), "pbc");
}

#[test]
fn a_streamed_body_may_be_empty_and_is_for_the_end_of_message_with_its_action_alone() {
    let mut filter = Filter::everything();
    filter.reach("CHMRTLNB");
    filter.sent();
    assert_eq!(filter.session.stream_body(b("x")), Err(Misuse::NotAtEndOfMessage));
    filter.session.respond(Verdict::Continue).unwrap();
    filter.reach("E");
    filter.sent();
    filter.session.stream_body(b("")).unwrap();
    assert_eq!(filter.sent(), frame(b'b', b""));
    let mut filter = Filter::new(&Needs::everything());
    filter.reach("CHMRTLNE");
    filter.sent();
    let disabled = Err(Misuse::DisabledAction(Actions::REPLACE_BODY));
    assert_eq!(filter.session.stream_body(b("x")), disabled);
    filter.session.progress().unwrap();
    assert_eq!(filter.letters(), "p");
}

//! What bindings to C filters need: bits, texts and limits as they are, and the rules of libmilter.

use super::*;
use crate::negotiate::{BitAnswer, MacroStage};

/// A session of a C filter that has every callback and may do everything.
fn libmilter() -> Filter {
    bits(Offer::CURRENT, &BitAnswer::new(Actions::CURRENT, Steps::SKIP)).unwrap()
}

fn bits(offer: Offer, answer: &BitAnswer) -> Result<Filter, Refusal> {
    let mut filter = Filter::fresh(Rules::libmilter());
    filter.offer(offer);
    filter.session.negotiate_bits(answer)?;
    Ok(filter)
}

/// Actions and steps on the wire.
fn agreed(mut filter: Filter) -> (u32, u32) {
    let sent = filter.sent();
    let number = |at: usize| u32::from_be_bytes(*sent[at..].first_chunk().unwrap());
    (number(9), number(13))
}

#[test]
fn option_bits_are_answered_as_they_are() {
    let answer = BitAnswer::new(Actions::ADD_HEADERS, Steps::NO_HELO | Steps::REJECTED_RECIPIENTS);
    assert_eq!(agreed(bits(Offer::CURRENT, &answer).unwrap()), (1, 0x802));
}

#[test]
fn only_bits_that_an_mta_need_not_know_may_be_missing_from_its_offer() {
    let old = Offer { version: 2, actions: Actions::VERSION_2, steps: Steps::VERSION_2 };
    let tolerated = Steps::NO_DATA | Steps::NO_UNKNOWN | Steps::NO_REPLIES;
    assert_eq!(agreed(bits(old, &BitAnswer::new(Actions::empty(), tolerated)).unwrap()), (0, 0));
    for steps in [Steps::SKIP, Steps::REJECTED_RECIPIENTS, Steps::LEADING_SPACE] {
        let refused = bits(old, &BitAnswer::new(Actions::empty(), steps)).unwrap_err();
        assert_eq!(refused, Refusal::MissingSteps { missing: steps, offered: old.steps });
    }
    let refused = bits(old, &BitAnswer::new(Actions::CHANGE_SENDER, Steps::empty())).unwrap_err();
    assert!(matches!(refused, Refusal::MissingActions { missing: Actions::CHANGE_SENDER, .. }));
}

#[test]
fn bits_between_library_and_mta_are_neither_taken_nor_given() {
    let large = Offer { steps: Steps::CURRENT | Steps::INTERNAL, ..Offer::CURRENT };
    let refused = bits(large, &BitAnswer::new(Actions::empty(), Steps::PAYLOAD_1M)).unwrap_err();
    assert!(matches!(refused, Refusal::MissingSteps { missing: Steps::PAYLOAD_1M, .. }));
    assert_eq!(agreed(bits(large, &BitAnswer::new(Actions::empty(), Steps::SKIP)).unwrap()), (0, 0x400));
}

#[test]
fn macro_lists_go_out_by_stage_and_only_if_they_are_offered() {
    let answer = BitAnswer::new(Actions::empty(), Steps::empty())
        .macros(MacroStage::EndOfMessage, b"i")
        .macros(MacroStage::Helo, b"");
    let sent = bits(Offer::CURRENT, &answer).unwrap().sent();
    assert_eq!(sent[17..], *b"\0\0\0\x01\0\0\0\0\x05i\0");
    let without = Offer { actions: Actions::VERSION_2, ..Offer::CURRENT };
    assert_eq!(bits(without, &answer).unwrap().sent().len(), 17);
}

#[test]
fn stages_without_a_callback_are_answered_and_not_given() {
    let answer = BitAnswer::new(Actions::empty(), Steps::NO_REPLY_RCPT).unseen([Stage::Helo, Stage::Rcpt]);
    let mut filter = bits(Offer::CURRENT, &answer).unwrap();
    filter.sent();
    assert_eq!(filter.run("CHMR"), "=connect c c =mail c");
}

#[test]
fn a_stage_of_no_reply_takes_no_verdict_even_where_continue_is_said_for_it() {
    let old = Offer { steps: Steps::VERSION_2, ..Offer::CURRENT };
    let mut filter = bits(old, &BitAnswer::new(Actions::empty(), Steps::NO_REPLY_MAIL)).unwrap();
    filter.sent();
    filter.run("CH");
    filter.receive(b'M', usual(b'M'));
    filter.event();
    assert!(!filter.session.takes_verdict());
    assert_eq!(filter.session.respond(Verdict::Reject), Err(Misuse::NoReplyStage(Stage::Mail)));
    filter.session.respond(Verdict::Continue).unwrap();
    assert_eq!(filter.letters(), "c");
}

#[test]
fn a_text_goes_out_as_it_is_and_the_verdict_decides_what_it_means() {
    let mut filter = libmilter();
    filter.sent();
    filter.reach("CHMR");
    filter.sent();
    let text = b"421 2.0.0 100% \x07";
    assert_eq!(filter.session.respond_text(&Verdict::Tempfail, text), Ok(Sent::Given));
    assert_eq!(filter.sent(), frame(b'y', &[text, &b"\0"[..]].concat()));
    // It is about one recipient.
    assert!(filter.session.in_message());
    assert_eq!(filter.session.respond_text(&Verdict::Reject, text), Err(Misuse::NoVerdictDue));
    filter.receive(b'T', b"");
    filter.event();
    filter.session.respond_text(&Verdict::Reject, b"550 no").unwrap();
    assert!(!filter.session.in_message());
}

#[test]
fn modifications_are_sent_as_they_are_but_for_a_nul() {
    let mut filter = libmilter();
    filter.sent();
    filter.reach("CHMRTLNE");
    filter.sent();
    for edit in [
        Edit::AddHeader { name: &b"Bad Name:"[..], value: b"x\r\nInjected: y" },
        Edit::AddRecipient { address: b"<>" },
        Edit::ChangeSender { address: b"<a, b", args: Some(b"x\ny") },
        Edit::ReplaceBody(b""),
        Edit::Quarantine { reason: b"two\nlines" },
    ] {
        filter.session.edit_borrowed(&edit).unwrap();
    }
    assert_eq!(filter.letters(), "h+ebq");
    let nul = Edit::AddHeader { name: &b"X"[..], value: b"a\0b" };
    assert!(matches!(filter.session.edit_borrowed(&nul), Err(Misuse::Invalid(_))));
    let mut strict = Filter::everything();
    strict.reach("CHMRTLNE");
    let bad = Edit::AddHeader { name: &b"Bad Name:"[..], value: b"x" };
    assert!(matches!(strict.session.edit_borrowed(&bad), Err(Misuse::Invalid(_))));
}

#[test]
fn one_limit_holds_for_what_is_received_and_what_is_sent() {
    let mut filter = libmilter();
    let mut limits = Limits::new();
    limits.payload = 100;
    filter.session.set_limits(limits);
    filter.sent();
    filter.reach("CHMRTLNE");
    filter.sent();
    let value = [b'v'; 100];
    let edit = |length: usize| Edit::AddHeader { name: &b"N"[..], value: &value[..length] };
    assert_eq!(filter.session.edit_borrowed(&edit(97)), Ok(()));
    assert_eq!(filter.session.edit_borrowed(&edit(98)), Err(Misuse::TooLong { length: 101, limit: 100 }));
    filter.session.respond(Verdict::Continue).unwrap();
    filter.receive(b'U', &[&[b'u'; 100][..], b"\0"].concat());
    assert_eq!(filter.fault(), Fault::FrameTooLong { length: 101, limit: 100 });
}

#[test]
fn the_last_piece_of_a_body_may_be_edited_at() {
    for (rules, takes) in [(Rules::libmilter(), true), (Rules::tamis(), false)] {
        let mut filter = Filter::with_rules(rules, Offer::CURRENT, &everything());
        filter.run("CHMRTLN");
        filter.receive(b'E', b"last");
        assert!(matches!(filter.event(), Some(Event::Body(_))));
        assert_eq!(filter.session.takes_edits(), takes);
        filter.session.respond(Verdict::Continue).unwrap();
        assert!(matches!(filter.event(), Some(Event::EndOfMessage)));
        assert!(filter.session.takes_edits());
    }
}

#[test]
fn pieces_after_a_skip_are_the_filter_s_again() {
    let mut filter = libmilter();
    filter.sent();
    let skip = |stage| if stage == Stage::Body { Verdict::Skip } else { Verdict::Continue };
    filter.run("CHMRTLN");
    assert_eq!(filter.run_with("BBE", skip), "=body s =body s =end-of-message c");
    let mut tamis = Filter::everything();
    tamis.run("CHMRTLN");
    assert_eq!(tamis.run_with("BBE", skip), "=body s c =end-of-message c");
}

#[test]
fn a_sender_that_cannot_be_read_aborts_a_message_of_libmilters() {
    for (rules, end) in [(Rules::libmilter(), &["abort", "close"][..]), (Rules::tamis(), &["close"][..])] {
        let mut filter = Filter::with_rules(rules, Offer::CURRENT, &everything());
        filter.run("CH");
        filter.receive(b'M', b"<a@b>");
        assert_eq!(filter.fault(), Fault::Unterminated);
        assert_eq!(filter.end(), end);
        let mut empty = Filter::with_rules(rules, Offer::CURRENT, &everything());
        empty.run("CH");
        empty.receive(b'M', b"");
        assert_eq!(empty.fault(), Fault::MissingPayload);
        assert_eq!(empty.end(), ["close"]);
    }
}

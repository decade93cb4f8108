//! Offers and needs (N1–N13, W8, B2, appendix C "OPTNEG").

use super::*;
use crate::negotiate::{Answer, MacroStage};

/// Negotiates and returns the answer on the wire.
fn answer(offer: Offer, needs: &Needs) -> (Filter, Answer<Vec<u8>>) {
    let mut filter = Filter::fresh(Rules::tamis());
    filter.offer(offer);
    filter.session.negotiate(needs).unwrap();
    let sent = filter.sent();
    let (used, frame) = Frame::parse(&sent, 65_535).unwrap().unwrap();
    assert_eq!((used, frame.code), (sent.len(), b'O'));
    let Answer { version, actions, steps, macros } = Answer::decode(frame.payload).unwrap();
    let answer = Answer { version, actions, steps, macros: macros.to_vec() };
    (filter, answer)
}

#[test]
fn the_lower_version_is_spoken() {
    for (theirs, ours) in [(2, 2), (3, 3), (4, 4), (5, 5), (6, 6), (7, 6), (0x7fff_ffff, 6)] {
        let (_, answer) = answer(offer(theirs, Actions::CURRENT, Steps::CURRENT), &everything());
        assert_eq!(answer.version, ours);
    }
    for version in [0_u32, 1, 0x8000_0000, u32::MAX] {
        let mut filter = Filter::fresh(Rules::tamis());
        filter.receive(b'O', &[&version.to_be_bytes()[..], &[0, 0, 0, 1, 0, 0, 0, 1]].concat());
        assert_eq!(filter.fault(), Fault::BadVersion(version));
        assert_eq!(filter.end(), ["close"]);
    }
}

#[test]
fn answered_flags_are_a_subset_of_the_offer() {
    let needs = [
        Needs::new(),
        everything().rejected_recipients().leading_space().data_size(DataSize::M1),
        Needs::new().watch(Stage::ALL).allow(Actions::CURRENT).leading_space(),
        Needs::new().answer([Stage::Body]).macros(MacroStage::Mail, ["i"]),
    ];
    for needs in &needs {
        for bit in 0..32 {
            for flip in [0, u32::MAX] {
                let actions = Actions::from_bits_retain(1 << bit ^ flip);
                let steps = Steps::from_bits_retain(1 << bit ^ flip);
                let (_, answer) = answer(offer(6, actions, steps), needs);
                assert!(actions.contains(answer.actions) && steps.contains(answer.steps));
            }
        }
    }
}

#[test]
fn an_offer_of_nothing_means_version_1() {
    let (_, answer) =
        answer(offer(6, Actions::empty(), Steps::empty()), &Needs::new().allow(Actions::CURRENT));
    assert_eq!(answer.actions, Actions::VERSION_1);
    assert_eq!(answer.steps, Steps::VERSION_1);
}

#[test]
fn stages_nobody_wants_are_switched_off_and_watched_ones_are_not_answered() {
    let needs = Needs::new().answer([Stage::Mail]).watch([Stage::Rcpt, Stage::Header]);
    let (_, answer) = answer(Offer::CURRENT, &needs);
    let off = Steps::NO_STAGES - Steps::NO_MAIL - Steps::NO_RCPT - Steps::NO_HEADER;
    assert_eq!(answer.steps, off | Steps::NO_REPLY_RCPT | Steps::NO_REPLY_HEADER);
}

#[test]
fn skip_rejected_recipients_and_leading_space_are_asked_for_only_if_wanted() {
    let (_, plain) = answer(Offer::CURRENT, &Needs::everything().skip(false));
    assert!(plain.steps.is_empty());
    let needs = Needs::everything().rejected_recipients().leading_space();
    let (filter, all) = answer(Offer::CURRENT, &needs);
    assert_eq!(all.steps, Steps::SKIP | Steps::REJECTED_RECIPIENTS | Steps::LEADING_SPACE);
    assert_eq!(filter.session.steps(), all.steps);
    let (_, watching) = answer(Offer::CURRENT, &Needs::new().watch([Stage::Body]));
    assert!(!watching.steps.contains(Steps::SKIP), "who never answers the body cannot skip it");
}

#[test]
fn recipients_that_the_mta_rejects_are_delivered() {
    let mut filter = Filter::new(&everything().rejected_recipients());
    filter.run("CHM");
    filter.receive(b'D', b"R{rcpt_mailer}\0error\0{rcpt_host}\x005.1.1\0");
    filter.receive(b'R', b"<nobody@example.com>\0");
    assert!(matches!(filter.event(), Some(Event::Rcpt(path)) if path.address == b"<nobody@example.com>"));
    assert_eq!(filter.session.macros().get("rcpt_mailer"), Some(&b"error"[..]));
}

#[test]
fn stages_that_cannot_be_switched_off_are_answered_and_not_reported() {
    let mut filter = Filter::with_offer(
        offer(2, Actions::VERSION_2, Steps::NO_CONNECT),
        &Needs::new().answer([Stage::Rcpt]),
    );
    assert_eq!(filter.run("HMRRLLNBBE"), "c c =rcpt c =rcpt c c c c c c c");
}

#[test]
fn no_reply_that_is_not_offered_is_given_by_the_session() {
    let needs = Needs::new().watch(Stage::ALL);
    let mut filter = Filter::with_offer(offer(6, Actions::CURRENT, Steps::VERSION_4), &needs);
    assert_eq!(
        filter.run("CHMRTLNBEU"),
        "=connect c =helo c =mail c =rcpt c =data c =header c =end-of-headers c =body c =end-of-message c =unknown c"
    );
    let mut filter = Filter::new(&needs);
    assert_eq!(
        filter.run("CHMRTLNBEU"),
        "=connect =helo =mail =rcpt =data =header =end-of-headers =body =end-of-message c =unknown"
    );
}

#[test]
fn macro_lists_are_sent_only_if_offered() {
    let needs = Needs::new()
        .macros(MacroStage::Connect, ["v", "j"])
        .macros(MacroStage::Helo, [""; 0])
        .macros(MacroStage::Mail, ["i", "{mail_addr}"]);
    let (_, with) = answer(Offer::CURRENT, &needs);
    assert_eq!(with.actions, Actions::MACRO_LISTS);
    assert_eq!(with.macros, b"\0\0\0\0v j\0\0\0\0\x01\0\0\0\0\x02i {mail_addr}\0");
    let (_, without) = answer(offer(6, Actions::CURRENT - Actions::MACRO_LISTS, Steps::CURRENT), &needs);
    assert_eq!((without.actions, without.macros), (Actions::empty(), Vec::new()));
}

#[test]
fn more_than_fifty_macros_at_a_stage_are_refused() {
    let names = |count| (0..count).map(|number| format!("{{m{number}}}"));
    let (_, answer) = answer(Offer::CURRENT, &Needs::new().macros(MacroStage::Mail, names(50)));
    assert_eq!(answer.macros.split(|byte| *byte == b'{').count(), 1 + 50);
    let mut filter = Filter::fresh(Rules::tamis());
    filter.offer(Offer::CURRENT);
    let refusal = filter.session.negotiate(&Needs::new().macros(MacroStage::Mail, names(51)));
    assert!(matches!(refusal, Err(Refusal::BadMacros(_))));
    assert!(filter.sent().is_empty());
}

#[test]
fn a_missing_required_action_closes_the_session_with_a_text_for_the_operator() {
    let mut filter = Filter::fresh(Rules::tamis());
    filter.offer(Offer { actions: Actions::VERSION_2, ..Offer::CURRENT });
    let needs = Needs::everything().require(Actions::CHANGE_SENDER | Actions::ADD_HEADERS);
    let refusal = filter.session.negotiate(&needs).unwrap_err();
    assert_eq!(
        refusal,
        Refusal::MissingActions { missing: Actions::CHANGE_SENDER, offered: Actions::VERSION_2 }
    );
    let text = refusal.to_string();
    assert!(text.contains("needs change-sender") && text.contains("Sendmail without an F= flag"), "{text}");
    assert!(filter.sent().is_empty());
    assert_eq!(filter.end(), ["close"]);
}

#[test]
fn a_missing_required_action_can_refuse_every_message_instead() {
    let needs = everything().require(Actions::CHANGE_SENDER).if_missing(IfMissing::TempfailMail);
    let mut filter = Filter::with_offer(Offer::of_version(2), &needs);
    assert_eq!(
        filter.session.actions(),
        Actions::CURRENT & needs.actions(),
        "version 2 of Postfix offers all"
    );
    for version in [2, 6] {
        let offer = Offer { actions: Actions::VERSION_1, ..Offer::of_version(version) };
        let mut filter = Filter::with_offer(offer, &needs);
        let missing = Actions::CHANGE_SENDER;
        assert_eq!(filter.session.warning(), Some(Warning::RefusesMail { missing }));
        assert_eq!(filter.run("CHMMRTAMQ"), "c c t t t t t =close", "version {version}");
    }
    assert_eq!(filter.end(), ["close"]);
}

#[test]
fn larger_packets_are_used_only_if_both_want_them() {
    let with = |bits| Offer { steps: Steps::CURRENT | bits, ..Offer::CURRENT };
    for (offered, wanted, size) in [
        (Steps::PAYLOAD_256K, DataSize::M1, DataSize::K256),
        (Steps::PAYLOAD_1M, DataSize::M1, DataSize::M1),
        (Steps::PAYLOAD_1M, DataSize::K256, DataSize::K64),
        (Steps::PAYLOAD_SIZES, DataSize::K256, DataSize::K256),
        (Steps::PAYLOAD_SIZES, DataSize::K64, DataSize::K64),
        (Steps::empty(), DataSize::M1, DataSize::K64),
    ] {
        let (mut filter, answer) = answer(with(offered), &everything().data_size(wanted));
        assert_eq!(answer.steps & Steps::PAYLOAD_SIZES, negotiate::size_bit(size));
        filter.reach("CHMRLNE");
        let header = |length: usize| Edit::AddHeader {
            name: Bytes::from_static(b"X"),
            value: Bytes::from(vec![b'x'; length - 3]),
        };
        filter.session.edit(header(size.bytes())).unwrap();
        assert_eq!(
            filter.session.edit(header(size.bytes() + 1)),
            Err(Misuse::TooLong { length: size.bytes() + 1, limit: size.bytes() })
        );
    }
    let mut filter = Filter::everything();
    filter.run("CHMR");
    let value = vec![b'x'; 1_000_000];
    filter.receive(b'L', &[b"X-Long\0", &value[..], b"\0"].concat());
    assert!(matches!(filter.event(), Some(Event::Header(header)) if header.value == value));
}

#[test]
fn nothing_but_macros_and_the_end_comes_before_the_negotiation() {
    for code in *b"ABCEHKLMNRTU" {
        let mut filter = Filter::fresh(Rules::tamis());
        filter.receive(code, usual(code));
        assert_eq!(filter.fault(), Fault::OutOfOrder);
        assert_eq!(filter.end(), ["close"]);
    }
    let mut filter = Filter::fresh(Rules::tamis());
    filter.receive(b'D', b"Cj\0mta\0");
    filter.receive(b'Q', b"");
    assert_eq!(filter.event(), Some(Event::Close));
    assert!(filter.end().is_empty());
    let mut filter = Filter::fresh(Rules::tamis());
    assert_eq!(filter.session.negotiate(&Needs::new()), Err(Refusal::NotNow));
    filter.receive(b'O', &[0; 11]);
    assert_eq!(filter.fault(), Fault::Truncated);
}

#[test]
fn macros_that_came_before_the_offer_are_forgotten() {
    let mut filter = Filter::fresh(Rules::tamis());
    filter.receive(b'D', b"Cj\0early\0");
    filter.offer(Offer::CURRENT);
    filter.session.negotiate(&everything()).unwrap();
    assert_eq!(filter.session.macros().get("j"), None);
}

#[test]
fn a_second_offer_ends_the_session() {
    let mut filter = Filter::everything();
    filter.run("CHM");
    filter.receive(b'O', &[0, 0, 0, 6, 0, 0, 1, 0xff, 0, 0x1f, 0xff, 0xff]);
    assert_eq!(filter.fault(), Fault::OutOfOrder);
    assert_eq!(filter.end(), ["abort", "close"]);
}

#[test]
fn bytes_behind_the_twelve_of_an_offer_are_ignored() {
    let mut filter = Filter::fresh(Rules::tamis());
    filter.receive(b'O', &[0, 0, 0, 6, 0, 0, 1, 0xff, 0, 0x1f, 0xff, 0xff, 9, 9]);
    assert_eq!(filter.event(), Some(Event::Negotiate(Offer::CURRENT)));
}

#[test]
fn header_values_lose_and_regain_the_space_that_the_mta_cannot_keep() {
    let add = |value: &'static [u8]| Edit::AddHeader {
        name: Bytes::from_static(b"X"),
        value: Bytes::from_static(value),
    };
    let run = |steps: Steps, needs: &Needs, received: &[u8], edit: &'static [u8]| {
        let mut filter = Filter::with_offer(offer(6, Actions::CURRENT, steps), needs);
        filter.run("CHMR");
        filter.receive(b'L', &[b"X\0", received, b"\0"].concat());
        let Some(Event::Header(header)) = filter.event() else { panic!("no header") };
        filter.session.respond(Verdict::Continue).unwrap();
        filter.reach("NE");
        filter.sent();
        filter.session.edit(add(edit)).unwrap();
        let sent = filter.sent();
        (header.spaced_value().into_owned(), sent[7..sent.len() - 1].to_vec())
    };
    let wants = everything().leading_space();
    let without = Steps::CURRENT - Steps::LEADING_SPACE;
    let pair = |(a, b): (Vec<u8>, Vec<u8>)| (String::from_utf8(a).unwrap(), String::from_utf8(b).unwrap());
    let text = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    // Agreed on: as it stands, both ways.
    assert_eq!(pair(run(Steps::CURRENT, &wants, b"  v", b" v")), text("  v", " v"));
    // Not offered: the MTA took a space away and will put one there.
    assert_eq!(pair(run(without, &wants, b" v", b" v")), text("  v", "v"));
    assert_eq!(pair(run(without, &wants, b"v", b"v")), text(" v", "v"));
    // Not wanted: what the author says is what is sent.
    assert_eq!(pair(run(Steps::CURRENT, &everything(), b"v", b" v")), text(" v", " v"));
}

//! What is sent, what is left out, and what cannot be sent (appendix C "MTA side", §4.2, §4.7, §6.5).

use super::*;

#[test]
fn the_offer_is_version_6_with_everything() {
    let mut mta = Mta::fresh(MtaConfig::new(Profile::Postfix));
    assert_eq!(mta.send('C'), Err(Misuse::OutOfOrder("connect")), "nothing before the negotiation");
    mta.session.negotiate(mta.now).unwrap();
    assert_eq!(mta.sent(), frame(b'O', &[0, 0, 0, 6, 0, 0, 1, 0xff, 0, 0x1f, 0xff, 0xff]));
    assert_eq!(mta.session.negotiate(mta.now), Err(Misuse::OutOfOrder("negotiate")));
    assert_eq!(mta.send('C'), Err(Misuse::OutOfOrder("connect")), "nor before its answer");
    for (version, steps) in [(2, 0x7f), (3, 0x17f), (4, 0x37f), (6, 0x001f_ffff)] {
        let offer = Offer::of_version(version);
        assert_eq!((offer.actions.bits(), offer.steps.bits()), (0x1ff, steps));
    }
}

#[test]
fn a_whole_session_goes_out_in_order() {
    for profile in BOTH {
        let mut mta = Mta::new(profile, Steps::empty());
        assert_eq!(mta.run("CHUMRRUTLLNBBE"), "CHUMRRUTLLNBBE");
        assert_eq!(mta.run("MRTNE"), "MRTNE", "no headers, no body, no abort between");
        assert_eq!(mta.run("Q"), "Q");
        assert!(mta.session.is_closed());
        assert_eq!(mta.send('M'), Err(Misuse::Ended));
    }
}

#[test]
fn commands_above_the_filters_version_are_left_out_with_their_macros() {
    for (version, sent) in [(2, "DMMDRRNE"), (3, "DUUDMMDRRNE"), (4, "DUUDMMDRRDTTNE"), (6, "DUUDMMDRRDTTNE")]
    {
        let mut mta = Mta::with(MtaConfig::new(Profile::Postfix), version, Actions::CURRENT, Steps::empty());
        let mut letters = String::new();
        for code in "UMRTNE".chars() {
            let command = command(code);
            let macros = Macros::new(command.kind(), [("i", "1")]);
            let macros = (!"NE".contains(code)).then_some(&macros);
            let turn = mta.session.send(&command, macros, mta.now).unwrap();
            letters += &mta.letters();
            if turn == Turn::Filter {
                mta.verdict(b'c', b"");
            }
        }
        assert_eq!(letters, sent, "version {version}");
    }
}

#[test]
fn macros_of_an_unwanted_stage_are_sent_as_each_mta_does() {
    for (profile, sent) in [(Profile::Postfix, "DCDHDUDMDRDTDEE"), (Profile::Sendmail, "DCDHDMDRDEE")] {
        let mut mta = Mta::new(profile, Steps::NO_STAGES);
        for code in "CHUMRTLNBE".chars() {
            let command = command(code);
            let macros = Macros::new(command.kind(), [("i", "1")]);
            mta.session.send(&command, Some(&macros), mta.now).unwrap();
        }
        assert_eq!(mta.letters(), sent);
    }
}

#[test]
fn macros_and_their_command_are_one_write() {
    let mut mta = Mta::new(Profile::Postfix, Steps::empty());
    let macros = Macros::new(Kind::Helo, [("i", "1"), ("{empty}", "")]);
    mta.session.send(&command('H'), Some(&macros), mta.now).unwrap();
    assert_eq!(mta.sent(), [frame(b'D', b"Hi\x001\0{empty}\0\0"), frame(b'H', b"host\0")].concat());
    mta.verdict(b'c', b"");
    let none = Macros::new(Kind::Mail, [("", ""); 0]);
    mta.session.send(&command('M'), Some(&none), mta.now).unwrap();
    assert_eq!(
        mta.sent(),
        [frame(b'D', b"M"), frame(b'M', b"<a@b>\0")].concat(),
        "an empty list is sent too"
    );
}

#[test]
fn commands_that_do_not_follow_cannot_be_sent() {
    for (before, code) in [
        ("C", 'C'),
        ("C", 'R'),
        ("CHM", 'T'),
        ("CHM", 'E'),
        ("CHM", 'M'),
        ("CHMR", 'B'),
        ("CHMRT", 'R'),
        ("CHMRT", 'U'),
        ("CHMRTL", 'U'),
        ("CHMRTLN", 'L'),
        ("CHMRTLNB", 'N'),
        ("CHMRTLNB", 'U'),
        ("CHMRTLNBE", 'R'),
        ("CHMRTLNBE", 'B'),
        ("CH", 'K'),
    ] {
        for profile in BOTH {
            let mut mta = Mta::new(profile, Steps::empty());
            mta.run(before);
            let kind = command(code).kind();
            assert_eq!(mta.send(code), Err(Misuse::OutOfOrder(kind.name())), "{before}, then {code}");
            assert_eq!(mta.letters(), "");
            assert_eq!(mta.run(if before.len() < 9 { "AMRNE" } else { "MRNE" }).replace('A', ""), "MRNE");
        }
    }
    let mut mta = Mta::new(Profile::Postfix, Steps::empty());
    mta.reach("CH");
    assert_eq!(mta.send('M'), Err(Misuse::OutOfOrder("mail")), "while an answer is due");
}

#[test]
fn text_that_would_break_a_packet_cannot_be_sent() {
    let header = |name: &[u8], value: &[u8]| {
        Command::Header(Header { name: name.to_vec(), value: value.to_vec(), implied_space: false })
    };
    for (before, command) in [
        ("C", Command::Helo(b"a\0b".to_vec())),
        ("C", Command::Unknown(b"\0".to_vec())),
        ("C", Command::Mail(Envelope::with_args(b"<a\0b>", [""; 0]))),
        ("CMRT", header(b"X", b"a\0b")),
        ("CMRT", header(b"X\0", b"ab")),
        ("CMRT", header(b"", b"ab")),
        ("CMRTN", Command::Body(Vec::new())),
        ("CMRTN", Command::EndOfMessage(b"last piece".to_vec())),
    ] {
        let mut mta = Mta::new(Profile::Sendmail, Steps::empty());
        mta.run(before);
        let name = command.kind().name();
        assert_eq!(mta.session.send(&command, None, mta.now), Err(Misuse::BadText(name)));
        assert_eq!(mta.letters(), "");
    }
}

#[test]
fn a_client_whose_name_or_address_does_not_fit_cannot_be_sent() {
    let unix = |host: &[u8], path: &[u8]| Command::Connect(Connect::unix(host, path).unwrap());
    let mut mta = Mta::new(Profile::Postfix, Steps::empty());
    let abstract_socket = unix(b"localhost", b"\0abstract");
    assert_eq!(mta.session.send(&abstract_socket, None, mta.now), Err(Misuse::BadText("connect")));
    // Host, NUL, family, port, path, NUL.
    let most = vec![b'x'; 65_535 - 5];
    let long = [&most[..], b"x"].concat();
    let too_long = Misuse::TooLong { length: 65_536, limit: 65_535 };
    assert_eq!(mta.session.send(&unix(&most, b"p"), None, mta.now), Err(too_long.clone()));
    assert_eq!(mta.session.send(&unix(&long, b""), None, mta.now), Err(too_long));
    assert_eq!(mta.letters(), "");
    assert_eq!(mta.session.send(&unix(&most, b""), None, mta.now), Ok(Turn::Filter));
    assert_eq!(mta.sent().len(), 4 + 1 + 65_535);
}

#[test]
fn what_is_too_long_for_a_packet_leaves_no_trace() {
    let long = vec![b'x'; 65_535];
    let mut mta = Mta::new(Profile::Postfix, Steps::empty());
    mta.run("CHM");
    let path = Command::Rcpt(Envelope::with_args(b"<c@d>", [&long]));
    let macros = Macros::new(Kind::Rcpt, [("i", "1")]);
    let too_long = Misuse::TooLong { length: 65_542, limit: 65_535 };
    assert_eq!(mta.session.send(&path, Some(&macros), mta.now), Err(too_long));
    assert_eq!(mta.letters(), "", "not even its macros");
    assert_eq!(mta.send('T'), Err(Misuse::OutOfOrder("data")), "there is no recipient yet");
    let macros = Macros::new(Kind::Rcpt, [("i", &long)]);
    assert!(matches!(mta.session.send(&command('R'), Some(&macros), mta.now), Err(Misuse::TooLong { .. })));
    assert_eq!(mta.letters(), "");
    mta.run("RT");
    let header = Command::Header(Header { name: b"X".to_vec(), value: long.clone(), implied_space: false });
    let macros = Macros::new(Kind::Header, [("i", "1")]);
    assert_eq!(mta.session.send(&header, Some(&macros), mta.now), Ok(Turn::TooLong));
    assert_eq!(mta.letters(), "", "an over-long header is left out, not cut");
    mta.run("LN");
    let body = Command::Body(vec![b'x'; 65_536]);
    assert_eq!(
        mta.session.send(&body, None, mta.now),
        Err(Misuse::TooLong { length: 65_536, limit: 65_535 })
    );
    assert_eq!(mta.session.send(&Command::Body(long), None, mta.now), Ok(Turn::Filter));
}

#[test]
fn larger_packets_are_sent_only_if_both_agreed() {
    for (steps, size) in [
        (Steps::empty(), DataSize::K64),
        (Steps::PAYLOAD_256K, DataSize::K256),
        (Steps::PAYLOAD_1M, DataSize::M1),
    ] {
        let offer = Offer { steps: Steps::CURRENT | Steps::PAYLOAD_SIZES, ..Offer::CURRENT };
        let config = MtaConfig::new(Profile::Sendmail).with_offer(offer);
        let mut mta = Mta::with(config, 6, Actions::CURRENT, steps);
        assert_eq!(mta.session.data_size(), size);
        mta.run("CHMRT");
        for (length, turn) in [(size.bytes() - 3, Turn::Filter), (size.bytes() - 2, Turn::TooLong)] {
            let value = vec![b'x'; length];
            let header = Command::Header(Header { name: b"X".to_vec(), value, implied_space: false });
            assert_eq!(mta.session.send(&header, None, mta.now), Ok(turn), "{size:?}");
            if turn == Turn::Filter {
                mta.verdict(b'c', b"");
            }
        }
        mta.run("N");
        let body = Command::Body(vec![b'x'; 65_536]);
        assert!(mta.session.send(&body, None, mta.now).is_err(), "body pieces stay at 64 KiB");
    }
}

#[test]
fn the_space_after_the_colon_is_sent_only_if_that_was_agreed_on() {
    for (steps, value, implied_space, wire) in [
        (Steps::empty(), &b"  two"[..], false, &b"X\0 two\0"[..]),
        (Steps::empty(), b"\ttab", false, b"X\0\ttab\0"),
        (Steps::empty(), b"none", false, b"X\0none\0"),
        (Steps::empty(), b" two", true, b"X\0 two\0"),
        (Steps::empty(), b"", false, b"X\0\0"),
        (Steps::LEADING_SPACE, b"  two", false, b"X\0  two\0"),
        (Steps::LEADING_SPACE, b"none", false, b"X\0none\0"),
        (Steps::LEADING_SPACE, b" two", true, b"X\0  two\0"),
        (Steps::LEADING_SPACE, b"a\n b", false, b"X\0a\n b\0"),
    ] {
        let mut mta = Mta::new(Profile::Postfix, steps);
        mta.run("MR");
        let header = Command::Header(Header { name: &b"X"[..], value, implied_space });
        mta.session.send(&header, None, mta.now).unwrap();
        assert_eq!(mta.sent(), frame(b'L', wire));
    }
}

#[test]
fn stages_that_are_not_answered_keep_the_turn() {
    let mut mta = Mta::new(Profile::Postfix, Steps::NO_REPLIES);
    for code in "CHUMRTLNB".chars() {
        assert_eq!(mta.send(code), Ok(Turn::Mta), "{code}");
    }
    assert_eq!(mta.send('E'), Ok(Turn::Filter));
    assert_eq!(mta.letters(), "CHUMRTLNBE");
}

#[test]
fn stages_that_are_not_wanted_are_left_out() {
    let mut mta = Mta::new(Profile::Sendmail, Steps::NO_STAGES);
    for code in "CHUMRTLNB".chars() {
        assert_eq!(mta.send(code), Ok(Turn::Unwanted), "{code}");
    }
    assert_eq!(mta.run("E"), "E");
}

#[test]
fn nothing_of_a_message_goes_on_when_all_recipients_are_refused() {
    let mut mta = Mta::new(Profile::Postfix, Steps::empty());
    mta.reach("CHMR");
    assert_eq!(mta.verdict(b'r', b""), Verdict::Reject);
    for code in "TLN".chars() {
        assert!(matches!(mta.send(code), Err(Misuse::OutOfOrder(_))));
    }
    mta.reach("R");
    mta.verdict(b'y', b"450 later\0");
    assert!(mta.send('T').is_err());
    assert_eq!(mta.run("RTLNE"), "RTLNE", "one that is accepted");
    mta.reach("MR");
    mta.verdict(b't', b"");
    assert!(mta.send('T').is_err(), "counted anew in each message");
    assert_eq!(mta.run("AMRTNE"), "AMRTNE");
}

#[test]
fn aborts_follow_the_habit_of_each_mta() {
    for (profile, sent) in [(Profile::Postfix, "CHAMRNEAAMAMRAHA"), (Profile::Sendmail, "CHMRNEMAMRAH")] {
        let mut mta = Mta::new(profile, Steps::empty());
        assert_eq!(mta.run("CHAMRNEAAMAMRAHA"), sent, "{profile:?}");
    }
}

#[test]
fn a_helo_inside_a_message_ends_it() {
    for (profile, sent) in [(Profile::Postfix, "HMRHAMRNE"), (Profile::Sendmail, "HMRHMRNE")] {
        let mut mta = Mta::new(profile, Steps::empty());
        assert_eq!(mta.run("HMRHAMRNE"), sent);
        mta.run("MRH");
        assert!(mta.send('R').is_err(), "the filter has no message any more");
        assert_eq!(mta.run("MRNE"), "MRNE");
    }
    let mut mta = Mta::new(Profile::Sendmail, Steps::NO_HELO);
    assert_eq!(mta.run("HMRHA"), "MRA", "a filter that does not see it needs the abort");
}

#[test]
fn a_quit_follows_a_verdict_on_the_connection_on_sendmail_only() {
    for way in ["C", "CH"] {
        for (code, payload) in [(b'a', &b""[..]), (b'r', b""), (b't', b""), (b'y', b"550 no\0")] {
            for (profile, sent) in [(Profile::Postfix, ""), (Profile::Sendmail, "Q")] {
                let mut mta = Mta::new(profile, Steps::empty());
                mta.reach(way);
                mta.verdict(code, payload);
                assert!(mta.session.sits_out());
                for code in "HUMRTLNBEAMR".chars() {
                    assert_eq!(mta.send(code), Ok(Turn::Unwanted));
                }
                mta.send('Q').unwrap();
                assert_eq!(mta.letters(), sent, "{profile:?}");
            }
        }
        let mut mta = Mta::new(Profile::Postfix, Steps::empty());
        mta.reach(way);
        mta.verdict(b'd', b"");
        assert!(!mta.session.sits_out(), "both go on after a discard");
    }
}

#[test]
fn the_rest_of_a_message_that_was_decided_is_not_sent() {
    for (letter, payload) in [(b'a', &b""[..]), (b'r', b""), (b't', b""), (b'd', b""), (b'y', b"550 no\0")] {
        for way in ["M", "MR", "MRT", "MRTL", "MRTLN", "MRTLNB"] {
            if way == "MR" && b"rty".contains(&letter) {
                continue;
            }
            // Sendmail aborts what another filter or the client ended, and what was discarded (spec §3.2).
            let sendmail = if letter == b'd' { "AMRTLNBE" } else { "MRTLNBE" };
            for (profile, next) in [(Profile::Postfix, "AMRTLNBE"), (Profile::Sendmail, sendmail)] {
                let mut mta = Mta::new(profile, Steps::empty());
                mta.reach(way);
                mta.verdict(letter, payload);
                for code in "RTLNBE".chars() {
                    assert_eq!(mta.send(code), Ok(Turn::Unwanted));
                }
                assert_eq!(mta.run("AMRTLNBE"), next);
            }
        }
    }
}

#[test]
fn a_skipped_body_is_not_sent_but_the_next_one_is() {
    let mut mta = Mta::new(Profile::Postfix, Steps::SKIP);
    mta.reach("MRTLNB");
    assert_eq!(mta.verdict(b's', b""), Verdict::Skip);
    assert_eq!(mta.run("BBE"), "E");
    assert_eq!(mta.run("MRTLNBBE"), "MRTLNBBE");
}

#[test]
fn steps_that_are_sent_on_need_none_before_them() {
    let config = MtaConfig::new(Profile::Sendmail).relaying();
    for codes in ["E", "LBE", "RRE", "MBLUNE", "UTRM"] {
        let mut mta = Mta::with(config, 6, Actions::CURRENT, Steps::NO_REPLIES);
        for code in codes.chars() {
            let due = code == 'E';
            assert_eq!(mta.send(code), Ok(if due { Turn::Filter } else { Turn::Mta }), "{code} in {codes}");
        }
        assert_eq!(mta.letters(), codes);
    }
    // What ends early does so for the filter that sits behind, too.
    let mut mta = Mta::with(config, 6, Actions::CURRENT, Steps::empty());
    mta.run("R");
    assert_eq!(mta.send('L'), Ok(Turn::Filter));
    mta.verdict(b'a', b"");
    assert!(mta.session.is_settled() && !mta.session.in_message());
    assert_eq!((mta.send('B'), mta.send('E')), (Ok(Turn::Unwanted), Ok(Turn::Unwanted)));
    assert_eq!(mta.send('U'), Ok(Turn::Filter), "it may be said after the message");
    mta.verdict(b'c', b"");
    assert_eq!(mta.send('A'), Ok(Turn::Unwanted));
    mta.run("R");
    assert!(mta.session.in_message());
}

#[test]
fn values_that_are_sent_on_may_be_careless_but_not_the_rest() {
    let config = MtaConfig::new(Profile::Sendmail);
    for (config, taken) in [(config, false), (config.relaying(), true)] {
        let mut mta = Mta::with(config, 6, Actions::CURRENT, Steps::empty());
        mta.run("CHMRTLNB");
        mta.send('E').unwrap();
        let event = mta.reply(b'h', b"X\0a\r\n\tb\nc\0");
        assert_eq!(matches!(event, MtaEvent::Edit(_)), taken);
        assert!(matches!(mta.reply(b'h', b"X\nY\0z\0"), MtaEvent::RefusedEdit(..)));
        assert!(matches!(mta.reply(b'+', b"<a@b>\n\0"), MtaEvent::RefusedEdit(..)));
    }
}

#[test]
fn pieces_of_the_body_can_be_sent_as_the_handles_they_are() {
    let mut mta = Mta::new(Profile::Postfix, Steps::SKIP);
    mta.run("CHMRTLN");
    for length in [1, 5_000, 65_535] {
        let piece = bytes::Bytes::from(vec![b'x'; length]);
        assert_eq!(mta.session.send_body(piece.clone(), mta.now), Ok(Turn::Filter));
        assert_eq!(mta.sent(), frame(b'B', &piece));
        mta.verdict(b'c', b"");
    }
    let too_long = Misuse::TooLong { length: 65_536, limit: 65_535 };
    assert_eq!(mta.session.send_body(vec![b'x'; 65_536].into(), mta.now), Err(too_long));
    assert_eq!(mta.session.send_body(bytes::Bytes::new(), mta.now), Err(Misuse::BadText("body")));
    assert_eq!(mta.sent(), b"");
    mta.session.send_body("x".into(), mta.now).unwrap();
    mta.sent();
    mta.verdict(b's', b"");
    assert_eq!(mta.session.send_body("x".into(), mta.now), Ok(Turn::Unwanted));
    assert_eq!(mta.sent(), b"");
}

#[test]
fn macros_can_be_sent_by_themselves_while_no_answer_is_due() {
    let mut mta = Mta::new(Profile::Postfix, Steps::empty());
    let macros = Macros::new(Kind::Rcpt, [("i", "1")]);
    assert_eq!(mta.session.send_macros(&macros), Ok(()));
    assert_eq!(mta.letters(), "DR");
    let long = Macros::new(Kind::Rcpt, [("i", "x".repeat(65_535))]);
    assert!(matches!(mta.session.send_macros(&long), Err(Misuse::TooLong { limit: 65_535, .. })));
    mta.send('C').unwrap();
    assert_eq!(mta.session.send_macros(&macros), Err(Misuse::OutOfOrder("macros")));
    assert_eq!(mta.letters(), "C");
    mta.verdict(b'c', b"");
    mta.send('Q').unwrap();
    assert_eq!(mta.session.send_macros(&macros), Err(Misuse::Ended));
}

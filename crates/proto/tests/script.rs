//! Scripts: playing one is the same as sending its commands one by one.

use std::io::IoSlice;
use std::time::Instant;

use bytes::{Buf, Bytes};
use proptest::prelude::*;
use tamis_proto::command::{Envelope, Header, Kind, Macros};
use tamis_proto::{Command, Misuse, MtaConfig, MtaEvent, MtaSession, Offer, Profile, Script, Steps, Turn};

/// A session that agreed on these steps.
fn session(profile: Profile, version: u32, steps: Steps) -> MtaSession {
    let config = MtaConfig::new(profile).with_offer(Offer::of_version(version));
    let mut session = MtaSession::new(config);
    session.negotiate(Instant::now()).unwrap();
    written(&mut session);
    let steps = steps & config.offer.steps;
    let answer = [version, 0, steps.bits()].map(u32::to_be_bytes).concat();
    let event = say(&mut session, b'O', &answer).unwrap();
    assert!(event.starts_with("Negotiated"), "{event}");
    session
}

fn written(session: &mut MtaSession) -> Vec<u8> {
    let output = session.output();
    let bytes = output.copy_to_bytes(output.remaining());
    bytes.to_vec()
}

/// Has the filter say something.
fn say(session: &mut MtaSession, code: u8, payload: &[u8]) -> Result<String, String> {
    let length = u32::try_from(payload.len() + 1).unwrap();
    let frame = [&length.to_be_bytes()[..], &[code], payload].concat();
    match session.next(&frame, Instant::now()) {
        Ok((used, event)) => {
            assert_eq!(used, frame.len());
            let event: MtaEvent<'_> = event.unwrap();
            Ok(format!("{event:?}"))
        }
        Err(error) => Err(error.to_string()),
    }
}

/// A message, from the abort of the one before to its end.
fn message() -> Vec<Command<Bytes>> {
    let path = |text: &'static str| Envelope::with_args(text.as_bytes(), ["SIZE=9"]).map(Bytes::from);
    let header = |value: Vec<u8>| {
        Command::Header(Header { name: Bytes::from_static(b"X"), value: value.into(), implied_space: false })
    };
    vec![
        Command::Abort,
        Command::Mail(path("<a@example.com>")),
        Command::Rcpt(path("<b@example.com>")),
        Command::Rcpt(path("<c@example.com>")),
        Command::Data,
        header(b" v".to_vec()),
        // It does not fit and is left out.
        header(vec![b'x'; 70_000]),
        header(b"w".to_vec()),
        Command::EndOfHeaders,
        Command::Body(Bytes::from(vec![b'b'; 65_535])),
        Command::Body(Bytes::from_static(b"small\r\n")),
        Command::Body(Bytes::from(vec![b'c'; 20_000])),
        Command::EndOfMessage(Bytes::new()),
    ]
}

fn macros(command: &Command<Bytes>) -> Option<Macros<Vec<u8>>> {
    let kind = command.kind();
    (kind != Kind::Abort).then(|| Macros::new(kind, [("i", "4T1")]))
}

fn record(session: &MtaSession) -> Script {
    let mut script = Script::new();
    for command in message() {
        session.record(&mut script, &command, macros(&command).as_ref()).unwrap();
    }
    assert_eq!(script.len(), message().len());
    script
}

/// What is written up to the next answer: the bytes, whether there is one, and the error at the end.
type Written = (Vec<u8>, bool, Option<Misuse>);

fn send_on(session: &mut MtaSession, at: &mut usize) -> Written {
    let mut bytes = Vec::new();
    for command in message().iter().skip(*at) {
        match session.send(command, macros(command).as_ref(), Instant::now()) {
            Ok(turn) => {
                *at += 1;
                bytes.extend(written(session));
                if turn == Turn::Filter {
                    return (bytes, true, None);
                }
            }
            Err(misuse) => return (bytes, false, Some(misuse)),
        }
    }
    (bytes, false, None)
}

fn play_on(session: &mut MtaSession, script: &Script, at: &mut usize) -> Written {
    let mut bytes = Vec::new();
    while *at < script.len() {
        match session.play(script, at, Instant::now()) {
            Ok((turn, mut range)) => {
                // As a driver whose writes take little does.
                while !range.is_empty() {
                    let mut slots = [IoSlice::new(&[]); 2];
                    let count = script.slices(&range, &mut slots);
                    let piece: Vec<u8> = slots[..count].iter().flat_map(|slot| slot.to_vec()).collect();
                    let taken = piece.len().min(30_000);
                    bytes.extend_from_slice(&piece[..taken]);
                    range.start += taken as u64;
                }
                if turn == Turn::Filter {
                    return (bytes, true, None);
                }
            }
            Err(misuse) => return (bytes, false, Some(misuse)),
        }
    }
    (bytes, false, None)
}

proptest! {
    #[test]
    fn playing_a_script_is_sending_its_commands(
        postfix in any::<bool>(),
        version in 2_u32..=6,
        bits in any::<u32>(),
        replies in prop::collection::vec(prop::sample::select(&b"ccccccartds"[..]), 1..80),
    ) {
        let profile = if postfix { Profile::Postfix } else { Profile::Sendmail };
        let allowed = Steps::NO_STAGES | Steps::NO_REPLIES | Steps::SKIP | Steps::LEADING_SPACE;
        let steps = Steps::from_bits_retain(bits) & allowed;
        let mut sends = session(profile, version, steps);
        let mut plays = session(profile, version, steps);
        let script = record(&plays);
        let mut replies = replies.into_iter();
        // The first message has nothing to abort.
        let mut at = 1;
        'messages: loop {
            let (mut sent_to, mut played_to) = (at, at);
            loop {
                let sent = send_on(&mut sends, &mut sent_to);
                let played = play_on(&mut plays, &script, &mut played_to);
                prop_assert_eq!(&sent, &played);
                prop_assert_eq!(sent_to, played_to);
                prop_assert_eq!(sends.waits_for(), plays.waits_for());
                if !sent.1 {
                    break;
                }
                let Some(reply) = replies.next() else { break 'messages };
                let heard = say(&mut sends, reply, b"");
                prop_assert_eq!(&heard, &say(&mut plays, reply, b""));
                if heard.is_err() {
                    break 'messages;
                }
            }
            at = 0;
            if replies.len() == 0 {
                break;
            }
        }
        prop_assert_eq!(sends.is_closed(), plays.is_closed());
    }
}

#[test]
fn everything_that_is_not_answered_leaves_in_one_piece_with_what_is() {
    let steps = Steps::NO_REPLIES;
    let mut session = session(Profile::Postfix, 6, steps);
    let mut script = Script::new();
    for command in message().into_iter().filter(|command| !matches!(command, Command::Body(_))) {
        session.record(&mut script, &command, macros(&command).as_ref()).unwrap();
    }
    let mut at = 1;
    let (turn, range) = session.play(&script, &mut at, Instant::now()).unwrap();
    assert_eq!((turn, at), (Turn::Filter, script.len()));
    let mut slots = [IoSlice::new(&[]); 4];
    assert_eq!(script.slices(&range, &mut slots), 1);
    assert_eq!(slots[0].len() as u64, range.end - range.start);
}

#[test]
fn what_is_left_out_in_the_middle_is_not_written() {
    // Sendmail says abort only inside a message.
    let mut session = session(Profile::Sendmail, 6, Steps::NO_REPLIES);
    let mut script = Script::new();
    let helo = || Command::Helo(Bytes::from_static(b"h"));
    for command in [helo(), Command::Abort, helo()] {
        session.record(&mut script, &command, None).unwrap();
    }
    let mut at = 0;
    let (turn, first) = session.play(&script, &mut at, Instant::now()).unwrap();
    assert_eq!((turn, at, &first), (Turn::Mta, 1, &(0..7)));
    let (turn, second) = session.play(&script, &mut at, Instant::now()).unwrap();
    assert_eq!((turn, at, &second), (Turn::Mta, 3, &(12..19)));
}

#[test]
fn large_pieces_of_a_body_are_not_copied() {
    let session = session(Profile::Postfix, 6, Steps::NO_REPLIES);
    let mut script = Script::new();
    let piece = Bytes::from(vec![b'x'; 65_535]);
    for _ in 0..500 {
        session.record(&mut script, &Command::Body(piece.clone()), None).unwrap();
    }
    let mut slots = [IoSlice::new(&[]); 1_000];
    assert_eq!(script.slices(&(0..500 * 65_540), &mut slots), 1_000);
    assert!(slots.iter().skip(1).step_by(2).all(|slot| slot.as_ptr() == piece.as_ptr()));
}

#[test]
fn script_of_another_agreement_is_refused() {
    let answered = session(Profile::Postfix, 6, Steps::empty());
    let mut silent = session(Profile::Postfix, 6, Steps::NO_REPLIES);
    let mut script = record(&answered);
    assert_eq!(silent.play(&script, &mut 1, Instant::now()), Err(Misuse::OtherAgreement));
    assert_eq!(silent.record(&mut script, &Command::Abort, None), Err(Misuse::OtherAgreement));
    assert_eq!(silent.waits_for(), None);
}

#[test]
fn commands_that_cannot_be_sent_are_not_recorded() {
    let session = session(Profile::Postfix, 6, Steps::empty());
    let mut script = Script::new();
    for command in [Command::Quit, Command::Body(Bytes::new()), Command::Helo(Bytes::from_static(b"a\0b"))] {
        assert!(session.record(&mut script, &command, None).is_err(), "{command:?}");
    }
    assert!(script.is_empty());
}

#[test]
fn time_of_the_filter_begins_when_all_is_written() {
    let mut session = session(Profile::Postfix, 6, Steps::NO_REPLIES);
    let script = record(&session);
    let begin = Instant::now();
    session.play(&script, &mut 1, begin).unwrap();
    let later = begin + std::time::Duration::from_mins(1);
    let deadline = session.deadline().unwrap();
    session.written(later);
    assert_eq!(session.deadline().unwrap() - deadline, later - begin);
}

#[test]
fn steps_that_do_not_follow_are_refused() {
    let mut session = session(Profile::Postfix, 6, Steps::empty());
    let mut script = Script::new();
    session.record(&mut script, &Command::Data, None).unwrap();
    assert_eq!(session.play(&script, &mut 0, Instant::now()), Err(Misuse::OutOfOrder("data")));
}

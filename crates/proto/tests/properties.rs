//! Properties that hold for any bytes: the codec is exact, and neither session panics or depends on how its
//! stream is cut.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use bytes::{Buf, Bytes};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use tamis_proto::command::{Connect, Envelope, Header, Kind, Macros};
use tamis_proto::{
    Actions, Answer, Command, Edit, Event, FilterSession, Frame, Limits, MtaConfig, MtaEvent, MtaSession,
    Needs, Offer, Output, Profile, Reply, Rules, Stage, Steps, Turn, Verdict, trace,
};

fn text() -> impl Strategy<Value = Vec<u8>> {
    vec(1_u8.., 0..20)
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    vec(1_u8.., 1..8)
}

fn bits() -> impl Strategy<Value = (u32, Actions, Steps)> {
    any::<[u32; 3]>().prop_map(|[v, a, s]| (v, Actions::from_bits_retain(a), Steps::from_bits_retain(s)))
}

fn any_command() -> impl Strategy<Value = Command<Vec<u8>>> {
    let envelope =
        || (text(), vec(text(), 0..4)).prop_map(|(address, args)| Envelope::with_args(&address, args));
    let client = (text(), any::<IpAddr>(), any::<u16>(), any::<bool>())
        .prop_map(|(host, ip, port, sendmail)| Connect::inet(host, SocketAddr::new(ip, port), sendmail));
    prop_oneof![
        bits().prop_map(|(version, actions, steps)| Command::Negotiate(Offer { version, actions, steps })),
        client.prop_map(Command::Connect),
        text().prop_map(|host| Command::Connect(Connect::unknown(host))),
        (text(), text()).prop_map(|(host, path)| Command::Connect(Connect::unix(host, path).unwrap())),
        text().prop_map(Command::Helo),
        envelope().prop_map(Command::Mail),
        envelope().prop_map(Command::Rcpt),
        (name(), text())
            .prop_map(|(name, value)| { Command::Header(Header { name, value, implied_space: false }) }),
        vec(any::<u8>(), 1..40).prop_map(Command::Body),
        vec(any::<u8>(), 0..40).prop_map(Command::EndOfMessage),
        text().prop_map(Command::Unknown),
        (select(&Kind::ALL[..]), vec((name(), text()), 0..4))
            .prop_map(|(kind, pairs)| Command::Macros(Macros::new(kind, pairs))),
        select(vec![
            Command::Data,
            Command::EndOfHeaders,
            Command::Abort,
            Command::Quit,
            Command::QuitNewConnection
        ]),
    ]
}

fn any_edit() -> impl Strategy<Value = Edit<Vec<u8>>> {
    prop_oneof![
        (text(), text()).prop_map(|(name, value)| Edit::AddHeader { name, value }),
        (any::<u32>(), text(), text()).prop_map(|(index, name, value)| Edit::InsertHeader {
            index,
            name,
            value
        }),
        (any::<u32>(), text(), text()).prop_map(|(index, name, value)| Edit::ChangeHeader {
            index,
            name,
            value
        }),
        (text(), option::of(text())).prop_map(|(address, args)| Edit::ChangeSender { address, args }),
        text().prop_map(|address| Edit::AddRecipient { address }),
        (text(), option::of(text())).prop_map(|(address, args)| Edit::AddRecipientWithArgs { address, args }),
        text().prop_map(|address| Edit::DeleteRecipient { address }),
        vec(any::<u8>(), 0..40).prop_map(Edit::ReplaceBody),
        text().prop_map(|reason| Edit::Quarantine { reason }),
    ]
}

fn any_reply() -> impl Strategy<Value = Reply<Vec<u8>>> {
    prop_oneof![
        (bits(), vec(any::<u8>(), 0..20)).prop_map(|((version, actions, steps), macros)| {
            Reply::Negotiate(Answer { version, actions, steps, macros })
        }),
        text().prop_map(Reply::Custom),
        any_edit().prop_map(Reply::Edit),
        select(vec![
            Reply::Continue,
            Reply::Accept,
            Reply::Reject,
            Reply::Tempfail,
            Reply::Discard,
            Reply::Skip,
            Reply::Progress,
            Reply::ConnectionFailed,
            Reply::Shutdown
        ]),
    ]
}

fn only_frame(wire: &[u8]) -> Frame<'_> {
    let (used, frame) = Frame::parse(wire, usize::MAX).unwrap().unwrap();
    assert_eq!(used, wire.len());
    frame
}

fn wire(code: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len() + 1).unwrap();
    [&length.to_be_bytes()[..], &[code], payload].concat()
}

/// Payloads that are often nearly right.
fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(Vec::new()),
        select(vec![
            b"text\0".to_vec(),
            b"one\0two\0".to_vec(),
            b"<a@b>\0SIZE=1\0".to_vec(),
            b"host\x004\0\x19192.0.2.1\0".to_vec(),
            b"Cj\0mta\0".to_vec(),
            b"550 5.7.1 no\0".to_vec(),
            b"\0\0\0\x01X\0v\0".to_vec(),
            b"X\0v\0".to_vec(),
            vec![0, 0, 0, 6, 0, 0, 1, 0xff, 0, 0x1f, 0xff, 0xff],
            vec![0, 0, 0, 6, 0, 0, 0, 1, 0, 0, 4, 0],
        ]),
        vec(any::<u8>(), 0..16),
    ]
}

/// A payload that belongs to a letter.
fn usual(code: u8) -> &'static [u8] {
    match code {
        b'C' => b"host\x004\0\x19192.0.2.1\0",
        b'D' => b"Mi\0Q1\0",
        b'H' | b'U' => b"text\0",
        b'M' | b'R' => b"<a@b>\0SIZE=1\0",
        b'+' | b'-' | b'2' | b'e' | b'q' => b"<a@b>\0",
        b'L' | b'h' => b"X\0v\0",
        b'i' | b'm' => b"\0\0\0\x01X\0v\0",
        b'B' | b'b' => b"body\r\n",
        b'y' => b"550 5.7.1 no\0",
        _ => b"",
    }
}

/// Rows of frames by their letters, mostly as they should be, with a wrong payload, frame or byte now and then.
fn stream(rows: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    let row = select(rows).prop_map(|row| row.bytes().flat_map(|code| wire(code, usual(code))).collect());
    let wrong = (any::<u8>(), payload()).prop_map(|(code, payload)| wire(code, &payload));
    let odd = (select(rows), payload()).prop_map(|(row, payload)| wire(row.as_bytes()[0], &payload));
    let junk = vec(any::<u8>(), 0..9);
    vec(prop_oneof![40 => row, 2 => odd, 1 => wrong, 1 => junk], 0..40)
        .prop_map(|parts: Vec<Vec<u8>>| parts.concat())
}

fn drain(output: &mut Output) -> Vec<u8> {
    let mut sent = Vec::new();
    while output.has_remaining() {
        sent.extend_from_slice(output.chunk());
        let length = output.chunk().len();
        output.advance(length);
    }
    sent
}

/// A legal verdict for each number.
fn verdict(number: u8) -> Verdict {
    match number % 16 {
        0 => Verdict::Accept,
        1 => Verdict::Reject,
        2 => Verdict::Tempfail,
        3 => Verdict::Discard,
        4 => Verdict::Skip,
        5 => Verdict::reject("5.7.1", "100% no"),
        6 => Verdict::shutdown("bye"),
        _ => Verdict::Continue,
    }
}

fn needs(seed: u32) -> Needs {
    let (mut answer, mut watch) = (Vec::new(), Vec::new());
    for (place, stage) in Stage::ALL.into_iter().enumerate() {
        match seed >> (2 * place) & 3 {
            0 => {}
            1 => watch.push(stage),
            _ => answer.push(stage),
        }
    }
    Needs::new().answer(answer).watch(watch).allow(Actions::CURRENT).skip(seed >> 20 & 1 == 0)
}

/// What a filter's session makes of a stream that comes in pieces of these sizes, over and over.
fn filter_log(rules: Rules, seed: u32, verdicts: &[u8], wire: &[u8], cuts: &[usize]) -> Vec<String> {
    let mut session = FilterSession::new(rules, Limits::default());
    let (mut log, mut count, mut start, mut end) = (Vec::new(), 0, 0, 0);
    let mut sent = Vec::new();
    let mut cuts = cuts.iter().cycle();
    'stream: loop {
        loop {
            let (used, event) = match session.next(&wire[start..end]) {
                Ok(next) => next,
                Err(error) => {
                    log.push(error.to_string());
                    break 'stream;
                }
            };
            start += used;
            let Some(event) = event else { break };
            log.push(format!("{event:?}"));
            let choice = verdicts[count % verdicts.len()];
            count += 1;
            if matches!(event, Event::Negotiate(_)) {
                log.push(format!("{:?}", session.negotiate(&needs(seed))));
            } else if event.stage().is_some() {
                let edit = Edit::ReplaceBody(Bytes::from(vec![choice; usize::from(choice)]));
                log.push(format!("{:?} {:?}", session.edit(edit), session.progress()));
                let said = session.respond(verdict(choice));
                log.push(format!("{said:?}"));
                if said.is_err() {
                    session.respond(Verdict::Continue).unwrap();
                }
            }
            sent.extend(drain(session.output()));
        }
        if end == wire.len() {
            log.push(format!("{:?}", session.eof(&wire[start..])));
            break;
        }
        end = wire.len().min(end + cuts.next().unwrap());
    }
    let last: Vec<_> = std::iter::from_fn(|| session.end()).collect();
    log.push(format!("{last:?} {sent:?}"));
    log
}

/// A session of an MTA, letter by letter.
const SCRIPT: &str = "CHUMRRTLLNBBEMRUAHMRTLNBE";

fn mta_log(profile: Profile, steps: Steps, wire: &[u8], cuts: &[usize]) -> Vec<String> {
    let now = Instant::now();
    let config = MtaConfig::new(profile);
    let mut session = MtaSession::new(config);
    session.negotiate(now).unwrap();
    let answer = [6, 0x1ff, steps.bits()].map(u32::to_be_bytes).concat();
    session.next(&self::wire(b'O', &answer), now).unwrap();
    let (mut log, mut start, mut end) = (Vec::new(), 0, 0);
    let mut cuts = cuts.iter().cycle();
    for letter in SCRIPT.chars() {
        let command: Command<&[u8]> = match letter {
            'C' => Command::Helo(b"instead of connect"),
            'H' => Command::Helo(b"host"),
            'U' => Command::Unknown(b"FOO"),
            'M' => Command::Mail(Envelope::new(b"<a@b>")),
            'R' => Command::Rcpt(Envelope::new(b"<c@d>")),
            'T' => Command::Data,
            'L' => Command::Header(Header { name: b"X", value: b" v", implied_space: false }),
            'N' => Command::EndOfHeaders,
            'B' => Command::Body(b"body"),
            'E' => Command::EndOfMessage(b""),
            _ => Command::Abort,
        };
        let turn = session.send(&command, None, now);
        log.push(format!("{letter} {turn:?}"));
        while turn == Ok(Turn::Filter) && session.waits_for().is_some() {
            match session.next(&wire[start..end], now) {
                Ok((used, Some(event))) => {
                    start += used;
                    log.push(format!("{event:?}"));
                }
                Ok((_, None)) if end == wire.len() => {
                    log.push(format!("{:?}", session.eof(&wire[start..])));
                    return log;
                }
                Ok((_, None)) => end = wire.len().min(end + cuts.next().unwrap()),
                Err(error) => {
                    log.push(error.to_string());
                    return log;
                }
            }
        }
    }
    log
}

proptest! {
    #[test]
    fn commands_are_read_as_they_were_written(command in any_command()) {
        let mut bytes = Vec::new();
        command.encode(&mut bytes);
        for rules in [Rules::tamis(), Rules::libmilter(), Rules::tamis().strict()] {
            let decoded = Command::decode(only_frame(&bytes), rules).unwrap();
            prop_assert_eq!(format!("{decoded:?}"), format!("{command:?}"));
        }
    }

    #[test]
    fn replies_are_read_as_they_were_written(reply in any_reply()) {
        let mut bytes = Vec::new();
        reply.encode(&mut bytes);
        let decoded = Reply::decode(only_frame(&bytes)).unwrap();
        prop_assert_eq!(format!("{decoded:?}"), format!("{reply:?}"));
        if let Reply::Edit(edit) = reply {
            prop_assert_eq!(edit.payload_len(), bytes.len() - 5);
        }
    }

    #[test]
    fn commands_that_are_read_strictly_are_written_as_they_were(
        code in select(&b"OCHMRLBEUDTNAQK"[..]),
        payload in payload(),
    ) {
        let bytes = wire(code, &payload);
        if let Ok(command) = Command::decode(only_frame(&bytes), Rules::tamis().strict()) {
            let mut again = Vec::new();
            command.encode(&mut again);
            match command {
                Command::Negotiate(_) => prop_assert_eq!(&again[5..], &bytes[5..17]),
                Command::Data | Command::EndOfHeaders | Command::Abort | Command::Quit
                | Command::QuitNewConnection => prop_assert_eq!(&again[4..], &bytes[4..5]),
                _ => prop_assert_eq!(again, bytes),
            }
        }
    }

    #[test]
    fn replies_that_are_read_are_written_as_they_were(code in any::<u8>(), payload in payload()) {
        let bytes = wire(code, &payload);
        if let Ok(reply) = Reply::decode(only_frame(&bytes)) {
            let mut again = Vec::new();
            reply.encode(&mut again);
            prop_assert_eq!(again, bytes);
        }
    }

    #[test]
    fn any_frame_can_be_written_out_for_people(code in any::<u8>(), payload in vec(any::<u8>(), 0..40)) {
        let frame = Frame { code, payload: &payload };
        for text in [trace::FromMta(frame).to_string(), trace::FromFilter(frame).to_string()] {
            prop_assert!(!text.contains(char::is_control), "{text:?}");
        }
    }

    #[test]
    fn a_filters_session_does_not_depend_on_how_the_stream_is_cut(
        tail in stream(&["CH", "MRTLNBE", "MRE", "MRRLLNBBE", "M", "R", "NBE", "T", "L", "U", "A", "K", "KCH", "H", "DM", "E"]),
        negotiated in any::<bool>(),
        seed in any::<u32>(),
        verdicts in vec(any::<u8>(), 1..8),
        cuts in vec(1_usize..40, 1..6),
    ) {
        let mut bytes = Vec::new();
        if negotiated {
            Command::<&[u8]>::Negotiate(Offer::CURRENT).encode(&mut bytes);
        }
        bytes.extend(tail);
        for rules in [Rules::tamis(), Rules::libmilter()] {
            let whole = filter_log(rules, seed, &verdicts, &bytes, &[bytes.len().max(1)]);
            prop_assert_eq!(&filter_log(rules, seed, &verdicts, &bytes, &cuts), &whole);
            prop_assert_eq!(&filter_log(rules, seed, &verdicts, &bytes, &[1]), &whole);
        }
    }

    #[test]
    fn an_mtas_session_does_not_depend_on_how_the_stream_is_cut(
        bytes in stream(&["c", "cccc", "cccccccc", "a", "r", "t", "d", "y", "s", "bbc", "hp+-2eimqba", "c"]),
        steps in any::<u32>(),
        cuts in vec(1_usize..40, 1..6),
    ) {
        let steps = Steps::from_bits_retain(steps) & Steps::CURRENT;
        for steps in [Steps::SKIP, steps] {
            for profile in [Profile::Postfix, Profile::Sendmail] {
                let whole = mta_log(profile, steps, &bytes, &[bytes.len().max(1)]);
                prop_assert_eq!(&mta_log(profile, steps, &bytes, &cuts), &whole);
                prop_assert_eq!(&mta_log(profile, steps, &bytes, &[1]), &whole);
            }
        }
    }

    #[test]
    fn any_answer_to_the_offer_is_taken_or_refused(bytes in vec(any::<u8>(), 0..60), cuts in vec(1_usize..9, 1..4)) {
        let now = Instant::now();
        let run = |frame: &[u8], cuts: &[usize]| {
            let mut session = MtaSession::new(MtaConfig::new(Profile::Postfix).lenient());
            session.negotiate(now).unwrap();
            let (mut end, mut cuts) = (0, cuts.iter().cycle());
            while end < frame.len() {
                end = frame.len().min(end + cuts.next().unwrap());
                match session.next(&frame[..end], now) {
                    Ok((_, None)) => {}
                    Ok((_, Some(MtaEvent::Negotiated { agreement, .. }))) => return format!("{agreement:?}"),
                    other => return format!("{other:?}"),
                }
            }
            String::new()
        };
        for frame in [bytes.clone(), wire(b'O', &bytes), wire(b'O', &[&[0, 0, 0, 6, 0, 0, 1, 1, 0, 0, 4, 0], &bytes[..]].concat())] {
            prop_assert_eq!(run(&frame, &cuts), run(&frame, &[frame.len().max(1)]));
        }
    }
}

//! Any bytes as frames: what can be read as a command or a reply is written as it was, and can be shown.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tamis_fuzz::wire;
use tamis_proto::{
    Command, Event, FilterSession, Frame, Needs, Reply, Rules, SmtpReply, Stage, frame, trace,
};

fuzz_target!(|data: &[u8]| {
    let mut at = 0;
    while let Ok(Some((used, frame))) = Frame::parse(&data[at..], 1 << 16) {
        assert_eq!((used, frame.len()), (wire::first(&data[at..]), used));
        assert_eq!(wire::frame(frame.code, frame.payload), data[at..at + used]);
        command(frame);
        reply(frame);
        at += used;
    }
    assert_eq!(frame::whole(data, 1 << 16), at);
});

fn command(frame: Frame<'_>) {
    for rules in [Rules::tamis(), Rules::libmilter(), Rules::tamis().strict(), Rules::libmilter().strict()] {
        let Ok(command) = Command::decode(frame, rules) else { continue };
        let mut bytes = Vec::new();
        command.encode(&mut bytes);
        let [(code, payload)] = wire::frames(&bytes)[..] else { panic!("a command is one frame") };
        let again = Frame { code, payload };
        assert_eq!(Command::decode(again, rules).as_ref(), Ok(&command), "read as it was written");
        match command {
            // The rest of these is ignored, however strict.
            Command::Negotiate(_) => assert_eq!(payload, &frame.payload[..12]),
            Command::Data
            | Command::EndOfHeaders
            | Command::Abort
            | Command::Quit
            | Command::QuitNewConnection => assert_eq!(payload, b""),
            Command::Mail(path) | Command::Rcpt(path) => {
                assert_eq!(again, frame, "written as it was read");
                let strings = 1 + path.args().count();
                assert_eq!(
                    strings,
                    payload.split_inclusive(|byte| *byte == 0).count(),
                    "a string was dropped"
                );
            }
            _ if rules.refuse_trailing_bytes => assert_eq!(again, frame, "written as it was read"),
            _ => assert!(frame.payload.starts_with(payload), "nothing is made up"),
        }
    }
    shown(&trace::FromMta(frame).to_string());
}

fn reply(frame: Frame<'_>) {
    if let Ok(reply) = Reply::decode(frame) {
        let mut bytes = Vec::new();
        reply.encode(&mut bytes);
        assert_eq!(bytes, wire::frame(frame.code, frame.payload), "written as it was read");
        match reply {
            Reply::Custom(text) => smtp(text),
            Reply::Edit(edit) => assert_eq!(edit.payload_len(), frame.payload.len()),
            _ => {}
        }
    }
    shown(&trace::FromFilter(frame).to_string());
}

/// A reply that can be read can be said, and then means the same.
fn smtp(text: &[u8]) {
    let Ok(reply) = SmtpReply::parse(text) else { return };
    let mut session = FilterSession::default();
    let offer = session.next(b"\0\0\0\x0dO\0\0\0\x06\0\0\x01\xff\0\x1f\xff\xff").expect("a usual offer");
    assert!(matches!(offer.1, Some(Event::Negotiate(_))));
    session.negotiate(&Needs::new().answer([Stage::Helo])).expect("nothing is required");
    session.next(b"\0\0\0\x03Ha\0").expect("a usual command");
    session.respond(reply.clone().into()).expect("a verdict is due");
    let mut bytes = Vec::new();
    wire::drain(session.output(), usize::MAX, &mut bytes);
    let [_, (code, payload)] = wire::frames(&bytes)[..] else { panic!("one answer for each command") };
    let Ok(Reply::Custom(said)) = Reply::decode(Frame { code, payload }) else { panic!("a custom reply") };
    let heard = SmtpReply::parse(said).expect("what is said can be understood");
    assert_eq!((heard.code(), heard.to_string()), (reply.code(), reply.to_string()));
}

fn shown(text: &str) {
    assert!(!text.chars().any(char::is_control), "{text:?} could move a terminal's cursor");
}

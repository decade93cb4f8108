//! Tests of the MTA's session, by subject.

mod commands;
mod replies;

use bytes::Buf;

use super::*;
use crate::command::{Command, Header, Kind, Macros};
use crate::command::{Connect, Envelope};
use crate::edit::Edit;
use crate::edit::model::Profile;
use crate::error::{Fault, Misuse};
use crate::frame::Frame;
use crate::negotiate::Actions;
use crate::negotiate::{Offer, Steps};
use crate::reply::Verdict;

const BOTH: [Profile; 2] = [Profile::Postfix, Profile::Sendmail];

struct Mta {
    session: MtaSession,
    now: Instant,
}

fn frame(code: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len() + 1).unwrap();
    [&length.to_be_bytes()[..], &[code], payload].concat()
}

fn answer(version: u32, actions: Actions, steps: Steps) -> Vec<u8> {
    [version, actions.bits(), steps.bits()].map(u32::to_be_bytes).concat()
}

fn command(code: char) -> Command<Vec<u8>> {
    match code {
        'C' => Command::Connect(Connect::unknown("host")),
        'H' => Command::Helo(b"host".to_vec()),
        'M' => Command::Mail(Envelope::with_args(b"<a@b>", [""; 0])),
        'R' => Command::Rcpt(Envelope::with_args(b"<c@d>", [""; 0])),
        'T' => Command::Data,
        'L' => Command::Header(Header { name: b"X".to_vec(), value: b" v".to_vec(), implied_space: false }),
        'N' => Command::EndOfHeaders,
        'B' => Command::Body(b"body".to_vec()),
        'E' => Command::EndOfMessage(Vec::new()),
        'U' => Command::Unknown(b"FOO".to_vec()),
        'A' => Command::Abort,
        'Q' => Command::Quit,
        'K' => Command::QuitNewConnection,
        _ => panic!("no command {code}"),
    }
}

impl Mta {
    fn fresh(config: MtaConfig) -> Self {
        Self { session: MtaSession::new(config), now: Instant::now() }
    }

    /// Negotiated with a filter that may do everything and asks for `steps`.
    fn new(profile: Profile, steps: Steps) -> Self {
        Self::with(MtaConfig::new(profile), 6, Actions::CURRENT, steps)
    }

    fn with(config: MtaConfig, version: u32, actions: Actions, steps: Steps) -> Self {
        let mut mta = Self::fresh(config);
        mta.session.negotiate(mta.now).unwrap();
        mta.sent();
        assert!(matches!(mta.reply(b'O', &answer(version, actions, steps)), MtaEvent::Negotiated { .. }));
        mta
    }

    fn sent(&mut self) -> Vec<u8> {
        let output = self.session.output();
        let mut sent = Vec::new();
        while output.has_remaining() {
            sent.extend_from_slice(output.chunk());
            output.advance(output.chunk().len());
        }
        sent
    }

    /// Letters of the frames sent, macros as `D` and the letter they are for.
    fn letters(&mut self) -> String {
        let sent = self.sent();
        let mut letters = String::new();
        let mut rest = &sent[..];
        while let Some((used, frame)) = Frame::parse(rest, usize::MAX).unwrap() {
            letters.push(char::from(frame.code));
            if frame.code == b'D' {
                letters.push(char::from(frame.payload[0]));
            }
            rest = &rest[used..];
        }
        assert!(rest.is_empty());
        letters
    }

    fn send(&mut self, code: char) -> Result<Turn, Misuse> {
        self.session.send(&command(code), None, self.now)
    }

    fn try_reply(&mut self, code: u8, payload: &[u8]) -> Result<MtaEvent<'static>, Fault> {
        let wire: &'static [u8] = Box::leak(frame(code, payload).into_boxed_slice());
        let (used, event) = self.session.next(wire, self.now).map_err(|error| error.fault)?;
        assert_eq!(used, wire.len());
        Ok(event.unwrap())
    }

    fn reply(&mut self, code: u8, payload: &[u8]) -> MtaEvent<'static> {
        self.try_reply(code, payload).unwrap()
    }

    /// The verdict that a reply is taken for.
    fn verdict(&mut self, code: u8, payload: &[u8]) -> Verdict {
        match self.reply(code, payload) {
            MtaEvent::Verdict { verdict, .. } => verdict,
            other => panic!("{other:?}"),
        }
    }

    /// Sends each command, has continue answered where an answer is due, and says what was sent.
    fn run(&mut self, codes: &str) -> String {
        let mut letters = String::new();
        for code in codes.chars() {
            let turn = self.send(code).unwrap_or_else(|misuse| panic!("{code} of {codes}: {misuse}"));
            letters += &self.letters();
            if turn == Turn::Filter {
                self.verdict(b'c', b"");
            }
        }
        letters
    }

    /// As `run`, but leaves the last command unanswered.
    fn reach(&mut self, codes: &str) {
        let (last, before) = codes.as_bytes().split_last().unwrap();
        self.run(std::str::from_utf8(before).unwrap());
        assert_eq!(self.send(char::from(*last)), Ok(Turn::Filter));
        self.sent();
    }
}

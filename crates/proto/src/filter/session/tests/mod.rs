//! Tests of the filter's session, by subject.

mod deferred;
mod edits;
mod life;
mod limits;
mod negotiation;
mod stream;
mod verbatim;
mod verdicts;

use bytes::Buf;

use super::*;
use crate::edit::Edit;
use crate::error::Misuse;
use crate::event::Event;
use crate::frame::Frame;

/// A session with what it has received and not used yet.
#[derive(Debug)]
struct Filter {
    session: FilterSession,
    buf: Vec<u8>,
}

fn frame(code: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len() + 1).unwrap();
    [&length.to_be_bytes()[..], &[code], payload].concat()
}

/// A payload that each command accepts.
fn usual(code: u8) -> &'static [u8] {
    match code {
        b'C' => b"host\x004\x30\x39192.0.2.1\0",
        b'H' => b"host\0",
        b'M' => b"<a@example.com>\0",
        b'R' => b"<b@example.com>\0",
        b'L' => b"Subject\0Hello\0",
        b'B' => b"text\r\n",
        b'U' => b"FOOBAR\0",
        _ => b"",
    }
}

impl Filter {
    /// Before the negotiation.
    fn fresh(rules: Rules) -> Self {
        Self { session: FilterSession::new(rules, Limits::default()), buf: Vec::new() }
    }

    /// Negotiated with an MTA that can do everything.
    fn new(needs: &Needs) -> Self {
        Self::with_offer(Offer::CURRENT, needs)
    }

    fn with_offer(offer: Offer, needs: &Needs) -> Self {
        Self::with_rules(Rules::tamis(), offer, needs)
    }

    fn with_rules(rules: Rules, offer: Offer, needs: &Needs) -> Self {
        let mut filter = Self::fresh(rules);
        filter.offer(offer);
        filter.session.negotiate(needs).unwrap();
        filter.sent();
        filter
    }

    /// Sees everything, answers everything and may do everything.
    fn everything() -> Self {
        Self::new(&everything())
    }

    fn offer(&mut self, offer: Offer) {
        let mut payload = Vec::new();
        offer.encode(&mut payload);
        self.receive(b'O', &payload);
        assert!(matches!(self.event(), Some(Event::Negotiate(_))));
    }

    fn receive(&mut self, code: u8, payload: &[u8]) {
        self.buf.extend_from_slice(&frame(code, payload));
    }

    fn event(&mut self) -> Option<Event<Vec<u8>>> {
        self.try_event().unwrap()
    }

    fn try_event(&mut self) -> Result<Option<Event<Vec<u8>>>, Error> {
        let (used, event) = self.session.next(&self.buf)?;
        let event = event.map(|event| event.map(<[u8]>::to_vec));
        self.buf.drain(..used);
        Ok(event)
    }

    fn fault(&mut self) -> Fault {
        self.try_event().unwrap_err().fault
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

    /// The letters of the frames that were sent.
    fn letters(&mut self) -> String {
        let sent = self.sent();
        let mut letters = String::new();
        let mut rest = &sent[..];
        while let Some((used, frame)) = Frame::parse(rest, usize::MAX).unwrap() {
            letters.push(char::from(frame.code));
            rest = &rest[used..];
        }
        assert!(rest.is_empty());
        letters
    }

    /// Receives commands, answers every event with continue and says what happened: `=event` and reply letters.
    fn run(&mut self, codes: &str) -> String {
        self.run_with(codes, |_| Verdict::Continue)
    }

    fn run_with(&mut self, codes: &str, mut verdict: impl FnMut(Stage) -> Verdict) -> String {
        let mut log = Vec::new();
        for code in codes.bytes() {
            self.receive(code, usual(code));
            while let Some(event) = self.event() {
                log.push(format!("={}", event.name()));
                if let Some(stage) = event.stage() {
                    self.session.respond(verdict(stage)).unwrap();
                }
            }
            let letters = self.letters();
            if !letters.is_empty() {
                log.push(letters);
            }
        }
        log.join(" ")
    }

    /// Receives commands and answers them with continue, up to the last one, which is left unanswered.
    fn reach(&mut self, codes: &str) {
        let (last, before) = codes.as_bytes().split_last().unwrap();
        self.run(std::str::from_utf8(before).unwrap());
        self.receive(*last, usual(*last));
        assert!(self.event().is_some());
    }

    /// Everything that `end` gives.
    fn end(&mut self) -> Vec<&'static str> {
        std::iter::from_fn(|| self.session.end()).map(|event| event.name()).collect()
    }
}

fn everything() -> Needs {
    Needs::everything().allow(Actions::CURRENT)
}

fn offer(version: u32, actions: Actions, steps: Steps) -> Offer {
    Offer { version, actions, steps }
}

//! Plays the MTA to a [`FilterSession`], and a filter that gives the verdicts of the file.

use std::mem;

use bytes::Bytes;
use tamis_proto::{
    Actions, Command, Error, Event, FilterSession, Limits, MacroStage, Needs, Offer, Reply, Rules, See,
    Steps, Verdict,
};

use super::{Described, Feed, describe, drain, frame, frames, show};
use crate::common::fixture::{self, Side, Step, Terms, What};

/// What the session has to do, in this order.
#[derive(Clone, Debug)]
enum Expected {
    Event(Described),
    /// No event but a question: a lookup gives this.
    Macro(Vec<u8>, Option<Vec<u8>>),
    Frame(Vec<u8>),
}

/// What comes behind the bytes of the MTA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Open,
    Eof,
    Wait,
}

/// How a session ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// Without an error, with so many bytes not used.
    Quietly { rest: usize },
    /// With an error.
    With(Error),
    /// The frame did not go on; noticing that is for a driver with a clock.
    Stalled,
}

/// A conversation with a filter.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    name: String,
    rules: Rules,
    limits: Limits,
    needs: Needs,
    /// All bytes of the MTA.
    stream: Vec<u8>,
    /// Where what was said is answered: a position in the stream, and how much is done by then.
    marks: Vec<(usize, usize)>,
    /// Where the bytes of the last step begin.
    last: usize,
    /// The MTA spoke last, so far.
    speaking: bool,
    end: End,
    expected: Vec<Expected>,
}

/// The needs that the numbers of a file mean.
pub(crate) fn needs(wanted: &fixture::Needs) -> Needs {
    let actions = Actions::from_bits_retain(wanted.actions);
    let mut needs = Needs::from_bits(actions, Steps::from_bits_retain(wanted.steps));
    for (stage, names) in &wanted.macros {
        let stage = MacroStage::ALL[*stage as usize];
        let names = std::str::from_utf8(names).expect("names of macros are ASCII");
        needs = needs.macros(stage, names.split_ascii_whitespace());
    }
    needs
}

impl Scenario {
    pub(crate) fn new(name: &str, rules: Rules, limits: Limits, needs: Needs) -> Self {
        Self {
            name: name.to_owned(),
            rules,
            limits,
            needs,
            stream: Vec::new(),
            marks: Vec::new(),
            last: 0,
            speaking: true,
            end: End::Open,
            expected: Vec::new(),
        }
    }

    /// With needs that ask for exactly these terms.
    pub(crate) fn agreeing(name: &str, rules: Rules, limits: Limits, agreed: Terms) -> Self {
        let wanted = fixture::Needs { actions: agreed.actions, steps: agreed.steps, macros: Vec::new() };
        Self::new(name, rules, limits, needs(&wanted))
    }

    /// Adds frames whose events follow from them, except for aborts and closes.
    #[must_use]
    pub(crate) fn frames(mut self, steps: &[Step]) -> Self {
        let mut steps = steps.iter().peekable();
        while let Some(step) = steps.next() {
            self.step(step);
            if let What::Bytes { from: Side::Mta, bytes } = &step.what {
                while let Some(step) = steps.next_if(|step| matches!(step.what, What::Event { .. })) {
                    self.step(step);
                }
                for described in self.events_of(bytes) {
                    self.expect(Expected::Event(described));
                }
            }
        }
        self
    }

    /// Adds steps that say everything.
    #[must_use]
    pub(crate) fn steps(mut self, steps: &[Step]) -> Self {
        for step in steps {
            self.step(step);
        }
        self
    }

    fn step(&mut self, step: &Step) {
        match &step.what {
            What::Bytes { from: Side::Mta, bytes } => {
                if !mem::replace(&mut self.speaking, true) {
                    self.marks.push((self.stream.len(), self.expected.len()));
                }
                self.last = self.stream.len();
                self.stream.extend_from_slice(bytes);
            }
            What::Bytes { from: Side::Filter, bytes } => {
                for frame in frames(bytes) {
                    self.expect(Expected::Frame(frame));
                }
            }
            What::Event { name, args } if name == "macro" => {
                let value = args.get(1).cloned();
                self.expect(Expected::Macro(args[0].clone(), value));
            }
            What::Event { name, args } => self.expect(Expected::Event((name.clone(), args.clone()))),
            What::Eof(side) => {
                assert_eq!(*side, Side::Mta, "{}: the filter is the one under test", self.name);
                self.finish(End::Eof);
            }
            What::Wait(_) => self.finish(End::Wait),
        }
    }

    fn expect(&mut self, expected: Expected) {
        self.speaking = false;
        self.expected.push(expected);
    }

    fn finish(&mut self, end: End) {
        self.marks.push((self.stream.len(), self.expected.len()));
        self.end = end;
    }

    fn events_of(&self, bytes: &[u8]) -> Vec<Described> {
        let command = Command::decode(frame(bytes), self.rules).expect("a good command");
        let wanted = command.kind().stage().is_some_and(|stage| self.needs.sees(stage) != See::Nothing);
        let event = match command {
            Command::Negotiate(offer) => return vec![describe(&Event::Negotiate(offer))],
            _ if !wanted => return Vec::new(),
            Command::Connect(connect) => Event::Connect(connect),
            Command::Helo(name) => Event::Helo(name),
            Command::Mail(sender) => Event::Mail(sender),
            Command::Rcpt(recipient) => Event::Rcpt(recipient),
            Command::Data => Event::Data,
            Command::Header(header) => Event::Header(header),
            Command::EndOfHeaders => Event::EndOfHeaders,
            Command::Body(piece) => Event::Body(piece),
            Command::EndOfMessage(piece) if !piece.is_empty() => {
                return vec![describe(&Event::Body(piece)), describe(&Event::EndOfMessage)];
            }
            Command::EndOfMessage(_) => Event::EndOfMessage,
            Command::Unknown(line) => Event::Unknown(line),
            _ => return Vec::new(),
        };
        vec![describe(&event)]
    }

    /// Says that the last frame is not whole: nothing answers it.
    #[must_use]
    pub(crate) fn incomplete(mut self) -> Self {
        self.speaking = true;
        self
    }

    /// Bytes that the MTA sends.
    pub(crate) fn length(&self) -> usize {
        self.stream.len()
    }

    /// Whether the answers do not depend on when the bytes come.
    fn can_come_at_once(&self) -> bool {
        self.end != End::Wait && !self.expected.iter().any(|one| matches!(one, Expected::Macro(..)))
    }

    /// Plays it.
    pub(crate) fn play(&self, feed: Feed) -> Ended {
        let at_once = matches!(feed, Feed::Whole | Feed::Split(_)) && self.can_come_at_once();
        let mut run = Run {
            scenario: self,
            feed,
            session: FilterSession::new(self.rules, self.limits),
            done: 0,
            until: 0,
            written: Vec::new(),
        };
        let mut marks = self.marks.clone();
        if self.end == End::Open {
            marks.push((self.stream.len(), self.expected.len()));
        }
        if at_once {
            marks.drain(..marks.len() - 1);
        }
        let (mut used, mut start) = (0, 0);
        for (end, expected) in marks {
            run.until = expected;
            for fed in feed.cuts(start, end) {
                if let Err(error) = run.pump(&mut used, fed) {
                    assert!(fed > self.last, "{}: {error} before the last step", run.place());
                    run.clean_up();
                    return Ended::With(error);
                }
            }
            run.settle();
            run.assert_done(expected);
            start = end;
        }
        let rest = &self.stream[used..];
        let ended = match self.end {
            End::Open => return Ended::Quietly { rest: rest.len() },
            End::Eof => {
                run.session.eof(rest).map_or_else(Ended::With, |()| Ended::Quietly { rest: rest.len() })
            }
            End::Wait => {
                assert!(!rest.is_empty(), "{}: an idle session does not time out", run.place());
                Ended::Stalled
            }
        };
        run.clean_up();
        ended
    }
}

/// A scenario while it is played.
struct Run<'s> {
    scenario: &'s Scenario,
    feed: Feed,
    session: FilterSession,
    /// How much of what is expected was done.
    done: usize,
    /// How much of it follows from the bytes so far.
    until: usize,
    written: Vec<u8>,
}

impl Run<'_> {
    fn place(&self) -> String {
        format!("{}, {:?}, after {} things", self.scenario.name, self.feed, self.done)
    }

    fn expected(&self) -> Option<&Expected> {
        self.scenario.expected.get(self.done)
    }

    fn assert_done(&self, expected: usize) {
        assert!(
            self.done == expected && self.written.is_empty(),
            "{}: {expected} expected, the next is {:?}; {} bytes too many",
            self.place(),
            self.expected(),
            self.written.len()
        );
    }

    fn pump(&mut self, used: &mut usize, fed: usize) -> Result<(), Error> {
        let stream = &self.scenario.stream;
        loop {
            let (taken, event) = self.session.next(&stream[*used..fed])?;
            *used += taken;
            assert!(self.session.offset() <= *used as u64, "{}: offset", self.place());
            let Some(event) = event else { return Ok(()) };
            self.meet(&event);
            self.answer(&event);
        }
    }

    fn clean_up(&mut self) {
        self.until = self.scenario.expected.len();
        while let Some(event) = self.session.end() {
            self.meet(&event);
        }
        assert!(self.session.is_closed(), "{}: still open", self.place());
        self.settle();
        self.assert_done(self.scenario.expected.len());
    }

    fn meet(&mut self, event: &Event<&[u8]>) {
        self.settle();
        let found = describe(event);
        match self.expected() {
            Some(Expected::Event(event)) if *event == found => self.done += 1,
            other => panic!("{}: {} instead of {other:?}", self.place(), show(&found)),
        }
        self.look_up();
    }

    fn look_up(&mut self) {
        while self.done < self.until
            && let Some(Expected::Macro(name, value)) = self.scenario.expected.get(self.done)
        {
            assert_eq!(self.session.macros().get(name), value.as_deref(), "{}: macro", self.place());
            self.done += 1;
        }
    }

    /// Compares what the session wrote.
    fn settle(&mut self) {
        drain(self.session.output(), &mut self.written);
        while !self.written.is_empty() {
            match self.scenario.expected.get(self.done) {
                Some(Expected::Frame(bytes)) if self.written.starts_with(bytes) => {
                    self.written.drain(..bytes.len());
                    self.done += 1;
                }
                other => panic!(
                    "{}: wrote {} instead of {other:?}",
                    self.place(),
                    self.written[..self.written.len().min(80)].escape_ascii()
                ),
            }
        }
        self.look_up();
    }

    /// Does what the frames say that the filter sends next.
    fn answer(&mut self, event: &Event<&[u8]>) {
        if let Event::Negotiate(offer) = event {
            self.negotiate(*offer);
        } else if event.stage().is_some() {
            let verdict = self.edit().unwrap_or_default();
            if let Err(misuse) = self.session.respond(verdict) {
                panic!("{}: {misuse}", self.place());
            }
        }
        self.settle();
    }

    fn negotiate(&mut self, offer: Offer) {
        let agreement = self.session.negotiate(&self.scenario.needs).expect("an agreement");
        assert!(agreement.version <= offer.version);
        assert_eq!(agreement.steps, self.session.steps());
        assert_eq!(agreement.actions, self.session.actions());
    }

    /// Asks for the modifications that come next and gives the verdict behind them.
    fn edit(&mut self) -> Option<Verdict> {
        let scenario = self.scenario;
        for expected in &scenario.expected[self.done..] {
            let Expected::Frame(bytes) = expected else { return None };
            let done = match Reply::decode(frame(bytes)).expect("a good reply") {
                Reply::Edit(edit) => self.session.edit(edit.map(Bytes::copy_from_slice)),
                Reply::Progress => self.session.progress(),
                reply => return Some(verdict(&reply)),
            };
            if let Err(misuse) = done {
                panic!("{}: {misuse}", self.place());
            }
        }
        None
    }
}

/// The verdict that a reply is.
fn verdict(reply: &Reply<&[u8]>) -> Verdict {
    match reply {
        Reply::Continue => Verdict::Continue,
        Reply::Accept => Verdict::Accept,
        Reply::Reject => Verdict::Reject,
        Reply::Tempfail => Verdict::Tempfail,
        Reply::Discard => Verdict::Discard,
        Reply::Skip => Verdict::Skip,
        Reply::Custom(text) => tamis_proto::SmtpReply::parse(text).expect("a good SMTP reply").into(),
        other => panic!("{} is no verdict", other.name()),
    }
}

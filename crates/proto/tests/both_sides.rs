//! The two sessions wired to each other, with a random MTA and a random filter at their ends: they never
//! disagree.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::{Buf, Bytes};
use proptest::collection::vec;
use proptest::prelude::*;
use tamis_proto::command::{Connect, Envelope, Header, Macros};
use tamis_proto::{
    Actions, Command, DataSize, Edit, Event, FilterSession, MacroStage, MtaConfig, MtaEvent, MtaSession,
    Needs, Offer, Output, Profile, See, Sent, Stage, Steps, Turn, Verdict,
};

/// Random choices; once they are used up, the same small ones for ever.
struct Dice {
    numbers: Vec<u8>,
    at: usize,
    noise: usize,
}

impl Dice {
    /// A number below `sides`.
    fn roll(&mut self, sides: usize) -> usize {
        let number = self.numbers.get(self.at).copied().unwrap_or(0);
        self.at += 1;
        usize::from(number) * sides / 256
    }

    fn one_in(&mut self, sides: usize) -> bool {
        self.roll(sides) == sides - 1
    }

    /// Any number below `sides` that is not worth a choice, such as where a read ends.
    fn noise(&mut self, sides: usize) -> usize {
        self.noise = self.noise.wrapping_mul(1_103_515_245).wrapping_add(12_345) & 0x7fff_ffff;
        (self.noise >> 8) % sides
    }

    fn bits(&mut self) -> u32 {
        u32::from_be_bytes([0; 4].map(|_: u8| u8::try_from(self.roll(256)).unwrap()))
    }

    /// Mostly all bits, sometimes a part of them.
    fn some_of(&mut self, all: u32) -> u32 {
        if self.one_in(2) { all & (self.bits() | self.bits()) } else { all }
    }
}

fn profile(dice: &mut Dice) -> Profile {
    if dice.one_in(2) { Profile::Postfix } else { Profile::Sendmail }
}

fn offer(dice: &mut Dice) -> Offer {
    let version = 6 - u32::try_from(dice.roll(5)).unwrap();
    let steps = Offer::of_version(version).steps.bits() | (dice.bits() & Steps::PAYLOAD_SIZES.bits());
    Offer {
        version,
        actions: Actions::from_bits_retain(dice.some_of(0x1ff)),
        steps: Steps::from_bits_retain(dice.some_of(steps)),
    }
}

fn needs(dice: &mut Dice) -> Needs {
    let mut needs = Needs::new().allow(Actions::from_bits_retain(dice.some_of(0x1ff)));
    for stage in Stage::ALL {
        needs = match dice.roll(5) {
            0 => needs,
            1 => needs.watch([stage]),
            _ => needs.answer([stage]),
        };
    }
    needs = needs.skip(!dice.one_in(4));
    if dice.one_in(3) {
        needs = needs.leading_space();
    }
    if dice.one_in(3) {
        needs = needs.macros(MacroStage::EndOfMessage, ["i", "x"]).macros(MacroStage::Helo, [""; 0]);
    }
    needs.data_size([DataSize::K64, DataSize::K256, DataSize::M1][dice.roll(3)])
}

/// Any verdict that the stage knows, mostly continue.
fn verdict(dice: &mut Dice, stage: Stage) -> Verdict {
    match dice.roll(24) {
        17 => Verdict::Accept,
        18 => Verdict::Reject,
        19 => Verdict::Tempfail,
        20 => Verdict::Discard,
        21 => Verdict::reject("5.7.1", "100% no"),
        22 => Verdict::tempfail("", "line one\nline two"),
        23 if dice.one_in(4) => Verdict::shutdown("bye"),
        10..=16 if stage == Stage::Body => Verdict::Skip,
        _ => Verdict::Continue,
    }
}

fn edit(dice: &mut Dice) -> Edit<Bytes> {
    let texts = ["", "v", " v", "  v", "one\n\ttwo", "\u{fc} 100%", "a, b"];
    let value = Bytes::from_static(texts[dice.roll(texts.len())].as_bytes());
    let name = Bytes::from_static([&b"X-A"[..], b"Subject", b"a!"][dice.roll(3)]);
    let address = Bytes::from_static([&b"<a@example.com>"[..], b"b@c", b"<\"x y\"@z>"][dice.roll(3)]);
    let args = [None, Some(Bytes::new()), Some(Bytes::from_static(b"NOTIFY=NEVER"))][dice.roll(3)].clone();
    let index = u32::try_from(dice.roll(4)).unwrap();
    match dice.roll(10) {
        0 => Edit::AddHeader { name, value },
        1 => Edit::InsertHeader { index, name, value },
        2 => Edit::ChangeHeader { index, name, value },
        3 => Edit::ChangeSender { address, args },
        4 => Edit::AddRecipient { address },
        5 => Edit::AddRecipientWithArgs { address, args },
        6 => Edit::DeleteRecipient { address },
        7 => Edit::Quarantine { reason: Bytes::from_static(b"why") },
        8 => Edit::ReplaceBody(Bytes::from(vec![b'x'; dice.roll(4)])),
        _ => Edit::ReplaceBody(Bytes::from(vec![b'y'; dice.roll(256) * 600])),
    }
}

/// What a filter learned, so that it can be compared with what the MTA said.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Told(Stage, Vec<u8>);

fn told(event: &Event<&[u8]>, stage: Stage) -> Told {
    Told(
        stage,
        match event {
            Event::Helo(text) | Event::Unknown(text) | Event::Body(text) => text.to_vec(),
            Event::Mail(path) | Event::Rcpt(path) => path.address.to_vec(),
            Event::Header(header) => header.value.to_vec(),
            _ => Vec::new(),
        },
    )
}

struct Pair {
    dice: Dice,
    now: Instant,
    mta: MtaSession,
    filter: FilterSession,
    needs: Needs,
    to_filter: Vec<u8>,
    to_mta: Vec<u8>,
    /// Said by the MTA and wanted by the filter, not seen by it yet.
    expected: VecDeque<Told>,
    /// The verdict that must arrive, and the modifications before it.
    verdict: Option<Verdict>,
    edits: Vec<Edit<Bytes>>,
    body: Option<Vec<u8>>,
    arrived: Vec<Edit<Vec<u8>>>,
    arrived_body: Option<Vec<u8>>,
    /// The filter skipped this body without the MTA knowing it.
    swallows: bool,
    /// Something of a message was sent that is neither answered for good nor aborted.
    message_open: bool,
    aborts: usize,
    closes: usize,
}

fn drain(output: &mut Output, into: &mut Vec<u8>) {
    while output.has_remaining() {
        into.extend_from_slice(output.chunk());
        let length = output.chunk().len();
        output.advance(length);
    }
}

impl Pair {
    fn new(numbers: Vec<u8>) -> Self {
        let mut dice =
            Dice { noise: numbers.iter().map(|number| usize::from(*number)).sum(), numbers, at: 0 };
        let now = Instant::now();
        let config = MtaConfig::new(profile(&mut dice)).with_offer(offer(&mut dice));
        let needs = needs(&mut dice);
        Self {
            dice,
            now,
            mta: MtaSession::new(config),
            filter: FilterSession::default(),
            needs,
            to_filter: Vec::new(),
            to_mta: Vec::new(),
            expected: VecDeque::new(),
            verdict: None,
            edits: Vec::new(),
            body: None,
            arrived: Vec::new(),
            arrived_body: None,
            swallows: false,
            message_open: false,
            aborts: 0,
            closes: 0,
        }
    }

    /// Moves bytes both ways, cut anywhere, until nothing moves any more. Returns the verdict that the MTA got.
    fn pump(&mut self) -> Option<Verdict> {
        let mut got = None;
        drain(self.mta.output(), &mut self.to_filter);
        let mut seen = 0;
        while seen < self.to_filter.len() {
            seen = self.to_filter.len().min(seen + 1 + self.dice.noise(200));
            while self.filter_step(&mut seen) {}
        }
        let mut seen = 0;
        while seen < self.to_mta.len() {
            seen = self.to_mta.len().min(seen + 1 + self.dice.noise(60_000));
            loop {
                let (used, event) =
                    self.mta.next(&self.to_mta[..seen], self.now).expect("the filter is well behaved");
                let Some(event) = event else { break };
                match event {
                    MtaEvent::Negotiated { agreement, unknown_stages } => {
                        assert_eq!(unknown_stages, 0);
                        assert_eq!(agreement.steps, self.filter.steps());
                        assert_eq!(agreement.actions, self.filter.actions());
                    }
                    MtaEvent::Edit(Edit::ReplaceBody(piece)) => {
                        self.arrived_body.get_or_insert_default().extend_from_slice(piece);
                    }
                    MtaEvent::Edit(edit) => self.arrived.push(edit.map(<[u8]>::to_vec)),
                    MtaEvent::Progress => {}
                    MtaEvent::RefusedEdit(edit, misuse) => panic!("{edit:?}: {misuse}"),
                    MtaEvent::Verdict { verdict, mended, .. } => {
                        assert!(!mended);
                        assert_eq!(got.replace(verdict), None, "one verdict only");
                    }
                }
                self.to_mta.drain(..used);
                seen -= used;
            }
        }
        assert!(self.to_filter.is_empty() && self.to_mta.is_empty(), "bytes are left over");
        got
    }

    /// One event of the filter, if the bytes up to `seen` have one.
    fn filter_step(&mut self, seen: &mut usize) -> bool {
        let (used, event) = self.filter.next(&self.to_filter[..*seen]).expect("the MTA is well behaved");
        let more = event.is_some();
        match event {
            None => {}
            Some(Event::Negotiate(_)) => {
                self.filter.negotiate(&self.needs).expect("nothing is required");
            }
            Some(Event::Abort) => {
                assert!(std::mem::take(&mut self.message_open), "abort without a message");
                self.aborts += 1;
            }
            Some(Event::Close) => {
                assert!(!self.message_open, "close inside a message");
                self.closes += 1;
            }
            Some(event) => {
                let stage = event.stage().expect("the others have none");
                assert_eq!(Some(told(&event, stage)), self.expected.pop_front());
                self.answer(stage);
            }
        }
        drain(self.filter.output(), &mut self.to_mta);
        self.to_filter.drain(..used);
        *seen -= used;
        more
    }

    fn answer(&mut self, stage: Stage) {
        if stage == Stage::EndOfMessage {
            for _ in 0..self.dice.roll(6) {
                self.edit();
            }
        }
        let mut verdict = match self.needs.sees(stage) {
            See::Watch => Verdict::Continue,
            _ => verdict(&mut self.dice, stage),
        };
        let sent = self.filter.respond(verdict.clone()).expect("the verdict is legal");
        if sent == Sent::ContinueInstead {
            verdict = Verdict::Continue;
        }
        if verdict == Verdict::Skip && !self.filter.steps().contains(Steps::SKIP) {
            self.swallows = true;
            verdict = Verdict::Continue;
        }
        if stage == Stage::EndOfMessage && verdict.stops() {
            self.body = None;
        }
        self.verdict = (sent != Sent::NotDue).then_some(verdict);
    }

    fn edit(&mut self) {
        let edit = edit(&mut self.dice);
        if self.dice.one_in(4) {
            self.filter.progress().expect("it is the end of message");
        }
        match self.filter.edit(edit.clone()) {
            Ok(()) => {}
            Err(misuse) => {
                assert!(!self.filter.actions().contains(edit.action()), "{misuse}");
                return;
            }
        }
        if let Edit::ReplaceBody(piece) = edit {
            self.body.get_or_insert_default().extend_from_slice(&piece);
            return;
        }
        self.edits.push(self.as_the_mta_gets_it(edit));
    }

    /// Without the leading space that the MTA adds by itself.
    fn as_the_mta_gets_it(&self, mut edit: Edit<Bytes>) -> Edit<Bytes> {
        let mends = self.needs.clone().leading_space() == self.needs
            && !self.filter.steps().contains(Steps::LEADING_SPACE);
        if let Edit::AddHeader { value, .. }
        | Edit::InsertHeader { value, .. }
        | Edit::ChangeHeader { value, .. } = &mut edit
            && mends
            && value.starts_with(b" ")
        {
            value.advance(1);
        }
        edit
    }

    /// Sends a command and checks all that follows from it. `None` if the filter did not get it.
    fn send(&mut self, command: &Command<&[u8]>) -> Option<Verdict> {
        let macros = self.dice.one_in(3).then(|| Macros::new(command.kind(), [("i", "Q1"), ("{x}", "y")]));
        let turn = self.mta.send(command, macros.as_ref(), self.now).expect("the script is legal");
        let stage = command.kind().stage();
        if let Some(stage) = stage {
            let sent = matches!(turn, Turn::Filter | Turn::Mta);
            if stage == Stage::Mail {
                self.swallows = false;
            }
            self.message_open |= sent && stage.in_message();
            if sent && self.needs.sees(stage) != See::Nothing && !(stage == Stage::Body && self.swallows) {
                self.expected.push_back(self.expectation(command, stage));
            }
        }
        let got = self.pump();
        assert_eq!(got.is_some(), turn == Turn::Filter, "{command:?}: {turn:?}, but {got:?}");
        assert!(self.expected.is_empty(), "{:?} was not seen", self.expected);
        let given = self.verdict.take();
        if let (Some(got), Some(stage)) = (&got, stage) {
            // A stage that the filter does not see is answered by its session.
            assert_eq!(*got, given.unwrap_or_default());
            let bytes = |edit: &Edit<Bytes>| edit.clone().map(|text| text.to_vec());
            assert_eq!(self.arrived, self.edits.iter().map(bytes).collect::<Vec<_>>());
            assert_eq!(self.arrived_body, self.body);
            self.arrived.clear();
            self.edits.clear();
            (self.arrived_body, self.body) = (None, None);
            let alone = match got {
                Verdict::Reply(reply) => reply.code() != 421,
                verdict => matches!(verdict, Verdict::Reject | Verdict::Tempfail),
            };
            let goes_on = matches!(got, Verdict::Continue | Verdict::Skip) || (stage == Stage::Rcpt && alone);
            if stage == Stage::EndOfMessage || (stage.in_message() && !goes_on) {
                self.message_open = false;
            }
        }
        got
    }

    /// What the filter should learn.
    fn expectation(&self, command: &Command<&[u8]>, stage: Stage) -> Told {
        Told(
            stage,
            match command {
                Command::Helo(text) | Command::Unknown(text) | Command::Body(text) => text.to_vec(),
                Command::Mail(path) | Command::Rcpt(path) => path.address.to_vec(),
                Command::Header(header) => {
                    let keeps = self.filter.steps().contains(Steps::LEADING_SPACE);
                    header.value.strip_prefix(b" ").filter(|_| !keeps).unwrap_or(header.value).to_vec()
                }
                _ => Vec::new(),
            },
        )
    }

    fn session(&mut self) {
        self.mta.negotiate(self.now).unwrap();
        assert_eq!(self.pump(), None);
        self.send(&Command::Connect(Connect::unknown("h").map(|_| &b"host"[..])));
        for _ in 0..self.dice.roll(3) {
            self.send(&Command::Helo(b"first"));
        }
        for _ in 0..self.dice.roll(5) {
            self.message();
        }
        if self.dice.one_in(2) {
            self.send(&Command::Quit);
        }
        while let Some(event) = self.filter.end() {
            match event {
                Event::Abort => {
                    assert!(std::mem::take(&mut self.message_open), "abort without a message");
                    self.aborts += 1;
                }
                _ => self.closes += 1,
            }
        }
        assert_eq!(self.closes, 1);
        assert!(!self.message_open, "a message was never ended");
    }

    /// One message, or the beginning of one.
    fn message(&mut self) {
        if self.dice.one_in(4) {
            self.send(&Command::Unknown(b"FOO"));
        }
        self.send(&Command::Mail(Envelope::new(b"<a@b>")));
        let mut left = 0;
        for _ in 0..=self.dice.roll(3) {
            if self.dice.one_in(8) {
                self.send(&Command::Unknown(b"BAR"));
            }
            let verdict = self.send(&Command::Rcpt(Envelope::new(b"<c@d>")));
            left +=
                usize::from(!verdict.is_some_and(|verdict| verdict.stops() && verdict != Verdict::Discard));
        }
        if self.dice.one_in(6) {
            self.send(&Command::Helo(b"again"));
            self.send(&Command::Abort);
            return;
        }
        if left == 0 || self.dice.one_in(8) {
            self.send(&Command::Abort);
            return;
        }
        self.send(&Command::Data);
        for value in [&b" v"[..], b"", b"  two", b"\ttab", b"a\n b"].into_iter().take(self.dice.roll(6)) {
            self.send(&Command::Header(Header { name: b"X", value, implied_space: false }));
        }
        self.send(&Command::EndOfHeaders);
        let large = vec![b'z'; 65_535];
        for _ in 0..self.dice.roll(4) {
            let piece: &[u8] = if self.dice.one_in(30) { &large } else { b"body\r\n" };
            self.send(&Command::Body(piece));
        }
        if self.dice.one_in(12) {
            self.send(&Command::Abort);
            return;
        }
        self.send(&Command::EndOfMessage(b""));
        // Postfix says it after every message, Sendmail never; the session knows.
        self.send(&Command::Abort);
    }
}

proptest! {
    #[test]
    fn an_mta_and_a_filter_never_disagree(numbers in vec(any::<u8>(), 0..1500)) {
        Pair::new(numbers).session();
    }
}

//! Bytes of an MTA and actions of a filter in any order: misuse does nothing, what was taken is what is written, and
//! the replies are those that are due.
//!
//! Input: flags, limits, then steps, each a number and what belongs to it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tamis_fuzz::{Input, filter, limits, wire};
use tamis_proto::command::Kind;
use tamis_proto::{Edit, Event, FilterSession, Limits, Misuse, Needs, Refusal, Rules, Stage, Verdict};

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let flags = input.u8();
    let (rules, limits) = (Input::rules(flags), input.limits(flags));
    let mut scene = Scene {
        session: FilterSession::new(rules, limits),
        rules,
        limits,
        stream: Vec::new(),
        start: 0,
        end: 0,
        written: Vec::new(),
        edits: Vec::new(),
        kept_body: Vec::new(),
        body: Vec::new(),
        over: false,
        promised: 0,
    };
    while !input.is_empty() && !scene.over {
        scene.step(&mut input);
    }
    scene.conclude();
});

struct Scene {
    session: FilterSession,
    rules: Rules,
    limits: Limits,
    stream: Vec<u8>,
    /// What the session used.
    start: usize,
    /// What has arrived.
    end: usize,
    written: Vec<u8>,
    /// What the session took.
    edits: Vec<Edit<bytes::Bytes>>,
    kept_body: Vec<u8>,
    body: Vec<u8>,
    over: bool,
    /// The packets that were agreed on.
    promised: usize,
}

impl Scene {
    fn step(&mut self, input: &mut Input<'_>) {
        match input.u8() % 10 {
            0 => {
                let kind = Kind::ALL[usize::from(input.u8()) % Kind::ALL.len()];
                self.stream.extend(wire::frame(kind.code(), input.text()));
            }
            1 => self.stream.extend_from_slice(input.text()),
            2 => {
                let count = usize::from(input.u8());
                self.end = self.stream.len().min(self.end + count);
                self.read();
            }
            3 => {
                self.end = self.stream.len();
                self.read();
            }
            4 => {
                let verdict = input.verdict();
                self.respond(&verdict);
            }
            5 => self.edit(&input.edit()),
            6 => {
                let before = self.session.output().len();
                let due = self.at_end();
                assert_eq!(self.session.progress().is_ok(), due);
                assert_eq!(self.session.output().len() - before, if due { 5 } else { 0 });
            }
            7 => self.session.defer(input.verdict()),
            8 => self.negotiate(&input.needs()),
            _ => {
                let step = usize::from(input.u8()) + 1;
                wire::drain(self.session.output(), step, &mut self.written);
            }
        }
    }

    /// Whether the end of the message has come. libmilter's rules let it begin with a last piece of the body.
    fn at_end(&self) -> bool {
        let at_end = self.session.progress_frame().is_ok();
        match self.session.waits_for() {
            Some(Stage::EndOfMessage) => assert!(at_end),
            Some(Stage::Body) => {}
            _ => assert!(!at_end),
        }
        at_end
    }

    /// Takes events as long as there are any, from a buffer with one frame at most.
    fn read(&mut self) {
        while !self.over {
            let open = self.session.in_message();
            let waits = self.session.waits_for();
            let buffer = &self.stream[self.start..self.end];
            let buffer = &buffer[..wire::first(buffer)];
            let (used, event) = match filter::next(&mut self.session, buffer) {
                Ok(next) => next,
                Err(error) => {
                    let start = usize::try_from(error.offset).expect("inputs are short");
                    limits::check_fault(self.limits, &self.stream[..start], &self.stream[start..], &error);
                    self.over = true;
                    return;
                }
            };
            limits::check_macros(self.limits, &self.session, self.promised);
            assert!(waits.is_none() || (used, &event) == (0, &None), "goes on although a verdict is due");
            match event {
                Some(Event::Abort) => assert!(open, "abort of nothing"),
                Some(Event::Close) => assert!(!open, "closed in a message"),
                _ => {}
            }
            self.start += used;
            if used == 0 && event.is_none() {
                return;
            }
            assert_eq!(self.session.waits_for(), event.and_then(|event| event.stage()));
        }
    }

    fn negotiate(&mut self, needs: &Needs) {
        let before = self.session.output().len();
        match self.session.negotiate(needs) {
            Ok(agreement) => {
                self.promised = limits::promised(&agreement);
                assert_eq!(agreement.actions, self.session.actions());
                assert_eq!(agreement.steps, self.session.steps());
                assert!(self.session.output().len() > before);
            }
            Err(refusal) => {
                assert_eq!(self.session.output().len(), before, "{refusal}");
                self.over |= refusal != Refusal::NotNow;
            }
        }
    }

    fn respond(&mut self, verdict: &Verdict) {
        let (before, waits) = (self.session.output().len(), self.session.waits_for());
        match self.session.respond(verdict.clone()) {
            Ok(_) => {
                assert_eq!(self.session.waits_for(), None);
                if waits == Some(Stage::EndOfMessage) {
                    let body = std::mem::take(&mut self.kept_body);
                    self.body.extend(if verdict.stops() { Vec::new() } else { body });
                }
            }
            Err(misuse) => {
                assert_eq!(misuse == Misuse::NoVerdictDue, waits.is_none());
                assert_eq!((self.session.output().len(), self.session.waits_for()), (before, waits));
            }
        }
    }

    fn edit(&mut self, edit: &Edit<bytes::Bytes>) {
        let before = self.session.output().len();
        let at_end = self.at_end();
        let fine = self.session.check_edit(edit);
        let result = self.session.edit(edit.clone());
        assert_eq!(result, if at_end { fine } else { Err(Misuse::NotAtEndOfMessage) });
        if result.is_err() {
            assert_eq!(self.session.output().len(), before, "misuse does nothing");
        } else if let Edit::ReplaceBody(piece) = edit {
            let body = if self.rules.body_last { &mut self.kept_body } else { &mut self.body };
            body.extend_from_slice(piece);
        } else {
            self.edits.push(edit.clone());
        }
    }

    /// Lets the rest of the stream come and says continue to it, then compares.
    fn conclude(mut self) {
        self.end = self.stream.len();
        while !self.over {
            self.read();
            if self.session.waits_for().is_some() {
                self.respond(&Verdict::Continue);
            } else if self.session.negotiate(&Needs::everything()) == Err(Refusal::NotNow) {
                break;
            }
        }
        wire::drain(self.session.output(), usize::MAX, &mut self.written);
        assert_eq!(self.session.offset(), self.start as u64);
        let replies = wire::replies(&self.written, self.rules.body_last);
        let used = wire::frames(&self.stream[..self.start]);
        assert_eq!(replies.verdicts, wire::answered(&used, self.session.steps()));
        assert!(replies.body == self.body, "pieces of a body were lost or made up");
        assert_eq!(replies.edits.len(), self.edits.len());
        for (written, taken) in replies.edits.into_iter().zip(&self.edits) {
            assert!(same(&written, taken), "{written:?} is not {taken:?}");
        }
        let mut last = Vec::new();
        while let Some(event) = self.session.end() {
            last.push(event);
        }
        assert!(matches!(last[..], [] | [Event::Close] | [Event::Abort, Event::Close]), "{last:?}");
    }
}

/// Equal but for the space before a value, which the MTA may put there by itself.
fn same(written: &Edit<&[u8]>, taken: &Edit<bytes::Bytes>) -> bool {
    let trimmed = |edit: Edit<Vec<u8>>| match edit {
        Edit::AddHeader { name, value } => Edit::AddHeader { name, value: unspaced(value) },
        Edit::InsertHeader { index, name, value } => {
            Edit::InsertHeader { index, name, value: unspaced(value) }
        }
        Edit::ChangeHeader { index, name, value } => {
            Edit::ChangeHeader { index, name, value: unspaced(value) }
        }
        edit => edit,
    };
    let (written, taken) = (written.clone().map(<[u8]>::to_vec), taken.clone().map(|text| text.to_vec()));
    written == taken || written == trimmed(taken)
}

fn unspaced(mut value: Vec<u8>) -> Vec<u8> {
    if value.first() == Some(&b' ') {
        value.remove(0);
    }
    value
}

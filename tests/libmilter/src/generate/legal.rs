//! Sessions that an MTA may send, with a filter that keeps to the rules: both libraries do exactly the same.

use tamis_proto::Frame;

use super::{Batch, Negotiation, calls, words};
use crate::dice::Dice;
use crate::script::{Callback, Script, status};
use crate::session::{Manner, Session, Turn};
use crate::stock::{Answer, State, Taken, Tracker, bits, no_reply_bit};

/// A session of an MTA.
pub fn legal(dice: &mut Dice, batch: &Batch) -> Session {
    let (offer, script, wanted, agreed) = negotiation(dice, batch);
    let manner = if dice.one_in(2) { Manner::Step } else { Manner::Pour };
    let mut session = Session { setup: batch.setup.clone(), script, turns: Vec::new(), manner };
    session.turns.push(Turn { bytes: offer, answered: true });
    let mut state = Tracker::new(&batch.setup, wanted, agreed);
    state.take(Frame { code: b'O', payload: b"" }, &session.script);
    let mut talk = Talk { dice, state, session, wanted, version: batch.version, over: false };
    talk.all();
    talk.session
}

/// The offer, and what the filter makes of it.
fn negotiation(dice: &mut Dice, batch: &Batch) -> (Vec<u8>, Script, u32, u32) {
    let off = batch.off();
    // Whatever is switched off must be offered; the rest varies.
    let fixed = bits::NO_ANYTHING & batch.offered();
    let offered =
        if dice.one_in(2) { batch.offered() } else { batch.offered() & (dice.some_of(bits::ALL) | fixed) };
    let actions = match batch.negotiation {
        Negotiation::Default => batch.actions(),
        _ => batch.actions() & (dice.some_of(0x1ff) | 1),
    };
    let mut script = Script::default();
    let (wanted, agreed) = match batch.negotiation {
        Negotiation::Default => (batch.wanted_off(), off),
        Negotiation::Everything => {
            script = script.returns(Callback::Negotiate, 0, status::ALL_OPTS);
            let skip = offered & bits::SKIP;
            (batch.wanted_off() | skip, off | skip)
        }
        Negotiation::Steps(_) => {
            let optional = bits::SKIP | bits::RCPT_REJ | bits::LEADING_SPACE;
            let mut wanted = batch.wanted_off() | (offered & dice.some_of(optional));
            if dice.one_in(2) {
                wanted |= dice.some_of(bits::NR_ANYTHING);
            }
            script = script.calls(Callback::Negotiate, 0, format!("out 1 {wanted:#x}"));
            if dice.one_in(2) {
                let some = actions & dice.some_of(0x1ff);
                script = script.calls(Callback::Negotiate, 0, format!("out 0 {some:#x}"));
            }
            let optional = bits::NR_ANYTHING | bits::NO_DATA | bits::NO_UNKNOWN;
            (wanted, wanted & (offered | !optional))
        }
    };
    if batch.negotiation != Negotiation::Default && actions & 0x100 != 0 {
        for _ in 0..dice.below(3) {
            script = script.calls(Callback::Negotiate, 0, calls::macro_list(dice));
        }
    }
    (words::offer(batch.version, actions, offered), script, wanted, agreed)
}

struct Talk<'d> {
    dice: &'d mut Dice,
    state: Tracker,
    session: Session,
    wanted: u32,
    version: u32,
    /// Nothing more may be sent.
    over: bool,
}

impl Talk<'_> {
    fn all(&mut self) {
        if self.state.agreed() & bits::NO_CONNECT == 0 {
            self.greet(b'C');
        }
        for _ in 0..self.dice.below(3) {
            self.greet(b'H');
        }
        if self.dice.one_in(10) {
            self.unknown();
        }
        for _ in 0..self.dice.below(4) {
            self.message();
            self.between();
        }
        if !self.dice.one_in(4) {
            self.quit();
        }
    }

    /// Connect and helo: whatever ends the message there is for all that could come.
    fn greet(&mut self, code: u8) {
        if let Some(status) = self.say(code)
            && !matches!(status, status::CONTINUE | status::NOREPLY)
        {
            self.quit();
        }
    }

    fn message(&mut self) {
        let Some(()) = self.part(b'M') else { return };
        let mut recipients = 0;
        for _ in 0..=self.dice.below(3) {
            // Of what may follow on an unknown command, the stock library knows a recipient at this place.
            if self.dice.one_in(12) && self.state.agreed() & bits::NO_RCPT == 0 {
                self.unknown();
            }
            match self.say(b'R') {
                Some(status::REJECT | status::TEMPFAIL) => {}
                Some(status::ACCEPT | status::DISCARD) => return,
                _ => recipients += 1,
            }
        }
        if recipients == 0 || self.dice.one_in(12) {
            return;
        }
        // Nothing that has not come to its end is left out by the MTA, unless the client is gone.
        let Some(()) = self.part(b'T') else { return };
        for _ in 0..self.dice.below(6) {
            let Some(()) = self.part(b'L') else { return };
        }
        if self.state.agreed() & bits::NO_EOH != 0 && !self.state.allows(b'E') {
            let Some(()) = self.part(b'L') else { return };
        }
        let Some(()) = self.part(b'N') else { return };
        for _ in 0..self.dice.below(4) {
            match self.say(b'B') {
                None | Some(status::CONTINUE | status::NOREPLY) => {}
                Some(status::SKIP) => break,
                Some(_) => return,
            }
        }
        if !self.dice.one_in(12) {
            self.say(b'E');
        }
    }

    /// Sends a part of a message; `None` when that ended it.
    fn part(&mut self, code: u8) -> Option<()> {
        match self.say(code) {
            None | Some(status::CONTINUE | status::NOREPLY) => Some(()),
            Some(_) => None,
        }
    }

    /// What may come between messages, or end one.
    fn between(&mut self) {
        if self.over {
            return;
        }
        // Without mail or unknown commands, aborts outside of messages are reported by the stock library (§6.3).
        let in_message = self.state.state().in_transaction();
        let off = bits::NO_MAIL | bits::NO_UNKNOWN;
        let aborts = in_message || (self.state.disabled() & off == 0 && self.state.state() != State::Unkn);
        match self.dice.below(8) {
            0..=3 if aborts => {
                self.abort();
                if self.state.disabled() & off == 0 && self.dice.one_in(2) {
                    self.abort();
                }
            }
            4 => drop(self.say(b'H')),
            5 if !self.state.state().in_transaction() => self.unknown(),
            // With nothing behind it, the stock library never looks at the connection again.
            6 if self.state.state() == State::Endm && self.session.manner == Manner::Pour => {
                self.send(words::bare(b'K'), b'K', false);
                if self.state.agreed() & bits::NO_CONNECT == 0 {
                    self.greet(b'C');
                }
            }
            _ => {}
        }
    }

    fn abort(&mut self) {
        self.send(words::bare(b'A'), b'A', false);
    }

    fn quit(&mut self) {
        if !self.over {
            self.send(words::bare(b'Q'), b'Q', false);
            self.over = true;
        }
    }

    fn unknown(&mut self) {
        // In the stock library it is a state of its own, from which few lead on.
        if self.state.agreed() & bits::NO_MAIL == 0 && self.version >= 3 {
            self.say(b'U');
        }
    }

    /// Sends a command unless it is switched off, and returns what its callback returns.
    fn say(&mut self, code: u8) -> Option<i32> {
        let state = State::of(code).expect("only commands are said");
        let off = off_bit(state);
        if self.over || self.state.agreed() & off != 0 || (code == b'T' && self.version < 4) {
            return None;
        }
        self.prepare(state, code);
        let command = words::command(self.dice, code);
        let before = if self.dice.one_in(3) { words::macros(self.dice, code) } else { Vec::new() };
        Some(self.send([before, command].concat(), code, true))
    }

    /// Writes into the script what the callback does.
    fn prepare(&mut self, state: State, code: u8) {
        let callback = crate::stock::callback(state);
        if !self.state.has(callback) {
            return;
        }
        let nth = self.state.count(callback) + 1;
        let mut script = std::mem::take(&mut self.session.script);
        if self.dice.one_in(8) {
            script = script.calls(callback, nth, calls::anywhere(self.dice));
        }
        if self.dice.one_in(20) {
            script = script.calls(callback, nth, calls::without_context(self.dice));
        }
        let edits = if state == State::Endm { self.dice.below(5) } else { usize::from(self.dice.one_in(30)) };
        for _ in 0..edits {
            let edit = calls::edit(self.dice);
            // It is sent wherever it is called (§3.6), which no filter may do.
            if state == State::Endm || !edit.starts_with("progress") {
                script = script.calls(callback, nth, edit);
            }
        }
        let status = self.status(state, code);
        if status != status::CONTINUE {
            if self.dice.one_in(3) {
                script = script.calls(callback, nth, calls::reply(self.dice));
            }
            script = script.returns(callback, nth, status);
        }
        self.session.script = script;
    }

    fn status(&mut self, state: State, code: u8) -> i32 {
        if self.wanted & no_reply_bit(state) != 0 {
            return self.dice.pick(&[status::NOREPLY, status::NOREPLY, status::CONTINUE]);
        }
        if !self.dice.one_in(10) {
            return status::CONTINUE;
        }
        match code {
            b'C' | b'H' => self.dice.pick(&[status::REJECT, status::TEMPFAIL, status::ACCEPT]),
            b'U' => self.dice.pick(&[status::REJECT, status::TEMPFAIL]),
            b'B' if self.state.agreed() & bits::SKIP != 0 && self.dice.one_in(2) => status::SKIP,
            _ => self.dice.pick(&[status::REJECT, status::TEMPFAIL, status::ACCEPT, status::DISCARD]),
        }
    }

    fn send(&mut self, bytes: Vec<u8>, code: u8, answers: bool) -> i32 {
        let last = last_frame(&bytes);
        let taken = self.state.take(last, &self.session.script);
        let (answer, status) = match taken {
            Taken::Runs { answer, status, .. } => (answer, status),
            _ => (Answer::None, status::CONTINUE),
        };
        debug_assert!(code == last.code);
        self.session.turns.push(Turn { answered: answers && answer == Answer::Verdict, bytes });
        status
    }
}

/// The command after its macros.
fn last_frame(mut bytes: &[u8]) -> Frame<'_> {
    loop {
        let (used, frame) =
            Frame::parse(bytes, usize::MAX >> 1).ok().flatten().expect("only whole frames are sent");
        bytes = &bytes[used..];
        if bytes.is_empty() {
            return frame;
        }
    }
}

fn off_bit(state: State) -> u32 {
    match state {
        State::Conn => bits::NO_CONNECT,
        State::Helo => bits::NO_HELO,
        State::Mail => bits::NO_MAIL,
        State::Rcpt => bits::NO_RCPT,
        State::Data => bits::NO_DATA,
        State::Hdrs => bits::NO_HEADERS,
        State::Eohs => bits::NO_EOH,
        State::Body => bits::NO_BODY,
        State::Unkn => bits::NO_UNKNOWN,
        _ => 0,
    }
}

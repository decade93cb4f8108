//! What the MTA says: frames to events, and answers where the filter wants none.

use super::super::table::{State, Step};
use super::answer::misleads;
use super::{FilterSession, LastPiece, NewBody, Taken, Waits};
use crate::command::{Command, Kind};
use crate::error::Fault;
use crate::event::Event;
use crate::frame::Frame;
use crate::negotiate::{self, MIN_VERSION, Offer, See, Steps};
use crate::reply::Verdict;
use crate::stage::Stage;

impl FilterSession {
    pub(super) fn take<'b>(&mut self, frame: Frame<'b>) -> Result<Taken<'b>, Fault> {
        if self.last_piece == LastPiece::Decided {
            self.last_piece = LastPiece::No;
            return Ok(Taken::Frame(None));
        }
        self.forget_macros();
        let kind = Kind::from_code(frame.code).ok_or(Fault::UnknownCode)?;
        let step = self.state.step(kind, self.steps);
        match step {
            Step::Refuse => return Err(Fault::OutOfOrder),
            Step::AbortFirst => {
                self.state = State::Greeted;
                self.deferred = None;
                return Ok(Taken::Before(Event::Abort));
            }
            Step::Ignore => {
                self.state = if self.state == State::Settled { State::Greeted } else { self.state };
                return Ok(Taken::Frame(None));
            }
            Step::Go | Step::Repeat => {}
        }
        self.count(kind, frame)?;
        let mut command = match Command::decode_as(kind, frame.payload, self.rules) {
            Ok(command) => command,
            Err(fault) => {
                // One more command of a message that was decided begins no other.
                let begins = fault != Fault::MissingPayload && step == Step::Go;
                if begins && self.rules.abort_unreadable_sender {
                    self.begin_unreadable(kind);
                }
                return Err(fault);
            }
        };
        if let Command::Header(header) = &mut command {
            header.implied_space = !self.steps.contains(Steps::LEADING_SPACE);
        }
        let event = match command {
            Command::Macros(macros) => {
                if let Some(warning) = self.macros.receive(&macros, self.limits.macros) {
                    self.warning = Some(warning);
                }
                return Ok(Taken::Frame(None));
            }
            Command::Negotiate(offer) => self.offer(offer)?,
            Command::Abort => {
                self.state = State::Greeted;
                self.deferred = None;
                Event::Abort
            }
            Command::Quit => {
                self.close(State::Closed);
                Event::Close
            }
            Command::QuitNewConnection => {
                self.close(State::Negotiated);
                Event::Close
            }
            Command::EndOfMessage(piece) if self.wants_last_piece(piece, step) => {
                return Ok(self.give_last_piece(piece));
            }
            Command::Connect(connect) => {
                return Ok(self.enter(Event::Connect(connect), Stage::Connect, step));
            }
            Command::Helo(name) => return Ok(self.enter(Event::Helo(name), Stage::Helo, step)),
            Command::Mail(sender) => return Ok(self.enter(Event::Mail(sender), Stage::Mail, step)),
            Command::Rcpt(recipient) => return Ok(self.enter(Event::Rcpt(recipient), Stage::Rcpt, step)),
            Command::Data => return Ok(self.enter(Event::Data, Stage::Data, step)),
            Command::Header(header) => return Ok(self.enter(Event::Header(header), Stage::Header, step)),
            Command::EndOfHeaders => return Ok(self.enter(Event::EndOfHeaders, Stage::EndOfHeaders, step)),
            Command::Body(piece) => return Ok(self.enter(Event::Body(piece), Stage::Body, step)),
            Command::EndOfMessage(_) => {
                return Ok(self.enter(Event::EndOfMessage, Stage::EndOfMessage, step));
            }
            Command::Unknown(line) => return Ok(self.enter(Event::Unknown(line), Stage::Unknown, step)),
        };
        Ok(Taken::Frame(Some(event)))
    }

    /// What a command that cannot be read has done already in libmilter: it has cleared macros, and begun a message.
    fn begin_unreadable(&mut self, kind: Kind) {
        let Some(stage) = kind.stage() else { return };
        if let Stage::Connect | Stage::Helo | Stage::Mail | Stage::Rcpt = stage {
            self.macros.enter(stage);
        }
        if stage.in_message() {
            self.state = self.state.after(stage);
        }
    }

    /// Forgets the macros of a connection that is over.
    pub(super) fn forget_macros(&mut self) {
        if std::mem::take(&mut self.forgets_macros) {
            self.macros.clear();
        }
    }

    pub(super) fn offer<'b>(&mut self, offer: Offer) -> Result<Event<&'b [u8]>, Fault> {
        // As libmilter, which reads it as signed.
        if offer.version < MIN_VERSION || offer.version > i32::MAX.cast_unsigned() {
            return Err(Fault::BadVersion(offer.version));
        }
        self.macros.clear();
        let offer = negotiate::normalize(offer);
        self.waits = Waits::Needs(offer);
        Ok(Event::Negotiate(offer))
    }

    pub(super) fn wants_last_piece(&self, piece: &[u8], step: Step) -> bool {
        let skipped = self.skips_body && self.state.in_message();
        let wanted = self.see[Stage::Body.index()] != See::Nothing && !skipped;
        !piece.is_empty() && step == Step::Go && self.last_piece == LastPiece::No && wanted
    }

    pub(super) fn give_last_piece<'b>(&mut self, piece: &'b [u8]) -> Taken<'b> {
        self.last_piece = LastPiece::Given;
        self.state = State::Body;
        self.waits = Waits::Verdict(Stage::Body);
        self.macros.enter(Stage::Body);
        Taken::Before(Event::Body(piece))
    }

    /// Moves to a stage; gives its event to a filter that wants it, answers for one that does not.
    pub(super) fn enter<'b>(&mut self, event: Event<&'b [u8]>, stage: Stage, step: Step) -> Taken<'b> {
        self.macros.enter(stage);
        if step == Step::Repeat {
            return self.repeat(stage);
        }
        if stage.in_message() && !self.state.in_message() {
            self.skips_body = false;
            self.new_body = NewBody::default();
        }
        self.last_piece = LastPiece::No;
        self.state = self.state.after(stage);
        if self.refuses_mail && stage == Stage::Mail {
            self.answer(stage, &Verdict::Tempfail, None);
        } else if let Some(verdict) = self.take_deferred(stage) {
            self.answer(stage, &verdict, None);
        } else if self.see[stage.index()] != See::Nothing && !(stage == Stage::Body && self.skips_body) {
            self.waits = Waits::Verdict(stage);
            return Taken::Frame(Some(event));
        } else {
            self.answer(stage, &Verdict::Continue, None);
        }
        self.macros.leave(stage);
        Taken::Frame(None)
    }

    /// The deferred verdict, if it can be said at this stage.
    pub(super) fn take_deferred(&mut self, stage: Stage) -> Option<Verdict> {
        let verdict = self.deferred.as_ref()?;
        let misplaced = stage == Stage::Unknown || misleads(verdict, stage) || *verdict == Verdict::Skip;
        if misplaced || !self.steps.answers(stage) {
            None
        } else if stage == Stage::Rcpt {
            self.deferred.clone()
        } else {
            self.deferred.take()
        }
    }

    /// Answers one more command of a message that was decided before, as some MTAs go on all the same.
    pub(super) fn repeat<'b>(&mut self, stage: Stage) -> Taken<'b> {
        let wire = match &self.settled {
            Verdict::Accept if stage != Stage::EndOfMessage => &Verdict::Continue,
            verdict => verdict,
        };
        if self.steps.answers(stage) {
            wire.encode(self.output.frames());
        }
        if stage == Stage::EndOfMessage {
            self.state = State::Ended;
        }
        self.macros.leave(stage);
        Taken::Frame(None)
    }
}

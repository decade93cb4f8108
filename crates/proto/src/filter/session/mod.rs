//! [`FilterSession`]: bytes from the MTA in, events out; verdicts in, bytes to the MTA out.

mod answer;
mod bounds;
mod receive;
mod verbatim;

use std::sync::Arc;

use bytes::Bytes;

use super::table::State;
use crate::error::{Error, Fault, Role};
use crate::event::Event;
use crate::frame::Frame;
use crate::limits::Limits;
use crate::macros::{MacroTable, MissedMacros};
use crate::negotiate::{self, Actions, Agreement, DataSize, IfMissing, Needs, Offer, Refusal, See, Steps};
use crate::output::Output;
use crate::reply::{Reply, Verdict};
use crate::rules::Rules;
use crate::stage::Stage;

/// One connection of an MTA, seen from the filter.
///
/// Feed the receive buffer to [`next`](Self::next), answer each event that has a stage with
/// [`respond`](Self::respond) and the negotiation with [`negotiate`](Self::negotiate), write what
/// [`output`](Self::output) has, and call [`end`](Self::end) until it says `None` when the connection is gone
/// or an error came. There is no clock and no I/O in here.
///
/// Everything that the MTA cannot do is made up for here: stages that it insists on sending are answered,
/// replies that it insists on are given, a skipped body is swallowed. And what it must not get is kept back: a
/// reply where none was agreed, a modification before the end of message or without a negotiated action.
///
/// ```
/// use tamis_proto::{Event, FilterSession, Needs, Stage, Verdict};
///
/// let mut session = FilterSession::default();
/// let offer = [0, 0, 0, 13, b'O', 0, 0, 0, 6, 0, 0, 1, 0xff, 0, 0x1f, 0xff, 0xff];
/// let (used, event) = session.next(&offer)?;
/// assert!(matches!(event, Some(Event::Negotiate(_))) && used == offer.len());
/// session.negotiate(&Needs::new().answer([Stage::Helo]))?;
///
/// let (_, event) = session.next(b"\0\0\0\x06Hhost\0")?;
/// assert_eq!(event, Some(Event::Helo(&b"host"[..])));
/// session.respond(Verdict::Continue)?;
/// assert_eq!(session.output().len(), 17 + 5);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "they are independent of each other")]
pub struct FilterSession {
    rules: Rules,
    limits: Arc<Limits>,
    counts: bounds::Counts,
    state: State,
    waits: Waits,
    /// What was agreed on.
    actions: Actions,
    steps: Steps,
    data_size: DataSize,
    /// What the filter wants to see, whatever was agreed on.
    see: [See; Stage::COUNT],
    /// The filter wants the leading space of header values, and the MTA cannot keep it.
    mends_space: bool,
    /// A required action is missing: every message is refused for now.
    refuses_mail: bool,
    /// The filter wants no more of this message's body.
    skips_body: bool,
    /// The last piece of the body, which came with the end of message, was handled.
    last_piece: LastPiece,
    /// What the message was decided to be before its end.
    settled: Verdict,
    /// What the next answered stage is to be told, whatever the filter would say.
    deferred: Option<Verdict>,
    macros: MacroTable,
    /// They are of a connection that is over.
    forgets_macros: bool,
    new_body: NewBody,
    output: Output,
    warning: Option<Warning>,
    /// Bytes of the stream that were used.
    offset: u64,
}

/// What the session waits for before it goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waits {
    /// More bytes.
    Bytes,
    /// The answer to the offer.
    Needs(Offer),
    /// A verdict.
    Verdict(Stage),
}

/// A replaced body, whose packets must not have anything between them.
#[derive(Debug)]
enum NewBody {
    /// Kept back until the verdict; no pieces are no new body. Boxed, as most sessions never have any.
    #[expect(clippy::box_collection, reason = "an idle session is to be small")]
    Kept(Option<Box<Vec<Bytes>>>),
    /// On its way already.
    Begun,
}

impl Default for NewBody {
    fn default() -> Self {
        Self::Kept(None)
    }
}

/// Progress with a last piece of the body inside the end of message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LastPiece {
    /// There is none, or it was not looked at yet.
    No,
    /// Given as an event, not answered yet.
    Given,
    /// Answered with continue; the end of message itself comes next.
    Passed,
    /// Answered with a verdict that stands for the end of message.
    Decided,
}

/// What became of a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It is in the output.
    Given,
    /// Nothing is sent: no answer is due at this stage.
    NotDue,
    /// Continue is in the output instead: MTAs misbehave on this verdict at this stage (spec §3.2).
    ContinueInstead,
}

/// Something that is tolerated but should be logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// A list of macros was cut off; its last name or value was dropped.
    DanglingMacro,
    /// A list had more macros than the limit; those above it were dropped.
    TooManyMacros {
        /// The limit in force.
        limit: usize,
    },
    /// Required actions are not offered: every message is refused for now ([`IfMissing::TempfailMail`]).
    RefusesMail {
        /// What is missing.
        missing: Actions,
    },
}

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::DanglingMacro => f.write_str("list of macros is cut off, its last string was dropped"),
            Self::TooManyMacros { limit } => {
                write!(f, "more than {limit} macros at one stage, those above were dropped")
            }
            Self::RefusesMail { missing } => {
                write!(
                    f,
                    "does not offer {missing}, which the filter needs; every message is refused for now"
                )
            }
        }
    }
}

/// What [`FilterSession::next`] took off a buffer: the bytes used, and the event if there is one.
pub type Next<'b> = (usize, Option<Event<&'b [u8]>>);

/// How much of a frame was used.
enum Taken<'b> {
    /// All of it.
    Frame(Option<Event<&'b [u8]>>),
    /// Nothing yet: the event comes before what the frame says.
    Before(Event<&'b [u8]>),
}

impl Default for FilterSession {
    fn default() -> Self {
        Self::new(Rules::default(), Limits::default())
    }
}

impl FilterSession {
    /// A session that was just accepted. Many sessions may share their limits.
    pub fn new(rules: Rules, limits: impl Into<Arc<Limits>>) -> Self {
        Self {
            rules,
            limits: limits.into(),
            counts: bounds::Counts::default(),
            state: State::Fresh,
            waits: Waits::Bytes,
            actions: Actions::empty(),
            steps: Steps::empty(),
            data_size: DataSize::K64,
            see: [See::Nothing; Stage::COUNT],
            mends_space: false,
            refuses_mail: false,
            skips_body: false,
            last_piece: LastPiece::No,
            settled: Verdict::Continue,
            deferred: None,
            macros: MacroTable::default(),
            forgets_macros: false,
            new_body: NewBody::default(),
            output: Output::default(),
            warning: None,
            offset: 0,
        }
    }

    /// Takes the next event off `buf`: the bytes it used, and the event if there is one.
    ///
    /// Call it again with the rest of the buffer until there is no event; then more bytes are needed, or an
    /// answer to the last event, or the session [is over](Self::is_closed), or, if bytes were used, so many
    /// replies wait ([`Limits::replies`]) that they should be written first. Used bytes are not needed any more,
    /// except by the event itself.
    ///
    /// # Errors
    ///
    /// When the MTA breaks the protocol. The connection must be closed; [`end`](Self::end) still has the events
    /// that conclude the session.
    pub fn next<'b>(&mut self, buf: &'b [u8]) -> Result<Next<'b>, Error> {
        let mut used = 0;
        while self.waits == Waits::Bytes && self.state != State::Closed {
            // Commands may be much shorter than what they are answered with.
            if used > 0 && self.output.len() >= self.limits.replies {
                break;
            }
            let parsed =
                Frame::parse(&buf[used..], self.limits.payload).map_err(|fault| self.error(None, fault))?;
            let Some((len, frame)) = parsed else { break };
            match self.take(frame).map_err(|fault| self.error(Some(frame.code), fault))? {
                Taken::Before(event) => return Ok((used, Some(event))),
                Taken::Frame(event) => {
                    used += len;
                    self.offset += len as u64;
                    if event.is_some() {
                        return Ok((used, event));
                    }
                }
            }
        }
        Ok((used, None))
    }

    /// Answers the offer with what the filter needs.
    ///
    /// # Errors
    ///
    /// [`Refusal`] when a required action is not offered and the needs do not say to refuse mail instead, or
    /// when the macro lists cannot be sent. Nothing is written then; close the connection.
    pub fn negotiate(&mut self, needs: &Needs) -> Result<Agreement, Refusal> {
        let Waits::Needs(offer) = self.waits else { return Err(Refusal::NotNow) };
        let (agreement, answer) = match negotiate::agree(offer, needs, self.rules) {
            Ok(agreed) => {
                self.see = needs.see;
                agreed
            }
            Err(Refusal::MissingActions { missing, .. }) if needs.if_missing == IfMissing::TempfailMail => {
                self.refuses_mail = true;
                self.warning = Some(Warning::RefusesMail { missing });
                negotiate::agree(offer, &Needs::new().answer([Stage::Mail]), self.rules)?
            }
            Err(refusal) => return Err(refusal),
        };
        self.actions = agreement.actions;
        self.steps = agreement.steps;
        self.data_size = agreement.data_size;
        self.mends_space = needs.leading_space && !agreement.leading_space();
        Reply::Negotiate(answer).encode(self.output.frames());
        self.state = State::Negotiated;
        self.waits = Waits::Bytes;
        Ok(agreement)
    }

    /// Says whether the stream may end here, with `rest` still unread.
    ///
    /// # Errors
    ///
    /// When it ends inside a frame, inside a message or before an answer was written.
    pub fn eof(&self, rest: &[u8]) -> Result<(), Error> {
        match self.state {
            State::Closed => Ok(()),
            _ if !rest.is_empty() && self.waits == Waits::Bytes => Err(self.error(None, Fault::EndInFrame)),
            _ if self.state.in_message() || self.waits != Waits::Bytes => {
                Err(self.error(None, Fault::EndTooEarly))
            }
            _ => Ok(()),
        }
    }

    /// Ends the session: the connection is gone, an error came, or the filter's side wants no more.
    ///
    /// Gives [`Event::Abort`] if a message is open, then [`Event::Close`] unless that came already, then `None`.
    pub fn end(&mut self) -> Option<Event<&'static [u8]>> {
        let unanswered = self.at_end_of_message() && self.rules.abort_unanswered_end;
        self.waits = Waits::Bytes;
        if self.state == State::Closed {
            None
        } else if self.state.in_message() || unanswered {
            self.state = State::Greeted;
            Some(Event::Abort)
        } else {
            self.forget_macros();
            self.close(State::Closed);
            Some(Event::Close)
        }
    }

    /// What is to be written to the MTA.
    pub fn output(&mut self) -> &mut Output {
        &mut self.output
    }

    /// The macros that are visible now.
    pub fn macros(&self) -> &MacroTable {
        &self.macros
    }

    /// Notes from now on which macros are looked up in vain.
    pub fn note_missed_macros(&mut self, missed: Arc<MissedMacros>) {
        self.macros.note_missed(missed);
    }

    /// The stage that waits for a verdict.
    pub fn waits_for(&self) -> Option<Stage> {
        match self.waits {
            Waits::Verdict(stage) => Some(stage),
            _ => None,
        }
    }

    /// Whether the session is over.
    pub fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// Whether a message is open.
    pub fn in_message(&self) -> bool {
        self.state.in_message() || self.at_end_of_message()
    }

    /// The actions agreed on.
    pub fn actions(&self) -> Actions {
        self.actions
    }

    /// The steps agreed on.
    pub fn steps(&self) -> Steps {
        self.steps
    }

    /// Bytes of the MTA's stream that were used.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Whether options were agreed on.
    pub fn is_negotiated(&self) -> bool {
        self.state != State::Fresh
    }

    /// Bytes of replies that may wait before the session takes another command.
    pub fn replies_limit(&self) -> usize {
        self.limits.replies
    }

    /// Largest payload that is accepted from the MTA.
    pub fn payload_limit(&self) -> usize {
        self.limits.payload
    }

    /// Something tolerated since the last call that should be logged.
    pub fn warning(&mut self) -> Option<Warning> {
        self.warning.take()
    }

    fn error(&self, code: Option<u8>, fault: Fault) -> Error {
        Error { peer: Role::Mta, fault, code, state: self.state.name(), offset: self.offset }
    }

    /// Forgets the client; what was agreed on stays.
    fn close(&mut self, state: State) {
        self.state = state;
        self.forgets_macros = true;
        if !self.rules.keep_macros_to_the_end {
            self.forget_macros();
        }
        self.new_body = NewBody::default();
        self.settled = Verdict::Continue;
        self.deferred = None;
        self.last_piece = LastPiece::No;
    }
}

#[cfg(test)]
mod tests;

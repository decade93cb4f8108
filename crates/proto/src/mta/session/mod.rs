//! [`MtaSession`]: commands in, bytes to the filter out; bytes from the filter in, verdicts and edits out.

mod receive;
mod script;
mod send;

use std::time::Instant;

pub use script::Script;

use super::config::MtaConfig;
use crate::command::Command;
use crate::edit::Edit;
use crate::error::{Error, Fault, Misuse, Role};
use crate::negotiate::{Agreement, DataSize, Steps};
use crate::output::Output;
use crate::reply::Verdict;
use crate::stage::Stage;

/// One connection to a filter, seen from the MTA.
///
/// Say [`send`](Self::send) for every step of an SMTP session, whether the filter wants it or not: what it
/// does not want is left out. Where [`Turn::Filter`] comes back, write the [`output`](Self::output) and feed
/// what the filter sends to [`next`](Self::next) until a verdict comes. Any error is the filter's and final.
#[derive(Debug)]
pub struct MtaSession {
    config: MtaConfig,
    phase: Phase,
    agreed: Agreed,
    waits: Option<Waits>,
    /// Recipients of this message that the filter has not refused.
    recipients: u32,
    refused: u32,
    skips_body: bool,
    /// The filter discarded this message; Sendmail still aborts it.
    discarded: bool,
    /// The filter sits out since connect or helo, which Postfix takes for a reason to leave without a word.
    leaves_silently: bool,
    edits: Edits,
    output: Output,
    offset: u64,
}

/// What was agreed on, as far as the session needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Agreed {
    version: u32,
    actions: crate::negotiate::Actions,
    steps: Steps,
    data_size: DataSize,
}

/// Where the SMTP session is, as far as this filter is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Fresh,
    Negotiated,
    Connected,
    Greeted,
    Mail,
    Rcpt,
    Data,
    Headers,
    EndOfHeaders,
    Body,
    Ended,
    /// A verdict ended the message.
    Settled,
    /// The filter accepted or refused the whole connection.
    SitsOut,
    Closed,
}

#[derive(Clone, Copy, Debug)]
struct Waits {
    /// `None` while it is the negotiation.
    stage: Option<Stage>,
    since: Instant,
    /// The last sign of life.
    alive: Instant,
}

/// What the end of message brought so far.
#[derive(Clone, Copy, Debug, Default)]
struct Edits {
    body_bytes: u64,
    body: BodyRun,
}

/// Whether packets of a replaced body are in a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum BodyRun {
    #[default]
    None,
    Running,
    Broken,
}

/// Whose turn it is after a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The filter's: wait for its answer.
    Filter,
    /// Still the MTA's: the command is in the output and is not answered.
    Mta,
    /// Still the MTA's: this filter does not get the command.
    Unwanted,
    /// Still the MTA's: the header field is longer than the packets agreed on and is left out. Log it.
    TooLong,
}

/// What a filter says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MtaEvent<'b> {
    /// It agreed. Macro stages that do not exist are counted.
    Negotiated {
        /// What both agreed on.
        agreement: Agreement,
        /// Macro lists for stages that do not exist, which were passed over.
        unknown_stages: usize,
    },
    /// It wants a modification.
    Edit(Edit<&'b [u8]>),
    /// It wants a modification that must not be done.
    RefusedEdit(Edit<&'b [u8]>, Misuse),
    /// It is still working.
    Progress,
    /// Its verdict; the turn is the MTA's again.
    Verdict {
        /// The stage it is for.
        stage: Stage,
        /// What it says.
        verdict: Verdict,
        /// It sent a reply that was not one; the verdict stands in for it (spec §12.3).
        mended: bool,
    },
}

impl MtaSession {
    /// A session that was just connected.
    pub fn new(config: MtaConfig) -> Self {
        Self {
            config,
            phase: Phase::Fresh,
            agreed: Agreed {
                version: config.offer.version,
                actions: config.offer.actions,
                steps: Steps::empty(),
                data_size: DataSize::K64,
            },
            waits: None,
            recipients: 0,
            refused: 0,
            skips_body: false,
            discarded: false,
            leaves_silently: false,
            edits: Edits::default(),
            output: Output::default(),
            offset: 0,
        }
    }

    /// Makes the offer.
    ///
    /// # Errors
    ///
    /// When it was made before.
    pub fn negotiate(&mut self, now: Instant) -> Result<(), Misuse> {
        if self.phase != Phase::Fresh || self.waits.is_some() {
            return Err(Misuse::OutOfOrder("negotiate"));
        }
        Command::<&[u8]>::Negotiate(self.config.offer).encode(self.output.frames());
        self.waits = Some(Waits { stage: None, since: now, alive: now });
        Ok(())
    }

    /// When the filter's time is up, if it is the filter's turn.
    pub fn deadline(&self) -> Option<Instant> {
        let waits = self.waits?;
        let times = &self.config.timeouts;
        Some(match waits.stage {
            Some(Stage::EndOfMessage) => {
                (waits.alive + times.content).min(waits.since + times.end_of_message)
            }
            Some(Stage::Header | Stage::EndOfHeaders | Stage::Body) => waits.alive + times.content,
            _ => waits.alive + times.command,
        })
    }

    /// Ends the session if the filter's time is up.
    ///
    /// # Errors
    ///
    /// [`Fault::TimedOut`] if so; the connection must be closed.
    pub fn check_time(&mut self, now: Instant) -> Result<(), Error> {
        match self.deadline() {
            Some(deadline) if now >= deadline => Err(self.fail(None, Fault::TimedOut)),
            _ => Ok(()),
        }
    }

    /// Notes that the filter closed the connection, with `rest` still unread.
    ///
    /// # Errors
    ///
    /// Unless the session was over.
    pub fn eof(&mut self, rest: &[u8]) -> Result<(), Error> {
        match self.phase {
            Phase::Closed => Ok(()),
            _ if !rest.is_empty() => Err(self.fail(None, Fault::EndInFrame)),
            _ => Err(self.fail(None, Fault::EndTooEarly)),
        }
    }

    /// What is to be written to the filter.
    pub fn output(&mut self) -> &mut Output {
        &mut self.output
    }

    /// The stage that waits for the filter's verdict.
    pub fn waits_for(&self) -> Option<Stage> {
        self.waits.and_then(|waits| waits.stage)
    }

    /// Whether the session is over.
    pub fn is_closed(&self) -> bool {
        self.phase == Phase::Closed
    }

    /// Whether the filter's verdict on the message was its last word about it.
    pub fn is_settled(&self) -> bool {
        self.phase == Phase::Settled
    }

    /// Whether the filter wants nothing more of this connection.
    pub fn sits_out(&self) -> bool {
        self.phase == Phase::SitsOut
    }

    /// The steps agreed on.
    pub fn steps(&self) -> Steps {
        self.agreed.steps
    }

    /// Largest payload that is accepted from the filter.
    pub fn payload_limit(&self) -> usize {
        self.config.limits.payload
    }

    /// Largest payload that is sent.
    pub fn data_size(&self) -> DataSize {
        self.agreed.data_size
    }

    /// Whether the filter has a message open.
    pub fn in_message(&self) -> bool {
        (Phase::Mail..=Phase::Body).contains(&self.phase)
    }

    fn fail(&mut self, code: Option<u8>, fault: Fault) -> Error {
        let state = match self.waits.map(|waits| waits.stage) {
            Some(None) => "negotiating",
            Some(Some(stage)) => stage.name(),
            None => "idle",
        };
        self.phase = Phase::Closed;
        self.waits = None;
        self.output.clear();
        Error { peer: Role::Filter, fault, code, state, offset: self.offset }
    }
}

#[cfg(test)]
mod tests;

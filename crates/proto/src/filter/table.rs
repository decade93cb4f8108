//! Which command is legal in which state of the filter's side (spec §6).
//!
//! ```text
//!            O            C              H              M          R          T        L         N
//!   Fresh ──────▶ Negotiated ──▶ Connected ──▶ Greeted ──▶ Mail ──▶ Rcpt ──▶ Data ──▶ Headers ──▶ EndOfHeaders
//!                     ▲                          ▲  ▲                 └──────────┴──────┐             │ B
//!                     │ K, any time              │  └── A, H: abort ◀── any of these    │             ▼
//!                     └──────────────────────    │                                      └──▶ E ◀──── Body
//!                                                └────────── M: next message ◀──── Ended ◀───┘
//! ```
//!
//! A command may pass over stages that were switched off; a verdict that ends the message early leads to
//! `Settled`, from where `M`, `H` and `A` go on. `U` and `D` are legal everywhere and change nothing.

use crate::command::Kind;
use crate::negotiate::Steps;
use crate::stage::Stage;

/// Where a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum State {
    /// Nothing was negotiated yet.
    Fresh,
    /// Options are agreed on; no client yet.
    Negotiated,
    Connected,
    /// Outside a message.
    Greeted,
    Mail,
    Rcpt,
    Data,
    Headers,
    EndOfHeaders,
    Body,
    /// The end of the message was seen.
    Ended,
    /// A verdict ended the message before its end.
    Settled,
    Closed,
}

/// What to do with a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Handle it.
    Go,
    /// End the open message as aborted, then handle it.
    AbortFirst,
    /// Nothing to do and nothing to say.
    Ignore,
    /// The message was decided before: say the same again.
    Repeat,
    /// Out of order: end the session.
    Refuse,
}

impl State {
    #[cfg(test)]
    pub(crate) const ALL: [Self; 13] = [
        Self::Fresh,
        Self::Negotiated,
        Self::Connected,
        Self::Greeted,
        Self::Mail,
        Self::Rcpt,
        Self::Data,
        Self::Headers,
        Self::EndOfHeaders,
        Self::Body,
        Self::Ended,
        Self::Settled,
        Self::Closed,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Negotiated => "negotiated",
            Self::Connected => "connected",
            Self::Greeted => "greeted",
            Self::Mail => "mail",
            Self::Rcpt => "rcpt",
            Self::Data => "data",
            Self::Headers => "headers",
            Self::EndOfHeaders => "end-of-headers",
            Self::Body => "body",
            Self::Ended => "ended",
            Self::Settled => "settled",
            Self::Closed => "closed",
        }
    }

    /// Whether a message is open, so that its end must be told.
    pub(crate) fn in_message(self) -> bool {
        (Self::Mail..=Self::Body).contains(&self)
    }

    /// The state that a command leads to; unknown commands lead nowhere.
    pub(crate) const fn after(self, stage: Stage) -> Self {
        match stage {
            Stage::Connect => Self::Connected,
            Stage::Helo => Self::Greeted,
            Stage::Mail => Self::Mail,
            Stage::Rcpt => Self::Rcpt,
            Stage::Data => Self::Data,
            Stage::Header => Self::Headers,
            Stage::EndOfHeaders => Self::EndOfHeaders,
            Stage::Body => Self::Body,
            Stage::EndOfMessage => Self::Ended,
            Stage::Unknown => self,
        }
    }

    /// The commands that may follow directly within a message.
    const fn row(self) -> u16 {
        use Stage::{Body, Data, EndOfHeaders, EndOfMessage, Header, Mail, Rcpt};
        const fn set(stages: &[Stage]) -> u16 {
            match stages {
                [] => 0,
                [first, rest @ ..] => 1 << first.index() | set(rest),
            }
        }
        match self {
            Self::Greeted => const { set(&[Mail]) },
            Self::Mail => const { set(&[Rcpt]) },
            Self::Rcpt => const { set(&[Rcpt, Data, Header, EndOfHeaders, Body, EndOfMessage]) },
            Self::Data | Self::Headers => const { set(&[Header, EndOfHeaders]) },
            Self::EndOfHeaders | Self::Body => const { set(&[Body, EndOfMessage]) },
            _ => 0,
        }
    }

    /// The state that numerically follows and the step that switches it off.
    const fn follower(self) -> Option<(Self, Steps)> {
        Some(match self {
            Self::Greeted => (Self::Mail, Steps::NO_MAIL),
            Self::Mail => (Self::Rcpt, Steps::NO_RCPT),
            Self::Rcpt => (Self::Data, Steps::NO_DATA),
            // A message may have no header fields; libmilter does not expect that.
            Self::Data => (Self::Headers, Steps::empty()),
            Self::Headers => (Self::EndOfHeaders, Steps::NO_END_OF_HEADERS),
            Self::EndOfHeaders => (Self::Body, Steps::NO_BODY),
            _ => return None,
        })
    }

    /// Whether a stage can be reached, passing over stages that are switched off (spec §6.3).
    fn reaches(self, stage: Stage, steps: Steps) -> bool {
        let mut at = self;
        loop {
            if at.row() & 1 << stage.index() != 0 {
                return true;
            }
            match at.follower() {
                Some((next, off)) if steps.contains(off) => at = next,
                _ => return false,
            }
        }
    }

    /// What to do with a command under the steps agreed on.
    pub(crate) fn step(self, kind: Kind, steps: Steps) -> Step {
        let abort_first = if self.in_message() { Step::AbortFirst } else { Step::Go };
        match (kind, self) {
            (_, Self::Closed) => Step::Refuse,
            // Macros may come at any time, even before the negotiation, and so may the end.
            (Kind::Macros, _) => Step::Go,
            (Kind::Quit, _) => abort_first,
            (Kind::Negotiate, _) => {
                if self == Self::Fresh {
                    Step::Go
                } else {
                    Step::Refuse
                }
            }
            (_, Self::Fresh) => Step::Refuse,
            (Kind::Abort, _) => match self {
                _ if self.in_message() => Step::Go,
                _ => Step::Ignore,
            },
            (Kind::Helo | Kind::QuitNewConnection, _) => abort_first,
            (Kind::Unknown, _) => Step::Go,
            (Kind::Connect, _) => {
                if self == Self::Negotiated {
                    Step::Go
                } else {
                    Step::Refuse
                }
            }
            (_, _) => self.message_step(kind, steps),
        }
    }

    fn message_step(self, kind: Kind, steps: Steps) -> Step {
        let Some(stage) = kind.stage() else { return Step::Refuse };
        match self {
            // After a verdict that ends the message MTAs go on with the next one (spec §6.8), which begins with
            // whatever is not switched off.
            Self::Settled if !Self::Greeted.reaches(stage, steps) => Step::Repeat,
            _ if self.reaches(stage, steps) => Step::Go,
            _ if Self::Greeted.reaches(stage, steps) => {
                if self.in_message() {
                    Step::AbortFirst
                } else {
                    Step::Go
                }
            }
            _ => Step::Refuse,
        }
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;

//! What it costs when a filter fails.

use std::fmt;
use std::time::Duration;

use tamis_proto::{Misuse, Stage, Verdict};

use crate::filter::BoxError;
use crate::recorder::Cause;

/// What happens to mail when a filter of a chain fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnFailure {
    /// Mail is refused for now, with `451 4.7.1`: at the stage that failed or, if that is not answered, at the next one
    /// that is, the end of the message at the latest. At rcpt so are all later recipients, and the message itself at
    /// the next stage.
    #[default]
    Tempfail,
    /// The others go on without it.
    Accept,
    /// Mail is refused for good, as with [`Tempfail`](Self::Tempfail).
    Reject,
    /// The others go on without it, and the message is held at its end; refused for now where the MTA holds none.
    Quarantine,
}

impl OnFailure {
    /// Whether mail is refused.
    pub(super) const fn refuses(self, can_hold: bool) -> bool {
        match self {
            Self::Tempfail | Self::Reject => true,
            Self::Accept => false,
            Self::Quarantine => !can_hold,
        }
    }

    /// The verdict that refuses mail; none where the others go on.
    pub(super) fn verdict(self, can_hold: bool) -> Option<Verdict> {
        self.refuses(can_hold).then(|| match self {
            Self::Reject => Verdict::reject("5.7.1", "Service unavailable"),
            _ => Verdict::tempfail("4.7.1", "Service unavailable - try again later"),
        })
    }

    /// The name used in logs and configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tempfail => "tempfail",
            Self::Accept => "accept",
            Self::Reject => "reject",
            Self::Quarantine => "quarantine",
        }
    }
}

impl fmt::Display for OnFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The error of a filter that cannot be asked again on this connection, because what it depends on is gone for good: a
/// filter that returns it from a chain is out of the connection, not of the message alone.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unavailable(#[source] pub BoxError);

/// How a filter failed.
#[derive(Debug)]
pub(super) enum Failure {
    Error(BoxError),
    /// Its verdict is none that it may give.
    Verdict(Misuse),
    TimedOut(Duration),
    Panicked(String),
}

impl Failure {
    /// Whether it fails for the rest of the connection.
    pub(super) fn lasts(&self) -> bool {
        match self {
            Self::Panicked(_) => true,
            Self::Error(error) => error.is::<Unavailable>(),
            Self::Verdict(_) | Self::TimedOut(_) => false,
        }
    }

    /// Whether the filter itself said so.
    pub(super) fn is_said(&self) -> bool {
        matches!(self, Self::Error(_) | Self::Verdict(_))
    }

    /// What a flight record says of it.
    pub(super) fn cause(&self) -> Cause {
        match self {
            Self::Error(_) | Self::Verdict(_) => Cause::Error,
            Self::TimedOut(_) => Cause::Timeout,
            Self::Panicked(_) => Cause::Panic,
        }
    }

    /// Says on whose account, where.
    pub(super) fn log(&self, filter: &str, at: &str, policy: &str) {
        tracing::error!(filter, stage = at, policy, "filter failed: {self}");
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error(error) => error.fmt(f),
            Self::Verdict(misuse) => misuse.fmt(f),
            Self::TimedOut(limit) => write!(f, "no verdict within {limit:?}"),
            Self::Panicked(text) => write!(f, "panic: {text}"),
        }
    }
}

impl From<Misuse> for Failure {
    fn from(misuse: Misuse) -> Self {
        Self::Verdict(misuse)
    }
}

/// A verdict that was not declared.
pub(super) fn unasked(stage: Stage) -> Failure {
    Failure::Verdict(Misuse::NoReplyStage(stage))
}

/// Notes the first failure of a step, for a flight record.
pub(super) fn note(noted: &mut Option<(Cause, String)>, filter: &str, failure: &Failure) {
    noted.get_or_insert_with(|| (failure.cause(), format!("filter {filter}: {failure}")));
}

//! What can go wrong with a milter that is consulted.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tamis_proto::{Actions, Error, Fault, Misuse, Stage};

use crate::client::ClientError;
use crate::message::BodyError;

/// A milter failed: which one, where, and how.
#[derive(Clone, Debug, thiserror::Error)]
#[error("milter {milter} at {place}: {fault}")]
pub struct RemoteError {
    /// Its name.
    pub milter: Arc<str>,
    /// Where it failed.
    pub place: Place,
    /// How it failed.
    #[source]
    pub fault: Arc<RemoteFault>,
}

/// Where a milter failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Before it answered the offer.
    Negotiation,
    /// At a stage.
    Stage(Stage),
    /// When it was told that a message goes no further.
    Abort,
}

/// How a milter failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RemoteFault {
    /// There is no connection to it, or what listens there is no milter.
    #[error("{0}")]
    Unreachable(#[source] ClientError),
    /// It said nothing for so long.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// It closed the connection.
    #[error("it closed the connection")]
    Gone,
    /// The connection broke.
    #[error("connection failed: {0}")]
    Io(#[source] io::Error),
    /// It speaks although nothing was asked, or although no answer was agreed on.
    #[error("it answers although no answer is due")]
    Unsolicited,
    /// It broke the protocol otherwise.
    #[error("it broke the protocol: {0}")]
    Protocol(#[source] Error),
    /// It needs actions that are not offered.
    #[error("it needs {missing}, but {offered} is all that is offered")]
    MissingActions {
        /// What is missing.
        missing: Actions,
        /// What the MTA offers.
        offered: Actions,
    },
    /// It wants other things than on the first connection for the same MTA.
    #[error("it negotiated something else than before")]
    Changed,
    /// A step does not fit the packets that it agreed to.
    #[error("{what} of {length} bytes exceeds its packet size of {limit}")]
    TooLong {
        /// The step.
        what: &'static str,
        /// Bytes of payload it would take.
        length: usize,
        /// Bytes of payload that fit.
        limit: usize,
    },
    /// A step cannot be sent for another reason.
    #[error("{0}")]
    Step(#[source] Misuse),
    /// It asks for a modification that cannot be done.
    #[error("{edit}, which it asks for, cannot be done: {why}")]
    Edit {
        /// The name of the modification.
        edit: &'static str,
        /// Why not.
        #[source]
        why: Misuse,
    },
    /// It asks for too many modifications.
    #[error("modifications that it asks for exceed the limit of {limit} bytes")]
    TooManyEdits {
        /// The limit in force.
        limit: usize,
    },
    /// Its new body cannot be kept.
    #[error("its new body cannot be kept: {0}")]
    Body(#[source] BodyError),
    /// It failed too often in a row to be asked now.
    #[error("not asked after {failures} failures in a row")]
    LeftAlone {
        /// The failures.
        failures: u32,
    },
    /// It failed before on the same connection of the MTA.
    #[error("not asked any more on this connection, as it failed at {place}: {fault}")]
    Lost {
        /// Where.
        place: Place,
        /// How.
        fault: Arc<RemoteFault>,
    },
}

impl RemoteFault {
    /// Whether the milter has failed as a whole, and not with one message.
    pub(super) fn is_fatal(&self) -> bool {
        !matches!(
            self,
            Self::TooLong { .. }
                | Self::Step(_)
                | Self::Edit { .. }
                | Self::TooManyEdits { .. }
                | Self::Body(_)
        )
    }

    /// Whether it says something about the health of the milter.
    pub(super) fn is_failure(&self) -> bool {
        self.is_fatal() && !matches!(self, Self::MissingActions { .. } | Self::LeftAlone { .. })
    }

    /// A session's error, which is the milter's.
    pub(super) fn of(error: Error, offered: Actions) -> Self {
        match error.fault {
            Fault::EndInFrame | Fault::EndTooEarly => Self::Gone,
            Fault::Unsolicited => Self::Unsolicited,
            Fault::ExcessActions(bits) => {
                Self::MissingActions { missing: Actions::from_bits_retain(bits), offered }
            }
            _ => Self::Protocol(error),
        }
    }
}

impl From<io::Error> for RemoteFault {
    fn from(error: io::Error) -> Self {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
        match error.kind() {
            BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof => Self::Gone,
            _ => Self::Io(error),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Negotiation => "negotiation",
            Self::Stage(stage) => stage.name(),
            Self::Abort => "abort",
        })
    }
}

//! Why connections end before the MTA said so.

use std::io;
use std::time::Duration;

use tamis_proto::Stranger;

use crate::recorder::Cause;

/// Why a connection ends before the MTA said so.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Lost {
    #[error("{0}")]
    Protocol(#[from] tamis_proto::Error),
    #[error("{stranger}; it began with {said}")]
    Stranger { stranger: Stranger, said: String },
    #[error("connection failed: {0}")]
    Io(#[from] io::Error),
    #[error("the MTA did not negotiate within {0:?}")]
    Handshake(Duration),
    #[error("a frame that the MTA began was not finished within {0:?}")]
    Frame(Duration),
    #[error("the buffers of all connections together exceed the limit of {0} bytes")]
    Buffers(usize),
    #[error("nothing was heard from the MTA for {0:?}")]
    Idle(Duration),
    #[error("the MTA read nothing of a reply for {0:?}")]
    Unread(Duration),
    #[error("the MTA went away while the filter was working")]
    Gone,
    #[error("the MTA left before the filter had seen everything")]
    Left,
    #[error("negotiation failed: {1}")]
    Negotiation(Cause, String),
    #[error("the server stops")]
    Stopped,
}

impl Lost {
    /// What a flight record says of it, and where; nothing where that is how connections end.
    pub(super) fn cause(&self) -> Option<(Cause, &'static str)> {
        Some(match self {
            Self::Stopped | Self::Idle(_) | Self::Left => return None,
            Self::Negotiation(cause, _) => (*cause, "negotiation"),
            Self::Handshake(_) | Self::Frame(_) | Self::Unread(_) => (Cause::Timeout, "connection"),
            Self::Protocol(_) | Self::Stranger { .. } | Self::Io(_) | Self::Buffers(_) | Self::Gone => {
                (Cause::Connection, "connection")
            }
        })
    }
}

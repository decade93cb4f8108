//! The limits that a connection can run into, by name.

use std::fmt;

use tamis_proto::Fault;

use super::lost::Lost;

/// A limit that a connection ran into. [`Counters::exceeded`](super::Counters::exceeded) says how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Limit {
    /// [`Options::max_connections`](super::Options::max_connections).
    Connections,
    /// [`Options::max_connections_per_peer`](super::Options::max_connections_per_peer).
    ConnectionsPerPeer,
    /// Files that the system lets the process open, or sockets that it has memory for.
    OpenFiles,
    /// [`Options::handshake_time`](super::Options::handshake_time).
    HandshakeTime,
    /// [`Options::idle_time`](super::Options::idle_time).
    IdleTime,
    /// [`Options::frame_time`](super::Options::frame_time).
    FrameTime,
    /// [`Options::write_time`](super::Options::write_time).
    WriteTime,
    /// [`Options::buffers`](super::Options::buffers).
    Buffers,
    /// [`Limits::payload`](tamis_proto::Limits::payload).
    Payload,
    /// [`Limits::macros`](tamis_proto::Limits::macros).
    Macros,
    /// [`Limits::macro_bytes`](tamis_proto::Limits::macro_bytes).
    MacroBytes,
    /// [`Limits::headers`](tamis_proto::Limits::headers).
    Headers,
    /// [`Limits::header_bytes`](tamis_proto::Limits::header_bytes).
    HeaderBytes,
    /// [`Limits::recipients`](tamis_proto::Limits::recipients).
    Recipients,
    /// [`Limits::argument`](tamis_proto::Limits::argument).
    Argument,
}

impl Limit {
    /// All there are.
    pub const ALL: [Self; 15] = [
        Self::Connections,
        Self::ConnectionsPerPeer,
        Self::OpenFiles,
        Self::HandshakeTime,
        Self::IdleTime,
        Self::FrameTime,
        Self::WriteTime,
        Self::Buffers,
        Self::Payload,
        Self::Macros,
        Self::MacroBytes,
        Self::Headers,
        Self::HeaderBytes,
        Self::Recipients,
        Self::Argument,
    ];

    /// Its name in the log, which is that of the option of `tamis serve`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connections => "max-connections",
            Self::ConnectionsPerPeer => "max-connections-per-peer",
            Self::OpenFiles => "open-files",
            Self::HandshakeTime => "handshake-time",
            Self::IdleTime => "idle-time",
            Self::FrameTime => "frame-time",
            Self::WriteTime => "write-time",
            Self::Buffers => "max-buffers",
            Self::Payload => "max-payload",
            Self::Macros => "max-macros",
            Self::MacroBytes => "max-macro-bytes",
            Self::Headers => "max-headers",
            Self::HeaderBytes => "max-header-bytes",
            Self::Recipients => "max-recipients",
            Self::Argument => "max-argument",
        }
    }

    /// The limit that ended a connection, if one did.
    pub(super) fn of(lost: &Lost) -> Option<Self> {
        match lost {
            Lost::Handshake(_) => Some(Self::HandshakeTime),
            Lost::Idle(_) => Some(Self::IdleTime),
            Lost::Frame(_) => Some(Self::FrameTime),
            Lost::Unread(_) => Some(Self::WriteTime),
            Lost::Buffers(_) => Some(Self::Buffers),
            Lost::Protocol(error) => match error.fault {
                Fault::FrameTooLong { .. } => Some(Self::Payload),
                Fault::MacrosTooLong { .. } => Some(Self::MacroBytes),
                Fault::TooManyHeaders { .. } => Some(Self::Headers),
                Fault::HeadersTooLong { .. } => Some(Self::HeaderBytes),
                Fault::TooManyRecipients { .. } => Some(Self::Recipients),
                Fault::ArgumentTooLong { .. } => Some(Self::Argument),
                _ => None,
            },
            _ => None,
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

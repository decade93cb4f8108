//! The limits that a connection can run into: their names, how often that happened, and what all buffers together
//! may take.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tamis_proto::Fault;

use super::Shared;
use super::connection::Lost;

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

/// What the buffers of all connections take together, without what each may have for nothing.
#[derive(Debug, Default)]
pub(super) struct Budget(AtomicUsize);

/// What each connection may have in buffers without asking, so that small mail passes however many large frames
/// others have begun, and costs no counting.
pub(super) const FREE: usize = 16 * 1024;

/// What one connection holds of the budget; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Held {
    shared: Arc<Shared>,
    /// Bytes that it has, for nothing or not.
    input: u32,
    macros: u32,
}

impl Held {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, input: 0, macros: 0 }
    }

    /// Notes how large the buffer of what was received is. `false` if that is more than all may have.
    ///
    /// The largest counts until [`release_input`](Self::release_input): what is left of a buffer when its front
    /// was given away looks smaller than what it keeps alive.
    pub(super) fn input(&mut self, bytes: usize) -> bool {
        self.set(self.input.max(small(bytes)), self.macros)
    }

    /// Notes that nothing is kept of what was received.
    pub(super) fn release_input(&mut self) {
        self.set(0, self.macros);
    }

    /// Notes how much memory macros take.
    pub(super) fn macros(&mut self, bytes: usize) -> bool {
        self.set(self.input, small(bytes))
    }

    fn set(&mut self, input: u32, macros: u32) -> bool {
        let before = self.charged();
        (self.input, self.macros) = (input, macros);
        let after = self.charged();
        let total = &self.shared.budget.0;
        if after <= before {
            if after < before {
                total.fetch_sub(before - after, Ordering::Relaxed);
            }
            return true;
        }
        let more = after - before;
        total.fetch_add(more, Ordering::Relaxed) + more <= self.shared.options.buffers
    }

    fn charged(&self) -> usize {
        (self.input as usize + self.macros as usize).saturating_sub(FREE)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.shared.budget.0.fetch_sub(self.charged(), Ordering::Relaxed);
    }
}

/// Sizes that fit a connection that is to be small; no buffer is larger than that.
fn small(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

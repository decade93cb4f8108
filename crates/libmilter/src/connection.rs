//! One connection of an MTA, as far as it exists while nothing happens on it.

use std::ffi::c_void;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use bytes::Buf;
use tamis_proto::{FilterSession, MacroStage};

use crate::reply::StoredReply;
use crate::symbols::Symbols;
use crate::{metrics, sys, trace};

/// What there is of a connection between two commands. Buffers belong to the threads that read.
#[allow(clippy::struct_excessive_bools)] // independent of each other
pub(crate) struct Connection {
    socket: OwnedFd,
    /// For logs.
    number: u32,
    /// Bytes at the beginning of what waits to be written that were traced already.
    traced: u32,
    pub(crate) session: FilterSession,
    pub(crate) private: Private,
    /// What `smfi_setreply` left for a later verdict.
    pub(crate) reply: Option<StoredReply>,
    pub(crate) symbols: Option<Box<Symbols>>,
    pub(crate) lists: Option<Box<Lists>>,
    /// The beginning of a command whose rest has not come.
    /// Boxed twice, as mostly there is none.
    #[allow(clippy::box_collection)]
    rest: Option<Box<Vec<u8>>>,
    /// When something last happened.
    active: u32,
    /// When that command began to come.
    begun: u32,
    /// A thread has it.
    pub(crate) running: bool,
    /// It waits for the MTA to take what was said.
    pub(crate) writing: bool,
    /// Why it is ending, if that is not the MTA's doing.
    pub(crate) ending: Option<Ending>,
    /// Something went wrong in writing: nothing more can be said.
    pub(crate) broken: bool,
    /// A callback answered where it said it would not, or the other way round; that is logged once.
    pub(crate) complained: bool,
}

/// A connection's name in logs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Name {
    number: u32,
    peer: Option<SocketAddr>,
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.peer {
            Some(peer) => write!(f, "connection {} from {peer}", self.number),
            None => write!(f, "connection {}", self.number),
        }
    }
}

/// Why a connection is being ended from this side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    TimedOut,
    Stopped,
}

/// The program's own pointer, which is only ever handed back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Private(pub(crate) *mut c_void);

// SAFETY: the pointer is never followed in here; what the program does with it, it does in its own threads anyway.
unsafe impl Send for Private {}

/// Macros that the program wants, set during the negotiation; at each stage once.
#[derive(Debug, Default)]
pub(crate) struct Lists([Option<Box<[u8]>>; 7]);

impl Lists {
    /// Sets the macros of a stage; `false` if they were set before.
    pub(crate) fn set(&mut self, stage: MacroStage, names: &[u8]) -> bool {
        let list = &mut self.0[stage as usize];
        if list.is_some() {
            return false;
        }
        *list = Some(names.into());
        true
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (MacroStage, &[u8])> {
        MacroStage::ALL.into_iter().filter_map(|stage| Some((stage, self.0[stage as usize].as_deref()?)))
    }
}

/// So long a command may take from its first byte to its last. MTAs write each at once.
const WHOLE_COMMAND: Duration = Duration::from_mins(5);

/// So much may wait to be written before a callback that edits has to wait for the MTA.
const GATHERED: usize = 64 * 1024;

impl Connection {
    pub(crate) fn new(socket: OwnedFd, number: u32, session: FilterSession) -> Self {
        Self {
            socket,
            number,
            traced: 0,
            session,
            private: Private(std::ptr::null_mut()),
            reply: None,
            symbols: None,
            lists: None,
            rest: None,
            active: sys::coarse_seconds(),
            begun: 0,
            running: false,
            writing: false,
            ending: None,
            broken: false,
            complained: false,
        }
    }

    pub(crate) fn borrow_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    pub(crate) fn fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    pub(crate) const fn number(&self) -> u32 {
        self.number
    }

    /// Who is on the other side, for logs.
    pub(crate) fn name(&self) -> Name {
        Name { number: self.number, peer: sys::peer(self.fd()) }
    }

    /// Takes it up for a thread: what was left of the last time.
    pub(crate) fn unpark(&mut self) -> Vec<u8> {
        self.running = true;
        self.rest.take().map(|rest| *rest).unwrap_or_default()
    }

    /// Leaves it, with the beginning of a command, which is a `new` one unless it was there at the last time already;
    /// gives back memory that only a connection with something to do needs.
    pub(crate) fn park(&mut self, rest: &[u8], new: bool) {
        let now = sys::coarse_seconds();
        if new {
            self.begun = now;
        }
        if !rest.is_empty() {
            self.rest = Some(Box::new(rest.to_vec()));
        }
        if !self.session.in_message() && self.session.output().is_empty() {
            self.session.output().clear();
        }
        self.active = now;
        self.running = false;
    }

    /// Whether nothing, or too little, came for longer than that.
    pub(crate) fn is_overdue(&self, now: u32, timeout: Duration) -> bool {
        // A thread may have had it since `now` was read.
        let since = |then: u32| Duration::from_secs(now.saturating_sub(then).into());
        !self.running
            && (since(self.active) > timeout
                || self.rest.is_some() && !self.writing && since(self.begun) > timeout.min(WHOLE_COMMAND))
    }

    /// Writes what the socket takes at once; `false` if that is not all.
    pub(crate) fn flush(&mut self) -> io::Result<bool> {
        let fd = self.fd();
        if self.session.output().is_empty() {
            return Ok(true);
        }
        if trace::is_on() {
            self.trace_output();
        }
        let output = self.session.output();
        while output.has_remaining() {
            match sys::send(fd, output.chunk()) {
                Ok(count) => {
                    output.advance(count);
                    self.traced = self.traced.saturating_sub(u32::try_from(count).unwrap_or(u32::MAX));
                    if let Some(metrics) = metrics::get() {
                        metrics.bytes_sent.add(count as u64);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => {
                    self.broken = true;
                    output.clear();
                    return Err(error);
                }
            }
        }
        Ok(true)
    }

    fn trace_output(&mut self) {
        // All of it is in one piece: only bodies that come as handles are apart, and here none does.
        let output = self.session.output();
        trace::sent(self.number, output.chunk().get(self.traced as usize..).unwrap_or_default());
        self.traced = u32::try_from(output.len()).unwrap_or(u32::MAX);
    }

    /// Writes everything, waiting for the MTA to take it, but not for longer than this at a time.
    pub(crate) fn flush_all(&mut self, patience: Option<Duration>) -> io::Result<()> {
        while !self.flush()? {
            if !sys::wait_writable(self.fd(), patience)? {
                self.broken = true;
                self.session.output().clear();
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
        Ok(())
    }

    /// Writes what edits have gathered, if it is much.
    pub(crate) fn flush_gathered(&mut self, patience: Option<Duration>) -> io::Result<()> {
        if self.session.output().len() < GATHERED { Ok(()) } else { self.flush_all(patience) }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use tamis_proto::{Limits, Rules};

    use super::*;

    fn connection() -> Connection {
        let (ours, _) = UnixStream::pair().unwrap();
        Connection::new(ours.into(), 1, FilterSession::new(Rules::libmilter(), Limits::new()))
    }

    #[test]
    fn a_connection_is_overdue_when_nothing_came_for_as_long_as_the_timeout() {
        let mut connection = connection();
        connection.park(b"", true);
        let now = connection.active;
        assert!(!connection.is_overdue(now + 7210, Duration::from_secs(7210)));
        assert!(connection.is_overdue(now + 7211, Duration::from_secs(7210)));
        connection.unpark();
        assert!(!connection.is_overdue(now + 7211, Duration::from_secs(7210)), "a thread has it");
    }

    #[test]
    fn a_command_that_comes_in_drops_is_overdue_after_five_minutes() {
        let mut connection = connection();
        connection.park(b"\0", true);
        let begun = connection.begun;
        for _ in 0..3 {
            assert!(connection.unpark().len() <= 2);
            connection.park(b"\0\0", false);
        }
        // As if something had come just now.
        connection.active = begun + 301;
        assert!(!connection.is_overdue(begun + 300, Duration::from_secs(7210)));
        assert!(connection.is_overdue(begun + 301, Duration::from_secs(7210)));
        assert!(connection.is_overdue(begun + 11, Duration::from_secs(10)));
    }

    #[test]
    fn the_beginning_of_each_command_is_given_its_own_five_minutes() {
        let mut connection = connection();
        connection.begun = sys::coarse_seconds().saturating_sub(1000);
        connection.park(b"\0", true);
        assert!(!connection.is_overdue(connection.begun + 300, Duration::from_secs(7210)));
        assert!(connection.begun + 1 >= connection.active, "it began when it was left");
    }

    #[test]
    fn an_idle_connection_is_small() {
        assert!(size_of::<Connection>() <= 420, "{} bytes", size_of::<Connection>());
    }
}

//! One connection of an MTA, as far as it exists while nothing happens on it.

use std::ffi::c_void;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use bytes::Buf;
use tamis_proto::{FilterSession, MacroStage};

use crate::reply::StoredReply;
use crate::symbols::Symbols;
use crate::sys;

/// What there is of a connection between two commands. Buffers belong to the threads that read.
pub(crate) struct Connection {
    socket: OwnedFd,
    pub(crate) session: FilterSession,
    pub(crate) private: Private,
    /// What `smfi_setreply` left for a later verdict.
    pub(crate) reply: Option<StoredReply>,
    pub(crate) symbols: Symbols,
    pub(crate) lists: Option<Box<Lists>>,
    /// The beginning of a command whose rest has not come.
    pub(crate) rest: Vec<u8>,
    /// When something last happened.
    pub(crate) active: u32,
    /// A thread has it.
    pub(crate) running: bool,
    /// Why it is ending, if that is not the MTA's doing.
    pub(crate) ending: Option<Ending>,
    /// Something went wrong in writing: nothing more can be said.
    pub(crate) broken: bool,
    /// A callback answered where it said it would not, or the other way round; that is logged once.
    pub(crate) complained: bool,
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

/// So much may wait to be written before a callback that edits has to wait for the MTA.
const GATHERED: usize = 64 * 1024;

impl Connection {
    pub(crate) fn new(socket: OwnedFd, session: FilterSession) -> Self {
        Self {
            socket,
            session,
            private: Private(std::ptr::null_mut()),
            reply: None,
            symbols: Symbols::default(),
            lists: None,
            rest: Vec::new(),
            active: sys::coarse_seconds(),
            running: false,
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

    /// Writes what the socket takes at once; `false` if that is not all.
    pub(crate) fn flush(&mut self) -> io::Result<bool> {
        let fd = self.fd();
        let output = self.session.output();
        while output.has_remaining() {
            match sys::send(fd, output.chunk()) {
                Ok(count) => output.advance(count),
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

//! Collecting a body, in memory while it is small.

use std::future::{Future, poll_fn};
use std::mem;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context as Task, Poll, ready};

use bytes::Bytes;

use super::blocks::Blocks;
use super::budget::Allowance;
use super::spool::{self, SpoolFile};
use super::{Body, BodyError};

/// Collects a body piece by piece.
///
/// It is in memory up to [`BodyOptions::memory`](super::BodyOptions::memory), and while all messages together stay
/// within [`BodyOptions::total_memory`](super::BodyOptions::total_memory); then all of it moves to a file without a
/// name. Pieces of what is read from an MTA are copied or written, never kept.
///
/// After an error everything is given back, and each further call is [`BodyError::GivenUp`].
#[derive(Debug)]
pub struct BodyCollector {
    allowance: Allowance,
    place: Place,
    len: u64,
}

enum Place {
    Memory(Blocks),
    /// What is at the end of the file, and what is not there yet.
    File(SpoolFile, Blocks),
    /// On the way to the file. In a mutex for being `Sync`; nobody ever locks it.
    Moving(Mutex<Pin<Box<Moving>>>),
    /// Given up.
    Nowhere,
}

type Moving = dyn Future<Output = Result<SpoolFile, BodyError>> + Send;

/// So much is written to a file at once, where there is memory for it.
const GATHER: usize = 512 * 1024;

impl BodyCollector {
    pub(super) fn new(allowance: Allowance) -> Self {
        Self { place: Place::Memory(Blocks::new(&allowance)), allowance, len: 0 }
    }

    /// Appends a piece. Returns when it is in memory or written, so that nothing piles up where the disk is slow or
    /// room in files is short.
    ///
    /// # Errors
    ///
    /// When there is no room for it, within the limits or on the disk.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped the piece is appended or not, never a part of it; [`len`](Self::len) says which.
    pub async fn push(&mut self, piece: Bytes) -> Result<(), BodyError> {
        self.ready().await?;
        self.put(piece);
        self.ready().await
    }

    /// Bytes that were pushed.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing was pushed.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Ends the body.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push).
    pub async fn finish(mut self) -> Result<Body, BodyError> {
        self.ready().await?;
        self.start_flush();
        self.ready().await?;
        match self.place {
            Place::Memory(blocks) => Ok(Body::in_memory(blocks.freeze())),
            Place::File(file, _) => Ok(Body::in_file(file)),
            Place::Moving(_) | Place::Nowhere => unreachable!("it was ready"),
        }
    }

    /// Waits until a piece can be put.
    ///
    /// # Cancel safety
    ///
    /// It goes on where it was when it is called again.
    pub(crate) async fn ready(&mut self) -> Result<(), BodyError> {
        poll_fn(|task| self.poll_ready(task)).await
    }

    /// Whether a piece can be put now.
    pub(crate) fn is_ready(&self) -> bool {
        matches!(self.place, Place::Memory(_) | Place::File(..))
    }

    pub(super) fn poll_ready(&mut self, task: &mut Task<'_>) -> Poll<Result<(), BodyError>> {
        match &mut self.place {
            Place::Memory(_) | Place::File(..) => Poll::Ready(Ok(())),
            Place::Moving(moving) => {
                // Nobody locks it, so it cannot be poisoned.
                let moving = moving.get_mut().expect("nobody panics with the lock");
                let moved = ready!(moving.as_mut().poll(task));
                self.place = Place::Nowhere;
                self.place = Place::File(moved?, Blocks::new(&self.allowance));
                Poll::Ready(Ok(()))
            }
            Place::Nowhere => Poll::Ready(Err(BodyError::GivenUp)),
        }
    }

    /// Appends a piece. The collector must be ready, and may be not afterwards.
    pub(crate) fn put(&mut self, piece: Bytes) {
        if !self.gathered(&piece) {
            self.start_move(piece);
        }
        self.start_full();
    }

    /// Appends a copy of bytes. The collector must be ready, and may be not afterwards.
    pub(super) fn put_slice(&mut self, piece: &[u8]) {
        if !self.gathered(piece) {
            self.start_move(Bytes::copy_from_slice(piece));
        }
        self.start_full();
    }

    /// Ends the body, if it is in memory.
    pub(crate) fn finish_in_memory(self) -> Result<Body, Self> {
        match self.place {
            Place::Memory(blocks) => Ok(Body::in_memory(blocks.freeze())),
            _ => Err(self),
        }
    }

    /// Writes what was gathered for a file. The collector must be ready, and may be not afterwards.
    pub(crate) fn start_flush(&mut self) {
        if matches!(&self.place, Place::File(_, gathered) if gathered.len() > 0) {
            self.start_move(Bytes::new());
        }
    }

    /// Writes what was gathered for a file when that is much.
    fn start_full(&mut self) {
        if matches!(&self.place, Place::File(_, gathered) if gathered.len() >= GATHER) {
            self.start_move(Bytes::new());
        }
    }

    /// Copies the piece to where there is room for it now, if there is.
    fn gathered(&mut self, piece: &[u8]) -> bool {
        let done = match &mut self.place {
            Place::Memory(blocks) => blocks.push(piece),
            Place::File(_, gathered) => gathered.push(piece),
            Place::Moving(_) | Place::Nowhere => unreachable!("it is ready"),
        };
        if done {
            self.len += piece.len() as u64;
        }
        done
    }

    /// Writes everything that is not in the file yet, and a piece behind it.
    fn start_move(&mut self, piece: Bytes) {
        self.len += piece.len() as u64;
        let (file, mut pieces) = match mem::replace(&mut self.place, Place::Nowhere) {
            Place::Memory(blocks) => (None, blocks.freeze()),
            Place::File(file, gathered) => (Some(file), gathered.freeze()),
            Place::Moving(_) | Place::Nowhere => unreachable!("it is ready"),
        };
        pieces.push(piece);
        let moving = spool::append(self.allowance.clone(), file, pieces);
        self.place = Place::Moving(Mutex::new(Box::pin(moving)));
    }

    /// Puts what follows into this file.
    #[cfg(test)]
    pub(super) fn redirect(&mut self, file: SpoolFile) {
        self.place = Place::File(file, Blocks::new(&self.allowance));
    }
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Memory(_) => "in memory",
            Self::File(..) => "in a file",
            Self::Moving(_) => "moving to a file",
            Self::Nowhere => "given up",
        })
    }
}

//! Files without names, for bodies that do not fit in memory.
//!
//! Calls of the system that may have to wait for a disk are made on the runtime's threads for blocking work: a page
//! cache under pressure lets a plain `write` take seconds, and a thread of the runtime has other connections to look
//! after. The way there and back takes longer than to copy 64 KiB, so that much is written at once, and what is in the
//! page cache is read without it, where the system can be asked for just that.

use std::fs::File;
use std::io::{self, IoSlice, Write as _};
use std::os::unix::fs::FileExt;
use std::path::Path;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::task::{JoinError, spawn_blocking};

use super::BodyError;
use super::blocks::Scratch;
use super::budget::{Allowance, SpoolCharge};

/// A file that is written at its end and read anywhere; nobody else can open it.
#[derive(Debug)]
pub(super) struct SpoolFile(Option<Open>);

#[derive(Debug)]
struct Open {
    file: File,
    len: u64,
    /// Given back after `file` is closed: fields are dropped in order.
    charge: SpoolCharge,
    allowance: Allowance,
}

/// Files from this size on take long enough to remove that the runtime's threads should not do it.
const SLOW_TO_REMOVE: u64 = 1 << 20;

/// Waits for room, then appends the pieces to the file, which is made if there is none.
///
/// # Cancel safety
///
/// When the future is dropped the file is, though perhaps not before a write has come to its end.
pub(super) async fn append(
    allowance: Allowance,
    file: Option<SpoolFile>,
    pieces: Vec<Bytes>,
) -> Result<SpoolFile, BodyError> {
    let bytes = pieces.iter().map(|piece| piece.len() as u64).sum();
    let charge = allowance.spool(bytes).await?;
    let folder = allowance.options().folder.clone();
    let written = spawn_blocking(move || {
        let mut file = match file {
            Some(mut file) => {
                file.open_mut().charge.join(charge);
                file
            }
            None => SpoolFile::create(allowance, charge)?,
        };
        file.write(&pieces)?;
        Ok(file)
    });
    written.await.unwrap_or_else(|stopped| Err(BodyError::spool("write", &folder, no_runtime(&stopped))))
}

impl SpoolFile {
    fn create(allowance: Allowance, charge: SpoolCharge) -> Result<Self, BodyError> {
        let folder = &allowance.options().folder;
        let file =
            tempfile::tempfile_in(folder).map_err(|error| BodyError::spool("create", folder, error))?;
        Ok(Self::new(file, allowance, charge))
    }

    fn new(file: File, allowance: Allowance, charge: SpoolCharge) -> Self {
        Self(Some(Open { file, len: 0, charge, allowance }))
    }

    /// A file of the test's choice, with room for nothing yet.
    #[cfg(test)]
    pub(super) async fn of(file: File, allowance: Allowance) -> Self {
        let charge = allowance.spool(0).await.expect("no bytes always fit");
        Self::new(file, allowance, charge)
    }

    fn write(&mut self, pieces: &[Bytes]) -> Result<(), BodyError> {
        let Open { file, len, allowance, .. } = self.open_mut();
        let mut slices: Vec<_> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
        let mut left = &mut slices[..];
        // Takes away those that are empty.
        IoSlice::advance_slices(&mut left, 0);
        while !left.is_empty() {
            let written = match file.write_vectored(left) {
                Ok(0) => Err(io::ErrorKind::WriteZero.into()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                written => written,
            };
            let written =
                written.map_err(|error| BodyError::spool("write", &allowance.options().folder, error))?;
            *len += written as u64;
            IoSlice::advance_slices(&mut left, written);
        }
        Ok(())
    }

    pub(super) fn len(&self) -> u64 {
        self.open().len
    }

    pub(super) fn folder(&self) -> &Path {
        &self.open().allowance.options().folder
    }

    /// Reads exactly `count` bytes, which must be there.
    pub(super) fn read(&self, at: u64, count: usize) -> Result<Bytes, BodyError> {
        let Open { file, allowance, .. } = self.open();
        let mut block = Scratch::new(allowance.budget(), count);
        file.read_exact_at(block.bytes(), at)
            .map_err(|error| BodyError::spool("read", self.folder(), error))?;
        Ok(block.freeze(count))
    }

    /// Reads what is there to be read without waiting for a disk, `count` bytes at most; `None` if that is nothing, or
    /// if nobody knows.
    #[cfg(target_os = "linux")]
    pub(super) fn read_now(&self, at: u64, count: usize) -> Option<Bytes> {
        use rustix::io::{ReadWriteFlags, preadv2};

        #[cfg(test)]
        if NOTHING_CACHED.get() {
            return None;
        }
        let Open { file, allowance, .. } = self.open();
        let mut block = Scratch::new(allowance.budget(), count);
        let slice = &mut [io::IoSliceMut::new(block.bytes())];
        // An error shows again where it is told.
        let read = preadv2(file, slice, at, ReadWriteFlags::NOWAIT).ok().filter(|read| *read > 0)?;
        Some(block.freeze(read))
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn read_now(&self, _at: u64, _count: usize) -> Option<Bytes> {
        None
    }

    fn open(&self) -> &Open {
        self.0.as_ref().expect("closed by drop only")
    }

    fn open_mut(&mut self) -> &mut Open {
        self.0.as_mut().expect("closed by drop only")
    }
}

impl Drop for SpoolFile {
    fn drop(&mut self) {
        let Some(open) = self.0.take() else { return };
        if open.len >= SLOW_TO_REMOVE
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn_blocking(move || drop(open));
        }
    }
}

#[cfg(test)]
thread_local! {
    /// Everything has to be read from the disk.
    pub(super) static NOTHING_CACHED: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// What it means that blocking work was not done.
pub(super) fn no_runtime(stopped: &JoinError) -> io::Error {
    io::Error::other(format!("the runtime has stopped: {stopped}"))
}

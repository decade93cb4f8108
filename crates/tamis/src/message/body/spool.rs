//! Files without names, for bodies that do not fit in memory.
//!
//! All calls of the system are made on the runtime's threads for blocking work: a page cache under pressure or a slow
//! disk lets a plain `write` take seconds, and a thread of the runtime has other connections to look after. Pieces
//! are large enough that the way there and back (some 10 µs) does not matter.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use bytes::{Bytes, BytesMut};
use tokio::runtime::Handle;
use tokio::task::{JoinError, spawn_blocking};

use super::BodyError;
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
        for piece in &pieces {
            file.write(piece)?;
        }
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

    fn write(&mut self, piece: &[u8]) -> Result<(), BodyError> {
        let Open { file, len, allowance, .. } = self.open_mut();
        file.write_all_at(piece, *len)
            .map_err(|error| BodyError::spool("write", &allowance.options().folder, error))?;
        *len += piece.len() as u64;
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
        let mut block = BytesMut::zeroed(count);
        self.open()
            .file
            .read_exact_at(&mut block, at)
            .map_err(|error| BodyError::spool("read", self.folder(), error))?;
        Ok(block.freeze())
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

/// What it means that blocking work was not done.
pub(super) fn no_runtime(stopped: &JoinError) -> io::Error {
    io::Error::other(format!("the runtime has stopped: {stopped}"))
}

//! What can go wrong with bodies.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::filter::BoxError;

/// Why a body could not be kept, read or made.
///
/// As the error of a handler it becomes the verdict of the [failure policy](crate::Options::on_failure).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// One message needs more than [`BodyOptions::spool`](super::BodyOptions::spool).
    #[error("bodies of one message exceed the limit of {limit} bytes in spool files")]
    TooLong {
        /// The limit in force.
        limit: u64,
    },
    /// Others did not give back enough of [`BodyOptions::total_spool`](super::BodyOptions::total_spool) in time.
    #[error(
        "no room for {wanted} bytes of a body within {waited:?}: spool files of all messages are at the limit of {limit} bytes"
    )]
    NoRoom {
        /// Bytes that were asked for.
        wanted: u64,
        /// The limit in force.
        limit: u64,
        /// How long was waited.
        waited: Duration,
    },
    /// Everybody who has room in files waits for more of it; this message gave way to older ones.
    #[error(
        "no room for {wanted} bytes of a body: all messages with spool files wait for each other at the limit of {limit} bytes"
    )]
    GaveWay {
        /// Bytes that were asked for.
        wanted: u64,
        /// The limit in force.
        limit: u64,
    },
    /// The system does not let the spool file be made, written or read.
    #[error("cannot {action} a spool file in {}: {source}", folder.display())]
    Spool {
        /// What was tried: `create`, `write` or `read`.
        action: &'static str,
        /// The folder of the file.
        folder: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// [`Body::to_bytes`](super::Body::to_bytes) was allowed less.
    #[error("body of {length} bytes exceeds the limit of {limit} bytes")]
    AboveLimit {
        /// Bytes of the body.
        length: u64,
        /// The limit that was given.
        limit: usize,
    },
    /// The reader that a new body was to come from failed.
    #[error("cannot read the new body: {0}")]
    Source(#[source] io::Error),
    /// The function that makes the new body failed.
    #[error("cannot transform the body: {0}")]
    Transform(#[source] BoxError),
    /// Something was asked of a body that had failed before.
    #[error("body was given up after an earlier error")]
    GivenUp,
}

impl BodyError {
    pub(super) fn spool(action: &'static str, folder: &Path, source: io::Error) -> Self {
        Self::Spool { action, folder: folder.to_owned(), source }
    }

    /// The error of a transform, as itself where it is ours.
    pub(super) fn of_transform(error: BoxError) -> Self {
        match error.downcast::<Self>() {
            Ok(error) => *error,
            Err(error) => match error.downcast::<io::Error>() {
                Ok(error) => error.downcast().unwrap_or_else(|error| Self::Transform(error.into())),
                Err(error) => Self::Transform(error),
            },
        }
    }
}

/// Keeps the error inside; [`io::Error::downcast`] gives it back.
impl From<BodyError> for io::Error {
    fn from(error: BodyError) -> Self {
        let kind = match &error {
            BodyError::TooLong { .. } | BodyError::AboveLimit { .. } => io::ErrorKind::FileTooLarge,
            BodyError::NoRoom { .. } | BodyError::GaveWay { .. } => io::ErrorKind::QuotaExceeded,
            BodyError::Spool { source, .. } | BodyError::Source(source) => source.kind(),
            BodyError::Transform(_) | BodyError::GivenUp => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

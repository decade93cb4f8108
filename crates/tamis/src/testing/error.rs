//! Why a run fails.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::Report;

/// Why a run has no report, or one that should not pass.
///
/// `Debug` says the same as `Display`, since that is what a test shows that returns the error.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// A message file cannot be read.
    #[error("cannot read the message {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Modifications did nothing, or were refused by the MTA.
    #[error("modifications that do nothing:\n{}\n{report}", edits.join("\n"))]
    Ineffective {
        /// Each of them, and why.
        edits: Vec<String>,
        /// What happened.
        report: Box<Report>,
    },
    /// The MTA and the filter do not talk any more.
    #[error("the connection was lost: {why}\n\n{report}")]
    Lost {
        /// Why.
        why: String,
        /// What happened before.
        report: Box<Report>,
    },
    /// A runtime cannot run inside another one: use [`Mta::run`](super::Mta::run).
    #[error("run_blocking was called in an asynchronous context, where run(…).await is to be used")]
    Nested,
    /// There is no runtime.
    #[error("cannot start a runtime: {0}")]
    Runtime(io::Error),
}

impl fmt::Debug for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

//! Exit codes, and the last words on stderr. Wrong usage is 2, which clap says itself.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

/// Something is missing or wrong before the work could begin.
pub(crate) const FAILED: u8 = 1;
/// `send`: the filter refused the message for good.
pub(crate) const REJECTED: u8 = 10;
/// `send`: the filter refused the message for now.
pub(crate) const TEMPFAILED: u8 = 11;
/// `send`: the filter had the message dropped.
pub(crate) const DISCARDED: u8 = 12;
/// `bench`: something was measured, and errors were counted.
pub(crate) const ERRORS: u8 = 20;
/// `bench`: ended early by a signal; as shells have it for SIGINT.
pub(crate) const INTERRUPTED: u8 = 130;
/// `serve`: broken down after a good start; `EX_SOFTWARE` of sysexits.h.
pub(crate) const BROKEN: u8 = 70;

/// Says why and ends with a code.
pub(crate) fn with(code: u8, error: impl Display) -> ExitCode {
    // Nobody is left to be told when stderr is closed.
    let _ = writeln!(io::stderr(), "tamis: {error}");
    ExitCode::from(code)
}

/// Writes a result to stdout. A reader that is gone has seen enough.
pub(crate) fn print(bytes: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

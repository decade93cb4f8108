//! As many open files as there are connections.

use anyhow::{Result, anyhow};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Standard streams, the reactor, timers, files of /proc.
const OTHERS: u64 = 32;

/// Has the system let this process open a file for each connection, as far as it may.
///
/// # Errors
///
/// Says what to do where it may not.
pub(super) fn allow(connections: usize) -> Result<()> {
    let wanted = connections as u64 + OTHERS;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft >= wanted {
        return Ok(());
    }
    if hard < wanted {
        return Err(anyhow!(
            "{connections} connections need {wanted} open files, and this process may have {hard}; \
             raise the limit as root (ulimit -n {wanted}) or ask for fewer connections"
        ));
    }
    setrlimit(Resource::RLIMIT_NOFILE, wanted, hard)
        .map_err(|error| anyhow!("cannot raise the limit on open files from {soft} to {wanted}: {error}"))
}

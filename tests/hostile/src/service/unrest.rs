//! What happens to a site meanwhile: its configuration is read again and again, and the other milter dies and returns.

use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::site::{Remote, Site};

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unrest {
    /// Configurations that were taken over.
    pub reloads: u64,
    /// How often the remote milter was killed, and started again.
    pub deaths: u64,
}

/// How often the configuration is read.
const RELOAD: Duration = Duration::from_secs(1);

/// How long the remote milter lives, and how long it is dead.
const LIFE: Duration = Duration::from_secs(6);
const DEATH: Duration = Duration::from_secs(1);

/// Has no rest until `over` says so, or is dropped.
pub(super) fn disturb(site: &Site, program: &Path, remote: Remote, over: &Receiver<()>) -> Result<Unrest> {
    let mut done = Unrest::default();
    let mut remote = Some(remote);
    let mut reload = Instant::now() + RELOAD;
    let mut turn = Instant::now() + LIFE;
    loop {
        let next = reload.min(turn).saturating_duration_since(Instant::now());
        if over.recv_timeout(next) != Err(RecvTimeoutError::Timeout) {
            break;
        }
        if Instant::now() >= reload {
            done.reloads += 1;
            site.reload(done.reloads)?;
            reload += RELOAD;
        }
        if Instant::now() >= turn {
            if let Some(living) = remote.take() {
                well(&living)?;
                // With all connections to it, and messages in the midst of it.
                drop(living);
                done.deaths += 1;
                turn += DEATH;
            } else {
                remote = Some(site.start_remote(program)?);
                turn += LIFE;
            }
        }
    }
    remote.map_or(Ok(()), |remote| well(&remote))?;
    Ok(done)
}

/// Whether the remote milter itself had nothing to complain about.
pub(super) fn well(remote: &Remote) -> Result<()> {
    let alarms = remote.journal.alarms();
    ensure!(alarms.is_empty(), "the remote milter logged {}", alarms[0]);
    Ok(())
}

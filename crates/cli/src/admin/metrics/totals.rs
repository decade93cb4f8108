//! What is counted about the daemon as a whole.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use jiff::Timestamp;
use tamis::chain::Record;

use super::{Count, Verdicts};

/// What is counted about all messages.
#[derive(Debug, Default)]
pub(in crate::admin) struct Totals {
    pub(super) verdicts: Verdicts,
    pub(super) given_up: Count,
    pub(super) conflicts: Count,
}

impl Totals {
    /// Counts a message that is over.
    pub(in crate::admin) fn message(&self, record: &Record) {
        match &record.verdict {
            Some((stage, verdict)) => self.verdicts.count(*stage, verdict),
            None => self.given_up.add(1),
        }
        self.conflicts.add(record.conflicts.len() as u64);
    }
}

/// What is counted about configurations.
#[derive(Debug, Default)]
pub(in crate::admin) struct Reloads {
    pub(super) done: Count,
    pub(super) failed: Count,
    /// The last one failed.
    last_failed: AtomicBool,
    /// When the configuration in use was taken, in seconds; 0 before.
    since: AtomicI64,
}

impl Reloads {
    /// A configuration is in use from now on; the first is no reload.
    pub(in crate::admin) fn done(&self) {
        let before = self.since.swap(Timestamp::now().as_second(), Ordering::Relaxed);
        self.done.add((before != 0).into());
        self.last_failed.store(false, Ordering::Relaxed);
    }

    /// The old one stays, for the new one was none.
    pub(in crate::admin) fn failed(&self) {
        self.failed.add(1);
        self.last_failed.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_good(&self) -> bool {
        !self.last_failed.load(Ordering::Relaxed)
    }

    pub(super) fn since(&self) -> i64 {
        self.since.load(Ordering::Relaxed)
    }

    /// Whether there is a configuration.
    pub(in crate::admin) fn is_configured(&self) -> bool {
        self.since() != 0
    }
}

//! All that is known of the daemon; lives as long as the process.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use jiff::Timestamp;
use tamis::chain::{Observer, Record};
use tamis::server::Counters;

use super::generation::{Configured, Generation};
use super::keep::Kept;
use super::metrics::{Reloads, Totals};
use super::record::{About, Records};
use super::ring::{Ring, Wanted};

/// All that is known of the daemon: what became of recent messages, and what was counted since it started.
#[derive(Debug)]
pub(crate) struct State {
    started: Timestamp,
    counters: Counters,
    totals: Totals,
    reloads: Reloads,
    ready: AtomicU8,
    generation: RwLock<Arc<Generation>>,
    ring: Mutex<Ring>,
}

/// How far the daemon is.
mod ready {
    pub(super) const STARTING: u8 = 0;
    pub(super) const READY: u8 = 1;
    pub(super) const DRAINING: u8 = 2;
}

impl State {
    /// Knows nothing yet, and keeps the records of so many messages.
    pub(crate) fn new(history: u32) -> Self {
        Self {
            started: Timestamp::now(),
            counters: Counters::default(),
            totals: Totals::default(),
            reloads: Reloads::default(),
            ready: AtomicU8::new(ready::STARTING),
            generation: RwLock::default(),
            ring: Mutex::new(Ring::new(history)),
        }
    }

    /// Takes note of the configuration that is in use from now on. Filters that stay keep what was counted about them,
    /// those that are gone are counted no more.
    pub(crate) fn configured(&self, configured: Configured) {
        self.ring().set_history(configured.history);
        let mut generation = self.generation.write().unwrap_or_else(PoisonError::into_inner);
        *generation = Arc::new(generation.next(configured));
        drop(generation);
        self.reloads.done();
    }

    /// Takes note of a new configuration that is none: the old one stays.
    pub(crate) fn reload_failed(&self) {
        self.reloads.failed();
    }

    /// Says whether MTAs are served: from when all listeners are there to when the daemon drains.
    pub(crate) fn set_ready(&self, is_ready: bool) {
        let before = self.ready.load(Ordering::Relaxed);
        let now = match (before, is_ready) {
            (_, true) => ready::READY,
            (ready::STARTING, false) => ready::STARTING,
            (_, false) => ready::DRAINING,
        };
        self.ready.store(now, Ordering::Relaxed);
    }

    /// What the server of MTAs counts.
    pub(crate) fn counters(&self) -> Counters {
        self.counters.clone()
    }

    /// Why MTAs are not served, if they are not.
    pub(super) fn readiness(&self) -> Result<(), &'static str> {
        match self.ready.load(Ordering::Relaxed) {
            ready::DRAINING => Err("draining: messages in work are finished, no new connection is taken"),
            _ if !self.reloads.is_configured() => Err("starting: there is no configuration yet"),
            ready::STARTING => Err("starting: nothing is listened on yet"),
            _ => Ok(()),
        }
    }

    pub(super) fn started(&self) -> Timestamp {
        self.started
    }

    pub(super) fn totals(&self) -> &Totals {
        &self.totals
    }

    pub(super) fn reloads(&self) -> &Reloads {
        &self.reloads
    }

    pub(super) fn generation(&self) -> Arc<Generation> {
        self.generation.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Number of records, and their bytes.
    pub(super) fn kept(&self) -> (usize, usize) {
        let ring = self.ring();
        (ring.len(), ring.bytes())
    }

    /// The records that are looked for.
    pub(super) fn find(&self, wanted: Wanted<'_>) -> Records {
        let found = self.ring().find(wanted);
        found.show()
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        // Nothing panics while it is held.
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for State {
    fn message(&self, record: &Record) {
        self.take(About::Message, record);
    }

    fn refused_client(&self, record: &Record) {
        self.take(About::Client, record);
    }
}

impl State {
    /// Counts something that is over, and keeps its record.
    fn take(&self, about: About, record: &Record) {
        let generation = self.generation();
        self.totals.message(record);
        for (place, filter) in record.filters.iter().enumerate() {
            if let Some(counted) = generation.counted(place, &filter.name, filter.dry_run) {
                counted.counts.message(filter);
            }
        }
        if self.ring().is_kept() {
            let kept = Arc::new(Kept::new(about, record, &generation));
            self.ring().push(kept);
        }
    }
}

//! Telling all connections at once that the server ends.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

/// What the server wants of its connections. A flag and a waker for each is a quarter of the room that waiting for a
/// [`Shutdown`](super::Shutdown) takes, and costs nothing each time that a connection waits for something else.
#[derive(Debug, Default)]
pub(super) struct Bell {
    rung: AtomicU8,
    /// The tasks of connections, by their numbers.
    tasks: Mutex<HashMap<u64, Waker>>,
}

/// What was rung.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ring {
    /// Connections without a message shall end.
    Drain = 1,
    /// All shall.
    Stop,
}

impl Bell {
    /// Has the task of a connection woken when it is rung. Whoever looks whether it was, looks after this.
    pub(super) fn wake(&self, connection: u64, task: Waker) {
        self.tasks().insert(connection, task);
    }

    /// Wakes the task of a connection no more.
    pub(super) fn leave(&self, connection: u64) {
        let _task = self.tasks().remove(&connection);
    }

    /// Wakes everybody.
    pub(super) fn ring(&self, ring: Ring) {
        self.rung.fetch_max(ring as u8, Ordering::SeqCst);
        // What waking leads to is not known, so nothing is held meanwhile.
        let tasks: Vec<_> = self.tasks().values().cloned().collect();
        tasks.into_iter().for_each(Waker::wake);
    }

    /// Whether it was rung, for this or more.
    pub(super) fn is_rung(&self, ring: Ring) -> bool {
        self.rung.load(Ordering::SeqCst) >= ring as u8
    }

    fn tasks(&self) -> MutexGuard<'_, HashMap<u64, Waker>> {
        // Nothing that panics is called while it is held.
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

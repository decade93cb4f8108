//! What the buffers of all connections together may take.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::Shared;

/// What the buffers of all connections take together, without what each may have for nothing.
#[derive(Debug, Default)]
pub(super) struct Budget(AtomicUsize);

impl Budget {
    /// Bytes that are taken now.
    pub(super) fn used(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// What each connection may have in buffers without asking, so that small mail passes however many large frames
/// others have begun, and costs no counting.
pub(super) const FREE: usize = 16 * 1024;

/// What one connection holds of the budget; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Held {
    shared: Arc<Shared>,
    /// Bytes that it has, for nothing or not.
    input: u32,
    macros: u32,
}

impl Held {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, input: 0, macros: 0 }
    }

    /// Notes how large the buffer of what was received is. `false` if that is more than all may have.
    ///
    /// The largest counts until [`release_input`](Self::release_input): what is left of a buffer when its front
    /// was given away looks smaller than what it keeps alive.
    pub(super) fn input(&mut self, bytes: usize) -> bool {
        self.set(self.input.max(small(bytes)), self.macros)
    }

    /// Notes that nothing is kept of what was received.
    pub(super) fn release_input(&mut self) {
        self.set(0, self.macros);
    }

    /// Notes how much memory macros take.
    pub(super) fn macros(&mut self, bytes: usize) -> bool {
        self.set(self.input, small(bytes))
    }

    fn set(&mut self, input: u32, macros: u32) -> bool {
        let before = self.charged();
        (self.input, self.macros) = (input, macros);
        let after = self.charged();
        let total = &self.shared.counters.buffers().0;
        if after <= before {
            if after < before {
                total.fetch_sub(before - after, Ordering::Relaxed);
            }
            return true;
        }
        let more = after - before;
        total.fetch_add(more, Ordering::Relaxed) + more <= self.shared.options.buffers
    }

    fn charged(&self) -> usize {
        (self.input as usize + self.macros as usize).saturating_sub(FREE)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.shared.counters.buffers().0.fetch_sub(self.charged(), Ordering::Relaxed);
    }
}

/// Sizes that fit a connection that is to be small; no buffer is larger than that.
fn small(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

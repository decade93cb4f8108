//! Log lines that a peer could cause at will, one a second of each kind.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lets one log line a second through.
#[derive(Debug, Default)]
pub(super) struct Throttle(Mutex<(Option<Instant>, u64)>);

/// Lines that were held back before one that is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HeldBack(u64);

impl Throttle {
    const EVERY: Duration = Duration::from_secs(1);

    /// Whether a line may be logged now; what to add to it.
    pub(super) fn pass(&self) -> Option<HeldBack> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (last, held_back) = &mut *state;
        if last.is_some_and(|last| last.elapsed() < Self::EVERY) {
            *held_back += 1;
            return None;
        }
        *last = Some(Instant::now());
        Some(HeldBack(std::mem::take(held_back)))
    }
}

impl fmt::Display for HeldBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            count => write!(f, "; {count} more since the last line like this"),
        }
    }
}

//! Memory of messages that are over, for the next ones: a connection keeps none while it is idle.

use std::any::Any;
use std::sync::{Mutex, PoisonError};

/// What functions at work are kept in, all of one type: those of one [`Linear`](super::Linear) and its clones.
#[derive(Default)]
pub(super) struct Spares(Mutex<Vec<Box<dyn Any + Send>>>);

/// Most of them: as many messages as begin and end at the same time without an allocation.
const MOST: usize = 64;

impl Spares {
    pub(super) fn take<T: Any>(&self) -> Option<Box<T>> {
        let mut spares = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        spares.pop()?.downcast().ok()
    }

    pub(super) fn give<T: Any + Send>(&self, spare: Box<T>) {
        let mut spares = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if spares.len() < MOST {
            spares.push(spare);
        }
    }
}

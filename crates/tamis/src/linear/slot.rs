//! Where the connection hands events to a filter function, and learns that it waits for the next one.

use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context as Task, Poll, Waker};

use tamis_proto::{MacroTable, Verdict};

use crate::filter::{Event, Transaction};

/// Both ends hold one: the filter's [`Mail`](super::Mail), and the connection.
#[derive(Clone, Default)]
pub(super) struct Slot(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    /// The next event, until the function takes it.
    event: Option<Event>,
    /// Those that are visible with it, if others than before.
    macros: Option<MacroTable>,
    /// The function waits for an event and there is none: it is done with the one before.
    waiting: bool,
    /// What the function said to the event that it took last.
    answer: Verdict,
    /// The edits, when it has dropped its mail.
    left: Transaction,
    /// The function's side, and the connection's.
    function: Option<Waker>,
    connection: Option<Waker>,
}

impl Slot {
    /// Puts an event there for the function to take.
    pub(super) fn put(&self, event: Event, macros: &MacroTable) {
        let mut inner = self.lock();
        // Header fields and pieces of a body come in thousands, and with macros that the end of the message has too.
        if !matches!(event, Event::Header(_) | Event::Body(_)) {
            inner.macros = Some(macros.clone());
        }
        inner.event = Some(event);
        inner.waiting = false;
        inner.answer = Verdict::Continue;
        if let Some(function) = inner.function.take() {
            function.wake();
        }
    }

    /// Takes the next event, on the function's side. Asking says that the one before is done with.
    pub(super) fn poll_take(&self, macros: &mut MacroTable, task: &Task<'_>) -> Poll<Event> {
        let mut inner = self.lock();
        if let Some(event) = inner.event.take() {
            if let Some(new) = inner.macros.take() {
                *macros = new;
            }
            return Poll::Ready(event);
        }
        inner.waiting = true;
        inner.function = Some(task.waker().clone());
        // Where the function runs in the connection's own task, it looks by itself afterwards.
        if let Some(connection) = inner.connection.take().filter(|waker| !waker.will_wake(task.waker())) {
            connection.wake();
        }
        Poll::Pending
    }

    /// Says something else than continue to the event that was taken last; returns what was said before.
    pub(super) fn answer(&self, verdict: Verdict) -> Verdict {
        std::mem::replace(&mut self.lock().answer, verdict)
    }

    /// Keeps what the function leaves behind.
    pub(super) fn leave(&self, left: Transaction) {
        self.lock().left = left;
    }

    /// Ready with the answer when the function waits for the next event, on the connection's side.
    pub(super) fn poll_answered(&self, task: &Task<'_>) -> Poll<Verdict> {
        let mut inner = self.lock();
        if inner.waiting {
            return Poll::Ready(std::mem::take(&mut inner.answer));
        }
        inner.connection = Some(task.waker().clone());
        Poll::Pending
    }

    /// What the function left, once it has ended.
    pub(super) fn left(&self) -> Transaction {
        std::mem::take(&mut self.lock().left)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing in here panics, so a poisoned lock holds nothing half done.
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

//! Where the connection hands events to a filter function, and learns that it waits for the next one.

use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context as Task, Poll, Waker};

use tamis_proto::{MacroTable, Stage, Verdict};

use super::Over;
use crate::filter::{Copies, Event, Transaction};
use crate::message::Envelope;

/// Both ends hold one: the filter's [`Mail`](super::Mail), and the connection.
#[derive(Clone, Default)]
pub(super) struct Slot(Arc<Mutex<Inner>>);

#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "they are independent of each other")]
struct Inner {
    /// The next event, until the function takes it.
    event: Option<Event>,
    /// Those that are visible with it, or others than before are not.
    macros: MacroTable,
    new_macros: bool,
    /// How many recipients there were before it, if that is known.
    recipients: Option<usize>,
    /// The function waits for an event and there is none: it is done with the one before.
    waiting: bool,
    /// It waits for one of this stage or a later one.
    wanted: Option<Stage>,
    /// The last one that it was spared.
    spared: Option<Stage>,
    /// What the function said to the event that it took last.
    answer: Verdict,
    /// It was passed on.
    answered: bool,
    /// There will be no more events.
    over: bool,
    /// The edits, when it has dropped its mail.
    left: Transaction,
    /// Room for the next mail.
    room: Room,
    /// The function's side, and the connection's.
    function: Option<Waker>,
    connection: Option<Waker>,
}

/// What a mail knows from the connection. The next one uses its memory again.
#[derive(Default)]
pub(super) struct Room {
    pub(super) macros: MacroTable,
    pub(super) envelope: Envelope,
    pub(super) copies: Copies,
}

impl Room {
    /// Forgets everything but memory of a usual size.
    fn clear(&mut self) {
        self.envelope.clear();
        self.copies.clear();
        clear(&mut self.macros);
    }
}

/// Gives back the memory of a table of unusual size. What is in it is overwritten.
fn clear(macros: &mut MacroTable) {
    if macros.allocated() > 4096 {
        *macros = MacroTable::default();
    }
}

impl Slot {
    /// Begins a mail.
    pub(super) fn room(&self) -> Room {
        std::mem::take(&mut self.lock().room)
    }

    /// Puts an event there for the function to take. `false` where it is spared that: it waits for a later one, and
    /// `keeps` nothing of this.
    pub(super) fn put(
        &self,
        event: Event,
        keeps: bool,
        macros: &MacroTable,
        recipients: Option<usize>,
    ) -> bool {
        let mut inner = self.lock();
        inner.recipients = recipients;
        // Header fields and pieces of a body come in thousands, and with macros that the end of the message has too.
        if !matches!(event, Event::Header(_) | Event::Body(_)) {
            inner.macros.clone_from(macros);
            inner.new_macros = true;
        }
        let stage = event.stage();
        if !keeps && inner.wanted > stage {
            inner.spared = stage;
            return false;
        }
        (inner.wanted, inner.spared) = (None, None);
        inner.event = Some(event);
        inner.waiting = false;
        if let Some(function) = inner.function.take() {
            function.wake();
        }
        true
    }

    /// Takes the next event that is `wanted` or kept, on the function's side. Asking says that the one before is done
    /// with.
    ///
    /// With it comes the number of recipients before it, if that is known.
    pub(super) fn poll_take(
        &self,
        wanted: Stage,
        macros: &mut MacroTable,
        task: &Task<'_>,
    ) -> Poll<Result<(Event, Option<usize>), Over>> {
        let mut inner = self.lock();
        if inner.over {
            return Poll::Ready(Err(Over));
        }
        if let Some(event) = inner.event.take() {
            if std::mem::take(&mut inner.new_macros) {
                std::mem::swap(macros, &mut inner.macros);
            }
            (inner.answer, inner.answered) = (Verdict::Continue, false);
            return Poll::Ready(Ok((event, inner.recipients)));
        }
        inner.waiting = true;
        inner.wanted = Some(wanted);
        inner.function = Some(task.waker().clone());
        // Where the function runs in the connection's own task, it looks by itself afterwards.
        if let Some(connection) = inner.connection.take().filter(|waker| !waker.will_wake(task.waker())) {
            connection.wake();
        }
        Poll::Pending
    }

    /// Says that nobody waits any more who could be spared events. Returns the stage that the message has come to without
    /// the function.
    pub(super) fn stop_waiting(&self, macros: &mut MacroTable) -> Option<Stage> {
        let mut inner = self.lock();
        inner.wanted = None;
        let stage = inner.spared.take()?;
        if std::mem::take(&mut inner.new_macros) {
            std::mem::swap(macros, &mut inner.macros);
        }
        Some(stage)
    }

    /// Says something else than continue to the event that was taken last; returns what was said before, or `None` if
    /// that was passed on already.
    pub(super) fn answer(&self, verdict: Verdict) -> Option<Verdict> {
        let mut inner = self.lock();
        let open = !inner.answered && !inner.over;
        open.then(|| std::mem::replace(&mut inner.answer, verdict))
    }

    /// Keeps what the function leaves behind.
    pub(super) fn leave(&self, left: Transaction, room: Room) {
        let mut inner = self.lock();
        (inner.left, inner.room) = (left, room);
    }

    /// Makes it one for the next message, if no mail has it any more.
    pub(super) fn renew(&mut self) -> bool {
        let Some(inner) = Arc::get_mut(&mut self.0) else { return false };
        let inner = inner.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        let Inner { macros, room, .. } = std::mem::take(inner);
        (inner.macros, inner.room) = (macros, room);
        inner.room.clear();
        clear(&mut inner.macros);
        true
    }

    /// Ready with the answer when the function waits for the next event, on the connection's side.
    pub(super) fn poll_answered(&self, task: &Task<'_>) -> Poll<Verdict> {
        let mut inner = self.lock();
        if inner.waiting {
            inner.answered = true;
            return Poll::Ready(std::mem::take(&mut inner.answer));
        }
        inner.connection = Some(task.waker().clone());
        Poll::Pending
    }

    /// What the function left without its body, and what it said last, once it has ended.
    pub(super) fn left(&self) -> (Transaction, Verdict) {
        let mut inner = self.lock();
        let mut left = std::mem::take(&mut inner.left);
        left.drop_body();
        // It may have ended without looking.
        if let Some(event) = inner.event.take() {
            left.keep(&event);
        }
        (left, std::mem::take(&mut inner.answer))
    }

    /// Says that there are no more events, to a mail that somebody may still hold.
    pub(super) fn close(&self) {
        let mut inner = self.lock();
        inner.over = true;
        inner.event = None;
        inner.connection = None;
        if let Some(function) = inner.function.take() {
            function.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing in here panics, so a poisoned lock holds nothing half done.
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

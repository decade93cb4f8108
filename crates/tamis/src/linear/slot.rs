//! Where the connection hands events to a filter function, and learns that it waits for the next one.

use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context as Task, Poll, Waker};

use tamis_proto::{MacroTable, Stage, Verdict};

use super::{Over, Settings};
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
    /// What its mail knows, while that waits.
    lent: Option<Lent>,
    /// The event was seen to, but has to wait for room.
    seen: bool,
    /// What the function said to the event that it took last.
    answer: Verdict,
    /// It was passed on.
    answered: bool,
    /// There will be no more events.
    over: bool,
    /// What its mail knew when it was dropped.
    left: Known,
    /// The function's side, and the connection's.
    function: Option<Waker>,
    connection: Option<Waker>,
}

/// What a mail knows of its message.
pub(super) struct Known {
    pub(super) stage: Stage,
    pub(super) room: Room,
    pub(super) transaction: Transaction,
}

/// The same, while the mail waits for a stage: what comes before is seen to where it comes.
struct Lent {
    known: Known,
    wanted: Stage,
}

impl Default for Known {
    fn default() -> Self {
        Self { stage: Stage::Mail, room: Room::default(), transaction: Transaction::default() }
    }
}

impl Known {
    /// Takes note of an event, before which there were so many recipients. `true` if something of it has to wait for
    /// room.
    fn see(&mut self, settings: &Settings, event: &Event, recipients: Option<usize>) -> bool {
        // Another filter of a chain has refused the last one.
        let envelope = &mut self.room.envelope;
        while recipients.is_some_and(|count| envelope.all_recipients().len() > count) {
            envelope.remove_last_recipient();
        }
        self.stage = event.stage().expect("only stages are handed to a mail");
        if self.stage == Stage::Rcpt {
            settings.observe(&mut self.room, event);
        }
        self.transaction.keep(event)
    }
}

/// What has memory that the next mail uses again.
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
        std::mem::take(&mut self.lock().left.room)
    }

    /// Puts an event there for the function to take. `false` where it can be `spared` that: it waits for a later one, and
    /// what is kept of this one is kept.
    pub(super) fn put(
        &self,
        event: Event,
        spared: bool,
        settings: &Settings,
        macros: &MacroTable,
        recipients: Option<usize>,
    ) -> bool {
        let mut guard = self.lock();
        let inner = &mut *guard;
        // Header fields and pieces of a body come in thousands, and with macros that the end of the message has too.
        let has_macros = !matches!(event, Event::Header(_) | Event::Body(_));
        let lent = inner.lent.as_mut().filter(|lent| spared && event.stage() < Some(lent.wanted));
        if let Some(Lent { known, .. }) = lent {
            if has_macros {
                known.room.macros.clone_from(macros);
            }
            inner.seen = known.see(settings, &event, recipients);
            if !inner.seen {
                return false;
            }
        } else if has_macros {
            inner.macros.clone_from(macros);
            inner.new_macros = true;
        }
        inner.recipients = recipients;
        inner.event = Some(event);
        inner.waiting = false;
        if let Some(function) = inner.function.take() {
            function.wake();
        }
        true
    }

    /// Takes the next event that is `wanted`, on the function's side. Asking says that the one before is done with, and
    /// lends what is known until there is one.
    pub(super) fn poll_take(
        &self,
        wanted: Stage,
        settings: &Settings,
        known: &mut Known,
        task: &Task<'_>,
    ) -> Poll<Result<Event, Over>> {
        let mut guard = self.lock();
        let inner = &mut *guard;
        if inner.over || inner.event.is_some() {
            inner.give_back(known);
        }
        if inner.over {
            return Poll::Ready(Err(Over));
        }
        if let Some(event) = inner.event.take() {
            if std::mem::take(&mut inner.new_macros) {
                std::mem::swap(&mut known.room.macros, &mut inner.macros);
            }
            if !std::mem::take(&mut inner.seen) {
                known.see(settings, &event, inner.recipients);
            }
            (inner.answer, inner.answered) = (Verdict::Continue, false);
            return Poll::Ready(Ok(event));
        }
        inner.waiting = true;
        inner.lent.get_or_insert_with(|| Lent { known: std::mem::take(known), wanted });
        inner.function = Some(task.waker().clone());
        // Where the function runs in the connection's own task, it looks by itself afterwards.
        if let Some(connection) = inner.connection.take().filter(|waker| !waker.will_wake(task.waker())) {
            connection.wake();
        }
        Poll::Pending
    }

    /// Takes back what was lent.
    pub(super) fn take_back(&self, known: &mut Known) {
        self.lock().give_back(known);
    }

    /// Says something else than continue to the event that was taken last; returns what was said before, or `None` if
    /// that was passed on already.
    pub(super) fn answer(&self, verdict: Verdict) -> Option<Verdict> {
        let mut inner = self.lock();
        let open = !inner.answered && !inner.over;
        open.then(|| std::mem::replace(&mut inner.answer, verdict))
    }

    /// Keeps what the function leaves behind.
    pub(super) fn leave(&self, known: Known) {
        self.lock().left = known;
    }

    /// Makes it one for the next message, if no mail has it any more.
    pub(super) fn renew(&mut self) -> bool {
        let Some(inner) = Arc::get_mut(&mut self.0) else { return false };
        let inner = inner.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        let Inner { macros, left: Known { room, .. }, .. } = std::mem::take(inner);
        (inner.macros, inner.left.room) = (macros, room);
        inner.left.room.clear();
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
        let mut left = std::mem::take(&mut inner.left.transaction);
        left.drop_body();
        // It may have ended without looking.
        if let Some(event) = inner.event.take().filter(|_| !inner.seen) {
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

impl Inner {
    /// Gives back what was lent.
    fn give_back(&mut self, known: &mut Known) {
        if let Some(lent) = self.lent.take() {
            *known = lent.known;
        }
    }
}

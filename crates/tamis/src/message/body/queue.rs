//! Who has room in spool files, who waits for it, and who gives way.

use std::collections::{BTreeMap, HashMap};

use tokio::sync::oneshot;

/// Number of a message within its budget.
pub(super) type MessageId = u64;

/// Room in spool files for all messages, given in the order it was asked for.
#[derive(Debug)]
pub(super) struct Queue {
    limit: u64,
    used: u64,
    /// The part of `used` whose owners wait for more.
    stuck: u64,
    owners: HashMap<MessageId, Owner>,
    /// By the order of asking.
    waiting: BTreeMap<u64, Waiter>,
    asked: u64,
}

/// A message that has room or waits for it; others are not kept.
#[derive(Debug, Default)]
struct Owner {
    held: u64,
    wanted: u64,
    /// How many of its parts wait.
    waits: u32,
}

#[derive(Debug)]
struct Waiter {
    message: MessageId,
    bytes: u64,
    answer: oneshot::Sender<Answer>,
}

/// What becomes of waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Granted,
    /// Everybody waits for everybody, and this one is to fail.
    GiveWay,
}

/// What becomes of asking.
#[derive(Debug)]
pub(super) enum Asked {
    Granted,
    /// The place in the queue, and where the answer comes.
    Wait(u64, oneshot::Receiver<Answer>),
    /// More than one message may have.
    TooMuch,
}

impl Queue {
    pub(super) fn new(limit: u64) -> Self {
        Self { limit, used: 0, stuck: 0, owners: HashMap::new(), waiting: BTreeMap::new(), asked: 0 }
    }

    pub(super) fn used(&self) -> u64 {
        self.used
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Asks for room. Nobody overtakes who already waits.
    pub(super) fn ask(&mut self, message: MessageId, bytes: u64, message_limit: u64) -> Asked {
        if bytes == 0 {
            return Asked::Granted;
        }
        let owner = self.owners.get(&message).map_or(0, |owner| owner.held + owner.wanted);
        if bytes > message_limit.min(self.limit).saturating_sub(owner) {
            return Asked::TooMuch;
        }
        if self.waiting.is_empty() && bytes <= self.limit - self.used {
            self.hold(message, bytes);
            return Asked::Granted;
        }
        let (answer, receiver) = oneshot::channel();
        self.asked += 1;
        let place = self.asked;
        self.begin_wait(message, bytes);
        self.waiting.insert(place, Waiter { message, bytes, answer });
        self.settle();
        Asked::Wait(place, receiver)
    }

    /// Leaves the queue; `false` if the answer was given already.
    pub(super) fn leave(&mut self, place: u64) -> bool {
        let Some(waiter) = self.waiting.remove(&place) else { return false };
        self.end_wait(waiter.message, waiter.bytes);
        // Who stood behind it may fit.
        self.settle();
        true
    }

    pub(super) fn give_back(&mut self, message: MessageId, bytes: u64) {
        if bytes == 0 {
            return;
        }
        let owner = self.owners.get_mut(&message).expect("who gives back has something");
        owner.held -= bytes;
        self.used -= bytes;
        if owner.waits > 0 {
            self.stuck -= bytes;
        }
        self.forget(message);
        self.settle();
    }

    /// Gives what there is to the first in the queue. While nobody can give anything back, the last in it that
    /// holds something gives way.
    fn settle(&mut self) {
        loop {
            while let Some(first) = self.waiting.first_entry()
                && first.get().bytes <= self.limit - self.used
            {
                let Waiter { message, bytes, answer } = first.remove();
                self.hold(message, bytes);
                self.end_wait(message, bytes);
                // A waiter that is gone looks for its answer and gives back.
                let _ = answer.send(Answer::Granted);
            }
            if self.waiting.is_empty() || self.stuck < self.used {
                return;
            }
            let holds =
                |waiter: &Waiter| self.owners.get(&waiter.message).is_some_and(|owner| owner.held > 0);
            let last = self.waiting.iter().rev().find(|(_, waiter)| holds(waiter)).map(|(place, _)| *place);
            let Some(waiter) = last.and_then(|place| self.waiting.remove(&place)) else { return };
            self.end_wait(waiter.message, waiter.bytes);
            let _ = waiter.answer.send(Answer::GiveWay);
        }
    }

    fn hold(&mut self, message: MessageId, bytes: u64) {
        let owner = self.owners.entry(message).or_default();
        owner.held += bytes;
        self.used += bytes;
        if owner.waits > 0 {
            self.stuck += bytes;
        }
    }

    fn begin_wait(&mut self, message: MessageId, bytes: u64) {
        let owner = self.owners.entry(message).or_default();
        if owner.waits == 0 {
            self.stuck += owner.held;
        }
        owner.waits += 1;
        owner.wanted += bytes;
    }

    fn end_wait(&mut self, message: MessageId, bytes: u64) {
        let owner = self.owners.get_mut(&message).expect("who waits is known");
        owner.waits -= 1;
        owner.wanted -= bytes;
        if owner.waits == 0 {
            self.stuck -= owner.held;
        }
        self.forget(message);
    }

    fn forget(&mut self, message: MessageId) {
        if self.owners.get(&message).is_some_and(|owner| owner.held == 0 && owner.waits == 0) {
            self.owners.remove(&message);
        }
    }
}

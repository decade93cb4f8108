//! What a server counts.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::Options;
use super::admission::Places;
use super::budget::Budget;
use super::limits::Limit;
use crate::message::{self, Budgets};

/// What a server counts. Clones show the same numbers.
#[derive(Clone, Debug, Default)]
pub struct Counters(Arc<Numbers>);

#[derive(Debug, Default)]
struct Numbers {
    ids: AtomicU64,
    accepted: AtomicU64,
    refused: AtomicU64,
    open: AtomicU64,
    messages: AtomicU64,
    exceeded: [AtomicU64; Limit::ALL.len()],
    /// What limits are on.
    places: Places,
    buffers: Budget,
    bodies: Budgets,
    most: Mutex<Buffered>,
}

/// Bytes that connections and messages have in buffers, or may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Buffered {
    /// What MTAs have sent that is not worked on yet, and macros; without 16 KiB that each connection may have anyway.
    pub received: usize,
    /// Bodies that filters collect or make, in memory; without 16 KiB that each message may have anyway.
    pub bodies: usize,
    /// Such bodies in files.
    pub body_files: u64,
}

impl Counters {
    /// Connections accepted so far; those that were refused are not among them.
    pub fn accepted(&self) -> u64 {
        self.0.accepted.load(Ordering::Relaxed)
    }

    /// Connections that the accept hook refused so far.
    pub fn refused(&self) -> u64 {
        self.0.refused.load(Ordering::Relaxed)
    }

    /// Connections open now.
    pub fn open(&self) -> u64 {
        self.0.open.load(Ordering::Relaxed)
    }

    /// Messages that got a final verdict so far.
    pub fn messages(&self) -> u64 {
        self.0.messages.load(Ordering::Relaxed)
    }

    /// How often connections ran into a limit so far.
    pub fn exceeded(&self, limit: Limit) -> u64 {
        self.0.exceeded[limit as usize].load(Ordering::Relaxed)
    }

    /// What is in buffers now.
    pub fn buffered(&self) -> Buffered {
        let bodies = self.0.bodies.usage();
        Buffered { received: self.0.buffers.used(), bodies: bodies.memory, body_files: bodies.spool }
    }

    /// What may be in buffers at most, as the [options](Options) of the last server say that counts here; nothing
    /// before there is one.
    pub fn most_buffered(&self) -> Buffered {
        *self.0.most.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn places(&self) -> &Places {
        &self.0.places
    }

    pub(super) fn buffers(&self) -> &Budget {
        &self.0.buffers
    }

    /// The budget of bodies of a server that counts here from now on.
    pub(super) fn bodies(&self, options: &Options) -> message::Budget {
        let most = Buffered {
            received: options.buffers,
            bodies: options.body.total_memory,
            body_files: options.body.total_spool,
        };
        *self.0.most.lock().unwrap_or_else(PoisonError::into_inner) = most;
        self.0.bodies.with(&options.body)
    }

    /// The number of the next connection.
    pub(super) fn next_id(&self) -> u64 {
        self.0.ids.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(super) fn opened(&self) {
        self.0.open.fetch_add(1, Ordering::Relaxed);
        self.0.accepted.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn refuse(&self) {
        self.0.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn closed(&self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn message(&self) {
        self.0.messages.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn exceed(&self, limit: Limit) {
        self.0.exceeded[limit as usize].fetch_add(1, Ordering::Relaxed);
    }
}

//! One connection of an MTA: what stays of it between messages, how long it may take, and how it ends.

use std::fmt::Display;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, ready};

use tamis_proto::{FilterSession, Role, Warning};
use tokio::time::Instant;

use super::Shared;
use super::admission::Place;
use super::budget::Held;
use super::call;
use super::limits::Limit;
use super::lost::Lost;
use super::tap::Tap;
use super::watch::Patience;
use super::work::{Next, Work};
use crate::filter::{Called, Collect, Filter, MessageState};
use crate::message::Envelope;
use crate::recorder::{Cause, Recorder};
use crate::stream::Stream;

/// A connection between messages: all that stays while nothing happens.
pub(super) struct Connection<F: Filter> {
    pub(super) stream: Stream,
    pub(super) session: FilterSession,
    pub(super) filter: F,
    pub(super) shared: Arc<Shared>,
    pub(super) held: Held,
    pub(super) tap: Tap,
    accepted: Instant,
    pub(super) patience: Patience,
    /// What it did since others had the thread.
    pub(super) worked: usize,
    /// Something wrong with macros was logged.
    warned: bool,
    /// The filter panicked; it is not called any more.
    pub(super) dead: bool,
    pub(super) declared: Declared,
    /// The MTA sends macros with header fields, which tells it from others.
    pub(super) header_macros: bool,
    /// Who sends to whom, if the filter wants to know.
    pub(super) envelope: Option<Box<Envelope>>,
    /// The last to be dropped: not before the filter is the connection counted as closed.
    pub(super) place: Place,
}

/// What the filter declared when it was asked for its needs.
#[derive(Default)]
pub(super) struct Declared {
    /// The stages that it handles itself.
    pub(super) called: Called,
    /// It never answers the end of message.
    pub(super) watches_end: bool,
    /// What it wants to have kept of messages.
    pub(super) collect: Collect,
    /// It deals with the space after the colon of header fields itself.
    pub(super) own_space: bool,
}

impl<F: Filter> Connection<F> {
    pub(super) fn new(stream: Stream, filter: F, shared: Arc<Shared>, place: Place) -> Box<Self> {
        let mut session = FilterSession::new(shared.options.rules, shared.limits.clone());
        shared.witness.watch(&mut session);
        let held = Held::new(shared.clone());
        let tap = Tap::new(place.peer().id, Recorder::wanted(&shared.options));
        let patience = shared.watch.enter(place.peer().id);
        let accepted = Instant::now();
        Box::new(Self {
            stream,
            session,
            filter,
            shared,
            held,
            tap,
            accepted,
            patience,
            worked: 0,
            warned: false,
            dead: false,
            declared: Declared::default(),
            header_macros: false,
            envelope: None,
            place,
        })
    }

    /// Serves the connection to its end. Whatever happens, the filter is told about the end exactly once.
    pub(super) async fn run(mut self: Box<Self>) {
        let result = self.serve().await;
        // Boxed, so that an idle connection does not take the room of what is needed at its end.
        Box::pin(self.end(result)).await;
    }

    async fn end(mut self: Box<Self>, result: Result<(), Lost>) {
        self.conclude(&mut MessageState::default()).await;
        let limit = result.as_ref().err().and_then(Limit::of);
        if let Some(limit) = limit {
            self.shared.counters.exceed(limit);
        }
        if let Err(lost) = &result {
            self.shared.witness.ended(lost);
        }
        let (peer, limit) = (&self.place.peer().address, limit.map(tracing::field::display));
        match result {
            Ok(()) => tracing::debug!("connection closed"),
            Err(lost @ (Lost::Stopped | Lost::Idle(_))) => {
                tracing::info!(%peer, limit, "connection ended: {lost}");
            }
            // Somebody has to change a setting, or the filter.
            Err(lost @ Lost::Negotiation(..)) => tracing::error!(%peer, "connection ended: {lost}"),
            Err(lost) => tracing::warn!(%peer, limit, "connection ended: {lost}"),
        }
    }

    async fn serve(&mut self) -> Result<(), Lost> {
        poll_fn(|task| {
            self.patience.wakes(task.waker());
            Poll::Ready(())
        })
        .await;
        self.be_patient(None);
        let mut work: Option<Box<Work<F>>> = None;
        let mut next = Next::Quiet;
        // What is seldom waited for is boxed, so that an idle connection does not take its room.
        let ended = loop {
            let done = match (next, &mut work) {
                (Next::Input | Next::Quiet, place) => poll_fn(|task| self.poll(place, task)).await,
                (Next::Turn, Some(work)) => Box::pin(self.give_way(work)).await,
                (Next::Replies | Next::Later, Some(work)) => Box::pin(self.wait_for(work, next)).await,
                (_, None) | (Next::Closed, _) => break Ok(()),
            };
            match done {
                Ok(then) => next = then,
                Err(lost) => break Err(lost),
            }
        };
        match &mut work {
            Some(work) => Box::pin(self.end_work(work, ended)).await,
            None => ended.inspect_err(|lost| self.record_lost(lost, &[])),
        }
    }

    /// Makes a flight record of what went wrong, if they are wanted.
    pub(super) fn record(&mut self, cause: Cause, at: &'static str, what: &dyn Display) {
        let Some(recorder) = self.tap.recorder() else { return };
        let record = recorder.dump(self.place.peer(), cause, at, what);
        record.log();
        if let Some(observer) = &self.shared.observer
            && let Err(text) = call::guard(|| observer.tell(&record))
        {
            tracing::error!("the function that flight records go to panicked: {text}");
        }
    }

    /// The same for what the filter says of those that it stands for.
    pub(super) fn record_alarm(&mut self, at: &'static str) {
        if let Some((cause, what)) = self.tap.alarm().and_then(|alarm| alarm.heard()) {
            self.record(cause, at, &what);
        }
    }

    /// The same for a connection that ends too early, with what came last and was not looked at.
    pub(super) fn record_lost(&mut self, lost: &Lost, rest: &[u8]) {
        if let (Some((cause, at)), Some(recorder)) = (lost.cause(), self.tap.recorder()) {
            recorder.rest(Role::Mta, rest, self.session.payload_limit());
            self.record(cause, at, lost);
        }
    }

    /// Ready when the time to wait is over, with what that means.
    pub(super) fn poll_silent(&self, frame: Option<Instant>) -> Poll<Lost> {
        ready!(self.patience.poll());
        Poll::Ready(self.late(frame).unwrap_or(Lost::Idle(self.shared.options.idle_time)))
    }

    /// Begins to wait for the MTA, which may have begun a frame.
    pub(super) fn be_patient(&self, frame: Option<Instant>) {
        let options = &self.shared.options;
        // No points in time are compared, as times may have no end.
        let mut patience = options.idle_time;
        if !self.session.is_negotiated() {
            patience = patience.min(options.handshake_time.saturating_sub(self.accepted.elapsed()));
        }
        if let Some(began) = frame {
            patience = patience.min(options.frame_time.saturating_sub(began.elapsed()));
        }
        self.patience.set(patience);
    }

    /// What the MTA has no more time for.
    pub(super) fn late(&self, frame: Option<Instant>) -> Option<Lost> {
        let options = &self.shared.options;
        if !self.session.is_negotiated() && self.accepted.elapsed() >= options.handshake_time {
            Some(Lost::Handshake(options.handshake_time))
        } else if frame.is_some_and(|began| began.elapsed() >= options.frame_time) {
            Some(Lost::Frame(options.frame_time))
        } else {
            None
        }
    }

    /// Logs what is tolerated, once: an MTA that cuts off macros does so at every step.
    pub(super) fn warn(&mut self) {
        let Some(warning) = self.session.warning() else { return };
        let limit = matches!(warning, Warning::TooManyMacros { .. }).then_some(Limit::Macros);
        if let Some(limit) = limit {
            self.shared.counters.exceed(limit);
        }
        if matches!(warning, Warning::RefusesMail { .. }) || !std::mem::replace(&mut self.warned, true) {
            let limit = limit.map(tracing::field::display);
            tracing::warn!(peer = %self.place.peer().address, limit, "MTA: {warning}");
        }
    }
}

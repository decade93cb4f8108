//! One connection of an MTA: its life, what is read and what is written.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tamis_proto::{FilterSession, Stranger, Warning, frame};
use tokio::time::{Instant, timeout};

use super::admission::Place;
use super::limits::{Held, Limit};
use super::{Shared, call};
use crate::filter::{Filter, MessageState, Peer};
use crate::stream::Stream;
use crate::wire;

/// A connection between messages: all that stays while nothing happens.
pub(super) struct Connection<F: Filter> {
    pub(super) stream: Stream,
    pub(super) session: FilterSession,
    pub(super) filter: F,
    pub(super) peer: Peer,
    pub(super) shared: Arc<Shared>,
    pub(super) held: Held,
    accepted: Instant,
    /// Something wrong with macros was logged.
    warned: bool,
    /// The filter panicked; it is not called any more.
    pub(super) dead: bool,
    /// The filter declared that it never answers the end of message.
    pub(super) watches_end: bool,
    /// The last to be dropped: not before the filter is the connection counted as closed.
    _place: Place,
}

/// What exists from the first byte of something until the connection is quiet again.
pub(super) struct Work<F: Filter> {
    pub(super) buf: BytesMut,
    /// The last read filled all the room there was.
    busy: bool,
    /// When the frame that is not whole yet began.
    frame: Option<Instant>,
    pub(super) message: MessageState<F::Message>,
    /// A message is open and `message` is its state.
    pub(super) open: bool,
    pub(super) turn: Turn,
}

/// Whether the filter still has a say in the message.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    Filter,
    /// It accepted the message early; its modifications wait for the end.
    Accepted,
    /// It failed, and what its failure means was said or is about to be said.
    Failed,
}

/// Why a connection ends before the MTA said so.
#[derive(Debug, thiserror::Error)]
pub(super) enum Lost {
    #[error("{0}")]
    Protocol(#[from] tamis_proto::Error),
    #[error("{stranger}; it began with {said}")]
    Stranger { stranger: Stranger, said: String },
    #[error("connection failed: {0}")]
    Io(#[from] io::Error),
    #[error("the MTA did not negotiate within {0:?}")]
    Handshake(Duration),
    #[error("a frame that the MTA began was not finished within {0:?}")]
    Frame(Duration),
    #[error("the buffers of all connections together exceed the limit of {0} bytes")]
    Buffers(usize),
    #[error("nothing was heard from the MTA for {0:?}")]
    Idle(Duration),
    #[error("the MTA read nothing of a reply for {0:?}")]
    Unread(Duration),
    #[error("the MTA went away while the filter was working")]
    Gone,
    #[error("negotiation failed: {0}")]
    Negotiation(String),
    #[error("the server stops")]
    Stopped,
}

/// How the last piece of work ended.
enum Quiet {
    /// Between messages.
    Idle,
    /// The session is over.
    Closed,
}

/// Bytes read at once: a message's commands fit the first, pieces of a body the second.
const READ: usize = 8 * 1024;
const READ_BUSY: usize = 64 * 1024;

impl<F: Filter> Connection<F> {
    pub(super) fn new(stream: Stream, filter: F, peer: Peer, shared: Arc<Shared>, place: Place) -> Box<Self> {
        let session = FilterSession::new(shared.options.rules, shared.limits.clone());
        let held = Held::new(shared.clone());
        let accepted = Instant::now();
        Box::new(Self {
            stream,
            session,
            filter,
            peer,
            shared,
            held,
            accepted,
            warned: false,
            dead: false,
            watches_end: false,
            _place: place,
        })
    }

    /// Serves the connection to its end. Whatever happens, the filter is told about the end exactly once.
    pub(super) async fn run(mut self: Box<Self>) {
        let result = self.serve().await;
        Box::pin(self.conclude(&mut MessageState::default())).await;
        if let Some(limit) = result.as_ref().err().and_then(Limit::of) {
            self.shared.counters.exceed(limit);
        }
        let peer = &self.peer.address;
        match result {
            Ok(()) => tracing::debug!("connection closed"),
            Err(lost @ (Lost::Stopped | Lost::Idle(_))) => tracing::info!(%peer, "connection ended: {lost}"),
            // Somebody has to change a setting, or the filter.
            Err(lost @ Lost::Negotiation(_)) => tracing::error!(%peer, "connection ended: {lost}"),
            Err(lost) => tracing::warn!(%peer, "connection ended: {lost}"),
        }
    }

    async fn serve(&mut self) -> Result<(), Lost> {
        loop {
            tokio::select! {
                biased;
                () = self.shared.shutdown.draining() => return Ok(()),
                ready = timeout(self.patience(None), self.stream.readable()) => {
                    ready.map_err(|_| self.silent(None))??;
                }
            }
            // Boxed, so that an idle connection does not take the room of the largest handler.
            if let Quiet::Closed = Box::pin(self.work()).await? {
                return Ok(());
            }
        }
    }

    /// Works until the connection is between messages with nothing left to read.
    async fn work(&mut self) -> Result<Quiet, Lost> {
        let mut work = Work::<F> {
            buf: BytesMut::new(),
            busy: false,
            frame: None,
            message: MessageState::default(),
            open: false,
            turn: Turn::Filter,
        };
        let result = self.work_on(&mut work).await;
        self.held.release_input();
        if !matches!(result, Ok(Quiet::Idle)) {
            self.conclude(&mut work.message).await;
        }
        result
    }

    async fn work_on(&mut self, work: &mut Work<F>) -> Result<Quiet, Lost> {
        loop {
            match self.read(work).await? {
                None => return Ok(Quiet::Idle),
                Some(0) => {
                    self.session.eof(&work.buf)?;
                    return Ok(Quiet::Closed);
                }
                Some(_) => {}
            }
            let result = self.take(work).await;
            if let Err(Lost::Protocol(error)) = &result
                && let Some(stranger) = Stranger::guess(error, &work.buf)
            {
                return self.meet(work, stranger).await.map_or(Ok(Quiet::Closed), Err);
            }
            if !matches!(result, Err(Lost::Gone | Lost::Stopped | Lost::Unread(_) | Lost::Io(_))) {
                self.flush().await?;
            }
            result?;
            if self.session.is_closed() {
                return Ok(Quiet::Closed);
            }
            // Whoever sends a little all the time is never waited for.
            if let Some(late) = self.late(work.frame) {
                return Err(late);
            }
            if is_quiet(&self.session, work) {
                return Ok(Quiet::Idle);
            }
            // An MTA that always has something to say must not keep the thread from the others.
            tokio::task::coop::consume_budget().await;
        }
    }

    /// Reads what is there, or waits for it if something has begun; 0 is the end, and `None` is nothing at all.
    async fn read(&mut self, work: &mut Work<F>) -> Result<Option<usize>, Lost> {
        let quiet = is_quiet(&self.session, work);
        work.buf.reserve(if work.busy { READ_BUSY } else { READ });
        if !self.held.input(work.buf.capacity()) {
            return Err(Lost::Buffers(self.shared.options.buffers));
        }
        let room = work.buf.capacity() - work.buf.len();
        let count = loop {
            match self.stream.try_read(&mut work.buf) {
                // The reactor only guessed. Waiting is for `serve`, which holds no buffer and hears of a drain.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && quiet => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => tokio::select! {
                    biased;
                    () = self.shared.shutdown.stopped() => return Err(Lost::Stopped),
                    ready = timeout(self.patience(work.frame), self.stream.readable()) => {
                        ready.map_err(|_| self.silent(work.frame))??;
                    }
                },
                // An end like any other; the session knows whether it is one too early.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => break 0,
                result => break result?,
            }
        };
        work.busy = count == room;
        Ok(Some(count))
    }

    /// Handles everything in the buffer but a frame that is not whole yet.
    async fn take(&mut self, work: &mut Work<F>) -> Result<(), Lost> {
        // While a handler works more may be read.
        loop {
            let whole = frame::whole(&work.buf, self.session.payload_limit());
            if whole == 0 {
                break;
            }
            // One handle for all that was read; what events hold on to are slices of it.
            let burst = work.buf.split_to(whole).freeze();
            if wire::enabled() {
                wire::from_mta(Some(self.peer.id), &burst);
            }
            let mut at = 0;
            loop {
                let (used, event) = self.session.next(&burst[at..])?;
                at += used;
                self.warn();
                match event {
                    Some(event) => self.handle(work, event.map(|bytes| burst.slice_ref(bytes))).await?,
                    None if used == 0 => break,
                    None => {}
                }
                if self.session.output().len() >= self.session.replies_limit() {
                    self.flush().await?;
                }
            }
            work.frame = None;
            if self.session.is_closed() {
                return Ok(());
            }
            self.settle(work);
        }
        // The start of a frame may already show that it is no frame.
        self.session.next(&work.buf)?;
        if !work.buf.is_empty() {
            work.frame.get_or_insert_with(Instant::now);
        }
        if !self.held.macros(self.session.macros().allocated()) {
            return Err(Lost::Buffers(self.shared.options.buffers));
        }
        Ok(())
    }

    /// How long to wait for the MTA, which may have begun a frame. No point in time, as times may have no end.
    fn patience(&self, frame: Option<Instant>) -> Duration {
        let options = &self.shared.options;
        let mut patience = options.idle_time;
        if !self.session.is_negotiated() {
            patience = patience.min(options.handshake_time.saturating_sub(self.accepted.elapsed()));
        }
        if let Some(began) = frame {
            patience = patience.min(options.frame_time.saturating_sub(began.elapsed()));
        }
        patience
    }

    /// What the MTA has no more time for.
    fn late(&self, frame: Option<Instant>) -> Option<Lost> {
        let options = &self.shared.options;
        if !self.session.is_negotiated() && self.accepted.elapsed() >= options.handshake_time {
            Some(Lost::Handshake(options.handshake_time))
        } else if frame.is_some_and(|began| began.elapsed() >= options.frame_time) {
            Some(Lost::Frame(options.frame_time))
        } else {
            None
        }
    }

    /// What it means that the time to wait is over.
    fn silent(&self, frame: Option<Instant>) -> Lost {
        self.late(frame).unwrap_or(Lost::Idle(self.shared.options.idle_time))
    }

    /// Logs what is tolerated, once: an MTA that cuts off macros does so at every step.
    fn warn(&mut self) {
        let Some(warning) = self.session.warning() else { return };
        if let Warning::TooManyMacros { .. } = warning {
            self.shared.counters.exceed(Limit::Macros);
        }
        if matches!(warning, Warning::RefusesMail { .. }) || !std::mem::replace(&mut self.warned, true) {
            tracing::warn!(peer = %self.peer.address, "MTA: {warning}");
        }
    }

    pub(super) async fn flush(&mut self) -> Result<(), Lost> {
        let output = self.session.output();
        if wire::enabled() {
            wire::from_filter(Some(self.peer.id), &wire::contents(output));
        }
        let Shared { options, shutdown, .. } = &*self.shared;
        call::write(&self.stream, output, options.write_time, shutdown).await
    }
}

/// Whether nothing has begun.
fn is_quiet<F: Filter>(session: &FilterSession, work: &Work<F>) -> bool {
    work.buf.is_empty() && !session.in_message()
}

//! The work on what a connection's MTA says: reading it, handling it frame by frame, and writing the answers.

use std::future::poll_fn;
use std::io;
use std::task::Poll;

use bytes::BytesMut;
use tamis_proto::{FilterSession, Stranger, frame};
use tokio::task::yield_now;
use tokio::time::Instant;

use super::bell::Ring;
use super::connection::Connection;
use super::lost::Lost;
use super::{Shared, call};
use crate::filter::{Filter, MessageState};
use crate::wire;

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
    /// The verdict on a message may be among what waits to be written.
    pub(super) judged: bool,
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

/// How the last piece of work ended.
pub(super) enum Quiet {
    /// Between messages.
    Idle,
    /// The session is over.
    Closed,
}

/// Bytes read at once: a message's commands fit the first, pieces of a body the second.
const READ: usize = 8 * 1024;
const READ_BUSY: usize = 64 * 1024;

/// The frame of a QUIT.
const QUIT: &[u8] = b"\0\0\0\x01Q";

/// How much a connection does before others have the thread: events, more than a message usually has.
const SHARE: usize = 128;

/// Bytes that count as an event: they may be many frames that the filter is not told of.
const READ_UNIT: usize = 2 * 1024;

impl<F: Filter> Connection<F> {
    /// Works until the connection is between messages with nothing left to read.
    pub(super) async fn work(&mut self) -> Result<Quiet, Lost> {
        let mut work = Work::<F> {
            buf: BytesMut::new(),
            busy: false,
            frame: None,
            message: MessageState::default(),
            open: false,
            judged: false,
            turn: Turn::Filter,
        };
        let mut result = self.work_on(&mut work).await;
        self.held.release_input();
        if let Err(Lost::Io(error)) = &result
            && is_quiet(&self.session, &work)
            && !work.judged
        {
            // The MTA went away between messages, which is its right; it only did not wait for a last answer.
            tracing::debug!("connection failed between messages: {error}");
            result = Ok(Quiet::Closed);
        }
        if let Err(Lost::Left) = result {
            result = Ok(Quiet::Closed);
        }
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
                // Events are counted where they are handled.
                Some(count) => {
                    work.judged = false;
                    if self.has_worked(1 + count / READ_UNIT) {
                        self.give_way().await?;
                    }
                }
            }
            let result = self.take(work).await;
            if let Err(Lost::Protocol(error)) = &result
                && let Some(stranger) = Stranger::guess(error, &work.buf)
            {
                return self.meet(work, stranger).await.map_or(Ok(Quiet::Closed), Err);
            }
            if !matches!(result, Err(Lost::Gone | Lost::Left | Lost::Stopped | Lost::Unread(_) | Lost::Io(_)))
            {
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
        }
    }

    /// Counts work; whether others shall have the thread now. An MTA that always has something to say never makes
    /// the task wait, and would keep the thread as long as it likes.
    fn has_worked(&mut self, work: usize) -> bool {
        self.worked += work;
        self.worked >= SHARE
    }

    /// Lets others have the thread.
    async fn give_way(&mut self) -> Result<(), Lost> {
        self.worked = 0;
        yield_now().await;
        // Whoever never waits does not hear of this either.
        if self.shared.shutdown.is_stopped() { Err(Lost::Stopped) } else { Ok(()) }
    }

    /// Reads what is there, or waits for it if something has begun; 0 is the end, and `None` is nothing at all.
    async fn read(&mut self, work: &mut Work<F>) -> Result<Option<usize>, Lost> {
        let quiet = is_quiet(&self.session, work);
        work.buf.reserve(if work.busy { READ_BUSY } else { READ });
        if !self.held.input(work.buf.capacity()) {
            return Err(Lost::Buffers(self.shared.options.buffers));
        }
        let room = work.buf.capacity() - work.buf.len();
        let mut waits = false;
        let count = poll_fn(|task| {
            if waits && self.shared.bell.is_rung(Ring::Stop) {
                return Poll::Ready(Err(Lost::Stopped));
            }
            match self.stream.poll_read(&mut work.buf, task) {
                // An end like any other; the session knows whether it is one too early.
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::ConnectionReset => {
                    return Poll::Ready(Ok(Some(0)));
                }
                Poll::Ready(read) => return Poll::Ready(Ok(Some(read?))),
                Poll::Pending => {}
            }
            // The task is about to wait, and others have the thread anyway.
            self.worked = 0;
            if quiet {
                // The reactor only guessed. Waiting is for `serve`, which holds no buffer and hears of a drain.
                return Poll::Ready(Ok(None));
            }
            if !std::mem::replace(&mut waits, true) {
                self.be_patient(work.frame);
            }
            self.poll_silent(work.frame, task).map(Err)
        })
        .await?;
        work.busy = count == Some(room);
        Ok(count)
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
                wire::from_mta(Some(self.place.peer().id), &burst);
            }
            let mut at = 0;
            loop {
                let (used, event) = self.session.next(&burst[at..])?;
                at += used;
                self.warn();
                match event {
                    Some(event) => {
                        let handled = self.handle(work, event.map(|bytes| burst.slice_ref(bytes))).await;
                        handled.map_err(|lost| self.left(lost, &burst[at..], &work.buf))?;
                        if self.has_worked(1) {
                            self.give_way().await?;
                        }
                    }
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

    /// An MTA that goes away after it said so, while the filter was at something that it did not wait for, only left.
    fn left(&self, lost: Lost, burst: &[u8], buf: &[u8]) -> Lost {
        let said = if buf.is_empty() { burst } else { buf };
        match lost {
            Lost::Gone if said.ends_with(QUIT) && !self.session.takes_verdict() => Lost::Left,
            lost => lost,
        }
    }

    pub(super) async fn flush(&mut self) -> Result<(), Lost> {
        let output = self.session.output();
        if wire::enabled() {
            wire::from_filter(Some(self.place.peer().id), &wire::contents(output));
        }
        let Shared { options, shutdown, .. } = &*self.shared;
        call::write(&self.stream, output, options.write_time, shutdown).await
    }
}

/// Whether nothing has begun.
fn is_quiet<F: Filter>(session: &FilterSession, work: &Work<F>) -> bool {
    work.buf.is_empty() && !session.in_message()
}

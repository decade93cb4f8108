//! The work on what a connection's MTA says: reading it, handling it frame by frame, and writing the answers.
//!
//! Most of it waits for nothing but the MTA, and is done by plain functions. They say what else has to be waited for,
//! and only that is done in a future of its own.

use std::io;
use std::mem;
use std::task::{Context as Task, Poll, ready};

use bytes::{Bytes, BytesMut};
use tamis_proto::{FilterSession, Stranger, frame};
use tokio::task::yield_now;
use tokio::time::Instant;

use super::connection::Connection;
use super::later::Later;
use super::lost::Lost;
use super::watch::Ring;
use super::{Shared, call, spare};
use crate::filter::{Filter, MessageState};

/// What exists from the first byte of something until the connection is quiet again.
#[expect(clippy::struct_excessive_bools, reason = "they are independent of each other")]
pub(super) struct Work<F: Filter> {
    /// Whole frames that were read; all before `at` is handled.
    burst: Bytes,
    at: usize,
    /// What was read after it.
    pub(super) buf: BytesMut,
    /// The last read brought much.
    much: bool,
    /// The MTA is being waited for.
    waits: bool,
    /// When the frame that is not whole yet began.
    frame: Option<Instant>,
    pub(super) message: MessageState<F::Message>,
    /// A message is open and `message` is its state.
    pub(super) open: bool,
    /// The verdict on a message may be among what waits to be written.
    pub(super) judged: bool,
    pub(super) turn: Turn,
    /// What has to be waited for.
    later: Option<Later>,
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

/// What the work waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// More of what the MTA says: all that came is handled and answered.
    Input,
    /// Its begin: nothing has begun that is not over.
    Quiet,
    /// Nothing any more, the session is over.
    Closed,
    /// Replies to be written.
    Replies,
    /// Its turn, as others want the thread too.
    Turn,
    /// What is in [`Work::later`].
    Later,
}

/// The frame of a QUIT.
const QUIT: &[u8] = b"\0\0\0\x01Q";

/// How much a connection does before others have the thread: events, more than a message usually has.
const SHARE: usize = 128;

/// Bytes that count as an event: they may be many frames that the filter is not told of.
const READ_UNIT: usize = 2 * 1024;

impl<F: Filter> Connection<F> {
    /// Does all that waits for nothing but the MTA: reads what it says, handles it and writes the answers. While nothing
    /// has begun there is no work, and the connection has nothing but what it has anyway.
    pub(super) fn poll(
        &mut self,
        place: &mut Option<Box<Work<F>>>,
        task: &mut Task<'_>,
    ) -> Poll<Result<Next, Lost>> {
        loop {
            if let Some(work) = place {
                let next = ready!(self.poll_work(work, task));
                if !matches!(next, Ok(Next::Quiet)) {
                    return Poll::Ready(next);
                }
                *place = None;
            } else {
                if self.shared.watch.is_rung(Ring::Drain) {
                    return Poll::Ready(Ok(Next::Closed));
                }
                let Poll::Ready(ready) = self.stream.poll_readable(task) else {
                    // Others have the thread now.
                    self.worked = 0;
                    return self.poll_silent(None).map(Err);
                };
                ready?;
                // Often all is done at once, and no room is needed for what is not.
                let mut work = Work::new();
                let next = self.poll_work(&mut work, task);
                if !matches!(next, Poll::Ready(Ok(Next::Quiet))) {
                    *place = Some(Box::new(work));
                    return next;
                }
            }
            self.held.release_input();
            self.be_patient(None);
        }
    }

    /// As [`poll`](Self::poll), from when something has begun until nothing is left of it.
    fn poll_work(&mut self, work: &mut Work<F>, task: &mut Task<'_>) -> Poll<Result<Next, Lost>> {
        loop {
            if work.waits && self.shared.watch.is_rung(Ring::Stop) {
                return Poll::Ready(Err(Lost::Stopped));
            }
            if work.buf.capacity() == work.buf.len() {
                work.make_room();
            }
            let Poll::Ready(count) = self.poll_read(work, task) else {
                return self.poll_nothing(work);
            };
            work.waits = false;
            let next = count.and_then(|count| self.took(work, count));
            if !matches!(next, Ok(Next::Input)) {
                return Poll::Ready(next);
            }
        }
    }

    /// Nothing is there to be read.
    fn poll_nothing(&mut self, work: &mut Work<F>) -> Poll<Result<Next, Lost>> {
        // The task is about to wait, and others have the thread anyway.
        self.worked = 0;
        self.keep_little(work)?;
        if is_quiet(&self.session, work) {
            // Waiting is for what holds no more than an idle connection.
            return Poll::Ready(Ok(Next::Quiet));
        }
        if !mem::replace(&mut work.waits, true) {
            self.be_patient(work.frame);
        }
        self.poll_silent(work.frame).map(Err)
    }

    /// Goes on with what was read: 0 bytes are the end.
    fn took(&mut self, work: &mut Work<F>, count: usize) -> Result<Next, Lost> {
        if count == 0 {
            self.session.eof(&work.buf)?;
            return Ok(Next::Closed);
        }
        work.judged = false;
        // Events are counted where they are handled.
        if self.has_worked(1 + count / READ_UNIT) { Ok(Next::Turn) } else { self.go_on(work) }
    }

    /// Handles all that was read but a frame that is not whole yet, and writes the answers, as far as that takes no
    /// waiting.
    pub(super) fn go_on(&mut self, work: &mut Work<F>) -> Result<Next, Lost> {
        loop {
            let next = self.advance(work)?;
            if !matches!(next, Next::Input | Next::Replies) {
                return Ok(next);
            }
            if !self.flush_now()? {
                return Ok(Next::Replies);
            }
            if next == Next::Input {
                break;
            }
        }
        if self.session.is_closed() {
            return Ok(Next::Closed);
        }
        // Whoever sends a little all the time is never waited for.
        self.late(work.frame).map_or(Ok(Next::Input), Err)
    }

    /// Waits for what [`poll_work`](Self::poll_work) says, and for nothing of the MTA but that it takes replies.
    pub(super) async fn wait_for(&mut self, work: &mut Work<F>, next: Next) -> Result<Next, Lost> {
        if let Some(later) = work.later.take() {
            self.keep_little(work)?;
            let done = self.finish(work, later).await;
            done.map_err(|lost| self.left(lost, work))?;
            if self.has_worked(1) {
                return Ok(Next::Turn);
            }
        }
        if next == Next::Replies {
            Box::pin(self.flush()).await?;
        }
        self.go_on(work)
    }

    /// Lets others have the thread.
    pub(super) async fn give_way(&mut self, work: &mut Work<F>) -> Result<Next, Lost> {
        self.keep_little(work)?;
        self.worked = 0;
        yield_now().await;
        // Whoever never waits does not hear of this otherwise.
        if self.shared.shutdown.is_stopped() { Err(Lost::Stopped) } else { self.go_on(work) }
    }

    /// Ends the work: with what went wrong, once all is written that was said before.
    pub(super) async fn end_work(&mut self, work: &mut Work<F>, ended: Result<(), Lost>) -> Result<(), Lost> {
        let mut result = match ended {
            Ok(()) => Ok(()),
            Err(lost) => self.break_off(work, lost).await,
        };
        if let Err(Lost::Io(error)) = &result
            && is_quiet(&self.session, work)
            && !work.judged
        {
            // The MTA went away between messages, which is its right; it only did not wait for a last answer.
            tracing::debug!("connection failed between messages: {error}");
            result = Ok(());
        }
        if let Err(Lost::Left) = result {
            result = Ok(());
        }
        if let Err(lost) = &result
            && self.tap.recorder().is_some()
        {
            self.record_lost(lost, &[&work.burst[work.at..], &work.buf].concat());
        }
        self.held.release_input();
        self.conclude(&mut work.message).await;
        result
    }

    async fn break_off(&mut self, work: &mut Work<F>, lost: Lost) -> Result<(), Lost> {
        if let Lost::Protocol(error) = &lost
            && let Some(stranger) = Stranger::guess(error, &work.buf)
        {
            return self.meet(work, stranger).await.map_or(Ok(()), Err);
        }
        if !matches!(lost, Lost::Gone | Lost::Left | Lost::Stopped | Lost::Unread(_) | Lost::Io(_)) {
            self.flush().await?;
        }
        Err(lost)
    }

    /// Keeps no more than has to be kept while something is waited for.
    fn keep_little(&mut self, work: &mut Work<F>) -> Result<(), Lost> {
        if work.at == work.burst.len() {
            (work.burst, work.at) = (Bytes::new(), 0);
        }
        if work.buf.is_empty() {
            spare::give(&mut work.buf);
        } else {
            spare::shrink(&mut work.buf);
        }
        let kept = work.buf.capacity() + work.burst.len();
        if kept == 0 {
            self.held.release_input();
        } else if !self.held.input(kept) {
            return Err(Lost::Buffers(self.shared.options.buffers));
        }
        Ok(())
    }

    /// Counts work; whether others shall have the thread now. An MTA that always has something to say never makes
    /// the task wait, and would keep the thread as long as it likes.
    fn has_worked(&mut self, work: usize) -> bool {
        self.worked += work;
        self.worked >= SHARE
    }

    fn poll_read(&mut self, work: &mut Work<F>, task: &mut Task<'_>) -> Poll<Result<usize, Lost>> {
        let count = match ready!(self.stream.poll_read(&mut work.buf, task)) {
            // An end like any other; the session knows whether it is one too early.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => 0,
            read => read?,
        };
        work.much = count >= spare::MUCH;
        Poll::Ready(Ok(count))
    }

    /// Handles everything that was read but a frame that is not whole yet, as far as that takes no waiting.
    fn advance(&mut self, work: &mut Work<F>) -> Result<Next, Lost> {
        // While a handler works more may be read.
        loop {
            if work.at == work.burst.len() {
                let whole = frame::whole(&work.buf, self.session.payload_limit());
                if whole == 0 {
                    break;
                }
                // One handle for all that was read; what events hold on to are slices of it.
                (work.burst, work.at) = (work.buf.split_to(whole).freeze(), 0);
                work.frame = None;
                self.tap.heard(&work.burst);
            }
            let next = self.advance_burst(work)?;
            if next != Next::Input {
                return Ok(next);
            }
            (work.burst, work.at) = (Bytes::new(), 0);
            if self.session.is_closed() {
                return Ok(Next::Input);
            }
            self.settle(work);
        }
        // Of what is not whole only its length can be wrong.
        self.session.next(&work.buf)?;
        if !work.buf.is_empty() {
            work.frame.get_or_insert_with(Instant::now);
        }
        if !self.held.macros(self.session.macros().allocated()) {
            return Err(Lost::Buffers(self.shared.options.buffers));
        }
        Ok(Next::Input)
    }

    /// Handles the frames of a burst.
    fn advance_burst(&mut self, work: &mut Work<F>) -> Result<Next, Lost> {
        while work.at < work.burst.len() {
            if self.session.output().len() >= self.session.replies_limit() {
                return Ok(Next::Replies);
            }
            let (used, event) = match self.session.next(&work.burst[work.at..]) {
                Ok(next) => next,
                Err(error) => {
                    work.put_back();
                    return Err(error.into());
                }
            };
            let event = event.map(|event| event.map(|bytes| work.burst.slice_ref(bytes)));
            self.tap.handles(&work.burst[work.at..work.at + used]);
            work.at += used;
            self.warn();
            match event {
                Some(event) => {
                    work.later = self.handle(work, event);
                    if work.later.is_some() {
                        return Ok(Next::Later);
                    }
                    if self.has_worked(1) {
                        return Ok(Next::Turn);
                    }
                }
                // The session is over.
                None if used == 0 => break,
                None => {}
            }
        }
        Ok(Next::Input)
    }

    /// An MTA that goes away after it said so, while the filter was at something that it did not wait for, only left.
    fn left(&self, lost: Lost, work: &Work<F>) -> Lost {
        let said = if work.buf.is_empty() { &work.burst[work.at..] } else { &work.buf };
        match lost {
            Lost::Gone if said.ends_with(QUIT) && !self.session.takes_verdict() => Lost::Left,
            lost => lost,
        }
    }

    /// Writes the replies.
    pub(super) async fn flush(&mut self) -> Result<(), Lost> {
        // This way it takes no timer, mostly.
        if self.flush_now()? {
            return Ok(());
        }
        let Shared { options, shutdown, .. } = &*self.shared;
        call::write(&self.stream, self.session.output(), options.write_time, shutdown).await?;
        self.tap.wrote_all();
        Ok(())
    }

    /// Writes the replies if they leave at once; whether they did.
    fn flush_now(&mut self) -> Result<bool, Lost> {
        let output = self.session.output();
        if output.is_empty() {
            return Ok(true);
        }
        self.tap.says(output);
        match self.stream.try_write(output) {
            Ok(count) => self.tap.wrote(count),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
        Ok(output.is_empty())
    }
}

impl<F: Filter> Work<F> {
    fn new() -> Self {
        Self {
            burst: Bytes::new(),
            at: 0,
            buf: BytesMut::new(),
            much: false,
            waits: false,
            frame: None,
            message: MessageState::default(),
            open: false,
            judged: false,
            turn: Turn::Filter,
            later: None,
        }
    }

    /// Makes room for the next read, ever more as long as a frame fills it.
    fn make_room(&mut self) {
        let mut buf = spare::take(self.much || !self.buf.is_empty());
        buf.reserve(2 * self.buf.len());
        buf.extend_from_slice(&self.buf);
        self.buf = buf;
    }

    /// Puts what is not handled before what was read after it.
    fn put_back(&mut self) {
        self.buf = [&self.burst[self.at..], &self.buf].concat()[..].into();
        (self.burst, self.at) = (Bytes::new(), 0);
    }
}

/// Whether nothing has begun.
fn is_quiet<F: Filter>(session: &FilterSession, work: &Work<F>) -> bool {
    work.buf.is_empty() && !session.in_message()
}

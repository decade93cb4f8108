//! The work on what a connection's MTA says: reading it, handling it frame by frame, and writing the answers.
//!
//! Most of it never waits, and is done by plain functions. They say what has to be waited for, and only that is done in
//! a future.

use std::future::poll_fn;
use std::io;
use std::mem;
use std::ops::ControlFlow::{self, Break, Continue};
use std::task::{Context as Task, Poll};

use bytes::{Buf, Bytes, BytesMut};
use tamis_proto::{FilterSession, Role, Stranger};
use tokio::task::yield_now;
use tokio::time::Instant;

use super::bell::Ring;
use super::connection::Connection;
use super::later::Later;
use super::lost::Lost;
use super::{Shared, call, spare};
use crate::filter::{Filter, MessageState};
use crate::wire::{self, Tap};

/// What exists from the first byte of something until the connection is quiet again.
pub(super) struct Work<F: Filter> {
    /// What was read; all before `at` is handled.
    burst: Bytes,
    at: usize,
    /// What was read after it, and room for more.
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

/// What the work waits for.
pub(super) enum Next {
    /// More of what the MTA says: all that came is handled.
    Input,
    /// The end of the connection, which was read.
    End,
    /// Replies to be written, which are many.
    Replies,
    /// Its turn, as others want the thread too.
    Turn,
    Later(Later),
}

/// How the last piece of work ended.
#[derive(PartialEq, Eq)]
pub(super) enum Quiet {
    /// Between messages.
    Idle,
    /// The session is over.
    Closed,
}

/// Work that has to wait for something, or failed.
pub(super) type Begun<F> = (Box<Work<F>>, Result<Next, Lost>);

/// Bytes read at once while there is more than fits: pieces of a body.
const READ_BUSY: usize = 64 * 1024;

/// The frame of a QUIT.
const QUIT: &[u8] = b"\0\0\0\x01Q";

/// How much a connection does before others have the thread: events, more than a message usually has.
const SHARE: usize = 128;

/// Bytes that count as an event: they may be many frames that the filter is not told of.
const READ_UNIT: usize = 2 * 1024;

impl<F: Filter> Connection<F> {
    /// Begins to work on what is there to read. If that leaves the connection between messages again, and nothing had
    /// to be waited for, there is no more to do.
    pub(super) fn begin_work(&mut self, task: &mut Task<'_>) -> Option<Begun<F>> {
        let mut work = Work {
            burst: Bytes::new(),
            at: 0,
            buf: self.shared.spare.take(),
            busy: false,
            frame: None,
            message: MessageState::default(),
            open: false,
            judged: false,
            turn: Turn::Filter,
        };
        match self.begin_reading(&mut work, task).transpose() {
            None => {
                self.rest(&mut work);
                None
            }
            Some(next) => Some((Box::new(work), next)),
        }
    }

    fn begin_reading(&mut self, work: &mut Work<F>, task: &mut Task<'_>) -> Result<Option<Next>, Lost> {
        self.make_room(work)?;
        // The reactor may only have guessed.
        let Poll::Ready(count) = self.poll_read(work, task) else { return Ok(None) };
        let next = self.took(work, count?)?;
        if !matches!(next, Next::Input) || !self.flush_now()? {
            return Ok(Some(next));
        }
        Ok((self.pause(work)? != Some(Quiet::Idle)).then_some(next))
    }

    /// Works on until the connection is between messages with nothing left to read.
    pub(super) async fn work(&mut self, begun: Begun<F>) -> Result<Quiet, Lost> {
        let (mut work, next) = begun;
        let mut result = self.go_on(&mut work, next).await;
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
        if let Err(lost) = &result
            && self.recorder.is_some()
        {
            self.record_lost(lost, &[&work.burst[work.at..], &work.buf].concat());
        }
        self.rest(&mut work);
        if !matches!(result, Ok(Quiet::Idle)) {
            self.conclude(&mut work.message).await;
        }
        result
    }

    async fn go_on(&mut self, work: &mut Work<F>, begun: Result<Next, Lost>) -> Result<Quiet, Lost> {
        let mut next = begun;
        loop {
            let went = match next {
                Ok(next) => self.wait_for(work, next).await,
                Err(lost) => Err(lost),
            };
            next = match went {
                Ok(Break(quiet)) => return Ok(quiet),
                Ok(Continue(next)) => Ok(next),
                Err(lost) => return self.break_off(work, lost).await,
            };
        }
    }

    async fn wait_for(&mut self, work: &mut Work<F>, next: Next) -> Result<ControlFlow<Quiet, Next>, Lost> {
        match next {
            Next::End => return Ok(Break(Quiet::Closed)),
            Next::Input => {
                self.flush().await?;
                if let Some(quiet) = self.pause(work)? {
                    return Ok(Break(quiet));
                }
                return Ok(match self.read(work).await? {
                    None => Break(Quiet::Idle),
                    Some(count) => Continue(self.took(work, count)?),
                });
            }
            Next::Replies => self.flush().await?,
            Next::Turn => self.give_way().await?,
            Next::Later(later) => {
                let done = self.finish(work, later).await;
                done.map_err(|lost| self.left(lost, work))?;
                if self.has_worked(1) {
                    self.give_way().await?;
                }
            }
        }
        Ok(Continue(self.advance(work)?))
    }

    /// Ends with what went wrong, once all is written that was said before.
    async fn break_off(&mut self, work: &mut Work<F>, lost: Lost) -> Result<Quiet, Lost> {
        if let Lost::Protocol(error) = &lost
            && let Some(stranger) = Stranger::guess(error, &work.buf)
        {
            return self.meet(work, stranger).await.map_or(Ok(Quiet::Closed), Err);
        }
        if !matches!(lost, Lost::Gone | Lost::Left | Lost::Stopped | Lost::Unread(_) | Lost::Io(_)) {
            self.flush().await?;
        }
        Err(lost)
    }

    /// Where all that was read is handled and all replies are written: whether there is nothing to go on with.
    fn pause(&self, work: &Work<F>) -> Result<Option<Quiet>, Lost> {
        if self.session.is_closed() {
            return Ok(Some(Quiet::Closed));
        }
        // Whoever sends a little all the time is never waited for.
        if let Some(late) = self.late(work.frame) {
            return Err(late);
        }
        Ok(is_quiet(&self.session, work).then_some(Quiet::Idle))
    }

    /// Keeps nothing of what was read.
    fn rest(&mut self, work: &mut Work<F>) {
        self.held.release_input();
        if work.buf.is_empty() && work.burst.is_empty() {
            self.shared.spare.give(mem::take(&mut work.buf));
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
        self.make_room(work)?;
        let mut waits = false;
        poll_fn(|task| {
            if waits && self.shared.bell.is_rung(Ring::Stop) {
                return Poll::Ready(Err(Lost::Stopped));
            }
            if let Poll::Ready(count) = self.poll_read(work, task) {
                return Poll::Ready(count.map(Some));
            }
            // The task is about to wait, and others have the thread anyway.
            self.worked = 0;
            if quiet {
                // Waiting is for `serve`, which holds no buffer and hears of a drain.
                return Poll::Ready(Ok(None));
            }
            if !mem::replace(&mut waits, true) {
                self.be_patient(work.frame);
            }
            self.poll_silent(work.frame, task).map(Err)
        })
        .await
    }

    fn make_room(&mut self, work: &mut Work<F>) -> Result<(), Lost> {
        if work.buf.capacity() == 0 && !work.busy {
            work.buf = self.shared.spare.take();
        }
        work.buf.reserve(if work.busy { READ_BUSY } else { spare::SIZE });
        if self.held.input(work.buf.capacity()) {
            Ok(())
        } else {
            Err(Lost::Buffers(self.shared.options.buffers))
        }
    }

    fn poll_read(&mut self, work: &mut Work<F>, task: &mut Task<'_>) -> Poll<Result<usize, Lost>> {
        let room = work.buf.capacity() - work.buf.len();
        let count = match self.stream.poll_read(&mut work.buf, task) {
            Poll::Pending => return Poll::Pending,
            // An end like any other; the session knows whether it is one too early.
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::ConnectionReset => 0,
            Poll::Ready(read) => read?,
        };
        work.busy = count == room;
        Poll::Ready(Ok(count))
    }

    /// Goes on with what was read: 0 bytes are the end.
    fn took(&mut self, work: &mut Work<F>, count: usize) -> Result<Next, Lost> {
        if count == 0 {
            self.session.eof(&work.buf)?;
            return Ok(Next::End);
        }
        work.judged = false;
        // Events are counted where they are handled.
        if self.has_worked(1 + count / READ_UNIT) {
            return Ok(Next::Turn);
        }
        self.advance(work)
    }

    /// Handles everything that was read but a frame that is not whole yet, as far as that takes no waiting.
    fn advance(&mut self, work: &mut Work<F>) -> Result<Next, Lost> {
        // While a handler works more may be read.
        loop {
            if work.burst.is_empty() {
                // One handle for all that was read; what events hold on to are slices of it.
                work.burst = mem::take(&mut work.buf).freeze();
                if wire::enabled() {
                    wire::from_mta(Some(self.place.peer().id), &work.burst);
                }
            }
            if let Some(next) = self.advance_burst(work)? {
                return Ok(next);
            }
            let came = work.buf.len();
            work.put_back();
            if came == 0 || self.session.is_closed() {
                break;
            }
        }
        if self.session.is_closed() {
            return Ok(Next::Input);
        }
        if !work.buf.is_empty() {
            work.frame.get_or_insert_with(Instant::now);
        }
        if !self.held.macros(self.session.macros().allocated()) {
            return Err(Lost::Buffers(self.shared.options.buffers));
        }
        Ok(Next::Input)
    }

    fn advance_burst(&mut self, work: &mut Work<F>) -> Result<Option<Next>, Lost> {
        loop {
            if self.session.output().len() >= self.session.replies_limit() {
                return Ok(Some(Next::Replies));
            }
            let (used, event) = match self.session.next(&work.burst[work.at..]) {
                Ok(next) => next,
                Err(error) => {
                    work.put_back();
                    return Err(error.into());
                }
            };
            let event = event.map(|event| event.map(|bytes| work.burst.slice_ref(bytes)));
            if let Some(recorder) = &mut self.recorder {
                recorder.frames(Role::Mta, &work.burst[work.at..work.at + used]);
            }
            work.at += used;
            self.warn();
            match event {
                Some(event) => {
                    if let Some(later) = self.handle(work, event) {
                        return Ok(Some(Next::Later(later)));
                    }
                    if self.has_worked(1) {
                        return Ok(Some(Next::Turn));
                    }
                }
                None if used == 0 => break,
                None => {}
            }
        }
        if work.at > 0 {
            work.frame = None;
            if !self.session.is_closed() {
                self.settle(work);
            }
        }
        Ok(None)
    }

    /// An MTA that goes away after it said so, while the filter was at something that it did not wait for, only left.
    fn left(&self, lost: Lost, work: &Work<F>) -> Lost {
        let said = if work.buf.is_empty() { &work.burst[work.at..] } else { &work.buf };
        match lost {
            Lost::Gone if said.ends_with(QUIT) && !self.session.takes_verdict() => Lost::Left,
            lost => lost,
        }
    }

    pub(super) async fn flush(&mut self) -> Result<(), Lost> {
        // This way it takes no future, mostly.
        if self.flush_now()? {
            return Ok(());
        }
        let output = self.session.output();
        Tap { id: self.place.peer().id, recorder: self.recorder.as_deref_mut() }.sends_all(output);
        let Shared { options, shutdown, .. } = &*self.shared;
        call::write(&self.stream, output, options.write_time, shutdown).await
    }

    /// Writes the replies if they leave at once; whether they did.
    fn flush_now(&mut self) -> Result<bool, Lost> {
        let output = self.session.output();
        // What is shown is shown once.
        if output.is_empty() || wire::enabled() || self.recorder.is_some() {
            return Ok(output.is_empty());
        }
        match self.stream.try_write(output) {
            Ok(_) => Ok(output.is_empty()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

impl<F: Filter> Work<F> {
    /// Puts what is not handled before what was read after it.
    fn put_back(&mut self) {
        let at = mem::take(&mut self.at);
        let mut rest = match mem::take(&mut self.burst).try_into_mut() {
            Ok(mut burst) => {
                if at == burst.len() {
                    burst.clear();
                } else {
                    burst.advance(at);
                }
                burst
            }
            // Somebody holds on to a part of it.
            Err(burst) => BytesMut::from(&burst[at..]),
        };
        if self.buf.is_empty() || !rest.is_empty() {
            rest.extend_from_slice(&self.buf);
            self.buf = rest;
        }
    }
}

/// Whether nothing has begun.
fn is_quiet<F: Filter>(session: &FilterSession, work: &Work<F>) -> bool {
    work.buf.is_empty() && !session.in_message()
}

//! What a thread does with a connection that is ready: read, call, answer, until there is nothing to read.

use std::io;
use std::os::fd::RawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};

use tamis_proto::Error;

use super::Engine;
use super::buffer::Buffer;
use crate::answer::{self, Refused};
use crate::callback::{Arguments, Call};
use crate::connection::{Connection, Ending};
use crate::context::{Handle, SLOTS};
use crate::descr::status;
use crate::metrics::{self, Reason};
use crate::sys::{self, Interest};
use crate::{log, negotiate, process, trace};

/// What a thread keeps from one connection to the next.
pub(super) struct Worker {
    buf: Buffer,
    arguments: Arguments,
}

/// After so many reads other connections have their turn.
const READS: usize = 64;

/// How to go on with a connection.
enum Next {
    Wait(Wait),
    /// It is over.
    End,
}

/// What a connection waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wait {
    /// Something to read; everything there was has been read.
    ToRead,
    /// Room to write.
    ToWrite,
    /// That other connections had their turn.
    ForItsTurn,
}

/// What is to be done for a connection now.
enum Step {
    /// Call the program with an event, whose texts are in the buffer from this place on.
    Call(Call, usize),
    /// Look again.
    Again,
    /// Read more.
    Read,
    /// Wait for the MTA to take what was said.
    Write,
    /// The session is over, or nothing more can be said.
    Over,
    /// The MTA broke the protocol.
    Wrong(Error),
}

impl Worker {
    pub(super) fn new() -> Self {
        Self { buf: Buffer::new(), arguments: Arguments::default() }
    }

    /// Serves a connection until there is nothing more to do for now.
    pub(super) fn turn(&mut self, engine: &Engine, handle: Handle, hung_up: bool) {
        if catch_unwind(AssertUnwindSafe(|| self.serve(engine, handle, hung_up))).is_ok() {
            return;
        }
        lost(handle, Reason::Internal, format_args!("internal error"));
        self.buf = Buffer::new();
        if catch_unwind(AssertUnwindSafe(|| self.conclude(engine, handle))).is_err() {
            log::error(format_args!("internal error at the end of a connection"));
        }
        engine.drop_connection(handle);
    }

    fn serve(&mut self, engine: &Engine, handle: Handle, hung_up: bool) {
        // Whoever has it is left a note.
        if !SLOTS.take_up(handle) {
            return;
        }
        let mut to_the_end = hung_up;
        loop {
            let taken = SLOTS.with(handle, |connection| self.take(engine, connection));
            let (fd, ending) = taken.expect("a connection is there until the thread that has it ends it");
            if let Some(ending) = ending {
                if ending == Ending::TimedOut {
                    lost(handle, Reason::Timeout, format_args!("nothing came in time"));
                }
                return self.finish(engine, handle);
            }
            match self.read_and_answer(engine, handle, fd, to_the_end) {
                Next::Wait(wait) if self.park(engine, handle, wait) => {}
                Next::Wait(_) | Next::End => return self.finish(engine, handle),
            }
            if SLOTS.lay_down(handle) {
                return;
            }
            to_the_end = true;
        }
    }

    /// Begins with what is left from the last time.
    fn take(&mut self, engine: &Engine, connection: &mut Connection) -> (RawFd, Option<Ending>) {
        engine.limits.apply(&mut connection.session);
        self.buf.begin(&connection.unpark());
        (connection.fd(), connection.ending)
    }

    /// Reads and answers. What is read short was all there is, but for the end of the stream: `to_the_end` has that
    /// looked for.
    fn read_and_answer(&mut self, engine: &Engine, handle: Handle, fd: RawFd, to_the_end: bool) -> Next {
        for _ in 0..READS {
            if let Some(next) = self.answer_all(engine, handle) {
                return next;
            }
            let room = self.buf.make_room();
            let wanted = room.len();
            match sys::receive(fd, room) {
                Ok(0) => return Next::End,
                Ok(count) => {
                    self.buf.received(count);
                    if let Some(metrics) = metrics::get() {
                        metrics.bytes_received.add(count as u64);
                    }
                    if count < wanted && !to_the_end {
                        return self.answer_all(engine, handle).unwrap_or(Next::Wait(Wait::ToRead));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Next::Wait(Wait::ToRead),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Next::End,
            }
        }
        self.answer_all(engine, handle).unwrap_or(Next::Wait(Wait::ForItsTurn))
    }

    /// Handles every whole command there is; how to go on, if not by reading.
    fn answer_all(&mut self, engine: &Engine, handle: Handle) -> Option<Next> {
        loop {
            if process::stopping() == process::Stop::Now {
                return Some(Next::End);
            }
            match SLOTS.with(handle, |connection| self.step(connection))? {
                Step::Call(call, at) => {
                    if let Err(refused) = self.call(engine, handle, call, at) {
                        lost(handle, Reason::Refused, format_args!("{refused}"));
                        return Some(Next::End);
                    }
                }
                Step::Again => {}
                Step::Read => return None,
                Step::Write => return Some(Next::Wait(Wait::ToWrite)),
                Step::Over => return Some(Next::End),
                Step::Wrong(error) => {
                    lost(handle, Reason::Protocol, format_args!("{error}"));
                    return Some(Next::End);
                }
            }
        }
    }

    /// Writes what is to be said, and takes the next event.
    fn step(&mut self, connection: &mut Connection) -> Step {
        // Before anything else is begun, which may take its time.
        match connection.flush() {
            Ok(true) => {}
            Ok(false) => return Step::Write,
            Err(_) => return Step::Over,
        }
        let taken = connection.session.next(self.buf.unused());
        if let (Ok((used, _)), true) = (&taken, trace::is_on()) {
            trace::received(connection.number(), &self.buf.unused()[..*used]);
        }
        match taken {
            Err(error) => {
                let _ = connection.flush();
                Step::Wrong(error)
            }
            Ok((_, None)) if connection.session.is_closed() => Step::Over,
            Ok((0, None)) => Step::Read,
            Ok((used, None)) => {
                self.buf.used(used);
                Step::Again
            }
            Ok((used, Some(event))) => {
                let call = Call::new(&event, self.buf.unused(), &mut self.arguments);
                let at = self.buf.start();
                self.buf.used(used);
                answer::begin(connection, &call);
                // What cannot be written now is written after the callback.
                let _ = connection.flush();
                Step::Call(call, at)
            }
        }
    }

    /// Calls the program, and says what it answers.
    fn call(&mut self, engine: &Engine, handle: Handle, call: Call, at: usize) -> Result<(), Refused> {
        let ctx = handle.to_pointer();
        if let Call::Negotiate(offer) = call {
            let outcome = negotiate::ask(&engine.filter, ctx, offer);
            let agreed = SLOTS
                .with(handle, |connection| answer::negotiation(&engine.filter, connection, offer, outcome));
            return agreed.unwrap_or(Ok(()));
        }
        let (stage, name) = (call.stage(), call.name());
        let (buf, arguments) = (self.buf.from(at), &mut self.arguments);
        let status = metrics::measured(name, || call.run(&engine.filter, ctx, buf, arguments));
        if let Some(stage) = stage {
            let status = status.unwrap_or(status::CONTINUE);
            SLOTS.with(handle, |connection| answer::verdict(connection, stage, name, status));
        }
        Ok(())
    }

    /// Tells the program that a connection ends: an open message is aborted, and the connection closed.
    fn conclude(&mut self, engine: &Engine, handle: Handle) {
        loop {
            let event = SLOTS.with(handle, |connection| connection.session.end()).flatten();
            let Some(event) = event else { return };
            let call = Call::new(&event, &[], &mut self.arguments);
            // Its result is nobody's business.
            let (name, buf, arguments) = (call.name(), self.buf.from(0), &mut self.arguments);
            metrics::measured(name, || call.run(&engine.filter, handle.to_pointer(), buf, arguments));
        }
    }

    /// Ends a connection.
    fn finish(&mut self, engine: &Engine, handle: Handle) {
        // Once `smfi_main` has returned, nothing of the program may be there any more.
        if !engine.is_over() {
            self.conclude(engine, handle);
        }
        engine.drop_connection(handle);
    }

    /// Lets a connection wait; `false` if that is not possible.
    fn park(&mut self, engine: &Engine, handle: Handle, wait: Wait) -> bool {
        let parked = SLOTS.with(handle, |connection| {
            connection.park(self.buf.unused(), self.buf.has_moved_on());
            let interest = match wait {
                Wait::ToRead if !connection.writing => return Ok(()),
                Wait::ToRead | Wait::ForItsTurn => Interest::Read,
                Wait::ToWrite => Interest::Write,
            };
            connection.writing = interest == Interest::Write;
            engine.epoll.change(connection.fd(), handle.to_token(), interest)
        });
        parked.is_none_or(|changed| {
            changed
                .inspect_err(|error| log::error(format_args!("cannot wait for a connection: {error}")))
                .is_ok()
        })
    }
}

/// Logs and counts that a connection ends otherwise than by the MTA.
fn lost(handle: Handle, reason: Reason, why: std::fmt::Arguments<'_>) {
    let named = SLOTS.with(handle, |connection| (connection.number(), connection.name()));
    if let Some((number, name)) = named {
        log::error(format_args!("{name}: {why}; closed"));
        trace::note(number, why);
    }
    if let Some(metrics) = metrics::get() {
        metrics.lost(reason);
    }
}

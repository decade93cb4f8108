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
use crate::sys::{self, Interest};
use crate::{log, negotiate, process};

/// What a thread keeps from one connection to the next.
pub(super) struct Worker {
    buf: Buffer,
    arguments: Arguments,
}

/// After so many reads other connections have their turn.
const READS: usize = 64;

/// How to go on with a connection.
enum Next {
    /// Wait until there is something to read, or room to write.
    Wait(Interest),
    /// It is over.
    End,
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
    pub(super) fn turn(&mut self, engine: &Engine, handle: Handle) {
        if catch_unwind(AssertUnwindSafe(|| self.serve(engine, handle))).is_ok() {
            return;
        }
        log::error(format_args!("internal error: this connection ends, others go on"));
        self.buf = Buffer::new();
        if catch_unwind(AssertUnwindSafe(|| self.conclude(engine, handle))).is_err() {
            log::error(format_args!("internal error at the end of a connection"));
        }
        engine.drop_connection(handle);
    }

    fn serve(&mut self, engine: &Engine, handle: Handle) {
        let begun = SLOTS.with(handle, |connection| {
            connection.running = true;
            connection.session.set_limits(engine.limits());
            (connection.fd(), std::mem::take(&mut connection.rest), connection.ending)
        });
        let Some((fd, rest, ending)) = begun else { return };
        self.buf.begin(&rest);
        drop(rest);
        let next = match ending {
            None => self.read_and_answer(engine, handle, fd),
            Some(ending) => {
                if ending == Ending::TimedOut {
                    log::error(format_args!("nothing came from the MTA in time; connection closed"));
                }
                Next::End
            }
        };
        match next {
            Next::Wait(interest) => self.park(engine, handle, interest),
            Next::End => {
                self.conclude(engine, handle);
                engine.drop_connection(handle);
            }
        }
    }

    fn read_and_answer(&mut self, engine: &Engine, handle: Handle, fd: RawFd) -> Next {
        for _ in 0..READS {
            if let Some(next) = self.answer_all(engine, handle) {
                return next;
            }
            if process::stopping() == process::Stop::Now {
                return Next::End;
            }
            let room = self.buf.make_room();
            let wanted = room.len();
            match sys::receive(fd, room) {
                Ok(0) => return Next::End,
                Ok(count) => {
                    self.buf.received(count);
                    if count < wanted {
                        // The socket is empty, there is no need to ask.
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Next::End,
            }
        }
        self.answer_all(engine, handle).unwrap_or(Next::Wait(Interest::Read))
    }

    /// Handles every whole command there is; how to go on, if not by reading.
    fn answer_all(&mut self, engine: &Engine, handle: Handle) -> Option<Next> {
        loop {
            match SLOTS.with(handle, |connection| self.step(connection))? {
                Step::Call(call, at) => {
                    if let Err(refused) = self.call(engine, handle, call, at) {
                        log::error(format_args!("{refused}; connection closed"));
                        return Some(Next::End);
                    }
                }
                Step::Again => {}
                Step::Read => return None,
                Step::Write => return Some(Next::Wait(Interest::Write)),
                Step::Over => return Some(Next::End),
                Step::Wrong(error) => {
                    log::error(format_args!("{error}; connection closed"));
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
        match connection.session.next(self.buf.unused()) {
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
                log::debug(1, format_args!("[{:#x}] {}", connection.fd(), call.name()));
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
        let status = call.run(&engine.filter, ctx, self.buf.from(at), &mut self.arguments);
        if let Some(stage) = stage {
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
            call.run(&engine.filter, handle.to_pointer(), self.buf.from(0), &mut self.arguments);
        }
    }

    /// Lets a connection wait for its next command.
    fn park(&mut self, engine: &Engine, handle: Handle, interest: Interest) {
        let armed = SLOTS.with(handle, |connection| {
            connection.rest = self.buf.unused().to_vec();
            connection.active = sys::coarse_seconds();
            connection.running = false;
            // With the connection in hand, so that nobody can close it before.
            engine.epoll.arm(connection.fd(), handle.to_token(), interest)
        });
        if let Some(Err(error)) = armed {
            log::error(format_args!("cannot wait for a connection: {error}"));
            self.conclude(engine, handle);
            engine.drop_connection(handle);
        }
    }
}

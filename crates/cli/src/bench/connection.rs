//! One connection to the filter, from connecting to QUIT.

mod failure;
mod input;
mod talk;

use std::io::{self, IoSlice};
use std::ops::Range;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Buf;
use mio::Token;
use tamis::proto::{Command, MtaSession};

pub(super) use failure::Failure;
use input::Input;
pub(super) use input::Spare;

use super::check::Course;
use super::message::Plan;
use super::socket::Socket;
use super::world::World;

/// A connection, or the place of one.
#[derive(Debug)]
pub(super) struct Connection {
    token: Token,
    socket: Option<Socket>,
    session: MtaSession,
    plan: Option<Rc<Plan>>,
    state: State,
    /// The next step of the script.
    at: usize,
    /// Bytes of the script that wait to be written.
    unsent: Range<u64>,
    /// The reactor tells when something can be written.
    wants_to_write: bool,
    input: Input,
    /// When the message began, or should have.
    begun: Instant,
    /// When the state began, or something of what waits was written.
    moved: Instant,
    /// Messages that it has carried.
    carried: u64,
    /// Recipients of this message that were refused.
    refused: usize,
    course: Course,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed,
    /// The listener's queue is full.
    Queueing,
    Connecting,
    Negotiating,
    /// Connect and helo.
    Opening,
    /// Between messages.
    Ready,
    /// In a message.
    Busy,
    /// All is said, and the filter has to close.
    Leaving,
}

/// How it went.
#[derive(Debug)]
pub(super) enum Went {
    /// It waits for the filter.
    Waiting,
    /// It may carry messages now.
    Opened,
    /// A message has its final verdict.
    Finished,
    /// The listener's queue is full; try again soon.
    Full,
    /// It was ended as it should be.
    Left,
    Failed(Failure),
}

/// How long a filter may not read, as for Sendmail, and how long it may take to connect, as for Postfix.
const WRITE_TIME: Duration = Duration::from_secs(10);
const CONNECT_TIME: Duration = Duration::from_secs(30);

impl Connection {
    pub(super) fn new(token: Token, world: &World) -> Self {
        Self {
            token,
            socket: None,
            session: MtaSession::new(world.config),
            plan: None,
            state: State::Closed,
            at: 0,
            unsent: 0..0,
            wants_to_write: false,
            input: Input::default(),
            begun: world.now,
            moved: world.now,
            carried: 0,
            refused: 0,
            course: Course::default(),
        }
    }

    /// Begins to connect, if it is not connected.
    pub(super) fn connect(&mut self, world: &World) -> Went {
        if self.socket.is_some() {
            return Went::Waiting;
        }
        let mut socket = match Socket::connect(&world.target) {
            Ok(socket) => socket,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if self.state != State::Queueing {
                    (self.state, self.moved) = (State::Queueing, world.now);
                }
                return Went::Full;
            }
            Err(error) => return Went::Failed(Failure::connect(&error)),
        };
        if let Err(error) = socket.register(&world.registry, self.token, true, false) {
            return Went::Failed(Failure::connect(&error));
        }
        *self = Self::new(self.token, world);
        self.socket = Some(socket);
        self.state = State::Connecting;
        self.wants_to_write = true;
        Went::Waiting
    }

    /// Sends a message, as far as the filter lets it go without an answer. Its time begins at `begun`.
    pub(super) fn begin(&mut self, begun: Instant, world: &mut World) -> Went {
        debug_assert_eq!(self.state, State::Ready, "messages go over connections that are ready");
        self.state = State::Busy;
        self.begun = begun;
        self.refused = 0;
        self.course = Course::new(world.stint.started());
        // The abort that comes first belongs to the message before.
        self.at = usize::from(self.carried == 0);
        self.go_on(world).unwrap_or_else(Went::Failed)
    }

    /// Does what the socket is ready for.
    pub(super) fn handle(&mut self, readable: bool, writable: bool, world: &mut World) -> Went {
        if self.socket.is_none() {
            return Went::Waiting;
        }
        let mut went = Ok(Went::Waiting);
        if writable && self.wants_to_write {
            went = match self.state {
                State::Connecting => self.negotiate(world),
                _ => self.go_on(world),
            };
        }
        // The reactor tells of this only once.
        if readable && matches!(went, Ok(Went::Waiting | Went::Opened)) && self.state != State::Connecting {
            match self.receive(world) {
                Ok(Went::Waiting) => {}
                more => went = more,
            }
        }
        went.unwrap_or_else(Went::Failed)
    }

    /// Whether the filter has let too much time pass.
    pub(super) fn check_time(&mut self, world: &World) -> Option<Failure> {
        let since = world.now.saturating_duration_since(self.moved);
        match self.state {
            State::Closed => None,
            State::Queueing | State::Connecting => {
                let late = since > world.timeout.unwrap_or(CONNECT_TIME);
                late.then(|| Failure::connect(&io::ErrorKind::TimedOut.into()))
            }
            State::Leaving => {
                let allowed = world.timeout.unwrap_or(WRITE_TIME);
                (since > allowed).then(|| Failure::stays(allowed))
            }
            _ if !self.unsent.is_empty() => {
                let allowed = world.timeout.unwrap_or(WRITE_TIME);
                (since > allowed).then(|| Failure::stuck(allowed))
            }
            _ => self.session.check_time(world.now).err().map(Failure::from),
        }
    }

    /// Says goodbye, as far as there is room for it. Where everything is checked, the filter has to close then.
    pub(super) fn leave(&mut self, world: &mut World) -> Went {
        let talks = matches!(self.state, State::Ready | State::Opening) && self.unsent.is_empty();
        if talks && self.session.waits_for().is_none() {
            let _ = self.session.send(&Command::<&[u8]>::Abort, None, world.now);
            let _ = self.session.send(&Command::<&[u8]>::Quit, None, world.now);
            let said = self.write_output().is_ok();
            if said && world.check.is_some() {
                (self.state, self.moved) = (State::Leaving, world.now);
                return Went::Waiting;
            }
        }
        self.close(world);
        Went::Left
    }

    pub(super) fn close(&mut self, world: &mut World) {
        self.socket = None;
        self.state = State::Closed;
        self.unsent = 0..0;
        self.input.give_back(&mut world.spare);
    }

    /// Whether it may carry another message.
    pub(super) fn goes_on(&self, per_connection: u64) -> bool {
        !self.session.sits_out() && (per_connection == 0 || self.carried < per_connection)
    }

    pub(super) fn is_busy(&self) -> bool {
        self.state == State::Busy
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    fn negotiate(&mut self, world: &mut World) -> Result<Went, Failure> {
        let socket = self.socket.as_mut().expect("a connection that handles events has a socket");
        if !socket.is_connected().map_err(|error| Failure::connect(&error))? {
            return Ok(Went::Waiting);
        }
        self.want_to_write(false, world)?;
        self.state = State::Negotiating;
        self.session.negotiate(world.now)?;
        self.write_output()?;
        Ok(Went::Waiting)
    }

    /// Writes what the session itself has to say, which is little.
    fn write_output(&mut self) -> io::Result<()> {
        let Some(socket) = &mut self.socket else { return Ok(()) };
        let output = self.session.output();
        while output.has_remaining() {
            let written = socket.write(&[IoSlice::new(output.chunk())])?;
            output.advance(written);
        }
        Ok(())
    }

    fn want_to_write(&mut self, wants: bool, world: &World) -> io::Result<()> {
        if self.wants_to_write != wants
            && let Some(socket) = &mut self.socket
        {
            socket.register(&world.registry, self.token, wants, true)?;
            self.wants_to_write = wants;
        }
        Ok(())
    }
}

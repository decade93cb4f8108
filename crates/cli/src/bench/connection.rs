//! One connection to the filter: what is said next, and what came back.

mod failure;
mod input;

use std::io::{self, IoSlice};
use std::ops::Range;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Buf;
use mio::Token;
use tamis::proto::{Command, MtaEvent, MtaSession, Script};
use tamis::{Stage, Verdict};

pub(super) use failure::Failure;
use input::Input;
pub(super) use input::Spare;

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
    /// When the connection was begun, or something of what waits was written.
    moved: Instant,
    /// Messages that it has carried.
    carried: u64,
    refused: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed,
    Connecting,
    Negotiating,
    /// Connect and helo.
    Opening,
    /// Between messages.
    Ready,
    /// In a message.
    Busy,
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
    Failed(Failure),
}

/// Slices in one write.
const SLICES: usize = 64;
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
        }
    }

    /// Begins to connect.
    pub(super) fn connect(&mut self, world: &mut World) -> Went {
        let mut socket = match Socket::connect(&world.target) {
            Ok(socket) => socket,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Went::Full,
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
        if readable && matches!(went, Ok(Went::Waiting)) && self.state != State::Connecting {
            went = self.receive(world);
        }
        went.unwrap_or_else(Went::Failed)
    }

    /// Whether the filter has let too much time pass.
    pub(super) fn check_time(&mut self, world: &World) -> Option<Failure> {
        let late = |allowed: Duration| world.now.saturating_duration_since(self.moved) > allowed;
        match self.state {
            State::Closed => None,
            State::Connecting => {
                let allowed = world.timeout.unwrap_or(CONNECT_TIME);
                late(allowed).then(|| Failure::connect(&io::ErrorKind::TimedOut.into()))
            }
            _ if !self.unsent.is_empty() => {
                let allowed = world.timeout.unwrap_or(WRITE_TIME);
                late(allowed).then(|| Failure::stuck(allowed))
            }
            _ => self.session.check_time(world.now).err().map(Failure::from),
        }
    }

    /// Says goodbye, as far as there is room for it.
    pub(super) fn leave(&mut self, world: &mut World) {
        if matches!(self.state, State::Ready | State::Opening) && self.unsent.is_empty() {
            let _ = self.session.send(&Command::<&[u8]>::Abort, None, world.now);
            let _ = self.session.send(&Command::<&[u8]>::Quit, None, world.now);
            let _ = self.write_output();
        }
        self.close(world);
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

    fn negotiate(&mut self, world: &mut World) -> Result<Went, Failure> {
        let socket = self.socket.as_mut().expect("a connection that handles events has a socket");
        if !socket.is_connected().map_err(|error| Failure::connect(&error))? {
            return Ok(Went::Waiting);
        }
        world.tally.connections += 1;
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

    /// Goes on with the script until it is the filter's turn, or the end.
    fn go_on(&mut self, world: &mut World) -> Result<Went, Failure> {
        let plan = self.plan.clone().expect("only those who negotiated have a script");
        let script = if self.state == State::Opening { &plan.opening } else { &plan.message };
        loop {
            if !self.write(script, world)? || self.session.waits_for().is_some() {
                return Ok(Went::Waiting);
            }
            if self.at == script.len() {
                return Ok(self.opened());
            }
            let (_, range) = self.session.play(script, &mut self.at, world.now)?;
            self.unsent = range;
        }
    }

    fn opened(&mut self) -> Went {
        debug_assert_eq!(self.state, State::Opening, "a message ends with an answer");
        self.state = State::Ready;
        Went::Opened
    }

    /// Writes what waits; false if it does not fit yet.
    fn write(&mut self, script: &Script, world: &mut World) -> Result<bool, Failure> {
        let Some(socket) = &mut self.socket else { return Ok(false) };
        while !self.unsent.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let count = script.slices(&self.unsent, &mut slices);
            match socket.write(&slices[..count]) {
                Ok(written) => {
                    self.unsent.start += written as u64;
                    self.moved = world.now;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.want_to_write(true, world)?;
                    return Ok(false);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        if self.wants_to_write {
            self.want_to_write(false, world)?;
            self.session.written(world.now);
        }
        Ok(true)
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

    /// Reads what the filter says. One read is enough unless it fills the buffer: the reactor tells of more.
    fn receive(&mut self, world: &mut World) -> Result<Went, Failure> {
        loop {
            let Some(socket) = &mut self.socket else { return Ok(Went::Waiting) };
            let limit = self.session.payload_limit();
            let room = self.input.room(limit, &mut world.spare);
            let size = room.len();
            let read = match socket.read(room) {
                Ok(0) => {
                    self.session.eof(self.input.bytes())?;
                    return Err(Failure::closed());
                }
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            self.input.filled(read);
            match self.understand(world)? {
                Went::Waiting if read == size => {}
                went => {
                    self.input.give_back_if_empty(&mut world.spare);
                    return Ok(went);
                }
            }
        }
        self.input.give_back_if_empty(&mut world.spare);
        Ok(Went::Waiting)
    }

    /// Takes what was read as replies. Whatever follows a verdict was not asked for, which is an error.
    fn understand(&mut self, world: &mut World) -> Result<Went, Failure> {
        let mut said = None;
        let mut agreed = None;
        loop {
            let (used, event) = self.session.next(self.input.bytes(), world.now)?;
            match event {
                None => break,
                Some(MtaEvent::Negotiated { agreement, .. }) => agreed = Some(agreement),
                Some(MtaEvent::Edit(edit)) => world.tally.edit(edit.name()),
                Some(MtaEvent::RefusedEdit(edit, why)) => {
                    world.tally.error("refused-edit", || format!("{}: {why}", edit.name()));
                }
                Some(MtaEvent::Progress) => {}
                Some(MtaEvent::Verdict { stage, verdict, mended }) => {
                    if mended {
                        world.tally.error("bad-reply", || format!("reply at {stage} is not an SMTP reply"));
                    }
                    said = Some((stage, verdict));
                }
            }
            self.input.consume(used);
        }
        if let Some(agreement) = agreed {
            self.plan = Some(world.plan(&self.session, agreement)?);
            self.state = State::Opening;
            return self.go_on(world);
        }
        match said {
            Some((stage, verdict)) => self.judge(stage, verdict, world),
            None => Ok(Went::Waiting),
        }
    }

    fn judge(&mut self, stage: Stage, verdict: Verdict, world: &mut World) -> Result<Went, Failure> {
        if self.state == State::Opening {
            return match self.session.sits_out() {
                true => Err(Failure::sits_out(stage, &verdict)),
                false => self.go_on(world),
            };
        }
        let over = match (&verdict, stage) {
            (_, Stage::EndOfMessage) => true,
            (Verdict::Continue | Verdict::Skip, _) => false,
            (Verdict::Reject | Verdict::Tempfail | Verdict::Reply(_), Stage::Rcpt)
                if !self.session.sits_out() =>
            {
                self.refused += 1;
                world.tally.refused_recipients += 1;
                self.refused == world.shape.recipients
            }
            _ => true,
        };
        if !over {
            return self.go_on(world);
        }
        self.state = State::Ready;
        self.carried += 1;
        let now = Instant::now();
        world.tally.message(&verdict, now.saturating_duration_since(self.begun));
        world.stint.finish(now);
        Ok(Went::Finished)
    }
}

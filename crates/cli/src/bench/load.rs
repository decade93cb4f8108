//! The engine: one thread that serves all connections as the system says they are ready.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use mio::{Events, Poll, Token};

use super::connection::{Connection, Failure, Went};
use super::stint::Stint;
use super::world::World;

/// Connections, and what they do next.
pub(super) struct Load {
    poll: Poll,
    events: Events,
    crew: Crew,
}

/// The connections and what happens to them.
struct Crew {
    world: World,
    connections: Vec<Connection>,
    /// How many of them carry messages; the others are held idle.
    carriers: usize,
    per_connection: u64,
    /// Those that wait for a message.
    ready: VecDeque<usize>,
    /// Those that are to be connected, and when.
    retries: Vec<(Instant, usize)>,
    /// Idle connections that are open.
    held: usize,
    /// All connections were open once: from now on failures are counted.
    started: bool,
    failures_in_row: u32,
    fatal: Option<String>,
}

/// How often time limits are looked at.
const TICK: Duration = Duration::from_millis(100);
/// Until a listener whose queue was full is asked again.
const FULL: Duration = Duration::from_millis(1);
/// Until a connection that failed is made again, times the failures in a row.
const BACK_OFF: Duration = Duration::from_millis(10);
/// So many failures without a message between them are the end.
const HOPELESS: u32 = 100;

impl Load {
    pub(super) fn new(poll: Poll, world: World, carriers: usize, per_connection: u64) -> Self {
        let crew = Crew {
            world,
            connections: Vec::new(),
            carriers,
            per_connection,
            ready: VecDeque::new(),
            retries: Vec::new(),
            held: 0,
            started: false,
            failures_in_row: 0,
            fatal: None,
        };
        Self { poll, events: Events::with_capacity(1024), crew }
    }

    pub(super) fn world(&mut self) -> &mut World {
        &mut self.crew.world
    }

    /// Opens the connections that carry messages.
    pub(super) fn open(&mut self) -> Result<()> {
        self.crew.add(self.crew.carriers);
        self.work(|crew| crew.ready.len() == crew.carriers)?;
        self.crew.started = true;
        Ok(())
    }

    /// Opens more connections and holds them.
    pub(super) fn hold(&mut self, count: usize) -> Result<()> {
        self.crew.started = false;
        self.crew.add(count);
        self.work(|crew| crew.held == count)?;
        self.crew.started = true;
        Ok(())
    }

    /// Sends messages until all have their verdict.
    pub(super) fn send(&mut self, stint: Stint) -> Result<()> {
        self.crew.world.stint = stint;
        self.work(|crew| crew.world.stint.is_over(crew.world.now))
    }

    /// Ends all connections as an MTA does.
    pub(super) fn leave(&mut self) {
        for connection in &mut self.crew.connections {
            connection.leave(&mut self.crew.world);
        }
    }

    fn work(&mut self, done: impl Fn(&Crew) -> bool) -> Result<()> {
        let Self { poll, events, crew } = self;
        let mut ticked = Instant::now();
        loop {
            crew.dispatch();
            if let Some(fatal) = crew.fatal.take() {
                return Err(anyhow!(fatal));
            }
            if done(crew) {
                return Ok(());
            }
            match poll.poll(events, Some(crew.patience())) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error.into()),
                _ => {}
            }
            crew.world.now = Instant::now();
            for event in events.iter() {
                let at = event.token().0;
                if let Some(connection) = crew.connections.get_mut(at) {
                    let (readable, writable) = (
                        event.is_readable() || event.is_read_closed() || event.is_error(),
                        event.is_writable(),
                    );
                    let went = connection.handle(readable, writable, &mut crew.world);
                    crew.after(at, went);
                }
            }
            if crew.world.now >= ticked + TICK {
                ticked = crew.world.now;
                crew.check_times();
            }
        }
    }
}

impl Crew {
    fn add(&mut self, count: usize) {
        let first = self.connections.len();
        for at in first..first + count {
            self.connections.push(Connection::new(Token(at), &self.world));
            self.retries.push((self.world.now, at));
        }
    }

    /// Begins what is due: connections and messages.
    fn dispatch(&mut self) {
        if !self.retries.is_empty() {
            self.connect();
        }
        while let Some(at) = self.ready.front().copied() {
            let Some(begun) = self.world.stint.take() else { break };
            self.ready.pop_front();
            let went = self.connections[at].begin(begun, &mut self.world);
            self.after(at, went);
        }
    }

    fn connect(&mut self) {
        let now = self.world.now;
        let due = self.retries.extract_if(.., |(when, _)| *when <= now).collect::<Vec<_>>();
        for (_, at) in due {
            let went = self.connections[at].connect(&mut self.world);
            self.after(at, went);
        }
    }

    /// How long nothing has to be done unless the filter speaks.
    fn patience(&self) -> Duration {
        let retry = self.retries.iter().map(|(when, _)| *when).min();
        let due = self.world.stint.next_due().filter(|_| !self.ready.is_empty());
        let next = [retry, due].into_iter().flatten().min();
        next.map_or(TICK, |next| next.saturating_duration_since(Instant::now()).min(TICK))
    }

    fn after(&mut self, at: usize, went: Went) {
        match went {
            Went::Waiting => {}
            Went::Opened if at >= self.carriers => self.held += 1,
            Went::Opened => self.next(at),
            Went::Finished => {
                self.failures_in_row = 0;
                if self.connections[at].goes_on(self.per_connection) {
                    self.next(at);
                } else {
                    self.connections[at].leave(&mut self.world);
                    self.retries.push((self.world.now, at));
                }
            }
            Went::Full => self.retries.push((self.world.now + FULL, at)),
            Went::Failed(failure) => self.failed(at, failure),
        }
    }

    /// Has a connection carry the next message, or wait for it.
    fn next(&mut self, at: usize) {
        match self.world.stint.take() {
            Some(begun) => {
                let went = self.connections[at].begin(begun, &mut self.world);
                self.after(at, went);
            }
            None => self.ready.push_back(at),
        }
    }

    fn failed(&mut self, at: usize, failure: Failure) {
        let connection = &mut self.connections[at];
        if !self.started {
            let all = if at < self.carriers { self.carriers } else { self.connections.len() };
            self.fatal.get_or_insert(format!("connection {} of {all}: {}", at + 1, failure.full));
            return;
        }
        if connection.is_busy() {
            self.world.stint.fail(Instant::now());
        }
        connection.close(&mut self.world);
        self.ready.retain(|ready| *ready != at);
        self.world.tally.error(&failure.kind, || failure.full);
        self.failures_in_row += 1;
        if self.failures_in_row >= HOPELESS.max(u32::try_from(self.carriers).unwrap_or(u32::MAX)) {
            self.world.stint.stop();
            return;
        }
        if at < self.carriers {
            self.retries.push((self.world.now + BACK_OFF * self.failures_in_row.min(HOPELESS), at));
        }
    }

    fn check_times(&mut self) {
        for at in 0..self.connections.len() {
            if let Some(failure) = self.connections[at].check_time(&self.world) {
                self.failed(at, failure);
            }
        }
    }
}

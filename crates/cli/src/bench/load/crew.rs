//! All connections, and what each does next.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use mio::Token;
use mio::event::Event;

use crate::bench::connection::{Connection, Failure, Went};
use crate::bench::stint::Stint;
use crate::bench::world::World;

/// The connections: those that carry messages first, then those that are held idle.
pub(super) struct Crew {
    pub(super) world: World,
    connections: Vec<Connection>,
    carriers: usize,
    per_connection: u64,
    phase: Phase,
    /// Those that wait for a message.
    ready: VecDeque<usize>,
    /// Those that are to be connected, and when.
    retries: Vec<(Instant, usize)>,
    /// The first of those that are being opened; all before it were open once.
    newest: usize,
    /// How many of those are open.
    opened: usize,
    failures_in_row: u32,
    fatal: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The failure of a new connection is the end.
    Opening,
    /// Failures are counted.
    Sending,
    Leaving,
    /// Too many failures.
    GivenUp,
}

/// Until a listener whose queue was full is asked again.
const FULL: Duration = Duration::from_millis(1);
/// Until a connection that failed is made again, times the failures in a row, and the most of it.
const BACK_OFF: Duration = Duration::from_millis(5);
const LONGEST_BACK_OFF: Duration = Duration::from_millis(50);
/// So many failures of each connection without a message between them are the end.
const HOPELESS: u32 = 20;

impl Crew {
    pub(super) fn new(world: World, carriers: usize, per_connection: u64) -> Self {
        Self {
            world,
            connections: Vec::new(),
            carriers,
            per_connection,
            phase: Phase::Opening,
            ready: VecDeque::new(),
            retries: Vec::new(),
            newest: 0,
            opened: 0,
            failures_in_row: 0,
            fatal: None,
        }
    }

    /// Begins with the connections that carry messages.
    pub(super) fn open(&mut self) {
        self.add(self.carriers);
    }

    /// Begins with connections that are held idle.
    pub(super) fn hold(&mut self, count: usize) {
        self.phase = Phase::Opening;
        self.add(count);
    }

    fn add(&mut self, count: usize) {
        (self.newest, self.opened) = (self.connections.len(), 0);
        for at in self.newest..self.newest + count {
            self.connections.push(Connection::new(Token(at), &self.world));
            self.retries.push((self.world.now, at));
        }
    }

    pub(super) fn has_opened(&self) -> bool {
        self.newest + self.opened == self.connections.len()
    }

    /// Begins with messages.
    pub(super) fn begin(&mut self, stint: Stint) {
        self.phase = Phase::Sending;
        self.world.stint = stint;
        for at in 0..self.carriers {
            if self.connections[at].is_closed() && self.retries.iter().all(|(_, waiting)| *waiting != at) {
                self.retries.push((self.world.now, at));
            }
        }
    }

    pub(super) fn is_sending(&self) -> bool {
        matches!(self.phase, Phase::Sending | Phase::GivenUp)
    }

    pub(super) fn has_given_up(&self) -> bool {
        self.phase == Phase::GivenUp
    }

    /// Has all connections end.
    pub(super) fn leave(&mut self) {
        self.phase = Phase::Leaving;
        self.world.stint = Stint::none();
        self.ready.clear();
        self.retries.clear();
        for connection in &mut self.connections {
            connection.leave(&mut self.world);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.connections.iter().all(Connection::is_closed)
    }

    /// What ends everything.
    pub(super) fn take_fatal(&mut self) -> Option<String> {
        self.fatal.take()
    }

    /// Begins what is due, connections and messages, and tells when the next will be.
    pub(super) fn dispatch(&mut self) -> Option<Instant> {
        if !self.retries.is_empty() {
            self.connect();
        }
        while let Some(at) = self.ready.front().copied() {
            let Some(begun) = self.world.stint.take() else { break };
            self.ready.pop_front();
            let went = self.connections[at].begin(begun, &mut self.world);
            self.after(at, went);
        }
        let retry = self.retries.iter().map(|(when, _)| *when).min();
        let message = self.world.stint.next_due().filter(|_| !self.ready.is_empty());
        retry.into_iter().chain(message).min()
    }

    fn connect(&mut self) {
        let now = self.world.now;
        let due: Vec<_> = self.retries.extract_if(.., |(when, _)| *when <= now).collect();
        for (_, at) in due {
            let went = self.connections[at].connect(&self.world);
            self.after(at, went);
        }
    }

    /// Does what a socket is ready for.
    pub(super) fn handle(&mut self, event: &Event) {
        let at = event.token().0;
        // The others are there to wake up.
        let Some(connection) = self.connections.get_mut(at) else { return };
        let readable = event.is_readable() || event.is_read_closed() || event.is_error();
        let went = connection.handle(readable, event.is_writable(), &mut self.world);
        self.after(at, went);
    }

    fn after(&mut self, at: usize, went: Went) {
        match went {
            Went::Waiting => {}
            Went::Opened => {
                if self.phase == Phase::Opening && at >= self.newest {
                    self.opened += 1;
                }
                if at < self.carriers {
                    self.world.tally.connections += 1;
                    self.next(at);
                }
            }
            Went::Finished => {
                self.failures_in_row = 0;
                if self.connections[at].goes_on(self.per_connection) {
                    self.next(at);
                } else {
                    let went = self.connections[at].leave(&mut self.world);
                    self.after(at, went);
                }
            }
            Went::Left => self.reconnect(at, Duration::ZERO),
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

    fn reconnect(&mut self, at: usize, after: Duration) {
        if at < self.carriers && self.world.stint.goes_on(self.world.now) {
            self.retries.push((self.world.now + after, at));
        }
    }

    fn failed(&mut self, at: usize, failure: Failure) {
        if self.phase == Phase::Opening && at >= self.newest {
            let (number, all) = match at.checked_sub(self.carriers) {
                None => (at + 1, self.carriers),
                Some(idle) => (idle + 1, self.connections.len() - self.carriers),
            };
            let which = if at < self.carriers { "connection" } else { "idle connection" };
            self.fatal.get_or_insert(format!("{which} {number} of {all}: {}", failure.full));
            return;
        }
        let connection = &mut self.connections[at];
        if connection.is_busy() {
            self.world.stint.fail(Instant::now());
        }
        connection.close(&mut self.world);
        self.ready.retain(|ready| *ready != at);
        self.world.tally.error(&failure.kind, || failure.full);
        self.failures_in_row += 1;
        let hopeless = u32::try_from(self.carriers).unwrap_or(u32::MAX).saturating_mul(HOPELESS);
        if self.phase == Phase::Sending && self.failures_in_row >= hopeless {
            self.phase = Phase::GivenUp;
            self.world.stint.stop();
        }
        self.reconnect(at, (BACK_OFF * self.failures_in_row.min(1_000)).min(LONGEST_BACK_OFF));
    }

    pub(super) fn check_times(&mut self) {
        for at in 0..self.connections.len() {
            if let Some(failure) = self.connections[at].check_time(&self.world) {
                self.failed(at, failure);
            }
        }
    }

    /// Which share of what it does is done.
    pub(super) fn progress(&self) -> f64 {
        match self.phase {
            Phase::Opening => self.opened as f64 / (self.connections.len() - self.newest).max(1) as f64,
            _ => self.world.stint.progress(self.world.now),
        }
    }

    /// How it goes, for people who wait.
    pub(super) fn status(&self) -> String {
        if self.phase == Phase::Opening {
            return format!("{} of {} connections", self.opened, self.connections.len() - self.newest);
        }
        let speed = format!("{:.0} messages/s", self.world.stint.speed(self.world.now));
        match self.world.tally.error_count() {
            0 => speed,
            errors => format!("{speed}, {errors} errors"),
        }
    }
}

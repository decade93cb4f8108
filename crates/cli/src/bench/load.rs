//! The engine: one thread that serves all connections as the system says they are ready.

mod crew;

use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use mio::{Events, Poll, Token};

use super::interrupt::Interrupt;
use super::pacer::Pacer;
use super::progress::Progress;
use super::stint::Stint;
use super::world::World;
use crew::Crew;

/// Connections, and what wakes them up.
pub(super) struct Load {
    poll: Poll,
    events: Events,
    interrupt: Interrupt,
    pacer: Pacer,
    progress: Progress,
    crew: Crew,
}

/// Somebody has had enough before there was anything to report.
#[derive(Debug)]
pub(super) struct Interrupted;

/// What is no connection; those count from 0.
const INTERRUPT: Token = Token(usize::MAX - 1);
const PACER: Token = Token(usize::MAX - 2);

/// How often time limits and progress are looked at.
const TICK: Duration = Duration::from_millis(100);
/// How long messages that have begun may take to end when the user has had enough.
const GRACE: Duration = Duration::from_secs(2);
/// How long filters may take to close connections in the end, where everything is checked.
const GOODBYE: Duration = Duration::from_secs(10);

impl Load {
    pub(super) fn new(
        poll: Poll,
        world: World,
        carriers: usize,
        per_connection: u64,
        progress: Progress,
    ) -> Result<Self> {
        let interrupt = Interrupt::listen(poll.registry(), INTERRUPT)?;
        let pacer = Pacer::new(poll.registry(), PACER)?;
        let crew = Crew::new(world, carriers, per_connection);
        Ok(Self { poll, events: Events::with_capacity(1024), interrupt, pacer, progress, crew })
    }

    pub(super) fn world(&mut self) -> &mut World {
        &mut self.crew.world
    }

    /// Opens the connections that carry messages.
    pub(super) fn open(&mut self) -> Result<()> {
        self.progress.phase("connecting");
        self.crew.open();
        self.work(Crew::has_opened)
    }

    /// Opens more connections and holds them.
    pub(super) fn hold(&mut self, count: usize) -> Result<()> {
        self.progress.phase("idle");
        self.crew.hold(count);
        self.work(Crew::has_opened)
    }

    /// Sends messages until all have their verdict, or somebody has had enough.
    pub(super) fn send(&mut self, stint: Stint, name: &'static str) -> Result<()> {
        self.progress.phase(name);
        self.crew.begin(stint);
        self.work(|crew| crew.world.stint.is_over(crew.world.now))
    }

    /// Ends all connections as an MTA does.
    pub(super) fn leave(&mut self) -> Result<()> {
        self.progress.clear();
        self.crew.leave();
        let end = Instant::now() + GOODBYE;
        self.work(|crew| crew.is_empty() || crew.world.now >= end)
    }

    /// Whether there is no point in going on.
    pub(super) fn has_given_up(&self) -> bool {
        self.crew.has_given_up()
    }

    pub(super) fn is_interrupted(&self) -> bool {
        self.interrupt.is_raised()
    }

    fn work(&mut self, done: impl Fn(&Crew) -> bool) -> Result<()> {
        let Self { poll, events, interrupt, pacer, progress, crew } = self;
        let mut ticked = Instant::now();
        let mut stopped = None;
        loop {
            let due = crew.dispatch();
            crew.take_fatal().map_or(Ok(()), |fatal| Err(anyhow!(fatal)))?;
            if done(crew) {
                return Ok(());
            }
            if interrupt.is_raised() {
                if !crew.is_sending() {
                    return Err(Interrupted.into());
                }
                crew.world.stint.stop();
                let end = *stopped.get_or_insert(crew.world.now + GRACE);
                if crew.world.now >= end {
                    return Ok(());
                }
            }
            if let Some(due) = due {
                pacer.wake_at(due)?;
            }
            let patience = due.map_or(TICK, |due| due.saturating_duration_since(Instant::now()).min(TICK));
            match poll.poll(events, Some(patience)) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error.into()),
                _ => {}
            }
            crew.world.now = Instant::now();
            for event in events.iter() {
                crew.handle(event);
            }
            if crew.world.now >= ticked + TICK {
                ticked = crew.world.now;
                crew.check_times();
                progress.show(crew.progress(), || crew.status());
            }
        }
    }
}

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("interrupted before anything was measured")
    }
}

impl std::error::Error for Interrupted {}

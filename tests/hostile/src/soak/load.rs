//! The load: honest connections, killed ones, silent ones.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::client::Raw;
use crate::honest::{Message, Session};
use crate::random::Random;
use crate::state::{State, command};
use crate::target::Target;
use crate::wire::{ALL_STEPS, NO_STEPS};

/// What was done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Honest messages, every answer of which was right.
    pub messages: u64,
    /// Connections they came on.
    pub sessions: u64,
    /// Connections that were killed.
    pub killed: u64,
    /// Connections that said nothing.
    pub silent: u64,
}

/// The load on a server, until it is told to stop.
#[derive(Debug)]
pub(super) struct Load<'t> {
    target: &'t Target,
    pub(super) stop: AtomicBool,
    messages: AtomicU64,
    sessions: AtomicU64,
    killed: AtomicU64,
    silent: AtomicU64,
}

impl<'t> Load<'t> {
    pub(super) fn new(target: &'t Target) -> Self {
        let [messages, sessions, killed, silent] = [const { AtomicU64::new(0) }; 4];
        Self { target, stop: AtomicBool::new(false), messages, sessions, killed, silent }
    }

    pub(super) fn counts(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            messages: read(&self.messages),
            sessions: read(&self.sessions),
            killed: read(&self.killed),
            silent: read(&self.silent),
        }
    }

    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Does something until the load is over, and ends all of it when it fails.
    fn repeat(&self, what: &str, mut one: impl FnMut() -> Result<()>) -> Result<()> {
        while !self.is_over() {
            if let Err(error) = one() {
                self.stop.store(true, Ordering::Relaxed);
                return Err(error.context(what.to_owned()));
            }
        }
        Ok(())
    }

    /// Messages that have to be judged, some on each connection.
    pub(super) fn honest(&self, number: usize) -> Result<()> {
        let mut random = Random::new(number as u64);
        self.repeat("an honest connection", || {
            let mut session = Session::begin(self.target, *random.pick(&[NO_STEPS, ALL_STEPS]))?;
            self.sessions.fetch_add(1, Ordering::Relaxed);
            for _ in 0..=random.below(50) {
                session.judge(&message(&mut random))?;
                self.messages.fetch_add(1, Ordering::Relaxed);
                if self.is_over() {
                    break;
                }
            }
            session.end()
        })
    }

    /// Connections that end somewhere: reset, closed, half closed, with or without reading what was said.
    pub(super) fn kill(&self, number: usize) -> Result<()> {
        let mut random = Random::new(!(number as u64));
        self.repeat("a connection to be killed", || {
            self.kill_one(&mut random)?;
            self.killed.fetch_add(1, Ordering::Relaxed);
            // The honest ones are to have most of the machine.
            sleep(Duration::from_millis(2));
            Ok(())
        })
    }

    fn kill_one(&self, random: &mut Random) -> Result<()> {
        let mut raw = Raw::connect(self.target)?;
        State::Greeted.lead(&mut raw)?;
        // Both the bytes of a message and what they are answered may be cut anywhere.
        let mut bytes = message(random).whole(NO_STEPS).bytes;
        bytes.extend(command(b'A'));
        bytes.truncate(random.below(bytes.len() + 1));
        raw.throw(&bytes);
        match random.below(4) {
            0 => raw.reset(),
            1 => {
                drop(raw);
                Ok(())
            }
            2 => {
                // Dies while it is being answered.
                sleep(Duration::from_millis(random.below(3) as u64));
                raw.reset()
            }
            _ => {
                raw.half_close();
                raw.drain().map(drop).context("a half-closed connection does not end well")
            }
        }
    }

    /// Connections that say nothing, the oldest of which gives way to a new one all the time.
    pub(super) fn silence(&self, count: usize) -> Result<()> {
        let mut open = VecDeque::new();
        self.repeat("a silent connection", || {
            open.push_back(Raw::connect(self.target)?);
            self.silent.fetch_add(1, Ordering::Relaxed);
            if open.len() > count
                && let Some(oldest) = open.pop_front()
            {
                oldest.reset()?;
                sleep(Duration::from_millis(20));
            }
            Ok(())
        })
    }
}

/// Mostly small, now and then large.
fn message(random: &mut Random) -> Message {
    let body = match random.below(200) {
        0 => 1 << 20,
        1..20 => 64 << 10,
        _ => 4 << 10,
    };
    Message::new(1 + random.below(5), random.below(20), b"0123456789abcd\r\n".repeat(random.below(body / 16)))
}

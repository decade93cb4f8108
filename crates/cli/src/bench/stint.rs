//! A run of messages: how many, for how long, how fast.

use std::time::{Duration, Instant};

/// How many messages are sent, and when each may begin.
#[derive(Clone, Debug)]
pub(super) struct Stint {
    messages: u64,
    until: Option<Instant>,
    /// Time from one message to the next, where the rate is fixed.
    interval: Option<Duration>,
    begun: Instant,
    started: u64,
    finished: u64,
    failed: u64,
    /// When the last reply came.
    ended: Instant,
}

impl Stint {
    /// No messages at all.
    pub(super) fn none() -> Self {
        Self::new(0, None, None)
    }

    /// Begins now. `time` is for beginning messages: those on the way are finished.
    pub(super) fn new(messages: u64, time: Option<Duration>, rate: Option<f64>) -> Self {
        let begun = Instant::now();
        Self {
            messages,
            until: time.map(|time| begun + time),
            interval: rate.map(|rate| Duration::from_secs_f64(1.0 / rate)),
            begun,
            started: 0,
            finished: 0,
            failed: 0,
            ended: begun,
        }
    }

    /// Lets a message begin, if one is due: the moment it should begin.
    pub(super) fn take(&mut self) -> Option<Instant> {
        if self.started >= self.messages {
            return None;
        }
        let now = Instant::now();
        let at = match self.next_due() {
            Some(due) if due > now => return None,
            Some(due) => due,
            None => now,
        };
        if self.until.is_some_and(|until| at >= until || now >= until) {
            self.messages = self.started;
            return None;
        }
        self.started += 1;
        Some(at)
    }

    /// When the next message should begin, at a fixed rate.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let interval = self.interval.filter(|_| self.started < self.messages)?;
        // Of the whole, so that roundings do not add up.
        Some(self.begun + Duration::from_secs_f64(interval.as_secs_f64() * self.started as f64))
    }

    pub(super) fn finish(&mut self, now: Instant) {
        self.finished += 1;
        self.ended = now;
    }

    pub(super) fn fail(&mut self, now: Instant) {
        self.failed += 1;
        self.ended = now;
    }

    /// Lets no more messages begin.
    pub(super) fn stop(&mut self) {
        self.messages = self.started;
    }

    /// Whether all messages have begun and ended.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        let begun = self.started >= self.messages || self.until.is_some_and(|until| now >= until);
        begun && self.started == self.finished + self.failed
    }

    /// From the first message to the last reply.
    pub(super) fn elapsed(&self) -> Duration {
        self.ended.saturating_duration_since(self.begun)
    }
}

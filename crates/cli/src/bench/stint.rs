//! A run of messages: how many, for how long, how fast.

use std::time::{Duration, Instant};

/// How many messages are sent, and when each may begin.
#[derive(Clone, Debug)]
pub(super) struct Stint {
    /// As many as were asked for.
    asked: u64,
    /// As many as are let begin: fewer once it was stopped.
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
            asked: messages,
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
        !self.goes_on(now) && self.started == self.finished + self.failed
    }

    /// Number of the message that began last, from 1.
    pub(super) fn started(&self) -> u64 {
        self.started
    }

    /// Whether more messages may begin, now or later.
    pub(super) fn goes_on(&self, now: Instant) -> bool {
        self.started < self.messages && self.until.is_none_or(|until| now < until)
    }

    /// How much of it is done, from 0 to 1.
    pub(super) fn progress(&self, now: Instant) -> f64 {
        let by_number = (self.finished + self.failed) as f64 / self.asked.max(1) as f64;
        let by_time = self.until.map_or(0.0, |until| {
            let spent = now.saturating_duration_since(self.begun).as_secs_f64();
            spent / until.duration_since(self.begun).as_secs_f64()
        });
        by_number.max(by_time)
    }

    /// Messages a second up to now.
    pub(super) fn speed(&self, now: Instant) -> f64 {
        let spent = now.saturating_duration_since(self.begun).as_secs_f64();
        self.finished as f64 / spent.max(1e-3)
    }

    /// Messages that were due at a fixed rate and could not begin in time, since all connections were busy.
    pub(super) fn missed(&self) -> u64 {
        let Some(interval) = self.interval else { return 0 };
        let end = self.until.map_or(self.ended, |until| until.min(self.ended));
        let time = end.saturating_duration_since(self.begun).as_secs_f64();
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // both are positive and small
        let due = (time / interval.as_secs_f64()) as u64;
        due.min(self.asked).saturating_sub(self.started)
    }

    /// From the first message to the last reply.
    pub(super) fn elapsed(&self) -> Duration {
        self.ended.saturating_duration_since(self.begun)
    }
}

//! Leaving a milter alone that fails again and again.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// When a milter that fails is left alone, and for how long.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BreakerOptions {
    /// After how many failures in a row it is left alone; 5 by default. 0 is never.
    pub failures: u32,
    /// For how long the first time; 1 s by default. Doubled each time that it fails again at once.
    pub back_off: Duration,
    /// For how long at most; 60 s by default.
    pub max_back_off: Duration,
    /// Which part of the time is left to chance, from 0 to 1, so that machines do not come back all at once: the time
    /// may be shorter by that. 0.1 by default.
    pub jitter: f64,
}

impl Default for BreakerOptions {
    fn default() -> Self {
        Self {
            failures: 5,
            back_off: Duration::from_secs(1),
            max_back_off: Duration::from_mins(1),
            jitter: 0.1,
        }
    }
}

/// A circuit breaker: keeps connections from a milter that failed a number of times in a row, until one of them was
/// let through and found it well. All connections to a milter share one.
///
/// ```text
///              failures in a row                    the time is over, one is let through
///   Closed ───────────────────────▶ Open ◀───────────────────────▶ HalfOpen
///     ▲                                   it failed: a longer time     │
///     └────────────────────────────────────────────────────────────────┘
///                              the milter negotiated
/// ```
///
/// A milter that negotiates and then fails before it had a word on any message is left alone again at once.
#[derive(Debug)]
pub struct Breaker {
    name: Arc<str>,
    options: BreakerOptions,
    inner: Mutex<Inner>,
}

/// What a [`Breaker`] does with the next connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// It goes to the milter.
    Closed,
    /// It does not, for so long yet.
    Open(Duration),
    /// It does not before it is known what becomes of the one that was let through.
    HalfOpen,
}

/// What a [`Breaker`] counted so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BreakerCounts {
    /// Connections that went to the milter.
    pub attempts: u64,
    /// Those among them on which the milter failed.
    pub failures: u64,
    /// Connections that were kept from the milter.
    pub refused: u64,
    /// How often the milter was left alone.
    pub opened: u64,
}

#[derive(Debug, Default)]
struct Inner {
    state: State,
    /// Failures since the last success.
    failures: u32,
    /// How often the milter was left alone since the last success.
    rounds: u32,
    counts: BreakerCounts,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Closed,
    Open {
        until: Instant,
    },
    HalfOpen,
}

impl Breaker {
    pub(super) fn new(name: Arc<str>, options: BreakerOptions) -> Self {
        Self { name, options, inner: Mutex::default() }
    }

    /// What happens to the next connection.
    pub fn state(&self) -> BreakerState {
        match self.lock().state {
            State::Closed => BreakerState::Closed,
            State::Open { until } => BreakerState::Open(until.saturating_duration_since(Instant::now())),
            State::HalfOpen => BreakerState::HalfOpen,
        }
    }

    /// Failures since the milter last had its say on a message, or on a client.
    pub fn failures_in_a_row(&self) -> u32 {
        self.lock().failures
    }

    /// What was counted so far.
    pub fn counts(&self) -> BreakerCounts {
        self.lock().counts
    }

    /// Lets a connection through, or says for how long it had better not try.
    pub(super) fn attempt(self: &Arc<Self>) -> Result<Attempt, Kept> {
        let mut inner = self.lock();
        let probe = match inner.state {
            State::Closed => false,
            State::Open { until } if until <= Instant::now() => {
                inner.state = State::HalfOpen;
                true
            }
            State::Open { .. } | State::HalfOpen => {
                inner.counts.refused += 1;
                return Err(Kept { failures: inner.failures });
            }
        };
        inner.counts.attempts += 1;
        drop(inner);
        if probe {
            tracing::info!(milter = %self.name, "milter is tried again");
        }
        Ok(Attempt { breaker: self.clone(), probe, over: false })
    }

    /// How long the milter is left alone when that has happened `rounds` times before.
    fn back_off(&self, rounds: u32) -> Duration {
        let BreakerOptions { back_off, max_back_off, jitter, .. } = self.options;
        let time = back_off.saturating_mul(1_u32.checked_shl(rounds).unwrap_or(u32::MAX)).min(max_back_off);
        #[expect(clippy::cast_precision_loss, reason = "chance has no precision")]
        let chance = RandomState::new().hash_one(rounds) as f64 / u64::MAX as f64;
        time.mul_f64(1.0 - jitter.clamp(0.0, 1.0) * chance)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing panics while it is held.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a connection was kept from its milter: so many failures in a row.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) failures: u32,
}

/// A connection that was let through. Dropped without a word it counts neither way.
#[derive(Debug)]
pub(super) struct Attempt {
    breaker: Arc<Breaker>,
    /// Everybody waits for what becomes of it.
    probe: bool,
    /// It counted as a failure.
    over: bool,
}

impl Attempt {
    /// The milter negotiated. Others may try it too; but it has to do more before its failures are forgotten.
    pub(super) fn negotiated(&mut self) {
        if std::mem::take(&mut self.probe) {
            let mut inner = self.breaker.lock();
            inner.state = State::Closed;
            inner.failures = inner.failures.min(self.breaker.options.failures.saturating_sub(1));
            drop(inner);
            tracing::info!(milter = %self.breaker.name, "milter is back");
        }
    }

    /// The milter has had its say.
    pub(super) fn succeeded(&mut self) {
        let mut inner = self.breaker.lock();
        if inner.state == State::Closed && !self.over {
            (inner.failures, inner.rounds) = (0, 0);
        }
    }

    /// The milter failed, which ends its connection.
    pub(super) fn failed(&mut self, why: &dyn fmt::Display) {
        if std::mem::replace(&mut self.over, true) {
            return;
        }
        let probe = std::mem::take(&mut self.probe);
        let Breaker { name, options, .. } = &*self.breaker;
        let mut inner = self.breaker.lock();
        inner.counts.failures += 1;
        inner.failures = inner.failures.saturating_add(1);
        let failures = inner.failures;
        let opens = inner.state == State::Closed && options.failures > 0 && failures >= options.failures;
        if !opens && !probe {
            return;
        }
        let time = self.breaker.back_off(inner.rounds);
        inner.rounds = inner.rounds.saturating_add(1);
        inner.counts.opened += 1;
        inner.state = State::Open { until: Instant::now() + time };
        drop(inner);
        tracing::warn!(milter = %name, failures, "milter is left alone for {time:?}: {why}");
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        // Nobody knows yet how the milter is: the next one may find out.
        if self.probe {
            self.breaker.lock().state = State::Open { until: Instant::now() };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn breaker(failures: u32, max_back_off: u64) -> Arc<Breaker> {
        let max_back_off = Duration::from_secs(max_back_off);
        let options = BreakerOptions { failures, max_back_off, jitter: 0.0, ..BreakerOptions::default() };
        Arc::new(Breaker::new("m".into(), options))
    }

    fn fail(breaker: &Arc<Breaker>) {
        breaker.attempt().unwrap().failed(&"test");
    }

    #[tokio::test(start_paused = true)]
    async fn opens_after_failures_in_a_row_and_not_after_others() {
        let breaker = breaker(3, 60);
        fail(&breaker);
        fail(&breaker);
        breaker.attempt().unwrap().succeeded();
        fail(&breaker);
        fail(&breaker);
        assert_eq!((breaker.state(), breaker.failures_in_a_row()), (BreakerState::Closed, 2));
        // An attempt that came to nothing is no failure, and no success either.
        drop(breaker.attempt().unwrap());
        fail(&breaker);
        assert_eq!(breaker.state(), BreakerState::Open(SECOND));
        assert_eq!(breaker.attempt().unwrap_err().failures, 3);
        let counts = BreakerCounts { attempts: 7, failures: 5, refused: 1, opened: 1 };
        assert_eq!(breaker.counts(), counts);
    }

    #[tokio::test(start_paused = true)]
    async fn one_probe_is_let_through_and_the_milter_is_back_when_it_negotiates() {
        let breaker = breaker(1, 60);
        fail(&breaker);
        tokio::time::advance(SECOND).await;
        let mut probe = breaker.attempt().unwrap();
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
        assert!(breaker.attempt().is_err());
        probe.negotiated();
        assert_eq!(breaker.state(), BreakerState::Closed);
        probe.succeeded();
        assert_eq!(breaker.failures_in_a_row(), 0);
        drop(probe);
        assert_eq!(breaker.state(), BreakerState::Closed);
    }

    #[tokio::test(start_paused = true)]
    async fn each_failure_of_a_probe_doubles_the_time_up_to_the_limit() {
        let breaker = breaker(1, 5);
        fail(&breaker);
        for seconds in [1, 2, 4, 5, 5] {
            assert_eq!(breaker.state(), BreakerState::Open(SECOND * seconds));
            tokio::time::advance(SECOND * seconds).await;
            fail(&breaker);
        }
        tokio::time::advance(SECOND * 5).await;
        let mut probe = breaker.attempt().unwrap();
        probe.negotiated();
        probe.succeeded();
        probe.failed(&"test");
        assert_eq!(breaker.state(), BreakerState::Open(SECOND), "a success begins anew");
    }

    #[tokio::test(start_paused = true)]
    async fn a_milter_that_only_negotiates_is_left_alone_for_longer_at_once() {
        let breaker = breaker(3, 60);
        (0..3).for_each(|_| fail(&breaker));
        tokio::time::advance(SECOND).await;
        let mut probe = breaker.attempt().unwrap();
        probe.negotiated();
        assert_eq!(breaker.state(), BreakerState::Closed);
        probe.failed(&"test");
        assert_eq!(breaker.state(), BreakerState::Open(SECOND * 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_is_given_up_leaves_the_place_to_the_next() {
        let breaker = breaker(1, 60);
        fail(&breaker);
        tokio::time::advance(SECOND).await;
        drop(breaker.attempt().unwrap());
        assert_eq!(breaker.state(), BreakerState::Open(Duration::ZERO));
        breaker.attempt().unwrap().negotiated();
        assert_eq!(breaker.state(), BreakerState::Closed);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_fails_once_and_old_ones_do_not_prolong_the_time() {
        let breaker = breaker(2, 60);
        let mut old: Vec<_> = (0..4).map(|_| breaker.attempt().unwrap()).collect();
        old[0].failed(&"test");
        old[0].failed(&"test");
        assert_eq!(breaker.failures_in_a_row(), 1);
        old[1].failed(&"test");
        assert_eq!(breaker.state(), BreakerState::Open(SECOND));
        tokio::time::advance(SECOND / 2).await;
        old[2].failed(&"test");
        assert_eq!(breaker.state(), BreakerState::Open(SECOND / 2));
        tokio::time::advance(SECOND).await;
        let probe = breaker.attempt().unwrap();
        old[3].failed(&"test");
        assert_eq!(breaker.state(), BreakerState::HalfOpen, "the probe knows better");
        drop(probe);
    }

    #[test]
    fn chance_makes_the_time_shorter_by_no_more_than_its_part() {
        let options = BreakerOptions { jitter: 0.5, ..BreakerOptions::default() };
        let breaker = Breaker::new("m".into(), options);
        let times: Vec<_> = (0..100).map(|_| breaker.back_off(0)).collect();
        assert!(times.iter().all(|time| (SECOND / 2..=SECOND).contains(time)), "{times:?}");
        assert!(times.iter().any(|time| *time != times[0]));
        assert!((SECOND * 30..=SECOND * 60).contains(&breaker.back_off(500)));
    }

    #[test]
    fn no_failures_is_never() {
        let breaker = breaker(0, 60);
        (0..100).for_each(|_| fail(&breaker));
        assert_eq!(breaker.state(), BreakerState::Closed);
    }
}

//! Figures for monitoring, counted only where somebody wants them.

mod publish;
mod text;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

pub(crate) use publish::{Publisher, publish};
pub(crate) use text::Gauges;

static METRICS: OnceLock<Metrics> = OnceLock::new();

/// The figures, if they are counted.
pub(crate) fn get() -> Option<&'static Metrics> {
    METRICS.get()
}

/// Begins to count.
fn begin() -> &'static Metrics {
    METRICS.get_or_init(Metrics::default)
}

/// What is counted.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    pub(crate) connections: Counter,
    pub(crate) connections_closed: Counter,
    /// Connections that ended otherwise than MTAs end them, by [`Reason`].
    lost: [Counter; Reason::ALL.len()],
    pub(crate) bytes_received: Counter,
    pub(crate) bytes_sent: Counter,
    callbacks: [Callback; CALLBACKS.len()],
    edits: [Counter; EDITS.len()],
}

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The MTA broke the protocol.
    Protocol,
    /// Nothing came from it in time.
    Timeout,
    /// There was no agreement on options.
    Refused,
    /// Something is wrong in this library.
    Internal,
}

impl Reason {
    const ALL: [Self; 4] = [Self::Protocol, Self::Timeout, Self::Refused, Self::Internal];

    const fn name(self) -> &'static str {
        match self {
            Self::Protocol => "protocol",
            Self::Timeout => "timeout",
            Self::Refused => "refused",
            Self::Internal => "internal",
        }
    }
}

/// Callbacks, by name without `xxfi_`.
const CALLBACKS: [&str; 13] = [
    "negotiate",
    "connect",
    "helo",
    "envfrom",
    "envrcpt",
    "data",
    "header",
    "eoh",
    "body",
    "eom",
    "unknown",
    "abort",
    "close",
];

/// Names of modifications, as `tamis_proto::Edit` has them.
const EDITS: [&str; 9] = [
    "add-header",
    "insert-header",
    "change-header",
    "change-sender",
    "add-recipient",
    "add-recipient-with-args",
    "delete-recipient",
    "replace-body",
    "quarantine",
];

/// What callbacks return, by status; the last place is for what is none.
const ANSWERS: [&str; 9] =
    ["continue", "reject", "discard", "accept", "tempfail", "noreply", "skip", "all-opts", "other"];

/// Upper bounds of durations, in microseconds.
const BUCKETS: [u64; 12] =
    [100, 500, 1_000, 5_000, 10_000, 50_000, 100_000, 500_000, 1_000_000, 5_000_000, 10_000_000, 60_000_000];

#[derive(Debug, Default)]
struct Callback {
    /// How long calls took, in the first bucket that they fit in; the last one has no bound.
    durations: [Counter; BUCKETS.len() + 1],
    nanoseconds: Counter,
    answers: [Counter; ANSWERS.len()],
}

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Metrics {
    pub(crate) fn lost(&self, reason: Reason) {
        self.lost[reason as usize].add(1);
    }

    /// Counts a modification that was asked for.
    pub(crate) fn edit(&self, name: &str) {
        if let Some(place) = EDITS.iter().position(|one| *one == name) {
            self.edits[place].add(1);
        }
    }

    /// Counts a call.
    fn call(&self, name: &str, status: i32, took: Duration) {
        let name = name.strip_prefix("xxfi_").unwrap_or(name);
        let Some(place) = CALLBACKS.iter().position(|one| *one == name) else { return };
        let callback = &self.callbacks[place];
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BUCKETS.iter().position(|bound| micros <= *bound).unwrap_or(BUCKETS.len());
        callback.durations[bucket].add(1);
        callback.nanoseconds.add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
        let answer = match status {
            0..=4 => usize::try_from(status).unwrap_or_default(),
            7 => 5,
            8 => 6,
            10 => 7,
            _ => 8,
        };
        callback.answers[answer].add(1);
    }
}

/// Measures a call, if that is wanted and there is a callback to call.
pub(crate) fn measured(name: &str, call: impl FnOnce() -> Option<i32>) -> Option<i32> {
    let Some(metrics) = get() else { return call() };
    let begun = Instant::now();
    let status = call()?;
    metrics.call(name, status, begun.elapsed());
    Some(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_counted_in_the_first_bucket_they_fit_in() {
        let metrics = Metrics::default();
        for micros in [0, 100, 101, 60_000_000, 60_000_001] {
            metrics.call("xxfi_eom", 0, Duration::from_micros(micros));
        }
        let eom = &metrics.callbacks[9];
        let counts: Vec<u64> = eom.durations.iter().map(Counter::get).collect();
        assert_eq!(counts, [2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!(eom.nanoseconds.get(), 120_000_202_000);
    }

    #[test]
    fn statuses_have_places_of_their_own() {
        let metrics = Metrics::default();
        for status in [0, 1, 2, 3, 4, 7, 8, 10, -1, 99] {
            metrics.call("xxfi_body", status, Duration::ZERO);
        }
        let counts: Vec<u64> = metrics.callbacks[8].answers.iter().map(Counter::get).collect();
        assert_eq!(counts, [1, 1, 1, 1, 1, 1, 1, 1, 2]);
    }
}

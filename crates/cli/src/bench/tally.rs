//! What was measured: counts, and how long messages took.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use tamis::Verdict;

/// Everything that is counted while messages are sent.
#[derive(Debug)]
pub(super) struct Tally {
    /// Messages with a final verdict.
    pub(super) messages: u64,
    /// Nanoseconds from MAIL to the final verdict.
    pub(super) latency: Histogram<u64>,
    verdicts: Counts,
    edits: Counts,
    pub(super) refused_recipients: u64,
    /// How often the filter said that it is still working.
    pub(super) progress: u64,
    /// By kind; those of the warm-up too.
    pub(super) errors: BTreeMap<String, Failures>,
    /// Connections that were there for messages.
    pub(super) connections: u64,
}

/// Errors of one kind.
#[derive(Clone, Debug)]
pub(super) struct Failures {
    pub(super) count: u64,
    /// The first one in full.
    pub(super) first: String,
}

/// A few names with a number each; found faster than in a map.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts(Vec<(&'static str, u64)>);

/// An hour: nobody waits longer for a message.
const LONGEST: u64 = 3_600_000_000_000;

impl Tally {
    pub(super) fn new() -> Self {
        let latency = Histogram::new_with_bounds(1, LONGEST, 3).expect("the bounds are those of the library");
        Self {
            messages: 0,
            latency,
            verdicts: Counts::default(),
            edits: Counts::default(),
            refused_recipients: 0,
            progress: 0,
            errors: BTreeMap::new(),
            connections: 0,
        }
    }

    /// Begins anew with everything but errors and connections.
    pub(super) fn reset(&mut self) {
        let errors = std::mem::take(&mut self.errors);
        *self = Self { errors, connections: self.connections, ..Self::new() };
    }

    pub(super) fn message(&mut self, verdict: &Verdict, took: Duration) {
        self.messages += 1;
        self.latency.saturating_record(u64::try_from(took.as_nanos()).unwrap_or(LONGEST));
        self.verdicts.add(verdict.name());
    }

    pub(super) fn edit(&mut self, name: &'static str) {
        self.edits.add(name);
    }

    /// Counts an error; what it says in full is made only of the first of a kind.
    pub(super) fn error(&mut self, kind: &str, full: impl FnOnce() -> String) {
        match self.errors.get_mut(kind) {
            Some(failures) => failures.count += 1,
            None => {
                self.errors.insert(kind.to_owned(), Failures { count: 1, first: full() });
            }
        }
    }

    /// Counts messages that were treated differently.
    pub(super) fn mismatches(&mut self, count: u64, first: Option<String>) {
        if let Some(first) = first {
            self.errors.insert("mismatch".to_owned(), Failures { count, first });
        }
    }

    /// An error in full, if there was one.
    pub(super) fn any_error(&self) -> Option<&String> {
        self.errors.values().next().map(|failures| &failures.first)
    }

    pub(super) fn error_count(&self) -> u64 {
        self.errors.values().map(|failures| failures.count).sum()
    }

    pub(super) fn verdicts(&self) -> &[(&'static str, u64)] {
        &self.verdicts.0
    }

    pub(super) fn edits(&self) -> &[(&'static str, u64)] {
        &self.edits.0
    }
}

impl Counts {
    fn add(&mut self, name: &'static str) {
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, count)) => *count += 1,
            None => self.0.push((name, 1)),
        }
    }
}

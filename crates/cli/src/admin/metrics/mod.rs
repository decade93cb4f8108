//! What is counted, as Prometheus reads it.
//!
//! The values of labels are stages, verdicts and the like, and the names in the configuration: never what somebody sent.

mod filter;
mod page;
mod totals;

pub(super) use filter::FilterCounts;
pub(super) use page::{CONTENT_TYPE, page};
pub(super) use totals::{Reloads, Totals};

use std::sync::atomic::{AtomicU64, Ordering};

use tamis::{Stage, Verdict};

use super::keep::kind;
use super::record::Kind;

/// A number that only grows.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub(super) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Verdicts and their names, in the order in which they are counted.
const KINDS: [(Kind, &str); 6] = [
    (Kind::Continue, "continue"),
    (Kind::Accept, "accept"),
    (Kind::Reject, "reject"),
    (Kind::Tempfail, "tempfail"),
    (Kind::Discard, "discard"),
    (Kind::Skip, "skip"),
];

/// Verdicts by stage.
#[derive(Debug, Default)]
pub(super) struct Verdicts([[Count; KINDS.len()]; Stage::COUNT]);

impl Verdicts {
    fn count(&self, stage: Stage, verdict: &Verdict) {
        let kind = kind(verdict);
        let place = KINDS.iter().position(|(other, _)| *other == kind).expect("all verdicts are counted");
        self.0[stage as usize][place].add(1);
    }

    /// Those that there were.
    fn iter(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        Stage::ALL.into_iter().zip(&self.0).flat_map(|(stage, counts)| {
            let named = KINDS.iter().zip(counts).map(|((_, name), count)| (*name, count.get()));
            named.filter(|(_, count)| *count > 0).map(move |(name, count)| (stage.name(), name, count))
        })
    }
}

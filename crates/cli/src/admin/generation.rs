//! The filters of the configuration that is in use, with what is counted about each.

use std::sync::Arc;

use tamis::chain::OnFailure;
use tamis::remote::Milter;

use super::metrics::FilterCounts;
use crate::config;

/// What the daemon runs since it read its configuration.
#[derive(Debug, Default)]
pub(crate) struct Configured {
    /// Counts configurations from the start of the daemon.
    pub(crate) generation: u64,
    /// For how many messages the record is kept.
    pub(crate) history: u32,
    /// In the order of the chain.
    pub(crate) filters: Vec<Member>,
    /// Milters that are consulted, each with the name of its filter: all that is shown of them is their circuit breaker.
    pub(crate) milters: Vec<(String, Milter)>,
}

/// A filter of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) dry_run: bool,
    pub(crate) on_failure: OnFailure,
}

impl From<&config::Member> for Member {
    fn from(member: &config::Member) -> Self {
        Self {
            name: member.name.clone(),
            kind: member.kind.to_owned(),
            dry_run: member.mode == config::Enforce::DryRun,
            on_failure: member.on_failure.of_member(),
        }
    }
}

/// A configuration in use.
#[derive(Debug, Default)]
pub(super) struct Generation {
    pub(super) number: u64,
    pub(super) filters: Vec<Counted>,
    pub(super) milters: Vec<(String, Milter)>,
}

/// A filter, and what is counted about it.
#[derive(Clone, Debug)]
pub(super) struct Counted {
    pub(super) member: Arc<Member>,
    pub(super) counts: Arc<FilterCounts>,
}

impl Generation {
    /// The next one: filters that stay keep what was counted about them.
    pub(super) fn next(&self, configured: Configured) -> Self {
        let Configured { generation, filters, milters, .. } = configured;
        let filters = filters.into_iter().map(|member| {
            let old = self.filters.iter().find(|old| old.is(&member.name, member.dry_run));
            let counts = old.map_or_else(Arc::default, |old| old.counts.clone());
            Counted { member: Arc::new(member), counts }
        });
        Self { number: generation, filters: filters.collect(), milters }
    }

    /// A filter by its place in the chain and its name. Messages of an older configuration may have it elsewhere, or have
    /// one that is gone.
    pub(super) fn counted(&self, place: usize, name: &str, dry_run: bool) -> Option<&Counted> {
        let is_it = |filter: &&Counted| filter.is(name, dry_run);
        self.filters.get(place).filter(is_it).or_else(|| self.filters.iter().find(is_it))
    }

    pub(super) fn find(&self, place: usize, name: &str, dry_run: bool) -> Option<&Arc<Member>> {
        self.counted(place, name, dry_run).map(|counted| &counted.member)
    }
}

impl Counted {
    fn is(&self, name: &str, dry_run: bool) -> bool {
        self.member.name == name && self.member.dry_run == dry_run
    }
}

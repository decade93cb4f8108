//! The same C filter on Sendmail's libmilter and on ours: the bytes that come back and what every callback sees are
//! the same, or differ as the list in `rules` says.

mod answers;
mod calls;
mod captured;
mod commands;
mod negotiation;
mod random;
mod rules;
mod states;

use std::collections::BTreeMap;

use tamis_libmilter_tests::judge::judge_all;
use tamis_libmilter_tests::rules::Rule;
use tamis_libmilter_tests::session::{Session, Setup};

/// Judges sessions in processes of one setup; returns how often each difference came.
fn judged(setup: &Setup, sessions: impl IntoIterator<Item = Session>) -> BTreeMap<Rule, usize> {
    let numbered = (0..).zip(sessions.into_iter().map(|session| Session { setup: setup.clone(), ..session }));
    let rules = judge_all(setup, false, numbered).unwrap_or_else(|report| panic!("{report}"));
    let mut counts = BTreeMap::new();
    for rule in rules.into_iter().flatten() {
        *counts.entry(rule).or_default() += 1;
    }
    counts
}

/// Judges sessions that must be the same.
fn same(setup: &Setup, sessions: impl IntoIterator<Item = Session>) {
    let numbered = (0..).zip(sessions.into_iter().map(|session| Session { setup: setup.clone(), ..session }));
    judge_all(setup, true, numbered).unwrap_or_else(|report| panic!("{report}"));
}

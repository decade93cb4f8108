//! Random sessions on both libraries: the bytes that come back and what every callback sees are the same.

use std::collections::BTreeMap;
use std::env;

use tamis_libmilter_tests::dice::Dice;
use tamis_libmilter_tests::generate::{Batch, batch, legal, mutated, wild};
use tamis_libmilter_tests::judge::judge_all;
use tamis_libmilter_tests::rules::Rule;
use tamis_libmilter_tests::session::Session;

/// Sessions of all kinds together; `TAMIS_SESSIONS` is another number.
const SESSIONS: u64 = 3000;

/// Sessions that share a process.
const BATCH: u64 = 50;

fn number(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// Runs a share of the sessions, and returns how often which difference was accepted.
fn run(share: u64, strict: bool, kind: fn(&mut Dice, &Batch) -> Session) -> BTreeMap<Option<Rule>, usize> {
    let sessions = number("TAMIS_SESSIONS", SESSIONS) * share / 100;
    let first = number("TAMIS_SEED", 1);
    let mut fired = BTreeMap::new();
    for start in (first..first + sessions).step_by(usize::try_from(BATCH).unwrap()) {
        let batch = batch(&mut Dice::new(start));
        let session = |seed| (seed, kind(&mut Dice::new(seed ^ 0x5eed), &batch));
        let all = (start..start + BATCH).map(session);
        let rules = judge_all(&batch.setup, strict, all).unwrap_or_else(|report| panic!("{report}"));
        for rule in rules {
            *fired.entry(rule).or_default() += 1;
        }
    }
    println!("{fired:?}");
    fired
}

#[test]
fn legal_sessions_are_the_same_in_every_byte_and_callback() {
    run(50, true, legal);
}

#[test]
fn sessions_in_any_order_differ_only_as_the_list_says() {
    run(25, false, wild);
}

#[test]
fn damaged_sessions_differ_only_as_the_list_says() {
    run(25, false, mutated);
}

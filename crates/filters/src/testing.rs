//! Filters for tests, made of a configuration as the program makes them.

use std::path::Path;

use tamis::chain::Chain;
use tamis::testing::{Mta, Report};
use toml::Spanned;
use toml::de::DeTable;

use crate::config::{Build, Remark};
use crate::kind::{Entry, Plan};

/// Makes the plan of a kind of filter of its own part of a configuration, which has no mistakes and no warnings.
pub(crate) fn plan(kind: &str, text: &str) -> Plan {
    let (plan, remarks) = build(kind, text, "/nowhere");
    assert!(remarks.is_empty(), "{remarks:?}");
    plan.expect("without a mistake there is a plan")
}

/// The same with a folder for its files, and with all remarks.
pub(crate) fn build(kind: &str, text: &str, folder: impl AsRef<Path>) -> (Option<Plan>, Vec<Remark>) {
    let ready = Entry::find(kind).expect("there is such a kind").read(table(text)).expect("it can be read");
    let mut build = Build::new(folder.as_ref());
    let plan = ready(&mut build);
    assert_eq!(plan.is_some(), build.is_sound(), "there is a plan unless there is a mistake");
    (plan, build.into_remarks())
}

/// What is said when the configuration cannot even be read.
pub(crate) fn misread(kind: &str, text: &str) -> String {
    let entry = Entry::find(kind).expect("there is such a kind");
    entry.read(table(text)).err().expect("it cannot be read").to_string()
}

/// Remarks as `place: text`.
pub(crate) fn texts(remarks: &[Remark]) -> Vec<String> {
    remarks.iter().map(|remark| format!("{}: {}", remark.path, remark.text)).collect()
}

/// Plays a session to a chain of this one filter.
pub(crate) fn run(plan: &Plan, mta: &Mta) -> Report {
    let chain = Chain::pipeline().member(plan.member("filter"));
    mta.run_blocking(|_peer| chain).expect("the session can be played")
}

fn table(text: &str) -> Spanned<DeTable<'static>> {
    // Tests are short.
    DeTable::parse(Box::leak(text.into())).expect("it is TOML")
}

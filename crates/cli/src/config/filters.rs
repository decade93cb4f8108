//! The filters of a configuration, in their order.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tamis::chain::{self, Condition};
use tamis_filters::condition::When;
use tamis_filters::config::{Build, Time};
use tamis_filters::kind::{self, Entry, Plan};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::finding::Findings;
use super::place::Table;
use super::read::{all_mistakes, typed, unknown};
use super::sections::{Mode, Sections};

/// The key under which filters stand.
pub(super) const KEY: &str = "filter";

/// What every filter has, whatever its type.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Common {
    /// What it is called in logs, metrics and conditions; its type, if nothing is said. No two have the same.
    name: Option<String>,
    /// What it is: see below.
    #[serde(rename = "type")]
    #[expect(dead_code, reason = "it is read before, and here for the schema and where it is missing")]
    kind: String,
    /// For which messages it is asked; without this, for all. What can be said: see `when` below.
    when: Option<When>,
    /// What happens to mail when the filter fails: `tempfail`, the client tries again later; `reject`; `accept`, the message
    /// passes without it; `quarantine`, likewise, and the MTA holds the message.
    #[serde(default)]
    on_failure: OnFailure,
    /// The longest that it may take at any stage. `[limits]` bounds all filters together.
    timeout: Option<Time>,
    /// `enforce`, or `dry-run`: what it says and changes is logged, and that is all.
    #[serde(default)]
    mode: Enforce,
}

/// The keys of [`Common`].
const COMMON: [&str; 6] = ["name", "type", "when", "on_failure", "timeout", "mode"];

/// What happens to mail when a filter fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum OnFailure {
    #[default]
    Tempfail,
    Reject,
    Accept,
    Quarantine,
}

/// Whether a filter has an effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Enforce {
    #[default]
    Enforce,
    DryRun,
}

/// A filter that is configured.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) kind: &'static str,
    pub(crate) condition: Option<Condition>,
    /// The earlier filters that the condition names.
    names: Vec<String>,
    /// The macros that it depends on.
    pub(crate) macros: Vec<&'static str>,
    pub(crate) on_failure: OnFailure,
    pub(crate) timeout: Option<Time>,
    pub(crate) mode: Enforce,
    pub(crate) plan: Plan,
}

impl Member {
    /// One of it for a connection.
    pub(crate) fn make(&self) -> chain::Member {
        let member = self.plan.member(&self.name).on_failure(self.on_failure.of_member());
        let member = if let Some(Time(time)) = self.timeout { member.timeout(time) } else { member };
        let member = match &self.condition {
            Some(condition) => member.condition(condition.clone()),
            None => member,
        };
        match self.mode {
            Enforce::Enforce => member,
            Enforce::DryRun => member.dry_run(),
        }
    }
}

impl OnFailure {
    pub(crate) fn of_member(self) -> chain::OnFailure {
        match self {
            Self::Tempfail => chain::OnFailure::Tempfail,
            Self::Reject => chain::OnFailure::Reject,
            Self::Accept => chain::OnFailure::Accept,
            Self::Quarantine => chain::OnFailure::Quarantine,
        }
    }
}

/// A filter as it stands in the text.
pub(super) struct Read<'i> {
    /// What is said of it, but for what cannot be read.
    table: Table<'i>,
    /// None, where there is a mistake.
    pub(super) member: Option<Member>,
}

/// Takes the filters out of the whole and reads them.
pub(super) fn take<'i>(root: &mut Table<'i>, folder: &Path, findings: &mut Findings) -> Vec<Read<'i>> {
    let Some(key) = root.get_ref().keys().find(|key| key.get_ref() == KEY).cloned() else {
        return Vec::new();
    };
    let Some(value) = root.get_mut().remove(&key) else { return Vec::new() };
    let place = value.span();
    let DeValue::Array(array) = value.into_inner() else {
        findings.mistake(place, "filters are an array of tables: each begins with `[[filter]]`");
        return Vec::new();
    };
    let mut filters = Vec::new();
    for value in array {
        let place = value.span();
        match value.into_inner() {
            DeValue::Table(table) => filters.push(read(Spanned::new(place, table), folder, findings)),
            _ => findings.mistake(place, "a filter is a table: it begins with `[[filter]]`"),
        }
    }
    filters
}

fn read<'i>(table: Table<'i>, folder: &Path, findings: &mut Findings) -> Read<'i> {
    let place = table.span();
    let (common, own): (DeTable<'_>, DeTable<'_>) =
        table.into_inner().into_iter().partition(|(key, _)| COMMON.contains(&key.get_ref().as_ref()));
    let (mut common, mut own) = (Spanned::new(place.clone(), common), Spanned::new(place, own));
    let kind = common.get_ref().iter().find(|(key, _)| key.get_ref() == "type");
    let kind = kind.and_then(|(_, kind)| Some((kind.span(), kind.get_ref().as_str()?.to_owned())));
    let entry = kind.as_ref().and_then(|(_, name)| Entry::find(name));
    if let (Some((place, name)), None) = (kind, entry) {
        let known: Vec<_> = kind::ALL.iter().map(|entry| entry.name).collect();
        findings.mistake(place, unknown("type of filter", &name, &known));
    }
    let settings: Option<Common> = typed(&mut common, findings);
    let ready = entry.and_then(|entry| all_mistakes(&mut own, findings, |own| entry.read(own)));
    let mut table = common;
    table.get_mut().extend(own.into_inner());
    let mut build = Build::new(folder);
    let plan = ready.and_then(|ready| ready(&mut build));
    let member = settings.zip(entry).zip(plan).map(|((settings, entry), plan)| {
        let Common { name, kind: _, when, on_failure, timeout, mode } = settings;
        let (names, macros) = when.as_ref().map(|when| (when.names(), when.macros())).unwrap_or_default();
        let names = names.into_iter().map(str::to_owned).collect();
        let condition = when.and_then(|when| build.within("when", |build| when.build(build)));
        let name = name.unwrap_or_else(|| entry.name.to_owned());
        if name.is_empty() || name.chars().any(char::is_control) {
            build.within("name", |build| {
                build.mistake("a name stands in logs: one that can be read is needed");
            });
        }
        Member { name, kind: entry.name, condition, names, macros, on_failure, timeout, mode, plan }
    });
    findings.take(build, &table);
    Read { table, member }
}

/// Says what is wrong with the filters as a whole.
pub(super) fn check(filters: &[Read<'_>], sections: Option<&Sections>, findings: &mut Findings) {
    for (index, filter) in filters.iter().enumerate() {
        let Some(member) = &filter.member else { continue };
        let before: Vec<_> = filters[..index].iter().filter_map(|filter| filter.member.as_ref()).collect();
        let mut build = Build::default();
        beside_others(member, &before, sections, &mut build);
        findings.take(build, &filter.table);
    }
}

fn beside_others(member: &Member, before: &[&Member], sections: Option<&Sections>, build: &mut Build) {
    if before.iter().any(|other| other.name == member.name) {
        let text = format!(
            "a filter is named {:?} already, further up: give this one a `name` of its own",
            member.name
        );
        build.within("name", |build| build.mistake(text));
    }
    for name in member.names.iter().filter(|name| before.iter().all(|other| other.name != **name)) {
        let known: Vec<_> = before.iter().map(|other| &*other.name).collect();
        build.within("when", |build| build.mistake(unknown("filter further up", name, &known)));
    }
    if let (Some(time), Some(sections)) = (member.timeout, sections)
        && time > sections.limits.end_of_message_time
    {
        let most = sections.limits.end_of_message_time;
        build.within("timeout", |build| {
            build.warning(format_args!(
                "{time} is longer than any stage may take: `end_of_message_time` in [limits] is {most}"
            ));
        });
    }
    let pipeline = sections.is_none_or(|sections| sections.chain.mode == Mode::Pipeline);
    let signs = before.iter().find(|other| other.plan.nature.signs && other.mode == Enforce::Enforce);
    if let Some(signer) = signs
        && pipeline
        && member.plan.nature.edits_body
        && member.mode == Enforce::Enforce
    {
        let text = format!(
            "this filter edits the body behind {:?}, which signs it: put it in front of that one",
            signer.name
        );
        build.warning(text);
    }
}

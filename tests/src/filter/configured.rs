//! Filters of `tamis-filters`, made of a configuration as the program makes them.

use std::fmt;
use std::fs;
use std::path::Path;

use serde::Deserialize;
use tamis::chain::{Chain, Condition};
use tamis_filters::condition::When;
use tamis_filters::kind::{Entry, Plan};
use tamis_filters::{Build, Remark};
use tempfile::TempDir;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};
use tracing::field::{Field, Visit};
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry;

use crate::case::Configuration;
use crate::host::EventLog;

/// Filters that are ready, in their order.
#[derive(Debug)]
pub struct Configured {
    members: Vec<Member>,
    /// The files of their lists.
    folder: TempDir,
}

#[derive(Debug)]
struct Member {
    name: String,
    plan: Plan,
    condition: Option<Condition>,
}

/// A filter as it is written, its kind and what it shares with others taken out.
struct Written {
    kind: String,
    name: String,
    when: Option<Spanned<DeValue<'static>>>,
    own: Spanned<DeTable<'static>>,
}

impl Configured {
    /// Makes them; the error has all mistakes and warnings.
    pub fn build(configuration: &Configuration) -> Result<Self, String> {
        let folder = TempDir::new().map_err(|error| error.to_string())?;
        for (name, text) in &configuration.files {
            fs::write(folder.path().join(name), text).map_err(|error| format!("{name}: {error}"))?;
        }
        let mut members = Vec::new();
        for filter in read(&configuration.text)? {
            let entry =
                Entry::find(&filter.kind).ok_or_else(|| format!("no kind of filter {:?}", filter.kind))?;
            let ready = entry.read(filter.own).map_err(|error| error.to_string())?;
            let mut build = Build::new(folder.path());
            let plan = ready(&mut build);
            let condition = match filter.when {
                Some(when) => {
                    let when = When::deserialize(ValueDeserializer::from(when))
                        .map_err(|error| error.to_string())?;
                    build.within("when", |build| when.build(build))
                }
                None => None,
            };
            let remarks = build.into_remarks();
            let (Some(plan), []) = (plan, &remarks[..]) else { return Err(texts(&filter.name, &remarks)) };
            members.push(Member { name: filter.name, plan, condition });
        }
        Ok(Self { members, folder })
    }

    /// Where relative paths in the configuration are.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A chain of them, for a connection.
    pub fn chain(&self) -> Chain {
        self.members.iter().fold(Chain::pipeline(), |chain, Member { name, plan, condition }| {
            let member = plan.member(name);
            chain.member(match condition {
                Some(condition) => member.condition(condition.clone()),
                None => member,
            })
        })
    }
}

fn texts(name: &str, remarks: &[Remark]) -> String {
    let lines = remarks.iter().map(|remark| format!("{name}.{}: {}", remark.path, remark.text));
    lines.collect::<Vec<_>>().join("\n")
}

fn read(text: &str) -> Result<Vec<Written>, String> {
    // Cases are short, and filters keep what they are made of.
    let root = DeTable::parse(Box::leak(text.into())).map_err(|error| error.to_string())?;
    let mut filters = Vec::new();
    for (key, value) in root.into_inner() {
        let ("filter", DeValue::Array(tables)) = (&**key.get_ref(), value.into_inner()) else {
            return Err(format!("[[filter]] expected, found {:?}", key.get_ref()));
        };
        for table in tables {
            let span = table.span();
            let DeValue::Table(table) = table.into_inner() else { return Err("a table expected".to_owned()) };
            filters.push(written(Spanned::new(span, table))?);
        }
    }
    Ok(filters)
}

fn written(table: Spanned<DeTable<'static>>) -> Result<Written, String> {
    let span = table.span();
    let (mut kind, mut name, mut when, mut own) = (None, None, None, DeTable::new());
    for (key, value) in table.into_inner() {
        match &**key.get_ref() {
            "type" => kind = value.get_ref().as_str().map(str::to_owned),
            "name" => name = value.get_ref().as_str().map(str::to_owned),
            "when" => when = Some(value),
            _ => drop(own.insert(key, value)),
        }
    }
    let kind = kind.ok_or("a filter without a type")?;
    Ok(Written { name: name.unwrap_or_else(|| kind.clone()), kind, when, own: Spanned::new(span, own) })
}

/// Keeps the lines that filters write for messages on this thread, as `log LINE`, until the guard goes.
pub(crate) fn keep_lines(log: &EventLog) -> DefaultGuard {
    tracing::subscriber::set_default(registry().with(Lines(log.clone())))
}

struct Lines(EventLog);

impl<S: tracing::Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() == "tamis::message" {
            let mut line = Line::default();
            event.record(&mut line);
            self.0.log_line(line.0.trim_end());
        }
    }
}

/// The message, and the fields behind it.
#[derive(Default)]
struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0 = match field.name() {
            "message" => format!("{value:?} {}", self.0),
            name => format!("{}{name}={value:?} ", self.0),
        };
    }
}

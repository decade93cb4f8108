//! What a folder of this crate has to offer, so that a configuration can name it.

use std::fmt;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::DeserializeOwned;
use tamis::Filter;
use tamis::chain::Member;
use tamis::remote::Milter;
use toml::de::{DeTable, ValueDeserializer};
use toml::{Spanned, de};

use crate::config::Build;

/// The configuration of a filter, and the way from there to filters.
pub trait Kind: DeserializeOwned + JsonSchema + Send + 'static {
    /// What `type = "…"` names.
    const NAME: &'static str;

    /// What it does, in a line.
    const SUMMARY: &'static str;

    /// Makes the plan of the filter, once for each time that the configuration is read. Mistakes and warnings are
    /// told to `build`; with a mistake there is no plan.
    fn plan(self, build: &mut Build) -> Option<Plan>;
}

/// A filter that is configured: makes one for each connection.
#[derive(Clone)]
pub struct Plan {
    make: Arc<dyn Fn(&str) -> Member + Send + Sync>,
    /// What other parts of a configuration have to know of it.
    pub nature: Nature,
    milter: Option<Milter>,
}

/// What a filter does, as far as its place in a chain depends on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Nature {
    /// It may replace the body.
    pub edits_body: bool,
    /// It may edit the header.
    pub edits_header: bool,
    /// It signs the message: nothing that is signed should change behind it.
    pub signs: bool,
    /// Macros that it cannot do without.
    pub macros: Vec<String>,
}

impl Plan {
    /// A filter made by a function, for each connection a new one.
    pub fn new<F: Filter>(nature: Nature, make: impl Fn() -> F + Send + Sync + 'static) -> Self {
        Self { make: Arc::new(move |name: &str| Member::new(name, make())), nature, milter: None }
    }

    /// A filter that consults another milter over its socket.
    pub fn remote(nature: Nature, milter: Milter) -> Self {
        let shown = milter.clone();
        Self { milter: Some(shown), ..Self::new(nature, move || milter.connection()) }
    }

    /// The milter that it consults, if it does: its [breaker](Milter::breaker) says whether that is asked at all, for
    /// metrics.
    pub fn milter(&self) -> Option<&Milter> {
        self.milter.as_ref()
    }

    /// One for a connection, under its name in the configuration.
    pub fn member(&self, name: &str) -> Member {
        (self.make)(name)
    }
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan").field("nature", &self.nature).finish_non_exhaustive()
    }
}

/// A [`Kind`] in a list of them.
#[derive(Clone, Copy)]
pub struct Entry {
    /// What `type = "…"` names.
    pub name: &'static str,
    /// What it does, in a line.
    pub summary: &'static str,
    schema: fn(&mut SchemaGenerator) -> Schema,
    read: fn(Spanned<DeTable<'_>>) -> Result<Ready, de::Error>,
}

/// A configuration that has been read; makes a plan of itself.
pub type Ready = Box<dyn FnOnce(&mut Build) -> Option<Plan> + Send>;

/// All kinds of filters, in the order in which documentation shows them.
pub const ALL: &[Entry] = &[
    Entry::of::<crate::log::Settings>(),
    Entry::of::<crate::headers::Settings>(),
    Entry::of::<crate::policy::Settings>(),
    Entry::of::<crate::remember::Settings>(),
    Entry::of::<crate::milter::Settings>(),
];

impl Entry {
    /// The entry of a kind.
    pub const fn of<K: Kind>() -> Self {
        Self {
            name: K::NAME,
            summary: K::SUMMARY,
            schema: |generator| K::json_schema(generator),
            read: |table| {
                let value = table_value(table);
                let kind = K::deserialize(ValueDeserializer::from(value))?;
                Ok(Box::new(move |build: &mut Build| kind.plan(build)))
            },
        }
    }

    /// The entry that a configuration names.
    pub fn find(name: &str) -> Option<&'static Self> {
        ALL.iter().find(|entry| entry.name == name)
    }

    /// The schema of its fields, with their documentation.
    pub fn schema(&self, generator: &mut SchemaGenerator) -> Schema {
        (self.schema)(generator)
    }

    /// Reads the fields that are its own.
    ///
    /// # Errors
    ///
    /// The first field that cannot be read, with its place.
    pub fn read(&self, table: Spanned<DeTable<'_>>) -> Result<Ready, de::Error> {
        (self.read)(table)
    }
}

fn table_value(table: Spanned<DeTable<'_>>) -> Spanned<de::DeValue<'_>> {
    let span = table.span();
    Spanned::new(span, de::DeValue::Table(table.into_inner()))
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").field("name", &self.name).finish_non_exhaustive()
    }
}

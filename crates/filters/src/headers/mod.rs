//! `headers`: adds, inserts, replaces and removes header fields by rules; and removes forged `Authentication-Results`.
//!
//! # Example
//!
//! ```toml
#![doc = include_str!("example.toml")]
//! ```
//!
//! The rules are followed one after the other at the end of the message; each sees what those before it have done.

mod filter;
mod results;
mod rule;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;

use self::filter::{HeaderFilter, Work};
pub use self::results::{AuthservId, Malformed};
use crate::condition::{Names, When};
use crate::config::Build;
use crate::kind::{Kind, Nature, Plan};

/// Adds, inserts, replaces and removes header fields by rules; and removes forged `Authentication-Results`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Headers")]
pub struct Settings {
    /// What to do, rule by rule: each sees what those before it have done.
    #[serde(default)]
    #[schemars(extend("examples" = [[{ "header": "X-Mailer", "remove": true }]]))]
    pub rules: Vec<Rule>,

    /// Removes `Authentication-Results` that claim to be ours. Whoever reads mail believes these, so that nobody else may
    /// write them (RFC 8601, section 5). Filters that write true ones have to stand behind this one.
    #[schemars(extend("examples" = [{ "ids": ["{j}"] }]))]
    pub firewall: Option<Firewall>,
}

/// A rule: which messages and fields it is about, and what is done. It does one of `add`, `insert`, `replace` and
/// `remove`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Rule {
    /// For which messages it is; for all, if nothing is said.
    #[schemars(extend("examples" = [{ "authenticated": true }]))]
    pub when: Option<When>,

    /// The fields that it is about, by name; `*` and `?` are wildcards. With `replace` and `remove` it is done to each of
    /// them; with `add` and `insert` it is done once if there is one.
    #[schemars(extend("examples" = ["X-Spam-*"]))]
    pub header: Option<Names>,

    /// Only those of the fields whose value this regular expression is found in; folded lines are made one first. What
    /// its groups find is `$1` or `${name}` in new values. Case does not matter, unless it begins with `(?-i)`.
    #[schemars(extend("examples" = ["^\\[spam\\]\\s*(.*)"]))]
    pub matches: Option<String>,

    /// Only if the message has no field of these names; `*` and `?` are wildcards.
    #[schemars(extend("examples" = ["Message-ID"]))]
    pub absent: Option<Names>,

    /// Adds a field at the end of the header: `"Name: value"`. In values, `{queue_id}`, `{mta}`, `{daemon}`,
    /// `{client}`, `{client_ip}`, `{client_name}`, `{helo}`, `{tls}`, `{user}`, `{sender}`, `{sender_domain}`,
    /// `{recipients}` (the first 50) and `{recipient_count}` stand for what is known of the message, `{i}` and `{macro:NAME}` for
    /// macros of the MTA. With `header`, `$$` is a dollar sign; `{{` and `}}` are braces. A field without a value is not added.
    #[schemars(extend("examples" = ["Message-ID: <{queue_id}@{mta}>"]))]
    pub add: Option<String>,

    /// Adds a field at the top of the header, or where `above` or `below` say; written as for `add`.
    #[schemars(extend("examples" = ["X-Received-From: {client}"]))]
    pub insert: Option<String>,

    /// For `insert`: above the first field of this name; `*` and `?` are wildcards. At the top, where there is none.
    #[schemars(extend("examples" = ["Subject"]))]
    pub above: Option<String>,

    /// For `insert`: below the last field of this name; `*` and `?` are wildcards. At the top, where there is none.
    #[schemars(extend("examples" = ["Received"]))]
    pub below: Option<String>,

    /// Gives the fields another value; written as the values for `add`. A field whose new value is empty is removed.
    #[schemars(extend("examples" = ["$1"]))]
    pub replace: Option<String>,

    /// Removes the fields.
    #[schemars(extend("examples" = [true]))]
    pub remove: Option<bool>,
}

/// Whose `Authentication-Results` are removed.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Firewall {
    /// Our identifiers, whatever their case: `*` and `?` are wildcards, `{j}` and other macros are what the MTA says.
    #[serde(default = "own_id")]
    #[schemars(extend("examples" = [["{j}", "*.example.com"]]))]
    pub ids: Names,

    /// For which messages; for all, if nothing is said. Mail from our own MTAs, which have looked at it, should not be
    /// among them.
    #[schemars(extend("examples" = [{ "not": { "client": ["192.0.2.0/24"] } }]))]
    pub when: Option<When>,

    /// Whether fields are removed too of which nobody can say whose they are, as they are not as RFC 8601 has them. Some
    /// programs read these all the same, and may take them for ours.
    #[serde(default = "yes")]
    #[schemars(extend("examples" = [true]))]
    pub malformed: bool,
}

fn own_id() -> Names {
    Names(vec!["{j}".to_owned()])
}

const fn yes() -> bool {
    true
}

impl Kind for Settings {
    const NAME: &'static str = "headers";
    const SUMMARY: &'static str =
        "adds, replaces and removes header fields by rules; removes forged Authentication-Results";
    const EXAMPLE: &str = include_str!("example.toml");

    fn plan(self, build: &mut Build) -> Option<Plan> {
        let work = Arc::new(Work::build(self, build)?);
        let nature = Nature { edits_header: true, macros: work.asks().macro_names(), ..Nature::default() };
        Some(Plan::new(nature, move || HeaderFilter::new(work.clone())))
    }
}

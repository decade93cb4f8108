//! `log`: one line for each message.
//!
//! # Example
//!
//! ```toml
#![doc = include_str!("example.toml")]
//! ```
//!
//! writes
//!
//! ```text
//! queue_id=4WqkT05nJ2z client="mail.example.net [192.0.2.7]" user=- sender=joe@example.net recipients=bob@example.org size=1843 header:Subject="hello Bob"
//! ```
//!
//! With `format = "json"` the line is an object, with `format = "journald"` the fields are fields of the log: journald
//! keeps them (`journalctl QUEUE_ID=4WqkT05nJ2z`), and so does a log in JSON. With a `template` it is a text of one's own:
//! `template = "{queue_id}: from=<{sender}>, size={size}"`.
//!
//! The filter says what it has seen: at the end of a chain that is mail that all others have let pass.

mod field;
mod filter;
mod line;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::field::Field;
use self::filter::{LogFilter, Plan as Lines};
use crate::config::Build;
use crate::kind::{Kind, Nature, Plan};
use crate::template::Template;

/// One line in the log for each message.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Log")]
pub struct Settings {
    /// What is in the line, in this order: `queue_id`, `outcome` (`passed`, or `aborted` where the message was refused, by
    /// whomever, or given up), `seconds` (from MAIL on), `size` (bytes of header and body), `mta`, `daemon`, `client` (name
    /// and address), `client_ip`, `client_name`, `helo`, `tls` (its version), `user`, `sender`, `sender_domain`,
    /// `recipients` (of which the first 50), `recipient_count`, `header:NAME` for the first header field of a name, `i` and
    /// others for macros of the MTA that are widely known, `macro:NAME` for any.
    #[schemars(extend("examples" = [["queue_id", "client", "sender", "recipients", "size", "header:Subject"]]))]
    pub fields: Vec<String>,

    /// `text`, as `sender=joe@example.net size=1843`, with `-` for what is not known; `json`, an object, with `null`; or
    /// `journald`, the fields as fields of the log, for journald and for a log in JSON: there header fields and macros are
    /// together in one, `MORE`.
    #[schemars(extend("examples" = ["json"]))]
    pub format: Format,

    /// The line in one's own words, in place of `fields`: these stand in braces there, `{{` and `}}` are braces.
    #[schemars(extend("examples" = ["{queue_id}: from=<{sender}>, size={size}"]))]
    pub template: Option<String>,

    /// Whether there is a line too for messages that do not get to their end, because they are refused or given up.
    #[schemars(extend("examples" = [false]))]
    pub aborted: bool,
}

/// How a line is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "LogFormat")]
pub enum Format {
    /// `sender=joe@example.net size=1843`.
    #[default]
    Text,
    /// `{"sender":"joe@example.net","size":1843}`.
    Json,
    /// The fields as fields of the log.
    Journald,
}

impl Default for Settings {
    fn default() -> Self {
        let fields = ["queue_id", "outcome", "client", "user", "sender", "recipients", "header:Message-ID"];
        Self {
            fields: fields.map(str::to_owned).to_vec(),
            format: Format::default(),
            template: None,
            aborted: true,
        }
    }
}

impl Kind for Settings {
    const NAME: &'static str = "log";
    const SUMMARY: &'static str = "one line in the log for each message";
    const EXAMPLE: &str = include_str!("example.toml");

    fn plan(self, build: &mut Build) -> Option<Plan> {
        let fields = build.within("fields", |build| {
            if self.fields.is_empty() && self.template.is_none() {
                build.mistake(
                    "a line without fields says nothing: write some, such as [\"queue_id\", \"sender\"]",
                );
            }
            let each = self.fields.iter().enumerate();
            let fields = each.map(|(index, name)| build.within(index, |build| build.ok(Field::named(name))));
            fields.collect::<Vec<_>>().into_iter().collect::<Option<Vec<_>>>()
        });
        let template = match &self.template {
            None => Some(None),
            Some(text) => build.within("template", |build| {
                if self.format != Format::Text {
                    build.mistake("a template is text: leave out the `format`, or the template");
                }
                build.ok(Template::parse(text, None, Field::named)).map(Some)
            }),
        };
        let (fields, template) = (fields?, template?);
        if !build.is_sound() {
            return None;
        }
        let lines = Arc::new(Lines::new(fields, self.format, template, self.aborted));
        let nature = Nature { macros: lines.macros(), ..Nature::default() };
        Some(Plan::new(nature, move || LogFilter::new(lines.clone())))
    }
}

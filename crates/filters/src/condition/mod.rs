//! Conditions, as a configuration has them: for which messages a filter is asked, or a rule holds.
//!
//! ```toml
//! # From outside, and not from our friends:
//! when = { authenticated = false, not = { client = ["192.0.2.0/24", "file:friends"] } }
//!
//! # From a bank that never sends from dynamic addresses, or from nowhere:
//! when = { any = [{ sender_domain = ".bank.example", dynamic_client = true }, { sender = "<>" }] }
//! ```

mod check;
#[cfg(test)]
mod tests;

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{SeqAccess, Visitor, value};
use serde::{Deserialize, Deserializer, Serialize};
use tamis::chain::Condition;

use crate::config::Build;
use crate::lists::Entries;

pub use check::Check;

/// For which messages it is. All that is said here must hold; of a list any entry suffices.
///
/// What is said of recipients is known when the last one came, and what is said of the sender at MAIL. What a filter
/// would have had to say before then, it says at that point.
///
/// Example: `{ authenticated = false, client = ["192.0.2.0/24", "file:friends"] }`
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Condition", extend("examples" = [{ "authenticated": false, "not": { "client": ["192.0.2.0/24", "file:friends"] } }]))]
pub struct When {
    /// The client's address is in one of these networks: addresses, networks such as `192.0.2.0/24`, ranges such as
    /// `192.0.2.10-192.0.2.20`, `file:NAME`, `remembered:NAME`. A client without an address is in none.
    #[schemars(extend("examples" = [["192.0.2.0/24", "2001:db8::/32", "file:friends"]]))]
    pub client: Option<Entries>,

    /// The client's host name, as the MTA has verified it, is one of these: `example.com` itself, `.example.com` with
    /// all below it, `*.example.com`, `/regex/`, `file:NAME`, `remembered:NAME`. A client without a verified name is none.
    #[schemars(extend("examples" = [[".example.com"]]))]
    pub client_name: Option<Entries>,

    /// Whether the client's host name looks made up by its provider for whoever has the address just now: the address
    /// is in it, or words such as `dsl` and `pool`. A client without a verified name does not look so; `not = {
    /// client_name = "*" }` is about these.
    #[schemars(extend("examples" = [true]))]
    pub dynamic_client: Option<bool>,

    /// The name that the client gave with HELO or EHLO is one of these; written as for `client_name`.
    #[schemars(extend("examples" = [["localhost", ".example.com"]]))]
    pub helo: Option<Entries>,

    /// Whether the client has logged in; or a list of users, one of which it has logged in as. Users can have the
    /// wildcards `*` and `?`, and be `/regex/` or `file:NAME`.
    #[schemars(extend("examples" = [false, ["joe", "web-*"]]))]
    pub authenticated: Option<Login>,

    /// Whether the client speaks TLS.
    #[schemars(extend("examples" = [true]))]
    pub tls: Option<bool>,

    /// The listener of the MTA that the client came to has one of these names: `milter_macro_daemon_name` of Postfix,
    /// which can be set for each service in `master.cf`; `Name=` of Sendmail's `DaemonPortOptions`.
    #[schemars(extend("examples" = [["submission"]]))]
    pub daemon: Option<Names>,

    /// The sender's address is one of these: `joe@example.com`, `joe@` at any domain, `example.com`, `.example.com`
    /// with all below it, `<>` for the null sender, wildcards, `/regex/`, `file:NAME`, and `remembered:NAME` for
    /// those in the file of a filter of type `remember`.
    #[schemars(extend("examples" = [["<>", "*-bounces@example.com"]]))]
    pub sender: Option<Entries>,

    /// The domain of the sender's address is one of these; written as for `client_name`. The null sender has none.
    #[schemars(extend("examples" = [[".example.com", "file:partners"]]))]
    pub sender_domain: Option<Entries>,

    /// The address of some recipient is one of these; written as for `sender`.
    #[schemars(extend("examples" = [["postmaster@", "abuse@"]]))]
    pub recipient: Option<Entries>,

    /// The domain of the address of some recipient is one of these; written as for `client_name`.
    #[schemars(extend("examples" = [["example.org"]]))]
    pub recipient_domain: Option<Entries>,

    /// One of the filters of these names, which stand before in the chain, has accepted the message, or the connection.
    #[schemars(extend("examples" = [["access"]]))]
    pub accepted_by: Option<Names>,

    /// One of the filters of these names, which stand before in the chain, has failed.
    #[schemars(extend("examples" = [["virus-scanner"]]))]
    pub failed: Option<Names>,

    /// This does not hold.
    #[schemars(extend("examples" = [{ "client": ["192.0.2.0/24"] }]))]
    pub not: Option<Box<When>>,

    /// All of these hold: for what one table cannot say.
    #[schemars(extend("examples" = [[{ "not": { "tls": true } }, { "not": { "authenticated": true } }]]))]
    pub all: Option<Vec<When>>,

    /// Any of these holds.
    #[schemars(extend("examples" = [[{ "tls": true }, { "client": ["192.0.2.0/24"] }]]))]
    pub any: Option<Vec<When>>,
}

/// Whether somebody has logged in, or who.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    /// Whether at all.
    Is(bool),
    /// As one of these.
    As(Entries),
}

/// Plain names: an array of strings, or one string.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Names(pub Vec<String>);

/// Where a condition stands, which decides what it can be about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// It says whether a filter of a chain is asked.
    Chain,
    /// It is looked at in a filter, which does not know of others.
    Filter,
}

impl When {
    /// Makes it the condition of a filter of a chain. Reads the files of its lists.
    pub fn build(self, build: &mut Build) -> Option<Condition> {
        Some(self.check(Scope::Chain, build)?.into_condition())
    }

    /// Makes it something that a filter can look at itself, when all recipients are known.
    pub fn check(self, scope: Scope, build: &mut Build) -> Option<Check> {
        Check::build(self, scope, build)
    }

    /// The filters that it names, which have to stand before the one whose condition it is.
    pub fn names(&self) -> Vec<&str> {
        let mut names = Vec::new();
        self.walk(&mut |when| {
            let lists = when.accepted_by.iter().chain(&when.failed);
            names.extend(lists.flat_map(|list| &list.0).map(String::as_str));
        });
        names
    }

    /// The macros that it depends on.
    pub fn macros(&self) -> Vec<&'static str> {
        let mut macros = Vec::new();
        self.walk(&mut |when| {
            if when.authenticated.is_some() {
                macros.extend(["{auth_type}", "{auth_authen}"]);
            }
            if when.tls.is_some() {
                macros.extend(["{tls_version}", "{cipher}"]);
            }
            if when.daemon.is_some() {
                macros.push("{daemon_name}");
            }
        });
        macros.sort_unstable();
        macros.dedup();
        macros
    }

    /// Shows it and all inside of it to `visit`.
    fn walk<'a>(&'a self, visit: &mut dyn FnMut(&'a Self)) {
        visit(self);
        let inner = self.all.iter().chain(&self.any).flatten();
        for when in self.not.as_deref().into_iter().chain(inner) {
            when.walk(visit);
        }
    }
}

impl<'de> Deserialize<'de> for Login {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = Login;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true, false, or a list of users, such as [\"joe\", \"web-*\"]")
            }

            fn visit_bool<E: serde::de::Error>(self, is: bool) -> Result<Login, E> {
                Ok(Login::Is(is))
            }

            fn visit_str<E: serde::de::Error>(self, user: &str) -> Result<Login, E> {
                Entries::deserialize(value::StrDeserializer::new(user)).map(Login::As)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, users: A) -> Result<Login, A::Error> {
                Entries::deserialize(value::SeqAccessDeserializer::new(users)).map(Login::As)
            }
        }

        deserializer.deserialize_any(Either)
    }
}

impl JsonSchema for Login {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Login".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ "type": "boolean" }, generator.subschema_for::<Entries>()] })
    }
}

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Entries::deserialize(deserializer).map(|entries| Self(entries.texts().to_vec()))
    }
}

impl JsonSchema for Names {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Names".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }] })
    }
}

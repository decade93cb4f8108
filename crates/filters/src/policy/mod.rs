//! `policy`: an access map: who may send mail here, from what, to whom.
//!
//! # Example
//!
//! ```toml
#![doc = include_str!("example.toml")]
//! ```
//!
//! with a file `access.sender` beside it:
//!
//! ```text
//! # bounces
//! <>                     continue
//! joe@example.net        REJECT
//! .example.net           DISCARD
//! *                      continue
//! ```
//!
//! Lines of Postfix's access maps and of Sendmail's access database can be taken over as they are.

mod action;
mod filter;
mod map;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;

use self::filter::{PolicyFilter, Rules};
use crate::config::Build;
use crate::kind::{Kind, Nature, Plan};
use crate::lists::Entries;

/// An access map: who may send mail here, from what, to whom.
///
/// An entry is a key and an action: `"192.0.2.0/24 REJECT go away"`. `file:NAME` takes the lines of a file, which is read
/// again when it changes. The most telling key counts: an address before a domain, that before the domains above it, and
/// last of all `*`. A key stands once in a place; what stands here counts before what is in files. Where no other key fits,
/// regular expressions are tried in their order, before `*`: `"/^(info|sales)[0-9]+@/ REJECT made up"`. They are looked for in the
/// client's name, then its address, in the HELO name, in the whole address of a sender or recipient; case does not matter,
/// unless one begins with `(?-i)`.
///
/// The actions are those of Postfix and of Sendmail:
///
/// - `OK` (also `PERMIT`, `RELAY`, `accept`): passes. Of a client or HELO name, nothing more of its connection is looked
///   at here; of a sender, nothing more of its message. Other filters are asked all the same; `accepted_by` in their
///   condition tells them.
/// - `continue` (also `DUNNO`, `SKIP`): as if there was no entry, an exception from one that says less.
/// - `REJECT TEXT`: refused for good, `550 5.7.1 TEXT`. The text can begin with another status code, such as `5.1.6`.
/// - `TEMPFAIL TEXT` (also `DEFER`): refused for now, `451 4.7.1 TEXT`.
/// - `550 5.7.9 TEXT`, any code from 400 to 599, the status code or none: that reply. `421` also closes the connection.
///   Sendmail's `ERROR:5.7.9:550 TEXT` is the same.
/// - `HOLD TEXT` (Sendmail's `QUARANTINE:TEXT` is the same): the message is taken, and held by the MTA for somebody to look
///   at, for all its recipients. Whatever else is said of its parties is done all the same.
/// - `DISCARD`: the message is taken, and thrown away without a word.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Policy")]
pub struct Settings {
    /// The client, looked up when it connects: its address, the networks around it from the smallest on, its verified host
    /// name, the domains above that, `*`. Keys are `192.0.2.1`, `192.0.2.0/24`, `192.0.2` (the same), `2001:db8::/32`,
    /// `mail.example.com`, `.example.com` (with all below it), `*.example.com` (only what is below).
    #[schemars(extend("examples" = [["192.0.2.0/24 OK", ".dsl.example.com REJECT use your provider's server", "file:access.client"]]))]
    pub client: Entries,

    /// The name that the client gives with HELO, then the domains above that, `*`. Keys are `mail.example.com` and
    /// `.example.com`.
    #[schemars(extend("examples" = [["localhost REJECT that is me"]]))]
    pub helo: Entries,

    /// The sender: its address, without an extension behind the `delimiter` too, then its domain, the domains above that,
    /// the user at any domain, `*`. Keys are `joe@example.com`, `example.com`, `.example.com`, `joe@`, and `<>` for the
    /// null sender.
    #[schemars(extend("examples" = [["joe@example.com REJECT", ".example.net OK", "file:access.sender"]]))]
    pub sender: Entries,

    /// Each recipient; looked up as the sender. Who is refused here gets no copy, the others do.
    #[schemars(extend("examples" = [["old@example.com 550 5.1.6 has moved to new@example.org"]]))]
    pub recipient: Entries,

    /// All of these in one, as in Sendmail's access database: `Connect:192.0.2.1 REJECT`, `From:joe@example.com REJECT`,
    /// `To:joe@example.com REJECT`, `Helo:localhost REJECT`. A key without such a beginning is one of clients and
    /// senders. Looked up behind the entries above.
    #[schemars(extend("examples" = [["file:/etc/mail/access"]]))]
    pub access: Entries,

    /// Characters of which the first begins an extension of an address, which is looked up without it too:
    /// `joe+lists@example.com` is `joe@example.com`. Empty for none. As `recipient_delimiter` of Postfix.
    #[serde(default = "delimiter")]
    #[schemars(extend("examples" = ["+"]))]
    pub delimiter: String,
}

fn delimiter() -> String {
    "+".to_owned()
}

impl Kind for Settings {
    const NAME: &'static str = "policy";
    const SUMMARY: &'static str = "an access map: who may send mail here, from what, to whom";
    const EXAMPLE: &str = include_str!("example.toml");

    fn plan(self, build: &mut Build) -> Option<Plan> {
        let rules = Arc::new(Rules::build(self, build)?);
        Some(Plan::new(Nature::default(), move || PolicyFilter::new(rules.clone())))
    }
}

//! `remember`: remembers senders, recipients or clients for a time, for conditions to ask.
//!
//! # Example
//!
//! Whom our users have written to may answer without being greylisted, for two months:
//!
//! ```toml
#![doc = include_str!("example.toml")]
//! ```

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tamis::message::{Address, Client};
use tamis::{BoxError, Collect, Context, Event, Filter, Needs, Now, Reply, Stage, Verdict};

use crate::config::{Build, Time};
use crate::kind::{Kind, Nature, Plan};
use crate::lists::{Expiring, MOST_REMEMBERED, canonical, is_key, key_of};

/// Remembers senders, recipients or clients of messages for a time. Lists of addresses, domains and clients ask for them by
/// `remembered:NAME`, with the same file. A message counts when it comes to its end, and has passed the filters before this one.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Remember")]
pub struct Settings {
    /// What is remembered of a message: `recipients`, `recipient-domains`, `sender`, `sender-domain`, or `client`, its
    /// address. The null sender is not.
    #[schemars(extend("examples" = ["recipients"]))]
    pub what: What,

    /// Where it is kept, over restarts too: a line for each, with the second since 1970 at which it is forgotten. Its
    /// folder must be there, and be the program's to write to. A file that was edited is read again.
    #[schemars(extend("examples" = ["/var/lib/tamis/correspondents"]))]
    pub file: String,

    /// For how long, from the last such message on.
    #[serde(default = "lifetime")]
    #[schemars(extend("examples" = ["60d"]))]
    pub lifetime: Time,

    /// How many are remembered at most; those that would be forgotten first make room.
    #[serde(default = "most")]
    #[schemars(extend("examples" = [100_000]), range(min = 1))]
    pub max: usize,
}

/// What is remembered of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// The addresses of the recipients.
    Recipients,
    /// Their domains.
    RecipientDomains,
    /// The address of the sender.
    Sender,
    /// Its domain.
    SenderDomain,
    /// The address of the client.
    Client,
}

const fn lifetime() -> Time {
    Time::seconds(30 * 86_400)
}

const fn most() -> usize {
    MOST_REMEMBERED
}

impl Kind for Settings {
    const NAME: &'static str = "remember";
    const SUMMARY: &'static str =
        "remembers senders, recipients or clients for a time, for conditions to ask";
    const EXAMPLE: &str = include_str!("example.toml");

    fn plan(self, build: &mut Build) -> Option<Plan> {
        let list = build.within("file", |build| {
            let path = build.file(&self.file);
            if !path.parent().is_some_and(Path::is_dir) {
                build.mistake(format!("there is no folder for {}", path.display()));
                return None;
            }
            build.ok(Expiring::open(path))
        });
        if self.max == 0 {
            build.within("max", |build| build.mistake("to remember nothing, leave the filter out"));
            return None;
        }
        let (list, what, lifetime) = (list?, self.what, self.lifetime.0);
        let make = move || {
            // Not before it is in use: a configuration with a mistake elsewhere must not touch what there is.
            list.limit(self.max);
            RememberFilter { what, lifetime, list: list.clone() }
        };
        Some(Plan::new(Nature::default(), make))
    }
}

/// The filter of one connection.
#[derive(Debug)]
struct RememberFilter {
    what: What,
    lifetime: Duration,
    list: Arc<Expiring>,
}

impl RememberFilter {
    fn remember(&self, cx: &Context<'_, ()>) -> Result<(), BoxError> {
        let envelope = cx.envelope()?;
        let add = |key: Option<String>| key.iter().for_each(|key| self.list.add(key, self.lifetime));
        match self.what {
            What::Client => {
                let address = envelope.client().and_then(Client::ip);
                add(address.map(|address| address.to_canonical().to_string()));
            }
            What::Sender => add(envelope.sender().and_then(|sender| key_of(sender.address()))),
            What::SenderDomain => add(envelope.sender().and_then(|sender| domain(sender.address()))),
            What::RecipientDomains => envelope.recipients().for_each(|to| add(domain(to.address()))),
            What::Recipients => envelope.recipients().for_each(|to| add(key_of(to.address()))),
        }
        Ok(())
    }
}

/// The domain of an address, as it is looked up.
fn domain(address: &Address) -> Option<String> {
    Some(canonical(address.domain()?)?.into_owned()).filter(|domain| is_key(domain))
}

impl Filter for RememberFilter {
    type Message = ();

    fn needs(&self) -> Needs {
        Needs::new().watch([Stage::EndOfMessage])
    }

    fn collect(&self) -> Collect {
        Collect::nothing().envelope()
    }

    fn now(&mut self, cx: &mut Context<'_, ()>, event: Event) -> Now {
        Now::Done(match event {
            Event::EndOfMessage => self.remember(cx).map(|()| Verdict::Continue),
            _ => Ok(Verdict::Continue),
        })
    }

    async fn on(&mut self, _: &mut Context<'_, ()>, _: Event) -> Reply {
        Ok(Verdict::Continue)
    }
}

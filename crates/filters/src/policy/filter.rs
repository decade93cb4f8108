//! The filter: looks up each party when it comes.

use std::fmt::Display;
use std::net::IpAddr;
use std::sync::Arc;

use tamis::message::{Address, Client};
use tamis::{Actions, Context, Event, Filter, Needs, Now, Reply, Stage, Verdict};

use super::Settings;
use super::action::Action;
use super::map::{Map, Tagged};
use crate::config::Build;
use crate::lists::{Entries, List, ReadLines};

/// What all connections share.
#[derive(Debug)]
pub(super) struct Rules {
    client: Source,
    helo: Source,
    sender: Source,
    recipient: Source,
    delimiter: String,
}

/// The maps of a direction.
#[derive(Debug)]
struct Source {
    own: Option<List<Map>>,
    shared: Option<Arc<List<Tagged>>>,
    part: Part,
}

/// Takes a direction's map.
type Part = fn(&Tagged) -> &Map;

/// The filter of one connection.
#[derive(Debug)]
pub(super) struct PolicyFilter {
    rules: Arc<Rules>,
    /// What was said of the client, and of its HELO name, and can only be done to a message.
    waiting: [Option<Arc<Action>>; 2],
}

/// What is known of a message.
#[derive(Debug, Default)]
pub(super) struct Message {
    /// The entry that has it held.
    hold: Option<Arc<Action>>,
    /// Its sender passes: nothing more of it is looked at.
    passed: bool,
}

impl PolicyFilter {
    pub(super) fn new(rules: Arc<Rules>) -> Self {
        Self { rules, waiting: [None, None] }
    }

    fn look_up(&mut self, message: &mut Message, event: Event) -> Verdict {
        let rules = self.rules.clone();
        match event {
            Event::Connect(client) => {
                let client = Client::from(client);
                let action = rules.client.client(client.ip(), client.name());
                self.waiting[1] = None;
                say(&mut self.waiting[0], action, "client", &client)
            }
            Event::Helo(name) => {
                let name = String::from_utf8_lossy(&name);
                match say(&mut self.waiting[1], rules.helo.named(&name), "helo", &name) {
                    // Whoever accepts is not there any more to do what was said of the client.
                    Verdict::Accept if self.waiting[0].is_some() => Verdict::Continue,
                    verdict => verdict,
                }
            }
            Event::Mail(path) => {
                let address = Address::parse(path.address);
                for action in self.waiting.iter().flatten() {
                    match tell(action, "client of sender", &address) {
                        Verdict::Continue => message.hold(action),
                        verdict => return verdict,
                    }
                }
                let Some(action) = rules.sender.address(&address, &rules.delimiter) else {
                    return Verdict::Continue;
                };
                message.hold(&action);
                match tell(&action, "sender", &address) {
                    // Whoever accepts is not there at the end, where a message is held.
                    Verdict::Accept if message.hold.is_some() => {
                        message.passed = true;
                        Verdict::Continue
                    }
                    verdict => verdict,
                }
            }
            Event::Rcpt(_) if message.passed => Verdict::Continue,
            Event::Rcpt(path) => {
                let address = Address::parse(path.address);
                let action = rules.recipient.address(&address, &rules.delimiter);
                if let Some(action) = &action {
                    message.hold(action);
                }
                match action.map(|action| tell(&action, "recipient", &address)) {
                    // To accept would be to pass all the others too.
                    None | Some(Verdict::Accept) => Verdict::Continue,
                    Some(verdict) => verdict,
                }
            }
            _ => Verdict::Continue,
        }
    }
}

impl Message {
    /// Takes note of an entry that has it held; the first one says why.
    fn hold(&mut self, action: &Arc<Action>) {
        if action.hold.is_some() && self.hold.is_none() {
            self.hold = Some(action.clone());
        }
    }
}

/// What is said before there is a message; what can only be done to one waits for it.
fn say(
    waiting: &mut Option<Arc<Action>>,
    action: Option<Arc<Action>>,
    what: &str,
    who: &dyn Display,
) -> Verdict {
    let waits = |action: &Arc<Action>| action.verdict == Verdict::Discard || action.hold.is_some();
    *waiting = action.clone().filter(waits);
    match action {
        Some(action) if !waits(&action) => tell(&action, what, who),
        _ => Verdict::Continue,
    }
}

/// Says in the log what an entry does to somebody.
fn tell(action: &Action, what: &str, who: &dyn Display) -> Verdict {
    let Action { key, verdict, hold } = action;
    if let Some(reason) = hold {
        tracing::info!(%key, reason, "{what} {} has the message held by the access map", who.to_string().escape_debug());
    } else if verdict.stops() {
        tracing::info!(%key, verdict = %verdict, "{what} {} is refused by the access map", who.to_string().escape_debug());
    } else {
        tracing::debug!(%key, verdict = %verdict, "{what} {} is in the access map", who.to_string().escape_debug());
    }
    verdict.clone()
}

impl Filter for PolicyFilter {
    type Message = Message;

    fn needs(&self) -> Needs {
        let Rules { client, helo, sender, recipient, .. } = &*self.rules;
        let waits = |map: &Map| map.discards() || map.holds();
        let waits = client.any(waits) || helo.any(waits);
        let holds = [client, helo, sender, recipient].iter().any(|source| source.any(Map::holds));
        let stages = [
            (Stage::Connect, client.is_used()),
            (Stage::Helo, helo.is_used()),
            (Stage::Mail, sender.is_used() || waits),
            (Stage::Rcpt, recipient.is_used()),
            (Stage::EndOfMessage, holds || self.rules.may_hold()),
        ];
        let needs = Needs::new().answer(stages.into_iter().filter(|(_, used)| *used).map(|(stage, _)| stage));
        match holds {
            true => needs.require(Actions::QUARANTINE),
            // A file may come to have such an entry while the connection is open.
            false if self.rules.may_hold() => needs.allow(Actions::QUARANTINE),
            false => needs,
        }
    }

    fn now(&mut self, cx: &mut Context<'_, Message>, event: Event) -> Now {
        if event != Event::EndOfMessage {
            return Now::Done(Ok(self.look_up(cx.message, event)));
        }
        let reason = cx.message.hold.as_ref().and_then(|action| action.hold.clone());
        let held = reason.map_or(Ok(()), |reason| cx.quarantine(String::from(reason)));
        Now::Done(held.map(|()| Verdict::Continue).map_err(Into::into))
    }

    async fn on(&mut self, _: &mut Context<'_, Message>, _: Event) -> Reply {
        Ok(Verdict::Continue)
    }
}

impl Rules {
    pub(super) fn build(settings: Settings, build: &mut Build) -> Option<Self> {
        let Settings { client, helo, sender, recipient, access, delimiter } = settings;
        if [&client, &helo, &sender, &recipient, &access].iter().all(|entries| entries.texts().is_empty()) {
            build.mistake("no entries: give it some for `client`, `helo`, `sender` or `recipient`");
            return None;
        }
        let shared = list::<Tagged>("access", &access, build).map(|list| list.map(Arc::new));
        let client = list("client", &client, build);
        let helo = list("helo", &helo, build);
        let sender = list("sender", &sender, build);
        let recipient = list("recipient", &recipient, build);
        let shared = shared?;
        let with = |own, part: Part| Source { own, shared: shared.clone(), part };
        Some(Self {
            client: with(client?, |all| &all.client),
            helo: with(helo?, |all| &all.helo),
            sender: with(sender?, |all| &all.sender),
            recipient: with(recipient?, |all| &all.recipient),
            delimiter,
        })
    }
}

/// The list of a key; nothing where there is none.
#[expect(clippy::option_option, reason = "one says whether it is sound, the other whether it is there")]
fn list<T: ReadLines>(key: &str, entries: &Entries, build: &mut Build) -> Option<Option<List<T>>> {
    if entries.texts().is_empty() {
        return Some(None);
    }
    build.within(key, |build| List::build(entries, build)).map(Some)
}

impl Rules {
    /// Whether entries can come, by way of a file, that have messages held.
    fn may_hold(&self) -> bool {
        [&self.client, &self.helo, &self.sender, &self.recipient].iter().any(|source| source.has_files())
    }
}

impl Source {
    fn has_files(&self) -> bool {
        self.own.as_ref().is_some_and(List::has_files)
            || self.shared.as_ref().is_some_and(|shared| shared.has_files())
    }

    /// Whether there is a file, which may come to have entries, or an entry.
    fn is_used(&self) -> bool {
        self.own.is_some() || self.any(|map| !map.is_empty())
    }

    fn any(&self, look: impl Fn(&Map) -> bool) -> bool {
        self.find(|map| look(map).then_some(())).is_some()
    }

    fn find<R>(&self, look: impl Fn(&Map) -> Option<R>) -> Option<R> {
        let own = self.own.as_ref().and_then(|list| list.find(&look));
        own.or_else(|| self.shared.as_ref()?.find(|all| look((self.part)(all))))
    }

    fn client(&self, address: Option<IpAddr>, name: Option<&str>) -> Option<Arc<Action>> {
        let by_address = address.and_then(|address| self.find(|map| map.ip(address)));
        let by_name = || name.and_then(|name| self.find(|map| map.name(name)));
        let expressions = || {
            let address = address.map(|address| address.to_canonical().to_string());
            let texts = [name, address.as_deref()];
            texts.into_iter().flatten().find_map(|text| self.find(|map| map.expression(text.as_bytes())))
        };
        by_address.or_else(by_name).or_else(expressions).or_else(|| self.find(Map::default))
    }

    fn named(&self, name: &str) -> Option<Arc<Action>> {
        let expressions = || self.find(|map| map.expression(name.as_bytes()));
        self.find(|map| map.name(name)).or_else(expressions).or_else(|| self.find(Map::default))
    }

    fn address(&self, address: &Address, delimiter: &str) -> Option<Arc<Action>> {
        let by_domain = || address.domain().and_then(|domain| self.find(|map| map.name(domain)));
        self.find(|map| map.mailbox(address, delimiter))
            .or_else(by_domain)
            .or_else(|| self.find(|map| map.user(address, delimiter)))
            .or_else(|| self.find(|map| map.expression(address.mailbox())))
            .or_else(|| self.find(Map::default))
    }
}

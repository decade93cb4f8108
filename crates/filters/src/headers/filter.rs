//! The filter: what it needs, and what it does at the end of a message.

use std::borrow::Cow;
use std::sync::Arc;

use regex::bytes::Regex;
use tamis::message::{Envelope, HeaderError, HeaderId, Headers};
use tamis::{Actions, BoxError, Collect, Context, Event, Filter, Needs, Now, Reply, Stage, Verdict};

use super::results::AuthservId;
use super::rule::{Known, Ready};
use super::{Firewall, Settings};
use crate::condition::{Check, Scope};
use crate::config::Build;
use crate::lists::glob;
use crate::template::Template;
use crate::values::{Asks, Value};

/// What all connections share.
#[derive(Debug)]
pub(super) struct Work {
    firewall: Option<Wall>,
    rules: Vec<Ready>,
    asks: Asks,
}

/// The firewall, ready.
#[derive(Debug)]
struct Wall {
    when: Option<Check>,
    ids: Vec<Id>,
    malformed: bool,
}

#[derive(Debug)]
enum Id {
    Glob(Regex),
    /// Something that the MTA says.
    Said(Template<Value>),
}

/// The filter of one connection.
#[derive(Debug)]
pub(super) struct HeaderFilter(Arc<Work>);

impl HeaderFilter {
    pub(super) fn new(work: Arc<Work>) -> Self {
        Self(work)
    }
}

impl Filter for HeaderFilter {
    type Message = ();

    fn needs(&self) -> Needs {
        let needs = Needs::new().answer([Stage::EndOfMessage]).require(self.0.actions());
        self.0.asks.add_to(needs)
    }

    fn collect(&self) -> Collect {
        let collect = Collect::nothing().headers();
        if self.0.asks.envelope { collect.envelope() } else { collect }
    }

    fn now(&mut self, cx: &mut Context<'_, ()>, event: Event) -> Now {
        Now::Done(match event {
            Event::EndOfMessage => self.0.apply(cx),
            _ => Ok(Verdict::Continue),
        })
    }

    async fn on(&mut self, _: &mut Context<'_, ()>, _: Event) -> Reply {
        Ok(Verdict::Continue)
    }
}

impl Work {
    pub(super) fn build(settings: Settings, build: &mut Build) -> Option<Self> {
        if settings.rules.is_empty() && settings.firewall.is_none() {
            build.mistake("nothing to do: give it a `firewall`, or `rules`");
        }
        let firewall =
            settings.firewall.map(|wall| build.within("firewall", |build| Wall::build(wall, build)));
        let rules = build.within("rules", |build| {
            let each = settings.rules.into_iter().enumerate();
            each.map(|(index, rule)| build.within(index, |build| Ready::build(rule, build)))
                .collect::<Vec<_>>()
        });
        let firewall = match firewall {
            Some(wall) => Some(wall?),
            None => None,
        };
        let rules: Vec<Ready> = rules.into_iter().collect::<Option<_>>()?;
        if !build.is_sound() {
            return None;
        }
        let mut asks = Asks::default();
        if let Some(wall) = &firewall {
            wall.ask(&mut asks);
        }
        for rule in &rules {
            rule.ask(&mut asks);
        }
        Some(Self { firewall, rules, asks })
    }

    pub(super) fn asks(&self) -> &Asks {
        &self.asks
    }

    fn actions(&self) -> Actions {
        let removes = if self.firewall.is_some() { Actions::CHANGE_HEADERS } else { Actions::empty() };
        self.rules.iter().fold(removes, |actions, rule| actions | rule.actions())
    }

    fn apply(&self, cx: &mut Context<'_, ()>) -> Result<Verdict, BoxError> {
        let nobody = Envelope::default();
        let envelope = if self.asks.envelope { cx.envelope()? } else { &nobody };
        let known = Known { envelope, facts: cx.facts() };
        let headers = cx.headers_mut()?;
        if let Some(wall) = &self.firewall {
            wall.apply(headers, known)?;
        }
        for (number, rule) in (1_u32..).zip(&self.rules) {
            match rule.apply(headers, known) {
                // What others wrote is too long for a field: nothing that the mail should be refused for.
                Err(error @ (HeaderError::TooLong { .. } | HeaderError::Invalid(_))) => {
                    tracing::warn!(rule = number, "header field is left as it is: {error}");
                }
                done => done?,
            }
        }
        Ok(Verdict::Continue)
    }
}

impl Wall {
    fn build(firewall: Firewall, build: &mut Build) -> Option<Self> {
        let when = match firewall.when {
            Some(when) => Some(build.within("when", |build| when.check(Scope::Filter, build))?),
            None => None,
        };
        let ids: Vec<Option<Id>> = build.within("ids", |build| {
            let each = firewall.ids.0.iter().enumerate();
            each.map(|(index, id)| build.within(index, |build| Id::build(id, build))).collect()
        });
        let ids: Vec<Id> = ids.into_iter().collect::<Option<_>>()?;
        if ids.is_empty() {
            build.within("ids", |build| {
                build.warning("without an identifier only malformed fields are removed");
            });
        }
        Some(Self { when, ids, malformed: firewall.malformed })
    }

    fn ask(&self, asks: &mut Asks) {
        if let Some(check) = &self.when {
            asks.check(check);
        }
        for id in &self.ids {
            if let Id::Said(template) = id {
                for value in template.values() {
                    asks.value(value);
                }
            }
        }
    }

    /// Removes what claims to be ours.
    fn apply(&self, headers: &mut Headers, known: Known<'_>) -> Result<(), HeaderError> {
        let mut results = headers.iter().filter(|header| is_results(header.name().as_bytes())).peekable();
        if results.peek().is_none()
            || self.when.as_ref().is_some_and(|check| !check.holds(known.envelope, known.facts))
        {
            return Ok(());
        }
        let said: Vec<String> = self.ids.iter().filter_map(|id| id.said(known)).collect();
        let is_ours = |name: &str| {
            said.iter().any(|said| said.eq_ignore_ascii_case(name))
                || self.ids.iter().any(|id| id.matches(name))
        };
        let is_forged = |value: &[u8]| match AuthservId::parse(value) {
            Ok(id) => is_ours(id.name().trim().trim_end_matches('.')),
            Err(_) => self.malformed,
        };
        let forged: Vec<HeaderId> =
            results.filter(|header| is_forged(header.value().as_bytes())).map(|header| header.id()).collect();
        for id in &forged {
            headers.remove(*id)?;
        }
        if !forged.is_empty() {
            let queue_id = known.facts.queue_id().unwrap_or("-");
            tracing::info!(queue_id, fields = forged.len(), "forged Authentication-Results were removed");
        }
        Ok(())
    }
}

/// Whether it is the name of the field; some MTAs let space stand before the colon.
fn is_results(name: &[u8]) -> bool {
    name.trim_ascii_end().eq_ignore_ascii_case(b"Authentication-Results")
}

impl Id {
    fn build(id: &str, build: &mut Build) -> Option<Self> {
        if id.contains(['{', '}']) {
            return build.ok(Template::parse(id, None, Value::named)).map(Self::Said);
        }
        if id.trim().is_empty() || id.trim() != id {
            build.mistake(format!("{id:?} is no identifier: write a host name, a pattern, or {{j}}"));
            return None;
        }
        build.ok(glob(id.trim_end_matches('.'))).map(Self::Glob)
    }

    /// Whether a pattern has the identifier in it.
    fn matches(&self, name: &str) -> bool {
        matches!(self, Self::Glob(glob) if glob.is_match(name.as_bytes()))
    }

    /// What the MTA says that we are, if it is to.
    fn said(&self, known: Known<'_>) -> Option<String> {
        let Self::Said(template) = self else { return None };
        let Known { envelope, facts } = known;
        let value = |value: &Value| value.text(envelope, facts).map(|text| Cow::Owned(text.into_owned()));
        let id = String::from_utf8(template.render(None, value)).ok()?;
        let id = id.trim().trim_end_matches('.');
        if id.is_empty() {
            tracing::warn!("the MTA does not say who we are: forged Authentication-Results may stay");
            return None;
        }
        Some(id.to_owned())
    }
}

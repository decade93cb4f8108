//! A rule that is ready: what it is about, and what it does.

use std::borrow::Cow;

use regex::bytes::{Captures, Regex};
use tamis::Actions;
use tamis::message::{Envelope, Facts, Header, HeaderError, HeaderId, Headers};

use super::Rule;
use crate::condition::{Check, Names, Scope};
use crate::config::Build;
use crate::lists::{glob, regex};
use crate::template::Template;
use crate::values::{Asks, Value};

/// A rule that is ready.
#[derive(Debug)]
pub(super) struct Ready {
    when: Option<Check>,
    header: Option<NameGlobs>,
    matches: Option<Regex>,
    absent: Option<NameGlobs>,
    action: Action,
}

#[derive(Debug)]
enum Action {
    Add(Field),
    Insert(Field, Place),
    Replace(Template<Value>),
    Remove,
}

/// A field to be made.
#[derive(Debug)]
struct Field {
    name: String,
    value: Template<Value>,
}

#[derive(Debug)]
enum Place {
    Top,
    Above(NameGlobs),
    Below(NameGlobs),
}

/// Names of header fields, with wildcards.
#[derive(Debug)]
struct NameGlobs(Vec<Regex>);

/// What is known of a message.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    pub(super) envelope: &'a Envelope,
    pub(super) facts: Facts<'a>,
}

impl Ready {
    pub(super) fn build(rule: Rule, build: &mut Build) -> Option<Self> {
        let when = rule.when.map(|when| build.within("when", |build| when.check(Scope::Filter, build)));
        let header = rule.header.map(|names| build.within("header", |build| NameGlobs::build(&names, build)));
        let absent = rule.absent.map(|names| build.within("absent", |build| NameGlobs::build(&names, build)));
        let above = rule.above.map(|name| build.within("above", |build| NameGlobs::one(&name, build)));
        let below = rule.below.map(|name| build.within("below", |build| NameGlobs::one(&name, build)));
        let matches = rule.matches.map(|source| build.within("matches", |build| build.ok(regex(&source))));
        if matches.is_some() && header.is_none() {
            build.within("matches", |build| build.mistake("it needs a `header`, the fields to look at"));
        }
        if rule.insert.is_none() {
            for (key, given) in [("above", above.is_some()), ("below", below.is_some())] {
                if given {
                    build.within(key, |build| {
                        build.mistake("it is for `insert`, which this rule does not do");
                    });
                }
            }
        }
        let nothing = Regex::new("").expect("an empty expression is one");
        let captures = header.is_some().then(|| matches.clone().flatten().unwrap_or(nothing));
        let captures = captures.as_ref();
        let mut actions = Vec::new();
        if let Some(text) = rule.add {
            actions.push(build.within("add", |build| Field::build(&text, captures, build)).map(Action::Add));
        }
        if let Some(text) = rule.insert {
            let field = build.within("insert", |build| Field::build(&text, captures, build));
            let place = match (above, below) {
                (None, None) => Some(Place::Top),
                (Some(names), None) => names.map(Place::Above),
                (None, Some(names)) => names.map(Place::Below),
                (Some(_), Some(_)) => {
                    build.within("below", |build| {
                        build.mistake("there is an `above` as well: write one of them");
                    });
                    None
                }
            };
            actions.push(field.zip(place).map(|(field, place)| Action::Insert(field, place)));
        }
        if let Some(text) = rule.replace {
            let value =
                build.within("replace", |build| build.ok(Template::parse(&text, captures, Value::named)));
            needs_header("replace", header.is_some(), build);
            actions.push(value.map(Action::Replace));
        }
        if let Some(is) = rule.remove {
            if !is {
                build.within("remove", |build| build.mistake("write `remove = true`, or leave it out"));
            }
            needs_header("remove", header.is_some(), build);
            actions.push(Some(Action::Remove));
        }
        if actions.len() != 1 {
            let many = actions.len();
            build.mistake(format!(
                "a rule does one of `add`, `insert`, `replace` and `remove`; this one does {many}"
            ));
            return None;
        }
        let action = actions.pop()??;
        Some(Self {
            when: all(when)?,
            header: all(header)?,
            matches: all(matches)?,
            absent: all(absent)?,
            action,
        })
    }

    /// The actions that it cannot do without.
    pub(super) fn actions(&self) -> Actions {
        match &self.action {
            Action::Add(_) | Action::Insert(..) => Actions::ADD_HEADERS,
            Action::Replace(_) | Action::Remove => Actions::CHANGE_HEADERS,
        }
    }

    /// Adds what it looks at.
    pub(super) fn ask(&self, asks: &mut Asks) {
        if let Some(check) = &self.when {
            asks.check(check);
        }
        let value = match &self.action {
            Action::Add(field) | Action::Insert(field, _) => &field.value,
            Action::Replace(value) => value,
            Action::Remove => return,
        };
        for value in value.values() {
            asks.value(value);
        }
    }

    /// Does it to a header.
    pub(super) fn apply(&self, headers: &mut Headers, known: Known<'_>) -> Result<(), HeaderError> {
        if self.when.as_ref().is_some_and(|check| !check.holds(known.envelope, known.facts))
            || self.absent.as_ref().is_some_and(|names| headers.iter().any(|header| names.has(&header)))
        {
            return Ok(());
        }
        match &self.action {
            Action::Add(field) => match self.value_for(headers, &field.value, known) {
                Some(value) => headers.append(&field.name, value).map(drop),
                None => Ok(()),
            },
            Action::Insert(field, place) => match self.value_for(headers, &field.value, known) {
                Some(value) => insert(headers, place, &field.name, value).map(drop),
                None => Ok(()),
            },
            Action::Replace(value) => {
                let values =
                    self.selected(headers, |header, found| (header.id(), known.render(value, found)));
                for (id, value) in values {
                    if value.is_empty() { headers.remove(id)? } else { headers.replace(id, value)? }
                }
                Ok(())
            }
            Action::Remove => {
                let found = self.selected(headers, |header, _| header.id());
                found.into_iter().try_for_each(|id| headers.remove(id))
            }
        }
    }

    /// The value of a field to be made; none where there is no reason to, or nothing in it.
    fn value_for(&self, headers: &Headers, value: &Template<Value>, known: Known<'_>) -> Option<Vec<u8>> {
        let value = match &self.header {
            None => known.render(value, None),
            Some(_) => self.first_selected(headers, |found| known.render(value, found))?,
        };
        Some(value).filter(|value| !value.is_empty())
    }

    fn first_selected<R>(&self, headers: &Headers, look: impl Fn(Option<&Captures<'_>>) -> R) -> Option<R> {
        headers.iter().find_map(|header| self.selects(&header, &look))
    }

    fn selected<R>(
        &self,
        headers: &Headers,
        look: impl Fn(&Header<'_>, Option<&Captures<'_>>) -> R,
    ) -> Vec<R> {
        headers.iter().filter_map(|header| self.selects(&header, |found| look(&header, found))).collect()
    }

    /// What `look` makes of a field and of what was found in it, if the rule is about it.
    fn selects<R>(&self, header: &Header<'_>, look: impl Fn(Option<&Captures<'_>>) -> R) -> Option<R> {
        if !self.header.as_ref()?.has(header) {
            return None;
        }
        match &self.matches {
            None => Some(look(None)),
            Some(matches) => matches.captures(header.unfolded().as_bytes()).map(|found| look(Some(&found))),
        }
    }
}

impl Known<'_> {
    /// A new value of a field, without white space around it.
    fn render(self, template: &Template<Value>, found: Option<&Captures<'_>>) -> Vec<u8> {
        let Self { envelope, facts } = self;
        let value = template
            .render(found, |value| value.text(envelope, facts).map(|text| Cow::Owned(text.into_owned())));
        folded(value.trim_ascii())
    }
}

/// Lines of a header should be shorter; MTAs cut those that are longer than 998 bytes anywhere.
const LINE: usize = 78;
const LONGEST_LINE: usize = 900;

/// Folds a value of one line that is too long for one, before white space.
fn folded(value: &[u8]) -> Vec<u8> {
    if value.len() <= LONGEST_LINE {
        return value.to_vec();
    }
    let mut out = Vec::with_capacity(value.len() + value.len() / LINE);
    let mut line = 0;
    for word in value.split_inclusive(|byte| *byte == b' ') {
        // The space before a word is the end of what is out.
        if line + word.len() > LINE && out.ends_with(b" ") {
            out.pop();
            out.extend_from_slice(b"\n ");
            line = 1;
        }
        out.extend_from_slice(word);
        line += word.len();
    }
    out
}

fn insert(headers: &mut Headers, place: &Place, name: &str, value: Vec<u8>) -> Result<HeaderId, HeaderError> {
    let found = match place {
        Place::Top => None,
        Place::Above(names) => headers.iter().find(|header| names.has(header)),
        Place::Below(names) => headers.iter().rfind(|header| names.has(header)),
    };
    match (found.map(|header| header.id()), place) {
        (Some(id), Place::Below(_)) => headers.insert_after(id, name, value),
        (Some(id), _) => headers.insert_before(id, name, value),
        (None, _) => headers.prepend(name, value),
    }
}

impl Field {
    fn build(text: &str, captures: Option<&Regex>, build: &mut Build) -> Option<Self> {
        let Some((name, value)) = text.split_once(':') else {
            build.mistake(format!("{text:?} is no header field: write \"Name: value\""));
            return None;
        };
        let name = name.trim();
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
            build.mistake(format!("{name:?} is no name of a header field"));
            return None;
        }
        if value.contains(['\n', '\r', '\0']) {
            build.mistake("a value is one line: it is folded by itself where it gets too long");
            return None;
        }
        let value = build.ok(Template::parse(value.trim(), captures, Value::named))?;
        Some(Self { name: name.to_owned(), value })
    }
}

impl NameGlobs {
    fn build(names: &Names, build: &mut Build) -> Option<Self> {
        let each = names.0.iter().enumerate();
        let globs: Vec<_> =
            each.map(|(index, name)| build.within(index, |build| build.ok(one(name)))).collect();
        if globs.is_empty() {
            build.mistake("no name of a header field");
            return None;
        }
        globs.into_iter().collect::<Option<_>>().map(Self)
    }

    fn one(name: &str, build: &mut Build) -> Option<Self> {
        build.ok(one(name)).map(|name| Self(vec![name]))
    }

    fn has(&self, header: &Header<'_>) -> bool {
        // Some MTAs let space stand before the colon.
        let name = header.name().as_bytes().trim_ascii_end();
        self.0.iter().any(|glob| glob.is_match(name))
    }
}

fn one(name: &str) -> Result<Regex, String> {
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':') {
        return Err(format!("{name:?} is no name of a header field: write \"Subject\" or \"X-Spam-*\""));
    }
    glob(name)
}

fn needs_header(key: &str, has_header: bool, build: &mut Build) {
    if !has_header {
        build.within(key, |build| build.mistake("it needs a `header`, the fields that it is done to"));
    }
}

/// What was built of what was there; none where that failed.
#[expect(clippy::option_option, reason = "one says whether it was there, the other whether it is sound")]
fn all<T>(built: Option<Option<T>>) -> Option<Option<T>> {
    match built {
        Some(None) => None,
        Some(built) => Some(built),
        None => Some(None),
    }
}

#[cfg(test)]
mod tests {
    use super::folded;

    #[test]
    fn long_values_are_folded_at_spaces_and_nothing_else_is() {
        let short = "word ".repeat(180);
        assert_eq!(folded(short.as_bytes()), short.as_bytes());
        let long = ["word"; 300].join(" ");
        let value = String::from_utf8(folded(long.as_bytes())).unwrap();
        assert!(value.lines().all(|line| line.len() <= 79), "{value}");
        assert_eq!(value.replace("\n ", " "), long);
        let solid = "x".repeat(2_000);
        assert_eq!(folded(solid.as_bytes()), solid.as_bytes(), "there is no place to fold");
    }
}

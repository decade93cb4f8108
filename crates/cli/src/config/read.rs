//! From a text to a configuration, with all that is wrong in it and not just the first.

use std::collections::HashSet;
use std::ops::Range;

use serde::de::DeserializeOwned;
use tamis_filters::config::Build;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use super::filters::{self, Member};
use super::finding::{Findings, Source};
use super::place::{self, Table};
use super::sections::Sections;

/// A configuration that can be run.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) sections: Sections,
    /// The filters, in the order of the text.
    pub(crate) members: Vec<Member>,
}

/// What else is asked of a configuration that can be run.
type Compare<'c> = &'c mut dyn FnMut(&Config, &mut Build);

/// Reads a configuration. There is none if a mistake is among the findings.
pub(crate) fn read(source: &Source) -> (Option<Config>, Findings) {
    read_and(source, &mut |_, _| ())
}

/// As [`read`], and has what it read compared with something else.
pub(super) fn read_and(source: &Source, compare: Compare<'_>) -> (Option<Config>, Findings) {
    let mut findings = Findings::default();
    let (mut root, errors) = DeTable::parse_recoverable(&source.text);
    if !errors.is_empty() {
        // What was understood of such a text is not what was meant.
        for error in errors {
            findings.mistake(error.span().unwrap_or_default(), error.message());
        }
        return (None, findings);
    }
    let filters = filters::take(&mut root, source.folder(), &mut findings);
    let sections: Option<Sections> = typed(&mut root, &mut findings);
    if let Some(sections) = &sections {
        let mut build = Build::new(source.folder());
        sections.check(&mut build);
        findings.take(build, &root);
    }
    filters::check(&filters, sections.as_ref(), &mut findings);
    let sections = sections.filter(|_| findings.is_sound());
    let members = filters.into_iter().filter_map(|filter| filter.member).collect();
    let config = sections.map(|sections| Config { sections, members });
    if let Some(config) = &config {
        let mut build = Build::new(source.folder());
        compare(config, &mut build);
        findings.take(build, &root);
    }
    (config, findings)
}

/// Reads a table as a type. What is wrong in it is noted and taken out, and the rest tried again, so that every mistake
/// is found. What is left is still worth a look, for mistakes of another kind.
pub(super) fn typed<T: DeserializeOwned>(table: &mut Table<'_>, findings: &mut Findings) -> Option<T> {
    all_mistakes(table, findings, |table| {
        let (span, table) = (table.span(), table.into_inner());
        T::deserialize(ValueDeserializer::from(Spanned::new(span, DeValue::Table(table))))
    })
}

/// As [`typed`], with the reading left to a function.
pub(super) fn all_mistakes<'i, T>(
    table: &mut Table<'i>,
    findings: &mut Findings,
    read: impl Fn(Table<'i>) -> Result<T, toml::de::Error>,
) -> Option<T> {
    // Tables from which a key was taken may miss it: that is not another mistake.
    let mut taken: HashSet<(usize, usize, String)> = HashSet::new();
    loop {
        let error = match read(table.clone()) {
            Ok(value) => return Some(value),
            Err(error) => error,
        };
        let place = error.span().unwrap_or_else(|| table.span());
        let missing = quoted(error.message(), "missing field `");
        let known = missing.is_some_and(|key| taken.contains(&mark(&place, key)));
        if !known {
            findings.mistake(place.clone(), in_words(error.message()));
        }
        // What is missing at the top is all that can still be said.
        let removed = place::remove(table, &place)?;
        if let Some(key) = removed.key {
            taken.insert(mark(&removed.table, &key));
        }
    }
}

fn mark(table: &Range<usize>, key: &str) -> (usize, usize, String) {
    (table.start, table.end, key.to_owned())
}

/// The word behind some words of a message.
fn quoted<'m>(message: &'m str, before: &str) -> Option<&'m str> {
    message.strip_prefix(before)?.split('`').next()
}

/// The message of the library in this program's words, with what to write instead where that can be guessed.
fn in_words(message: &str) -> String {
    if let Some(key) = quoted(message, "missing field `") {
        return format!("the key `{key}` is missing");
    }
    for (before, what) in [("unknown field `", "key"), ("unknown variant `", "value")] {
        if let Some(word) = quoted(message, before) {
            let mut known: Vec<&str> = message.split('`').skip(3).step_by(2).collect();
            if known.contains(&"listener") {
                // Read apart from the rest.
                known.push(filters::KEY);
            }
            return unknown(what, word, &known);
        }
    }
    let message =
        message.strip_prefix("invalid type: ").or(message.strip_prefix("invalid value: ")).map_or_else(
            || message.to_owned(),
            |rest| match rest.split_once(", expected ") {
                Some((found, expected)) => {
                    let whole = ["u8", "u16", "u32", "u64", "usize", "i32", "i64"].contains(&expected);
                    let expected = if whole { "a whole number" } else { expected };
                    format!("{expected} is expected here, not {}", kind(found))
                }
                None => rest.to_owned(),
            },
        );
    message.replace("a sequence", "an array").replace("a map", "a table")
}

/// Words of serde for words of TOML.
fn kind(found: &str) -> String {
    found
        .replace("sequence", "an array")
        .replace("map", "a table")
        .replace("floating point", "the number")
        .replace("integer", "the number")
        .replace("string", "the text")
        .replace("boolean", "the value")
}

/// That a word is not known; the most similar one that is.
pub(super) fn unknown(what: &str, word: &str, known: &[&str]) -> String {
    let similar = known
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .min()
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 4);
    match (similar, known) {
        (Some((_, candidate)), _) => format!("there is no {what} `{word}`: `{candidate}` is probably meant"),
        (None, []) => format!("there is no {what} `{word}` here"),
        (None, _) => {
            let known: Vec<_> = known.iter().map(|word| format!("`{word}`")).collect();
            format!("there is no {what} `{word}`: there are {}", known.join(", "))
        }
    }
}

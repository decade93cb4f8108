//! [`Patterns`]: wildcards and regular expressions, all looked for at once; and [`Words`], lists of plain text.

use std::borrow::Cow;
use std::collections::HashSet;

use regex::bytes::{Regex, RegexBuilder, RegexSet, RegexSetBuilder};

use super::file::ReadLines;

/// Wildcards and regular expressions as one automaton. Case does not matter.
#[derive(Clone, Debug, Default)]
pub struct Patterns(Option<RegexSet>);

/// A list of words, users for example: the words themselves, wildcards, regular expressions. Case does not matter.
#[derive(Clone, Debug, Default)]
pub struct Words {
    words: HashSet<Box<str>>,
    patterns: Patterns,
}

/// What the automaton of a list may take of memory.
const MOST_BYTES: usize = 64 << 20;

impl Patterns {
    /// The place of the first that matches, in the order in which they were taken.
    pub(crate) fn first(&self, text: &[u8]) -> Option<usize> {
        self.0.as_ref()?.matches(text).iter().next()
    }

    /// Whether any of them matches.
    pub fn matches(&self, text: &[u8]) -> bool {
        self.0.as_ref().is_some_and(|set| set.is_match(text))
    }
}

/// Sources of regular expressions.
#[derive(Debug, Default)]
pub struct Sources(Vec<String>);

impl Sources {
    /// Takes an entry that is a regular expression or has wildcards; says whether it is one of these.
    pub(crate) fn take(&mut self, entry: &str) -> Result<bool, String> {
        if let Some(expression) = expression(entry)? {
            regex(expression)?;
            self.0.push(expression.to_owned());
        } else if has_wildcards(entry) {
            self.0.push(glob_source(entry));
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    /// Makes the automaton.
    pub(crate) fn finish(self) -> Result<Patterns, String> {
        if self.0.is_empty() {
            return Ok(Patterns(None));
        }
        let set = RegexSetBuilder::new(self.0).case_insensitive(true).size_limit(MOST_BYTES).build();
        let set = set.map_err(|error| format!("the patterns together cannot be used: {error}"))?;
        Ok(Patterns(Some(set)))
    }
}

/// What is between the slashes of an entry that is a regular expression.
fn expression(entry: &str) -> Result<Option<&str>, String> {
    let Some(rest) = entry.strip_prefix('/') else { return Ok(None) };
    match rest.strip_suffix('/') {
        Some(expression) => Ok(Some(expression)),
        None => Err(format!("regular expression {entry:?} does not end with a slash: write {entry}/")),
    }
}

/// A regular expression of a configuration.
pub(crate) fn regex(source: &str) -> Result<Regex, String> {
    RegexBuilder::new(source).case_insensitive(true).build().map_err(|error| match error {
        regex::Error::Syntax(text) => {
            // The last line says what is wrong; those before point at the place in several lines.
            let why = text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            format!("/{source}/ is no regular expression: {why}")
        }
        error => format!("/{source}/ is no regular expression that can be used: {error}"),
    })
}

/// A pattern with wildcards that matches whole texts.
pub(crate) fn glob(pattern: &str) -> Result<Regex, String> {
    regex(&glob_source(pattern))
}

fn has_wildcards(entry: &str) -> bool {
    entry.contains(['*', '?'])
}

fn glob_source(pattern: &str) -> String {
    let mut source = String::from(r"^(?s-u:");
    let mut rest = pattern;
    while let Some(at) = rest.find(['*', '?']) {
        // Letters are Unicode's, for their case; wildcards are about bytes, as mail is.
        source.push_str("(?u:");
        source.push_str(&regex::escape(&rest[..at]));
        source.push(')');
        source.push_str(if rest[at..].starts_with('*') { ".*" } else { "(?:(?u:.)|.)" });
        rest = &rest[at + 1..];
    }
    source.push_str("(?u:");
    source.push_str(&regex::escape(rest));
    source.push_str("))$");
    source
}

impl Words {
    /// Whether it is in the list.
    pub fn contains(&self, word: &str) -> bool {
        self.words.contains(&*lower(word)) || self.patterns.matches(word.as_bytes())
    }
}

impl ReadLines for Words {
    type Draft = (HashSet<Box<str>>, Sources);

    fn add((words, sources): &mut Self::Draft, entry: &str) -> Result<(), String> {
        if entry.is_empty() {
            return Err("an empty entry".to_owned());
        }
        if entry.starts_with("remembered:") {
            return Err(format!("{entry:?}: users are not remembered, clients and addresses are"));
        }
        if !sources.take(entry)? {
            words.insert(lower(entry).into());
        }
        Ok(())
    }

    fn finish((words, sources): Self::Draft) -> Result<Self, String> {
        Ok(Self { words, patterns: sources.finish()? })
    }
}

/// ASCII letters in lower case; copied only where there are others.
pub(crate) fn lower(text: &str) -> Cow<'_, str> {
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(text.to_ascii_lowercase())
    } else {
        Cow::Borrowed(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lists::Lines;

    fn words(entries: &[&str]) -> Words {
        let mut lines = Lines::<Words>::default();
        for entry in entries {
            lines.add(entry).unwrap();
        }
        lines.finish().unwrap()
    }

    #[test]
    fn words_are_found_whatever_their_case() {
        let list = words(&["Joe", "web-*", "/^[a-z]{3}[0-9]+$/", "j?rg", "a.c"]);
        for word in ["joe", "JOE", "web-", "Web-7", "abc123", "ABC1", "jörg", "jorg", "a.c"] {
            assert!(list.contains(word), "{word}");
        }
        for word in ["joey", "", "a web-7", "abc", "abcd1", "jrg", "joerg", "abc\n1", "axc"] {
            assert!(!list.contains(word), "{word}");
        }
    }

    #[test]
    fn wildcards_match_any_bytes() {
        let glob = glob("X-*-?").unwrap();
        for (text, matches) in [
            (&b"x-spam-1"[..], true),
            (b"X--1", true),
            (b"X-\xff\n-\xff", true),
            ("X-é-é".as_bytes(), true),
            (b"X-a-", false),
            (b"AX-a-b", false),
            (b"X-a-b\n", false),
        ] {
            assert_eq!(glob.is_match(text), matches, "{:?}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn a_bad_regular_expression_is_told_with_what_is_wrong() {
        for (entry, said) in [
            ("/(/", "/(/ is no regular expression: unclosed group"),
            ("/abc", "does not end with a slash"),
            ("/a{1000}{1000}{1000}/", "is no regular expression that can be used"),
            ("", "an empty entry"),
        ] {
            let error = Lines::<Words>::default().add(entry).unwrap_err();
            assert!(error.contains(said), "{entry}: {error}");
        }
    }
}

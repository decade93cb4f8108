//! [`Domains`]: lists of domain names.

use std::borrow::Cow;
use std::collections::HashMap;

use tamis::message::Address;

use super::file::ReadLines;
use super::patterns::{Patterns, Sources, lower};

/// A list of domains. `example.com` is that name alone, `.example.com` is it and everything below, `*.example.com` is
/// what is below alone.
///
/// Names with other letters than ASCII are the same in both of their forms: `bücher.example` is `xn--bcher-kva.example`.
#[derive(Clone, Debug, Default)]
pub struct Domains {
    names: HashMap<Box<str>, Scope>,
    patterns: Patterns,
}

/// Which names an entry is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Scope {
    itself: bool,
    below: bool,
}

/// Longer names are none: DNS allows 255 bytes, and letters outside of ASCII may have four.
pub(crate) const LONGEST: usize = 1024;

impl Domains {
    /// Whether the name is in the list. The dot of the root at its end does not matter.
    pub fn contains(&self, name: &str) -> bool {
        let Some(name) = canonical(name) else { return false };
        self.names.get(&*name).is_some_and(|scope| scope.itself)
            || self.has_below(&name)
            || self.patterns.matches(name.as_bytes())
    }

    fn has_below(&self, name: &str) -> bool {
        !self.names.is_empty()
            && parents(name).any(|parent| self.names.get(parent).is_some_and(|scope| scope.below))
    }
}

/// A [`Domains`] that is not finished.
#[derive(Debug, Default)]
pub struct Draft {
    names: HashMap<Box<str>, Scope>,
    sources: Sources,
}

impl ReadLines for Domains {
    type Draft = Draft;
    const REMEMBERED: bool = true;

    fn add(Draft { names, sources }: &mut Draft, entry: &str) -> Result<(), String> {
        let (name, scope) = if let Some(name) = plain(entry.strip_prefix("*.")) {
            (name, Scope { itself: false, below: true })
        } else if sources.take(entry)? {
            return Ok(());
        } else if let Some(name) = entry.strip_prefix('.') {
            (name, Scope { itself: true, below: true })
        } else {
            (entry, Scope { itself: true, below: false })
        };
        let known = names.entry(name_of(name, entry)?).or_default();
        known.itself |= scope.itself;
        known.below |= scope.below;
        Ok(())
    }

    fn finish(Draft { names, sources }: Draft) -> Result<Self, String> {
        Ok(Self { names, patterns: sources.finish()? })
    }
}

/// A name without further wildcards.
fn plain(name: Option<&str>) -> Option<&str> {
    name.filter(|name| !name.contains(['*', '?']))
}

/// The domains above a name, from the nearest.
pub(crate) fn parents(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices('.').map(|(at, _)| &name[at + 1..])
}

/// A domain of an entry, as it is looked up.
pub(crate) fn name_of(name: &str, entry: &str) -> Result<Box<str>, String> {
    let is_literal = name.starts_with('[') && name.ends_with(']');
    let is_name = |label: &str| {
        !label.is_empty()
            && label.chars().all(|letter| letter.is_alphanumeric() || letter == '-' || letter == '_')
    };
    let bare = name.strip_suffix('.').unwrap_or(name);
    match canonical(name) {
        Some(canonical) if is_literal || bare.split('.').all(is_name) => Ok(canonical.into()),
        _ => {
            Err(format!("{entry:?} is no domain: write example.com, .example.com, *.example.com or /regex/"))
        }
    }
}

/// A name as it is looked up: in lower case, with A-labels, without the dot of the root. None for what is too long.
pub(crate) fn canonical(name: &str) -> Option<Cow<'_, str>> {
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.len() > LONGEST {
        return None;
    }
    if name.is_ascii() {
        return Some(lower(name));
    }
    let address = Address::parse(format!("@{name}"));
    Some(Cow::Owned(address.domain_ascii().map_or_else(|| name.to_lowercase(), Cow::into_owned)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lists::Lines;

    fn domains(entries: &[&str]) -> Domains {
        let mut lines = Lines::<Domains>::default();
        for entry in entries {
            lines.add(entry).unwrap();
        }
        lines.finish().unwrap()
    }

    fn check(entry: &str, inside: &[&str], outside: &[&str]) {
        let list = domains(&[entry]);
        for name in inside {
            assert!(list.contains(name), "{name} is in {entry}");
        }
        for name in outside {
            assert!(!list.contains(name), "{name} is not in {entry}");
        }
    }

    #[test]
    fn a_name_is_that_name_and_a_dot_before_it_means_what_is_below_too() {
        check(
            "example.com",
            &["example.com", "EXAMPLE.com", "example.com."],
            &["www.example.com", "xexample.com", "com"],
        );
        check(
            ".example.com",
            &["example.com", "a.example.com", "a.b.Example.com"],
            &["xexample.com", "com", ""],
        );
        check("*.example.com", &["a.example.com", "a.b.example.com"], &["example.com", "xexample.com"]);
        check("com", &["com"], &["example.com"]);
        check(".com", &["example.com"], &["example.org"]);
    }

    #[test]
    fn wildcards_and_regular_expressions_are_about_whole_names() {
        check(
            "mail*.example.com",
            &["mail.example.com", "mail-7.x.example.com"],
            &["amail.example.com", "mail.example.com.au"],
        );
        check("/^mx[0-9]+\\./", &["mx1.example.com"], &["mx.example.com", "a.mx1.example.com"]);
        check("*", &["example.com", "x"], &[]);
    }

    #[test]
    fn both_forms_of_an_international_name_are_the_same() {
        for entry in ["bücher.example", "BÜCHER.example", "xn--bcher-kva.example"] {
            check(entry, &["bücher.example", "Bücher.Example", "xn--bcher-kva.example"], &["bucher.example"]);
        }
        check(".bücher.example", &["www.xn--bcher-kva.example"], &[]);
    }

    #[test]
    fn address_literals_are_names_of_their_own() {
        check("[192.0.2.1]", &["[192.0.2.1]"], &["192.0.2.1"]);
    }

    #[test]
    fn what_is_no_domain_is_told_with_what_to_write() {
        for entry in ["", ".", "..example.com", "a..b", "joe@example.com", "two words", "192.0.2.0/24", "a/b"]
        {
            let error = Lines::<Domains>::default().add(entry).unwrap_err();
            assert!(error.contains("is no domain: write example.com"), "{entry}: {error}");
        }
    }

    #[test]
    fn names_longer_than_any_are_in_no_list() {
        let list = domains(&[".example.com"]);
        assert!(!list.contains(&format!("{}example.com", "a.".repeat(100_000))));
        assert!(list.contains(&format!("{}example.com", "a.".repeat(100))));
    }

    #[test]
    fn a_hundred_thousand_domains_are_one_lookup() {
        let mut lines = Lines::<Domains>::default();
        for number in 0..100_000 {
            lines.add(&format!(".d{number}.example")).unwrap();
        }
        let list = lines.finish().unwrap();
        assert!(list.contains("mail.d99999.example") && !list.contains("d100000.example"));
    }
}

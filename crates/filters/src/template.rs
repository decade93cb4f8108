//! Text with places for what is known of a message: `{queue_id}`, and for what a regular expression has found: `$1`.

use std::borrow::Cow;

use regex::bytes::{Captures, Regex};

/// Text with places, each for a `V` or for what a group of a regular expression has found.
#[derive(Clone, Debug)]
pub(crate) struct Template<V> {
    parts: Vec<Part<V>>,
}

#[derive(Clone, Debug)]
enum Part<V> {
    Text(String),
    Value(V),
    Group(usize),
}

impl<V> Template<V> {
    /// Reads `text {name} {{ }}`, and where there are captures `$1 ${name} $$`.
    pub(crate) fn parse(
        text: &str,
        captures: Option<&Regex>,
        find: impl Fn(&str) -> Result<V, String>,
    ) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}', '$']) {
            plain.push_str(&rest[..at]);
            let mark = &rest[at..=at];
            rest = &rest[at + 1..];
            if mark == "$" && captures.is_none() {
                plain.push('$');
            } else if let Some(after) = rest.strip_prefix(mark) {
                plain.push_str(mark);
                rest = after;
            } else if mark == "}" {
                return Err("a \"}\" without a \"{\" before it: write \"}}\" for the sign itself".to_owned());
            } else {
                let (part, after) = if let Some(captures) = captures.filter(|_| mark == "$") {
                    let (group, after) = group(rest, captures)?;
                    (Part::Group(group), after)
                } else {
                    let (name, after) = rest.split_once('}').ok_or(OPEN)?;
                    (Part::Value(find(name)?), after)
                };
                if !plain.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut plain)));
                }
                parts.push(part);
                rest = after;
            }
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Self { parts })
    }

    /// The values that have a place in it.
    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.parts.iter().filter_map(|part| match part {
            Part::Value(value) => Some(value),
            _ => None,
        })
    }

    /// Writes it out; `value` is what a place of a value is filled with. Control characters in what it is filled with
    /// become spaces, so that nobody's text can end a line.
    pub(crate) fn render<'v>(
        &self,
        captures: Option<&Captures<'_>>,
        value: impl Fn(&V) -> Option<Cow<'v, [u8]>>,
    ) -> Vec<u8> {
        let mut out = Vec::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => out.extend_from_slice(text.as_bytes()),
                Part::Value(place) => insert(&mut out, &value(place).unwrap_or_default()),
                Part::Group(group) => {
                    let found = captures.and_then(|captures| captures.get(*group));
                    insert(&mut out, found.map_or(&[][..], |found| found.as_bytes()));
                }
            }
        }
        out
    }
}

const OPEN: &str = "a \"{\" without a \"}\" behind it: write \"{{\" for the sign itself";

/// The group behind a dollar sign, and what follows.
fn group<'t>(rest: &'t str, captures: &Regex) -> Result<(usize, &'t str), String> {
    let (name, after) = match rest.strip_prefix('{') {
        Some(inner) => inner.split_once('}').ok_or(OPEN)?,
        None => rest.split_at(rest.find(|sign: char| !sign.is_ascii_digit()).unwrap_or(rest.len())),
    };
    let number = match name.parse::<usize>() {
        Ok(number) => Some(number).filter(|number| *number < captures.captures_len()),
        Err(_) => captures.capture_names().position(|known| known == Some(name)),
    };
    let hint = "write \"$$\" for a dollar sign";
    number.map(|number| (number, after)).ok_or_else(|| match name {
        "" => format!("a \"$\" without a number behind it: {hint}"),
        name => format!("the regular expression has no group {name:?}; {hint}"),
    })
}

fn insert(out: &mut Vec<u8>, text: &[u8]) {
    out.extend(text.iter().map(|byte| if byte.is_ascii_control() { b' ' } else { *byte }));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, captures: Option<&Regex>) -> Result<Template<String>, String> {
        Template::parse(text, captures, |name| match name {
            "no" => Err("no such thing".to_owned()),
            name => Ok(name.to_owned()),
        })
    }

    fn rendered(text: &str) -> String {
        let regex = Regex::new("(?<first>[a-z]+) ([0-9]+)?").unwrap();
        let captures = regex.captures(b"abc ").unwrap();
        let template = parse(text, Some(&regex)).unwrap();
        let value = |name: &String| (name != "none").then(|| Cow::from(format!("<{name}\n\0>").into_bytes()));
        String::from_utf8(template.render(Some(&captures), value)).unwrap()
    }

    #[test]
    fn places_are_filled() {
        for (text, expected) in [
            ("plain", "plain"),
            ("", ""),
            ("{i}", "<i  >"),
            ("a{i}b{j}c", "a<i  >b<j  >c"),
            ("{none}", ""),
            ("{{i}} $$1", "{i} $1"),
            ("$1-$0-$2-${first}-${1}0", "abc-abc --abc-abc0"),
        ] {
            assert_eq!(rendered(text), expected, "{text}");
        }
        let template = parse("$1 costs $", None).unwrap();
        assert_eq!(template.render(None, |_| None), b"$1 costs $", "no captures, no groups");
    }

    #[test]
    fn what_is_no_template_is_told_with_what_to_write() {
        let regex = Regex::new("(a)").unwrap();
        for (text, said) in [
            ("{i", "without a \"}\""),
            ("i}", "without a \"{\""),
            ("{no}", "no such thing"),
            ("$2", "has no group \"2\""),
            ("$99999999999999999999999", "has no group"),
            ("${b}", "has no group \"b\""),
            ("${1", "without a \"}\""),
            ("5 $", "write \"$$\""),
        ] {
            let error = parse(text, Some(&regex)).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_a_template_or_a_mistake(text in "[{}$a1é]{0,12}") {
            let regex = Regex::new("(a)").unwrap();
            if let Ok(template) = parse(&text, Some(&regex)) {
                template.render(None, |_| None);
            }
        }
    }
}

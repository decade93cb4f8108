//! Header fields to add, with macros in their values.

use std::str::FromStr;

use anyhow::{Error, Result, bail};
use bytes::Bytes;
use tamis::proto::edit::validate;

/// A header field whose value has macros in it.
#[derive(Debug)]
pub(super) struct Template {
    pub(super) name: Bytes,
    parts: Vec<Part>,
}

#[derive(Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Macro(String),
}

impl Template {
    /// The value, with what `look_up` says to the macros. Their bytes are the clients', so that controls
    /// become spaces.
    pub(super) fn expand<'m>(&self, look_up: impl Fn(&str) -> Option<&'m [u8]>) -> Vec<u8> {
        let mut value = Vec::new();
        for part in &self.parts {
            let bytes = match part {
                Part::Text(text) => text.as_bytes(),
                Part::Macro(name) => look_up(name).unwrap_or_else(|| {
                    tracing::debug!("the MTA sends no macro {{{name}}}");
                    b""
                }),
            };
            value.extend(bytes.iter().map(|byte| if byte.is_ascii_control() { b' ' } else { *byte }));
        }
        value
    }
}

impl FromStr for Template {
    type Err = Error;

    fn from_str(line: &str) -> Result<Self> {
        let bad =
            |why: &dyn std::fmt::Display| Error::msg(format!("cannot add header field {line:?}: {why}"));
        let Some((name, value)) = line.split_once(':') else {
            return Err(bad(&"there is no colon; write 'NAME: VALUE'"));
        };
        validate::header_name(name.as_bytes()).map_err(|why| bad(&why))?;
        let value = value.trim();
        let control = value.chars().find(|c| c.is_control() && *c != '\t');
        if let Some(control) = control {
            return Err(bad(&format_args!("header value has {control:?}")));
        }
        let parts = parts(value).map_err(|why| bad(&why))?;
        Ok(Self { name: Bytes::copy_from_slice(name.as_bytes()), parts })
    }
}

fn parts(value: &str) -> Result<Vec<Part>> {
    let mut parts = Vec::new();
    let mut text = String::new();
    let mut rest = value;
    while let Some(at) = rest.find(['{', '}']) {
        let (before, brace) = rest.split_at(at);
        text.push_str(before);
        if brace.starts_with("{{") || brace.starts_with("}}") {
            text.push_str(&brace[..1]);
            rest = &brace[2..];
            continue;
        }
        let Some(inside) = brace.strip_prefix('{') else {
            bail!("a closing brace has no opening one; double it to stand for itself");
        };
        let Some((name, behind)) = inside.split_once('}') else {
            bail!("a macro has no closing brace; double the opening one to stand for itself");
        };
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'{') {
            bail!("{name:?} is not the name of a macro; double the brace to stand for itself");
        }
        if !text.is_empty() {
            parts.push(Part::Text(std::mem::take(&mut text)));
        }
        parts.push(Part::Macro(name.to_owned()));
        rest = behind;
    }
    text.push_str(rest);
    if !text.is_empty() {
        parts.push(Part::Text(text));
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(line: &str) -> String {
        let template: Template = line.parse().unwrap();
        let value = template.expand(|name| match name {
            "i" => Some(&b"4T1"[..]),
            "mail_addr" => Some(b"a@example.com"),
            "evil" => Some(b"x\r\nBcc: y@example.com"),
            _ => None,
        });
        String::from_utf8(value).unwrap()
    }

    #[test]
    fn macros_are_replaced_and_unknown_ones_are_empty() {
        assert_eq!(expand("X-Tamis: {i} from <{mail_addr}>{nothing}!"), "4T1 from <a@example.com>!");
        assert_eq!(expand("X-Tamis:plain"), "plain");
        assert_eq!(expand("X-Tamis: {{i}} is {i}"), "{i} is 4T1");
        assert_eq!(expand("X-Tamis:"), "");
    }

    #[test]
    fn macros_cannot_end_a_header_field() {
        assert_eq!(expand("X: {evil}"), "x  Bcc: y@example.com");
    }

    #[test]
    fn mistakes_are_named() {
        for (line, why) in [
            ("X-Tamis", "there is no colon"),
            (": value", "empty"),
            ("X Y: value", "a space at byte 1"),
            ("X: {i", "no closing brace"),
            ("X: i}", "no opening one"),
            ("X: {}", "not the name of a macro"),
            ("X: {a b}", "not the name of a macro"),
            ("X: a\u{7f}b", "header value has '\\u{7f}'"),
        ] {
            let error = line.parse::<Template>().unwrap_err().to_string();
            assert!(error.starts_with("cannot add header field \"") && error.contains(why), "{error}");
        }
    }
}

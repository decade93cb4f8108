//! Checks the licence of every dependency against the list in `deny.toml`, with nothing but cargo.
//!
//! cargo-deny does this and more, but it is a program of its own that a fresh machine lacks; the licence rule must
//! hold on every machine. Expressions are those of SPDX, with `/` for `OR` as old manifests have it.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::steps::cargo;

/// Fails if a package's licence is not allowed, naming all such packages.
pub(crate) fn check(root: &Path) -> Result<()> {
    let path = root.join("deny.toml");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let allowed = allow_list(&text).context("deny.toml")?;
    let packages = packages(root)?;
    let complaints: Vec<_> =
        packages.iter().filter_map(|package| Some((package, complaint(package, &allowed)?))).collect();
    if complaints.is_empty() {
        eprintln!("    licences of {} packages are allowed by deny.toml", packages.len());
        return Ok(());
    }
    for (package, complaint) in &complaints {
        eprintln!("    {} {}: {complaint}", package.name, package.version);
    }
    let noun = if complaints.len() == 1 { "package has" } else { "packages have" };
    bail!("{} {noun} a licence that `allow` in deny.toml does not cover", complaints.len());
}

/// What is wrong with the package's licence, if anything is.
fn complaint(package: &Package, allowed: &BTreeSet<String>) -> Option<String> {
    let Some(licence) = &package.licence else {
        return Some("no `license` in its manifest".into());
    };
    match parse(licence) {
        Ok(expression) if expression.is_covered_by(allowed) => None,
        Ok(_) => Some(format!("licence `{licence}` is not allowed")),
        Err(error) => Some(format!("licence `{licence}` cannot be read: {error:#}")),
    }
}

struct Package {
    name: String,
    version: String,
    licence: Option<String>,
}

/// Asks cargo for all packages in the lock file: of every platform and feature, of tests and builds too.
///
/// A build fetches only what its own platform needs, and a manifest that was never fetched needs the network. Where
/// there is none, the packages of this platform are what can be checked.
fn packages(root: &Path) -> Result<Vec<Package>> {
    let metadata = match metadata(root, &[]) {
        Ok(metadata) => metadata,
        Err(error) => {
            let host = host()?;
            let Ok(metadata) = metadata(root, &["--offline", "--filter-platform", &host]) else {
                return Err(error);
            };
            eprintln!(
                "    left out: packages that only other platforms than {host} use, which are not fetched yet"
            );
            metadata
        }
    };
    let packages = metadata["packages"].as_array().context("`cargo metadata` lists no packages")?;
    packages.iter().map(package).collect()
}

fn metadata(root: &Path, options: &[&str]) -> Result<Value> {
    let mut command = cargo(root);
    command.args(["metadata", "--format-version", "1", "--all-features", "--locked"]).args(options);
    let output = command.output().context("cannot start `cargo metadata`")?;
    if !output.status.success() {
        let reason = String::from_utf8_lossy(&output.stderr);
        bail!(
            "`cargo metadata --format-version 1 --all-features --locked` ended with {}\n{}",
            output.status,
            reason.trim_end()
        );
    }
    serde_json::from_slice(&output.stdout).context("cannot read `cargo metadata`")
}

/// Asks the compiler which platform this is.
fn host() -> Result<String> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("-vV").output().context("cannot start `rustc -vV`")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("`rustc -vV` names no host")
}

fn package(value: &Value) -> Result<Package> {
    let field = |name: &str| value[name].as_str().map(str::to_owned);
    Ok(Package {
        name: field("name").context("`cargo metadata` lists a package without a name")?,
        version: field("version").context("`cargo metadata` lists a package without a version")?,
        licence: field("license"),
    })
}

/// Reads `allow` of the section `[licenses]`.
///
/// That one array of plain strings is all we need of the file, so it is not worth a TOML parser.
fn allow_list(text: &str) -> Result<BTreeSet<String>> {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    let section = lines.skip_while(|line| *line != "[licenses]").skip(1);
    let section: String =
        section.take_while(|line| !is_section(line)).flat_map(|line| ["\n", line]).collect();
    let arrays = section.split("\nallow").skip(1);
    let array = arrays
        .filter_map(|rest| rest.trim_start().strip_prefix('=')?.trim_start().strip_prefix('['))
        .find_map(|rest| Some(rest.split_once(']')?.0))
        .context("no `allow = […]` in the section [licenses]")?;
    let entries = array.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    entries
        .map(|entry| {
            let name = entry.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
            name.map(str::to_owned)
                .with_context(|| format!("`allow` holds {entry}, which is no plain string"))
        })
        .collect()
}

/// Tells `[section]` from the lines of an array.
fn is_section(line: &str) -> bool {
    line.starts_with('[') && line.ends_with(']')
}

/// An SPDX licence expression.
#[derive(Debug, PartialEq, Eq)]
enum Expression {
    /// One licence, with its exception if it has one: `MIT`, `Apache-2.0 WITH LLVM-exception`.
    Licence(String),
    /// The user of the package chooses.
    Any(Vec<Expression>),
    /// The user of the package is bound by all.
    All(Vec<Expression>),
}

impl Expression {
    fn is_covered_by(&self, allowed: &BTreeSet<String>) -> bool {
        match self {
            Self::Licence(name) => allowed.contains(name.strip_suffix('+').unwrap_or(name)),
            Self::Any(choices) => choices.iter().any(|choice| choice.is_covered_by(allowed)),
            Self::All(parts) => parts.iter().all(|part| part.is_covered_by(allowed)),
        }
    }
}

/// Parses an expression: `OR` binds loosest, then `AND`, then `WITH`; parentheses as usual.
fn parse(text: &str) -> Result<Expression> {
    let tokens = tokens(text);
    let mut parser = Parser { rest: &tokens };
    let expression = parser.any()?;
    match parser.rest.first() {
        None => Ok(expression),
        Some(token) => bail!("`{token}` is not expected"),
    }
}

/// Splits into words and parentheses; `/` becomes `OR`.
fn tokens(text: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    for word in text.split_whitespace() {
        for piece in word.split_inclusive(['(', ')', '/']) {
            let name = piece.trim_end_matches(['(', ')', '/']);
            let mark = &piece[name.len()..];
            tokens
                .extend([name, if mark == "/" { "OR" } else { mark }].into_iter().filter(|s| !s.is_empty()));
        }
    }
    tokens
}

struct Parser<'a> {
    rest: &'a [&'a str],
}

impl<'a> Parser<'a> {
    fn any(&mut self) -> Result<Expression> {
        let mut choices = vec![self.all()?];
        while self.take("OR") {
            choices.push(self.all()?);
        }
        Ok(single(choices, Expression::Any))
    }

    fn all(&mut self) -> Result<Expression> {
        let mut parts = vec![self.one()?];
        while self.take("AND") {
            parts.push(self.one()?);
        }
        Ok(single(parts, Expression::All))
    }

    fn one(&mut self) -> Result<Expression> {
        if self.take("(") {
            let inner = self.any()?;
            if !self.take(")") {
                bail!("`)` is missing");
            }
            return Ok(inner);
        }
        let licence = self.name()?;
        if self.take("WITH") {
            return Ok(Expression::Licence(format!("{licence} WITH {}", self.name()?)));
        }
        Ok(Expression::Licence(licence.into()))
    }

    fn name(&mut self) -> Result<&'a str> {
        match self.rest.split_first() {
            None => bail!("it ends where a licence is expected"),
            Some((&token, _)) if ["(", ")", "OR", "AND", "WITH"].contains(&token) => {
                bail!("`{token}` stands where a licence is expected")
            }
            Some((&token, rest)) => {
                self.rest = rest;
                Ok(token)
            }
        }
    }

    fn take(&mut self, token: &str) -> bool {
        let found = self.rest.first() == Some(&token);
        if found {
            self.rest = &self.rest[1..];
        }
        found
    }
}

/// Wraps only where there is more than one.
fn single(mut parts: Vec<Expression>, wrap: fn(Vec<Expression>) -> Expression) -> Expression {
    match parts.len() {
        1 => parts.swap_remove(0),
        _ => wrap(parts),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covered(expression: &str, allowed: &[&str]) -> bool {
        let allowed = allowed.iter().map(ToString::to_string).collect();
        parse(expression).unwrap().is_covered_by(&allowed)
    }

    fn package(licence: Option<&str>) -> Package {
        Package { name: "p".into(), version: "1.0.0".into(), licence: licence.map(Into::into) }
    }

    #[test]
    fn one_allowed_choice_is_enough() {
        assert!(covered("MIT OR GPL-3.0-only", &["MIT"]));
        assert!(!covered("AGPL-3.0-only OR GPL-3.0-only", &["MIT"]));
    }

    #[test]
    fn slash_is_or() {
        assert!(covered("MIT/Apache-2.0", &["Apache-2.0"]));
        assert!(covered("Unlicense / MIT", &["MIT"]));
    }

    #[test]
    fn every_part_of_and_must_be_allowed() {
        assert!(covered("MIT AND Zlib", &["MIT", "Zlib"]));
        assert!(!covered("MIT AND OpenSSL", &["MIT", "Zlib"]));
    }

    #[test]
    fn and_binds_tighter_than_or() {
        assert!(covered("MIT OR GPL-2.0-only AND OpenSSL", &["MIT"]));
        assert!(covered("GPL-2.0-only AND OpenSSL OR MIT", &["MIT"]));
    }

    #[test]
    fn parentheses_group() {
        assert!(!covered("(MIT OR GPL-2.0-only) AND OpenSSL", &["MIT"]));
        assert!(covered("(MIT OR Apache-2.0) AND Unicode-3.0", &["Apache-2.0", "Unicode-3.0"]));
        assert!(covered("((MIT))", &["MIT"]));
    }

    #[test]
    fn exception_makes_another_licence() {
        let both = "Apache-2.0 WITH LLVM-exception";
        assert!(covered(both, &[both]));
        assert!(!covered(both, &["Apache-2.0"]));
        assert!(covered("Apache-2.0 WITH LLVM-exception OR Apache-2.0 OR MIT", &["MIT"]));
    }

    #[test]
    fn or_later_of_an_allowed_licence_is_allowed() {
        assert!(covered("Apache-2.0+", &["Apache-2.0"]));
        assert!(!covered("GPL-2.0+", &["Apache-2.0"]));
    }

    #[test]
    fn broken_expressions_are_refused() {
        for text in
            ["", "MIT OR", "OR MIT", "(MIT", "MIT)", "MIT Zlib", "MIT AND (", "Apache-2.0 WITH", "()", "//"]
        {
            assert!(parse(text).is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn package_without_licence_is_named() {
        let allowed = BTreeSet::from(["MIT".to_owned()]);
        assert!(complaint(&package(None), &allowed).is_some());
        assert!(complaint(&package(Some("GPL-3.0-only")), &allowed).is_some());
        assert!(complaint(&package(Some("MIT OR")), &allowed).is_some());
        assert!(complaint(&package(Some("MIT")), &allowed).is_none());
    }

    #[test]
    fn allow_list_is_read_from_its_section_only() {
        let text = "[bans]\nallow = [\"x\"]\n[licenses]\nversion = 2\nallow = [ # ours\n  \"MIT\", # ] and more\n  \
                    \"Zlib\",\n]\n[sources]\nallow = [\"y\"]\n";
        assert_eq!(allow_list(text).unwrap(), BTreeSet::from(["MIT".into(), "Zlib".into()]));
    }

    #[test]
    fn allow_list_may_be_on_one_line() {
        let text = "[licenses]\nallow=[\"MIT\"]";
        assert_eq!(allow_list(text).unwrap(), BTreeSet::from(["MIT".into()]));
    }

    #[test]
    fn missing_or_odd_allow_list_is_an_error() {
        assert!(allow_list("[licenses]\nversion = 2\n").is_err());
        assert!(allow_list("[bans]\nallow = [\"MIT\"]\n").is_err());
        assert!(allow_list("[licenses]\nallow = [MIT]\n").is_err());
    }

    #[test]
    fn list_of_this_repository_is_readable() {
        let allowed = allow_list(include_str!("../../deny.toml")).unwrap();
        assert!(allowed.contains("Apache-2.0 WITH LLVM-exception"), "{allowed:?}");
        assert!(allowed.iter().all(|name| !name.starts_with("GPL")), "{allowed:?}");
    }
}

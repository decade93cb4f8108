//! The steps of `cargo xtask test`: what each runs, and what is printed around it.

use std::env;
use std::fmt::{self, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use clap::ValueEnum;

use crate::{fuzz, licences, package, packages, soak};

/// One step. The doc comment of a variant is its line in `cargo xtask test --help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Step {
    /// the mail programs for `interop` are there
    Setup,
    /// the code is formatted
    Fmt,
    /// no lint is broken
    Clippy,
    /// the documentation builds, every link in it resolves
    Doc,
    /// unit, integration and documentation tests
    Test,
    /// what the benchmarks compare does what it should
    Peers,
    /// the fuzz targets, 5 seconds each
    Fuzz,
    /// the tests against real mail programs
    Interop,
    /// the drop-in libmilter does what Sendmail's does, and milters run on it
    Libmilter,
    /// `tamis serve` survives every attack, and is as before after each
    Hostile,
    /// 30 seconds of full load, while configuration, connections and a remote milter come and go: nothing grows
    Soak,
    /// the Debian package can be installed, used and removed (as root)
    Package,
    /// licences, advisories, bans and sources of the dependencies
    Deny,
}

/// Every step, in the order in which they run.
pub(crate) const ALL: [Step; 13] = [
    Step::Setup,
    Step::Fmt,
    Step::Clippy,
    Step::Doc,
    Step::Test,
    Step::Peers,
    Step::Fuzz,
    Step::Interop,
    Step::Libmilter,
    Step::Hostile,
    Step::Soak,
    Step::Package,
    Step::Deny,
];

/// Chooses what runs: the steps of `only`, or all where it is empty, without those of `skip`.
pub(crate) fn select(only: &[Step], skip: &[Step]) -> Vec<Step> {
    ALL.into_iter().filter(|step| (only.is_empty() || only.contains(step)) && !skip.contains(step)).collect()
}

/// Describes the steps for `--help`.
pub(crate) fn help() -> String {
    let mut text = String::from("Steps, in this order:\n");
    for step in ALL {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {:<9} {}", step.name(), step.summary());
    }
    text.push_str(
        "
Examples:
  cargo xtask test
  cargo xtask test --only fmt --only clippy
  cargo xtask test --skip setup --skip interop --skip libmilter   where no mail programs can be installed",
    );
    text
}

/// Runs `steps` in order, with a line before and after each, and stops at the first that fails.
pub(crate) fn run_all(steps: &[Step], root: &Path) -> Result<()> {
    let start = Instant::now();
    for (index, step) in steps.iter().enumerate() {
        let place = format!("[{}/{}] {}", index + 1, steps.len(), step.name());
        eprintln!("{place}: {}", step.summary());
        let step_start = Instant::now();
        let result = step.run(root);
        let elapsed = Seconds(step_start.elapsed());
        if let Err(error) = result {
            eprintln!("{place}: FAILED after {elapsed}");
            return Err(anyhow!(
                "step `{name}` failed: {error:#}\n  this step alone: cargo xtask test --only {name}",
                name = step.name()
            ));
        }
        eprintln!("{place}: ok, {elapsed}");
    }
    let noun = if steps.len() == 1 { "step" } else { "steps" };
    eprintln!("all is well: {} {noun} in {}", steps.len(), Seconds(start.elapsed()));
    Ok(())
}

impl Step {
    /// Returns the word for the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Setup => "setup",
            Self::Fmt => "fmt",
            Self::Clippy => "clippy",
            Self::Doc => "doc",
            Self::Test => "test",
            Self::Peers => "peers",
            Self::Fuzz => "fuzz",
            Self::Interop => "interop",
            Self::Libmilter => "libmilter",
            Self::Hostile => "hostile",
            Self::Soak => "soak",
            Self::Package => "package",
            Self::Deny => "deny",
        }
    }

    fn summary(self) -> String {
        let value = self.to_possible_value().expect("no variant is hidden from the command line");
        value.get_help().map(ToString::to_string).unwrap_or_default()
    }

    fn run(self, root: &Path) -> Result<()> {
        match self {
            Self::Setup => packages::setup(root),
            Self::Fuzz => fuzz::run(root, &[], fuzz::SECONDS),
            Self::Interop => {
                packages::require(root)?;
                self.run_cargo(root)
            }
            Self::Libmilter => {
                packages::require_milters(root)?;
                self.run_cargo(root)
            }
            Self::Deny => {
                licences::check(root)?;
                deny(root)
            }
            Self::Soak => soak::run(root, &soak::Options::short()),
            Self::Package => package::test(root),
            Self::Fmt | Self::Clippy | Self::Doc | Self::Test | Self::Peers | Self::Hostile => {
                self.run_cargo(root)
            }
        }
    }

    fn run_cargo(self, root: &Path) -> Result<()> {
        self.cargo().iter().try_for_each(|cargo| cargo.run(root))
    }

    /// The cargo commands of the steps that are nothing else.
    fn cargo(self) -> Vec<Cargo> {
        match self {
            Self::Fmt => vec![
                Cargo::new("fmt --all --check"),
                Cargo::new("fmt --manifest-path fuzz/Cargo.toml --check"),
                Cargo::new("fmt --manifest-path benches/peers/Cargo.toml --check"),
            ],
            Self::Clippy => {
                vec![Cargo::new("clippy --workspace --all-targets --all-features --locked -- -D warnings")]
            }
            Self::Doc => vec![Cargo {
                env: Some(("RUSTDOCFLAGS", "-D warnings")),
                args: "doc --workspace --no-deps --all-features --locked",
            }],
            // Plain `cargo test`, so that a fresh machine needs no further program.
            Self::Test => {
                vec![Cargo::new(
                    "test --workspace --exclude tamis-interop --exclude tamis-hostile --exclude tamis-libmilter-tests \
                     --all-features --locked",
                )]
            }
            // Without what others wrote: that would be thirty more crates.
            Self::Peers => vec![
                Cargo::new(
                    "clippy --manifest-path benches/peers/Cargo.toml --target-dir target --all-targets --locked -- -D warnings",
                ),
                Cargo::new(
                    "test --manifest-path benches/peers/Cargo.toml --target-dir target --test scenarios --locked",
                ),
            ],
            // The tests run programs as a user does, and cargo builds no other package's for them.
            Self::Interop => vec![
                Cargo::new("build --package tamis-cli --package tamis-examples --bins --locked"),
                Cargo::new("test --package tamis-interop --locked"),
            ],
            Self::Libmilter => vec![
                Cargo::new("build --package tamis-libmilter --locked"),
                // Those that need the stock headers, or valgrind.
                Cargo::new("test --package tamis-libmilter --locked --test milter -- --ignored"),
                Cargo::new("test --package tamis-libmilter-tests --locked"),
            ],
            Self::Hostile => vec![
                Cargo::new("build --package tamis-cli --locked"),
                Cargo::new("test --package tamis-hostile --locked"),
            ],
            Self::Setup | Self::Fuzz | Self::Soak | Self::Package | Self::Deny => vec![],
        }
    }
}

/// One cargo command, its arguments separated by spaces.
pub(crate) struct Cargo {
    env: Option<(&'static str, &'static str)>,
    args: &'static str,
}

impl Cargo {
    pub(crate) const fn new(args: &'static str) -> Self {
        Self { env: None, args }
    }

    pub(crate) fn run(&self, root: &Path) -> Result<()> {
        eprintln!("    $ {self}");
        let mut command = cargo(root);
        command.args(self.args.split(' ')).envs(self.env);
        let status = command.status().with_context(|| format!("cannot start `{self}`"))?;
        if !status.success() {
            bail!("`{self}` ended with {status}");
        }
        Ok(())
    }
}

/// Shows the command as one would type it.
impl fmt::Display for Cargo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((name, value)) = self.env {
            write!(f, "{name}='{value}' ")?;
        }
        write!(f, "cargo {}", self.args)
    }
}

/// Starts a cargo command: the cargo that runs us, in the repository's root.
pub(crate) fn cargo(root: &Path) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root);
    command
}

/// What the licence check does not cover needs cargo-deny and its advisory database: only where it is there.
fn deny(root: &Path) -> Result<()> {
    let version =
        cargo(root).args(["deny", "--version"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if version.is_ok_and(|status| status.success()) {
        return Cargo::new("deny check").run(root);
    }
    eprintln!(
        "    left out: advisories, bans and sources, because cargo-deny is not installed \
         (cargo install --locked cargo-deny)"
    );
    Ok(())
}

/// Shows a duration for people.
struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        if seconds < 60 {
            write!(f, "{:.1} s", self.0.as_secs_f64())
        } else {
            write!(f, "{} min {} s", seconds / 60, seconds % 60)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_options_every_step_runs() {
        assert_eq!(select(&[], &[]), ALL);
    }

    #[test]
    fn only_keeps_the_usual_order() {
        assert_eq!(select(&[Step::Doc, Step::Fmt], &[]), [Step::Fmt, Step::Doc]);
    }

    #[test]
    fn skip_removes_a_step() {
        let steps = select(&[], &[Step::Interop, Step::Setup]);
        let rest =
            ALL.into_iter().filter(|step| !matches!(step, Step::Setup | Step::Interop)).collect::<Vec<_>>();
        assert_eq!(steps, rest);
    }

    #[test]
    fn names_are_those_of_the_command_line() {
        for step in ALL {
            assert_eq!(Step::from_str(step.name(), false), Ok(step));
            assert!(!step.summary().is_empty(), "{} has no summary", step.name());
        }
    }

    #[test]
    fn every_command_but_fmt_keeps_the_lock_file() {
        for step in ALL {
            for cargo in step.cargo() {
                assert!(step == Step::Fmt || cargo.args.contains("--locked"), "{cargo}");
            }
        }
    }

    #[test]
    fn commands_are_shown_as_one_types_them() {
        let line = Step::Doc.cargo()[0].to_string();
        assert_eq!(
            line,
            "RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --all-features --locked"
        );
    }

    #[test]
    fn long_times_are_shown_in_minutes() {
        assert_eq!(Seconds(Duration::from_millis(1_234)).to_string(), "1.2 s");
        assert_eq!(Seconds(Duration::from_secs(200)).to_string(), "3 min 20 s");
    }
}

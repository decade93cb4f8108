//! `cargo xtask soak`: full load on a release build of `tamis serve` for a while.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

use crate::steps::{Cargo, cargo};

pub(crate) const HELP: &str = "\
Builds the program, as releases are built, and loads it three times:

  steady   five filters, one of them a remote milter, under many connections: every message is judged alike
  unrest   the same while the configuration is read every second and the remote milter dies and returns
  killed   connections that are killed at random, and honest ones besides: docs/hostile.md

Memory, descriptors and threads must not grow, and nothing may be left. Figures: docs/performance.md.

Examples:
  cargo xtask soak                                        ten minutes of each
  cargo xtask soak --seconds 10 --connections 500 --dev   as in `cargo xtask test`
  cargo xtask soak --only unrest --seconds 60 --connections 500
  cargo xtask soak --only steady --only unrest --out service.md";

#[derive(Args)]
pub(crate) struct Options {
    /// For how long each load; at least 10.
    #[arg(long, value_name = "N", default_value_t = 600, value_parser = clap::value_parser!(u32).range(10..))]
    seconds: u32,

    /// Connections that carry messages at the same time, where nothing is killed.
    #[arg(long, value_name = "N", default_value_t = CONNECTIONS)]
    connections: u32,

    /// Load the program as other tests have built it, instead of building it as releases are.
    #[arg(long)]
    dev: bool,

    /// Only this load (may be repeated).
    #[arg(long, value_name = "LOAD", value_enum)]
    only: Vec<Load>,

    /// Where to write the table of figures of the first two, as it is in docs/performance.md.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Load {
    /// five filters, nothing else
    Steady,
    /// configuration and remote milter change meanwhile
    Unrest,
    /// connections are killed
    Killed,
}

const CONNECTIONS: u32 = 2000;

impl Options {
    /// As in continuous integration: half a minute in all, and no release is built for it. Such a program is slower: with
    /// fewer connections each of them gets to do something.
    pub(crate) fn short() -> Self {
        Self { seconds: 10, connections: 500, dev: true, only: vec![], out: None }
    }

    fn wants(&self, load: Load) -> bool {
        self.only.is_empty() || self.only.contains(&load)
    }
}

/// Builds the program, as releases are unless it is to be quick, and loads it.
pub(crate) fn run(root: &Path, options: &Options) -> Result<()> {
    // One after the other: together, some of their dependencies would be built anew.
    for build in if options.dev { BUILD_DEV } else { BUILD } {
        build.run(root)?;
    }
    let seconds = options.seconds.to_string();
    let connections = options.connections.to_string();
    let mut service = vec!["service", "--seconds", &seconds, "--connections", &connections];
    let out = options.out.as_ref().map(|path| path.display().to_string());
    if let Some(out) = &out {
        service.extend(["--out", out]);
    }
    match (options.wants(Load::Steady), options.wants(Load::Unrest)) {
        (true, true) => hostile(root, options, &service)?,
        (true, false) => hostile(root, options, &[&service[..], &["--only", "steady"]].concat())?,
        (false, true) => hostile(root, options, &[&service[..], &["--only", "unrest"]].concat())?,
        (false, false) => {}
    }
    if options.wants(Load::Killed) {
        hostile(root, options, &["soak", "--seconds", &seconds])?;
    }
    Ok(())
}

const BUILD: [Cargo; 2] = [
    Cargo::new("build --release --package tamis-cli --locked"),
    Cargo::new("build --release --package tamis-hostile --locked"),
];
const BUILD_DEV: [Cargo; 2] =
    [Cargo::new("build --package tamis-cli --locked"), Cargo::new("build --package tamis-hostile --locked")];

fn hostile(root: &Path, options: &Options, args: &[&str]) -> Result<()> {
    let shown = args.join(" ");
    eprintln!("    $ tamis-hostile {shown}");
    let mut command = cargo(root);
    command.args(["run", "--quiet", "--package", "tamis-hostile", "--locked"]);
    if !options.dev {
        command.arg("--release");
    }
    command.arg("--").args(args);
    let status = command.status().context("cannot start tamis-hostile")?;
    if !status.success() {
        bail!("`tamis-hostile {shown}` ended with {status}");
    }
    Ok(())
}

//! `cargo xtask soak`: full load on a release build of `tamis serve` for a while.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

use crate::steps::{Cargo, cargo};

pub(crate) const HELP: &str = "\
Builds the program as releases are built, and loads it three times:

  steady   five filters, one of them a remote milter, under many connections: every message is judged alike
  unrest   the same while the configuration is read every second and the remote milter dies and returns
  killed   connections that are killed at random, and honest ones besides: docs/hostile.md

Memory, descriptors and threads must not grow, and nothing may be left. Figures: docs/performance.md.

Examples:
  cargo xtask soak                         ten minutes of each
  cargo xtask soak --seconds 10 --connections 200 --dev
                                           as in `cargo xtask test`
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

    /// Only this load (may be repeated).
    #[arg(long, value_name = "LOAD", value_enum)]
    only: Vec<Load>,

    /// As tests are built, which is slower by far and says nothing about speed; what leaks does so all the same.
    #[arg(long)]
    dev: bool,

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
    /// As in continuous integration: half a minute in all, of the program that other tests have built anyway, with as
    /// many connections as come to many messages each with it.
    pub(crate) fn short() -> Self {
        Self { seconds: 10, connections: 200, only: vec![], dev: true, out: None }
    }

    fn wants(&self, load: Load) -> bool {
        self.only.is_empty() || self.only.contains(&load)
    }
}

/// Builds as releases are, as a load is about what people run, unless it is told otherwise; and runs it.
pub(crate) fn run(root: &Path, options: &Options) -> Result<()> {
    // One after the other, so that the program is built as other steps build it.
    for build in if options.dev {
        ["build --package tamis-cli --locked", "build --package tamis-hostile --locked"]
    } else {
        ["build --release --package tamis-cli --locked", "build --release --package tamis-hostile --locked"]
    } {
        Cargo::new(build).run(root)?;
    }
    let hostile = |args: &[&str]| hostile(root, options.dev, args);
    let seconds = options.seconds.to_string();
    let connections = options.connections.to_string();
    let mut service = vec!["service", "--seconds", &seconds, "--connections", &connections];
    let out = options.out.as_ref().map(|path| path.display().to_string());
    if let Some(out) = &out {
        service.extend(["--out", out]);
    }
    match (options.wants(Load::Steady), options.wants(Load::Unrest)) {
        (true, true) => hostile(&service)?,
        (true, false) => hostile(&[&service[..], &["--only", "steady"]].concat())?,
        (false, true) => hostile(&[&service[..], &["--only", "unrest"]].concat())?,
        (false, false) => {}
    }
    if options.wants(Load::Killed) {
        hostile(&["soak", "--seconds", &seconds])?;
    }
    Ok(())
}

fn hostile(root: &Path, dev: bool, args: &[&str]) -> Result<()> {
    let shown = args.join(" ");
    eprintln!("    $ tamis-hostile {shown}");
    let mut command = cargo(root);
    command.args(["run", "--quiet", "--package", "tamis-hostile", "--locked"]);
    command.args((!dev).then_some("--release")).arg("--").args(args);
    let status = command.status().context("cannot start tamis-hostile")?;
    if !status.success() {
        bail!("`tamis-hostile {shown}` ended with {status}");
    }
    Ok(())
}

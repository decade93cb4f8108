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
  cargo xtask soak --seconds 10            as in `cargo xtask test`
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
    /// As in continuous integration: half a minute in all.
    pub(crate) fn short() -> Self {
        Self { seconds: 10, connections: CONNECTIONS, only: vec![], out: None }
    }

    fn wants(&self, load: Load) -> bool {
        self.only.is_empty() || self.only.contains(&load)
    }
}

/// Builds as releases are, as a load is about what people run, and runs it.
pub(crate) fn run(root: &Path, options: &Options) -> Result<()> {
    // With the command of `package`, so that the program is built once for both.
    Cargo::new("build --release --package tamis-cli --locked").run(root)?;
    Cargo::new("build --release --package tamis-hostile --locked").run(root)?;
    let seconds = options.seconds.to_string();
    let connections = options.connections.to_string();
    let mut service = vec!["service", "--seconds", &seconds, "--connections", &connections];
    let out = options.out.as_ref().map(|path| path.display().to_string());
    if let Some(out) = &out {
        service.extend(["--out", out]);
    }
    match (options.wants(Load::Steady), options.wants(Load::Unrest)) {
        (true, true) => hostile(root, &service)?,
        (true, false) => hostile(root, &[&service[..], &["--only", "steady"]].concat())?,
        (false, true) => hostile(root, &[&service[..], &["--only", "unrest"]].concat())?,
        (false, false) => {}
    }
    if options.wants(Load::Killed) {
        hostile(root, &["soak", "--seconds", &seconds])?;
    }
    Ok(())
}

fn hostile(root: &Path, args: &[&str]) -> Result<()> {
    let shown = args.join(" ");
    eprintln!("    $ tamis-hostile {shown}");
    let mut command = cargo(root);
    command.args(["run", "--quiet", "--release", "--package", "tamis-hostile", "--locked", "--"]).args(args);
    let status = command.status().context("cannot start tamis-hostile")?;
    if !status.success() {
        bail!("`tamis-hostile {shown}` ended with {status}");
    }
    Ok(())
}

//! `cargo xtask soak`: full load on a release build of `tamis serve` for a while.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::steps::{Cargo, cargo};

/// Seconds in continuous integration.
pub(crate) const SECONDS: u32 = 30;

/// Seconds of a run that means something.
pub(crate) const LONG: u32 = 600;

/// Builds as releases are, as a load is about what people run, and runs it.
pub(crate) fn run(root: &Path, seconds: u32) -> Result<()> {
    Cargo::new("build --release --package tamis-cli --package tamis-hostile --locked").run(root)?;
    let seconds = seconds.to_string();
    let mut command = cargo(root);
    command.args(["run", "--quiet", "--release", "--package", "tamis-hostile", "--locked", "--"]);
    command.args(["soak", "--seconds", &seconds]);
    eprintln!("    $ tamis-hostile soak --seconds {seconds}");
    let status = command.status().context("cannot start tamis-hostile")?;
    if !status.success() {
        bail!("the soak ended with {status}");
    }
    Ok(())
}

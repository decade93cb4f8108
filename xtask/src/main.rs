//! The tasks of the Tamis repository, run as `cargo xtask …`.
//!
//! `cargo xtask test` is the whole of what continuous integration runs, so that a green run on a desk means a
//! green run there. The steps are in [`steps`]; those that are more than a list of commands have files of their own.

mod bench;
mod fuzz;
mod libmilter;
mod licences;
mod package;
mod packages;
mod pictures;
mod soak;
mod steps;
mod unpack;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Args, Parser, Subcommand};

use steps::Step;

/// Runs the tasks of the Tamis repository.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

const EXAMPLES: &str = "\
Examples:
  cargo xtask test                 everything that CI runs
  cargo xtask test --only clippy   one step of it
  cargo xtask setup                install what the interop tests need
  cargo xtask fuzz --seconds 600   ten minutes for each fuzz target
  cargo xtask soak                 full load for half an hour
  cargo xtask bench-peers          Tamis beside other milter libraries";

#[derive(Subcommand)]
enum Task {
    /// Runs everything that CI runs, stopping at the first step that fails.
    #[command(after_help = steps::help())]
    Test(TestArgs),
    /// Installs the mail programs that the interop tests run (Debian and its relatives, as root).
    #[command(after_help = SETUP_HELP)]
    Setup,
    /// Lints the fuzz targets and runs each for a while, from its committed corpus.
    #[command(after_help = FUZZ_HELP)]
    Fuzz(FuzzArgs),
    /// Loads `tamis serve` for a while, while things die, return and are read again: nothing may grow or be left.
    #[command(after_help = soak::HELP)]
    Soak(soak::Options),
    /// Measures Tamis side by side with other milter libraries, and prints tables.
    #[command(after_help = bench::help())]
    BenchPeers(bench::Options),
    /// Builds the drop-in libmilter, and lays out what is to be installed of it.
    #[command(after_help = libmilter::HELP)]
    Libmilter(libmilter::Options),
    /// Makes the fuzz targets' corpus anew, from the sessions and fixtures beside the tests and what runs found here.
    FuzzSeeds,
    /// Builds the Debian package of the daemon.
    #[command(after_help = package::HELP)]
    Package,
    /// Draws the pictures of the guide anew from the texts beside them.
    Pictures,
}

const SETUP_HELP: &str = "\
Installs the packages postfix, miltertest, opendkim, opendkim-tools, spamc and valgrind where one is missing. Postfix is
left without a configuration and no service is started: the tests run instances of their own on free ports of the
loopback interface. Sendmail is downloaded and unpacked in target/sendmail, its libmilter with the other milters in
target/milters; they are not installed.
On other systems, or without root, it says what to type instead.

Examples:
  cargo xtask setup
  cargo xtask test --only setup --only interop --only libmilter";

const FUZZ_HELP: &str = "\
Needs a C++ compiler for libfuzzer, and cargo-fuzz, which is installed into target/tools where it is missing. What is
found on the way is kept in fuzz/target/corpus; an input that breaks something is left in fuzz/artifacts.

Examples:
  cargo xtask fuzz
  cargo xtask fuzz --target codec --seconds 600";

#[derive(Args)]
struct FuzzArgs {
    /// How long each target runs.
    #[arg(long, value_name = "N", default_value_t = fuzz::SECONDS)]
    seconds: u32,

    /// Run this target only (may be repeated): a file in `fuzz/fuzz_targets`.
    #[arg(long, value_name = "TARGET")]
    target: Vec<String>,
}

#[derive(Args)]
struct TestArgs {
    /// Run this step only (may be repeated; the order stays the usual one).
    #[arg(long, value_name = "STEP", value_enum, hide_possible_values = true, conflicts_with = "skip")]
    only: Vec<Step>,

    /// Run everything except this step (may be repeated).
    #[arg(long, value_name = "STEP", value_enum, hide_possible_values = true)]
    skip: Vec<Step>,
}

/// Exit codes: 0 all is well, 1 a step failed, 2 the command line was wrong (by clap).
fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli.task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: &Task) -> Result<()> {
    let root = repository_root()?;
    match task {
        Task::Setup => packages::setup(&root),
        Task::Fuzz(args) => fuzz::run(&root, &args.target, args.seconds),
        Task::Soak(options) => soak::run(&root, options),
        Task::BenchPeers(options) => bench::run(&root, options),
        Task::Libmilter(options) => libmilter::run(&root, options),
        Task::FuzzSeeds => fuzz::seeds(&root),
        Task::Package => package::build(&root).map(|_| ()),
        Task::Pictures => pictures::draw(&root),
        Task::Test(args) => {
            let steps = steps::select(&args.only, &args.skip);
            if steps.is_empty() {
                bail!("--skip leaves no step to run");
            }
            steps::run_all(&steps, &root)
        }
    }
}

/// Finds the folder above this package. Asked for at run time, so that a moved checkout keeps working.
fn repository_root() -> Result<PathBuf> {
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR").context("run this as `cargo xtask`")?;
    let root = PathBuf::from(manifest).parent().map(PathBuf::from).context("xtask has no parent folder")?;
    if !root.join("Cargo.toml").is_file() {
        bail!("{} holds no Cargo.toml: run this as `cargo xtask` inside the repository", root.display());
    }
    Ok(root)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn command_line_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn help_of_test_lists_every_step() {
        let mut cli = Cli::command();
        let help = cli.find_subcommand_mut("test").unwrap().render_help().to_string();
        for step in steps::ALL {
            assert!(help.contains(&format!("\n  {} ", step.name())), "{} missing in:\n{help}", step.name());
        }
    }

    #[test]
    fn only_and_skip_exclude_each_other() {
        assert!(Cli::try_parse_from(["xtask", "test", "--only", "fmt", "--skip", "doc"]).is_err());
        assert!(Cli::try_parse_from(["xtask", "test", "--only", "fmt", "--only", "doc"]).is_ok());
    }
}

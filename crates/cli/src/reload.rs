//! `tamis reload`: has the running daemon read its configuration again.

use std::process::ExitCode;
use std::time::Duration;

use hyper::Method;

use crate::admin::client::Daemon;
use crate::admin::record::Reloaded;
use crate::exit;

/// The daemon gives up before that.
const PATIENCE: Duration = Duration::from_mins(3);

/// Has the running daemon read its configuration again
///
/// The new configuration is checked and made ready beside the old one. New connections get the new one, those that are
/// open keep the old one until they end. If there is a mistake in it, all mistakes are printed, with their places, and
/// the old one stays. SIGHUP does the same, and tells it to the log alone.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tamis reload
  tamis reload --config ./tamis.toml
  tamis config check && tamis reload

Exit codes:
  0  the new configuration is in use, perhaps with warnings
  1  the old configuration stays, or there is no daemon that could be asked
  2  wrong usage")]
pub(crate) struct Args {
    #[command(flatten)]
    daemon: Daemon,
}

pub(crate) fn run(args: &Args) -> ExitCode {
    let answer = args.daemon.ask(&Method::POST, "/reload", PATIENCE);
    let Reloaded { reloaded, findings } = match answer.and_then(|answer| answer.read()) {
        Ok(reloaded) => reloaded,
        Err(error) => return exit::with(exit::FAILED, error),
    };
    if !findings.is_empty() {
        let end = if findings.ends_with('\n') { "" } else { "\n" };
        eprint!("{findings}{end}");
    }
    if !reloaded {
        return exit::with(exit::FAILED, "the old configuration stays");
    }
    match exit::print(b"the new configuration is in use\n") {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => exit::with(exit::FAILED, format_args!("cannot write the result: {error}")),
    }
}

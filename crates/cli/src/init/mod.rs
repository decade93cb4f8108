//! `tamis init`: looks at this machine, and writes a configuration to begin with.

mod found;
mod write;

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::mta::{Postfix, Sendmail};
use crate::{config, exit};
use found::Found;

/// Looks at this machine and writes a configuration to begin with
///
/// It reads what Postfix (by postconf) and Sendmail (in sendmail.cf) are configured to do with milters, and looks which of
/// these, and of milters that are usual, listen. What it writes runs them in the same order, each with what the MTA would
/// do if it failed, and says in comments why, and what to tell the MTA. Nothing else is changed.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tamis init --print
  sudo tamis init && tamis config check --mta postfix

Exit codes:
  0  it is written
  1  it could not be, or there is a configuration already
  2  wrong usage")]
pub(crate) struct Args {
    /// Where to write it; a file that is there is left alone.
    #[arg(long, env = "TAMIS_CONFIG", value_name = "FILE", default_value = config::PATH)]
    config: PathBuf,

    /// Prints it, in place of writing it.
    #[arg(long)]
    print: bool,

    /// Overwrites what is there.
    #[arg(long, conflicts_with = "print")]
    force: bool,

    /// The folder of Postfix' main.cf, if it is not the usual one.
    #[arg(long, value_name = "FOLDER")]
    postfix_config: Option<PathBuf>,

    /// Sendmail's configuration, if it is not the usual one.
    #[arg(long, value_name = "FILE")]
    sendmail_cf: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> ExitCode {
    let postfix = match Postfix::ask(args.postfix_config.as_deref()) {
        Ok(postfix) => Some(postfix),
        // Who names a folder wants that one.
        Err(error) if args.postfix_config.is_some() => return exit::with(exit::FAILED, error),
        Err(_) => None,
    };
    let sendmail = Sendmail::look(args.sendmail_cf.as_deref());
    if let (Some(file), None) = (&args.sendmail_cf, &sendmail) {
        return exit::with(exit::FAILED, format_args!("cannot read {}", file.display()));
    }
    let found = Found::look(postfix.as_ref(), sendmail.as_ref());
    let text = write::text(&found, postfix.as_ref(), sendmail.as_ref());
    if args.print {
        return match exit::print(text.as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => exit::with(exit::FAILED, format_args!("cannot write the result: {error}")),
        };
    }
    match save(args, &text) {
        Ok(()) => {
            println!("{}", write::summary(&found, &args.config));
            ExitCode::SUCCESS
        }
        Err(error) => exit::with(exit::FAILED, error),
    }
}

fn save(args: &Args, text: &str) -> Result<(), String> {
    let path = args.config.display();
    if let Some(folder) = args.config.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder)
            .map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
    }
    let mut options = OpenOptions::new();
    options.write(true);
    if args.force {
        options.create(true).truncate(true)
    } else {
        options.create_new(true)
    };
    let mut file = options.open(&args.config).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            format!("{path} is there already: `tamis init --print` shows what would be written, --force overwrites it")
        }
        _ => format!("cannot write {path}: {error}"),
    })?;
    file.write_all(text.as_bytes()).map_err(|error| format!("cannot write {path}: {error}"))
}

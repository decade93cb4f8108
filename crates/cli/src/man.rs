//! `tamis man`: manual pages, made of the help texts.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::CommandFactory;

use crate::{Cli, exit};

/// Writes the manual pages: one for tamis and one for each command into a folder, or the first to stdout.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tamis man | man -l -
  tamis man /usr/local/share/man/man1")]
pub(crate) struct Args {
    /// An existing folder for all pages; prints the page of tamis itself if left out.
    dir: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> ExitCode {
    let command = Cli::command();
    let (result, whereto) = match &args.dir {
        Some(dir) => (clap_mangen::generate_to(command, dir), dir.display().to_string()),
        None => (page(command), "stdout".to_owned()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            exit::with(exit::FAILED, format_args!("cannot write manual pages to {whereto}: {error}"))
        }
    }
}

fn page(command: clap::Command) -> std::io::Result<()> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page)?;
    exit::print(&page)
}

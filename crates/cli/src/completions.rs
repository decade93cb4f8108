//! `tamis completions`: completion scripts.

use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::Shell;

use crate::{Cli, exit};

/// Prints a script that completes tamis' options in a shell.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tamis completions bash > /etc/bash_completion.d/tamis
  tamis completions zsh > \"${fpath[1]}/_tamis\"
  tamis completions fish > ~/.config/fish/completions/tamis.fish")]
pub(crate) struct Args {
    /// The shell.
    shell: Shell,
}

pub(crate) fn run(args: &Args) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "tamis", &mut script);
    match exit::print(&script) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => exit::with(exit::FAILED, format_args!("cannot write the script: {error}")),
    }
}

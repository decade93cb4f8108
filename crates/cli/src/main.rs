//! The program `tamis`: a milter daemon, and a client that plays the MTA.
#![forbid(unsafe_code)]
// Help texts are doc comments, and read without mark-up.
#![allow(clippy::doc_markdown)]

mod admin;
mod bench;
mod completions;
mod config;
mod exit;
mod explain;
mod init;
mod log;
mod man;
mod mta;
mod reload;
mod send;
mod serve;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

/// Tamis filters mail for Postfix, Sendmail and other MTAs that speak the milter protocol.
///
/// tamis serve is a filter that MTAs connect to; tamis send plays the MTA and shows what a filter does; tamis bench
/// plays many and measures how fast it does it.
#[derive(Debug, Parser)]
#[command(name = "tamis", version, propagate_version = true, arg_required_else_help = true)]
#[command(after_help = "\
Try it without an MTA, in two terminals:
  tamis serve --add-header 'X-Tamis: seen {i}'
  tamis send --to inet:8899@127.0.0.1 message.eml")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(Box<serve::Args>),
    Send(Box<send::Args>),
    Bench(Box<bench::Args>),
    Config(config::Args),
    Init(init::Args),
    Reload(reload::Args),
    Explain(explain::Args),
    Completions(completions::Args),
    Man(man::Args),
}

fn main() -> ExitCode {
    let matches = Cli::command().get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    match cli.command {
        Command::Serve(mut args) => {
            // Without anything said, there may be a configuration that says it.
            if let Some((_, matches)) = matches.subcommand() {
                args.look_at(matches);
            }
            serve::run(&args)
        }
        Command::Send(args) => send::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Config(args) => config::run(&args),
        Command::Init(args) => init::run(&args),
        Command::Reload(args) => reload::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Completions(args) => completions::run(&args),
        Command::Man(args) => man::run(&args),
    }
}

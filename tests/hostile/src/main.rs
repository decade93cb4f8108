//! Throws hostile input at `tamis serve`, and loads it for as long as one likes.
#![forbid(unsafe_code)]

use std::io::{IsTerminal as _, Write as _, stderr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::{Parser, Subcommand};
use tamis_hostile::attack::{self, Attack, Grouped, Server};
use tamis_hostile::campaign::{self, Outcome};
use tamis_hostile::process;
use tamis_hostile::soak::{self, Plan, Sample};
use tamis_hostile::target::{Address, Target, Times};

/// Throws hostile input at `tamis serve` and looks whether it is well afterwards.
#[derive(Debug, Parser)]
#[command(name = "tamis-hostile", args_conflicts_with_subcommands = true, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,

    /// Attacks to run; all if none is named.
    #[arg(value_name = "ATTACK")]
    attacks: Vec<String>,

    /// Shows the attacks and what must happen, and runs none.
    #[arg(long)]
    list: bool,

    /// As --list, as the table of docs/hostile.md.
    #[arg(long)]
    table: bool,

    /// Attacks the server that listens here, with the limits it has by default, instead of starting one.
    #[arg(long, value_name = "SOCKET", requires = "pid")]
    to: Option<String>,

    /// The process of that server, whose memory and files are looked at.
    #[arg(long, value_name = "PID", requires = "to")]
    pid: Option<u32>,

    /// The program to start; without it the `tamis` beside this program.
    #[arg(long, value_name = "PATH", conflicts_with = "to")]
    tamis: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Full load with connections killed at random; memory, descriptors and threads must not grow.
    #[command(after_help = "Examples:\n  tamis-hostile soak --seconds 600")]
    Soak {
        /// For how long.
        #[arg(long, value_name = "N", default_value_t = 600, value_parser = clap::value_parser!(u64).range(10..))]
        seconds: u64,

        /// Connections that send honest messages, as fast as they are judged.
        #[arg(long, value_name = "N", default_value_t = 8)]
        connections: usize,

        /// The program to start; without it the `tamis` beside this program.
        #[arg(long, value_name = "PATH")]
        tamis: Option<PathBuf>,
    },
}

const EXAMPLES: &str = "\
Examples:
  tamis-hostile                            all attacks, on servers that it starts
  tamis-hostile --list
  tamis-hostile recipients mutations
  tamis-hostile --to inet:8899@127.0.0.1 --pid $(pidof tamis) resets
  tamis-hostile soak --seconds 600

Exit codes: 0 all is well, 1 something is not, 2 wrong usage";

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<bool> {
    let program = |given: Option<PathBuf>| given.map_or_else(process::beside, Ok);
    if let Some(Command::Soak { seconds, connections, tamis }) = cli.command {
        process::raise_open_files()?;
        let plan = Plan { honest: connections, ..Plan::new(Duration::from_secs(seconds)) };
        println!("{}", soak::run(&program(tamis)?, plan, progress)?);
        return Ok(true);
    }
    let attacks = select(&cli.attacks)?;
    if cli.table {
        print!("{}", attack::table());
        return Ok(true);
    }
    if cli.list {
        for Attack { name, throws, must, .. } in attacks {
            println!("{name}\n  throws  {throws}\n  must    {must}");
        }
        return Ok(true);
    }
    process::raise_open_files()?;
    match (&cli.to, cli.pid) {
        (Some(socket), Some(pid)) => attack_running(Address::parse(socket)?, pid, &attacks),
        _ => campaign::run(&program(cli.tamis)?, &attacks, report),
    }
}

fn attack_running(address: Address, pid: u32, attacks: &[Attack]) -> Result<bool> {
    let target = Target::running(address, pid, Times::default()).context("the server is not well already")?;
    let mut well = true;
    for attack in attacks {
        if let Server::With(options) = attack.server {
            eprintln!("{}: left out, it needs a server with {}", attack.name, options.join(" "));
            continue;
        }
        let outcome = campaign::one(attack, &target);
        report(&outcome);
        well &= outcome.result.is_ok();
    }
    Ok(well)
}

fn select(names: &[String]) -> Result<Vec<Attack>> {
    let all = attack::all();
    if let Some(unknown) = names.iter().find(|name| !all.iter().any(|attack| attack.name == name.as_str())) {
        bail!("there is no attack {unknown:?}; --list shows those there are");
    }
    let chosen = |attack: &Attack| names.is_empty() || names.iter().any(|name| name == attack.name);
    Ok(all.into_iter().filter(chosen).collect())
}

fn report(outcome: &Outcome) {
    let Outcome { name, time, done: (connections, bytes), usage: (base, now), result } = outcome;
    let (connections, bytes) = (Grouped(*connections), Grouped(*bytes));
    let (before, after) = (base.resident >> 10, now.resident >> 10);
    let line = format!("{connections} connections, {bytes} bytes, memory {before} -> {after} KiB");
    match result {
        Ok(()) => eprintln!("{name}: survived, {:.1} s, {line}", time.as_secs_f64()),
        Err(error) => eprintln!("{name}: FAILED, {:.1} s, {line}\n  {error:#}", time.as_secs_f64()),
    }
}

/// A line that moves where somebody looks, and one each ten seconds elsewhere.
fn progress(sample: &Sample) {
    let mut out = stderr();
    if out.is_terminal() {
        let _ = write!(out, "\r\x1b[K{sample}");
    } else if sample.at.as_secs().is_multiple_of(10) {
        let _ = writeln!(out, "{sample}");
    }
}

//! Throws hostile input at `tamis serve`, and loads it for as long as one likes.
#![forbid(unsafe_code)]

use std::fmt::Display;
use std::fs;
use std::io::{IsTerminal as _, Write as _, stderr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::{Parser, Subcommand, ValueEnum};
use tamis_hostile::attack::{self, Attack, Grouped, Server};
use tamis_hostile::campaign::{self, Outcome};
use tamis_hostile::process;
use tamis_hostile::service::{self, Phase};
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

    /// Five filters under the load of a busy site, at rest and while the configuration is read every second and a remote
    /// milter dies and returns; every answer must be right, and memory, descriptors and threads must not grow.
    #[command(after_help = SERVICE)]
    Service {
        /// For how long each of the two.
        #[arg(long, value_name = "N", default_value_t = 600, value_parser = clap::value_parser!(u64).range(5..))]
        seconds: u64,

        /// Connections that carry messages at the same time.
        #[arg(long, value_name = "N", default_value_t = 2000, value_parser = clap::value_parser!(u64).range(1..=5000))]
        connections: u64,

        /// Only this one.
        #[arg(long, value_name = "PHASE", value_enum)]
        only: Option<Only>,

        /// Where to write the table of figures, as it is in docs/performance.md.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,

        /// The program to start; without it the `tamis` beside this program.
        #[arg(long, value_name = "PATH")]
        tamis: Option<PathBuf>,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Only {
    /// at rest
    Steady,
    /// while the configuration is read every second and a remote milter dies and returns
    Unrest,
}

const SERVICE: &str = "\
Examples:
  tamis-hostile service --seconds 600 --out service.md
  tamis-hostile service --only unrest --seconds 30 --connections 500";

const EXAMPLES: &str = "\
Examples:
  tamis-hostile                            all attacks, on servers that it starts
  tamis-hostile --list
  tamis-hostile recipients mutations
  tamis-hostile --to inet:8899@127.0.0.1 --pid $(pidof tamis) resets
  tamis-hostile soak --seconds 600
  tamis-hostile service --seconds 600

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
    if let Some(Command::Service { seconds, connections, only, out, tamis }) = cli.command {
        let time = Duration::from_secs(seconds);
        let phases = match only {
            None => vec![Phase::Steady, Phase::Unrest],
            Some(Only::Steady) => vec![Phase::Steady],
            Some(Only::Unrest) => vec![Phase::Unrest],
        };
        let connections = usize::try_from(connections).expect("5000 at most");
        let plans = phases.into_iter().map(|phase| service::Plan { phase, time, connections });
        return serve(&program(tamis)?, plans, out.as_deref()).map(|()| true);
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

fn serve(program: &Path, plans: impl Iterator<Item = service::Plan>, out: Option<&Path>) -> Result<()> {
    process::raise_open_files()?;
    let mut reports = Vec::new();
    for plan in plans {
        process::allows_files(plan.files())?;
        eprintln!("{} connections, {}, for {} s", plan.connections, plan.phase, plan.time.as_secs());
        let report = service::run(program, plan, |sample| show(sample, sample.at))
            .with_context(|| plan.phase.to_string())?;
        reports.push(report);
    }
    let table = service::table(&reports);
    println!("{table}");
    match out {
        Some(path) => fs::write(path, table).with_context(|| format!("cannot write {}", path.display())),
        None => Ok(()),
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

fn progress(sample: &Sample) {
    show(sample, sample.at);
}

/// A line that moves where somebody looks, and one each ten seconds elsewhere.
fn show(sample: &dyn Display, at: Duration) {
    static SHOWN: AtomicU64 = AtomicU64::new(u64::MAX);
    let mut out = stderr();
    if out.is_terminal() {
        let _ = write!(out, "\r\x1b[K{sample}");
    } else if at.as_secs().is_multiple_of(10) && SHOWN.swap(at.as_secs(), Ordering::Relaxed) != at.as_secs() {
        let _ = writeln!(out, "{sample}");
    }
}

//! What all examples have in common: flags, environment variables, the log, signals and exit codes.
//!
//! A filter is run by one call:
//!
//! ```no_run
//! use std::process::ExitCode;
//! use tamis::{Verdict, message::Sender};
//!
//! struct NoBounces;
//!
//! #[tamis::filter]
//! impl NoBounces {
//!     fn mail(&mut self, sender: &Sender) -> Verdict {
//!         if sender.is_null() { Verdict::reject("5.7.1", "no bounces here") } else { Verdict::Continue }
//!     }
//! }
//!
//! fn main() -> ExitCode {
//!     tamis_examples::run(|_peer| NoBounces)
//! }
//! ```
#![forbid(unsafe_code)]
// Help texts are doc comments, and read without mark-up.
#![allow(clippy::doc_markdown)]

pub mod filters;
mod listen;
mod log;

// The examples name the library as a program does.
extern crate self as tamis_examples;

use std::env;
use std::fmt::Display;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, anyhow};
use clap::builder::FalseyValueParser;
use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser};
use tamis::server::Listener;
use tamis::{BoxError, Filter, Peer, Server, Shutdown};
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

use listen::Sockets;

/// Something is missing or wrong before the work could begin. Wrong usage is 2, which clap says itself.
const FAILED: u8 = 1;
/// Broken down after a good start; `EX_SOFTWARE` of sysexits.h.
const BROKEN: u8 = 70;

/// A mail filter; the comment on top of its source says what it does.
#[derive(Debug, Parser)]
#[command(version, after_help = AFTER_HELP)]
struct Cli<A: Args> {
    #[command(flatten)]
    own: A,

    #[command(flatten)]
    sockets: Sockets,

    /// What is logged: error, warn, info, debug, trace or off, for all or as MODULE=LEVEL, with commas.
    ///
    /// The conversation with the MTA, frame by frame: --log-level tamis::wire=trace
    #[arg(long, env = "TAMIS_LOG_LEVEL", value_name = "LEVELS", default_value = "info")]
    log_level: log::Directives,

    /// Compares edits of the header with what the MTA is going to make of them, before they are sent.
    ///
    /// A difference, which would be a fault of the library, is a failure of the filter then. Always on in debug builds.
    #[arg(long, env = "TAMIS_STRICT", value_parser = FalseyValueParser::new())]
    strict: bool,
}

const AFTER_HELP: &str = "\
SIGTERM and SIGINT let messages in work finish, up to 30 seconds, and end the program; a second signal ends it at once.

Exit codes:
  0   ended by a signal
  1   could not start: a bad socket, one that is in use, an unreadable file
  2   wrong usage
  70  broke down while running";

/// Runs the program around filters: `make` makes one for each connection of an MTA.
pub fn run<F, M>(make: M) -> ExitCode
where
    F: Filter,
    M: Fn(&Peer) -> F + Send + Sync + 'static,
{
    run_with(|()| Ok(Server::new(make)))
}

/// Runs the program around filters that have flags of their own, `A`, or a server with other settings.
pub fn run_with<A, F, M>(start: impl FnOnce(A) -> Result<Server<M>, BoxError>) -> ExitCode
where
    A: Args,
    F: Filter,
    M: Fn(&Peer) -> F + Send + Sync + 'static,
{
    let matches = Cli::<A>::command().display_name(program()).get_matches();
    let cli = Cli::<A>::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    log::start(&cli.log_level);
    let strict = cli.strict;
    let runtime = match Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return fail(FAILED, format_args!("cannot start threads: {error}")),
    };
    runtime.block_on(async {
        let (server, listeners, signals) = match ready(cli, &matches, start) {
            Ok(ready) => ready,
            Err(error) => return fail(FAILED, error),
        };
        let server = if strict { server.strict() } else { server };
        let shutdown = Shutdown::new();
        tokio::spawn(obey(signals, shutdown.clone()));
        match server.serve(listeners, shutdown).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(BROKEN, error),
        }
    })
}

/// SIGTERM and SIGINT.
type Signals = [(Signal, &'static str); 2];

/// Does everything that can go wrong at the start.
fn ready<A: Args, M>(
    cli: Cli<A>,
    matches: &ArgMatches,
    start: impl FnOnce(A) -> Result<Server<M>, BoxError>,
) -> Result<(Server<M>, Vec<Listener>, Signals)> {
    let specs = cli.sockets.specs(matches)?;
    let server = start(cli.own).map_err(|error| anyhow!(error))?;
    // Before the sockets, so that a signal never leaves a unix socket behind.
    let signals = [catch(SignalKind::terminate(), "SIGTERM")?, catch(SignalKind::interrupt(), "SIGINT")?];
    let listeners = tamis::bind(&specs)?;
    for address in listeners.iter().map(listen::address) {
        tracing::info!("listening on {address}; for Postfix: smtpd_milters = {}", address.postfix());
    }
    Ok((server, listeners, signals))
}

fn catch(kind: SignalKind, name: &'static str) -> Result<(Signal, &'static str)> {
    signal(kind).map(|signal| (signal, name)).map_err(|error| anyhow!("cannot handle {name}: {error}"))
}

/// Drains at the first signal, stops at the next one.
async fn obey([(mut terminate, term), (mut interrupt, int)]: Signals, shutdown: Shutdown) {
    loop {
        let name = tokio::select! {
            _ = terminate.recv() => term,
            _ = interrupt.recv() => int,
        };
        if shutdown.is_draining() {
            tracing::warn!("{name} again: stopping at once");
            shutdown.stop();
        } else {
            tracing::info!("{name}: stopping when the messages in work are finished");
            shutdown.drain();
        }
    }
}

/// The name that the program was called by.
fn program() -> String {
    let path = env::args_os().next().unwrap_or_default();
    Path::new(&path).file_name().map_or_else(|| "filter".into(), |name| name.to_string_lossy().into_owned())
}

fn fail(code: u8, error: impl Display) -> ExitCode {
    eprintln!("{}: {error}", program());
    ExitCode::from(code)
}

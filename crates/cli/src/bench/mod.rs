//! `tamis bench`: plays MTAs that keep a filter busy, and measures.

mod connection;
mod load;
mod message;
mod process;
mod report;
mod socket;
mod stint;
mod tally;
mod units;
mod world;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, anyhow};
use clap::ValueEnum;
use mio::Poll;
use serde_json::{Value, json};
use tamis::SocketSpec;
use tamis::client::Client;
use tamis::proto::{MtaConfig, Profile, Timeouts};

use crate::exit;
use load::Load;
use message::{Plan, Shape};
use process::Process;
use report::{Results, Server};
use socket::Target;
use stint::Stint;
use world::World;

/// Plays MTAs that keep a filter busy, and measures how fast it is and what it costs.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The filter's socket: inet:8899@127.0.0.1, inet6:8899@[::1], unix:/run/filter.sock.
    #[arg(long, value_name = "SOCKET")]
    to: SocketSpec,

    /// Connections that carry messages at the same time.
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = units::count)]
    connections: usize,

    /// Messages in all; 10000 if no time is set.
    #[arg(long, value_name = "NUMBER", value_parser = units::messages)]
    messages: Option<u64>,

    /// How long to send messages.
    #[arg(long, value_name = "SECONDS", value_parser = units::seconds)]
    seconds: Option<Duration>,

    /// Messages that a connection carries before it is ended and made anew; 0 for all.
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    per_connection: u64,

    /// Recipients of each message.
    #[arg(long, value_name = "NUMBER", default_value_t = 3, value_parser = units::count)]
    recipients: usize,

    /// Header fields of each message.
    #[arg(long, value_name = "NUMBER", default_value_t = 15)]
    headers: usize,

    /// Size of the body: bytes, or with a unit as 4KiB or 25MiB.
    #[arg(long, value_name = "SIZE", default_value = "4KiB", value_parser = units::size)]
    body: u64,

    /// Messages a second; as fast as the filter lets them if left out.
    #[arg(long, value_name = "NUMBER", value_parser = units::rate)]
    rate: Option<f64>,

    /// The MTA to behave like.
    #[arg(long = "as", value_name = "MTA", default_value = "postfix")]
    mta: Mta,

    /// Connections besides that say connect and helo and are then held open.
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    idle: usize,

    /// The filter's process on this machine: measures its CPU time, threads and memory.
    #[arg(long, value_name = "PID")]
    server_pid: Option<i32>,

    /// Messages before measuring; a tenth of all, and 1000 at most, if left out.
    #[arg(long, value_name = "NUMBER")]
    warmup: Option<u64>,

    /// How long to wait for each answer, such as 10s or 500ms; as long as the MTA would if left out.
    #[arg(long, value_name = "TIME", value_parser = units::time)]
    timeout: Option<Duration>,

    /// Prints one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mta {
    Postfix,
    Sendmail,
}

/// Messages if neither their number nor the time is set.
const MESSAGES: u64 = 10_000;
/// Most messages of a warm-up that nobody asked for.
const WARM_UP: u64 = 1_000;

pub(crate) fn run(args: &Args) -> ExitCode {
    let results = match measure(args) {
        Ok(results) => results,
        Err(error) => {
            if args.json {
                let _ = exit::print(&report::json_error(&error.to_string()));
            }
            return exit::with(exit::FAILED, error);
        }
    };
    let output =
        if args.json { report::json(args, &results) } else { report::text(args, &results).into_bytes() };
    match exit::print(&output) {
        Err(error) => exit::with(exit::FAILED, format_args!("cannot write the report: {error}")),
        Ok(()) if results.tally.error_count() > 0 => ExitCode::from(exit::ERRORS),
        Ok(()) => ExitCode::SUCCESS,
    }
}

fn measure(args: &Args) -> Result<Results> {
    let server = args.server_pid.map(Process::find).transpose()?;
    let config = args.config();
    let negotiated = ask(&args.to, config)?;
    let poll = Poll::new()?;
    let shape = args.shape();
    let message_bytes = shape.bytes();
    let world =
        World::new(poll.registry().try_clone()?, Target::find(&args.to)?, config, args.timeout, shape);
    let mut load = Load::new(poll, world, args.connections, args.per_connection);
    load.open().map_err(|error| anyhow!("{}: {error}", args.to))?;
    let before_idle = server.map(Process::usage).transpose()?;
    load.hold(args.idle)?;
    let with_idle = server.map(Process::usage).transpose()?;
    load.send(args.warm_up())?;
    load.world().tally.reset();
    let before = server.map(Process::usage).transpose()?;
    let own = process::own();
    load.send(args.stint())?;
    let own = process::own().since(own);
    let server = match (server, before) {
        (Some(server), Some(before)) => {
            let usage = server.usage()?;
            let idle = before_idle.zip(with_idle).filter(|_| args.idle > 0).map(|(before, after)| {
                (after.resident_kib as f64 - before.resident_kib as f64) * 1024.0 / args.idle as f64
            });
            Some(Server { pid: server.pid(), spent: usage.since(&before), usage, idle })
        }
        _ => None,
    };
    let elapsed = load.world().stint.elapsed();
    load.leave();
    let tally = std::mem::replace(&mut load.world().tally, tally::Tally::new());
    Ok(Results { tally, elapsed, message_bytes, negotiated, client: own, server })
}

/// Connects once as an MTA would, which tells best what is wrong where nothing can be measured.
fn ask(to: &SocketSpec, config: MtaConfig) -> Result<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = Client::connect(to, config).await?;
        let negotiated = Plan::negotiated(client.agreement());
        client.quit().await?;
        Ok(negotiated)
    })
}

impl Args {
    fn config(&self) -> MtaConfig {
        let config = MtaConfig::new(self.mta.profile()).with_body_limit(u64::MAX);
        match self.timeout {
            Some(time) => config.with_timeouts(Timeouts::all(time)),
            None => config,
        }
    }

    fn shape(&self) -> Shape {
        Shape {
            profile: self.mta.profile(),
            recipients: self.recipients,
            headers: self.headers,
            body: self.body,
        }
    }

    fn stint(&self) -> Stint {
        Stint::new(self.most_messages(), self.seconds, self.rate)
    }

    fn most_messages(&self) -> u64 {
        self.messages.unwrap_or(if self.seconds.is_some() { u64::MAX } else { MESSAGES })
    }

    fn warm_up(&self) -> Stint {
        let messages = self.warmup.unwrap_or(WARM_UP.min(self.most_messages() / 10));
        let time = self.seconds.filter(|_| self.warmup.is_none()).map(|time| time / 10);
        Stint::new(messages, time, None)
    }

    /// As in the report for programs.
    fn settings(&self) -> Value {
        json!({
            "to": self.to.to_string(),
            "as": self.mta.name(),
            "connections": self.connections,
            "messages": self.messages,
            "seconds": self.seconds.map(|time| time.as_secs_f64()),
            "per_connection": self.per_connection,
            "recipients": self.recipients,
            "headers": self.headers,
            "body": self.body,
            "rate": self.rate,
            "idle": self.idle,
            "warmup": self.warmup,
        })
    }
}

impl Mta {
    fn profile(self) -> Profile {
        match self {
            Self::Postfix => Profile::Postfix,
            Self::Sendmail => Profile::Sendmail,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Postfix => "postfix",
            Self::Sendmail => "sendmail",
        }
    }
}

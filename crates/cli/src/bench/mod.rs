//! `tamis bench`: plays MTAs that keep a filter busy, and measures.
// Nothing is counted here up to where a float has no room for it.
#![allow(clippy::cast_precision_loss)]

mod check;
mod connection;
mod files;
mod interrupt;
mod load;
mod measure;
mod message;
mod pacer;
mod process;
mod progress;
mod report;
mod socket;
mod stint;
mod tally;
mod units;
mod world;

use std::process::ExitCode;
use std::time::Duration;

use clap::ValueEnum;
use tamis::SocketSpec;
use tamis::proto::{MtaConfig, Profile, Timeouts};

use crate::exit;
use check::Expect;
use load::Interrupted;
use message::Shape;
use stint::Stint;

/// Plays MTAs that keep a filter busy, and measures how fast it is and what it costs.
///
/// Any filter will do, not only one made with Tamis. Each connection carries one message after the other, as those of
/// an MTA do: macros before each step, commands that need no answer in one write with the next that does. All messages
/// are the same, queue id included. Every reply is held against the protocol; those that break it are counted by kind,
/// and the first of each kind is shown.
///
/// Latency is the time from MAIL to the final verdict. With --rate messages begin when they are due, however long those
/// before them take, and latency counts from then: if the filter stalls, all messages that had to wait meanwhile show
/// it.
///
/// It runs on one thread and costs less than a filter does, so that it keeps a filter on another processor busy: give
/// it one of its own (taskset) where figures are to be compared. What it costs itself is reported too.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// The filter's socket: inet:8899@127.0.0.1, inet6:8899@[::1], unix:/run/filter.sock.
    #[arg(long, value_name = "SOCKET")]
    to: SocketSpec,

    /// The MTA to behave like.
    #[arg(long = "as", value_name = "MTA", default_value = "postfix")]
    mta: Mta,

    /// Verifies that the filter says the same about each message: the same verdicts at the same stages, and byte for
    /// byte the same modifications as for the first one, which is sent alone.
    ///
    /// It must also say nothing while it is not asked, and close each connection after QUIT. Costs some speed.
    #[arg(long)]
    check: bool,

    /// What the filter must do with the first message, and so with all.
    #[arg(long, value_name = "WHAT", requires = "check")]
    expect: Option<Expect>,

    /// How long to wait for each answer, such as 10s or 500ms; as long as Postfix would if left out: 30 seconds for
    /// commands and 5 minutes for content.
    #[arg(long, value_name = "TIME", value_parser = units::time)]
    timeout: Option<Duration>,

    /// The filter's process on this machine: reports its CPU time, threads and memory, those of its children among them.
    #[arg(long, value_name = "PID")]
    server_pid: Option<i32>,

    /// Prints one JSON object.
    #[arg(long)]
    json: bool,

    /// Shows no progress; it is shown on stderr where that is a terminal.
    #[arg(long, short)]
    quiet: bool,

    #[command(flatten)]
    amount: Amount,

    #[command(flatten)]
    message: MessageArgs,
}

/// How much of everything.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Load")]
struct Amount {
    /// Connections that carry messages at the same time.
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = units::count)]
    connections: usize,

    /// Messages in all; 10000 if no time is set.
    #[arg(long, value_name = "NUMBER", value_parser = units::messages)]
    messages: Option<u64>,

    /// How long messages may begin, such as 10 or 0.5; those that have begun are finished.
    #[arg(long, value_name = "SECONDS", value_parser = units::seconds)]
    seconds: Option<Duration>,

    /// Messages that a connection carries before it is ended and made anew; 0 for all.
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    per_connection: u64,

    /// Messages a second, such as 500 or 0.5, over all connections; as fast as the filter lets them if left out.
    #[arg(long, value_name = "NUMBER", value_parser = units::rate)]
    rate: Option<f64>,

    /// Connections besides, that say connect and helo and are held open while messages go over the others.
    #[arg(long, value_name = "NUMBER", default_value = "0", value_parser = units::count_or_none)]
    idle: usize,

    /// Messages before measuring. If left out, a tenth of all, but not more than 1000, than a tenth of the time or than
    /// a second of the rate allows.
    #[arg(long, value_name = "NUMBER")]
    warmup: Option<u64>,
}

/// What a message is like.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Message")]
struct MessageArgs {
    /// Recipients of each message.
    #[arg(long, value_name = "NUMBER", default_value = "3", value_parser = units::count)]
    recipients: usize,

    /// Header fields of each message.
    #[arg(long, value_name = "NUMBER", default_value = "15", value_parser = units::count_or_none)]
    headers: usize,

    /// Size of the body: bytes, or with a unit as 4KiB or 25MiB.
    #[arg(long, value_name = "SIZE", default_value = "4KiB", value_parser = units::size)]
    body: u64,
}

const AFTER_HELP: &str = "\
Examples:
  tamis bench --to inet:8899@127.0.0.1
  tamis bench --to unix:/run/filter.sock --connections 100 --seconds 10 --server-pid $(pidof myfilter)
  tamis bench --to unix:/run/filter.sock --connections 20 --rate 500 --seconds 60
  tamis bench --to unix:/run/filter.sock --messages 20 --body 25MiB --check --expect footer
  tamis bench --to unix:/run/filter.sock --idle 10000 --server-pid 4711 --json > idle.json
  taskset -c 0 tamis bench --to unix:/run/filter.sock --connections 8 --server-pid 4711

Exit codes:
  0    all was measured, and nothing was wrong
  1    nothing could be measured: no filter there, not enough open files, no such process, not what --expect says
  2    wrong usage
  20   there were errors, or messages that --check found treated differently
  130  ended early by Ctrl-C or SIGTERM; what was measured until then is reported";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mta {
    Postfix,
    Sendmail,
}

/// Messages if neither their number nor the time is set.
const MESSAGES: u64 = 10_000;
/// Bytes that a new body may have beyond four times the old one.
const NEW_BODY: u64 = 64 << 20;
/// Most messages of a warm-up that nobody asked for.
const WARM_UP: u64 = 1_000;

pub(crate) fn run(args: &Args) -> ExitCode {
    let results = match measure::measure(args) {
        Ok(results) => results,
        Err(error) => {
            let code = if error.is::<Interrupted>() { exit::INTERRUPTED } else { exit::FAILED };
            if args.json {
                let _ = exit::print(&report::json_error(&error.to_string(), code));
            }
            return exit::with(code, error);
        }
    };
    let output =
        if args.json { report::json(args, &results) } else { report::text(args, &results).into_bytes() };
    match exit::print(&output) {
        Err(error) => exit::with(exit::FAILED, format_args!("cannot write the report: {error}")),
        Ok(()) => ExitCode::from(results.exit_code()),
    }
}

impl Args {
    fn config(&self) -> MtaConfig {
        let new_body = self.message.body.saturating_mul(4).saturating_add(NEW_BODY);
        let config = MtaConfig::new(self.mta.profile()).with_body_limit(new_body);
        match self.timeout {
            Some(time) => config.with_timeouts(Timeouts::all(time)),
            None => config,
        }
    }

    fn shape(&self) -> Shape {
        let MessageArgs { recipients, headers, body } = self.message;
        Shape { profile: self.mta.profile(), recipients, headers, body }
    }
}

impl Amount {
    fn most_messages(&self) -> u64 {
        self.messages.unwrap_or(if self.seconds.is_some() { u64::MAX } else { MESSAGES })
    }

    fn stint(&self) -> Stint {
        Stint::new(self.most_messages(), self.seconds, self.rate)
    }

    fn warm_up(&self) -> Stint {
        let time = self.seconds.filter(|_| self.warmup.is_none()).map(|time| time / 10);
        Stint::new(self.warm_up_messages(), time, self.rate)
    }

    fn warm_up_messages(&self) -> u64 {
        let most = WARM_UP.min(self.most_messages() / 10);
        // At a fixed rate nobody wants to wait for more than a second.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // rates are bounded
        let most = self.rate.map_or(most, |rate| most.min(rate as u64));
        self.warmup.unwrap_or(most)
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

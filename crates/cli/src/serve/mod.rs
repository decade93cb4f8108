//! `tamis serve`: a filter that logs messages, and adds headers and text to them; alone, or behind others in a chain.

mod access;
mod append;
mod chain;
mod daemon;
mod filter;
mod header;
mod hint;
mod limits;
mod record;
mod setup;
mod sockets;
mod units;
mod user;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Result, anyhow};
use clap::ValueEnum;
use tamis::proto::address::{Host, Port};
use tamis::server::Listener;
use tamis::{Options, SocketSpec, Verdict};

use crate::admin::{self, State};
use crate::config::{self, Source};
use crate::{exit, log};
use access::Access;
use chain::Members;
use daemon::{Beginning, Daemon, Signals};
use limits::Limits;
use setup::Setup;
use sockets::{Passed, Sockets};
use units::size_or_none;
use user::Somebody;

/// Filters mail: logs every message and, if told so, adds header fields and text.
///
/// Without any option it listens on inet:8899@127.0.0.1, says how to make Postfix and Sendmail use it, and logs
/// one line for each message: queue id, client, helo, sender, recipients, size, subject, verdict and the
/// milliseconds from its sender to its end. A message that ends early is logged with the verdict "aborted" and the
/// stage it had reached.
///
/// With --config, everything is said in a file: listeners, limits, and the filters that are run. SIGHUP and tamis reload
/// read it again.
///
/// SIGTERM and SIGINT let messages in work finish, up to 30 seconds, and end the program; a second signal ends it
/// at once.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Reads all settings from this file, in place of the options: see tamis config example. Without it and without any
    /// option, /etc/tamis/tamis.toml is read if it is there.
    #[arg(long, env = "TAMIS_CONFIG", value_name = "FILE")]
    #[arg(conflicts_with_all = ["listen", "add_header", "append_text", "on_failure", "flight_recorder", "chain", "members", "Access", "Limits"])]
    config: Option<PathBuf>,

    /// Where MTAs connect; may be given several times, or once with commas. Port 0 takes a free port.
    #[arg(long, env = "TAMIS_LISTEN", value_name = "SOCKET", default_value = "inet:8899@127.0.0.1")]
    #[arg(value_delimiter = ',')]
    listen: Vec<String>,

    #[command(flatten)]
    access: Access,

    /// Adds this header field to every message; may be given several times.
    ///
    /// {NAME} is replaced by the macro that the MTA sends under this name: {i} is the queue id, {mail_addr} the
    /// sender, {client_addr} the client's address. A macro that the MTA does not send is empty; Postfix'
    /// milter_*_macros and Sendmail's Milter.macros.* say what is sent. Braces are doubled to stand for
    /// themselves. In the environment: one field a line.
    #[arg(long, env = "TAMIS_ADD_HEADER", value_name = "NAME: VALUE", value_delimiter = '\n')]
    add_header: Vec<String>,

    /// Appends the text of this file (UTF-8) to the body of every plain message.
    ///
    /// Plain is a message without Content-Type or with text/plain, whose Content-Transfer-Encoding is 7bit, 8bit or
    /// missing. Text beyond ASCII is appended only where the message says that it is 8bit and UTF-8. All other
    /// messages, multipart ones among them, pass unchanged, which is logged at level debug. So do bodies of more
    /// than 64 MiB, with a warning. The change breaks the signatures (DKIM, OpenPGP) that a message has already.
    #[arg(long, env = "TAMIS_APPEND_TEXT", value_name = "FILE")]
    append_text: Option<PathBuf>,

    /// What the MTA is told when the filter fails on a message.
    #[arg(long, env = "TAMIS_ON_FAILURE", value_name = "VERDICT", default_value = "tempfail")]
    on_failure: OnFailure,

    /// What is logged: error, warn, info, debug, trace or off, for all or as MODULE=LEVEL, with commas.
    ///
    /// The conversation with the MTA, frame by frame: --log-level tamis::wire=trace
    #[arg(long, env = "TAMIS_LOG_LEVEL", value_name = "LEVELS", default_value = "info")]
    log_level: log::Directives,

    /// How log lines look; they go to stderr.
    #[arg(long, env = "TAMIS_LOG_FORMAT", value_name = "FORMAT", default_value = "text")]
    log_format: log::Format,

    /// Keeps so much of each connection's last frames, and logs them when something goes wrong on it.
    ///
    /// A filter that fails or is too slow, and a connection that breaks, are then followed by a line of
    /// tamis::recorder with what was said last. 16K hold a usual message; of each piece of a body 64 bytes are kept.
    #[arg(long, env = "TAMIS_FLIGHT_RECORDER", value_name = "SIZE", default_value = "0", value_parser = size_or_none)]
    flight_recorder: usize,

    #[command(flatten)]
    chain: Members,

    #[command(flatten)]
    limits: Limits,

    #[arg(skip)]
    says_log_level: bool,
    #[arg(skip)]
    says_log_format: bool,
    /// Nothing is said that a configuration file says.
    #[arg(skip)]
    is_plain: bool,
}

const AFTER_HELP: &str = "\
Sockets:
  inet:8899@127.0.0.1 or inet:127.0.0.1:8899, inet6:8899@[::1], unix:/run/tamis.sock

Sizes and times:
  bytes, or with K, M or G behind the number; seconds, or with s, m or h
  An MTA that goes above a limit loses that connection and no other; the log names both.

Examples:
  tamis serve
  tamis serve --listen unix:/run/tamis/milter.sock --socket-group postfix --allow-uid postfix
  tamis serve --listen inet:8899 --allow-network 192.0.2.0/24
  tamis serve --add-header 'X-Queue: {i}' --append-text disclaimer.txt
  TAMIS_LISTEN=inet:8899 TAMIS_LOG_FORMAT=json tamis serve
  tamis serve --config ./tamis.toml
  tamis serve --chain --filter reject-sender,table=/etc/tamis/senders --filter footer \
              --milter opendkim=inet:8891@localhost,timeout=10s,on-failure=accept

Exit codes:
  0   ended by a signal
  1   could not start: a bad socket, one that is in use, a bad header field, an unreadable file
  2   wrong usage
  70  broke down while running";

/// What happens to a message that the filter fails on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OnFailure {
    /// The client shall try again later.
    Tempfail,
    /// The message is refused.
    Reject,
    /// The message passes unchanged.
    Accept,
}

pub(crate) fn run(args: &Args) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return exit::with(exit::FAILED, format_args!("cannot start threads: {error}")),
    };
    runtime.block_on(async {
        let daemon = match begin(args) {
            Ok(daemon) => daemon,
            Err(error) => return exit::with(exit::FAILED, error),
        };
        match daemon.run().await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => exit::with(exit::BROKEN, error),
        }
    })
}

fn begin(args: &Args) -> Result<Daemon> {
    match args.file() {
        Some(file) => begin_with(file, args),
        None => begin_without(args),
    }
}

/// What options say is run.
fn begin_without(args: &Args) -> Result<Daemon> {
    let levels = log::start("info", &args.log_level, args.log_format)?;
    let mut setup = Setup::of_args(args)?;
    // Before the sockets, so that a signal never leaves a unix socket behind.
    let signals = Signals::catch()?;
    args.limits.raise_open_files();
    let passed = Passed::default();
    let sockets = Sockets::open(std::mem::take(&mut setup.listeners), &passed, &Sockets::default())?;
    let specs: Vec<_> = sockets.listeners().iter().map(address).collect();
    match args.log_format {
        log::Format::Text => hint::print(&specs),
        log::Format::Json | log::Format::Journald => hint::log(&specs),
    }
    let state = Arc::new(State::new(0));
    let beginning = Beginning { file: None, levels, signals, passed, state, admin: None };
    Ok(Daemon::begin(beginning, setup, sockets))
}

/// What a configuration says is run.
fn begin_with(file: &Path, args: &Args) -> Result<Daemon> {
    let source = Source::read(file).map_err(|error| anyhow!(error))?;
    let (config, findings) = config::read(&source);
    let Some(config) = config else {
        // There is no log before it is known where to.
        eprint!("{}", findings.report(&source));
        return Err(anyhow!("{}: there are mistakes in the configuration", file.display()));
    };
    let config::Log { level, format } = &config.sections.log;
    let level = if args.says_log_level {
        args.log_level.clone()
    } else {
        level.parse().map_err(|error: String| anyhow!(error))?
    };
    let format = if args.says_log_format { args.log_format } else { (*format).into() };
    let levels = log::start("info", &level, format)?;
    findings.lines(&source).iter().for_each(|line| tracing::warn!("{line}"));
    let admin = &config.sections.admin;
    let state = Arc::new(State::new(admin.history));
    state.configured(daemon::configured(&config, 1));
    let mut setup = Setup::of_config(&config, state.clone())?;
    let signals = Signals::catch()?;
    limits::raise_open_files(setup.options.max_connections, "max_connections");
    let passed = Passed::take()?;
    let sockets = Sockets::open(std::mem::take(&mut setup.listeners), &passed, &Sockets::default())?;
    let specs: Vec<_> = sockets.listeners().iter().map(address).collect();
    hint::log(&specs);
    let user = Somebody::of(&config.sections.process)?;
    let listeners = match admin::Listeners::bind(admin, user.owner()) {
        // Nobody asked for it: a daemon of somebody who is not root can do without.
        Err(error) if admin.socket == config::Admin::default().socket => {
            tracing::warn!("{error}: there is no `tamis explain` and no `tamis reload`");
            let metrics = config::Admin { socket: String::new(), ..admin.clone() };
            admin::Listeners::bind(&metrics, user.owner())
        }
        listeners => listeners,
    };
    let listeners = listeners.map_err(|error| anyhow!(error))?;
    if let Some(address) = listeners.metrics_address() {
        tracing::info!(%address, "metrics");
    }
    user.become_it()?;
    let (file, admin) = (Some(file.to_owned()), Some(listeners));
    let beginning = Beginning { file, levels, signals, passed, state, admin };
    Ok(Daemon::begin(beginning, setup, sockets))
}

impl Args {
    /// The configuration to be read, if one is.
    fn file(&self) -> Option<&Path> {
        let usual = Path::new(config::PATH);
        self.config.as_deref().or_else(|| (self.is_plain && usual.exists()).then_some(usual))
    }

    /// Notes what was said and what is a default.
    pub(crate) fn look_at(&mut self, matches: &clap::ArgMatches) {
        let is_said = |id: &str| {
            !matches!(matches.value_source(id), None | Some(clap::parser::ValueSource::DefaultValue))
        };
        self.says_log_level = is_said("log_level");
        self.says_log_format = is_said("log_format");
        let mut others = matches
            .ids()
            .map(clap::Id::as_str)
            .filter(|id| !["log_level", "log_format", "config"].contains(id));
        self.is_plain = !others.any(|id| matches.try_contains_id(id).is_ok() && is_said(id));
    }
}

impl OnFailure {
    /// As in log lines.
    fn name(self) -> &'static str {
        match self {
            Self::Tempfail => "tempfail",
            Self::Reject => "reject",
            Self::Accept => "accept",
        }
    }

    /// For the filter as the last one of a chain.
    fn of_member(self) -> tamis::chain::OnFailure {
        match self {
            Self::Tempfail => tamis::chain::OnFailure::Tempfail,
            Self::Reject => tamis::chain::OnFailure::Reject,
            Self::Accept => tamis::chain::OnFailure::Accept,
        }
    }

    fn verdict(self) -> Verdict {
        match self {
            Self::Tempfail => Options::default().on_failure,
            Self::Reject => Verdict::Reject,
            Self::Accept => Verdict::Accept,
        }
    }
}

fn spec(text: &str) -> Result<SocketSpec> {
    let text = text.trim();
    text.parse().map_err(|error| anyhow!("cannot listen on {text:?}: {error}"))
}

/// The address that MTAs connect to: with the port in use where any was asked for.
fn address(listener: &Listener) -> SocketSpec {
    let port = |asked: &Port| match listener.local_addr() {
        Some(address) if *asked == Port::Number(0) => Port::Number(address.port()),
        _ => asked.clone(),
    };
    let host = Host::clone;
    match listener.spec() {
        SocketSpec::Inet { host: name, port: asked } => {
            SocketSpec::Inet { host: host(name), port: port(asked) }
        }
        SocketSpec::Inet6 { host: name, port: asked } => {
            SocketSpec::Inet6 { host: host(name), port: port(asked) }
        }
        unix @ SocketSpec::Unix(_) => unix.clone(),
    }
}

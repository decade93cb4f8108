//! `tamis serve`: a filter that logs messages, and adds headers and text to them; alone, or behind others in a chain.

mod access;
mod append;
mod chain;
mod filter;
mod header;
mod hint;
mod limits;
mod record;
mod units;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Result, anyhow};
use clap::ValueEnum;
use tamis::proto::address::{Host, Port};
use tamis::server::{AllowList, Listener, ServeError, bind_with};
use tamis::{Filter, Options, Peer, Server, Shutdown, SocketSpec, Verdict};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::log::List;
use crate::{exit, log};
use access::Access;
use append::Appendix;
use chain::{Members, Plan};
use filter::{Settings, Watcher};
use header::Template;
use limits::Limits;
use units::size;

/// Filters mail: logs every message and, if told so, adds header fields and text.
///
/// Without any option it listens on inet:8899@127.0.0.1, says how to make Postfix and Sendmail use it, and logs
/// one line for each message: queue id, client, helo, sender, recipients, size, subject, verdict and the
/// milliseconds from its sender to its end. A message that ends early is logged with the verdict "aborted" and the
/// stage it had reached.
///
/// SIGTERM and SIGINT let messages in work finish, up to 30 seconds, and end the program; a second signal ends it
/// at once.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
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
    #[arg(long, env = "TAMIS_FLIGHT_RECORDER", value_name = "SIZE", default_value = "0", value_parser = size)]
    flight_recorder: usize,

    #[command(flatten)]
    chain: Members,

    #[command(flatten)]
    limits: Limits,
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
    log::start("info", &args.log_level, args.log_format);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return exit::with(exit::FAILED, format_args!("cannot start threads: {error}")),
    };
    runtime.block_on(async {
        let ready = match Ready::new(args) {
            Ok(ready) => ready,
            Err(error) => return exit::with(exit::FAILED, error),
        };
        match ready.serve().await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => exit::with(exit::BROKEN, error),
        }
    })
}

/// Everything that can go wrong at the start has gone well.
struct Ready {
    settings: Arc<Settings>,
    chain: Option<Plan>,
    options: Options,
    allowed: AllowList,
    listeners: Vec<Listener>,
    signals: [(Signal, &'static str); 2],
}

impl Ready {
    fn new(args: &Args) -> Result<Self> {
        let specs = args.listen.iter().map(|text| spec(text)).collect::<Result<Vec<_>>>()?;
        let headers = args.add_header.iter().filter(|line| !line.trim().is_empty());
        let settings = Settings {
            headers: headers.map(|line| line.parse::<Template>()).collect::<Result<_>>()?,
            appendix: args.append_text.as_deref().map(Appendix::read).transpose()?,
            on_failure: args.on_failure.name(),
        };
        let settings = Arc::new(settings);
        let chain = match &args.chain {
            members if members.is_empty() => None,
            members => Some(members.plan(settings.clone(), args.on_failure.of_member())?),
        };
        let mut options = Options::default();
        options.on_failure = args.on_failure.verdict();
        options.flight_recorder = args.flight_recorder;
        // Before the sockets, so that a signal never leaves a unix socket behind.
        let catch = |kind, name| match signal(kind) {
            Ok(signal) => Ok((signal, name)),
            Err(error) => Err(anyhow!("cannot handle {name}: {error}")),
        };
        let signals = [catch(SignalKind::terminate(), "SIGTERM")?, catch(SignalKind::interrupt(), "SIGINT")?];
        args.limits.set(&mut options);
        args.limits.raise_open_files();
        let listeners = bind_with(&specs, args.access.sockets())?;
        let specs: Vec<_> = listeners.iter().map(address).collect();
        match args.log_format {
            log::Format::Text => hint::print(&specs),
            log::Format::Json => hint::log(&specs),
        }
        if let Some(chain) = &chain {
            tracing::info!(mode = chain.mode(), filters = ?List(&chain.names()), "chain");
        }
        let allowed = args.access.allow_list();
        Ok(Self { settings, chain, options, allowed, listeners, signals })
    }

    async fn serve(self) -> Result<(), ServeError> {
        let Self { settings, chain, options, allowed, listeners, signals } = self;
        let sockets = Sockets { options, allowed, listeners, signals };
        match chain {
            Some(plan) => sockets.serve(move |_: &_| plan.chain()).await,
            None => sockets.serve(move |_: &_| Watcher::new(settings.clone())).await,
        }
    }
}

/// What serving takes besides the filter.
struct Sockets {
    options: Options,
    allowed: AllowList,
    listeners: Vec<Listener>,
    signals: [(Signal, &'static str); 2],
}

impl Sockets {
    async fn serve<F: Filter>(
        self,
        make: impl Fn(&Peer) -> F + Send + Sync + 'static,
    ) -> Result<(), ServeError> {
        let Self { options, allowed, listeners, signals } = self;
        let shutdown = Shutdown::new();
        tokio::spawn(obey(signals, shutdown.clone()));
        let server = Server::new(make).options(options).accept(move |peer| allowed.check(peer));
        let counters = server.counters();
        server.serve(listeners, shutdown).await?;
        tracing::info!(messages = counters.messages(), connections = counters.accepted(), "stopped");
        Ok(())
    }
}

/// Drains at the first signal, stops at the next one.
async fn obey(signals: [(Signal, &'static str); 2], shutdown: Shutdown) {
    let [(mut terminate, term), (mut interrupt, int)] = signals;
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

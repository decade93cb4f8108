//! `tamis send`: plays an MTA that shows a message to a filter.

mod diff;
mod json;
mod parse;
mod text;

use std::io::{self, IsTerminal, Read};
use std::net::SocketAddr;
use std::path::{Path as FilePath, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, anyhow};
use bytes::Bytes;
use clap::ValueEnum;
use tamis::client::{Client, Macro, Mail, Report};
use tamis::proto::edit::model::Path;
use tamis::proto::{MtaConfig, Offer, Profile, Timeouts};
use tamis::{SocketSpec, Verdict};

use crate::{exit, log};

/// Plays an MTA: shows a message to a filter and prints what the filter says and does.
///
/// Printed are the negotiation, every step with the filter's answer and its milliseconds, the modifications, those
/// that must not be done, and the difference between the message before and after. Any filter will do, not only
/// one made with Tamis.
///
/// The message is sent as it is, malformed or not; only line ends become CRLF, as in every MTA. Its header does not
/// matter for the envelope.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// The filter's socket: inet:8899@127.0.0.1, inet6:8899@[::1], unix:/run/filter.sock.
    #[arg(long, value_name = "SOCKET")]
    to: SocketSpec,

    /// The message; - reads it from stdin.
    #[arg(value_name = "MESSAGE")]
    message: PathBuf,

    /// The MTA to behave like.
    #[arg(long = "as", value_name = "MTA", default_value = "postfix")]
    mta: Mta,

    /// The client's address, with its port or without; "unknown" for mail that did not come over the network.
    #[arg(long, value_name = "ADDR[:PORT]", default_value = "192.0.2.1:49152", value_parser = parse::client)]
    client: parse::ClientAddress,

    /// The client's verified name; its address in brackets if left out.
    #[arg(long, value_name = "NAME")]
    client_name: Option<String>,

    /// What the client says in HELO or EHLO.
    #[arg(long, value_name = "NAME", default_value = "client.example")]
    helo: String,

    /// The sender, with ESMTP parameters if there are any; <> is the null sender.
    #[arg(long, value_name = "ADDRESS", default_value = "sender@example.com", value_parser = parse::path)]
    from: Path,

    /// A recipient, such as '<user@example.com> NOTIFY=NEVER'; may be given several times.
    #[arg(long, value_name = "ADDRESS", default_value = "recipient@example.com", value_parser = parse::path)]
    rcpt: Vec<Path>,

    /// A macro, such as mail:{auth_authen}=user; may be given several times.
    ///
    /// Stages are connect, helo, mail, rcpt, data, header, end-of-headers, body, end-of-message and unknown. Without
    /// one the macro is sent where MTAs send it, or at connect. Macros that MTAs send by default are set anyway.
    #[arg(long = "macro", value_name = "[STAGE:]NAME=VALUE", value_parser = parse::macro_value)]
    macros: Vec<Macro>,

    /// The highest version of the protocol to offer, with all that an MTA of this version can do.
    #[arg(long, value_name = "VERSION", default_value_t = 6, value_parser = clap::value_parser!(u32).range(2..=6))]
    milter_version: u32,

    /// How long to wait for each answer, such as 10s or 500ms; 30 seconds for commands and 5 minutes for content
    /// if left out.
    #[arg(long, value_name = "TIME", value_parser = parse::time)]
    timeout: Option<Duration>,

    /// Takes modifications that were not negotiated, and other untidiness, for the end of the session.
    #[arg(long)]
    strict: bool,

    /// Prints one JSON object.
    #[arg(long)]
    json: bool,

    /// What is logged to stderr, as for serve; the conversation itself: --log-level tamis::wire=trace
    #[arg(long, value_name = "LEVELS", default_value = "warn")]
    log_level: log::Directives,
}

const AFTER_HELP: &str = "\
Examples:
  tamis send --to inet:8899@127.0.0.1 message.eml
  tamis send --to unix:/run/filter.sock --as sendmail --from '<>' - < bounce.eml
  tamis send --to inet:8899@127.0.0.1 --client '[2001:db8::1]:25' --client-name mail.example \\
      --rcpt '<a@example.com> NOTIFY=NEVER' --rcpt b@example.com --macro 'mail:{auth_authen}=user' message.eml

Exit codes:
  0   the message is accepted, changed or not
  1   there was no talking to the filter, or the message cannot be read
  2   wrong usage
  10  the message, or its last recipient, is rejected
  11  it is refused for now
  12  it is accepted and discarded

Colours are used on a terminal, unless NO_COLOR is set.";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mta {
    Postfix,
    Sendmail,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Accepted,
    Rejected,
    Tempfailed,
    Discarded,
}

pub(crate) fn run(args: &Args) -> ExitCode {
    if let Err(error) = log::start("warn", &args.log_level, log::Format::Text) {
        return exit::with(exit::FAILED, error);
    }
    let report = match send(args) {
        Ok(report) => report,
        Err(error) => {
            if args.json {
                let _ = exit::print(&json::error(&error.to_string()));
            }
            return exit::with(exit::FAILED, error);
        }
    };
    let fate = Fate::of(&report.verdict);
    let diff = diff::between(&report);
    let output = if args.json {
        json::report(args, &report, fate, &diff)
    } else {
        let colours = io::stdout().is_terminal() && log::colours_allowed();
        text::report(args, &report, fate, &diff, colours).into_bytes()
    };
    match exit::print(&output) {
        Ok(()) => ExitCode::from(fate.exit_code()),
        Err(error) => exit::with(exit::FAILED, format_args!("cannot write the report: {error}")),
    }
}

fn send(args: &Args) -> Result<Report> {
    let mail = args.mail()?;
    let mut config = MtaConfig::new(args.mta.profile()).with_offer(Offer::of_version(args.milter_version));
    if let Some(time) = args.timeout {
        config = config.with_timeouts(Timeouts::all(time));
    }
    if !args.strict {
        config = config.lenient();
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut client = Client::connect(&args.to, config).await?;
        let report = client.send(&mail).await?;
        // All is said; a filter that hung up on its own is no failure.
        let _ = client.quit().await;
        Ok(report)
    })
}

impl Args {
    fn mail(&self) -> Result<Mail> {
        let message = read(&self.message)
            .map_err(|error| anyhow!("cannot read message {}: {error}", self.message.display()))?;
        let mut mail = Mail::new(b"", [b""; 0], message);
        mail.client = self.client.0;
        mail.client_name = self.client_name.clone().map(Bytes::from);
        mail.helo = Some(self.helo.clone().into());
        mail.sender = self.from.clone();
        mail.recipients.clone_from(&self.rcpt);
        mail.macros.clone_from(&self.macros);
        Ok(mail)
    }

    /// The client as `--client` takes it.
    fn client(&self) -> String {
        self.client.0.as_ref().map_or_else(|| "unknown".to_owned(), SocketAddr::to_string)
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

impl Fate {
    fn of(verdict: &Verdict) -> Self {
        match verdict {
            Verdict::Continue | Verdict::Accept | Verdict::Skip => Self::Accepted,
            Verdict::Reject => Self::Rejected,
            Verdict::Discard => Self::Discarded,
            Verdict::Reply(reply) if reply.is_permanent() => Self::Rejected,
            Verdict::Tempfail | Verdict::Reply(_) => Self::Tempfailed,
        }
    }

    fn exit_code(self) -> u8 {
        match self {
            Self::Accepted => 0,
            Self::Rejected => exit::REJECTED,
            Self::Tempfailed => exit::TEMPFAILED,
            Self::Discarded => exit::DISCARDED,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Rejected => "rejected",
            Self::Tempfailed => "tempfailed",
            Self::Discarded => "discarded",
        }
    }
}

fn read(path: &FilePath) -> io::Result<Vec<u8>> {
    if path == FilePath::new("-") {
        let mut message = Vec::new();
        io::stdin().lock().read_to_end(&mut message)?;
        return Ok(message);
    }
    std::fs::read(path)
}

//! `tamis explain`: what became of a message, and why.

mod table;
mod text;
mod words;

use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::Duration;

use hyper::{Method, StatusCode};
use jiff::tz::TimeZone;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::admin::client::Daemon;
use crate::admin::record::Records;
use crate::admin::search::Search;
use crate::{exit, log};
use words::Plain;

/// How long the daemon may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Says what became of a message, and why
///
/// Asks the running daemon for the record of a message and prints who decided, with which reply, when and at which
/// stage; who sent it to whom; and for each filter what it said, how long it took, what it changed and how it failed.
/// Without a queue id it prints a table of the last messages, and of clients that were refused before they had one.
///
/// The daemon keeps the records of as many messages as history under [admin] in its configuration says, in memory, and of as
/// many refused clients. Only the user it runs as, and root, may ask for them.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tamis explain 4Rx8Kq0Lz9z1
  tamis explain --last 50
  tamis explain --client 192.0.2.7
  tamis explain --sender joe@example.com --recipient example.org
  tamis explain --number 1207
  tamis explain 4Rx8Kq0Lz9z1 --json | jq '.records[].decision'

The JSON object:
  kept, history, since   how many records there are, how many at most, and since when
  records                the oldest first, each with:
    number               counts records since the daemon started
    about                message, or client: one that was refused at connect or HELO
    queue_id             null if the MTA did not tell it before the message was over
    client               name, address and helo, each null if the MTA did not tell it
    auth_user            the account that the client logged in with
    sender               without brackets; <> for a bounce
    recipients           each with address and refused (by a filter or the MTA)
    recipients_left_out  how many there were besides
    began, finished      when the message began and was over, in UTC
    verdict              what the MTA was told: stage, verdict (continue, accept, reject, tempfail, discard) and
                         reply; null for a message that it gave up
    decision             why: passed, accepted, refused, failed, earlier or given-up; and filter, which one decided
    filters              in the order of the chain, each with name, type, dry_run, calls, ms, slowest (stage, ms),
                         verdict, edits, edits_left_out and failure (stage, error, policy)
    conflicts            what two filters of a parallel chain changed: what, first, second (which counts)
    conflicts_left_out   how many there were no room for
  An edit has its kind under `edit`, named as in the log, and name, value, index, address, args or reason.

Exit codes:
  0  it is printed
  1  no such message is known, or there is no daemon that could be asked
  2  wrong usage")]
pub(crate) struct Args {
    /// The MTA's name for the message.
    #[arg(value_name = "QUEUE-ID", conflicts_with_all = ["last", "number", "client", "sender", "recipient"])]
    queue_id: Option<String>,

    /// Prints a table of so many messages, the newest of them last.
    #[arg(long, value_name = "NUMBER", default_value = "10", value_parser = clap::value_parser!(u16).range(1..=1000))]
    last: u16,

    /// The message with this number in the table, for those that have no queue id.
    #[arg(long, value_name = "NUMBER", conflicts_with_all = ["last", "client", "sender", "recipient"])]
    number: Option<u64>,

    /// Only those of a client: its address, a network such as 192.0.2.0/24, or its name as the MTA has it.
    #[arg(long, value_name = "CLIENT")]
    client: Option<String>,

    /// Only those from an address, or from any in a domain; <> are bounces.
    #[arg(long, value_name = "ADDRESS")]
    sender: Option<String>,

    /// Only those to an address, or to any in a domain.
    #[arg(long, value_name = "ADDRESS")]
    recipient: Option<String>,

    /// Prints one JSON object.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    daemon: Daemon,
}

pub(crate) fn run(args: &Args) -> ExitCode {
    let answer = match args.daemon.ask(&Method::GET, &args.path(), PATIENCE) {
        Ok(answer) => answer,
        Err(error) => return exit::with(exit::FAILED, error),
    };
    let records: Records = match answer.read() {
        Ok(records) => records,
        Err(error) => return exit::with(exit::FAILED, error),
    };
    if answer.status != StatusCode::OK {
        return exit::with(exit::FAILED, args.missing(&records));
    }
    let text = if args.json { answer.json().to_vec() } else { args.text(&records).into_bytes() };
    match exit::print(&text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => exit::with(exit::FAILED, format_args!("cannot write the result: {error}")),
    }
}

impl Args {
    fn path(&self) -> String {
        match (&self.queue_id, self.number) {
            (Some(id), _) => format!("/records/{}", utf8_percent_encode(id, NON_ALPHANUMERIC)),
            (None, Some(number)) => format!("/records?number={number}"),
            (None, None) => {
                let parts = Search::PARTS.into_iter().zip(self.search()).filter_map(|(part, text)| {
                    let text = utf8_percent_encode(text?, NON_ALPHANUMERIC);
                    Some(format!("&{part}={text}"))
                });
                format!("/records?limit={}{}", self.last, parts.collect::<String>())
            }
        }
    }

    /// What is searched for, part by part.
    fn search(&self) -> [Option<&str>; Search::PARTS.len()] {
        [self.client.as_deref(), self.sender.as_deref(), self.recipient.as_deref()]
    }

    fn text(&self, records: &Records) -> String {
        let zone = TimeZone::system();
        if self.queue_id.is_none() && self.number.is_none() {
            let searched = self.search().iter().any(Option::is_some);
            return table::table(records, searched, &zone);
        }
        let colours = io::stdout().is_terminal() && log::colours_allowed();
        let texts = records.records.iter().map(|record| text::report(record, &zone, colours));
        texts.collect::<Vec<_>>().join("\n")
    }

    /// Says that there is no such message, and what there is.
    fn missing(&self, records: &Records) -> String {
        let what = match (&self.queue_id, self.number) {
            (Some(id), _) => format!("the queue id {}", Plain(id)),
            (None, number) => format!("the number {}", number.unwrap_or_default()),
        };
        let Records { kept, history, since, .. } = records;
        match since {
            _ if *history == 0 => {
                "the daemon keeps no records: `history` under [admin] in its configuration is 0".to_owned()
            }
            None => format!("no message has {what}: there was none since the daemon started"),
            Some(since) => {
                let since = words::when(*since, &TimeZone::system());
                let most = if kept == history { ", which is as many as `history` lets" } else { "" };
                format!("no message has {what}: {kept} are known, since {since}{most}")
            }
        }
    }
}

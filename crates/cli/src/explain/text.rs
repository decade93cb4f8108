//! The record of one message, for people.

use std::fmt::{self, Display, Write};

use anstyle::{AnsiColor, Style};
use jiff::tz::TimeZone;

use super::words::{self, Plain};
use crate::admin::record::{About, Filter, Kind, Record, Why};

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const GREEN: Style = AnsiColor::Green.on_default();
const RED: Style = AnsiColor::Red.on_default();
const YELLOW: Style = AnsiColor::Yellow.on_default();

pub(super) fn report(record: &Record, zone: &TimeZone, colours: bool) -> String {
    let mut page = Page { text: String::new(), colours };
    page.write(record, zone).expect("writing to a string does not fail");
    page.text
}

struct Page {
    text: String,
    colours: bool,
}

impl Page {
    fn write(&mut self, record: &Record, zone: &TimeZone) -> fmt::Result {
        let id =
            record.queue_id.as_deref().map_or_else(|| "no queue id".to_owned(), |id| Plain(id).to_string());
        match record.about {
            About::Message => writeln!(self.text, "{}, message {}", self.paint(BOLD, id), record.number)?,
            About::Client => {
                writeln!(
                    self.text,
                    "{}, record {}",
                    self.paint(BOLD, "a client without a message"),
                    record.number
                )?;
            }
        }
        let style = record.verdict.as_ref().map_or(DIM, |verdict| colour(verdict.verdict));
        writeln!(self.text, "  {}", self.paint(style, outcome(record)))?;
        if let Some(reply) = record.verdict.as_ref().and_then(|verdict| verdict.reply.as_deref()) {
            writeln!(self.text, "  reply     {}", Plain(reply))?;
        }
        writeln!(self.text, "  decided   {}", decider(record))?;
        self.parties(record)?;
        if let Some(began) = record.began.filter(|_| record.about == About::Message) {
            writeln!(self.text, "  began     {}", words::when(began, zone))?;
        }
        writeln!(self.text, "  finished  {}", words::when(record.finished, zone))?;
        let all: f64 = record.filters.iter().map(|filter| filter.ms).sum();
        writeln!(self.text, "  filters   {}, {} in all", record.filters.len(), words::time(all))?;
        for filter in &record.filters {
            self.text.push('\n');
            self.filter(filter)?;
        }
        if !record.conflicts.is_empty() {
            self.text.push_str("\nconflicts, where two filters changed the same thing:\n");
        }
        for conflict in &record.conflicts {
            writeln!(
                self.text,
                "  {}: {} and {}; the change of {} counts",
                Plain(&conflict.what),
                Plain(&conflict.first),
                Plain(&conflict.second),
                Plain(&conflict.second)
            )?;
        }
        self.left_out(record.conflicts_left_out, "conflict")
    }

    /// Who sends it to whom.
    fn parties(&mut self, record: &Record) -> fmt::Result {
        if let Some(client) = words::client(&record.client) {
            writeln!(self.text, "  client    {client}")?;
        }
        if let Some(user) = &record.auth_user {
            writeln!(self.text, "  login     {}", Plain(user))?;
        }
        if let Some(sender) = &record.sender {
            writeln!(self.text, "  from      {}", Plain(sender))?;
        }
        let mut title = "to";
        for recipient in &record.recipients {
            let refused = if recipient.refused { ", refused" } else { "" };
            writeln!(self.text, "  {title:<8}  {}{refused}", Plain(&recipient.address))?;
            title = "";
        }
        match record.recipients_left_out {
            0 => Ok(()),
            more => writeln!(self.text, "  {title:<8}  and {more} more"),
        }
    }

    fn filter(&mut self, filter: &Filter) -> fmt::Result {
        let name = self.paint(BOLD, Plain(&filter.name).to_string());
        write!(self.text, "{name}")?;
        if let Some(kind) = filter.kind.as_deref().filter(|kind| *kind != filter.name) {
            write!(self.text, " ({})", Plain(kind))?;
        }
        if filter.dry_run {
            let dry = self.paint(YELLOW, "dry run: nothing of this had an effect");
            write!(self.text, ", {dry}")?;
        }
        self.text.push('\n');
        match &filter.verdict {
            Some(verdict) => {
                let said = self.paint(colour(verdict.verdict), words::verdict(verdict));
                writeln!(self.text, "  {said}")?;
            }
            None if filter.failure.is_some() => {}
            None if filter.calls == 0 => self.text.push_str("  was not asked\n"),
            None => self.text.push_str("  lets it go on\n"),
        }
        if let Some(failure) = &filter.failure {
            let error = format!("fails at {}: {}", Plain(&failure.stage), Plain(&failure.error));
            writeln!(self.text, "  {}", self.paint(RED, error))?;
            if let Some(policy) = &failure.policy {
                let policy = words::policy(policy);
                let effect = if filter.dry_run { ", were it not a dry run" } else { "" };
                writeln!(self.text, "  on_failure is {policy}{effect}")?;
            }
        }
        for edit in &filter.edits {
            writeln!(self.text, "  {}", words::edit(edit))?;
        }
        self.left_out(filter.edits_left_out, "edit")?;
        if filter.calls == 0 {
            return Ok(());
        }
        let time = words::time(filter.ms);
        let calls = if filter.calls == 1 { "1 call".to_owned() } else { format!("{} calls", filter.calls) };
        let slowest = match &filter.slowest {
            Some(slowest) if filter.calls > 1 => {
                format!(", the longest {} at {}", words::time(slowest.ms), Plain(&slowest.stage))
            }
            _ => String::new(),
        };
        let line = self.paint(DIM, format!("took {time} in {calls}{slowest}"));
        writeln!(self.text, "  {line}")
    }

    fn left_out(&mut self, count: usize, what: &str) -> fmt::Result {
        match count {
            0 => Ok(()),
            1 => writeln!(self.text, "  and 1 more {what}, which was not kept"),
            count => writeln!(self.text, "  and {count} more {what}s, which were not kept"),
        }
    }

    fn paint(&self, style: Style, text: impl Display) -> String {
        if self.colours { format!("{style}{text}{style:#}") } else { text.to_string() }
    }
}

/// What became of a message, in a line.
pub(super) fn outcome(record: &Record) -> String {
    let Some(verdict) = &record.verdict else { return "given up by the MTA".to_owned() };
    let word = match verdict.verdict {
        Kind::Continue | Kind::Skip => "passed",
        Kind::Accept => "accepted",
        Kind::Reject => "rejected",
        Kind::Tempfail => "refused for now",
        Kind::Discard => "discarded",
    };
    format!("{word} at {}", Plain(&verdict.stage))
}

/// Who decided, in a line.
fn decider(record: &Record) -> String {
    let filter =
        || record.decision.filter.as_deref().map_or_else(|| "a filter".to_owned(), |f| Plain(f).to_string());
    match record.decision.why {
        Why::Passed => "by none: no filter refused it".to_owned(),
        Why::Accepted => "by all filters, which wanted to see no more of it".to_owned(),
        Why::Refused => format!("by {}", filter()),
        Why::Failed => format!("by the failure of {}", filter()),
        Why::Earlier => "by what was said, or failed, earlier on the connection".to_owned(),
        Why::GivenUp => "by the MTA or its client, before any filter had the last word".to_owned(),
    }
}

fn colour(kind: Kind) -> Style {
    match kind {
        Kind::Continue | Kind::Accept | Kind::Skip => GREEN,
        Kind::Reject | Kind::Discard => RED,
        Kind::Tempfail => YELLOW,
    }
}

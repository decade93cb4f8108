//! The report for people.

use std::fmt::{self, Display, Write};

use anstyle::{AnsiColor, Style};
use tamis::client::{Outcome, Report};
use tamis::proto::edit::model::{Applied, Ignored, Path};
use tamis::proto::trace::{FromFilter, Text};
use tamis::proto::{Frame, MacroStage};
use tamis::{Edit, Verdict};

use super::{Args, Fate, diff};

const PLAIN: Style = Style::new();
const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const GREEN: Style = AnsiColor::Green.on_default();
const RED: Style = AnsiColor::Red.on_default();
const YELLOW: Style = AnsiColor::Yellow.on_default();
const CYAN: Style = AnsiColor::Cyan.on_default();

/// Room for what a step is about.
const ABOUT: usize = 36;

pub(super) fn report(args: &Args, report: &Report, fate: Fate, diff: &str, colours: bool) -> String {
    let mut page = Page { text: String::new(), colours };
    page.write(args, report, fate, diff).expect("writing to a string does not fail");
    page.text
}

struct Page {
    text: String,
    colours: bool,
}

impl Page {
    fn write(&mut self, args: &Args, report: &Report, fate: Fate, diff: &str) -> fmt::Result {
        self.negotiation(args, report)?;
        self.steps(report)?;
        self.edits(report)?;
        self.envelope(report)?;
        self.diff(report, diff)?;
        let verdict = Verdicts(&report.verdict);
        let ms = report.elapsed.as_secs_f64() * 1e3;
        let word = self.paint(colour(fate), fate.name());
        writeln!(self.text, "\n{word}: {verdict} at {}, {ms:.1} ms", report.stage)
    }

    fn negotiation(&mut self, args: &Args, report: &Report) -> fmt::Result {
        let agreed = &report.agreement;
        let to = self.paint(BOLD, &args.to.to_string());
        writeln!(
            self.text,
            "{to} as {}, client {}: version {}, packets of up to {} bytes",
            args.mta.name(),
            args.client(),
            agreed.version,
            agreed.data_size.bytes(),
        )?;
        writeln!(self.text, "  actions  {}", agreed.actions)?;
        writeln!(self.text, "  steps    {}", agreed.steps)?;
        if agreed.macros.is_empty() {
            return writeln!(self.text, "  macros   as the MTA is configured");
        }
        for stage in MacroStage::ALL {
            if let Some(names) = agreed.macros.get(stage) {
                let names = Plain(names.join(" ").as_bytes()).to_string();
                writeln!(self.text, "  macros   {}: {names}", stage.stage())?;
            }
        }
        Ok(())
    }

    fn steps(&mut self, report: &Report) -> fmt::Result {
        self.text.push('\n');
        for step in &report.steps {
            let about = if step.about.is_empty() { String::new() } else { Plain(&step.about).to_string() };
            let ms = step.elapsed.as_secs_f64() * 1e3;
            let (style, outcome) = match &step.outcome {
                Outcome::NotSent => (DIM, "not sent".to_owned()),
                Outcome::NoReply => (DIM, "no reply".to_owned()),
                Outcome::TooLong => (YELLOW, "left out: longer than a packet".to_owned()),
                Outcome::Verdict(verdict) => {
                    let style = if verdict.stops() { colour(Fate::of(verdict)) } else { PLAIN };
                    (style, Verdicts(verdict).to_string())
                }
            };
            let outcome = self.paint(style, &outcome);
            let progress = match step.progress {
                0 => String::new(),
                count => format!(", after {count} times progress"),
            };
            writeln!(self.text, "{:14}  {about:ABOUT$}  {ms:8.1} ms  {outcome}{progress}", step.stage)?;
        }
        Ok(())
    }

    fn edits(&mut self, report: &Report) -> fmt::Result {
        if !report.edits.is_empty() {
            self.text.push_str("\nedits:\n");
        }
        for (edit, applied) in &report.edits {
            let effect = match applied {
                Applied::AddedInstead => ": added, as there was none to change",
                Applied::Ignored(Ignored::NotFound) => ": without effect, there is none",
                Applied::Ignored(Ignored::Duplicate) => ": without effect, it is there already",
                Applied::Ignored(_) => ": without effect, the MTA ignores it",
                _ => "",
            };
            writeln!(self.text, "  {}{effect}", shown(edit))?;
        }
        if !report.refused.is_empty() {
            self.text.push_str("\nrefused edits:\n");
        }
        for (edit, why) in &report.refused {
            let line = self.paint(RED, &format!("{}: {why}", shown(edit)));
            writeln!(self.text, "  {line}")?;
        }
        Ok(())
    }

    fn envelope(&mut self, report: &Report) -> fmt::Result {
        let Some(after) = &report.delivered else { return Ok(()) };
        let before = &report.original;
        if after.sender != before.sender || after.recipients != before.recipients {
            writeln!(self.text, "\nenvelope after:\n  from {}", Address(&after.sender))?;
            for recipient in &after.recipients {
                writeln!(self.text, "  to   {}", Address(recipient))?;
            }
        }
        if let Some(reason) = &after.quarantine {
            let line = self.paint(YELLOW, &format!("held in quarantine: {}", Text(reason)));
            writeln!(self.text, "\n{line}")?;
        }
        Ok(())
    }

    fn diff(&mut self, report: &Report, diff: &str) -> fmt::Result {
        if diff.is_empty() {
            return match report.delivered {
                Some(_) => writeln!(self.text, "\nthe message is unchanged"),
                None => Ok(()),
            };
        }
        self.text.push('\n');
        for line in diff.lines() {
            let style = match line.as_bytes().first() {
                _ if line.starts_with("--- ") || line.starts_with("+++ ") => BOLD,
                Some(b'+') => GREEN,
                Some(b'-') => RED,
                Some(b'@') => CYAN,
                _ => PLAIN,
            };
            let line = self.paint(style, line);
            writeln!(self.text, "{line}")?;
        }
        Ok(())
    }

    fn paint(&self, style: Style, text: &str) -> String {
        if self.colours { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }
}

fn colour(fate: Fate) -> Style {
    match fate {
        Fate::Accepted => GREEN,
        Fate::Rejected => RED,
        Fate::Tempfailed | Fate::Discarded => YELLOW,
    }
}

/// An edit as in the protocol trace.
fn shown(edit: &Edit<bytes::Bytes>) -> String {
    let mut frame = Vec::new();
    edit.encode(&mut frame);
    match Frame::parse(&frame, usize::MAX >> 1) {
        Ok(Some((_, frame))) => FromFilter(frame).to_string(),
        _ => edit.name().to_owned(),
    }
}

/// A verdict; a reply's text is the filter's and may be anything.
struct Verdicts<'a>(&'a Verdict);

impl Display for Verdicts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Verdict::Reply(reply) => {
                let mut separator = "reply ";
                reply.to_string().lines().try_for_each(|line| {
                    write!(f, "{separator}{}", Plain(line.as_bytes()))?;
                    separator = " / ";
                    Ok(())
                })
            }
            verdict => verdict.fmt(f),
        }
    }
}

/// Text without quotes, with what a terminal obeys escaped.
struct Plain<'a>(&'a [u8]);

impl Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        diff::escape(&mut text, self.0);
        f.write_str(&text)
    }
}

struct Address<'a>(&'a Path);

impl Display for Address<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}>", Plain(&self.0.address))?;
        self.0.args.iter().try_for_each(|arg| write!(f, " {}", Plain(arg)))
    }
}

//! A report for people and for snapshots.

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use bytes::Bytes;
use tamis_proto::edit::model::{Applied, Path};
use tamis_proto::trace::{FromFilter, Text};
use tamis_proto::{Edit, Frame, MacroStage, Profile, Verdict};

use super::report::{Ending, why_ignored};
use super::{MessageReport, Outcome, Report, StepReport};

/// Lines of a message that are shown.
const LINES: usize = 200;

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mta = match self.profile() {
            Profile::Postfix => "Postfix",
            Profile::Sendmail => "Sendmail",
        };
        writeln!(f, "{mta}{}", Elapsed(self.elapsed()))?;
        if let Some(agreed) = self.agreement() {
            writeln!(f, "actions: {}", agreed.actions)?;
            writeln!(f, "steps: {}", agreed.steps)?;
            for stage in MacroStage::ALL {
                if let Some(names) = agreed.macros.get(stage) {
                    writeln!(f, "macros at {}: {}", stage.stage(), names.join(" "))?;
                }
            }
        }
        for message in &self.parts {
            write!(f, "\n{message}")?;
        }
        match &self.ending {
            Ending::Quit => {}
            Ending::Vanished(time) => writeln!(f, "\nthe MTA vanished after {time:?}")?,
            Ending::Lost(why) => writeln!(f, "\nconnection lost: {why}")?,
        }
        if !self.failures().is_empty() || !self.macros_not_asked_for().is_empty() {
            writeln!(f)?;
        }
        self.failures().iter().try_for_each(|failure| writeln!(f, "{failure}"))?;
        self.macros_not_asked_for().iter().try_for_each(|missing| writeln!(f, "{missing}"))
    }
}

/// Steps that the filter is not shown are left out.
impl Display for MessageReport {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.steps().filter(|step| step.outcome != Outcome::NotSent).try_for_each(|step| line(f, step))?;
        for (edit, applied) in self.edits() {
            write!(f, "edit            {}", Shown(edit))?;
            match applied {
                Applied::AddedInstead => f.write_str(": added, as there was none to change")?,
                Applied::Ignored(why) => write!(f, ": without effect, {}", why_ignored(*why))?,
                _ => {}
            }
            writeln!(f)?;
        }
        for (edit, why) in self.refused_edits() {
            writeln!(f, "refused edit    {}: {why}", Shown(edit))?;
        }
        writeln!(f, "reply           {}", self.reply())?;
        let Some(message) = self.message() else {
            let for_nobody = self.is_through() && !self.verdict().stops();
            return if for_nobody { writeln!(f, "\ndelivered to nobody") } else { Ok(()) };
        };
        writeln!(f, "\nfrom {}", Address(message.sender()))?;
        message.recipients().iter().try_for_each(|recipient| writeln!(f, "to {}", Address(recipient)))?;
        if let Some(reason) = message.quarantine() {
            writeln!(f, "held in quarantine: {}", Text(reason.as_bytes()))?;
        }
        writeln!(f)?;
        let bytes = message.to_bytes();
        let mut lines = bytes.split_inclusive(|byte| *byte == b'\n');
        lines.by_ref().take(LINES).try_for_each(|line| writeln!(f, "| {}", Line(line)))?;
        match lines.count() {
            0 => Ok(()),
            more => writeln!(f, "({more} lines more)"),
        }
    }
}

fn line(f: &mut Formatter<'_>, step: &StepReport) -> fmt::Result {
    write!(f, "{:14}  ", step.stage)?;
    if !step.about.is_empty() {
        write!(f, "{} ", Text(&step.about))?;
    }
    match &step.outcome {
        Outcome::NotSent => f.write_str("not sent")?,
        Outcome::NoReply => f.write_str("no reply")?,
        Outcome::TooLong => f.write_str("left out: longer than a packet")?,
        Outcome::Verdict(Verdict::Reply(reply)) => write!(f, "reply {reply}")?,
        Outcome::Verdict(verdict) => write!(f, "{verdict}")?,
    }
    if step.progress > 0 {
        write!(f, ", progress {} times", step.progress)?;
    }
    writeln!(f, "{}", Elapsed(step.elapsed))
}

/// An edit as in the protocol trace.
pub(super) struct Shown<'e>(pub(super) &'e Edit<Bytes>);

impl Display for Shown<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut frame = Vec::new();
        self.0.encode(&mut frame);
        match Frame::parse(&frame, usize::MAX >> 1) {
            Ok(Some((_, frame))) => FromFilter(frame).fmt(f),
            _ => f.write_str(self.0.name()),
        }
    }
}

/// Time that counts: what a computer needs is none, so that transcripts are the same in real time too, mostly.
struct Elapsed(Duration);

impl Display for Elapsed {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let tenths = self.0.as_millis() / 100;
        match (tenths / 10, tenths % 10) {
            (0, 0) => Ok(()),
            (seconds, 0) => write!(f, ", {seconds} s"),
            (seconds, tenths) => write!(f, ", {seconds}.{tenths} s"),
        }
    }
}

struct Address<'a>(&'a Path);

impl Display for Address<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "<{}>", Line(&self.0.address))?;
        self.0.args.iter().try_for_each(|arg| write!(f, " {}", Line(arg)))
    }
}

/// A line without its CRLF, with everything in it escaped that is no text.
struct Line<'a>(&'a [u8]);

impl Display for Line<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let line = self.0.strip_suffix(b"\r\n").unwrap_or(self.0);
        for chunk in line.utf8_chunks() {
            for c in chunk.valid().chars() {
                if c.is_control() && c != '\t' {
                    write!(f, "{}", c.escape_default())?;
                } else {
                    write!(f, "{c}")?;
                }
            }
            chunk.invalid().iter().try_for_each(|byte| write!(f, "\\x{byte:02x}"))?;
        }
        Ok(())
    }
}

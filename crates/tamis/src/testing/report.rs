//! What came of a session, and of each message in it.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use tamis_proto::edit::model::{Applied, Field, Ignored, Message, Path};
use tamis_proto::{Agreement, Edit, Profile, Stage, Verdict};

use super::reply::reply;
use super::script::{Act, Part};
use super::transcript::Shown;
use super::{Outcome, RunError, StepReport};
use crate::client;

/// What came of a session. It displays as a transcript.
///
/// Most sessions have one message; what is said of a message here is of the last one.
#[derive(Clone, Debug)]
pub struct Report {
    pub(super) profile: Profile,
    pub(super) agreement: Option<Agreement>,
    /// At least one.
    pub(super) parts: Vec<MessageReport>,
    pub(super) failures: Vec<Failure>,
    pub(super) macros: Vec<MacroNotAskedFor>,
    pub(super) ending: Ending,
    pub(super) elapsed: Duration,
}

/// How the connection of the MTA and the filter ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Quit,
    Vanished(Duration),
    Lost(String),
}

/// A failure of the filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The stage, or `abort` or `close`.
    pub at: &'static str,
    /// The error's text, `panic: ` with what the panic says, or the time limit.
    pub text: String,
}

/// A macro that the filter looked for and cannot find, on whatever day: it did not ask for it at this stage or an
/// earlier one, and the MTA does not send it unasked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MacroNotAskedFor {
    /// The name as MTAs write it: `i`, `{auth_authen}`.
    pub name: String,
    /// Where it was looked for; `None` outside of all stages.
    pub stage: Option<Stage>,
}

/// What came of one message.
#[derive(Clone, Debug)]
pub struct MessageReport {
    profile: Profile,
    pub(super) report: client::Report,
    has_sender: bool,
    has_content: bool,
}

/// A message that would be delivered.
#[derive(Clone, Copy, Debug)]
pub struct Delivered<'r>(&'r Message);

impl Report {
    /// The MTA that was played.
    pub fn profile(&self) -> Profile {
        self.profile
    }

    /// What the filter and the MTA agreed on; `None` if they did not.
    pub fn agreement(&self) -> Option<&Agreement> {
        self.agreement.as_ref()
    }

    /// Every message that the client began, in order.
    pub fn messages(&self) -> Vec<&MessageReport> {
        self.parts.iter().filter(|part| part.has_sender).collect()
    }

    /// Every step of the session, in order.
    pub fn steps(&self) -> impl DoubleEndedIterator<Item = &StepReport> {
        self.parts.iter().flat_map(MessageReport::steps)
    }

    /// What the filter said at a stage, the last time it was there. Where it is asked several times within a message
    /// (recipients, header fields, pieces of the body) the first that is not [`Verdict::Continue`] counts.
    ///
    /// `None` where it was not asked: it does not answer the stage, or the session did not get there.
    pub fn verdict_at(&self, stage: Stage) -> Option<&Verdict> {
        self.parts.iter().rev().find_map(|part| part.verdict_at(stage))
    }

    /// What became of the message; see [`MessageReport::verdict`].
    pub fn verdict(&self) -> &Verdict {
        self.last().verdict()
    }

    /// The stage of that verdict.
    pub fn stage(&self) -> Stage {
        self.last().stage()
    }

    /// What the SMTP client is told about the message in the end; see [`MessageReport::reply`].
    pub fn reply(&self) -> String {
        self.last().reply()
    }

    /// What the SMTP client is told about a recipient; see [`MessageReport::reply_to`].
    pub fn reply_to(&self, recipient: impl AsRef<[u8]>) -> Option<String> {
        self.last().reply_to(recipient)
    }

    /// The modifications of the message that the filter asked for, in order, and what each did.
    pub fn edits(&self) -> &[(Edit<Bytes>, Applied)] {
        self.last().edits()
    }

    /// Modifications of the message that the MTA did not do, and why.
    pub fn refused_edits(&self) -> &[(Edit<Bytes>, String)] {
        self.last().refused_edits()
    }

    /// The message as it would be delivered; `None` if it would not be, also where the filter left no recipient.
    pub fn message(&self) -> Option<Delivered<'_>> {
        self.last().message()
    }

    /// How often the MTA was told in this session that the filter is still working.
    pub fn progress(&self) -> u32 {
        self.steps().map(|step| step.progress).sum()
    }

    /// What went wrong in the filter: errors, panics and time limits of handlers, verdicts that a stage does not know.
    pub fn failures(&self) -> &[Failure] {
        &self.failures
    }

    /// Macros that the filter looked for and cannot find, on whatever day.
    pub fn macros_not_asked_for(&self) -> &[MacroNotAskedFor] {
        &self.macros
    }

    /// Why the MTA and the filter parted before the session was over. Mail is refused for now from there on.
    pub fn lost(&self) -> Option<&str> {
        match &self.ending {
            Ending::Lost(why) => Some(why),
            _ => None,
        }
    }

    /// How long the session took, in the time that it ran in.
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// The report, if nothing in it is certainly a mistake.
    pub(super) fn checked(self) -> Result<Self, RunError> {
        if let Some(why) = self.lost() {
            return Err(RunError::Lost { why: why.to_owned(), report: Box::new(self) });
        }
        let edits: Vec<_> = self.parts.iter().flat_map(MessageReport::ineffective).collect();
        if edits.is_empty() { Ok(self) } else { Err(RunError::Ineffective { edits, report: Box::new(self) }) }
    }

    fn last(&self) -> &MessageReport {
        self.parts.last().expect("every session has a part")
    }
}

impl MessageReport {
    pub(super) fn new(profile: Profile, report: client::Report, part: &Part) -> Self {
        let has_sender = part.acts.iter().any(|act| matches!(act, Act::From));
        Self { profile, report, has_sender, has_content: part.content.is_some() }
    }

    /// The steps from the end of the message before to the end of this one, in order.
    pub fn steps(&self) -> impl DoubleEndedIterator<Item = &StepReport> {
        self.report.steps.iter()
    }

    /// What the filter said at a stage; see [`Report::verdict_at`].
    pub fn verdict_at(&self, stage: Stage) -> Option<&Verdict> {
        let mut first = None;
        for step in self.steps().filter(|step| step.stage == stage) {
            match &step.outcome {
                Outcome::Verdict(Verdict::Continue) => first = first.or(Some(&Verdict::Continue)),
                Outcome::Verdict(verdict) => return Some(verdict),
                _ => {}
            }
        }
        first
    }

    /// What became of the message: the first verdict that stopped it, [`Verdict::Accept`] where the filter had seen
    /// enough, or [`Verdict::Continue`].
    pub fn verdict(&self) -> &Verdict {
        &self.report.verdict
    }

    /// The stage of that verdict.
    pub fn stage(&self) -> Stage {
        self.report.stage
    }

    /// What the SMTP client is told about the message in the end, in the words that the MTA has by default. Several
    /// lines are separated by ` / `.
    pub fn reply(&self) -> String {
        let report = &self.report;
        let stage = match report.verdict {
            // The client is not told of it.
            Verdict::Discard => Stage::EndOfMessage,
            _ if report.verdict.stops() => report.stage,
            _ if self.has_content => Stage::EndOfMessage,
            _ => {
                let mut steps = self.steps().map(|step| step.stage);
                steps.rfind(|stage| stage.in_message() || !self.has_sender).unwrap_or(report.stage)
            }
        };
        reply(self.profile, stage, &report.verdict, self.about(stage))
    }

    /// What the SMTP client is told about a recipient, written with or without angle brackets; `None` if it did not
    /// get that far.
    pub fn reply_to(&self, recipient: impl AsRef<[u8]>) -> Option<String> {
        let recipient = Path::new(recipient).address;
        let step = self.steps().find(|step| step.stage == Stage::Rcpt && step.about == recipient)?;
        Some(reply(self.profile, Stage::Rcpt, &step.outcome.verdict(), &recipient))
    }

    /// The modifications that the filter asked for, in order, and what each did.
    pub fn edits(&self) -> &[(Edit<Bytes>, Applied)] {
        &self.report.edits
    }

    /// Modifications that the MTA did not do, and why.
    pub fn refused_edits(&self) -> &[(Edit<Bytes>, String)] {
        &self.report.refused
    }

    /// The message as it came in, with the field on top that the MTA adds and filters are not shown.
    pub fn original(&self) -> Delivered<'_> {
        Delivered(&self.report.original)
    }

    /// The message as it would be delivered; `None` if it would not be, also where the filter left no recipient.
    pub fn message(&self) -> Option<Delivered<'_>> {
        self.report.delivered.as_ref().filter(|message| !message.recipients.is_empty()).map(Delivered)
    }

    /// From its first step to its last.
    pub fn elapsed(&self) -> Duration {
        self.report.elapsed
    }

    /// Whether nothing more is to come of it.
    pub(super) fn is_through(&self) -> bool {
        self.report.delivered.is_some() || self.report.verdict.stops()
    }

    fn about(&self, stage: Stage) -> &[u8] {
        self.steps().rfind(|step| step.stage == stage).map_or(b"", |step| &step.about)
    }

    /// Modifications that did nothing, and why.
    fn ineffective(&self) -> impl Iterator<Item = String> {
        let ignored = self.edits().iter().filter_map(|(edit, applied)| match applied {
            Applied::Ignored(why) => Some(format!("{}: {}", Shown(edit), why_ignored(*why))),
            _ => None,
        });
        ignored.chain(self.refused_edits().iter().map(|(edit, why)| format!("{}: {why}", Shown(edit))))
    }
}

pub(super) fn why_ignored(why: Ignored) -> &'static str {
    match why {
        Ignored::NotFound => "there is no such header field or recipient",
        Ignored::Empty => "name, address or reason is empty",
        Ignored::Duplicate => "the recipient is there already",
        Ignored::BadArguments => "the MTA does not understand the parameters",
        _ => "the MTA ignores it",
    }
}

impl<'r> Delivered<'r> {
    /// The first header field of a name: its value, unfolded and without the space after the colon. What is not UTF-8 is replaced.
    pub fn header(self, name: &str) -> Option<Cow<'r, str>> {
        self.headers(name).next()
    }

    /// The values of all header fields of a name, as [`header`](Self::header) has them.
    pub fn headers(self, name: &str) -> impl Iterator<Item = Cow<'r, str>> {
        self.0.headers.iter().filter(move |field| field.name.eq_ignore_ascii_case(name.as_bytes())).map(value)
    }

    /// Names and values of all header fields, from the top.
    pub fn fields(self) -> &'r [Field] {
        &self.0.headers
    }

    /// The body, its lines ending in CRLF.
    pub fn body(self) -> Vec<u8> {
        self.0.body.to_vec()
    }

    /// The envelope's sender.
    pub fn sender(self) -> &'r Path {
        &self.0.sender
    }

    /// The envelope's recipients.
    pub fn recipients(self) -> &'r [Path] {
        &self.0.recipients
    }

    /// Why the message is held, if it is.
    pub fn quarantine(self) -> Option<Cow<'r, str>> {
        self.0.quarantine.as_deref().map(String::from_utf8_lossy)
    }

    /// The message as it is delivered: header, empty line and body, with CRLF.
    pub fn to_bytes(self) -> Vec<u8> {
        self.0.to_bytes()
    }

    /// All of it, with the envelope.
    pub fn as_model(self) -> &'r Message {
        self.0
    }
}

fn value(field: &Field) -> Cow<'_, str> {
    let value = field.value.strip_prefix(b" ").unwrap_or(&field.value);
    match String::from_utf8_lossy(value) {
        text if text.contains('\n') => text.replace('\n', "").into(),
        text => text,
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "filter failed at {}: {}", self.at, self.text)
    }
}

impl fmt::Display for MacroNotAskedFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.stage.map_or_else(String::new, |stage| format!(" at {stage}"));
        write!(f, "macro {} was looked for{at}, but nobody asked the MTA for it", self.name)
    }
}

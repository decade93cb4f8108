//! The record of a message: what each filter said and did, how long it took, and how it failed.

use std::fmt::{self, Write};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tamis_proto::{Edit, Stage, Verdict};

use super::Parties;

/// What became of a message in a chain: handed to an [`Observer`] when it is over, and logged as one line. So is what
/// became of a client that was refused before it had a message.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Record {
    /// When the message began; for a client that was refused, when that was. Only an [`Observer`] gets to know.
    pub began: Option<SystemTime>,
    /// Who sends it to whom; also only where there is an [`Observer`].
    pub parties: Parties,
    /// The MTA's name for the message, if it told it.
    pub queue_id: Option<Bytes>,
    /// What the MTA was told at last, and where; none for a message that was given up.
    pub verdict: Option<(Stage, Verdict)>,
    /// Each filter, in the order of the chain.
    pub filters: Vec<FilterRecord>,
    /// What filters of a parallel chain changed against each other.
    pub conflicts: Vec<Conflict>,
}

/// What one filter did about a message.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct FilterRecord {
    /// Its name in the chain.
    pub name: Arc<str>,
    /// It was run without effect.
    pub dry_run: bool,
    /// How often it was called.
    pub calls: u32,
    /// How long it took in all.
    pub time: Duration,
    /// The stage at which it took longest, and how long.
    pub slowest: Option<(Stage, Duration)>,
    /// Its last verdict but continue, and where.
    pub verdict: Option<(Stage, Verdict)>,
    /// What it asked for, without a new body.
    pub edits: Vec<Edit<Bytes>>,
    /// It asked for a new body.
    pub new_body: bool,
    /// Where and how it failed: at a stage, at `negotiation`, or when it was told that something is over. A filter that
    /// failed for the connection has it in each later message too.
    pub failure: Option<(&'static str, String)>,
}

/// Two filters of a parallel chain that changed the same thing; the second counts.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Conflict {
    /// What both changed.
    pub what: String,
    /// The filter that is earlier in the chain.
    pub first: Arc<str>,
    /// The one whose change counts.
    pub second: Arc<str>,
}

/// Somebody who is told what became of each message.
pub trait Observer: Send + Sync + 'static {
    /// Is told about a message that is over.
    fn message(&self, record: &Record);

    /// Is told about a client that was refused at connect or HELO, once for each connection: it has no message, and
    /// so no queue id. Does nothing unless it is implemented.
    fn refused_client(&self, record: &Record) {
        let _ = record;
    }
}

impl<F: Fn(&Record) + Send + Sync + 'static> Observer for F {
    fn message(&self, record: &Record) {
        self(record);
    }
}

impl Record {
    /// Writes the one line: `what` it is about.
    pub(super) fn log(&self, what: &'static str) {
        let queue_id = self.queue_id.as_deref().map(|id| id.escape_ascii().to_string());
        let (stage, verdict) = match &self.verdict {
            Some((stage, verdict)) => (stage.name(), verdict.to_string()),
            None => ("-", "given up".to_owned()),
        };
        let by_filter = List(&self.filters);
        let text = |text: &Option<Bytes>| text.as_deref().map(|text| text.escape_ascii().to_string());
        let parties = &self.parties;
        let (client, sender) = (parties.client_addr.map(tracing::field::display), text(&parties.sender));
        let recipients = sender.is_some().then(|| parties.reached());
        tracing::info!(target: TARGET, queue_id, client, sender, recipients, stage, verdict, ?by_filter, "{what}");
    }
}

/// Where the line of each message goes.
pub(super) const TARGET: &str = "tamis::chain::record";

/// What filters did, as JSON in one line.
struct List<'a>(&'a [FilterRecord]);

/// A string of JSON.
struct Quoted<T>(T);

impl fmt::Debug for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        f.write_char('[')?;
        for filter in self.0 {
            f.write_str(separator)?;
            filter.write_json(f)?;
            separator = ",";
        }
        f.write_char(']')
    }
}

impl<T: fmt::Display> fmt::Display for Quoted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for c in self.0.to_string().chars() {
            match c {
                '"' | '\\' => write!(f, "\\{c}")?,
                c if c.is_control() => write!(f, "\\u{:04x}", u32::from(c))?,
                c => f.write_char(c)?,
            }
        }
        f.write_char('"')
    }
}

impl FilterRecord {
    pub(super) fn new(name: Arc<str>, dry_run: bool) -> Self {
        Self { name, dry_run, ..Self::default() }
    }

    /// Hands out what is in it, and begins anew.
    pub(super) fn take(&mut self) -> Self {
        let next = Self::new(self.name.clone(), self.dry_run);
        std::mem::replace(self, next)
    }

    fn write_json(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{\"name\":{}", Quoted(&self.name))?;
        match &self.verdict {
            Some((stage, verdict)) => write!(f, ",\"verdict\":{},\"stage\":\"{stage}\"", Quoted(verdict))?,
            None if self.calls == 0 => f.write_str(",\"verdict\":null")?,
            None => f.write_str(",\"verdict\":\"continue\"")?,
        }
        write!(f, ",\"calls\":{},\"us\":{}", self.calls, self.time.as_micros())?;
        if let Some((stage, time)) = self.slowest {
            write!(f, ",\"slowest\":\"{stage}\",\"slowest_us\":{}", time.as_micros())?;
        }
        if !self.edits.is_empty() || self.new_body {
            let names = self.edits.iter().map(Edit::name).chain(self.new_body.then_some("replace-body"));
            let names = names.collect::<Vec<_>>().join(",");
            write!(f, ",\"edits\":{}", Quoted(names))?;
        }
        if let Some((place, failure)) = &self.failure {
            write!(f, ",\"failed_at\":\"{place}\",\"failure\":{}", Quoted(failure))?;
        }
        f.write_str(if self.dry_run { ",\"dry_run\":true}" } else { "}" })
    }

    pub(super) fn called(&mut self, stage: Stage, time: Duration) {
        self.calls += 1;
        self.time += time;
        if self.slowest.is_none_or(|(_, slowest)| time > slowest) {
            self.slowest = Some((stage, time));
        }
    }
}

impl fmt::Display for FilterRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if self.dry_run {
            f.write_str(" (dry run)")?;
        }
        match &self.verdict {
            Some((stage, verdict)) => write!(f, ": {verdict} at {stage}")?,
            None if self.calls == 0 => f.write_str(": not asked")?,
            None => f.write_str(": continue")?,
        }
        if let Some((stage, failure)) = &self.failure {
            write!(f, ", failed at {stage}: {failure}")?;
        }
        let edits = self.edits.len() + usize::from(self.new_body);
        if edits > 0 {
            write!(f, ", {edits} edits")?;
        }
        write!(f, ", {:?}", self.time)?;
        match self.slowest {
            Some((stage, time)) if time > Duration::from_millis(1) => write!(f, " ({time:?} at {stage})"),
            _ => Ok(()),
        }
    }
}

//! Runs a session on both libraries, and says whether what became of it may differ.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use similar::TextDiff;

use crate::accept;
use crate::library::Library;
use crate::probe::{Probe, Transcript};
use crate::rewrite;
use crate::rules::Rule;
use crate::session::{Session, Setup};

/// A probe on each library.
#[derive(Debug)]
pub struct Pair {
    stock: Probe,
    ours: Probe,
}

/// What both made of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Both {
    /// Sendmail's library.
    pub stock: Transcript,
    /// The library under test.
    pub ours: Transcript,
    /// The difference that was taken out of what the stock library was given, or said.
    pub helped: Option<Rule>,
}

/// What comes of the comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// There is no difference.
    Same,
    /// There is one of those that are accepted, and it is exactly what it must be.
    Accepted(Rule),
    /// Anything else, written out.
    Different(String),
}

impl Pair {
    /// Starts both.
    pub fn start(setup: &Setup) -> Self {
        Self { stock: Probe::start(Library::Stock, setup), ours: Probe::start(Library::Ours, setup) }
    }

    /// Runs a session on both; the stock library gets an equivalent of what it does otherwise ([`rewrite`]).
    pub fn run(&mut self, session: &Session) -> Both {
        let (for_stock, rewritten) = rewrite::for_stock(session);
        let mut stock = self.stock.run(&for_stock);
        let without_lists = rewrite::without_lists(session, &mut stock);
        Both { stock, ours: self.ours.run(session), helped: rewritten.or(without_lists) }
    }

    /// Runs a session on one.
    pub fn run_on(&mut self, library: Library, session: &Session) -> Transcript {
        match library {
            Library::Stock => self.stock.run(session),
            Library::Ours => self.ours.run(session),
        }
    }

    /// Runs a session on both and judges the difference; where nothing is to be accepted, there is nothing to judge.
    pub fn judge(&mut self, session: &Session, strict: bool) -> Judgement {
        let both = self.run(session);
        let trouble = both.stock.trouble.iter().chain(&both.ours.trouble).next();
        if trouble.is_none() && both.stock == both.ours {
            return both.helped.map_or(Judgement::Same, Judgement::Accepted);
        }
        if strict {
            return Judgement::Different(format!("not the same\n{}", both.difference()));
        }
        match accept::judge(self, session, &both) {
            Ok(rule) => Judgement::Accepted(rule),
            Err(reason) => Judgement::Different(format!("{reason}\n{}", both.difference())),
        }
    }
}

impl Both {
    /// The difference, written out.
    pub fn difference(&self) -> String {
        let (stock, ours) = (self.stock.to_string(), self.ours.to_string());
        let diff = TextDiff::from_lines(&stock, &ours);
        let shown = diff.unified_diff().context_radius(4).header("stock", "ours").to_string();
        if shown.is_empty() { format!("both:\n{ours}") } else { shown }
    }
}

/// Judges sessions of one setup, and reports those that differ as small as they can be made.
///
/// # Errors
///
/// The report.
pub fn judge_all(
    setup: &Setup,
    strict: bool,
    sessions: impl IntoIterator<Item = (u64, Session)>,
) -> Result<Vec<Option<Rule>>, String> {
    let mut pair = Pair::start(setup);
    let mut fired = Vec::new();
    let verbose = std::env::var_os("TAMIS_VERBOSE").is_some();
    for (seed, session) in sessions {
        if verbose {
            eprintln!("seed {seed}\n{session}");
        }
        match pair.judge(&session, strict) {
            Judgement::Same => fired.push(None),
            Judgement::Accepted(rule) => fired.push(Some(rule)),
            Judgement::Different(report) => return Err(reported(seed, &session, strict, &report)),
        }
    }
    Ok(fired)
}

/// The report of a difference; of the smallest session that still shows one, in processes of its own.
fn reported(seed: u64, session: &Session, strict: bool, report: &str) -> String {
    let mut text = format!("the libraries differ (seed {seed})\n");
    match Pair::start(&session.setup).judge(session, strict) {
        Judgement::Different(_) => {
            let (session, report) = shrink(session.clone(), strict);
            let _ = write!(text, "{session}{report}");
        }
        _ => {
            let _ = write!(text, "(only after other sessions in the same process)\n{session}{report}");
        }
    }
    text
}

/// What sort of difference it is: the rule, or the first line of the report without its numbers.
fn kind(session: &Session) -> String {
    let text = match Pair::start(&session.setup).judge(session, false) {
        Judgement::Different(report) => report.lines().next().unwrap_or_default().to_owned(),
        other => format!("{other:?}"),
    };
    text.replace(|c: char| c.is_ascii_digit(), "")
}

/// Where each attempt is a hang, it could take for ever.
const SHRINKING: Duration = Duration::from_mins(1);

/// Leaves out whatever the difference does not need.
fn shrink(mut session: Session, strict: bool) -> (Session, String) {
    let deadline = Instant::now() + SHRINKING;
    let judge = |session: &Session| match Pair::start(&session.setup).judge(session, strict) {
        Judgement::Different(report) => Some((report, kind(session))),
        _ => None,
    };
    let (mut report, kind) = judge(&session).expect("it differed a moment ago");
    // What is left must not be another difference.
    let differs = |session: &Session| {
        let (report, other) = judge(session).filter(|_| Instant::now() < deadline)?;
        (kind == other).then_some(report)
    };
    loop {
        let mut smaller = false;
        for number in (0..session.turns.len()).rev().take_while(|_| Instant::now() < deadline) {
            let mut other = session.clone();
            other.turns.remove(number);
            if let Some(new) = differs(&other) {
                (session, report, smaller) = (other, new, true);
            }
        }
        for number in (0..session.script.0.len()).rev().take_while(|_| Instant::now() < deadline) {
            let mut other = session.clone();
            other.script.0.remove(number);
            if let Some(new) = differs(&other) {
                (session, report, smaller) = (other, new, true);
            }
        }
        if !smaller {
            return (session, report);
        }
    }
}

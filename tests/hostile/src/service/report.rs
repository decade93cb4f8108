//! What was seen, and whether it is well.

use std::fmt;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::journal::Counts;
use super::{Figures, Phase, Plan, Unrest};
use crate::attack::Grouped;
use crate::process::Usage;

/// How things stand at some point.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Since all connections are there.
    pub at: Duration,
    /// What the daemon takes.
    pub usage: Usage,
    /// Messages that it has logged.
    pub messages: u64,
}

/// All that was seen of a daemon on which everything was right.
#[derive(Clone, Debug)]
pub struct Report {
    /// What was done.
    pub plan: Plan,
    /// Before the load.
    pub base: Usage,
    /// While it was on.
    pub samples: Vec<Sample>,
    /// After it, with all connections gone.
    pub end: Usage,
    /// What the load generator says.
    pub figures: Figures,
    /// What was done besides.
    pub unrest: Unrest,
    /// Lines in the log about the remote milter.
    pub failures: u64,
    /// How long the daemon took to end.
    pub ending: Duration,
}

/// How much more memory there may be at most in the last third than in the first: a twentieth, and [`SETTLING`]. Which
/// messages are in work at a time is chance, and the allocator gives back in steps: of a minute in which nothing grew, the
/// last third had up to 2 percent more.
const GROWTH: u64 = 20;

/// What a daemon takes besides in its first seconds, until each connection has had its largest message and the history is
/// full: up to 10 MiB. So a short run finds what leaks a thousand bytes for each message, and one of ten minutes what leaks
/// twenty.
const SETTLING: u64 = 16 << 20;

/// How long the daemon may take to end with nothing in work, well below the 30 s that it gives to messages.
const ENDING: Duration = Duration::from_secs(15);

impl Report {
    /// Whether nothing grew, nothing is left, and nothing was said that should not be.
    pub(super) fn check(&self, lines: &Counts, alarms: &[String]) -> Result<()> {
        ensure!(alarms.is_empty(), "{} alarms in the log, such as {}", lines.alarms, alarms[0]);
        ensure!(self.samples.len() >= 6, "{} samples are too few to say anything", self.samples.len());
        let [first, _, last] = self.thirds();
        let (before, after) = (most(first, resident), most(last, resident));
        ensure!(
            after <= before + before / GROWTH + SETTLING,
            "memory grew from {} to {} KiB",
            Grouped(before >> 10),
            Grouped(after >> 10)
        );
        let messages = self.figures.messages;
        ensure!(
            lines.messages >= messages,
            "{} messages were logged, {messages} were judged",
            lines.messages
        );
        match self.plan.phase {
            Phase::Steady => {
                ensure!(self.failures == 0, "the remote milter failed {} times", self.failures);
            }
            Phase::Unrest => {
                let Unrest { reloads, deaths } = self.unrest;
                ensure!(
                    reloads > 0 && deaths > 0 && self.failures > 0,
                    "nothing was done: {:?}",
                    self.unrest
                );
            }
        }
        ensure!(self.ending <= ENDING, "it took {:?} to end", self.ending);
        Ok(())
    }

    fn thirds(&self) -> [&[Sample]; 3] {
        let third = self.samples.len() / 3;
        [0, 1, 2].map(|number| &self.samples[number * third..(number + 1) * third])
    }
}

fn resident(usage: &Usage) -> u64 {
    usage.resident
}

fn most(samples: &[Sample], what: impl Fn(&Usage) -> u64) -> u64 {
    samples.iter().map(|sample| what(&sample.usage)).max().unwrap_or(0)
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, usage, messages } = self;
        write!(
            f,
            "{:>4} s: {} messages, {} KiB of memory, {} descriptors, {} threads",
            at.as_secs(),
            Grouped(*messages),
            Grouped(usage.resident >> 10),
            usage.descriptors,
            usage.threads
        )
    }
}

/// A line of the table, and what is in it.
type Row = (&'static str, fn(&Report) -> String);

/// The table of `docs/performance.md`, with a column for each report.
pub fn table(reports: &[Report]) -> String {
    let rows: [Row; 14] = [
        ("connections at a time", |report| Grouped(report.plan.connections as u64).to_string()),
        ("for", |report| format!("{:.0} s", report.figures.seconds)),
        ("messages, all judged alike", |report| Grouped(report.figures.messages).to_string()),
        ("messages a second", |report| format!("{:.0}", report.figures.rate)),
        ("connections made", |report| Grouped(report.figures.connections).to_string()),
        ("latency, median, 99 %, most", |report| report.figures.latency.map(milliseconds).join(", ")),
        ("CPU for each message", |report| format!("{:.0} µs", report.figures.cpu)),
        ("errors", |_| "none".to_owned()),
        ("configurations taken over", |report| Grouped(report.unrest.reloads).to_string()),
        ("deaths of the remote milter", |report| Grouped(report.unrest.deaths).to_string()),
        ("lines in the log about it", |report| Grouped(report.failures).to_string()),
        ("resident KiB: before, most in each third, after", |report| {
            let [first, second, third] = report.thirds().map(|third| most(third, resident));
            let all = [report.base.resident, first, second, third, report.end.resident];
            all.map(|bytes| Grouped(bytes >> 10).to_string()).join(" → ")
        }),
        ("descriptors: before, most, after", |report| sides(report, |usage| usage.descriptors)),
        ("threads: before, most, after", |report| sides(report, |usage| usage.threads)),
    ];
    let mut lines = vec![
        reports.iter().fold("| |".to_owned(), |line, report| format!("{line} {} |", report.plan.phase)),
        reports.iter().fold("| --- |".to_owned(), |line, _| format!("{line} ---: |")),
    ];
    for (name, value) in rows {
        lines.push(
            reports.iter().fold(format!("| {name} |"), |line, report| format!("{line} {} |", value(report))),
        );
    }
    lines.join("\n") + "\n"
}

fn sides(report: &Report, what: fn(&Usage) -> u64) -> String {
    let all = [what(&report.base), most(&report.samples, what), what(&report.end)];
    all.map(|number| Grouped(number).to_string()).join(" → ")
}

fn milliseconds(microseconds: f64) -> String {
    format!("{:.0} ms", microseconds / 1e3)
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Steady => "at rest",
            Self::Unrest => "reloaded, remote milter dying",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(phase: Phase, grow: impl Fn(u64) -> u64) -> Report {
        let usage = |at| Usage { resident: grow(at) << 20, descriptors: 20, threads: 3, cpu: Duration::ZERO };
        let sample = |at| Sample { at: Duration::from_secs(at), usage: usage(at), messages: at };
        Report {
            plan: Plan { phase, time: Duration::from_secs(30), connections: 2000 },
            base: usage(0),
            samples: (0..30).map(sample).collect(),
            end: usage(0),
            figures: Figures { messages: 100, ..Figures::default() },
            unrest: Unrest { reloads: 1, deaths: 1 },
            failures: u64::from(phase == Phase::Unrest),
            ending: Duration::from_secs(1),
        }
    }

    const LOGGED: Counts = Counts { messages: 100, failures: 0, reloads: 0, alarms: 0 };

    fn error(report: &Report, lines: &Counts, alarms: &[String]) -> String {
        report.check(lines, alarms).unwrap_err().to_string()
    }

    #[test]
    fn what_is_flat_is_well_and_what_grows_is_not() {
        assert!(report(Phase::Steady, |at| 50 + at % 3).check(&LOGGED, &[]).is_ok());
        let growing = report(Phase::Steady, |at| 50 + at * 2);
        assert_eq!(error(&growing, &LOGGED, &[]), "memory grew from 69,632 to 110,592 KiB");
    }

    #[test]
    fn a_line_that_should_not_be_there_is_told() {
        let lines = Counts { alarms: 1, ..LOGGED };
        let error = error(&report(Phase::Steady, |_| 50), &lines, &["panicked at x.rs".to_owned()]);
        assert_eq!(error, "1 alarms in the log, such as panicked at x.rs");
    }

    #[test]
    fn a_message_that_was_not_logged_is_missed() {
        let lines = Counts { messages: 99, ..LOGGED };
        let error = error(&report(Phase::Steady, |_| 50), &lines, &[]);
        assert_eq!(error, "99 messages were logged, 100 were judged");
    }

    #[test]
    fn the_remote_milter_fails_where_it_dies_and_nowhere_else() {
        let mut steady = report(Phase::Steady, |_| 50);
        steady.failures = 1;
        assert!(steady.check(&LOGGED, &[]).is_err());
        let mut unrest = report(Phase::Unrest, |_| 50);
        assert!(unrest.check(&LOGGED, &[]).is_ok());
        unrest.failures = 0;
        assert!(unrest.check(&LOGGED, &[]).is_err());
    }

    #[test]
    fn the_table_has_a_column_for_each_phase() {
        let table = table(&[report(Phase::Steady, |_| 50), report(Phase::Unrest, |_| 51)]);
        assert!(table.starts_with("| | at rest | reloaded, remote milter dying |\n| --- | ---: | ---: |\n"));
        assert!(table.contains("| resident KiB: before, most in each third, after | 51,200 → 51,200 → 51,200 → 51,200 → 51,200 | 52,224 "));
        assert!(table.lines().all(|line| line.matches('|').count() == 4), "{table}");
    }
}

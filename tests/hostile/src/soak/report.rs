//! What was seen while the load was on, and whether it is well.

use std::fmt;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::Counts;
use crate::attack::Grouped;
use crate::process::Usage;

/// How things stand at some point.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Since the load began.
    pub at: Duration,
    /// What the server takes.
    pub usage: Usage,
    /// What was done to it.
    pub counts: Counts,
}

/// All that was seen.
#[derive(Clone, Debug)]
pub struct Report {
    /// Before the load.
    pub base: Usage,
    /// While it was on, one for each second.
    pub samples: Vec<Sample>,
    /// All that was done.
    pub counts: Counts,
    /// After it, with all connections gone.
    pub end: Usage,
    /// How long the server took to end.
    pub ending: Duration,
}

/// How much more memory there may be in the last quarter than in the second: the load is random.
const MEMORY: u64 = 8 << 20;

/// How many more descriptors there may be in the last quarter than in the second.
const DESCRIPTORS: u64 = 16;

/// How long the server may take to end with nothing in work: well below the 30 s that it gives to messages.
const ENDING: Duration = Duration::from_secs(15);

impl Report {
    /// Whether nothing grew and nothing is left.
    pub(super) fn check(&self) -> Result<()> {
        ensure!(self.samples.len() >= 8, "{} samples are too few to say anything", self.samples.len());
        let [_, second, _, last] = self.quarters();
        let (before, after) = (median(second, |usage| usage.resident), median(last, |usage| usage.resident));
        ensure!(after <= before + MEMORY, "memory grew from {} to {} KiB", before >> 10, after >> 10);
        let descriptors = |samples| median(samples, |usage| usage.descriptors);
        let (before, after) = (descriptors(second), descriptors(last));
        ensure!(after <= before + DESCRIPTORS, "descriptors grew from {before} to {after}");
        let most = |samples: &[Sample]| samples.iter().map(|sample| sample.usage.threads).max().unwrap_or(0);
        let (before, after) = (most(second), most(last));
        ensure!(after <= before, "threads grew from {before} to {after}");
        ensure!(self.counts.messages > 0 && self.counts.killed > 0, "nothing was done: {:?}", self.counts);
        ensure!(self.ending <= ENDING, "it took {:?} to end", self.ending);
        Ok(())
    }

    fn quarters(&self) -> [&[Sample]; 4] {
        let quarter = self.samples.len() / 4;
        [0, 1, 2, 3].map(|number| &self.samples[number * quarter..(number + 1) * quarter])
    }
}

fn median(samples: &[Sample], what: impl Fn(&Usage) -> u64) -> u64 {
    let mut values: Vec<_> = samples.iter().map(|sample| what(&sample.usage)).collect();
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or(0)
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, usage, counts } = self;
        write!(
            f,
            "{:>4} s: {} messages, {} killed, {} KiB of memory, {} descriptors, {} threads",
            at.as_secs(),
            Grouped(counts.messages),
            Grouped(counts.killed),
            Grouped(usage.resident >> 10),
            usage.descriptors,
            usage.threads
        )
    }
}

/// A line of the table, and what is in it.
type Row = (&'static str, fn(&Usage) -> u64);

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { messages, sessions, killed, silent } = self.counts;
        let time = self.samples.last().map_or(1, |sample| sample.at.as_secs().max(1));
        let cpu = self.end.cpu.saturating_sub(self.base.cpu);
        let micros = cpu.as_micros() / u128::from(messages.max(1));
        writeln!(
            f,
            "{} messages on {} connections in {time} s, {} a second, every answer right; {micros} µs of processor \
             time for each message",
            Grouped(messages),
            Grouped(sessions),
            Grouped(messages / time),
        )?;
        writeln!(f, "{} connections killed, {} silent", Grouped(killed), Grouped(silent))?;
        let rows: [Row; 3] = [
            ("resident memory, KiB", |usage| usage.resident >> 10),
            ("descriptors", |usage| usage.descriptors),
            ("threads", |usage| usage.threads),
        ];
        writeln!(f, "\n| median | before | 1st quarter | 2nd | 3rd | 4th | most | after |")?;
        writeln!(f, "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")?;
        for (name, what) in rows {
            write!(f, "| {name} | {} |", Grouped(what(&self.base)))?;
            for quarter in self.quarters() {
                write!(f, " {} |", Grouped(median(quarter, what)))?;
            }
            let most = self.samples.iter().map(|sample| what(&sample.usage)).max().unwrap_or(0);
            writeln!(f, " {} | {} |", Grouped(most), Grouped(what(&self.end)))?;
        }
        write!(f, "\nended {:.1} s after SIGTERM with exit code 0", self.ending.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(grow: impl Fn(u64) -> Usage) -> Report {
        let counts = Counts { messages: 1, killed: 1, ..Counts::default() };
        let sample = |at| Sample { at: Duration::from_secs(at), usage: grow(at), counts };
        Report {
            base: grow(0),
            samples: (0..40).map(sample).collect(),
            counts,
            end: grow(0),
            ending: Duration::from_secs(1),
        }
    }

    fn usage(resident: u64, descriptors: u64, threads: u64) -> Usage {
        Usage { resident, descriptors, threads, cpu: Duration::ZERO }
    }

    #[test]
    fn what_is_flat_is_well_and_what_grows_is_not() {
        assert!(report(|at| usage((20 << 20) + at % 7 * 1000, 10 + at % 5, 3)).check().is_ok());
        let error = |report: Report| report.check().unwrap_err().to_string();
        assert!(error(report(|at| usage(at << 20, 10, 3))).starts_with("memory grew from 15360 to 35840"));
        assert_eq!(error(report(|at| usage(1, at, 3))), "descriptors grew from 15 to 35");
        assert_eq!(error(report(|at| usage(1, 1, at))), "threads grew from 19 to 39");
    }

    #[test]
    fn an_end_that_takes_long_is_not_well() {
        let mut report = report(|_| usage(1, 1, 1));
        report.ending = Duration::from_secs(30);
        assert!(report.check().is_err());
    }
}

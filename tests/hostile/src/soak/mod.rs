//! Full load for a while, with connections killed at random: nothing may grow, nothing may be left.

mod load;
mod report;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::PATIENCE;
use crate::target::Target;
use load::Load;

pub use load::Counts;
pub use report::{Report, Sample};

/// What is done for how long.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// For how long.
    pub time: Duration,
    /// Connections that send honest messages one after the other, as fast as they are judged.
    pub honest: usize,
    /// Connections that are killed somewhere, one after the other.
    pub killers: usize,
    /// Connections that say nothing, each of them for some seconds.
    pub silent: usize,
}

impl Plan {
    /// The usual load for this long.
    pub fn new(time: Duration) -> Self {
        Self { time, honest: 8, killers: 2, silent: 200 }
    }
}

/// A log line for each message or killed connection would be most of the load; errors, and what the end of the
/// program says, are wanted.
const LOG: &str = "--log-level=error,tamis::serve=info,tamis::server=warn,tamis::server::connection=error";

/// Runs it. `progress` is told once a second.
///
/// # Errors
///
/// A message judged wrongly, a connection that fails by itself, an error in the log, anything that grows, anything
/// left at the end, an end that is not clean.
pub fn run(program: &Path, plan: Plan, progress: impl Fn(&Sample)) -> Result<Report> {
    let target = Target::start(program, &[LOG], false)?;
    let load = Load::new(&target);
    let samples = thread::scope(|scope| {
        let stop = StopAtEnd(&load.stop);
        let mut threads = Vec::new();
        for number in 0..plan.honest {
            let load = &load;
            threads.push(scope.spawn(move || load.honest(number)));
        }
        for number in 0..plan.killers {
            let load = &load;
            threads.push(scope.spawn(move || load.kill(number)));
        }
        threads.push(scope.spawn(|| load.silence(plan.silent)));
        let samples = watch(&target, &load, plan.time, &progress);
        drop(stop);
        for thread in threads {
            thread.join().expect("load fails without a panic")?;
        }
        samples
    })?;
    let counts = load.counts();
    gone(&target)?;
    let base = target.base();
    let end = target.usage()?;
    let process = target.into_process().expect("it was started here");
    let log = process.log.clone();
    let (code, ending) = process.terminate()?;
    ensure!(code == 0, "exit code {code} after SIGTERM");
    let stopped = log.wait_for(0, "\"stopped\"")?;
    let judged = number(&stopped, "messages").context("no number of messages in the log")?;
    ensure!(judged >= counts.messages, "{judged} messages in the log, {} were judged", counts.messages);
    let unexpected = log.unexpected(0);
    ensure!(unexpected.is_empty(), "{} errors in the log, such as {}", unexpected.len(), unexpected[0]);
    let report = Report { base, samples, counts, end, ending };
    report.check()?;
    Ok(report)
}

/// Samples once a second, until the time is over or the load has failed.
fn watch(
    target: &Target,
    load: &Load<'_>,
    time: Duration,
    progress: &impl Fn(&Sample),
) -> Result<Vec<Sample>> {
    let start = Instant::now();
    let mut samples = Vec::new();
    while start.elapsed() < time && !load.stop.load(Ordering::Relaxed) {
        sleep(Duration::from_secs(1).min(time));
        let sample = Sample { at: start.elapsed(), usage: target.usage()?, counts: load.counts() };
        progress(&sample);
        samples.push(sample);
    }
    Ok(samples)
}

/// Waits until the server has closed what its peers have closed.
fn gone(target: &Target) -> Result<()> {
    let start = Instant::now();
    loop {
        let open = target.usage()?.descriptors;
        if open <= target.base().descriptors {
            return Ok(());
        }
        let before = target.base().descriptors;
        ensure!(
            start.elapsed() < PATIENCE,
            "{open} descriptors are open, {before} were before all connections"
        );
        sleep(Duration::from_millis(20));
    }
}

fn number(line: &str, name: &str) -> Option<u64> {
    serde_json::from_str::<serde_json::Value>(line).ok()?[name].as_u64()
}

/// Ends the load when it is dropped, so that nobody waits for ever for threads after an error.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

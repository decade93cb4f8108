//! A daemon with five filters under the load of a busy site for as long as one likes: at rest, and while its
//! configuration is read again every second and the milter of another process dies and returns.

mod bench;
mod journal;
mod report;
mod scrape;
mod site;
mod unrest;

use std::path::Path;
use std::sync::mpsc;
use std::thread::{self, ScopedJoinHandle, sleep};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::PATIENCE;
use crate::process::Usage;
use bench::Bench;
use site::Site;
use unrest::disturb;

pub use bench::Figures;
pub use report::{Report, Sample, table};
pub use unrest::Unrest;

/// What goes on besides the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nothing.
    Steady,
    /// The configuration is read every second, and the remote milter dies and returns.
    Unrest,
}

/// How much for how long.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// What goes on besides.
    pub phase: Phase,
    /// For how long.
    pub time: Duration,
    /// Connections that carry messages at the same time.
    pub connections: usize,
}

impl Plan {
    /// Files that a process of this has open at the same time: the daemon has a connection to the remote milter for each
    /// that an MTA has to it, and a renewed one may be there before the old one is gone.
    pub fn files(&self) -> u64 {
        self.connections as u64 * 4 + 100
    }
}

/// How often the daemon is looked at.
const EVERY: Duration = Duration::from_millis(250);

/// How often its metrics are asked for.
const SCRAPE: Duration = Duration::from_secs(1);

/// Runs it. `progress` is told of everything that is seen.
///
/// # Errors
///
/// A message judged otherwise than the first, a connection that fails, a line in the log that should not be there,
/// memory that grows, a descriptor or a thread that is left, metrics that are not served, an end that is not clean.
pub fn run(program: &Path, plan: Plan, progress: impl Fn(&Sample)) -> Result<Report> {
    let site = Site::start(program, plan.phase)?;
    let mut remote = Some(site.start_remote(program)?);
    let fresh = site.usage()?;
    // What is taken once, such as threads for files, is no growth.
    Bench::start(program, &site, &Plan { time: WARM_UP, connections: 10, ..plan })?.figures()?;
    let base = Usage { descriptors: fresh.descriptors, ..site.usage()? };
    let mut load = Bench::start(program, &site, &plan)?;
    let (samples, unrest) = thread::scope(|scope| {
        let (stop, over) = mpsc::channel();
        let site = &site;
        let disturber = match plan.phase {
            Phase::Steady => None,
            Phase::Unrest => remote.take().map(|it| scope.spawn(move || disturb(site, program, it, &over))),
        };
        let failed = || disturber.as_ref().is_some_and(ScopedJoinHandle::is_finished);
        let open = base.descriptors + plan.connections as u64;
        let samples = watch(site, &mut load, open, failed, &progress);
        drop(stop);
        let unrest =
            disturber.map_or(Ok(Unrest::default()), |it| it.join().expect("it fails without a panic"));
        anyhow::Ok((samples?, unrest?))
    })?;
    let figures = load.figures()?;
    let end = settled(&site, base)?;
    remote.map_or(Ok(()), |remote| unrest::well(&remote))?;
    let journal = site.journal.clone();
    let (code, ending) = site.terminate()?;
    ensure!(code == 0, "exit code {code} after SIGTERM");
    journal.notice("\"stopped\"")?;
    let lines = journal.counts();
    let report = Report { plan, base, samples, end, figures, unrest, failures: lines.failures, ending };
    report.check(&lines, &journal.alarms())?;
    Ok(report)
}

/// How long the load before the load is.
const WARM_UP: Duration = Duration::from_secs(1);

/// Looks at the daemon while it has all connections: `open` descriptors at least. Ends with the load, or when something
/// else has failed.
fn watch(
    site: &Site,
    load: &mut Bench,
    open: u64,
    failed: impl Fn() -> bool,
    progress: &impl Fn(&Sample),
) -> Result<Vec<Sample>> {
    let mut samples: Vec<Sample> = Vec::new();
    let mut start = None;
    let mut scraped = Instant::now();
    while !load.is_over()? && !failed() {
        sleep(EVERY);
        let usage = site.usage()?;
        if start.is_none() && usage.descriptors < open {
            continue;
        }
        let start = *start.get_or_insert_with(Instant::now);
        let sample = Sample { at: start.elapsed(), usage, messages: site.journal.counts().messages };
        progress(&sample);
        samples.push(sample);
        if scraped.elapsed() >= SCRAPE {
            scraped = Instant::now();
            scrape::all(&site.metrics)?;
        }
    }
    Ok(samples)
}

/// Waits until the daemon has closed what its peers have closed, and has no thread more than before.
fn settled(site: &Site, base: Usage) -> Result<Usage> {
    let start = Instant::now();
    loop {
        let usage = site.usage()?;
        if usage.descriptors <= base.descriptors && usage.threads <= base.threads {
            return Ok(usage);
        }
        ensure!(
            start.elapsed() < PATIENCE,
            "{} descriptors and {} threads are left, {} and {} were there before",
            usage.descriptors,
            usage.threads,
            base.descriptors,
            base.threads,
        );
        sleep(EVERY);
    }
}

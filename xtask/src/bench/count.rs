//! What can be counted rather than timed: system calls and allocations, in runs of their own, since counting takes time.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::peer::Peer;
use super::run::Bench;
use super::scenario::Load;
use crate::packages;

/// For each message.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) system_calls: Option<f64>,
    pub(crate) allocations: Option<f64>,
}

impl Counts {
    pub(crate) fn of(bench: &Bench, peer: &Peer, task: &'static str, load: &Load) -> Result<Self> {
        let system_calls = match Tracer::find() {
            None => None,
            Some(tracer) => Some(per_message(load.counted(), |messages| {
                system_calls(bench, tracer, peer, task, &Load { messages: Some(messages), ..*load })
            })?),
        };
        let allocations = match bench.built.allocations() {
            None => None,
            Some(library) => Some(per_message(load.counted(), |messages| {
                allocations(bench, &library, peer, task, &Load { messages: Some(messages), ..*load })
            })?),
        };
        Ok(Self { system_calls, allocations })
    }
}

/// What a longer run has more than a shorter one is what messages cost, without their connections and the start.
fn per_message((short, long): (u64, u64), count: impl Fn(u64) -> Result<u64>) -> Result<f64> {
    let more = count(long)?.saturating_sub(count(short)?);
    #[allow(clippy::cast_precision_loss)] // far below 2⁵²
    Ok(more as f64 / (long - short) as f64)
}

fn allocations(bench: &Bench, library: &Path, peer: &Peer, task: &'static str, load: &Load) -> Result<u64> {
    let file = bench.file("allocations");
    let _ = fs::remove_file(&file);
    let library = format!("LD_PRELOAD={}", library.display());
    let server =
        bench.start(peer, task, &["env", &library, &format!("TAMIS_ALLOCATIONS={}", file.display())])?;
    server.send(load)?;
    let bytes = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let count = bytes.first_chunk().with_context(|| format!("{} holds no count", file.display()))?;
    Ok(u64::from_ne_bytes(*count))
}

fn system_calls(bench: &Bench, tracer: Tracer, peer: &Peer, task: &'static str, load: &Load) -> Result<u64> {
    let file = bench.file("system-calls");
    let _ = fs::remove_file(&file);
    let place = file.display().to_string();
    let mut words = tracer.words(&place);
    // What ends the tracer from outside ends the peer.
    words.extend(["setpriv", "--pdeathsig", "KILL"]);
    let server = bench.start(peer, task, &words)?;
    server.send(load)?;
    server.end_traced()?;
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {place}"))?;
    tracer.total(&text).with_context(|| format!("there is no count of system calls in:\n{text}"))
}

/// A program that counts the system calls of another.
#[derive(Clone, Copy, Debug)]
enum Tracer {
    /// Hardly slows the other down, so that as much comes in one read as without it.
    Perf,
    Strace,
}

impl Tracer {
    fn find() -> Option<Self> {
        let mut perf = Command::new("perf");
        perf.args(["stat", "-e", "raw_syscalls:sys_enter", "true"]);
        let perf = perf.stdout(Stdio::null()).stderr(Stdio::null()).status();
        if perf.is_ok_and(|status| status.success()) {
            return Some(Self::Perf);
        }
        packages::is_installed("strace").then_some(Self::Strace)
    }

    /// The command line up to what is to be traced.
    fn words(self, file: &str) -> Vec<&str> {
        match self {
            Self::Perf => vec!["perf", "stat", "-x", ",", "-e", "raw_syscalls:sys_enter", "-o", file, "--"],
            Self::Strace => vec!["strace", "-c", "-f", "-q", "-o", file, "--"],
        }
    }

    fn total(self, text: &str) -> Option<u64> {
        let mut lines = text.lines();
        match self {
            Self::Perf => lines.find(|line| line.contains("sys_enter"))?.split(',').next()?.parse().ok(),
            Self::Strace => {
                lines.find(|line| line.ends_with(" total"))?.split_whitespace().nth(3)?.parse().ok()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn total_is_found_in_what_tracers_write() {
        let perf = "# started on Sat Nov 21 16:32:00 2026\n\n128,,raw_syscalls:sys_enter,418545,100.00,,\n";
        assert_eq!(Tracer::Perf.total(perf), Some(128));
        let strace = "\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 56.72    0.073043          14      5095           sendto
------ ----------- ----------- --------- --------- ----------------
100.00    0.128778           6     18506         2 total
";
        assert_eq!(Tracer::Strace.total(strace), Some(18_506));
    }

    #[test]
    fn what_both_runs_have_is_no_part_of_a_message() {
        let count = per_message((10, 30), |messages| Ok(12_345 + 7 * messages)).unwrap();
        assert!((count - 7.0).abs() < f64::EPSILON);
    }
}

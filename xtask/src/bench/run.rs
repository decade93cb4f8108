//! Serves a scenario on one CPU and loads it from another.

use std::ffi::OsStr;
use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::peer::{Built, Peer};
use super::scenario::Load;
use crate::packages;

/// What servers and load generators run under.
#[derive(Debug)]
pub(crate) struct Bench {
    root: PathBuf,
    pub(crate) built: Built,
    cpus: Cpus,
    /// Files that they may have open.
    files: u64,
}

/// From the repository's root, where all commands run: names of sockets must be short.
const SOCKET: &str = "target/bench-peers/socket";

/// More than any scenario has connections, with some to spare.
const FILES: u64 = 16_384;

/// What came of one run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sample {
    /// CPU time of the server for a message, in µs: all, in user space, in the kernel.
    pub(crate) cpu: f64,
    pub(crate) user: f64,
    pub(crate) system: f64,
    /// Messages and megabytes in a second.
    pub(crate) rate: f64,
    pub(crate) megabytes: f64,
    /// In µs.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    /// In KiB, at the end of the run.
    pub(crate) resident: f64,
    /// In bytes, for each idle connection.
    pub(crate) idle: Option<f64>,
}

impl Bench {
    pub(crate) fn new(root: &Path, built: Built) -> Result<Self> {
        for program in ["taskset", "prlimit", "setpriv"] {
            if !packages::is_installed(program) {
                bail!("not found: {program}; it comes with util-linux, and benchmarks run on Linux only");
            }
        }
        let cpus = Cpus::find()?;
        if cpus.load == cpus.server {
            eprintln!(
                "    there is one CPU, which server and load generator share: only CPU times mean something"
            );
        }
        let files = open_files()?;
        if files < FILES {
            eprintln!(
                "    {files} files may be open (ulimit -n): scenarios with more connections than that fail"
            );
        }
        Ok(Self { root: root.into(), built, cpus, files })
    }

    /// Starts a peer, as the last words of a command line that `under` begins, and makes sure that it does what it is
    /// told.
    pub(crate) fn start(&self, peer: &Peer, task: &str, under: &[&str]) -> Result<Server<'_>> {
        let _ = fs::remove_file(self.root.join(SOCKET));
        let (program, environment) = self.built.command(peer);
        let mut command = self.command(self.cpus.server);
        command.args(under).args(program).args([SOCKET, task]).envs(environment);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        let child = Running(child.with_context(|| format!("cannot start {}", peer.name))?);
        let server = Server { bench: self, child };
        server.check(task).with_context(|| format!("{} does not do {task}", peer.name))?;
        if let Some(library) = self.built.library(peer)
            && under.is_empty()
        {
            server.require_library(&library)?;
        }
        Ok(server)
    }

    /// A file of this run.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.built.folder.join(name)
    }

    /// A command that runs on one CPU, has many files, and ends when this process does, however that ends.
    fn command(&self, cpu: usize) -> Command {
        let files = format!("--nofile={0}:{0}", self.files);
        let mut command = Command::new("prlimit");
        command.current_dir(&self.root).args([&files, "setpriv", "--pdeathsig", "KILL"]);
        command.args(["taskset", "--cpu-list", &cpu.to_string()]);
        command
    }
}

/// The CPUs of load generator and server.
#[derive(Clone, Copy, Debug)]
struct Cpus {
    load: usize,
    server: usize,
}

impl Cpus {
    /// Takes the first two that this process may run on, or one for both.
    fn find() -> Result<Self> {
        let status = fs::read_to_string("/proc/self/status").context("cannot read /proc/self/status")?;
        let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        let list = list.context("/proc/self/status names no CPUs")?;
        let mut cpus = list.trim().split(',').filter_map(range).flatten();
        let load = cpus.next().with_context(|| format!("cannot read {list:?} in /proc/self/status"))?;
        Ok(Self { load, server: cpus.next().unwrap_or(load) })
    }
}

/// Reads `4` or `4-7`.
fn range(text: &str) -> Option<RangeInclusive<usize>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    Some(first.parse().ok()?..=last.parse().ok()?)
}

/// As many as this process may have, and for root as many as are needed.
fn open_files() -> Result<u64> {
    let limits = fs::read_to_string("/proc/self/limits").context("cannot read /proc/self/limits")?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let hard = line.and_then(|line| line.split_whitespace().nth(1)).unwrap_or_default();
    let hard = hard.parse().unwrap_or(FILES);
    Ok(if packages::is_root()? { hard.max(FILES) } else { hard })
}

/// A peer that serves; ended when dropped.
#[derive(Debug)]
pub(crate) struct Server<'b> {
    bench: &'b Bench,
    child: Running,
}

impl Server<'_> {
    /// Waits until the server is there, and looks at what it does with a few messages.
    fn check(&self, task: &str) -> Result<()> {
        // How a chain runs makes no difference to the MTA.
        let task = task.split(':').next().unwrap_or(task);
        let mut command = self.bench.command(self.bench.cpus.load);
        command.arg(self.bench.built.check()).args([SOCKET, task]);
        output(&mut command).map(drop)
    }

    /// Makes sure that it is this library that the server runs on.
    fn require_library(&self, library: &Path) -> Result<()> {
        let place = format!("/proc/{}/maps", self.child.0.id());
        let maps = fs::read_to_string(&place).with_context(|| format!("cannot read {place}"))?;
        if !maps.contains(&*library.to_string_lossy()) {
            bail!("the server does not use {}", library.display());
        }
        Ok(())
    }

    /// Loads the server, and measures what that costs it.
    pub(crate) fn measure(&self, load: &Load) -> Result<Sample> {
        let pid = self.child.0.id().to_string();
        let report = self.run(load, &["--server-pid", &pid])?;
        Sample::read(&serde_json::from_slice(&report).context("cannot read the report of `tamis bench`")?)
    }

    /// Loads the server, and makes sure that it says the same about every message.
    pub(crate) fn send(&self, load: &Load) -> Result<()> {
        self.run(load, &["--check"]).map(drop)
    }

    fn run(&self, load: &Load, options: &[&str]) -> Result<Vec<u8>> {
        let cpus = self.bench.cpus;
        let mut command = self.bench.command(if load.one_cpu { cpus.server } else { cpus.load });
        command.arg(self.bench.built.tamis()).args(["bench", "--json", "--to", &format!("unix:{SOCKET}")]);
        output(command.args(load.options()).args(options))
    }

    /// Ends what runs under a tracer, and waits until that has written what it found.
    pub(crate) fn end_traced(mut self) -> Result<()> {
        let tracer = self.child.0.id();
        let children = format!("/proc/{tracer}/task/{tracer}/children");
        let pids = fs::read_to_string(&children).with_context(|| format!("cannot read {children}"))?;
        output(Command::new("kill").arg("-KILL").args(pids.split_whitespace()))?;
        self.child.0.wait().context("cannot wait for what counts system calls")?;
        Ok(())
    }
}

impl Sample {
    fn read(report: &Value) -> Result<Self> {
        if let Some(errors) = report["errors"].as_object()
            && !errors.is_empty()
        {
            bail!("there were errors: {} {}", report["errors"], report["first_errors"]);
        }
        let number = |place: &str| {
            let value = report.pointer(place).and_then(Value::as_f64);
            value.with_context(|| format!("the report of `tamis bench` has no {place}"))
        };
        Ok(Self {
            cpu: number("/server/cpu_us_per_message")?,
            user: number("/server/user_us_per_message")?,
            system: number("/server/system_us_per_message")?,
            rate: number("/messages_per_second")?,
            megabytes: number("/megabytes_per_second")?,
            p50: number("/latency_us/p50")?,
            p99: number("/latency_us/p99")?,
            resident: number("/server/resident_kib")?,
            idle: number("/server/idle_bytes_per_connection").ok(),
        })
    }

    /// Of several runs: each number for itself.
    pub(crate) fn median(samples: &[Self]) -> Self {
        let of = |field: fn(&Self) -> f64| median(samples.iter().map(field).collect());
        let idle: Vec<_> = samples.iter().filter_map(|sample| sample.idle).collect();
        Self {
            cpu: of(|sample| sample.cpu),
            user: of(|sample| sample.user),
            system: of(|sample| sample.system),
            rate: of(|sample| sample.rate),
            megabytes: of(|sample| sample.megabytes),
            p50: of(|sample| sample.p50),
            p99: of(|sample| sample.p99),
            resident: of(|sample| sample.resident),
            idle: (!idle.is_empty()).then(|| median(idle)),
        }
    }
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    let middle = numbers.len() / 2;
    if numbers.len() % 2 == 1 { numbers[middle] } else { f64::midpoint(numbers[middle - 1], numbers[middle]) }
}

/// Runs a command to its end and returns what it prints; an error has what it says about it.
fn output(command: &mut Command) -> Result<Vec<u8>> {
    let name = command.get_args().map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ");
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start `{name}`"))?;
    if !output.status.success() {
        let said = [output.stderr, output.stdout].concat();
        bail!("`{name}` ended with {}\n{}", output.status, String::from_utf8_lossy(&said).trim_end());
    }
    Ok(output.stdout)
}

/// A process that is ended when dropped.
#[derive(Debug)]
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_is_the_middle_one_or_between_the_middle_two() {
        assert!((median(vec![3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
        assert!((median(vec![4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < f64::EPSILON);
    }

    #[test]
    fn cpus_are_read_alone_and_in_ranges() {
        let cpus = |list: &str| list.split(',').filter_map(range).flatten().collect::<Vec<_>>();
        assert_eq!(cpus("0-1"), [0, 1]);
        assert_eq!(cpus("3,5-7"), [3, 5, 6, 7]);
        assert_eq!(cpus("two"), [0; 0]);
    }

    #[test]
    fn report_with_errors_is_none() {
        let report = serde_json::json!({ "errors": { "closed": 3 }, "messages_per_second": 1.0 });
        let error = Sample::read(&report).unwrap_err().to_string();
        assert!(error.contains("closed"), "{error}");
    }
}

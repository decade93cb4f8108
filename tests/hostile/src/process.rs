//! The process under test: started, looked at through /proc, ended.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::NamedTempFile;

use crate::PATIENCE;
use crate::log::Log;

/// The text that the server under test appends to bodies.
pub const FOOTER: &str = "-- \r\nseen by tamis\r\n";

/// Has glibc give back what is freed. Without it, it keeps what it gave out in pieces below a threshold that grows
/// with what was freed, so that there is no telling a leak from a habit (`docs/limits.md`).
const ALLOCATOR: [(&str, &str); 1] = [("MALLOC_MMAP_THRESHOLD_", "65536")];

/// A program of ours that runs; killed when dropped.
#[derive(Debug)]
pub struct Running(Child);

/// A `tamis serve` of ours.
#[derive(Debug)]
pub struct Process {
    running: Running,
    /// What it logs.
    pub log: Arc<Log>,
    /// Where it listens, as it says so.
    pub address: String,
    _footer: NamedTempFile,
}

/// What a process takes of the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of resident memory.
    pub resident: u64,
    /// Open files and sockets.
    pub descriptors: u64,
    /// Threads.
    pub threads: u64,
    /// Processor time so far.
    pub cpu: Duration,
}

impl Process {
    /// Starts the program on a free port of loopback, with these options and those that honest sessions rely on.
    pub fn start(program: &Path, options: &[&str]) -> Result<Self> {
        let mut footer = NamedTempFile::new().context("cannot make a temporary file")?;
        footer.write_all(FOOTER.replace('\r', "").as_bytes())?;
        let mut command = tamis(program);
        command.args(["serve", "--listen", "inet:0@127.0.0.1", "--log-format", "json"]);
        command.args(["--add-header", "X-Tamis: {i}", "--append-text"]).arg(footer.path()).args(options);
        let (running, stderr) = Running::start(&mut command)?;
        let log = Log::follow(stderr);
        let line = log.wait_for(0, "listening")?;
        let line: Value = serde_json::from_str(&line).context("the log is no JSON")?;
        let address = line["address"].as_str().context("the log has no address")?.to_owned();
        Ok(Self { running, log, address, _footer: footer })
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.running.pid()
    }

    /// Asks it to end, as service managers do; returns its exit code and how long it took.
    pub fn terminate(self) -> Result<(i32, Duration)> {
        self.running.terminate()
    }
}

/// The program, without what the environment says about it, and with an allocator that can be watched.
pub fn tamis(program: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TAMIS_")) {
        command.env_remove(name);
    }
    command.envs(ALLOCATOR);
    command
}

impl Running {
    /// Starts a program; returns what it says on stderr, too.
    pub fn start(command: &mut Command) -> Result<(Self, ChildStderr)> {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let program = Path::new(command.get_program()).display().to_string();
        let mut child = command.spawn().with_context(|| format!("cannot start {program}"))?;
        let stderr = child.stderr.take().expect("it is piped");
        Ok((Self(child), stderr))
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.pid()).context("a process has a small number")?);
        kill(pid, signal).with_context(|| format!("cannot send {signal}"))
    }

    /// Asks it to end, as service managers do; returns its exit code and how long it took.
    pub fn terminate(mut self) -> Result<(i32, Duration)> {
        let start = Instant::now();
        self.signal(Signal::SIGTERM)?;
        while start.elapsed() < PATIENCE {
            if let Some(status) = self.0.try_wait()? {
                return Ok((status.code().context("a signal ended it")?, start.elapsed()));
            }
            sleep(Duration::from_millis(10));
        }
        bail!("it does not end within {PATIENCE:?} after SIGTERM")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Usage {
    /// What a process takes now.
    pub fn of(pid: u32) -> Result<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).context("the server is gone")?;
        let number = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok())
        };
        let files = fs::read_dir(format!("/proc/{pid}/fd")).context("cannot list the server's files")?;
        Ok(Self {
            resident: number("VmRSS:").context("no VmRSS in /proc")? << 10,
            descriptors: files.count() as u64,
            threads: number("Threads:").context("no Threads in /proc")?,
            cpu: cpu(pid)?,
        })
    }
}

/// User and system time, which the kernel tells in hundredths of a second.
fn cpu(pid: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).context("the server is gone")?;
    // The program's name, which may have blanks in it, is in parentheses.
    let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ').skip(11).take(2);
    let ticks: u64 = fields.filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Ok(Duration::from_millis(ticks * 10))
}

/// The `tamis` that stands beside the program that runs, as cargo builds them.
pub fn beside() -> Result<PathBuf> {
    let own = std::env::current_exe().context("cannot tell which program runs")?;
    for folder in own.ancestors().skip(1).take(2) {
        let program = folder.join("tamis");
        if program.is_file() {
            return Ok(program);
        }
    }
    bail!(
        "there is no `tamis` beside {}: cargo build --package tamis-cli, or say --tamis PATH",
        own.display()
    )
}

/// Has the system let this process open as many files as it may at all.
pub fn raise_open_files() -> Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).context("cannot raise the limit on open files")
}

/// Whether programs that this one starts may open that many files each.
pub fn allows_files(files: u64) -> Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if hard >= files {
        return Ok(());
    }
    bail!(
        "each process may have {hard} files open, {files} are needed: raise the limit as root (ulimit -n {files}), \
         or have fewer --connections"
    )
}

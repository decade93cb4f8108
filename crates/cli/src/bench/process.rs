//! The filter's process, seen from outside: CPU time, threads, memory.

use std::collections::BTreeMap;
use std::fs;
use std::io;

use anyhow::{Result, anyhow};
use nix::time::clock_getcpuclockid;
use nix::unistd::Pid;

/// A process and its descendants.
#[derive(Clone, Copy, Debug)]
pub(super) struct Process {
    pid: i32,
}

/// What it has used up to a moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Usage {
    each: BTreeMap<i32, Times>,
    pub(super) threads: u64,
    pub(super) resident_kib: u64,
    pub(super) peak_resident_kib: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Times {
    nanoseconds: u64,
    /// Clock ticks in user and system mode: what nanoseconds are divided by.
    user: u64,
    system: u64,
}

/// CPU time between two moments.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Spent {
    pub(super) user: f64,
    pub(super) system: f64,
}

impl Process {
    /// Finds a process, and whether it can be looked at.
    pub(super) fn find(pid: i32) -> Result<Self> {
        let process = Self { pid };
        process.usage()?;
        Ok(process)
    }

    pub(super) fn pid(self) -> i32 {
        self.pid
    }

    /// Looks at it now.
    pub(super) fn usage(self) -> Result<Usage> {
        let mut usage = Usage::default();
        self.add(&mut usage).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => anyhow!("there is no process {}, or not any more", self.pid),
            _ => anyhow!("cannot look at process {}: {error}", self.pid),
        })?;
        let mut waiting = vec![self.pid];
        while let Some(parent) = waiting.pop() {
            for child in children(parent) {
                // A child that is gone by now has left its times to its parent.
                if !usage.each.contains_key(&child) && (Self { pid: child }).add(&mut usage).is_ok() {
                    waiting.push(child);
                }
            }
        }
        Ok(usage)
    }

    fn add(self, usage: &mut Usage) -> io::Result<()> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid))?;
        let (user, system) = ticks(&stat).ok_or(io::ErrorKind::InvalidData)?;
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        // Threads that have ended count here, unlike in the files of each thread.
        let time = clock_getcpuclockid(Pid::from_raw(self.pid)).and_then(|clock| clock.now())?;
        let nanoseconds = time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64;
        usage.each.insert(self.pid, Times { nanoseconds, user, system });
        usage.threads += number(&status, "Threads:");
        usage.resident_kib += number(&status, "VmRSS:");
        usage.peak_resident_kib += number(&status, "VmHWM:");
        Ok(())
    }
}

impl Usage {
    /// Microseconds of CPU time since an earlier moment.
    pub(super) fn since(&self, before: &Self) -> Spent {
        let mut nanoseconds = 0;
        let (mut user, mut system) = (0, 0);
        for (pid, after) in &self.each {
            let before = before.each.get(pid).copied().unwrap_or_default();
            nanoseconds += after.nanoseconds.saturating_sub(before.nanoseconds);
            user += after.user.saturating_sub(before.user);
            system += after.system.saturating_sub(before.system);
        }
        let all = nanoseconds as f64 / 1e3;
        let share = if user + system == 0 { 0.0 } else { user as f64 / (user + system) as f64 };
        Spent { user: all * share, system: all * (1.0 - share) }
    }
}

impl Spent {
    pub(super) fn since(self, before: Self) -> Self {
        Self { user: self.user - before.user, system: self.system - before.system }
    }

    pub(super) fn all(self) -> f64 {
        self.user + self.system
    }
}

/// The CPU time of this process.
pub(super) fn own() -> Spent {
    use nix::sys::resource::{UsageWho, getrusage};
    use nix::sys::time::TimeValLike;
    let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else { return Spent::default() };
    let time = |time: nix::sys::time::TimeVal| time.num_microseconds() as f64;
    Spent { user: time(usage.user_time()), system: time(usage.system_time()) }
}

/// Clock ticks in user and system mode out of `/proc/PID/stat`, those of children that ended among them.
fn ticks(stat: &str) -> Option<(u64, u64)> {
    // The name before may hold anything, parentheses too.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11).map(str::parse);
    let mut next = || fields.next()?.ok();
    Some((next()?, next()?))
}

/// The number behind a name in `/proc/PID/status`; 0 where there is none, as for the memory of a zombie.
fn number(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

fn children(pid: i32) -> Vec<i32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}

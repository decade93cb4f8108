//! The filter's process, seen from outside: CPU time, threads, memory.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::time::Duration;

use anyhow::{Result, anyhow};

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
    /// Clock ticks of children that have ended.
    ended: u64,
}

/// Nanoseconds of a clock tick of `/proc`, of which there are 100 in a second whatever the processor.
const TICK: u64 = 1_000_000_000 / 100;

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
        let time = cpu_time(self.pid)?;
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid))?;
        let [user, system, user_ended, system_ended] = ticks(&stat).ok_or(io::ErrorKind::InvalidData)?;
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let (user, system) = (user + user_ended, system + system_ended);
        let ended = user_ended + system_ended;
        usage.each.insert(self.pid, Times { nanoseconds, user, system, ended });
        usage.threads += number(&status, "Threads:");
        usage.resident_kib += number(&status, "VmRSS:");
        usage.peak_resident_kib += number(&status, "VmHWM:");
        Ok(())
    }
}

impl Usage {
    /// Microseconds of CPU time since an earlier moment.
    pub(super) fn since(&self, before: &Self) -> Spent {
        // Children that ended meanwhile have left to their parent what they used, before and after.
        let (before, after) = (before.sum(), self.sum());
        let all = after.nanoseconds.saturating_sub(before.nanoseconds) as f64 / 1e3;
        let user = after.user.saturating_sub(before.user);
        let system = after.system.saturating_sub(before.system);
        let share = if user + system == 0 { 0.0 } else { user as f64 / (user + system) as f64 };
        Spent { user: all * share, system: all * (1.0 - share) }
    }

    fn sum(&self) -> Times {
        self.each.values().fold(Times::default(), |sum, each| Times {
            nanoseconds: sum.nanoseconds + each.nanoseconds + each.ended * TICK,
            user: sum.user + each.user,
            system: sum.system + each.system,
            ended: 0,
        })
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

/// The CPU time of a process. Threads that have ended count too, unlike in the files of each thread.
#[cfg(target_os = "linux")]
fn cpu_time(pid: i32) -> io::Result<Duration> {
    use nix::errno::Errno;
    use nix::time::{ClockId, clock_getcpuclockid};
    use nix::unistd::Pid;
    let time = clock_getcpuclockid(Pid::from_raw(pid)).and_then(ClockId::now);
    time.map(Duration::from).map_err(|error| match error {
        Errno::ESRCH | Errno::EINVAL => io::ErrorKind::NotFound.into(),
        error => error.into(),
    })
}

#[cfg(not(target_os = "linux"))]
fn cpu_time(_pid: i32) -> io::Result<Duration> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "only Linux tells what other processes take"))
}

/// Clock ticks in user and system mode out of `/proc/PID/stat`, and those of children that have ended.
fn ticks(stat: &str) -> Option<[u64; 4]> {
    // The name before may hold anything, parentheses too.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11).map(str::parse);
    let mut next = || fields.next()?.ok();
    Some([next()?, next()?, next()?, next()?])
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

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::process::{Child, Command, Stdio};

    use super::*;

    #[test]
    fn times_are_found_behind_a_name_that_looks_like_more() {
        let stat = "7 (a) b) (c) S 1 7 7 0 -1 4194560 157 0 0 0 12 34 5 6 20 0 1 0 9 0 0";
        assert_eq!(ticks(stat), Some([12, 34, 5, 6]));
        assert_eq!(ticks("7 (cut off) S 1 7"), None);
    }

    /// A shell that begins with this script when it gets a line.
    fn shell(script: &str) -> (Child, Process, Usage) {
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("read go; {script}")]).stdin(Stdio::piped()).stdout(Stdio::piped());
        shell.stderr(Stdio::null());
        let mut shell = shell.spawn().unwrap();
        let process = Process::find(i32::try_from(shell.id()).unwrap()).unwrap();
        let before = process.usage().unwrap();
        assert!(before.threads == 1 && before.peak_resident_kib >= before.resident_kib);
        shell.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
        (shell, process, before)
    }

    #[test]
    fn children_count_while_they_run() {
        let (mut shell, process, before) = shell("exec 3<&0; sh -c 'read end; :' <&3 & while :; do :; done");
        let enough = |usage: Usage| usage.threads == 2 && usage.since(&before).all() > 20_000.0;
        // Ends as soon as the time of a process that works without end was seen to grow.
        while !enough(process.usage().unwrap()) {}
        shell.kill().unwrap();
        shell.wait().unwrap();
        assert!(process.usage().unwrap_err().to_string().contains("there is no process"));
    }

    #[test]
    fn children_count_when_they_have_ended() {
        // The system ends the child when it has used a second.
        let (mut shell, process, before) =
            shell("sh -c 'ulimit -t 1; while :; do :; done'; echo end; read end");
        shell.stdout.as_mut().unwrap().read_exact(&mut [0; 4]).unwrap();
        let spent = process.usage().unwrap().since(&before);
        shell.kill().unwrap();
        shell.wait().unwrap();
        assert!(spent.all() >= 900_000.0, "{spent:?}");
    }
}

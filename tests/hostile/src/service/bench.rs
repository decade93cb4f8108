//! The load: `tamis bench`, as a program of its own, and what it reports.

use std::io::Read as _;
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::Plan;
use super::site::Site;
use crate::process::tamis;

/// A load that is on; killed when dropped.
#[derive(Debug)]
pub(super) struct Bench {
    child: Child,
    output: Option<thread::JoinHandle<std::io::Result<String>>>,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// Messages, each of which was judged as the first one was.
    pub messages: u64,
    /// Connections that they came on.
    pub connections: u64,
    /// From the first to the last.
    pub seconds: f64,
    /// Messages a second.
    pub rate: f64,
    /// Processor time of the daemon for each, in microseconds.
    pub cpu: f64,
    /// From MAIL to the last verdict, in microseconds: half of them, 99 in 100, all.
    pub latency: [f64; 3],
}

/// Messages that a connection carries, then it is made anew: as an MTA's is with each SMTP client. Connections have to
/// end for a configuration to be forgotten, and to begin for a milter that returns to be asked.
const PER_CONNECTION: &str = "5";

impl Bench {
    /// Starts it.
    pub(super) fn start(program: &Path, site: &Site, plan: &Plan) -> Result<Self> {
        let mut command = tamis(program);
        command.args(["bench", "--json", "--quiet", "--check", "--per-connection", PER_CONNECTION]);
        command.args(["--to", &site.listener, "--server-pid", &site.pid().to_string()]);
        command.args(["--connections", &plan.connections.to_string()]);
        command.args(["--seconds", &plan.time.as_secs_f64().to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
        let mut stdout = child.stdout.take().expect("it is piped");
        let output = thread::spawn(move || {
            let mut text = String::new();
            stdout.read_to_string(&mut text).map(|_| text)
        });
        Ok(Self { child, output: Some(output) })
    }

    /// Whether it has ended.
    pub(super) fn is_over(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// Reads what it reports.
    pub(super) fn figures(mut self) -> Result<Figures> {
        let status = self.child.wait()?;
        let output = self.output.take().expect("it is read once");
        let text = output.join().expect("reading does not panic")?;
        let json: Value =
            serde_json::from_str(&text).with_context(|| format!("bench ended with {status}: {text}"))?;
        let check = &json["check"];
        ensure!(
            status.success() && json["errors"].as_object().is_some_and(serde_json::Map::is_empty),
            "{}, {} of {} messages were judged otherwise than the first: {} {}",
            status,
            check["mismatches"],
            check["messages"],
            json["first_errors"],
            json["error"],
        );
        Figures::read(&json).context("a figure is missing in the report of bench")
    }
}

impl Figures {
    fn read(json: &Value) -> Option<Self> {
        let latency = |name| json["latency_us"][name].as_f64();
        Some(Self {
            messages: json["messages"].as_u64()?,
            connections: json["connections"].as_u64()?,
            seconds: json["seconds"].as_f64()?,
            rate: json["messages_per_second"].as_f64()?,
            cpu: json["server"]["cpu_us_per_message"].as_f64()?,
            latency: [latency("p50")?, latency("p99")?, latency("max")?],
        })
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

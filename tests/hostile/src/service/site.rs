//! The daemon as a site has it: five filters from a configuration file, one of them a milter of another process.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use super::Phase;
use super::journal::Journal;
use crate::process::{Running, Usage, tamis};

/// What the filter is called that asks the other process.
pub(super) const REMOTE: &str = "remote";

/// Where that listens, in the folder.
pub(super) const SOCKET: &str = "/remote.sock";

/// A daemon, and where it is found.
#[derive(Debug)]
pub(super) struct Site {
    folder: TempDir,
    running: Running,
    pub(super) journal: Arc<Journal>,
    /// Where MTAs connect.
    pub(super) listener: String,
    /// Where metrics are served.
    pub(super) metrics: String,
}

/// The other process.
#[derive(Debug)]
pub(super) struct Remote {
    _running: Running,
    pub(super) journal: Arc<Journal>,
}

impl Site {
    /// Writes its files and starts it. The milter of the other process has to be started too.
    pub(super) fn start(program: &Path, phase: Phase) -> Result<Self> {
        let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
        write(folder.path(), "clients", "203.0.113.0/24 REJECT\n192.0.2.1 continue\n")?;
        write(folder.path(), "senders", "spam.example REJECT\n.example.net TEMPFAIL\n")?;
        write(folder.path(), "remote.toml", &remote(folder.path(), phase))?;
        write(folder.path(), "tamis.toml", &configuration(folder.path(), 0))?;
        let (running, journal) = serve(program, &folder.path().join("tamis.toml"))?;
        let address = |line: Value| {
            let address = line["address"].as_str().map(ToOwned::to_owned);
            address.context("the log has no address")
        };
        let listener = address(journal.notice("\"listening\"")?)?;
        let metrics = address(journal.notice("\"metrics\"")?)?;
        Ok(Self { folder, running, journal, listener, metrics })
    }

    pub(super) fn pid(&self) -> u32 {
        self.running.pid()
    }

    /// What it takes now.
    pub(super) fn usage(&self) -> Result<Usage> {
        Usage::of(self.pid())
    }

    /// Starts the milter that it asks; a socket file that a killed one has left is in nobody's way.
    pub(super) fn start_remote(&self, program: &Path) -> Result<Remote> {
        let (running, journal) = serve(program, &self.folder.path().join("remote.toml"))?;
        journal.notice("\"listening\"").context("the remote milter")?;
        Ok(Remote { _running: running, journal })
    }

    /// Has it read another configuration, the `number`th, and waits until that is in force.
    pub(super) fn reload(&self, number: u64) -> Result<()> {
        // In one step, as the daemon may read it at any time.
        write(self.folder.path(), "tamis.toml.new", &configuration(self.folder.path(), number))?;
        let file = |name| self.folder.path().join(name);
        fs::rename(file("tamis.toml.new"), file("tamis.toml"))
            .context("cannot exchange the configuration")?;
        self.running.signal(Signal::SIGHUP)?;
        self.journal.reloaded(number)
    }

    /// Asks it to end; returns its exit code and how long it took.
    pub(super) fn terminate(self) -> Result<(i32, Duration)> {
        self.running.terminate()
    }
}

fn serve(program: &Path, file: &Path) -> Result<(Running, Arc<Journal>)> {
    let (running, stderr) = Running::start(tamis(program).arg("serve").arg("--config").arg(file))?;
    Ok((running, Journal::follow(stderr)))
}

fn write(folder: &Path, name: &str, text: &str) -> Result<()> {
    let path = folder.join(name);
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// Five filters. What they say about the message that is sent is the same in each `number`th of the configurations,
/// which have other lists, another history and another list of networks each.
fn configuration(folder: &Path, number: u64) -> String {
    let folder = folder.display();
    let (history, network) = (500 + number % 3 * 250, number % 200);
    format!(
        r#"[[listener]]
socket = "inet:0@127.0.0.1"

[log]
format = "json"

[admin]
socket = "{folder}/admin.sock"
metrics = "inet:0@127.0.0.1"
history = {history}

[[filter]]
type = "headers"
firewall = {{ ids = ["mx.example.org", "{{j}}"] }}
rules = [
    {{ header = "X-Bench-*", remove = true }},
    {{ header = "Subject", matches = "^The (.*)$", replace = "[seen] the $1" }},
    {{ add = "X-Soak: {{queue_id}} from {{client_ip}}" }},
]

[[filter]]
type = "policy"
client = ["file:clients", "198.51.{network}.0/24 REJECT"]
helo = ["localhost REJECT that is me"]
sender = ["file:senders", "sender@example.com continue"]
recipient = ["recipient-2@example.org REJECT 5.1.1 no such user"]

[[filter]]
type = "remember"
what = "recipients"
file = "{folder}/known"

[[filter]]
name = "{REMOTE}"
type = "milter"
socket = "unix:{folder}{SOCKET}"
on_failure = "accept"
when = {{ not = {{ sender = ["spam.example", "remembered:{folder}/nobody"] }} }}

[[filter]]
type = "log"
"#
    )
}

/// The other process. Where it comes and goes it only looks, so that what the MTA is told is the same with and without
/// it; else it changes something.
fn remote(folder: &Path, phase: Phase) -> String {
    let folder = folder.display();
    let filter = match phase {
        Phase::Steady => "type = \"headers\"\nrules = [ { add = \"X-Remote: {queue_id}\" } ]",
        Phase::Unrest => "type = \"log\"",
    };
    format!(
        r#"[[listener]]
socket = "unix:{folder}{SOCKET}"

[log]
format = "json"
level = "info,tamis::message=warn"

[admin]
socket = ""

[[filter]]
{filter}
"#
    )
}

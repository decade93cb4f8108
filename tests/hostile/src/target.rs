//! The server that is attacked.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use socket2::SockAddr;
use tamis_proto::address::{Host, Port, SocketSpec};

use crate::client::Tally;
use crate::honest;
use crate::log::Log;
use crate::process::{Process, Usage};

/// Where it listens.
#[derive(Clone, Debug)]
pub enum Address {
    /// A port.
    Tcp(SocketAddr),
    /// A path.
    Unix(PathBuf),
}

/// The times that the server under test gives its peers; see `docs/limits.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// From the connection to the end of the negotiation.
    pub handshake: Duration,
    /// For one frame.
    pub frame: Duration,
    /// Without any of a reply being read.
    pub write: Duration,
}

/// The server, and what is known about it.
#[derive(Debug)]
pub struct Target {
    /// Where it listens.
    pub address: Address,
    /// Its process.
    pub pid: u32,
    /// What it logs; not known of a server that was started by somebody else.
    pub log: Option<Arc<Log>>,
    /// How long it waits for what.
    pub times: Times,
    /// What was done to it.
    pub tally: Tally,
    /// What it took before anything was done to it.
    base: Usage,
    /// The log has a line for each message.
    logs_messages: bool,
    process: Option<Process>,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(30),
            frame: Duration::from_mins(1),
            write: Duration::from_secs(10),
        }
    }
}

impl Times {
    /// Times for a test that shall be over soon.
    const SHORT: Self = Self {
        handshake: Duration::from_secs(4),
        frame: Duration::from_secs(4),
        write: Duration::from_secs(4),
    };
}

impl Address {
    /// As the system wants it.
    pub fn socket(&self) -> Result<SockAddr> {
        Ok(match self {
            Self::Tcp(address) => (*address).into(),
            Self::Unix(path) => SockAddr::unix(path)?,
        })
    }

    /// Reads a socket specification, such as `inet:8899@127.0.0.1` or `unix:/run/tamis.sock`.
    pub fn parse(text: &str) -> Result<Self> {
        let (host, port) = match text.parse().with_context(|| format!("{text:?} is no socket"))? {
            SocketSpec::Unix(path) => return Ok(Self::Unix(path)),
            SocketSpec::Inet { host, port } | SocketSpec::Inet6 { host, port } => (host, port),
        };
        let Port::Number(port) = port else { anyhow::bail!("{text:?}: give the port as a number") };
        let host = match host {
            Host::Any => "localhost".to_owned(),
            host => host.to_string().trim_matches(['[', ']']).to_owned(),
        };
        let found = (host.as_str(), port).to_socket_addrs().with_context(|| format!("no host {host:?}"))?;
        let address = found.into_iter().next().with_context(|| format!("no host {host:?}"))?;
        ensure!(
            address.ip().is_loopback(),
            "{address} is not on this machine, and its process could not be watched"
        );
        Ok(Self::Tcp(address))
    }
}

impl Target {
    /// Starts a server. With `short`, its times are short, which changes nothing but how long an attack on them takes.
    pub fn start(program: &Path, options: &[&str], short: bool) -> Result<Self> {
        let times = if short { Times::SHORT } else { Times::default() };
        let set = [
            format!("--handshake-time={}s", times.handshake.as_secs()),
            format!("--frame-time={}s", times.frame.as_secs()),
            format!("--write-time={}s", times.write.as_secs()),
        ];
        let options: Vec<_> = options.iter().copied().chain(set.iter().map(String::as_str)).collect();
        let process = Process::start(program, &options)?;
        let target = Self {
            address: Address::parse(&process.address)?,
            pid: process.pid(),
            log: Some(process.log.clone()),
            times,
            tally: Tally::default(),
            base: Usage::default(),
            logs_messages: !options.iter().any(|option| option.starts_with("--log-level")),
            process: Some(process),
        };
        target.warm_up()
    }

    /// A server that runs already.
    pub fn running(address: Address, pid: u32, times: Times) -> Result<Self> {
        let (tally, base) = (Tally::default(), Usage::default());
        Self { address, pid, log: None, times, tally, base, logs_messages: false, process: None }.warm_up()
    }

    /// Has the server take what it takes once, so that it is not mistaken for growth.
    fn warm_up(mut self) -> Result<Self> {
        let before = self.usage()?;
        for _ in 0..WARM_UP {
            self.settle()?;
        }
        // Sessions that have just ended may still be counted after them.
        self.base = Usage { descriptors: before.descriptors, ..self.usage()? };
        Ok(self)
    }

    /// Serves a session; when it returns, the log has everything that happened before.
    pub fn settle(&self) -> Result<()> {
        let mark = self.log.as_ref().map_or(0, |log| log.mark());
        let queue_id = honest::session(self)?;
        match &self.log {
            Some(log) if self.logs_messages => log.wait_for(mark, &queue_id).map(drop),
            _ => Ok(()),
        }
    }

    /// What it took before anything was done to it.
    pub fn base(&self) -> Usage {
        self.base
    }

    /// What it takes now.
    pub fn usage(&self) -> Result<Usage> {
        Usage::of(self.pid)
    }

    /// How much resident memory it may have after an attack. Two crowds of 5,000 connections leave more than one does,
    /// and to a server that runs already all attacks are done.
    pub fn memory(&self) -> u64 {
        self.base.resident + if self.is_ours() { 16 << 20 } else { 32 << 20 }
    }

    /// Whether it was started here, with what honest sessions rely on.
    pub fn is_ours(&self) -> bool {
        self.process.is_some()
    }

    /// The process, if it is ours.
    pub fn into_process(self) -> Option<Process> {
        self.process
    }
}

/// Honest sessions before anything is measured.
const WARM_UP: usize = 16;

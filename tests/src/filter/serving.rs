//! Scripts being served: each on a socket of its own, or several as a chain.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use tamis::chain::{Chain, Decide};
use tamis::proto::address::{Host, Port};
use tamis::remote::Milter;
use tamis::server::{BindOptions, bind_with};
use tamis::{Filter, Options, Peer, Server, Shutdown, SocketSpec};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use super::configured::{self, Configured};
use super::{ScriptFilter, function};
use crate::case::{Configuration, Member, Mode};
use crate::host::{EventLog, FilterHost, Listen, RunningFilter};
use crate::script::Script;

/// Runs scripts on Tamis, in this process.
#[derive(Debug, Default)]
pub struct TamisHost {
    relayed: bool,
    memory: Option<usize>,
}

impl TamisHost {
    /// A host with nothing running.
    pub fn new() -> Self {
        Self::default()
    }

    /// A host whose filters are consulted by another, which is the one that the MTA asks.
    pub fn relayed() -> Self {
        Self { relayed: true, memory: None }
    }

    /// Bounds how much of a message's bodies is in memory.
    #[must_use]
    pub fn memory(mut self, memory: Option<usize>) -> Self {
        self.memory = memory;
        self
    }
}

impl FilterHost for TamisHost {
    fn start(&self, script: &Script, listen: &Listen) -> Box<dyn RunningFilter> {
        let mut filter = ScriptServer {
            script: Arc::new(script.clone()),
            memory: self.memory,
            log: EventLog::default(),
            listen: listen.clone(),
            behind: self.relayed.then(folder),
            running: None,
        };
        filter.restart();
        Box::new(filter)
    }
}

/// A chain of scripts, being served; it stops at once when dropped.
pub struct RunningChain {
    logs: Vec<EventLog>,
    serving: Option<Serving>,
    /// The sockets of filters that are not in it.
    _folder: Option<TempDir>,
}

impl RunningChain {
    /// Starts a chain on one socket; when this returns it accepts connections.
    pub fn start(mode: Mode, members: &[Member], memory: Option<usize>, listen: &Listen) -> Self {
        let (logs, seats) = seats(members);
        let make = move |_: &Peer| {
            let add = |chain: Chain, (name, script, log): &Seat| {
                if script.needs.function {
                    chain.add(name.as_str(), function::filter(script, log))
                } else {
                    chain.add(name.as_str(), ScriptFilter::new(script.clone(), log.clone()))
                }
            };
            seats.iter().fold(empty(mode), add)
        };
        let mut serving = Serving::new();
        serving.add(make, options(scripts(members), memory), spec(listen));
        Self { logs, serving: Some(serving), _folder: None }
    }

    /// Starts a chain whose filters all have sockets of their own, at which it asks them.
    pub fn start_remote(mode: Mode, members: &[Member], memory: Option<usize>, listen: &Listen) -> Self {
        let (logs, seats) = seats(members);
        let (folder, mut serving) = (folder(), Serving::new());
        let mut milters = Vec::new();
        for (name, script, log) in seats {
            let socket = behind(folder.path(), &name);
            serving.add_script(&script, &log, options([&*script], memory), socket.clone());
            milters.push((name, Milter::new(socket)));
        }
        let make = move |_: &Peer| {
            let add = |chain: Chain, (name, milter): &(String, Milter)| {
                chain.add(name.as_str(), milter.connection())
            };
            milters.iter().fold(empty(mode), add)
        };
        serving.add(make, options(scripts(members), memory), spec(listen));
        Self { logs, serving: Some(serving), _folder: Some(folder) }
    }

    /// What each filter has seen so far.
    pub fn logs(&self) -> &[EventLog] {
        &self.logs
    }
}

impl Drop for RunningChain {
    fn drop(&mut self) {
        self.serving.take().expect("it is taken here only").kill();
    }
}

type Seat = (String, Arc<Script>, EventLog);

fn seats(members: &[Member]) -> (Vec<EventLog>, Vec<Seat>) {
    let logs: Vec<EventLog> = members.iter().map(|_| EventLog::default()).collect();
    let seat = |(member, log): (&Member, &EventLog)| {
        (member.name.clone(), Arc::new(member.script.clone()), log.clone())
    };
    let seats = members.iter().zip(&logs).map(seat).collect();
    (logs, seats)
}

fn scripts(members: &[Member]) -> impl Iterator<Item = &Script> {
    members.iter().map(|member| &member.script)
}

fn empty(mode: Mode) -> Chain {
    match mode {
        Mode::Pipeline => Chain::pipeline(),
        Mode::Parallel => Chain::parallel(),
        Mode::ParallelAll => Chain::parallel().decide(Decide::All),
    }
}

/// Runs filters that are configured, as a chain. A script that does something is a milter that they can ask, at the
/// socket `milter.sock` beside the configuration.
#[derive(Debug)]
pub struct ConfiguredHost(Configuration);

impl ConfiguredHost {
    /// A host for these filters.
    pub fn new(configuration: &Configuration) -> Self {
        Self(configuration.clone())
    }
}

impl FilterHost for ConfiguredHost {
    fn start(&self, script: &Script, listen: &Listen) -> Box<dyn RunningFilter> {
        let configured = Configured::build(&self.0).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        let mut server = ConfiguredServer {
            configured: Arc::new(configured),
            script: Arc::new(script.clone()),
            log: EventLog::default(),
            listen: listen.clone(),
            running: None,
        };
        server.restart();
        Box::new(server)
    }
}

/// Filters that are configured, being served.
struct ConfiguredServer {
    configured: Arc<Configured>,
    script: Arc<Script>,
    /// What they write into the log, and what the milter saw.
    log: EventLog,
    listen: Listen,
    running: Option<Serving>,
}

impl RunningFilter for ConfiguredServer {
    fn log(&self) -> &EventLog {
        &self.log
    }

    fn kill(&mut self) {
        if let Some(running) = self.running.take() {
            running.kill();
        }
    }

    fn restart(&mut self) {
        assert!(self.running.is_none(), "restarted while it runs");
        let mut serving = Serving::logging(&self.log);
        let configured = self.configured.clone();
        if !self.script.rules.is_empty() {
            let socket = behind(configured.folder(), "milter");
            serving.add_script(&self.script, &self.log, options([&*self.script], None), socket);
        }
        serving.add(move |_: &Peer| configured.chain(), Options::default(), spec(&self.listen));
        self.running = Some(serving);
    }

    fn shutdown(&mut self) {
        if let Some(running) = self.running.take() {
            running.shutdown();
        }
    }
}

impl Drop for ConfiguredServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A script being served.
struct ScriptServer {
    script: Arc<Script>,
    memory: Option<usize>,
    log: EventLog,
    listen: Listen,
    /// Where the script listens, if another filter stands between it and the MTA.
    behind: Option<TempDir>,
    running: Option<Serving>,
}

impl RunningFilter for ScriptServer {
    fn log(&self) -> &EventLog {
        &self.log
    }

    fn kill(&mut self) {
        if let Some(running) = self.running.take() {
            running.kill();
        }
    }

    fn restart(&mut self) {
        assert!(self.running.is_none(), "restarted while it runs");
        let options = options([&*self.script], self.memory);
        let mut serving = Serving::new();
        match &self.behind {
            Some(folder) => {
                let socket = behind(folder.path(), "milter");
                serving.add_script(&self.script, &self.log, options.clone(), socket.clone());
                let milter = Milter::new(socket);
                serving.add(move |_: &Peer| milter.connection(), options, spec(&self.listen));
            }
            None => serving.add_script(&self.script, &self.log, options, spec(&self.listen)),
        }
        self.running = Some(serving);
    }

    fn shutdown(&mut self) {
        if let Some(running) = self.running.take() {
            running.shutdown();
        }
    }
}

impl Drop for ScriptServer {
    fn drop(&mut self) {
        self.kill();
    }
}

fn folder() -> TempDir {
    TempDir::new().expect("a temporary folder can be made")
}

fn behind(folder: &Path, name: &str) -> SocketSpec {
    SocketSpec::Unix(folder.join(format!("{name}.sock")))
}

fn options<'a>(scripts: impl IntoIterator<Item = &'a Script>, memory: Option<usize>) -> Options {
    let mut options = Options::default();
    if let Some(progress) = scripts.into_iter().filter_map(|script| script.needs.progress).min() {
        options.progress_every = progress;
    }
    if let Some(memory) = memory {
        options.body.memory = memory;
    }
    options
}

/// Servers with their threads.
struct Serving {
    runtime: Runtime,
    shutdown: Shutdown,
    finished: Vec<mpsc::Receiver<()>>,
}

impl Serving {
    fn new() -> Self {
        Self::on(Builder::new_multi_thread().worker_threads(1))
    }

    /// One of which the lines that filters write for messages are kept.
    fn logging(log: &EventLog) -> Self {
        let log = log.clone();
        // A thread keeps its dispatcher as long as it lives.
        let begin = move || std::mem::forget(configured::keep_lines(&log));
        Self::on(Builder::new_multi_thread().worker_threads(1).on_thread_start(begin))
    }

    fn on(threads: &mut Builder) -> Self {
        let runtime = threads.enable_all().build().expect("a runtime");
        Self { runtime, shutdown: Shutdown::new(), finished: Vec::new() }
    }

    /// Starts one more; when this returns it accepts connections.
    fn add<F: Filter>(
        &mut self,
        make: impl Fn(&Peer) -> F + Send + Sync + 'static,
        options: Options,
        listen: SocketSpec,
    ) {
        let mut bind = BindOptions::default();
        // The MTA runs as another user.
        bind.unix_mode = 0o666;
        let listeners = {
            let _entered = self.runtime.enter();
            bind_with(&[listen], bind).unwrap_or_else(|error| panic!("{error}"))
        };
        let server = Server::new(make).options(options);
        let (done, finished) = mpsc::channel();
        let stop = self.shutdown.clone();
        self.runtime.spawn(async move {
            server.serve(listeners, stop).await.expect("the listener keeps working");
            let _ = done.send(());
        });
        self.finished.push(finished);
    }

    fn add_script(&mut self, script: &Arc<Script>, log: &EventLog, options: Options, listen: SocketSpec) {
        let (script, log) = (script.clone(), log.clone());
        if script.needs.function {
            self.add(move |_: &Peer| function::filter(&script, &log), options, listen);
        } else {
            self.add(move |_: &Peer| ScriptFilter::new(script.clone(), log.clone()), options, listen);
        }
    }

    fn kill(self) {
        self.runtime.shutdown_timeout(Duration::from_secs(10));
    }

    fn shutdown(self) {
        self.shutdown.drain();
        for finished in &self.finished {
            finished.recv().expect("serving ends");
        }
        self.kill();
    }
}

fn spec(listen: &Listen) -> SocketSpec {
    match listen {
        Listen::Tcp(address) => {
            let (host, port) = (Host::Ip(address.ip()), Port::Number(address.port()));
            if address.is_ipv6() { SocketSpec::Inet6 { host, port } } else { SocketSpec::Inet { host, port } }
        }
        Listen::Unix(path) => SocketSpec::Unix(path.clone()),
    }
}

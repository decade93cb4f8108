//! Scripts being served: each on a socket of its own, or several as a chain.

use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use tamis::chain::{Chain, Decide};
use tamis::proto::address::{Host, Port};
use tamis::server::{BindOptions, bind_with};
use tamis::{Filter, Options, Peer, Server, Shutdown, SocketSpec};
use tokio::runtime::{Builder, Runtime};

use super::ScriptFilter;
use crate::case::{Member, Mode};
use crate::host::{EventLog, FilterHost, Listen, RunningFilter};
use crate::script::Script;

/// Runs scripts on Tamis, in this process.
#[derive(Debug, Default)]
pub struct TamisHost {
    memory: Option<usize>,
}

impl TamisHost {
    /// A host with nothing running.
    pub fn new() -> Self {
        Self::default()
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
            running: None,
        };
        filter.restart();
        Box::new(filter)
    }
}

/// Starts a chain of scripts on one socket; when this returns it accepts connections.
pub fn start_chain(mode: Mode, members: &[Member], memory: Option<usize>, listen: &Listen) -> RunningChain {
    let logs: Vec<EventLog> = members.iter().map(|_| EventLog::default()).collect();
    let seats: Vec<(String, Arc<Script>, EventLog)> = members
        .iter()
        .zip(&logs)
        .map(|(member, log)| (member.name.clone(), Arc::new(member.script.clone()), log.clone()))
        .collect();
    let make = move |_: &Peer| {
        let empty = match mode {
            Mode::Pipeline => Chain::pipeline(),
            Mode::Parallel => Chain::parallel(),
            Mode::ParallelAll => Chain::parallel().decide(Decide::All),
        };
        seats.iter().fold(empty, |chain, (name, script, log)| {
            chain.add(name.as_str(), ScriptFilter::new(script.clone(), log.clone()))
        })
    };
    let serving = Serving::start(make, options(members.iter().map(|member| &member.script), memory), listen);
    RunningChain { logs, serving: Some(serving) }
}

/// A chain being served; it stops at once when dropped.
pub struct RunningChain {
    logs: Vec<EventLog>,
    serving: Option<Serving>,
}

impl RunningChain {
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

/// A script being served.
struct ScriptServer {
    script: Arc<Script>,
    memory: Option<usize>,
    log: EventLog,
    listen: Listen,
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
        let (script, log) = (self.script.clone(), self.log.clone());
        let options = options([&*self.script], self.memory);
        let make = move |_: &Peer| ScriptFilter::new(script.clone(), log.clone());
        self.running = Some(Serving::start(make, options, &self.listen));
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

/// A server with its threads.
struct Serving {
    runtime: Runtime,
    shutdown: Shutdown,
    finished: mpsc::Receiver<()>,
}

impl Serving {
    fn start<F: Filter>(
        make: impl Fn(&Peer) -> F + Send + Sync + 'static,
        options: Options,
        listen: &Listen,
    ) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let mut bind = BindOptions::default();
        // The MTA runs as another user.
        bind.unix_mode = 0o666;
        let listeners = {
            let _entered = runtime.enter();
            bind_with(&[spec(listen)], bind).unwrap_or_else(|error| panic!("{error}"))
        };
        let server = Server::new(make).options(options);
        let shutdown = Shutdown::new();
        let (done, finished) = mpsc::channel();
        let stop = shutdown.clone();
        runtime.spawn(async move {
            server.serve(listeners, stop).await.expect("the listener keeps working");
            let _ = done.send(());
        });
        Self { runtime, shutdown, finished }
    }

    fn kill(self) {
        self.runtime.shutdown_timeout(Duration::from_secs(10));
    }

    fn shutdown(self) {
        self.shutdown.drain();
        self.finished.recv().expect("serving ends");
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

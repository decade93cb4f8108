//! The life of the daemon: configurations that take over from each other, signals, systemd.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Result, anyhow};
use sd_notify::NotifyState;
use tamis::server::{Counters, ServeError};
use tamis::{Server, Shutdown};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{self, JoinError, JoinHandle, JoinSet};

use super::setup::Setup;
use super::sockets::{Passed, Sockets};
use crate::admin::{self, Configured, State};
use crate::config::{self, Admin, Config, Source};
use crate::log::{Levels, List};

/// Everything that can go wrong at the start has gone well.
pub(super) struct Daemon {
    file: Option<PathBuf>,
    levels: Levels,
    passed: Passed,
    state: Arc<State>,
    reloads: Reloads,
    admin: Option<(admin::Listeners, JoinHandle<()>)>,
    signals: Signals,
    current: Generation,
    /// Those before it, with the connections that they still have.
    older: Older,
}

/// One configuration at work.
struct Generation {
    sockets: Sockets,
    shutdown: Shutdown,
    task: JoinHandle<Result<(), ServeError>>,
}

/// Requests for another configuration.
struct Reloads {
    requests: mpsc::Receiver<oneshot::Sender<Result<String, String>>>,
    /// Without a sender nothing would be waited for.
    send: admin::ReloadSender,
}

struct Older {
    /// The number of the current one, from 1.
    number: u64,
    shutdowns: HashMap<task::Id, Shutdown>,
    tasks: JoinSet<Result<Result<(), ServeError>, JoinError>>,
}

/// Those that the daemon obeys.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// Catches them.
    ///
    /// # Errors
    ///
    /// When the system does not let it.
    pub(super) fn catch() -> Result<Self> {
        let catch = |kind, name| signal(kind).map_err(|error| anyhow!("cannot handle {name}: {error}"));
        Ok(Self {
            terminate: catch(SignalKind::terminate(), "SIGTERM")?,
            interrupt: catch(SignalKind::interrupt(), "SIGINT")?,
            hangup: catch(SignalKind::hangup(), "SIGHUP")?,
        })
    }
}

impl Generation {
    fn begin(setup: Setup, sockets: Sockets, counters: Counters) -> Self {
        let Setup { options, make, chain, .. } = setup;
        if let Some(chain) = chain {
            tracing::info!(mode = chain.mode, filters = ?List(&chain.filters), "chain");
        }
        let shutdown = Shutdown::new();
        let server = Server::new(move |_: &_| make()).options(options).count_in(counters);
        let task = tokio::spawn(server.serve(sockets.listeners(), shutdown.clone()));
        Self { sockets, shutdown, task }
    }
}

/// What a daemon is begun with.
pub(super) struct Beginning {
    pub(super) file: Option<PathBuf>,
    pub(super) levels: Levels,
    pub(super) signals: Signals,
    pub(super) passed: Passed,
    pub(super) state: Arc<State>,
    /// What is shown of the daemon, and where.
    pub(super) admin: Option<admin::Listeners>,
}

impl Daemon {
    /// Begins to serve.
    pub(super) fn begin(beginning: Beginning, setup: Setup, sockets: Sockets) -> Self {
        let Beginning { file, levels, signals, passed, state, admin } = beginning;
        let (send, reloads) = mpsc::channel(1);
        let current = Generation::begin(setup, sockets, state.counters());
        let admin = admin.map(|listeners| {
            let serving =
                admin::serve(state.clone(), listeners.clone(), send.clone(), std::future::pending());
            (listeners, tokio::spawn(serving))
        });
        let reloads = Reloads { requests: reloads, send };
        Self {
            file,
            levels,
            passed,
            state,
            reloads,
            admin,
            signals,
            current,
            older: Older { number: 1, shutdowns: HashMap::new(), tasks: JoinSet::new() },
        }
    }

    /// Serves until it is told to end.
    ///
    /// # Errors
    ///
    /// When a listener breaks down.
    pub(super) async fn run(mut self) -> Result<(), ServeError> {
        // Half the time, as systemd recommends.
        let watchdog = sd_notify::watchdog_enabled().map(|time| time / 2);
        let mut alive = watchdog.map(tokio::time::interval);
        self.state.set_ready(true);
        tell(&[NotifyState::Ready]);
        let result = loop {
            tokio::select! {
                () = tick(alive.as_mut()) => tell(&[NotifyState::Watchdog]),
                _ = self.signals.terminate.recv() => self.end("SIGTERM"),
                _ = self.signals.interrupt.recv() => self.end("SIGINT"),
                _ = self.signals.hangup.recv() => drop(self.reload()),
                Some(answer) = self.reloads.requests.recv() => drop(answer.send(self.reload())),
                true = self.older.gone() => {}
                ended = &mut self.current.task => break ended,
            }
        };
        self.older.end(self.current.shutdown.is_draining());
        while self.older.gone().await {}
        let counters = self.state.counters();
        tracing::info!(messages = counters.messages(), connections = counters.accepted(), "stopped");
        match result {
            Ok(result) => result,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    /// Drains at the first signal, stops at the next one.
    fn end(&self, name: &str) {
        self.state.set_ready(false);
        let all = self.older.shutdowns.values().chain([&self.current.shutdown]);
        if self.current.shutdown.is_draining() {
            tracing::warn!("{name} again: stopping at once");
            all.for_each(Shutdown::stop);
        } else {
            tell(&[NotifyState::Stopping]);
            tracing::info!("{name}: stopping when the messages in work are finished");
            all.for_each(Shutdown::drain);
        }
    }

    /// Reads the configuration again. What was found, or why everything stays as it is.
    fn reload(&mut self) -> Result<String, String> {
        let Some(file) = self.file.clone() else {
            tracing::warn!("there is no configuration file to read again: the options stay as they are");
            return Err("there is no configuration file to read again".to_owned());
        };
        if self.current.shutdown.is_draining() {
            return Err("the daemon is ending".to_owned());
        }
        match NotifyState::monotonic_usec_now() {
            Ok(now) => tell(&[NotifyState::Reloading, now]),
            Err(_) => tell(&[NotifyState::Reloading]),
        }
        let loaded = self.load(&file);
        match &loaded {
            Ok(_) => tracing::info!("{}: in force for new connections", file.display()),
            Err(why) => {
                self.state.reload_failed();
                why.lines().for_each(|line| tracing::error!("{line}"));
                tracing::error!("{}: not taken over: the configuration in force stays", file.display());
            }
        }
        tell(&[NotifyState::Ready]);
        loaded
    }

    fn load(&mut self, file: &std::path::Path) -> Result<String, String> {
        let source = Source::read(file)?;
        let (config, findings) = config::read(&source);
        let lines = findings.lines(&source);
        let Some(config) = config else { return Err(lines.join("\n")) };
        let why = |error: anyhow::Error| error.to_string();
        let mut setup = Setup::of_config(&config, self.state.clone()).map_err(why)?;
        let planned = std::mem::take(&mut setup.listeners);
        let sockets = Sockets::open(planned, &self.passed, &self.current.sockets).map_err(why)?;
        self.reopen_admin(&config.sections.admin)?;
        for line in &lines {
            tracing::warn!("{line}");
        }
        if let Ok(level) = config.sections.log.level.parse() {
            self.levels.set(&level);
        }
        self.older.number += 1;
        self.state.configured(configured(&config, self.older.number));
        let next = Generation::begin(setup, sockets, self.state.counters());
        let before = std::mem::replace(&mut self.current, next);
        // Both listen for a moment; no connection is refused.
        before.shutdown.retire();
        self.older.keep(before);
        Ok(lines.join("\n"))
    }

    /// Has the sockets of the administration where they are wanted now.
    fn reopen_admin(&mut self, wanted: &Admin) -> Result<(), String> {
        let Some((listeners, serving)) = &mut self.admin else { return Ok(()) };
        // The process may not be who it was, so that nobody else can be given them.
        *listeners = listeners.rebind(wanted, None)?;
        serving.abort();
        let send = self.reloads.send.clone();
        let serve = admin::serve(self.state.clone(), listeners.clone(), send, std::future::pending());
        *serving = tokio::spawn(serve);
        Ok(())
    }
}

/// What there is to know of a configuration while it is used.
pub(super) fn configured(config: &Config, generation: u64) -> Configured {
    let milter = |member: &config::Member| Some((member.name.clone(), member.plan.milter()?.clone()));
    Configured {
        generation,
        history: config.sections.admin.history,
        filters: config.members.iter().map(admin::Member::from).collect(),
        milters: config.members.iter().filter_map(milter).collect(),
    }
}

impl Older {
    fn keep(&mut self, generation: Generation) {
        let Generation { sockets, shutdown, task } = generation;
        drop(sockets);
        let id = self.tasks.spawn(task).id();
        self.shutdowns.insert(id, shutdown);
    }

    /// Waits until one has lost its last connection, and forgets it; `false` if there is none.
    async fn gone(&mut self) -> bool {
        let Some(ended) = self.tasks.join_next_with_id().await else { return false };
        let id = ended.map_or_else(|error| error.id(), |(id, _)| id);
        self.shutdowns.remove(&id);
        true
    }

    /// The current one has ended.
    fn end(&self, drained: bool) {
        self.shutdowns.values().for_each(if drained { Shutdown::drain } else { Shutdown::stop });
    }
}

async fn tick(alive: Option<&mut tokio::time::Interval>) {
    match alive {
        Some(alive) => drop(alive.tick().await),
        None => std::future::pending().await,
    }
}

/// Tells systemd, if it is there. It does not matter if it cannot be told.
fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!("cannot tell systemd: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_configuration_whose_last_connection_is_gone_is_forgotten() {
        let mut older = Older { number: 1, shutdowns: HashMap::new(), tasks: JoinSet::new() };
        let stays = Shutdown::new();
        let generation = |task, shutdown| Generation { sockets: Sockets::default(), shutdown, task };
        older.keep(generation(tokio::spawn(std::future::pending()), stays.clone()));
        for _ in 0..100 {
            older.keep(generation(tokio::spawn(async { Ok(()) }), Shutdown::new()));
        }
        for _ in 0..100 {
            assert!(older.gone().await);
        }
        assert_eq!((older.shutdowns.len(), older.tasks.len()), (1, 1));
        older.end(true);
        assert!(stays.is_draining());
    }
}

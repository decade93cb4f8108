//! A raw MTA, filters that do as they are told and write down what happens, and a captured log.
#![allow(dead_code, unreachable_pub, unused_imports)] // each test file uses its own part

pub mod frames;
mod log;
pub mod milter;
mod mta;
mod probe;

use std::path::PathBuf;
use std::time::Duration;

use tamis::server::{Counters, Listener, ServeError};
use tamis::{BoxFilter, Filter, Options, Peer, Server, Shutdown, SocketSpec, Verdict};
use tempfile::TempDir;
use tokio::task::JoinHandle;

pub use log::Captured;
pub use mta::{Frame, Mta};
pub use probe::{Act, Cx, Notes, Probe, State, go};

/// Nothing in these tests takes this long unless something hangs.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A server in a task of its own, on a unix socket.
pub struct Running {
    pub path: PathBuf,
    pub shutdown: Shutdown,
    pub counters: Counters,
    pub task: JoinHandle<Result<(), ServeError>>,
    _folder: TempDir,
}

/// Serves filters with some settings.
pub fn serve<F: Filter>(options: Options, make: impl Fn(&Peer) -> F + Send + Sync + 'static) -> Running {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("filter.sock");
    let listeners = tamis::bind(&[SocketSpec::Unix(path.clone())]).unwrap();
    serve_on(listeners, folder, path, options, make)
}

/// Serves clones of a probe.
pub fn serve_probe(options: Options, probe: &Probe) -> Running {
    let probe = probe.clone();
    serve(options, move |peer| probe.for_connection(peer.id))
}

/// Serves clones of a probe on a unix socket and a free TCP port, with an accept hook.
pub fn serve_accepting(
    options: Options,
    probe: &Probe,
    hook: impl Fn(&Peer) -> Result<(), tamis::BoxError> + Send + Sync + 'static,
) -> (Running, std::net::SocketAddr) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("filter.sock");
    let specs = [SocketSpec::Unix(path.clone()), "inet:0@127.0.0.1".parse().unwrap()];
    let listeners = tamis::bind(&specs).unwrap();
    let address = listeners[1].local_addr().unwrap();
    let probe = probe.clone();
    let server = Server::new(move |peer: &Peer| probe.for_connection(peer.id)).options(options).accept(hook);
    let (shutdown, counters) = (Shutdown::new(), server.counters());
    let task = tokio::spawn(server.serve(listeners, shutdown.clone()));
    (Running { path, shutdown, counters, task, _folder: folder }, address)
}

/// Serves clones of a probe, each hidden in a box.
pub fn serve_boxed(options: Options, probe: &Probe) -> Running {
    let probe = probe.clone();
    serve(options, move |peer| BoxFilter::new(probe.for_connection(peer.id)))
}

fn serve_on<F: Filter>(
    listeners: Vec<Listener>,
    folder: TempDir,
    path: PathBuf,
    options: Options,
    make: impl Fn(&Peer) -> F + Send + Sync + 'static,
) -> Running {
    let server = Server::new(make).options(options);
    let (shutdown, counters) = (Shutdown::new(), server.counters());
    let task = tokio::spawn(server.serve(listeners, shutdown.clone()));
    Running { path, shutdown, counters, task, _folder: folder }
}

impl Running {
    pub fn spec(&self) -> SocketSpec {
        SocketSpec::Unix(self.path.clone())
    }

    /// A connection that has said nothing yet.
    pub async fn connect(&self) -> Mta {
        Mta::unix(&self.path).await
    }

    /// A connection that is negotiated, everything offered.
    pub async fn mta(&self) -> Mta {
        let mut mta = self.connect().await;
        mta.negotiate().await;
        mta
    }

    /// Ends the server gently and waits for that.
    pub async fn drain(self) {
        self.shutdown.drain();
        self.ended().await;
    }

    /// Waits until serving is over.
    pub async fn ended(self) {
        within(self.task).await.unwrap().unwrap();
    }
}

/// Settings under which nothing happens by time.
pub fn patient() -> Options {
    let mut options = Options::default();
    options.stage_time = PATIENCE * 6;
    options.end_of_message_time = PATIENCE * 6;
    options.progress_every = PATIENCE * 6;
    options.write_time = PATIENCE * 6;
    options.drain_time = PATIENCE * 6;
    options
}

/// As [`patient`], with a policy.
pub fn on_failure(verdict: Verdict) -> Options {
    let mut options = patient();
    options.on_failure = verdict;
    options
}

/// Waits for something, but not for ever.
pub async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("this takes too long")
}

/// Waits until something holds that nobody tells about.
pub async fn until(mut holds: impl FnMut() -> bool) {
    within(async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

/// Serves clones of a probe on a free TCP port.
pub fn serve_tcp(options: Options, probe: &Probe) -> (Running, std::net::SocketAddr) {
    let folder = tempfile::tempdir().unwrap();
    let listeners = tamis::bind(&["inet:0@127.0.0.1".parse().unwrap()]).unwrap();
    let address = listeners[0].local_addr().unwrap();
    let probe = probe.clone();
    let make = move |peer: &Peer| probe.for_connection(peer.id);
    (serve_on(listeners, folder, PathBuf::new(), options, make), address)
}

//! Serving MTAs: listening, one task for each connection, shutting down.

mod accept;
mod admission;
mod allow;
mod budget;
pub(crate) mod call;
mod connection;
mod counters;
mod keeping;
mod later;
mod limits;
mod listener;
mod lost;
mod options;
mod resolve;
mod shutdown;
#[cfg(feature = "testing")]
mod single;
mod spare;
mod step;
mod stranger;
mod tap;
mod throttle;
mod unix;
mod watch;
mod witness;
mod work;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tamis_proto::Limits;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::task::TaskTracker;

use crate::filter::{BoxError, Filter, Peer};
use crate::message;
use crate::recorder::{FlightRecord, Observer};
use accept::accept;
use admission::Admission;
use allow::Hook;
use watch::{Ring, Watch};

pub use crate::permission::{in_usual_chroot, split_queue_directory};
pub use allow::{AllowList, NotAllowed};
pub use counters::{Buffered, Counters};
pub use ipnet::IpNet;
pub use limits::Limit;
pub use listener::{BindError, BindOptions, Listener, bind, bind_with};
pub use options::Options;
pub use resolve::{ResolveError, resolve};
pub use shutdown::Shutdown;
#[cfg(feature = "testing")]
pub(crate) use single::serve_single;
pub(crate) use witness::Witness;

/// Runs filters for the MTAs that connect to some listeners.
#[derive(Debug)]
pub struct Server<M> {
    make: M,
    accept: Option<Hook>,
    observer: Option<Observer>,
    options: Options,
    counters: Counters,
}

/// What all connections have in common.
#[derive(Debug)]
struct Shared {
    options: Options,
    /// Those of the options, which all sessions share.
    limits: Arc<Limits>,
    shutdown: Shutdown,
    counters: Counters,
    admission: Admission,
    watch: Arc<Watch>,
    bodies: message::Budget,
    witness: Witness,
    /// Who wants to have flight records.
    observer: Option<Observer>,
}

impl Shared {
    fn new(options: Options, shutdown: Shutdown, counters: Counters, witness: Witness) -> Self {
        Self {
            limits: Arc::new(options.limits),
            bodies: counters.bodies(&options),
            watch: Arc::new(Watch::new(&options)),
            options,
            shutdown,
            counters,
            admission: Admission::default(),
            witness,
            observer: None,
        }
    }
}

/// A listener broke down for good while the server was running.
#[derive(Debug, thiserror::Error)]
#[error("cannot accept connections on {address}: {source}")]
pub struct ServeError {
    /// The listener.
    pub address: String,
    /// What the system says.
    pub source: io::Error,
}

/// Serves until `shutdown`: for each connection `make` makes a filter. See [`Server`] for settings.
///
/// # Errors
///
/// When a listener breaks down. Nothing a peer does leads there.
pub async fn serve<F, M>(listeners: Vec<Listener>, make: M, shutdown: Shutdown) -> Result<(), ServeError>
where
    F: Filter,
    M: Fn(&Peer) -> F + Send + Sync + 'static,
{
    Server::new(make).serve(listeners, shutdown).await
}

/// Serves at one socket until the process ends: for programs that do nothing else. Blocks; everything runs on the
/// calling thread.
///
/// It handles no signals: a program that is to finish running messages at its end, or has a runtime of its own, calls
/// [`serve`].
///
/// ```no_run
/// # struct MyFilter;
/// # #[tamis::filter]
/// # impl MyFilter { fn data(&mut self) {} }
/// fn main() -> Result<(), tamis::BoxError> {
///     tamis::run("inet:8899@127.0.0.1", |_peer| MyFilter)
/// }
/// ```
///
/// # Errors
///
/// When the socket is none, nobody can listen there, or the listener breaks down.
#[doc(alias = "smfi_main")]
pub fn run<F, M>(socket: &str, make: M) -> Result<(), BoxError>
where
    F: Filter,
    M: Fn(&Peer) -> F + Send + Sync + 'static,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listeners = bind(&[socket.parse()?])?;
        Ok(serve(listeners, make, Shutdown::new()).await?)
    })
}

impl<F, M> Server<M>
where
    F: Filter,
    M: Fn(&Peer) -> F + Send + Sync + 'static,
{
    /// A server with default settings; `make` makes the filter of each connection.
    pub fn new(make: M) -> Self {
        let (options, counters) = (Options::default(), Counters::default());
        Self { make, accept: None, observer: None, options, counters }
    }

    /// Changes the settings.
    #[must_use]
    pub fn options(mut self, options: Options) -> Self {
        self.options = options;
        self
    }

    /// Has edits of the header checked before they are sent: see [`Options::strict`].
    #[must_use]
    pub fn strict(mut self) -> Self {
        self.options.strict = true;
        self
    }

    /// Asks about each connection whether it may be there, before anything is read from it and before there is a
    /// filter. An error closes it, and is logged as the reason. [`AllowList`] is the usual hook.
    ///
    /// The hook must be quick: nobody else can connect meanwhile.
    #[must_use]
    pub fn accept<E: Into<BoxError>>(
        mut self,
        hook: impl Fn(&Peer) -> Result<(), E> + Send + Sync + 'static,
    ) -> Self {
        self.accept = Some(Hook::new(hook));
        self
    }

    /// Keeps so many bytes of each connection's last frames, for records of what went wrong: see
    /// [`recorder`](crate::recorder).
    #[must_use]
    pub fn flight_recorder(mut self, bytes: usize) -> Self {
        self.options.flight_recorder = bytes;
        self
    }

    /// Hands each flight record to a function, besides logging it. It must be quick: the connection waits for it.
    #[must_use]
    pub fn on_flight_record(mut self, observe: impl Fn(&FlightRecord) + Send + Sync + 'static) -> Self {
        self.observer = Some(Observer::new(observe));
        self
    }

    /// Counts on where another server stopped: connections get numbers that it has not given, and those that it still
    /// has are among the open ones. Limits are on what both have together: on connections, on
    /// [`Options::buffers`], and on bodies where [`Options::body`] is the same.
    #[must_use]
    pub fn count_in(mut self, counters: Counters) -> Self {
        self.counters = counters;
        self
    }

    /// What the server counts, to be looked at while it runs.
    pub fn counters(&self) -> Counters {
        self.counters.clone()
    }

    /// Serves until `shutdown`. Then accepts no more connections, lets messages in work finish for up to
    /// [`Options::drain_time`], closes all connections and removes unix sockets. After [`Shutdown::retire`] it goes on
    /// until the last connection is closed by its MTA.
    ///
    /// # Errors
    ///
    /// When a listener breaks down; connections are ended as by a shutdown before.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, everything ends at once as by [`Shutdown::stop`].
    pub async fn serve(self, listeners: Vec<Listener>, shutdown: Shutdown) -> Result<(), ServeError> {
        let Self { make, accept: hook, observer, options, counters } = self;
        let drain_time = options.drain_time;
        let (make, hook) = (Arc::new(make), Arc::new(hook));
        let shared = Shared::new(options, shutdown.clone(), counters, Witness::default());
        let shared = Arc::new(Shared { observer, ..shared });
        let connections = TaskTracker::new();
        // Connections are tasks of their own and would outlive this future.
        let _stop = StopAtEnd(shared.clone());
        let mut watching = JoinSet::new();
        watching.spawn({
            let watch = shared.watch.clone();
            async move { watch.run().await }
        });
        let mut accepting = JoinSet::new();
        for listener in listeners {
            let (make, hook) = (make.clone(), hook.clone());
            let (shared, connections) = (shared.clone(), connections.clone());
            accepting.spawn(async move {
                let broken = tokio::select! {
                    () = shared.shutdown.retiring() => return Ok(()),
                    broken = accept(&listener, Option::as_ref(&hook), &*make, &shared, &connections) => broken,
                };
                Err(ServeError { address: listener.to_string(), source: broken })
            });
        }
        let mut result = Ok(());
        tokio::select! {
            biased;
            // Looked at first: it ends accepting, too, which is no breakdown then.
            () = shutdown.retiring() => {}
            Some(ended) = accepting.join_next() => {
                result = ended.unwrap_or(Ok(()));
                shutdown.drain();
            }
        }
        while accepting.join_next().await.is_some() {}
        connections.close();
        tokio::select! {
            () = connections.wait() => return result,
            () = shutdown.draining() => {}
        }
        shared.watch.ring(Ring::Drain);
        tokio::select! {
            () = connections.wait() => {}
            () = shutdown.stopped() => {}
            () = sleep(drain_time) => {
                tracing::warn!("messages are still in work after {drain_time:?}, ending them");
            }
        }
        shutdown.stop();
        shared.watch.ring(Ring::Stop);
        // Handlers of the end have a time limit of their own.
        let _ = timeout(Duration::from_secs(20), connections.wait()).await;
        result
    }
}

/// Stops the connections when it is dropped.
struct StopAtEnd(Arc<Shared>);

impl Drop for StopAtEnd {
    fn drop(&mut self) {
        self.0.shutdown.stop();
        self.0.watch.ring(Ring::Stop);
    }
}

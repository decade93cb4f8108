//! Accepting connections, and a task for each.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use super::Shared;
use super::admission::Place;
use super::allow::Hook;
use super::call::{self, Ended};
use super::connection::Connection;
use super::limits::Limit;
use super::listener::Listener;
use super::throttle::Throttle;
use crate::filter::{Filter, Peer};

/// How often in a row accepting may fail for no transient reason before the listener is given up.
const MAX_FAILURES: u32 = 16;

/// Accepts connections for ever; returns the error that ends it.
pub(super) async fn accept<F, M>(
    listener: &Listener,
    hook: Option<&Hook>,
    make: &M,
    shared: &Arc<Shared>,
    tasks: &TaskTracker,
) -> io::Error
where
    F: Filter,
    M: Fn(&Peer) -> F + Send + Sync + 'static,
{
    let mut failures = 0;
    let (errors, refusals) = (Throttle::default(), Throttle::default());
    loop {
        let (stream, address, credentials) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                failures += u32::from(!is_transient(&error));
                if failures == MAX_FAILURES {
                    return error;
                }
                let limit = is_shortage(&error).then_some(Limit::OpenFiles);
                if let Some(limit) = limit {
                    shared.counters.exceed(limit);
                }
                if let Some(more) = errors.pass() {
                    let limit = limit.map(tracing::field::display);
                    tracing::error!(limit, "cannot accept a connection on {listener}: {error}{more}");
                }
                sleep(Duration::from_millis(100) * (failures + 1)).await;
                continue;
            }
        };
        failures = 0;
        let peer = Peer { id: shared.counters.next_id(), address, credentials };
        let reason = listener.refuses(&peer).map(|why| why.to_string());
        if let Some(reason) = reason.or_else(|| hook?.refuses(&peer)) {
            shared.counters.refuse();
            if let Some(more) = refusals.pass() {
                tracing::warn!(peer = %peer.address, "connection refused: {reason}{more}");
            }
            continue;
        }
        let Ok(place) = Place::take(shared, peer) else { continue };
        shared.counters.opened();
        // Of the highest level, as a span that is filtered out is missing in the lines about errors too.
        let span = tracing::error_span!("connection", id = place.peer().id);
        let filter = match call::guard(|| make(place.peer())) {
            Ok(filter) => filter,
            Err(text) => {
                tracing::error!(parent: &span, "no filter could be made: panic: {text}");
                continue;
            }
        };
        tracing::debug!(parent: &span, peer = %place.peer().address, "connection accepted");
        let connection = Connection::new(stream, filter, shared.clone(), place);
        tasks.spawn(hold(connection).instrument(span));
    }
}

/// Runs a connection. Panics that get here are those of destructors, which nothing can be done about.
pub(super) async fn hold<F: Filter>(connection: Box<Connection<F>>) {
    // Made in here: what is handed to an `async fn` takes its room twice.
    let mut run = pin!(connection.run());
    if let Ended::Panicked(text) = poll_fn(|task| call::poll(run.as_mut(), task)).await {
        tracing::error!("connection ended: a part of the filter panicked while it was dropped: {text}");
    }
}

/// Errors of a connection that is gone already, or of a machine that is short of something for a while.
fn is_transient(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted, OutOfMemory, WouldBlock};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted | OutOfMemory | WouldBlock)
        || is_shortage(error)
}

/// EMFILE, ENFILE and ENOBUFS, which have no kind of their own.
fn is_shortage(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(24 | 23 | 105))
}

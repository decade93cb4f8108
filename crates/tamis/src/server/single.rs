//! One connection that was made otherwise than by a listener.

use std::sync::Arc;

use tracing::Instrument;

use super::accept::hold;
use super::admission::Place;
use super::connection::Connection;
use super::witness::Witness;
use super::{Counters, Options, Shared, Shutdown};
use crate::filter::{Filter, Peer};
use crate::stream::Stream;

/// Serves one connection to its end, as a server does that has no other.
pub(crate) async fn serve_single<F: Filter>(
    stream: Stream,
    peer: Peer,
    filter: F,
    options: Options,
    witness: Witness,
) {
    let shared = Arc::new(Shared::new(options, Shutdown::new(), Counters::default(), witness));
    let Ok(place) = Place::take(&shared, peer) else { return };
    shared.counters.opened();
    let span = tracing::error_span!("connection", id = place.peer().id);
    hold(Connection::new(stream, filter, shared, place)).instrument(span).await;
}

//! Serving requests: few at a time, and none for long.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::listen::{Door, Listener, Listeners, Socket};
use super::routes::{Page, ReloadSender, answer};
use super::state::State;

/// Connections of a socket that are served at the same time; others wait to be accepted.
const MAX_CONNECTIONS: usize = 32;

/// How long a request may take to come.
const REQUEST_TIME: Duration = Duration::from_secs(5);

/// How long a connection may take in all, so that nobody keeps one who reads slowly.
const METRICS_TIME: Duration = Duration::from_secs(15);

/// The same, where a configuration may have to be read meanwhile.
const ADMIN_TIME: Duration = Duration::from_mins(2);

/// Bytes of a request's head.
const MAX_HEAD: usize = 16 * 1024;

/// Header fields of a request.
const MAX_FIELDS: usize = 64;

/// Serves at all sockets until `end` is there, or it is dropped. Connections that are open by then get their answer: whoever
/// asked for a reload that moves the socket hears of it.
pub(crate) async fn serve(
    state: Arc<State>,
    listeners: Listeners,
    reload: ReloadSender,
    end: impl Future<Output = ()>,
) {
    let mut serving = JoinSet::new();
    for listener in listeners.0 {
        serving.spawn(accept(listener, state.clone(), reload.clone()));
    }
    // Dropped with it, all stop to accept.
    end.await;
}

async fn accept(listener: Listener, state: Arc<State>, reload: ReloadSender) {
    let Listener { door, socket, .. } = listener;
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let place = places.clone().acquire_owned().await.expect("nobody closes it");
        let stream: Box<dyn Stream> = match socket.accept().await {
            Ok(stream) => stream,
            Err(error) => {
                // The client is gone again, or the process has too many files open, which passes.
                tracing::debug!("cannot accept a connection for metrics or administration: {error}");
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (state, reload) = (state.clone(), reload.clone());
        // Its time is limited, so that it needs nobody to end it.
        tokio::spawn(async move {
            connection(door, stream, &state, &reload).await;
            drop(place);
        });
    }
}

/// Answers one request.
async fn connection(door: Door, stream: Box<dyn Stream>, state: &Arc<State>, reload: &ReloadSender) {
    let service = service_fn(|request: Request<Incoming>| async move {
        Ok::<Response<Page>, Infallible>(answer(door, request.method(), request.uri(), state, reload).await)
    });
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_TIME)
        .max_header_size(MAX_HEAD)
        .max_headers(MAX_FIELDS)
        // A connection without a request would keep its place from others.
        .keep_alive(false);
    let most = match door {
        Door::Metrics => METRICS_TIME,
        Door::Admin => ADMIN_TIME,
    };
    match timeout(most, builder.serve_connection(TokioIo::new(stream), service)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!("connection for metrics or administration: {error}"),
        Err(_) => tracing::debug!("connection for metrics or administration took longer than {most:?}"),
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Socket {
    async fn accept(&self) -> io::Result<Box<dyn Stream>> {
        match self {
            Self::Tcp(listener) => Ok(Box::new(listener.accept().await?.0)),
            Self::Unix { listener, .. } => Ok(Box::new(listener.accept().await?.0)),
        }
    }
}

//! Running a handler: its panic, its time limit, progress meanwhile, and the MTA that goes away.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context as Task, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tamis_proto::Output;
use tokio::time::{Instant, timeout};

use super::budget::Held;
use super::lost::Lost;
use super::shutdown::Shutdown;
use super::tap::Tap;
use super::watch::{Patience, Ring, Watch};
use crate::stream::Stream;

/// How a handler ended.
pub(crate) enum Ended<T> {
    Done(T),
    /// With this text.
    Panicked(String),
    TimedOut(Duration),
    /// It was cancelled, nobody waits for an answer any more.
    Lost(Lost),
}

/// What goes on around a handler while it waits.
pub(super) struct Around<'a> {
    pub(super) stream: &'a mut Stream,
    /// Replies to earlier events, which must not wait for this one.
    pub(super) pending: &'a mut Output,
    /// What the MTA sends meanwhile.
    pub(super) buf: &'a mut BytesMut,
    pub(super) held: &'a mut Held,
    /// Most bytes of it; the MTA has to wait with more.
    pub(super) read_ahead: usize,
    pub(super) limit: Duration,
    /// Of the connection, which waits for nothing else meanwhile.
    pub(super) patience: &'a Patience,
    /// Bytes that keep the MTA waiting, and how often it wants them.
    pub(super) progress: Option<(&'static [u8], Duration)>,
    pub(super) write_time: Duration,
    pub(super) shutdown: &'a Shutdown,
    pub(super) watch: &'a Watch,
    pub(super) tap: &'a mut Tap,
}

/// Calls a plain function, catching its panic.
pub(crate) fn guard<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|panic| panic_text(&*panic))
}

/// Runs a handler, which is pinned outside as it would take its room twice in here. One that is ready at once costs no
/// timer.
pub(super) async fn run<T>(mut handler: Pin<&mut impl Future<Output = T>>, around: Around<'_>) -> Ended<T> {
    let first = poll_fn(|task| Poll::Ready(poll(handler.as_mut(), task))).await;
    if let Poll::Ready(ended) = first {
        return ended;
    }
    let Around {
        stream,
        pending,
        buf,
        held,
        read_ahead,
        limit,
        patience,
        progress,
        write_time,
        shutdown,
        watch,
        tap,
    } = around;
    tap.says(pending);
    // Boxed, as it is mostly written already, and all that wait for their handlers would have room for it.
    if pending.has_remaining()
        && let Err(lost) = Box::pin(write(stream, pending, write_time, shutdown)).await
    {
        return Ended::Lost(lost);
    }
    tap.wrote_all();
    let begin = Instant::now();
    let deadline = begin.checked_add(limit);
    let mut next_progress = progress.and_then(|(_, every)| begin.checked_add(every));
    loop {
        patience.set_end(deadline.into_iter().chain(next_progress).min());
        let ended = poll_fn(|task| {
            if let Poll::Ready(ended) = poll(handler.as_mut(), task) {
                return Poll::Ready(Some(ended));
            }
            if watch.is_rung(Ring::Stop) {
                return Poll::Ready(Some(Ended::Lost(Lost::Stopped)));
            }
            if patience.poll().is_ready() {
                return Poll::Ready(None);
            }
            poll_gone(stream, buf, held, read_ahead, task).map(|()| Some(Ended::Lost(Lost::Gone)))
        });
        if let Some(ended) = ended.await {
            return ended;
        }
        let now = Instant::now();
        let Some((mut frame, every)) = progress.filter(|_| deadline.is_none_or(|deadline| now < deadline))
        else {
            return Ended::TimedOut(limit);
        };
        tap.says_frame(frame);
        if let Err(lost) = Box::pin(write(stream, &mut frame, write_time, shutdown)).await {
            return Ended::Lost(lost);
        }
        next_progress = Instant::now().checked_add(every);
    }
}

/// Runs a handler whose answer the MTA does not wait for, or cannot.
pub(super) async fn run_alone<T>(
    mut handler: Pin<&mut impl Future<Output = T>>,
    limit: Duration,
) -> Ended<T> {
    let to_its_end = poll_fn(|task| poll(handler.as_mut(), task));
    timeout(limit, to_its_end).await.unwrap_or(Ended::TimedOut(limit))
}

pub(crate) fn poll<F: Future + ?Sized>(handler: Pin<&mut F>, task: &mut Task<'_>) -> Poll<Ended<F::Output>> {
    match catch_unwind(AssertUnwindSafe(|| handler.poll(task))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(done)) => Poll::Ready(Ended::Done(done)),
        Err(panic) => Poll::Ready(Ended::Panicked(panic_text(&*panic))),
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message").to_owned()
}

/// Ready when the MTA has closed the connection; what it sends before is kept.
fn poll_gone(
    stream: &mut Stream,
    buf: &mut BytesMut,
    held: &mut Held,
    read_ahead: usize,
    task: &mut Task<'_>,
) -> Poll<()> {
    while buf.len() < read_ahead {
        if ready!(stream.poll_readable(task)).is_err() {
            return Poll::Ready(());
        }
        buf.reserve(4096);
        if !held.input(buf.capacity()) {
            break;
        }
        if matches!(ready!(stream.poll_read(buf, task)), Ok(0) | Err(_)) {
            return Poll::Ready(());
        }
    }
    Poll::Pending
}

/// Writes everything, unless the server stops meanwhile; the MTA must take some of it within each `time`.
pub(super) async fn write(
    stream: &Stream,
    bytes: &mut impl Buf,
    time: Duration,
    shutdown: &Shutdown,
) -> Result<(), Lost> {
    tokio::select! {
        biased;
        written = stream.write(bytes, time) => written.map_err(|error| match error.kind() {
            std::io::ErrorKind::TimedOut => Lost::Unread(time),
            _ => Lost::Io(error),
        }),
        () = shutdown.stopped() => Err(Lost::Stopped),
    }
}

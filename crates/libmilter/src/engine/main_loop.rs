//! What `smfi_main` does itself: signals, timeouts, the end.

use std::ffi::c_int;
use std::io;
use std::os::fd::{AsFd, AsRawFd, IntoRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::pool::LOOK;
use super::watch::Watch;
use super::{Engine, LEAVE};
use crate::connection::Ending;
use crate::context::SLOTS;
use crate::descr::Filter;
use crate::listen::Listener;
use crate::metrics::{self, Publisher};
use crate::process::Stop;
use crate::settings::Settings;
use crate::{log, process, sys, trace};

/// How long the end may take (`MI_CHK_TIME`), and as long again while last callbacks are to come.
const GRACE: Duration = Duration::from_secs(5);

/// Serves connections until something asks to stop.
///
/// # Errors
///
/// When the system lacks something that is needed to begin or to go on.
pub(crate) fn run(
    filter: Arc<Filter>,
    settings: Settings,
    listener: impl FnOnce() -> Option<Listener>,
) -> io::Result<()> {
    sys::ignore_broken_pipes();
    let signals = sys::take_signals(&[libc::SIGHUP, libc::SIGTERM, libc::SIGINT])?;
    // Not before: whoever sees the socket may already send a signal.
    let listener = listener().ok_or_else(|| io::Error::other("nowhere to listen"))?;
    let bell = sys::event_fd()?;
    let engine = Arc::new(Engine::new(filter, settings, listener)?);
    if let Some(timeout) = engine.settings.timeout {
        process::override_timeout(timeout);
    }
    if let Some(to) = &engine.settings.trace {
        trace::begin(to);
    }
    let publisher = engine.publish();
    // A signal handler of the program may ring it at any time from now on, so it stays.
    let ringer = bell.try_clone()?;
    process::set_bell(ringer.into_raw_fd());
    engine.start_thread()?;
    log::info(format_args!("Tamis libmilter {} is ready", env!("CARGO_PKG_VERSION")));
    let mut swept = Instant::now();
    let mut watch = Watch::new();
    while process::stopping() == Stop::No && !engine.accepting.has_failed() {
        let mut time = until_sweep(swept);
        if let Some(rest) = engine.accepting.rest() {
            time = Some(time.map_or(rest, |time| time.min(rest)));
        }
        if engine.pool.is_scarce() {
            time = Some(time.map_or(LOOK, |time| time.min(LOOK)));
        }
        engine.wait(&signals, &bell, time)?;
        if engine.pool.is_scarce() {
            watch.look(&engine);
        }
        engine.accepting.wake(&engine.epoll);
        if until_sweep(swept).is_some_and(|time| time.is_zero()) {
            swept = Instant::now();
            sweep();
        }
    }
    let failed = engine.accepting.has_failed();
    engine.end(&signals, &bell)?;
    drop(publisher);
    if failed { Err(io::Error::other("no more connections can be accepted")) } else { Ok(()) }
}

fn obey(signal: c_int) {
    process::stop(if signal == libc::SIGINT { Stop::Now } else { Stop::Soon });
}

impl Engine {
    /// Waits for a signal, the bell or the timer of the pool, and does what signals mean.
    fn wait(&self, signals: &OwnedFd, bell: &OwnedFd, time: Option<Duration>) -> io::Result<()> {
        let timer = self.pool.timer();
        let [signal, rung, set_off] = sys::wait_readable([signals.as_fd(), bell.as_fd(), timer], time)?;
        if signal && let Some(number) = sys::next_signal(signals.as_fd()) {
            obey(number);
        }
        for (fd, _) in [(bell.as_fd(), rung), (timer, set_off)].into_iter().filter(|(_, ready)| *ready) {
            let _ = sys::read(fd, &mut [0; 8]);
        }
        Ok(())
    }

    /// Begins to count and to publish, if that is wanted.
    fn publish(self: &Arc<Self>) -> Option<Publisher> {
        let to = self.settings.metrics.as_ref()?;
        let engine = Arc::clone(self);
        let published =
            metrics::publish(to, self.filter.display_name().into_owned(), move || engine.pool.gauges());
        published
            .inspect_err(|error| log::error(format_args!("cannot publish metrics to {to}: {error}")))
            .ok()
    }

    /// Lets nobody in any more, ends what there is, and lets the threads go.
    fn end(&self, signals: &OwnedFd, bell: &OwnedFd) -> io::Result<()> {
        self.accepting.close();
        let until = Instant::now() + GRACE;
        while self.connections.load(Ordering::SeqCst) > 0 {
            let left = until.saturating_duration_since(Instant::now());
            let all = process::stopping() == Stop::Now || left <= Duration::from_secs(1);
            let ending = dismiss(all);
            // The others are in callbacks that do not return. These get their last callbacks, also from a busy machine.
            if left.is_zero() && (ending == 0 || until.elapsed() > GRACE) {
                break;
            }
            let look = Duration::from_millis(500);
            self.wait(signals, bell, Some(if left.is_zero() { look } else { left.min(look) }))?;
        }
        self.over.store(true, Ordering::SeqCst);
        // Every thread sees it, as nobody takes it off.
        let leave = sys::event_fd()?;
        self.epoll.add_for_all(leave.as_fd(), LEAVE)?;
        sys::set_off(leave.as_raw_fd());
        while self.pool.threads() > 0 {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                log::warning(format_args!(
                    "{} callbacks are still running at the end",
                    self.connections.load(Ordering::SeqCst)
                ));
                break;
            }
            self.wait(signals, bell, Some(left))?;
        }
        Ok(())
    }
}

/// Ends connections that no thread has: those without an open message, or all. How many are ending by now.
fn dismiss(all: bool) -> usize {
    let mut ending = 0;
    SLOTS.for_each(|connection| {
        if !connection.running && (all || !connection.session.in_message()) {
            connection.ending = Some(Ending::Stopped);
            sys::shut_down(connection.fd());
        }
        ending += usize::from(connection.ending.is_some());
    });
    ending
}

/// How long until connections should be looked at for those on which nothing happens.
fn until_sweep(last: Instant) -> Option<Duration> {
    let timeout = process::timeout()?;
    // Nobody is served late for it: with none open, a new one makes nobody wake.
    let every = (timeout / 10).clamp(Duration::from_secs(1), Duration::from_mins(1));
    Some(every.saturating_sub(last.elapsed()))
}

/// Ends connections on which nothing happened for too long.
fn sweep() {
    let Some(timeout) = process::timeout() else { return };
    let now = sys::coarse_seconds();
    SLOTS.for_each(|connection| {
        if connection.is_overdue(now, timeout) {
            connection.ending = Some(Ending::TimedOut);
            // Makes it ready, so that a thread of the pool takes it up.
            sys::shut_down(connection.fd());
        }
    });
}

//! The threads that serve connections.
//!
//! One waits at the beginning, and takes up whatever becomes ready. Who finds that none waits any more sets a timer, on
//! which `smfi_main` looks after them (`watch`): it starts others in place of those that are in callbacks that take
//! their time. So callbacks that return at once are served by as few threads as can do it, however many connections
//! there are: with two of them waiting, the second would be woken whenever the first is not back yet. Who waited in
//! vain for a while leaves, but for the last one.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::serve::Worker;
use super::{Engine, LEAVE, LISTENER};
use crate::context::Handle;
use crate::metrics::Gauges;
use crate::{log, process, sys};

/// The threads.
#[derive(Debug)]
pub(super) struct Pool {
    bound: usize,
    threads: AtomicUsize,
    /// Threads that wait for something to do.
    waiting: AtomicUsize,
    /// None did, a moment ago: `smfi_main` looks after them.
    scarce: AtomicBool,
    /// Makes it do so.
    timer: OwnedFd,
    /// How far each thread is; `smfi_main` compares.
    progress: Mutex<Vec<Arc<Progress>>>,
}

/// How far a thread is: odd while it has a connection, and another number each time.
pub(super) type Progress = AtomicU32;

/// After so long without anything to do a thread leaves.
const IDLE: Duration = Duration::from_secs(20);
/// Threads that stay.
const LEAST: usize = 1;
/// How often `smfi_main` looks after threads while none waits.
pub(super) const LOOK: Duration = Duration::from_millis(1);

impl Pool {
    pub(super) fn new(bound: usize) -> io::Result<Self> {
        Ok(Self {
            bound,
            threads: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            scarce: AtomicBool::new(false),
            timer: sys::timer_fd()?,
            progress: Mutex::new(Vec::new()),
        })
    }

    pub(super) const fn bound(&self) -> usize {
        self.bound
    }

    pub(super) fn threads(&self) -> usize {
        self.threads.load(Ordering::SeqCst)
    }

    pub(super) fn gauges(&self) -> Gauges {
        let threads = self.threads();
        let waiting = self.waiting.load(Ordering::SeqCst);
        Gauges { threads, threads_busy: threads.saturating_sub(waiting), threads_bound: self.bound }
    }

    /// Whether a thread waits for something to do.
    pub(super) fn has_waiting(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) > 0
    }

    /// Whether `smfi_main` has to look after threads.
    pub(super) fn is_scarce(&self) -> bool {
        self.scarce.load(Ordering::SeqCst)
    }

    /// Can be read when it has to begin with that.
    pub(super) fn timer(&self) -> BorrowedFd<'_> {
        self.timer.as_fd()
    }

    /// A thread waits: `smfi_main` need not look any more.
    pub(super) fn relax(&self) {
        self.scarce.store(false, Ordering::SeqCst);
        // It may have gone just now.
        if !self.has_waiting() {
            self.scarce.store(true, Ordering::SeqCst);
        }
    }

    /// How far each thread is.
    pub(super) fn progress(&self) -> Vec<(Arc<Progress>, u32)> {
        let progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        progress.iter().map(|thread| (Arc::clone(thread), thread.load(Ordering::Relaxed))).collect()
    }

    /// A waiting thread got something to do.
    fn took_work(&self) {
        if self.waiting.fetch_sub(1, Ordering::SeqCst) == 1 && !self.scarce.swap(true, Ordering::SeqCst) {
            sys::set_timer(self.timer.as_fd(), LOOK);
        }
    }

    /// A thread has nothing to do: whether it may leave, as others wait.
    fn may_leave(&self) -> bool {
        let others = |waiting: usize| (waiting > LEAST).then(|| waiting - 1);
        self.waiting.fetch_update(Ordering::SeqCst, Ordering::SeqCst, others).is_ok()
    }
}

impl Engine {
    /// Starts a thread.
    ///
    /// # Errors
    ///
    /// When the system has none.
    pub(super) fn start_thread(self: &Arc<Self>) -> io::Result<()> {
        let engine = Arc::clone(self);
        let mut builder = std::thread::Builder::new().name("milter".to_owned());
        if let Some(size) = sys::default_stack_size() {
            builder = builder.stack_size(size);
        }
        // It counts from now on, so that nobody starts another one meanwhile.
        self.pool.threads.fetch_add(1, Ordering::SeqCst);
        self.pool.waiting.fetch_add(1, Ordering::SeqCst);
        let started = builder.spawn(move || engine.work());
        if started.is_err() {
            self.pool.waiting.fetch_sub(1, Ordering::SeqCst);
            self.pool.threads.fetch_sub(1, Ordering::SeqCst);
        }
        started.map(drop)
    }

    /// What a thread does.
    fn work(self: Arc<Self>) {
        let progress = Arc::new(Progress::new(0));
        let all = || self.pool.progress.lock().unwrap_or_else(PoisonError::into_inner);
        all().push(Arc::clone(&progress));
        self.serve_until_done(&progress);
        all().retain(|one| !Arc::ptr_eq(one, &progress));
        if self.pool.threads.fetch_sub(1, Ordering::SeqCst) == 1 {
            process::ring();
        }
    }

    fn serve_until_done(&self, progress: &Progress) {
        let mut worker = Worker::new();
        loop {
            let ready = match self.epoll.wait(IDLE) {
                Ok(None) if self.pool.may_leave() => return,
                Ok(None) => continue,
                Ok(Some(ready)) => ready,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    log::error(format_args!("cannot wait for connections: {error}"));
                    self.pool.took_work();
                    return process::stop(process::Stop::Now);
                }
            };
            self.pool.took_work();
            match ready.token {
                LEAVE => return,
                LISTENER => self.accept(),
                token => {
                    progress.fetch_add(1, Ordering::Relaxed);
                    worker.turn(self, Handle::from_token(token), ready.hung_up);
                    progress.fetch_add(1, Ordering::Relaxed);
                }
            }
            // It may have been away for longer than `smfi_main` has waited.
            if self.is_over() {
                return;
            }
            self.pool.waiting.fetch_add(1, Ordering::SeqCst);
        }
    }
}

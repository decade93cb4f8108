//! How many threads there are.
//!
//! Two wait at the beginning. While at least one waits, whatever becomes ready is taken up at once. When none does,
//! `smfi_main` looks every millisecond whether threads come back: those that do not are in a callback that takes its
//! time, and others are started in their place, up to the bound, so that as many as there are processors are always
//! free for what comes. Callbacks that return at once are served by a few threads, however many connections there are.
//! Who waited in vain for a while leaves, but for the last two.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::serve::Worker;
use super::{Engine, LEAVE, LISTENER};
use crate::context::Handle;
use crate::metrics::Gauges;
use crate::settings::THREADS;
use crate::{log, process, sys};

/// The threads.
#[derive(Debug)]
pub(super) struct Pool {
    bound: usize,
    /// Threads that can run at the same time.
    processors: usize,
    threads: AtomicUsize,
    /// Threads that wait for something to do.
    waiting: AtomicUsize,
    /// None did, a moment ago: `smfi_main` looks after them.
    scarce: AtomicBool,
    /// How far each thread is; `smfi_main` compares.
    progress: Mutex<Vec<Arc<Progress>>>,
    said_full: AtomicBool,
}

/// How far a thread is: odd while it has a connection, and another number each time.
type Progress = AtomicU32;

/// After so long without anything to do a thread leaves.
const IDLE: Duration = Duration::from_secs(20);
/// Threads that stay.
const LEAST: usize = 2;
/// How often `smfi_main` looks after threads while none waits.
pub(super) const LOOK: Duration = Duration::from_millis(1);
/// After so many looks at threads that wait, it stops.
const CALM: u32 = 50;

/// What `smfi_main` remembers from one look to the next.
#[derive(Debug, Default)]
pub(super) struct Watch {
    before: Vec<(Arc<Progress>, u32)>,
    calm: u32,
}

impl Pool {
    pub(super) fn new(bound: usize) -> Self {
        Self {
            bound,
            processors: std::thread::available_parallelism().map_or(1, Into::into),
            threads: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            scarce: AtomicBool::new(false),
            progress: Mutex::new(Vec::new()),
            said_full: AtomicBool::new(false),
        }
    }

    pub(super) fn threads(&self) -> usize {
        self.threads.load(Ordering::SeqCst)
    }

    pub(super) fn gauges(&self) -> Gauges {
        let threads = self.threads();
        let waiting = self.waiting.load(Ordering::SeqCst);
        Gauges { threads, threads_busy: threads.saturating_sub(waiting), threads_bound: self.bound }
    }

    /// Whether `smfi_main` has to look after threads.
    pub(super) fn is_scarce(&self) -> bool {
        self.scarce.load(Ordering::SeqCst)
    }

    /// A waiting thread got something to do.
    fn took_work(&self) {
        if self.waiting.fetch_sub(1, Ordering::SeqCst) == 1 && !self.scarce.swap(true, Ordering::SeqCst) {
            process::ring();
        }
    }

    /// A thread has nothing to do: whether it may leave, as others wait.
    fn may_leave(&self) -> bool {
        let others = |waiting: usize| (waiting > LEAST).then(|| waiting - 1);
        self.waiting.fetch_update(Ordering::SeqCst, Ordering::SeqCst, others).is_ok()
    }

    /// Threads that have had the same connection since the last look.
    fn stuck(&self, watch: &mut Watch) -> usize {
        let progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let now: Vec<_> =
            progress.iter().map(|thread| (Arc::clone(thread), thread.load(Ordering::Relaxed))).collect();
        drop(progress);
        // Threads that left are gone from one of the two, the others are in the same order.
        let mut before = watch.before.iter();
        let is_stuck = |(thread, at): &&(Arc<Progress>, u32)| {
            at % 2 == 1
                && before.by_ref().find(|(one, _)| Arc::ptr_eq(one, thread)).is_some_and(|(_, was)| was == at)
        };
        let stuck = now.iter().filter(is_stuck).count();
        watch.before = now;
        stuck
    }
}

impl Engine {
    /// Starts the first threads.
    ///
    /// # Errors
    ///
    /// When the system has none.
    pub(super) fn start_threads(self: &Arc<Self>) -> std::io::Result<()> {
        (0..LEAST.min(self.pool.bound)).try_for_each(|_| self.start_thread())
    }

    /// Looks whether there are threads for what comes, and starts some if not.
    pub(super) fn look_after_threads(self: &Arc<Self>, watch: &mut Watch) {
        let pool = &self.pool;
        if pool.waiting.load(Ordering::SeqCst) > 0 {
            watch.calm += 1;
            watch.before.clear();
            if watch.calm > CALM {
                watch.calm = 0;
                pool.scarce.store(false, Ordering::SeqCst);
                // One may have gone just now.
                if pool.waiting.load(Ordering::SeqCst) == 0 {
                    pool.scarce.store(true, Ordering::SeqCst);
                }
            }
            return;
        }
        watch.calm = 0;
        let free = pool.threads().saturating_sub(pool.stuck(watch));
        for _ in free..pool.processors {
            if pool.threads() >= pool.bound {
                if free == 0 && !pool.said_full.swap(true, Ordering::Relaxed) {
                    log::warning(format_args!(
                        "all {} threads are in callbacks: further commands wait ({THREADS} sets how many there may be)",
                        pool.bound
                    ));
                }
                return;
            }
            if let Err(error) = self.start_thread() {
                if !pool.said_full.swap(true, Ordering::Relaxed) {
                    log::warning(format_args!(
                        "cannot start another thread, commands may have to wait: {error}"
                    ));
                }
                return;
            }
        }
    }

    fn start_thread(self: &Arc<Self>) -> std::io::Result<()> {
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
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
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

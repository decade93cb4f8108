//! How many threads there are.
//!
//! While one waits, whatever becomes ready is taken up at once. So when the last one that waits is given something to
//! do, another one is started, up to the bound; who waited in vain for a while leaves, but for the last two.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use super::serve::Worker;
use super::{Engine, LEAVE, LISTENER};
use crate::context::Handle;
use crate::{log, process, sys};

/// The count of threads.
#[derive(Debug)]
pub(super) struct Pool {
    bound: usize,
    threads: AtomicUsize,
    /// Threads that wait for something to do.
    waiting: AtomicUsize,
    said_full: AtomicBool,
}

/// After so long without anything to do a thread leaves.
const IDLE: Duration = Duration::from_secs(20);

impl Pool {
    pub(super) fn new(bound: usize) -> Self {
        Self {
            bound,
            threads: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            said_full: AtomicBool::new(false),
        }
    }

    pub(super) fn threads(&self) -> usize {
        self.threads.load(Ordering::SeqCst)
    }

    /// A waiting thread got something to do; whether none is waiting now.
    fn took_work(&self) -> bool {
        self.waiting.fetch_sub(1, Ordering::SeqCst) == 1
    }

    /// A thread has nothing to do: whether it may leave, as another one waits.
    fn may_leave(&self) -> bool {
        let others = |waiting: usize| (waiting > 2).then(|| waiting - 1);
        self.waiting.fetch_update(Ordering::SeqCst, Ordering::SeqCst, others).is_ok()
    }
}

impl Engine {
    /// Starts a thread, if the bound allows it.
    ///
    /// # Errors
    ///
    /// When the system has no more threads.
    pub(super) fn start_thread(self: &Arc<Self>) -> std::io::Result<()> {
        let more = |threads: usize| (threads < self.pool.bound).then_some(threads + 1);
        if self.pool.threads.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more).is_err() {
            if !self.pool.said_full.swap(true, Ordering::Relaxed) {
                log::warning(format_args!(
                    "all {} threads are in callbacks: further commands wait (TAMIS_LIBMILTER_THREADS sets how many there \
                     are)",
                    self.pool.bound
                ));
            }
            return Ok(());
        }
        let engine = Arc::clone(self);
        let mut builder = std::thread::Builder::new().name("milter".to_owned());
        if let Some(size) = sys::default_stack_size() {
            builder = builder.stack_size(size);
        }
        // It counts as waiting from now on, so that nobody starts another one meanwhile.
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
        let mut worker = Worker::new();
        loop {
            let token = match self.epoll.wait(IDLE) {
                Ok(None) if self.pool.may_leave() => break,
                Ok(None) => continue,
                Ok(Some(token)) => token,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    log::error(format_args!("cannot wait for connections: {error}"));
                    process::stop(process::Stop::Now);
                    self.pool.waiting.fetch_sub(1, Ordering::SeqCst);
                    break;
                }
            };
            if token == LEAVE {
                self.pool.waiting.fetch_sub(1, Ordering::SeqCst);
                break;
            }
            if self.pool.took_work()
                && let Err(error) = self.start_thread()
                && !self.pool.said_full.swap(true, Ordering::Relaxed)
            {
                log::warning(format_args!("cannot start another thread, commands may have to wait: {error}"));
            }
            if token == LISTENER {
                self.accept();
            } else {
                worker.turn(&self, Handle::from_token(token));
            }
            self.pool.waiting.fetch_add(1, Ordering::SeqCst);
        }
        if self.pool.threads.fetch_sub(1, Ordering::SeqCst) == 1 {
            process::ring();
        }
    }
}

//! How many threads there should be: what `smfi_main` does every millisecond while none waits.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Engine;
use super::pool::Progress;
use crate::settings::THREADS;
use crate::{log, sys};

/// What `smfi_main` remembers from one look to the next.
pub(super) struct Watch {
    /// Threads that can run at the same time.
    processors: usize,
    before: Vec<(Arc<Progress>, u32)>,
    /// Looks in a row at which something was ready that nobody had taken up.
    backlog: usize,
    /// When the last look was, and the processor time that the process had taken then.
    at: (Instant, Duration),
    said_full: bool,
}

/// What a look saw, none of the threads waiting.
struct Seen {
    threads: usize,
    /// Threads that have had the same connection since the last look.
    stuck: usize,
    backlog: usize,
    processors: usize,
    /// Processors were idle, for want of anything to do in this process.
    idle: bool,
}

/// Among so many threads in callbacks there is one more to spare: where many are, more will be.
const GROWTH: usize = 8;
/// Looks in a row with a backlog that mean something where some threads are in callbacks for long.
const SOON: usize = 2;
/// And where none is: one thread that is interrupted at a bad moment is no reason for a second.
const LATE: usize = 16;

impl Seen {
    /// How many threads to start.
    fn wanted(&self) -> usize {
        let several = 1 + self.stuck / GROWTH;
        match (self.threads.saturating_sub(self.stuck), self.stuck) {
            (0, _) => several,
            // More of them would wait for processors.
            _ if !self.idle => 0,
            (_, 1..) if self.backlog >= SOON => several,
            (free, 0) if self.backlog >= LATE && free < 4 * self.processors => 1,
            _ => 0,
        }
    }
}

impl Watch {
    pub(super) fn new() -> Self {
        Self {
            processors: std::thread::available_parallelism().map_or(1, Into::into),
            before: Vec::new(),
            backlog: 0,
            at: (Instant::now(), sys::processor_time()),
            said_full: false,
        }
    }

    /// Looks whether there are threads for what comes, and starts some if not.
    pub(super) fn look(&mut self, engine: &Arc<Engine>) {
        if engine.pool.has_waiting() {
            self.before.clear();
            self.backlog = 0;
            return engine.pool.relax();
        }
        let seen = self.see(engine);
        for _ in 0..seen.wanted() {
            let bound = engine.pool.bound();
            if engine.pool.threads() >= bound {
                if seen.stuck == bound {
                    self.say_full(format_args!(
                        "all {bound} threads are in callbacks: further commands wait ({THREADS} sets how many there may be)"
                    ));
                }
                return;
            }
            if let Err(error) = engine.start_thread() {
                return self.say_full(format_args!(
                    "cannot start another thread, commands may have to wait: {error}"
                ));
            }
        }
    }

    fn see(&mut self, engine: &Engine) -> Seen {
        let stuck = self.stuck(engine.pool.progress());
        self.backlog = if engine.epoll.has_ready() { self.backlog + 1 } else { 0 };
        let now = (Instant::now(), sys::processor_time());
        let (time, taken) = (now.0.duration_since(self.at.0), now.1.saturating_sub(self.at.1));
        self.at = now;
        Seen {
            threads: engine.pool.threads(),
            stuck,
            backlog: self.backlog,
            processors: self.processors,
            // Less than four fifths.
            idle: taken * 5 < time * 4 * u32::try_from(self.processors).unwrap_or(u32::MAX),
        }
    }

    /// Threads that have had the same connection since the last look.
    fn stuck(&mut self, now: Vec<(Arc<Progress>, u32)>) -> usize {
        // Threads that left are gone from one of the two, the others are in the same order.
        let mut before = self.before.iter();
        let is_stuck = |(thread, at): &&(Arc<Progress>, u32)| {
            at % 2 == 1
                && before.by_ref().find(|(one, _)| Arc::ptr_eq(one, thread)).is_some_and(|(_, was)| was == at)
        };
        let stuck = now.iter().filter(is_stuck).count();
        self.before = now;
        stuck
    }

    fn say_full(&mut self, text: std::fmt::Arguments<'_>) {
        if !std::mem::replace(&mut self.said_full, true) {
            log::warning(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEEN: Seen = Seen { threads: 1, stuck: 0, backlog: 0, processors: 2, idle: true };

    #[test]
    fn a_thread_that_does_not_come_back_is_replaced() {
        assert_eq!(Seen { stuck: 1, ..SEEN }.wanted(), 1);
        assert_eq!(Seen { threads: 2, stuck: 1, backlog: 1, ..SEEN }.wanted(), 0);
        // Also where no processor is idle: nobody is to wait for it.
        assert_eq!(Seen { stuck: 1, idle: false, ..SEEN }.wanted(), 1);
    }

    #[test]
    fn where_many_do_not_come_back_many_are_started() {
        let seen = Seen { threads: 100, stuck: 80, backlog: 2, ..SEEN };
        assert_eq!(seen.wanted(), 11);
        assert_eq!(Seen { idle: false, ..seen }.wanted(), 0);
    }

    #[test]
    fn callbacks_that_return_get_another_thread_only_for_a_lasting_backlog() {
        assert_eq!(Seen { backlog: 15, ..SEEN }.wanted(), 0);
        assert_eq!(Seen { backlog: 16, ..SEEN }.wanted(), 1);
        assert_eq!(Seen { backlog: 16, idle: false, ..SEEN }.wanted(), 0);
        assert_eq!(Seen { threads: 8, backlog: 99, ..SEEN }.wanted(), 0);
    }

    #[test]
    fn threads_are_stuck_that_have_the_same_connection_still() {
        let mut watch = Watch::new();
        let threads = [1, 2, 3, 5].map(|at| (Arc::new(Progress::new(at)), at));
        assert_eq!(watch.stuck(threads.to_vec()), 0);
        // The first one goes on, the second one waits, the third one is gone.
        let [first, second, _, last] = threads;
        let now = vec![(first.0, 3), second, last];
        assert_eq!(watch.stuck(now), 1);
    }
}

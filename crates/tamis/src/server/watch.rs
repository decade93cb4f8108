//! The connections that are open: telling all of them that the server ends, and each that it has waited long enough.
//!
//! One task looks after the time limits of all. A timer for each took room in every idle connection, and was asked
//! each time that one waited; now a connection writes down when its wait ends, and that is all.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::Options;

/// Looks after the connections of a server.
#[derive(Debug)]
pub(super) struct Watch {
    rung: AtomicU8,
    /// By the numbers of connections.
    seats: Mutex<HashMap<u64, Arc<Seat>>>,
    /// What times are counted from, in nanoseconds.
    epoch: Instant,
    /// The shortest of the limits that are set again and again, within reason. To look this often is enough for them.
    lap: u64,
    /// Nothing that ends before this is overlooked.
    next: AtomicU64,
    /// Something ends before that.
    sooner: Notify,
}

/// What the server wants of its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ring {
    /// Connections without a message shall end.
    Drain = 1,
    /// All shall.
    Stop,
}

/// How long a connection waits.
#[derive(Debug)]
pub(super) struct Patience {
    watch: Arc<Watch>,
    connection: u64,
    seat: Arc<Seat>,
}

#[derive(Debug)]
struct Seat {
    task: OnceLock<Waker>,
    end: AtomicU64,
}

/// The end of a wait that is over.
const OVER: u64 = 0;

/// The end of one that has none, or one that no clock will show.
const NEVER: u64 = u64::MAX;

/// However short limits are, looking through all connections is not done all the time for those that do not end.
const SHORTEST_LAP: Duration = Duration::from_millis(100);

impl Watch {
    /// Nobody is connected.
    pub(super) fn new(options: &Options) -> Self {
        let limits = [
            options.idle_time,
            options.handshake_time,
            options.frame_time,
            options.stage_time,
            options.end_of_message_time,
            options.progress_every,
        ];
        let lap = limits.into_iter().min().unwrap_or_default().max(SHORTEST_LAP);
        Self {
            rung: AtomicU8::default(),
            seats: Mutex::default(),
            epoch: Instant::now(),
            lap: u64::try_from(lap.as_nanos()).unwrap_or(NEVER),
            next: AtomicU64::new(NEVER),
            sooner: Notify::new(),
        }
    }

    /// Looks after a connection until what this returns is dropped.
    pub(super) fn enter(self: &Arc<Self>, connection: u64) -> Patience {
        let seat = Arc::new(Seat { task: OnceLock::new(), end: AtomicU64::new(NEVER) });
        self.seats().insert(connection, seat.clone());
        Patience { watch: self.clone(), connection, seat }
    }

    /// Wakes everybody.
    pub(super) fn ring(&self, ring: Ring) {
        self.rung.fetch_max(ring as u8, Ordering::SeqCst);
        // What waking leads to is not known, so nothing is held meanwhile.
        let seats: Vec<_> = self.seats().values().cloned().collect();
        for seat in seats {
            seat.wake();
        }
    }

    /// Whether it was rung, for this or more.
    pub(super) fn is_rung(&self, ring: Ring) -> bool {
        self.rung.load(Ordering::SeqCst) >= ring as u8
    }

    /// Wakes connections that have waited long enough, for ever.
    pub(super) async fn run(&self) {
        loop {
            let next = self.look();
            let sleep = async {
                match next {
                    Some(next) => sleep_until(next).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.sooner.notified() => {}
                () = sleep => {}
            }
        }
    }

    /// Wakes those whose time is over; returns when to look again.
    fn look(&self) -> Option<Instant> {
        let now = self.time(Instant::now());
        let mut next = now.saturating_add(self.lap);
        let mut late = Vec::new();
        {
            let seats = self.seats();
            // Stored before the first is looked at: an end that is set from then on comes after it, or is told of.
            self.next.store(if seats.is_empty() { NEVER } else { next }, Ordering::SeqCst);
            if seats.is_empty() {
                return None;
            }
            for seat in seats.values() {
                let end = seat.end.load(Ordering::SeqCst);
                if end == OVER {
                    continue;
                }
                if end > now {
                    next = next.min(end);
                } else if seat.end.compare_exchange(end, OVER, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
                    late.push(seat.clone());
                }
            }
        }
        for seat in late {
            seat.wake();
        }
        self.epoch.checked_add(Duration::from_nanos(next))
    }

    fn time(&self, instant: Instant) -> u64 {
        u64::try_from(instant.saturating_duration_since(self.epoch).as_nanos()).unwrap_or(NEVER)
    }

    fn seats(&self) -> MutexGuard<'_, HashMap<u64, Arc<Seat>>> {
        // Nothing that panics is called while it is held.
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    fn wake(&self) {
        if let Some(task) = self.task.get() {
            task.wake_by_ref();
        }
    }
}

impl Patience {
    /// Has this task woken, which the connection is to its end. What has to be known of what it was woken for is looked
    /// at after this.
    pub(super) fn wakes(&self, task: &Waker) {
        self.seat.task.get_or_init(|| task.clone());
    }

    /// The wait ends when this much time has passed from now on.
    pub(super) fn set(&self, time: Duration) {
        self.set_end(Instant::now().checked_add(time));
    }

    /// It ends then; `None` is never.
    pub(super) fn set_end(&self, end: Option<Instant>) {
        // One that is over before it begins is one all the same.
        let end = end.map_or(NEVER, |end| self.watch.time(end).max(OVER + 1));
        self.seat.end.store(end, Ordering::SeqCst);
        if end < self.watch.next.load(Ordering::SeqCst) {
            self.watch.sooner.notify_one();
        }
    }

    /// Ready when it is at its end. The task is woken then.
    pub(super) fn poll(&self) -> Poll<()> {
        if self.seat.end.load(Ordering::SeqCst) == OVER { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for Patience {
    fn drop(&mut self) {
        let _seat = self.watch.seats().remove(&self.connection);
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::{advance, sleep, timeout};

    use super::*;

    fn watch(idle_time: Duration) -> Arc<Watch> {
        let watch = Arc::new(Watch::new(&Options { idle_time, ..Options::default() }));
        let watching = watch.clone();
        tokio::spawn(async move { watching.run().await });
        watch
    }

    async fn wait(patience: &Patience) {
        poll_fn(|task| {
            patience.wakes(task.waker());
            patience.poll()
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_exactly_then_however_often_it_was_set_before() {
        let start = Instant::now();
        let patience = watch(Duration::from_hours(2)).enter(1);
        for (seconds, waited) in [(100, 30), (100, 90), (10, 5), (200, 150), (20, 19)] {
            patience.set(Duration::from_secs(seconds));
            let waiting = timeout(Duration::from_secs(waited), wait(&patience));
            assert!(waiting.await.is_err(), "{seconds} s were over after {waited} s");
        }
        // Nobody waits when an earlier wait is over.
        advance(Duration::from_secs(1_000)).await;
        for seconds in [7, 0, 1] {
            let before = start.elapsed();
            patience.set(Duration::from_secs(seconds));
            wait(&patience).await;
            assert_eq!(start.elapsed(), before + Duration::from_secs(seconds));
        }
        // And once more, at once.
        wait(&patience).await;
    }

    #[tokio::test(start_paused = true)]
    async fn one_without_an_end_never_ends() {
        let patience = watch(Duration::MAX).enter(1);
        patience.set(Duration::MAX);
        assert!(timeout(Duration::from_hours(1_000), wait(&patience)).await.is_err());
        patience.set_end(None);
        assert!(timeout(Duration::from_hours(1_000), wait(&patience)).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn each_of_many_ends_at_its_own_time_whenever_it_came() {
        let watch = watch(Duration::from_secs(3));
        let mut waiting = Vec::new();
        for number in 0..500_u64 {
            let patience = watch.enter(number);
            let time = Duration::from_millis(number * 7_919 % 20_000);
            waiting.push(tokio::spawn(async move {
                sleep(Duration::from_millis(number * 104_729 % 10_000)).await;
                let begin = Instant::now();
                patience.set(time);
                wait(&patience).await;
                // Timers are those of the runtime, which knows milliseconds.
                let waited = begin.elapsed();
                assert!(
                    (time..=time + Duration::from_millis(1)).contains(&waited),
                    "{waited:?}, not {time:?}"
                );
            }));
        }
        for waiting in waiting {
            waiting.await.unwrap();
        }
        assert!(watch.seats().is_empty());
    }

    #[tokio::test]
    async fn none_is_forgotten_when_others_set_theirs_at_the_same_time() {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
        let waits = async {
            let watch = watch(Duration::from_secs(7_210));
            let tasks = (0..200_u64).map(|number| {
                let patience = watch.enter(number);
                tokio::spawn(async move {
                    for round in 0..20 {
                        patience.set(Duration::from_secs(5));
                        patience.set(Duration::from_millis((number + round) % 5));
                        wait(&patience).await;
                    }
                })
            });
            for task in tasks.collect::<Vec<_>>() {
                task.await.unwrap();
            }
        };
        let done = runtime.spawn(timeout(Duration::from_mins(1), waits));
        assert!(done.await.unwrap().is_ok(), "some waits did not end");
        runtime.shutdown_background();
    }
}

//! How long a connection waits for its MTA.

use std::pin::Pin;
use std::task::{Context as Task, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// A time limit that is set anew at each wait. Setting it touches no timer as long as the end moves away, which it
/// mostly does: the timer finds out when it fires.
#[derive(Debug, Default)]
pub(super) struct Patience {
    /// `None` is beyond all that a clock shows.
    end: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Patience {
    /// It ends when this much time has passed from now on.
    pub(super) fn set(&mut self, time: Duration) {
        self.set_end(Instant::now().checked_add(time));
    }

    /// It ends then; `None` is never.
    pub(super) fn set_end(&mut self, end: Option<Instant>) {
        self.end = end;
    }

    /// Ready when it is at its end.
    pub(super) fn poll(&mut self, task: &mut Task<'_>) -> Poll<()> {
        let Some(end) = self.end else { return Poll::Pending };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(end)));
        if end < timer.deadline() {
            timer.as_mut().reset(end);
        }
        loop {
            ready!(timer.as_mut().poll(task));
            if timer.deadline() >= end {
                return Poll::Ready(());
            }
            timer.as_mut().reset(end);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::{advance, timeout};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_ends_exactly_then_however_often_it_was_set_before() {
        let start = Instant::now();
        let mut patience = Patience::default();
        for (seconds, wait) in [(100, 30), (100, 90), (10, 5), (200, 150), (20, 19)] {
            patience.set(Duration::from_secs(seconds));
            let waited = timeout(Duration::from_secs(wait), poll_fn(|task| patience.poll(task)));
            assert!(waited.await.is_err(), "{seconds} s were over after {wait} s");
        }
        // Nobody looks when the timer of an earlier wait fires.
        advance(Duration::from_secs(1_000)).await;
        let before = start.elapsed();
        patience.set(Duration::from_secs(7));
        poll_fn(|task| patience.poll(task)).await;
        assert_eq!(start.elapsed(), before + Duration::from_secs(7));
        // And once more, at once.
        poll_fn(|task| patience.poll(task)).await;
        assert_eq!(start.elapsed(), before + Duration::from_secs(7));
    }

    #[tokio::test(start_paused = true)]
    async fn one_without_an_end_never_ends() {
        let mut patience = Patience::default();
        patience.set(Duration::MAX);
        assert!(timeout(Duration::from_hours(1_000_000), poll_fn(|task| patience.poll(task))).await.is_err());
    }
}

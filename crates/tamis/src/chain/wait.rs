//! Waiting for filters: all at once or one by one, within the time that a step has.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context as Task, Poll, ready};
use std::time::Duration;

use tamis_proto::{See, Stage, Verdict};
use tokio::time::{Instant, sleep_until};

use super::failure::Failure;
use super::member::Seat;
use super::scene::Scene;
use super::step::Step;
use super::verdict::{Effect, effect};
use super::{Chain, Decide, Mode};
use crate::filter::{Event, Handler};
use crate::server::call::{self, Ended};

/// A handler at work. It is dropped with care, as that runs the filter's code too.
struct Work<'a>(Option<Handler<'a>>);

/// A filter at work, with the others.
struct Open<'a> {
    at: usize,
    work: Work<'a>,
    /// Its own time, and when it is over.
    time: Duration,
    until: Instant,
    judge: Judge,
}

/// A handler that was called and polled once.
enum Begun<'a> {
    Done(Result<Verdict, Failure>),
    Open(Work<'a>),
}

impl<'a> Work<'a> {
    /// Calls a handler and polls it once: those that are done by then need nothing more.
    fn begin(handler: impl FnOnce() -> Handler<'a>, task: &mut Task<'_>) -> Begun<'a> {
        let polled = call::guard(|| {
            let mut handler = handler();
            match handler.as_mut().poll(task) {
                Poll::Ready(reply) => Ok(reply),
                Poll::Pending => Err(handler),
            }
        });
        match polled {
            Ok(Ok(reply)) => Begun::Done(reply.map_err(Failure::Error)),
            Ok(Err(handler)) => Begun::Open(Self(Some(handler))),
            Err(text) => Begun::Done(Err(Failure::Panicked(text))),
        }
    }

    fn poll(&mut self, task: &mut Task<'_>) -> Poll<Result<Verdict, Failure>> {
        let handler = self.0.as_mut().expect("it is not polled again when it is done");
        let said = match ready!(call::poll(handler.as_mut(), task)) {
            Ended::Done(reply) => reply.map_err(Failure::Error),
            Ended::Panicked(text) => Err(Failure::Panicked(text)),
            Ended::TimedOut(_) | Ended::Lost(_) => unreachable!("it is only polled"),
        };
        Poll::Ready(self.cancel().and(said))
    }

    fn cancel(&mut self) -> Result<(), Failure> {
        let handler = self.0.take();
        call::guard(|| drop(handler)).map_err(Failure::Panicked)
    }

    fn time_out(&mut self, time: Duration) -> Failure {
        self.cancel().err().unwrap_or(Failure::TimedOut(time))
    }
}

impl Chain {
    /// Waits for the filters that need time, until all are done or one of them ends the step.
    pub(super) async fn wait(&mut self, scene: &Scene<'_>, step: &mut Step, event: &Event) {
        step.waits = false;
        let scene = scene.left(step.deadline);
        match self.mode {
            Mode::Pipeline => self.wait_for_one(&scene, step, event).await,
            Mode::Parallel(decide) => self.wait_for_all(&scene, step, event, decide == Decide::First).await,
        }
    }

    async fn wait_for_one(&mut self, scene: &Scene<'_>, step: &mut Step, event: &Event) {
        let Some(at) = step.range.clone().find(|at| self.seats[*at].later.is_some()) else { return };
        let seat = &mut self.seats[at];
        let later = seat.later.take().expect("it was found there");
        let timeout = seat.timeout;
        let mut handler = Some(|| seat.on(scene, later, event));
        let begun = poll_fn(|task| {
            let handler = handler.take().expect("this is ready when it is polled first");
            Poll::Ready(Work::begin(handler, task))
        });
        let said = match begun.await {
            Begun::Done(said) => said,
            Begun::Open(mut work) => {
                let (time, until) = bounds(scene, step, timeout);
                let mut late = pin!(sleep_until(until));
                let said = poll_fn(|task| match work.poll(task) {
                    Poll::Ready(said) => Poll::Ready(Some(said)),
                    Poll::Pending => late.as_mut().poll(task).map(|()| None),
                });
                said.await.unwrap_or_else(|| Err(work.time_out(time)))
            }
        };
        self.judge(step, at, said);
    }

    async fn wait_for_all(&mut self, scene: &Scene<'_>, step: &mut Step, event: &Event, first_decides: bool) {
        let (stage, can_hold) = (step.stage, self.plan.can_hold());
        let mut decided = step.decision.is_some();
        let is_noted = self.message.record.is_some() || stage == Stage::EndOfMessage;
        let mut came_in: Vec<(usize, Result<Verdict, Failure>)> = Vec::new();
        let mut open: Vec<Open<'_>> = Vec::new();
        let mut seats = self.seats.iter_mut().enumerate();
        poll_fn(|task| {
            for (at, seat) in seats.by_ref() {
                let Some(later) = seat.later.take() else { continue };
                let (timeout, turn) = (seat.timeout, seat.turn);
                let judge = Judge::new(seat, turn.unwrap_or(stage), can_hold);
                match Work::begin(|| seat.on(scene, later, event), task) {
                    // Mostly, and then there is nothing to it.
                    Begun::Done(Ok(Verdict::Continue)) if !is_noted && turn.is_none() => {}
                    Begun::Done(said) => {
                        decided |= judge.stops(&said);
                        came_in.push((at, said));
                    }
                    Begun::Open(work) => {
                        let (time, until) = bounds(scene, step, timeout);
                        open.push(Open { at, work, time, until, judge });
                    }
                }
            }
            Poll::Ready(())
        })
        .await;
        while !(decided && first_decides)
            && let Some(next) = open.iter().map(|open| open.until).min()
        {
            let mut late = pin!(sleep_until(next));
            let is_late = poll_fn(|task| {
                let before = open.len();
                open.retain_mut(|Open { at, work, judge, .. }| match work.poll(task) {
                    Poll::Pending => true,
                    Poll::Ready(said) => {
                        decided |= judge.stops(&said);
                        came_in.push((*at, said));
                        false
                    }
                });
                if open.len() < before { Poll::Ready(false) } else { late.as_mut().poll(task).map(|()| true) }
            });
            if is_late.await {
                for mut open in open.extract_if(.., |open| open.until <= next) {
                    decided |= open.judge.fails;
                    came_in.push((open.at, Err(open.work.time_out(open.time))));
                }
            }
        }
        // Those that still work on the step are cancelled.
        for Open { at, mut work, .. } in open {
            if let Err(failure) = work.cancel() {
                came_in.push((at, Err(failure)));
            }
        }
        came_in.sort_by_key(|(at, _)| *at);
        for (at, said) in came_in {
            self.judge(step, at, said);
        }
    }

    /// Waits for filters that are told what nobody answers; those that are not done in time are cancelled.
    pub(super) async fn wait_for_farewells(&mut self, scene: &Scene<'_>, event: &Event, until: Instant) {
        let mut done: Vec<(usize, Result<Verdict, Failure>)> = Vec::new();
        let mut open: Vec<(usize, Work<'_>)> = Vec::new();
        let mut seats = self.seats.iter_mut().enumerate();
        poll_fn(|task| {
            for (at, seat) in seats.by_ref() {
                let Some(later) = seat.later.take() else { continue };
                match Work::begin(|| seat.on(scene, later, event), task) {
                    Begun::Done(said) => done.push((at, said)),
                    Begun::Open(work) => open.push((at, work)),
                }
            }
            Poll::Ready(())
        })
        .await;
        let time = until.saturating_duration_since(Instant::now());
        let mut late = pin!(sleep_until(until));
        poll_fn(|task| {
            open.retain_mut(|(at, work)| match work.poll(task) {
                Poll::Pending => true,
                Poll::Ready(said) => {
                    done.push((*at, said));
                    false
                }
            });
            if open.is_empty() { Poll::Ready(()) } else { late.as_mut().poll(task) }
        })
        .await;
        done.extend(open.into_iter().map(|(at, mut work)| (at, Err(work.time_out(time)))));
        for (at, said) in done {
            self.parted(at, said);
        }
    }
}

/// How long a filter may take that has just begun, and when that is over.
fn bounds(scene: &Scene<'_>, step: &mut Step, timeout: Option<Duration>) -> (Duration, Instant) {
    let now = Instant::now();
    let deadline = *step.deadline.get_or_insert_with(|| now + scene.time);
    let until = timeout.map_or(deadline, |time| deadline.min(now + time));
    (until.saturating_duration_since(now), until)
}

/// Knows whether what a filter says ends the step for all.
#[derive(Clone, Copy)]
struct Judge {
    stage: Stage,
    answers: bool,
    /// A failure does.
    fails: bool,
    dry_run: bool,
}

impl Judge {
    fn new(seat: &Seat, stage: Stage, can_hold: bool) -> Self {
        Self {
            stage,
            answers: seat.terms.sees(stage) == See::Answer,
            fails: !seat.dry_run && seat.on_failure.refuses(can_hold),
            dry_run: seat.dry_run,
        }
    }

    fn stops(self, said: &Result<Verdict, Failure>) -> bool {
        match said {
            _ if self.dry_run => false,
            Ok(Verdict::Continue) => false,
            Ok(verdict) if self.answers => {
                effect(verdict, self.stage).map_or(self.fails, |effect| matches!(effect, Effect::Stops(_)))
            }
            _ => self.fails,
        }
    }
}

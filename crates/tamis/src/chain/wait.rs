//! Waiting for filters: all at once or one by one, within the time that a step has.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tamis_proto::{See, Stage, Verdict};
use tokio::time::{Instant, sleep_until};

use super::failure::Failure;
use super::member::Seat;
use super::scene::Scene;
use super::step::Step;
use super::verdict::{Effect, effect};
use super::{Chain, Decide, Mode};
use crate::filter::{Handler, Reply};
use crate::server::call::{self, Ended};

/// A filter at work.
struct Open<'a> {
    at: usize,
    handler: Handler<'a>,
    /// Its own time, and when it is over.
    time: Duration,
    until: Instant,
    judge: Judge,
}

impl Chain {
    /// Waits for the filters that need time, until all are done or one of them ends the step.
    pub(super) async fn wait(&mut self, scene: &Scene<'_>, step: &mut Step) {
        match self.mode {
            Mode::Pipeline => self.wait_for_one(scene, step).await,
            Mode::Parallel(decide) => self.wait_for_all(scene, step, decide).await,
        }
    }

    async fn wait_for_one(&mut self, scene: &Scene<'_>, step: &mut Step) {
        step.waits = false;
        let Some(at) = step.range.clone().find(|at| self.seats[*at].later.is_some()) else { return };
        let seat = &mut self.seats[at];
        let event = seat.later.take().expect("it was found there");
        let timeout = seat.timeout;
        let scene = scene.left(step.deadline);
        let said = match call::guard(|| seat.on(&scene, event)) {
            Err(text) => Err(Failure::Panicked(text)),
            Ok(mut handler) => {
                let first = poll_fn(|task| Poll::Ready(call::poll(handler.as_mut(), task))).await;
                match first {
                    Poll::Ready(ended) => came(ended),
                    Poll::Pending => {
                        let now = Instant::now();
                        let deadline = *step.deadline.get_or_insert(now + scene.time);
                        let until = timeout.map_or(deadline, |time| deadline.min(now + time));
                        let mut late = pin!(sleep_until(until));
                        let ended = poll_fn(|task| match call::poll(handler.as_mut(), task) {
                            Poll::Ready(ended) => Poll::Ready(came(ended)),
                            Poll::Pending => {
                                late.as_mut().poll(task).map(|()| Err(Failure::TimedOut(until - now)))
                            }
                        });
                        let said = ended.await;
                        match call::guard(|| drop(handler)) {
                            Ok(()) => said,
                            Err(text) => Err(Failure::Panicked(text)),
                        }
                    }
                }
            }
        };
        self.judge(step, at, said);
    }

    async fn wait_for_all(&mut self, scene: &Scene<'_>, step: &mut Step, decide: Decide) {
        step.waits = false;
        let scene = scene.left(step.deadline);
        let (stage, can_hold) = (step.stage, self.plan.can_hold());
        let is_first = decide == Decide::First;
        let mut decided = is_first && step.decision.is_some();
        let mut came_in: Vec<(usize, Result<Verdict, Failure>)> = Vec::with_capacity(self.seats.len());
        let mut panicked: Vec<(usize, String)> = Vec::new();
        {
            let mut open: Vec<Open<'_>> = Vec::new();
            for (at, seat) in self.seats.iter_mut().enumerate() {
                let Some(event) = seat.later.take() else { continue };
                let (timeout, judge) = (seat.timeout, Judge::new(seat, seat.turn.unwrap_or(stage), can_hold));
                let mut handler = match call::guard(|| seat.on(&scene, event)) {
                    Ok(handler) => handler,
                    Err(text) => {
                        decided |= is_first && judge.fails;
                        came_in.push((at, Err(Failure::Panicked(text))));
                        continue;
                    }
                };
                match poll_fn(|task| Poll::Ready(call::poll(handler.as_mut(), task))).await {
                    Poll::Ready(ended) => {
                        let said = came(ended);
                        decided |= is_first && judge.stops(&said);
                        came_in.push((at, said));
                    }
                    Poll::Pending => {
                        let now = Instant::now();
                        let deadline = *step.deadline.get_or_insert(now + scene.time);
                        let until = timeout.map_or(deadline, |time| deadline.min(now + time));
                        open.push(Open { at, handler, time: until - now, until, judge });
                    }
                }
            }
            while !decided && let Some(next) = open.iter().map(|open| open.until).min() {
                let mut late = pin!(sleep_until(next));
                poll_fn(|task| {
                    let before = open.len();
                    open.retain_mut(|open| match call::poll(open.handler.as_mut(), task) {
                        Poll::Pending => true,
                        Poll::Ready(ended) => {
                            let said = came(ended);
                            decided |= is_first && open.judge.stops(&said);
                            came_in.push((open.at, said));
                            false
                        }
                    });
                    if open.len() < before { Poll::Ready(()) } else { late.as_mut().poll(task) }
                })
                .await;
                if Instant::now() < next {
                    continue;
                }
                for Open { at, handler, time, judge, .. } in open.extract_if(.., |open| open.until <= next) {
                    let failure = match call::guard(|| drop(handler)) {
                        Ok(()) => Failure::TimedOut(time),
                        Err(text) => Failure::Panicked(text),
                    };
                    decided |= is_first && judge.fails;
                    came_in.push((at, Err(failure)));
                }
            }
            // Those that still work on the step are cancelled.
            for Open { at, handler, .. } in open {
                if let Err(text) = call::guard(|| drop(handler)) {
                    panicked.push((at, text));
                }
            }
        }
        came_in.sort_by_key(|(at, _)| *at);
        for (at, said) in came_in {
            self.judge(step, at, said);
        }
        for (at, text) in panicked {
            self.judge(step, at, Err(Failure::Panicked(text)));
        }
    }

    /// Waits for filters that are told what nobody answers; those that are not done in time are cancelled.
    pub(super) async fn wait_for_farewells(&mut self, scene: &Scene<'_>, until: Instant) {
        let mut done: Vec<(usize, Result<Verdict, Failure>)> = Vec::new();
        {
            let mut open: Vec<(usize, Handler<'_>)> = Vec::new();
            for (at, seat) in self.seats.iter_mut().enumerate() {
                let Some(event) = seat.later.take() else { continue };
                match call::guard(|| seat.on(scene, event)) {
                    Ok(handler) => open.push((at, handler)),
                    Err(text) => done.push((at, Err(Failure::Panicked(text)))),
                }
            }
            let began = Instant::now();
            let mut late = pin!(sleep_until(until));
            poll_fn(|task| {
                open.retain_mut(|(at, handler)| match call::poll(handler.as_mut(), task) {
                    Poll::Pending => true,
                    Poll::Ready(ended) => {
                        done.push((*at, came(ended)));
                        false
                    }
                });
                if open.is_empty() { Poll::Ready(()) } else { late.as_mut().poll(task) }
            })
            .await;
            for (at, handler) in open {
                let failure = match call::guard(|| drop(handler)) {
                    Ok(()) => Failure::TimedOut(until.saturating_duration_since(began)),
                    Err(text) => Failure::Panicked(text),
                };
                done.push((at, Err(failure)));
            }
        }
        for (at, said) in done {
            self.parted(at, said);
        }
    }
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
            fails: !seat.dry_run && seat.on_failure.verdict(can_hold).is_some(),
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

fn came(ended: Ended<Reply>) -> Result<Verdict, Failure> {
    match ended {
        Ended::Done(reply) => reply.map_err(Failure::Error),
        Ended::Panicked(text) => Err(Failure::Panicked(text)),
        Ended::TimedOut(_) | Ended::Lost(_) => unreachable!("it is only polled"),
    }
}

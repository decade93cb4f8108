//! One step of a chain: an event, offered to the filters, and what their verdicts come to.

use std::ops::Range;

use tamis_proto::{See, Stage, Verdict};
use tokio::time::Instant;

use super::content::for_filter;
use super::failure::{Failure, note, unasked};
use super::scene::Scene;
use super::verdict::{Decision, Effect, Extent, effect};
use super::{Chain, Mode};
use crate::filter::{Asked, Event, Surroundings};

/// A step on its way through the filters.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) stage: Stage,
    /// The filters that it goes to.
    pub(super) range: Range<usize>,
    /// How many of the filters that want it were offered it.
    offered: usize,
    /// Some filter needs more time.
    pub(super) waits: bool,
    /// The body that it belongs to waits for room.
    pub(super) keeps: bool,
    pub(super) decision: Option<Decision>,
    /// The verdict, while filters are told that the message is given up.
    pub(super) verdict: Option<Verdict>,
    /// The message is over with it.
    pub(super) closes: bool,
    pub(super) deadline: Option<Instant>,
}

impl Step {
    pub(super) fn new(stage: Stage, range: Range<usize>) -> Self {
        Self {
            stage,
            range,
            offered: 0,
            waits: false,
            keeps: false,
            decision: None,
            verdict: None,
            closes: false,
            deadline: None,
        }
    }

    /// The same for another stage.
    pub(super) fn of(self, stage: Stage) -> Self {
        Self { stage, offered: 0, ..self }
    }

    /// The same for another event.
    pub(super) fn again(&mut self) {
        self.offered = 0;
    }

    pub(super) fn decide(&mut self, decision: Decision) {
        self.decision = Some(match self.decision.take() {
            Some(before) => before.or(decision),
            None => decision,
        });
    }
}

impl Chain {
    /// Offers the event to the filters, as far as that needs no waiting: all at once, or one after the other until
    /// one needs time or ends it.
    pub(super) fn advance(&mut self, scene: &Scene<'_>, step: &mut Step, event: &Event) {
        step.waits = false;
        let is_pipeline = self.mode == Mode::Pipeline;
        if self.plan.has_conditions {
            self.advance_gates(scene, step);
            if step.waits || is_pipeline && step.decision.is_some() {
                return;
            }
        }
        let mut around = scene.shown();
        while let Some(at) = self.plan.at(step.stage).get(step.offered).copied() {
            step.offered += 1;
            if !step.range.contains(&at) {
                continue;
            }
            self.offer(scene, &mut around, step, at, event);
            if is_pipeline && (step.waits || step.decision.is_some()) {
                return;
            }
        }
    }

    /// Goes on with what is shown to filters later than it came.
    fn advance_gates(&mut self, scene: &Scene<'_>, step: &mut Step) {
        if matches!(self.mode, Mode::Parallel(_)) && step.offered == 0 {
            // By what was known before the step, so that it does not matter who is faster.
            self.settle_gates(scene, step.stage);
        }
        for at in step.range.clone() {
            if !self.seats[at].replay.is_empty() && self.seats[at].later.is_none() {
                self.replay(scene, step, at);
            }
        }
    }

    fn offer<'s>(
        &mut self,
        scene: &Scene<'s>,
        around: &mut Surroundings<'s>,
        step: &mut Step,
        at: usize,
        event: &Event,
    ) {
        let (stage, seat) = (step.stage, &mut self.seats[at]);
        if !seat.is_in() || stage == Stage::Body && seat.skips {
            return;
        }
        if matches!(event, Event::Rcpt(_)) && scene.rejected && !seat.terms.rejected_recipients {
            return;
        }
        if seat.gate.is_some() && !self.passes_gate(scene, step, at, event) {
            return;
        }
        self.call(scene, around, step, at, event, true);
    }

    /// Calls a filter for an event, if it wants to be. What is `shown` to all is still there when the filter is waited
    /// for.
    pub(super) fn call<'s>(
        &mut self,
        scene: &Scene<'s>,
        around: &mut Surroundings<'s>,
        step: &mut Step,
        at: usize,
        event: &Event,
        mut shown: bool,
    ) {
        let stage = event.stage().expect("only stages are offered");
        let seat = &mut self.seats[at];
        let own;
        let event = match event {
            Event::Header(header) if seat.terms.collect.headers || self.plan.spaced => {
                own = Event::Header(for_filter(header, seat.terms.own_space));
                if seat.terms.collect.headers {
                    seat.message.transaction.keep(&own);
                }
                shown = false;
                &own
            }
            event => event,
        };
        if !seat.terms.called.at(stage) {
            return;
        }
        seat.joined |= stage.in_message();
        if self.message.record.is_some() {
            seat.began = Some(std::time::Instant::now());
        }
        match seat.now(scene, around, event, shown) {
            // Nearly always, and then there is nothing to it.
            Ok(Some(Ok(Verdict::Continue)))
                if self.message.record.is_none() && stage != Stage::EndOfMessage =>
            {
                seat.turn = None;
            }
            Ok(Some(reply)) => self.judge(step, at, reply.map_err(Failure::Error)),
            Ok(None) => step.waits = true,
            Err(text) => self.judge(step, at, Err(Failure::Panicked(text))),
        }
    }

    /// Takes what a filter said.
    pub(super) fn judge(&mut self, step: &mut Step, at: usize, said: Result<Verdict, Failure>) {
        let seat = &mut self.seats[at];
        let turn = seat.turn.take();
        if let (Some(began), Some(_)) = (seat.began.take(), &self.message.record) {
            seat.record.called(turn.unwrap_or(step.stage), began.elapsed());
        }
        match turn {
            Some(stage) => self.judge_late(step, at, stage, said),
            None => self.judge_at(step, at, step.stage, said),
        }
    }

    /// Takes what a filter said at a stage, which may be one before that of the step.
    pub(super) fn judge_at(
        &mut self,
        step: &mut Step,
        at: usize,
        stage: Stage,
        said: Result<Verdict, Failure>,
    ) {
        let seat = &mut self.seats[at];
        let verdict = match said {
            Ok(Verdict::Continue) => {
                // That was its last word.
                seat.joined &= stage != Stage::EndOfMessage;
                return;
            }
            Ok(verdict) if seat.terms.sees(stage) == See::Answer => verdict,
            Ok(_) => return self.fail_at(step, at, stage, &unasked(stage)),
            Err(failure) => return self.fail_at(step, at, stage, &failure),
        };
        let effect = match effect(&verdict, stage) {
            Ok(effect) => effect,
            Err(misuse) => return self.fail_at(step, at, stage, &misuse.into()),
        };
        if self.message.record.is_some() {
            seat.record.verdict = Some((stage, verdict.clone()));
        }
        match effect {
            Effect::Next => {}
            Effect::Ignored => {
                let filter = &*seat.name;
                tracing::warn!(filter, %stage, "MTAs misbehave on {verdict} at this stage, it counts as continue");
            }
            Effect::SkipsBody => {
                seat.skips = true;
                self.message.some_are_out = true;
            }
            Effect::Leaves(_) if stage == Stage::Unknown && !self.message.open => {}
            Effect::Leaves(extent) => {
                seat.leave(extent);
                seat.accepted = true;
                self.message.some_are_out = true;
            }
            Effect::Stops(extent) => {
                if extent >= Extent::Message {
                    // What it says of a command is not its last word on the message.
                    let joined = seat.joined && stage == Stage::Unknown;
                    seat.leave(extent);
                    seat.joined = joined;
                    self.message.some_are_out = true;
                }
                if !seat.dry_run {
                    step.decide(Decision { verdict, extent, by: at });
                }
            }
        }
    }

    /// A filter failed: it is out, and costs what its policy says.
    pub(super) fn fail(&mut self, step: &mut Step, at: usize, failure: &Failure) {
        self.fail_at(step, at, step.stage, failure);
    }

    fn fail_at(&mut self, step: &mut Step, at: usize, stage: Stage, failure: &Failure) {
        let open = self.message.open;
        let can_hold = self.plan.can_hold();
        let seat = &mut self.seats[at];
        failure.log(&seat.name, stage.name(), seat.on_failure.name());
        note(&mut self.failed, &seat.name, failure);
        if self.message.record.is_some() {
            seat.record.failure = Some((stage.name(), failure.to_string()));
        }
        // What was asked for is not half done.
        seat.message.transaction.take_back(Asked::default());
        let extent = if failure.lasts() || !open { Extent::Connection } else { Extent::Message };
        let verdict = seat.on_failure.verdict(can_hold).filter(|_| !seat.dry_run);
        // Where its answer is the end of the message, an error is its last word like any other.
        let is_last_word = failure.is_said()
            && (stage == Stage::EndOfMessage
                || verdict.is_some()
                    && seat.terms.sees(stage) == See::Answer
                    && !matches!(stage, Stage::Rcpt | Stage::Unknown));
        let aborts = seat.can_abort() && !is_last_word && !matches!(failure, Failure::Panicked(_));
        seat.leave(extent);
        seat.fail(extent, stage.name(), failure);
        seat.joined = aborts;
        seat.aborts = aborts;
        self.message.some_are_out = true;
        if let Some(verdict) = verdict {
            let extent = match stage {
                Stage::Connect | Stage::Helo => Extent::Connection,
                Stage::Unknown if !open => Extent::Command,
                _ => Extent::Message,
            };
            step.decide(Decision { verdict, extent, by: at });
        }
    }
}

//! Holding back a filter's steps until its condition is decided.

use bytes::Bytes;
use tamis_proto::{Stage, Verdict};

use super::condition::{Condition, Earlier, Known};
use super::failure::Failure;
use super::scene::Scene;
use super::step::Step;
use super::verdict::Extent;
use super::{Chain, Mode};
use crate::filter::Event;
use crate::message::Facts;

/// A filter's condition, and what waits for it.
pub(super) struct Gate {
    condition: Condition,
    /// Whether it is met for this message, or before one for the connection.
    met: Option<bool>,
    /// Client and HELO name, while the filter does not know of them.
    greeting: Vec<Event>,
    /// The filter was shown the client.
    greeted: bool,
    /// What it said to the client too late for the MTA, which holds for each of its messages.
    refusal: Option<(Stage, Verdict)>,
    /// Steps of the message that the filter was not shown yet.
    held: Vec<Event>,
}

impl Gate {
    pub(super) fn new(condition: Condition) -> Self {
        Self { condition, met: None, greeting: Vec::new(), greeted: false, refusal: None, held: Vec::new() }
    }

    pub(super) fn condition(&self) -> &Condition {
        &self.condition
    }

    fn met(&self) -> Option<bool> {
        self.met
    }

    pub(super) fn begin_message(&mut self) {
        self.met = None;
        self.held.clear();
    }

    /// Another client is there.
    pub(super) fn reopen(&mut self) {
        self.begin_message();
        self.greeting.clear();
        self.greeted = false;
        self.refusal = None;
    }

    /// Keeps an event that cannot be shown yet.
    fn hold(&mut self, event: &Event) {
        // It may stay for long, and must not keep alive what was read with it.
        let event = event.clone().map(|bytes| Bytes::copy_from_slice(&bytes));
        match &event {
            Event::Connect(_) => self.greeting = vec![event],
            Event::Helo(_) => {
                self.greeting.retain(|event| matches!(event, Event::Connect(_)));
                self.greeting.push(event);
            }
            Event::Unknown(_) => {}
            _ => self.held.push(event),
        }
    }
}

impl Chain {
    /// Decides about the conditions of all filters that can be decided now.
    pub(super) fn settle_gates(&mut self, scene: &Scene<'_>, stage: Stage) {
        for at in 0..self.seats.len() {
            self.settle_gate(scene, stage, at);
        }
    }

    /// Whether the filter may be shown the step; `None` if that is not decided.
    pub(super) fn settle_gate(&mut self, scene: &Scene<'_>, stage: Stage, at: usize) -> Option<bool> {
        let (before, rest) = self.seats.split_at_mut(at);
        let seat = &mut rest[0];
        let Some(gate) = &mut seat.gate else { return Some(true) };
        if gate.met.is_some() {
            return gate.met;
        }
        let envelope = scene.around.envelope?;
        let earlier = |name: &str| {
            let seat = before.iter().rev().find(|seat| &*seat.name == name);
            seat.map_or(Earlier::Open, |seat| match (seat.failed, seat.out) {
                (Some(_), _) => Earlier::Failed,
                (None, Some(_)) if seat.accepted => Earlier::Accepted,
                _ => Earlier::Open,
            })
        };
        let facts = Facts::new(scene.around.view.macros);
        gate.met = gate.condition.holds(&Known { stage, envelope, facts, earlier: &earlier });
        if gate.met == Some(false) && self.message.open {
            seat.leave(Extent::Message);
            self.message.some_are_out = true;
        }
        self.seats[at].gate.as_ref().and_then(|gate| gate.met)
    }

    /// Whether the filter is shown this event now: not while its condition is not decided, and not before what was held
    /// back.
    pub(super) fn passes_gate(
        &mut self,
        scene: &Scene<'_>,
        step: &mut Step,
        at: usize,
        event: &Event,
    ) -> bool {
        let stage = step.stage;
        let met = match self.mode {
            Mode::Pipeline => self.settle_gate(scene, stage, at),
            // It was looked at before the step, so that it does not matter which filter is faster.
            Mode::Parallel(_) => self.seats[at].gate.as_ref().and_then(|gate| gate.met()),
        };
        let Some(gate) = &mut self.seats[at].gate else { return true };
        let greets = matches!(stage, Stage::Connect | Stage::Helo);
        match met {
            Some(true) => {}
            // Another message may be another case.
            None | Some(false) if greets && !gate.greeted => {
                gate.hold(event);
                gate.met = None;
                return false;
            }
            Some(false) => return greets && gate.greeted,
            None => {
                gate.hold(event);
                return false;
            }
        }
        let was_greeted = std::mem::replace(&mut gate.greeted, true);
        if let (Some((stage, verdict)), true) = (gate.refusal.clone(), self.message.open) {
            self.judge_late(step, at, stage, Ok(verdict));
            return false;
        }
        let mut held = if was_greeted { Vec::new() } else { std::mem::take(&mut gate.greeting) };
        if greets {
            gate.met = None;
        }
        held.append(&mut gate.held);
        if held.is_empty() {
            return true;
        }
        held.push(event.clone());
        held.reverse();
        self.seats[at].replay = held;
        self.replay(scene, step, at);
        false
    }

    /// Shows the filter what was held back, as far as that needs no waiting.
    pub(super) fn replay(&mut self, scene: &Scene<'_>, step: &mut Step, at: usize) {
        while let Some(event) = self.seats[at].replay.pop() {
            let stage = event.stage().expect("only stages are held back");
            let is_last = self.seats[at].replay.is_empty();
            self.seats[at].turn = (!is_last).then_some(stage);
            self.call(scene, &mut scene.shown(), step, at, &event, false);
            let seat = &mut self.seats[at];
            if !seat.is_in() {
                seat.replay.clear();
            }
            if seat.later.is_some() || step.decision.is_some() {
                return;
            }
        }
    }

    /// Takes what a filter said to something that was held back.
    pub(super) fn judge_late(
        &mut self,
        step: &mut Step,
        at: usize,
        stage: Stage,
        said: Result<Verdict, Failure>,
    ) {
        let before = step.decision.take();
        self.judge_at(step, at, stage, said);
        let Some(mut decision) = step.decision.take() else {
            step.decision = before;
            return;
        };
        let bye = matches!(&decision.verdict, Verdict::Reply(reply) if reply.code() == 421);
        if decision.extent == Extent::Connection && !bye && self.message.open {
            // The filter is for some messages only.
            if let Some(gate) = &mut self.seats[at].gate {
                gate.refusal = Some((stage, decision.verdict.clone()));
            }
            self.seats[at].out = Some(Extent::Message);
            self.seats[at].failed = self.seats[at].failed.map(|_| Extent::Message);
            decision.extent = Extent::Message;
        } else if decision.extent == Extent::Recipient && step.stage != Stage::Rcpt {
            decision.extent = Extent::Message;
        }
        step.decision = before;
        step.decide(decision);
    }
}

//! Showing content to filters as those before them edited it, and the end of a message.

use bytes::Bytes;
use tamis_proto::command::Header;
use tamis_proto::{Edit, Stage, Verdict};

use super::content::{Packets, as_sent, as_stored};
use super::edits::{Change, Clash, Draft, EditSpace, Turn};
use super::failure::Failure;
use super::flow::hold_reason;
use super::member::Seat;
use super::negotiate::CONTENT;
use super::record::Conflict;
use super::scene::Scene;
use super::step::Step;
use super::{Chain, Mode};
use crate::filter::{BoxError, Context, Event};
use crate::message::Body;
use crate::message::compile::net;

impl Chain {
    /// The next filter that may edit the content of this message.
    pub(super) fn next_editor(&self, from: usize) -> Option<usize> {
        let edits = |at: &usize| {
            let seat = &self.seats[*at];
            let may = !seat.dry_run && seat.terms.rules.actions().intersects(CONTENT);
            may && (seat.is_in() || seat.message.transaction.is_changed())
        };
        (from..self.seats.len()).find(edits)
    }

    /// Whether there are filters that get the content only now.
    pub(super) fn hands_over(&self, step: &Step) -> bool {
        step.stage == Stage::EndOfMessage && step.decision.is_none() && step.range.end < self.seats.len()
    }

    /// Shows the content to the filters up to the next one that may edit it, with all edits so far, and has them say
    /// their verdicts on the message.
    pub(super) async fn hand_over(
        &mut self,
        cx: &mut Context<'_, ()>,
        scene: &Scene<'_>,
        step: &mut Step,
    ) -> Result<(), BoxError> {
        self.draft_edits(cx, step, step.range.end);
        if step.decision.is_some() {
            return Ok(());
        }
        let from = step.range.end;
        let to = self.next_editor(from).map_or(self.seats.len(), |editor| editor + 1);
        let (headers, body) = self.shown(cx, from..to).await?;
        for seat in &mut self.seats[from..to] {
            if seat.terms.collect.body {
                seat.message.transaction.give_body(body.clone());
            }
        }
        let mut part = Step::new(Stage::Header, from..to);
        part.deadline = step.deadline;
        let wants = |chain: &Self, stage: Stage| {
            chain.plan.at(stage).iter().any(|at| (from..to).contains(at) && chain.seats[*at].is_in())
        };
        if wants(self, Stage::Header) {
            for header in headers {
                part.again();
                let event = Event::Header(header);
                self.show(&scene.replayed(Stage::Header), &mut part, &event).await;
                if part.decision.is_some() {
                    break;
                }
            }
        }
        let had_end = self.message.content.as_ref().is_some_and(|content| content.has_end_of_headers);
        if part.decision.is_none() && had_end {
            part = part.of(Stage::EndOfHeaders);
            self.show(&scene.replayed(Stage::EndOfHeaders), &mut part, &Event::EndOfHeaders).await;
        }
        if part.decision.is_none()
            && let Some(body) = body
            && wants(self, Stage::Body)
        {
            part = part.of(Stage::Body);
            let mut packets = Packets::of(&body, self.plan.payload);
            while let Some(packet) = packets.next().await {
                part.again();
                self.show(&scene.replayed(Stage::Body), &mut part, &Event::Body(packet?)).await;
                if part.decision.is_some() || !self.streams_body(from..to) {
                    break;
                }
            }
        }
        step.deadline = part.deadline;
        step.range = from..to;
        step.again();
        match part.decision {
            Some(decision) => step.decide(decision),
            None => self.show(scene, step, &Event::EndOfMessage).await,
        }
        Ok(())
    }

    fn streams_body(&self, range: std::ops::Range<usize>) -> bool {
        let wants = |at: &usize| {
            let seat = &self.seats[*at];
            range.contains(at) && seat.is_in() && !seat.skips
        };
        self.plan.at(Stage::Body).iter().any(wants)
    }

    /// The content as filters get it with all edits so far.
    async fn shown(
        &mut self,
        cx: &mut Context<'_, ()>,
        range: std::ops::Range<usize>,
    ) -> Result<(Vec<Header<Bytes>>, Option<Body>), BoxError> {
        let spaced = self.plan.spaced;
        let wants_body = self.seats[range]
            .iter()
            .any(|seat| seat.is_in() && (seat.terms.collect.body || seat.terms.called.at(Stage::Body)));
        let Some(content) = &self.message.content else { return Ok((Vec::new(), None)) };
        let draft = self.message.draft.as_mut().expect("edits were drafted before");
        let headers = match draft.shown() {
            Some(fields) => fields.map(|field| as_sent(field, spaced)).collect(),
            None => content.headers.clone(),
        };
        let body = match draft.body() {
            Some(new) if wants_body => {
                let profile = net::profile(cx.surroundings().target());
                Some(as_stored(new, profile, &cx.allowance()).await?)
            }
            _ => content.body().cloned(),
        };
        Ok((headers, body))
    }

    /// Takes the edits of the filters up to one of them.
    fn draft_edits(&mut self, cx: &mut Context<'_, ()>, step: &mut Step, to: usize) {
        let around = cx.surroundings();
        let target = around.target();
        if self.message.draft.is_none() {
            let rules = EditSpace {
                target,
                spaced: self.plan.spaced,
                own_space: self.plan.own_space,
                strict: around.mta.strict,
            };
            let content = self.message.content.as_ref();
            let fields = content.map(|content| content.fields()).unwrap_or_default();
            let recipients = std::mem::take(&mut self.message.recipients);
            self.message.draft = Some(Box::new(Draft::new(rules, fields, recipients)));
        }
        for at in self.message.drafted..to {
            let seat = &mut self.seats[at];
            if !seat.message.transaction.is_changed() {
                continue;
            }
            let transaction = std::mem::take(&mut seat.message.transaction);
            let own_space = seat.terms.own_space;
            match transaction.into_edits(|| target, around.mta.strict) {
                Ok((edits, replacement)) if seat.dry_run => {
                    if self.message.record.is_some() {
                        seat.record.new_body = replacement.is_some();
                        seat.record.edits.clone_from(&edits);
                    }
                    let count = edits.len() + usize::from(replacement.is_some());
                    tracing::debug!(filter = &*seat.name, count, "edits of a filter that is tried out");
                }
                Ok((edits, replacement)) => {
                    let turn = Turn::new(at, edits, replacement, own_space);
                    if self.message.record.is_some() {
                        (seat.record.edits, seat.record.new_body) = turn.summary();
                    }
                    self.message.draft.as_mut().expect("it was made above").push(turn);
                }
                // What is wrong with edits as a whole shows only now.
                Err(error) => self.fail(step, at, &Failure::Error(error)),
            }
        }
        self.message.drafted = to;
    }

    /// The verdict at the end of a message that no filter refuses; the change that all edits come to is asked for.
    pub(super) fn end_of_message(
        &mut self,
        cx: &mut Context<'_, ()>,
        step: &mut Step,
    ) -> Result<Verdict, BoxError> {
        let all_out = !self.seats.is_empty() && self.seats.iter().all(|seat| !seat.is_in());
        let verdict = if all_out { Verdict::Accept } else { Verdict::Continue };
        let edits = self.seats.iter().any(|seat| seat.message.transaction.is_changed());
        if !edits && self.message.draft.is_none() && !self.seats.iter().any(Seat::holds) {
            return Ok(verdict);
        }
        self.draft_edits(cx, step, self.seats.len());
        if step.decision.is_some() {
            return Ok(verdict);
        }
        let mut draft = self.message.draft.take().expect("edits were drafted");
        for seat in self.seats.iter().filter(|seat| seat.holds()) {
            draft.hold(hold_reason(&seat.name));
        }
        let change = match self.mode {
            Mode::Pipeline => draft.in_order(),
            Mode::Parallel(_) => draft.side_by_side(),
        };
        let Change { edits, replacement, conflicts } = change?;
        for Clash { what, first, second } in conflicts {
            let [first, second] = [first, second].map(|at| self.seats[at].name.clone());
            tracing::warn!(
                first = &*first,
                second = &*second,
                "both changed the {what} of the message, the later one counts"
            );
            if let Some(record) = &mut self.message.record {
                record.conflicts.push(Conflict { what, first, second });
            }
        }
        if edits.iter().any(|edit: &Edit<Bytes>| !self.plan.actions.contains(edit.action())) {
            return Err("the change that all edits come to needs an action that was not negotiated".into());
        }
        cx.transaction().put_edits(edits, replacement);
        Ok(verdict)
    }
}

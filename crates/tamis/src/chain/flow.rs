//! A chain's way through a connection: messages begin and end, steps go through the filters and are answered.

use std::sync::Arc;

use bytes::Bytes;
use tamis_proto::edit::model::Path;
use tamis_proto::{Stage, Verdict};
use tokio::time::Instant;

use super::content::{Content, cut};
use super::edits::Draft;
use super::failure::{Failure, note};
use super::member::Seat;
use super::record::{FilterRecord, Record, TARGET};
use super::scene::Scene;
use super::step::Step;
use super::verdict::{Decision, Ended, Extent};
use super::{Chain, Mode};
use crate::filter::{BoxError, Context, Event, Reply};
use crate::message::{Envelope, Facts};

/// Where filters fail that are at no stage.
const PARTING: &str = "abort or close";
const MESSAGE_END: &str = "the end of its message";

/// The message that is open, as far as it is all filters' business.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "they say different things")]
pub(super) struct Message {
    pub(super) open: bool,
    /// Some filters are out of it, or of its body.
    pub(super) some_are_out: bool,
    /// It is refused, which the MTA is told as soon as it can be.
    doomed: Option<Verdict>,
    /// What is written down of it, if somebody wants to know.
    pub(super) record: Option<Box<Record>>,
    /// Its content has begun.
    has_content: bool,
    pub(super) content: Option<Box<Content>>,
    /// The filters that are shown the content as it comes; all, if this is none.
    streams_to: Option<usize>,
    /// The recipients, if edits of theirs may meet.
    pub(super) recipients: Vec<Path>,
    /// The last one that came is among them.
    keeps_last: bool,
    /// The edits so far, of filters whose work was shown to others.
    pub(super) draft: Option<Box<Draft>>,
    /// Filters whose edits are in the draft.
    pub(super) drafted: usize,
}

impl Chain {
    /// Does as much of a step as needs no waiting; all of it, if there is a reply.
    pub(super) fn begin_step(
        &mut self,
        cx: &mut Context<'_, ()>,
        stage: Stage,
        event: &Event,
    ) -> Option<Reply> {
        self.forget_step();
        if stage == Stage::Unknown && self.message.doomed == Some(Verdict::Discard) {
            // An MTA says nothing more of a message that it discards: this comes behind it.
            self.end_message();
        }
        if stage.in_message() && (!self.message.open || stage == Stage::Mail) {
            self.end_message();
            self.begin_message();
        }
        self.note_queue_id(cx);
        self.observe(cx, stage, event);
        if let Some(verdict) = self.foregone(stage) {
            return Some(Ok(verdict));
        }
        let plain = self.plain.clone();
        let scene = self.scene(cx, stage, plain.as_deref());
        let mut step = Step::new(stage, 0..self.seats.len());
        if matches!(stage, Stage::Header | Stage::EndOfHeaders | Stage::Body | Stage::EndOfMessage) {
            self.begin_content(cx, &scene);
            step.range = 0..self.message.streams_to.unwrap_or(self.seats.len());
            if let Some(content) = &mut self.message.content {
                step.keeps = !content.keep(event, self.plan.keeps_headers);
            }
            let is_long = matches!(event, Event::Body(piece) if piece.len() > self.plan.payload);
            if step.keeps || is_long {
                self.step = Some(step);
                return None;
            }
            if stage == Stage::EndOfMessage {
                self.give_body(&step);
            }
        }
        self.advance(&scene, &mut step, event);
        if !step.waits && !self.hands_over(&step) {
            match self.conclude(cx, &mut step) {
                Ok(verdict) => step.verdict = Some(verdict),
                Err(error) => return Some(Err(self.give_up(error))),
            }
            self.part(&scene, &step);
            if !self.is_at_work() {
                return Some(Ok(self.end_step(step)));
            }
        }
        self.step = Some(step);
        None
    }

    /// Does the rest of a step.
    pub(super) async fn finish_step(
        &mut self,
        cx: &mut Context<'_, ()>,
        stage: Stage,
        event: &Event,
    ) -> Reply {
        if self.step.as_ref().is_none_or(|step| step.stage != stage)
            && let Some(reply) = self.begin_step(cx, stage, event)
        {
            return reply;
        }
        let mut step = self.step.take().expect("a step that is not done was begun");
        let plain = self.plain.clone();
        let scene = self.scene(cx, stage, plain.as_deref());
        if step.verdict.is_none() {
            match self.work(cx, &scene, &mut step, event).await {
                Ok(verdict) => step.verdict = Some(verdict),
                Err(error) => return Err(self.give_up(error)),
            }
            self.part(&scene, &step);
        }
        if self.is_at_work() {
            let until = step.deadline.unwrap_or_else(|| Instant::now() + scene.time);
            self.wait_for_farewells(&scene.farewell(), &Event::Abort, until).await;
        }
        Ok(self.end_step(step))
    }

    /// The message cannot be finished, which is no filter's fault.
    fn give_up(&mut self, error: BoxError) -> BoxError {
        self.end_message();
        error
    }

    fn note_queue_id(&mut self, cx: &Context<'_, ()>) {
        if let Some(record) = &mut self.message.record
            && record.queue_id.is_none()
        {
            record.queue_id = cx.queue_id().map(Bytes::copy_from_slice);
        }
    }

    fn note_verdict(&mut self, stage: Stage, verdict: &Verdict) {
        if let Some(record) = &mut self.message.record
            && stage.in_message()
        {
            record.verdict = Some((stage, verdict.clone()));
        }
    }

    /// Whether filters need time.
    fn is_at_work(&self) -> bool {
        self.seats.iter().any(|seat| seat.later.is_some())
    }

    /// Brings a step to its verdict.
    async fn work(
        &mut self,
        cx: &mut Context<'_, ()>,
        scene: &Scene<'_>,
        step: &mut Step,
        event: &Event,
    ) -> Reply {
        if std::mem::take(&mut step.keeps) {
            self.wait_for_room(step).await;
        }
        if step.stage == Stage::EndOfMessage && !step.waits {
            self.give_body(step);
        }
        match event {
            Event::Body(piece) if piece.len() > self.plan.payload => {
                for piece in cut(piece.clone(), self.plan.payload) {
                    step.again();
                    self.show(scene, step, &Event::Body(piece)).await;
                    if step.decision.is_some() {
                        break;
                    }
                }
            }
            event => {
                if step.waits {
                    self.wait(scene, step, event).await;
                }
                self.show(scene, step, event).await;
            }
        }
        while self.hands_over(step) {
            self.hand_over(cx, scene, step).await?;
        }
        self.conclude(cx, step)
    }

    /// Takes an event through the filters that it was not offered yet.
    pub(super) async fn show(&mut self, scene: &Scene<'_>, step: &mut Step, event: &Event) {
        while step.decision.is_none() {
            self.advance(scene, step, event);
            if !step.waits {
                break;
            }
            self.wait(scene, step, event).await;
        }
    }

    fn scene<'a>(&self, cx: &Context<'a, ()>, stage: Stage, plain: Option<&'a Envelope>) -> Scene<'a> {
        // A recipient that one filter refused is over for the others, and their message is not.
        let cancels = matches!(self.mode, Mode::Parallel(_)) || cx.surroundings().goes_on;
        let goes_on = cancels && matches!(stage, Stage::Rcpt | Stage::Unknown);
        let rejected = stage == Stage::Rcpt && self.is_rejected(cx);
        Scene { goes_on, rejected, plain, ..Scene::new(cx.surroundings(), Some(stage)) }
    }

    fn is_rejected(&self, cx: &Context<'_, ()>) -> bool {
        self.plan.hides_rejected && Facts::new(cx.macros()).rejection().is_some()
    }

    /// Takes note of the envelope that filters see who do not want recipients that the MTA rejects.
    fn observe(&mut self, cx: &Context<'_, ()>, stage: Stage, event: &Event) {
        if let Event::Rcpt(recipient) = event
            && self.plan.keeps_recipients
        {
            self.message.keeps_last = Facts::new(cx.macros()).rejection().is_none();
            if self.message.keeps_last {
                self.message.recipients.push(Path::with_args(&recipient.address, recipient.args()));
            }
        }
        let is_envelope = matches!(stage, Stage::Connect | Stage::Helo | Stage::Mail | Stage::Rcpt);
        if !self.plan.hides_rejected || !is_envelope || stage == Stage::Rcpt && self.is_rejected(cx) {
            return;
        }
        // It may stay for long, and must not keep alive what was read with it.
        let event = event.clone().map(|bytes| Bytes::copy_from_slice(&bytes));
        Arc::make_mut(self.plain.get_or_insert_default()).observe(&event, cx.facts());
    }

    fn begin_message(&mut self) {
        self.message = Message { open: true, ..Message::default() };
        if self.observer.is_some() || tracing::enabled!(target: TARGET, tracing::Level::INFO) {
            self.message.record = Some(Box::default());
        }
        let can_hold = self.plan.can_hold();
        for seat in &mut self.seats {
            seat.begin_message();
            self.message.some_are_out |= !seat.is_in();
            if self.message.record.is_some() {
                seat.note_lasting_failure();
            }
            // What failed for the connection is answered for with each message.
            if seat.failed.is_some()
                && !seat.dry_run
                && self.message.doomed.is_none()
                && let Some(verdict) = seat.on_failure.verdict(can_hold)
            {
                self.message.doomed = Some(verdict);
            }
        }
    }

    fn begin_content(&mut self, cx: &mut Context<'_, ()>, scene: &Scene<'_>) {
        if std::mem::replace(&mut self.message.has_content, true) {
            return;
        }
        if self.plan.keeps_headers || self.plan.keeps_body {
            let allowance = self.plan.keeps_body.then(|| cx.allowance());
            self.message.content = Some(Box::new(Content::new(allowance)));
        }
        if self.plan.has_conditions {
            self.settle_gates(scene, scene.stage.expect("content has a stage"));
        }
        if self.mode == Mode::Pipeline {
            self.message.streams_to = self.next_editor(0).map(|editor| editor + 1);
        }
    }

    /// What is said at a stage that no filter is asked about any more.
    fn foregone(&mut self, stage: Stage) -> Option<Verdict> {
        let answers = self.plan.answers(stage);
        if let Some(Ended(verdict)) = &self.ended {
            return Some(if answers { verdict.clone() } else { Verdict::Continue });
        }
        if !stage.in_message() {
            return None;
        }
        let verdict = self.message.doomed.clone()?;
        if !answers {
            return Some(Verdict::Continue);
        }
        self.note_verdict(stage, &verdict);
        if stage != Stage::Rcpt {
            self.end_message();
        }
        Some(verdict)
    }

    /// The verdict of the chain when all filters have said theirs.
    fn conclude(&mut self, cx: &mut Context<'_, ()>, step: &mut Step) -> Reply {
        let stage = step.stage;
        if step.decision.is_none() && stage == Stage::EndOfMessage {
            let verdict = self.end_of_message(cx, step)?;
            if step.decision.is_none() {
                step.closes = true;
                return Ok(verdict);
            }
        }
        match step.decision.take() {
            Some(decision) => Ok(self.stop(step, decision)),
            None => Ok(self.pass(cx, stage, step)),
        }
    }

    /// The verdict where no filter refuses.
    fn pass(&mut self, _cx: &mut Context<'_, ()>, stage: Stage, step: &mut Step) -> Verdict {
        if !self.message.some_are_out && stage.in_message() || !self.plan.answers(stage) {
            return Verdict::Continue;
        }
        let extent = match stage {
            Stage::Unknown => return Verdict::Continue,
            Stage::Connect | Stage::Helo => Extent::Connection,
            _ => Extent::Message,
        };
        // A filter that is tried out is not to miss the rest.
        let all_out = self.seats.iter().all(|seat| seat.out >= Some(extent)) && !self.seats.is_empty();
        let holds = self.seats.iter().any(Seat::holds);
        let edits = || self.seats.iter().any(|seat| seat.message.transaction.is_changed());
        if all_out && !(extent == Extent::Message && edits()) && !holds {
            step.closes = extent == Extent::Message;
            return Verdict::Accept;
        }
        if stage == Stage::Body && self.wants_no_more_body() { Verdict::Skip } else { Verdict::Continue }
    }

    fn wants_no_more_body(&self) -> bool {
        let wants = |at: &usize| {
            let seat = &self.seats[*at];
            seat.is_in() && !seat.skips
        };
        let whole = self.seats.iter().any(|seat| seat.is_in() && seat.terms.collect.body);
        !whole && !self.plan.at(Stage::Body).iter().any(wants)
    }

    /// The verdict of a filter ends something for all.
    fn stop(&mut self, step: &mut Step, decision: Decision) -> Verdict {
        let Decision { verdict, extent, .. } = decision;
        let answers = self.plan.answers(step.stage);
        if extent >= Extent::Message && self.message.open {
            for seat in &mut self.seats {
                seat.aborts = seat.can_abort();
            }
            // A verdict at rcpt is on one recipient; the message hears of it with the next ones and at its end.
            step.closes = answers && !matches!(step.stage, Stage::Rcpt | Stage::Unknown);
            if !step.closes {
                self.message.doomed = Some(verdict.clone());
            }
        } else if extent == Extent::Recipient && !answers {
            self.message.doomed = Some(verdict.clone());
            for seat in &mut self.seats {
                seat.aborts = seat.can_abort();
            }
        }
        if extent == Extent::Recipient && answers {
            if self.message.keeps_last {
                self.message.recipients.pop();
            }
            if let Some(plain) = &mut self.plain {
                Arc::make_mut(plain).remove_last_recipient();
            }
        }
        if extent == Extent::Connection {
            self.ended = Some(Ended(verdict.clone()));
        }
        if answers { verdict } else { Verdict::Continue }
    }

    /// Tells filters that the message is given up which are not done with it.
    fn part(&mut self, scene: &Scene<'_>, step: &Step) {
        if self.message.some_are_out || step.closes || self.message.doomed.is_some() {
            self.tell(&scene.farewell(), &Event::Abort, |seat| std::mem::take(&mut seat.aborts));
        }
    }

    /// Tells filters something that nobody answers, as far as they need no time.
    fn tell(&mut self, scene: &Scene<'_>, event: &Event, whom: impl Fn(&mut Seat) -> bool) {
        for at in 0..self.seats.len() {
            let seat = &mut self.seats[at];
            if !whom(seat) {
                continue;
            }
            seat.joined = false;
            match seat.now(scene, &mut scene.shown(), event, true) {
                Ok(Some(reply)) => self.parted(at, reply.map_err(Failure::Error)),
                Ok(None) => {}
                Err(text) => self.parted(at, Err(Failure::Panicked(text))),
            }
        }
    }

    /// A filter was told what nobody answers.
    pub(super) fn parted(&mut self, at: usize, said: Result<Verdict, Failure>) {
        let seat = &mut self.seats[at];
        match said {
            Ok(Verdict::Continue) => {}
            Ok(verdict) => {
                let filter = &*seat.name;
                tracing::error!(filter, "abort and close cannot have a verdict, {verdict} was dropped");
            }
            Err(failure) => {
                failure.log(&seat.name, PARTING, seat.on_failure.name());
                note(&mut self.failed, &seat.name, &failure);
                if failure.lasts() {
                    seat.leave(Extent::Connection);
                    seat.fail(Extent::Connection, PARTING, &failure);
                }
            }
        }
    }

    fn end_step(&mut self, step: Step) -> Verdict {
        if let Some(verdict) = step.verdict.as_ref().filter(|_| step.closes) {
            self.note_verdict(step.stage, verdict);
        }
        if step.closes || !self.message.open {
            self.end_message();
        }
        step.verdict.expect("it was set before")
    }

    /// Forgets a step that was cancelled: nobody waits for it any more.
    fn forget_step(&mut self) {
        if self.step.take().is_some() {
            self.seats.iter_mut().for_each(Seat::forget_step);
        }
    }

    /// Forgets the message, however it ended.
    fn end_message(&mut self) {
        if let Some(record) = std::mem::take(&mut self.message).record {
            self.report(*record);
        }
        for at in 0..self.seats.len() {
            if let Err(text) = self.seats[at].end_message() {
                let (failure, seat) = (Failure::Panicked(text), &mut self.seats[at]);
                failure.log(&seat.name, MESSAGE_END, seat.on_failure.name());
                note(&mut self.failed, &seat.name, &failure);
                seat.leave(Extent::Connection);
                seat.fail(Extent::Connection, MESSAGE_END, &failure);
            }
        }
    }

    /// Hands out what was written down of a message.
    fn report(&mut self, mut record: Record) {
        for seat in &mut self.seats {
            let next =
                FilterRecord { name: seat.name.clone(), dry_run: seat.dry_run, ..FilterRecord::default() };
            record.filters.push(std::mem::replace(&mut *seat.record, next));
        }
        record.log();
        if let Some(observer) = &self.observer {
            observer.message(&record);
        }
    }

    /// The message is given up, or the connection is over.
    pub(super) fn begin_farewell(&mut self, cx: &mut Context<'_, ()>, event: &Event) -> Option<Reply> {
        self.forget_step();
        let scene = Scene::new(cx.surroundings(), None);
        let is_close = *event == Event::Close;
        if is_close {
            self.tell(&scene, event, Seat::closes);
        } else {
            self.tell(&scene, event, |seat| seat.can_abort());
        }
        if self.is_at_work() {
            return None;
        }
        self.end_farewell(is_close);
        Some(Ok(Verdict::Continue))
    }

    pub(super) async fn finish_farewell(&mut self, cx: &mut Context<'_, ()>, event: &Event) -> Reply {
        let scene = Scene::new(cx.surroundings(), None);
        self.wait_for_farewells(&scene, event, Instant::now() + scene.time).await;
        self.end_farewell(*event == Event::Close);
        Ok(Verdict::Continue)
    }

    fn end_farewell(&mut self, is_close: bool) {
        self.end_message();
        if is_close {
            // The MTA may go on with another client.
            self.ended = None;
            self.plain = None;
            self.seats.iter_mut().for_each(Seat::reopen);
        }
    }

    /// Waits until there is room for the body. Where there is none, it is the failure of those that want it.
    async fn wait_for_room(&mut self, step: &mut Step) {
        let Some(content) = &mut self.message.content else { return };
        let Err(error) = content.ready(step.stage == Stage::EndOfMessage).await else { return };
        content.give_up_body();
        let error = error.to_string();
        for at in 0..self.seats.len() {
            let seat = &self.seats[at];
            let late = self.message.streams_to.is_some_and(|streams_to| at >= streams_to);
            if seat.is_in() && (seat.terms.collect.body || late && seat.terms.called.at(Stage::Body)) {
                self.fail(step, at, &Failure::Error(BoxError::from(error.clone())));
            }
        }
    }

    /// Gives the filters of a step the whole body.
    fn give_body(&mut self, step: &Step) {
        if let Some(content) = &self.message.content {
            for seat in &mut self.seats[step.range.clone()] {
                if seat.terms.collect.body {
                    seat.message.transaction.give_body(content.body().cloned());
                }
            }
        }
    }
}

/// Why a failed filter has a message held.
pub(super) fn hold_reason(filter: &str) -> Bytes {
    let clean = filter.chars().map(|c| if c.is_control() { '?' } else { c });
    format!("filter {} failed", clean.collect::<String>()).into()
}

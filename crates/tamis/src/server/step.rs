//! One step of a session: an event, what the filter says to it, and what the MTA is told. What has to be waited for is
//! left to [`later`](super::later).

use std::fmt::Display;
use std::time::Duration;

use tamis_proto::{Event as Received, FilterSession, Misuse, Sent, Stage, Verdict, trace};

use super::call::{self, Ended};
use super::connection::Connection;
use super::later::Later;
use super::lost::Lost;
use super::work::{Turn, Work};
use super::{Options, Shared};
use crate::filter::{
    Asked, Context, Event, Filter, MessageState, MtaHints, Now, Peer, Reply, Surroundings, View,
};
use crate::message::Envelope;
use crate::recorder::{Alarm, Cause};

impl<F: Filter> Connection<F> {
    /// Handles an event as far as that takes no waiting, which mostly is all of it.
    pub(super) fn handle(&mut self, work: &mut Work<F>, event: Event) -> Option<Later> {
        let Some(stage) = event.stage() else { return self.handle_notice(work, event) };
        if stage == Stage::Mail || stage.in_message() && !work.open {
            self.end_message(work);
            self.begin_message(work);
        }
        self.observe(stage, &event);
        match work.turn {
            Turn::Filter if self.dead && stage.in_message() => {
                let verdict = self.fail_message(work, stage);
                self.answer(work, stage, verdict)
            }
            Turn::Filter if self.dead => self.answer(work, stage, Verdict::Continue),
            Turn::Filter if work.message.transaction.keep(&event) => Some(Later::Keep(stage, event)),
            Turn::Filter => self.ask(work, stage, event),
            Turn::Accepted => {
                // The header that was edited goes on.
                work.message.transaction.keep(&event);
                let verdict = match stage {
                    Stage::EndOfMessage => Verdict::Accept,
                    Stage::Body if self.session.takes_verdict() => Verdict::Skip,
                    _ => Verdict::Continue,
                };
                self.answer(work, stage, verdict)
            }
            Turn::Failed => self.answer(work, stage, Verdict::Continue),
        }
    }

    /// Handles an event that is not answered with a verdict.
    fn handle_notice(&mut self, work: &mut Work<F>, event: Event) -> Option<Later> {
        let closes = match event {
            Received::Negotiate(offer) => return Some(Later::Negotiate(offer)),
            Received::Close => true,
            _ => false,
        };
        if let Some(event) = self.notify_now(&mut work.message, event) {
            return Some(Later::Notify(event));
        }
        self.end_noticed(work, closes);
        None
    }

    /// Forgets what was given up: the message, or everything.
    pub(super) fn end_noticed(&mut self, work: &mut Work<F>, closes: bool) {
        self.end_message(work);
        if closes {
            self.forget_client();
        }
    }

    /// Takes note of a message that is over, which the session may have seen to without the filter.
    pub(super) fn settle(&mut self, work: &mut Work<F>) {
        if !work.open {
            // Nothing is kept outside a message.
            self.end_message(work);
        } else if !self.session.in_message() {
            self.end_message(work);
            work.judged = true;
            self.shared.counters.message();
        }
    }

    /// Has the filter handle an event that the MTA waits for, or may wait for.
    pub(super) fn ask(&mut self, work: &mut Work<F>, stage: Stage, event: Event) -> Option<Later> {
        if !self.declared.called.at(stage) {
            return self.answer(work, stage, Verdict::Continue);
        }
        let asked = work.message.transaction.asked();
        let Self { session, filter, place, shared, envelope, header_macros, tap, .. } = self;
        let alarm = tap.alarm().map(|alarm| &**alarm);
        let seen = surroundings(session, place.peer(), envelope.as_deref(), shared, *header_macros, alarm);
        let mut cx = Context::new(&mut work.message, &seen);
        let ended = match call::guard(|| filter.now(&mut cx, event)) {
            // Mostly, and there is no more to it.
            Ok(Now::Done(Ok(Verdict::Continue))) if stage != Stage::EndOfMessage => {
                self.session.respond(Verdict::Continue).expect("every stage knows it");
                self.settle(work);
                return None;
            }
            Ok(Now::Done(reply)) => Ended::Done(reply),
            Ok(Now::Later(event)) => return Some(Later::Call(stage, event, asked)),
            Err(text) => Ended::Panicked(text),
        };
        let Ok(verdict) = self.judge(work, stage, ended, asked) else {
            unreachable!("nothing is waited for but the filter")
        };
        self.answer(work, stage, verdict)
    }

    /// What is to be said when the filter has handled an event, having asked for so much before.
    pub(super) fn judge(
        &mut self,
        work: &mut Work<F>,
        stage: Stage,
        ended: Ended<Reply>,
        asked: Asked,
    ) -> Result<Verdict, Lost> {
        self.record_alarm(stage.name());
        let (cause, what) = match ended {
            Ended::Done(Ok(verdict)) => {
                if stage != Stage::EndOfMessage || !self.declared.watches_end || verdict == Verdict::Continue
                {
                    return Ok(verdict);
                }
                (Cause::Error, Misuse::NoReplyStage(stage).to_string())
            }
            Ended::Done(Err(error)) => (Cause::Error, error.to_string()),
            Ended::Panicked(text) => {
                self.dead = true;
                (Cause::Panic, format!("panic: {text}"))
            }
            Ended::TimedOut(limit) => (Cause::Timeout, format!("no verdict within {limit:?}")),
            Ended::Lost(lost) => return Err(lost),
        };
        // A step that failed asks for nothing, a filter that panicked never did.
        work.message.transaction.take_back(if self.dead { Asked::default() } else { asked });
        Ok(self.failed(work, stage, cause, &what))
    }

    /// Logs a failure and says what the MTA is told now.
    pub(super) fn failed(
        &mut self,
        work: &mut Work<F>,
        stage: Stage,
        cause: Cause,
        what: &dyn Display,
    ) -> Verdict {
        self.log_failure(stage, &self.shared.options.on_failure, what);
        self.record(cause, stage.name(), what);
        self.fail_message(work, stage)
    }

    pub(super) fn log_failure(&self, stage: Stage, verdict: &Verdict, what: &dyn Display) {
        let queue_id = trace::Text(self.session.macros().get("i").unwrap_or_default());
        let verdict = verdict.name();
        tracing::error!(%stage, %queue_id, verdict, "filter failed: {what}");
        self.shared.witness.failed(stage.name(), what);
    }

    /// What a failure means at this stage. Where no verdict is due it is said at the next answered stage, and
    /// at rcpt of every recipient. The filter is out of the message either way.
    pub(super) fn fail_message(&mut self, work: &mut Work<F>, stage: Stage) -> Verdict {
        let verdict = match &self.shared.options.on_failure {
            // Hardly a stage knows it.
            Verdict::Skip => Verdict::Continue,
            verdict => verdict.clone(),
        };
        if stage.in_message() && verdict != Verdict::Continue {
            work.turn = Turn::Failed;
            work.message.transaction.take_back(Asked::default());
            work.message.transaction.drop_body();
        }
        let due = self.session.takes_verdict();
        if !due || stage == Stage::Rcpt {
            self.session.defer(verdict.clone());
        }
        if due { verdict } else { Verdict::Continue }
    }

    /// Says what was decided, at end of message after the modifications. A new body is left to be sent.
    pub(super) fn answer(&mut self, work: &mut Work<F>, stage: Stage, mut verdict: Verdict) -> Option<Later> {
        if stage == Stage::EndOfMessage && matches!(verdict, Verdict::Continue | Verdict::Accept) {
            match self.modify(work) {
                // What is wrong with modifications as a whole shows only now.
                Err(error) => verdict = self.failed(work, stage, Cause::Error, &error),
                Ok(Some(body)) => return Some(Later::Send(body, verdict)),
                Ok(None) => {}
            }
        }
        self.respond(work, stage, verdict);
        None
    }

    /// Gives the verdict to the session.
    pub(super) fn respond(&mut self, work: &mut Work<F>, stage: Stage, mut verdict: Verdict) {
        let early = stage.in_message() && stage != Stage::EndOfMessage && self.session.takes_verdict();
        if verdict == Verdict::Accept && early && work.message.transaction.is_changed() {
            work.turn = Turn::Accepted;
            work.message.transaction.drop_body();
            verdict = if stage == Stage::Body { Verdict::Skip } else { Verdict::Continue };
        }
        let refuses = verdict.stops();
        let name = verdict.name();
        match self.session.respond(verdict) {
            Ok(Sent::ContinueInstead) => {
                tracing::warn!(%stage, "MTAs misbehave on {name} at this stage, continue was sent instead");
            }
            Ok(_) => {
                if let (Some(envelope), Stage::Rcpt, true) = (&mut self.envelope, stage, refuses) {
                    envelope.remove_last_recipient();
                }
            }
            // A verdict that the stage does not know is a failure like any other.
            Err(misuse) => {
                let instead = self.failed(work, stage, Cause::Error, &misuse);
                self.session.respond(instead).expect("the verdict of a failure is known to every stage");
            }
        }
        self.settle(work);
    }

    /// Tells the filter something that is not answered. What it has to wait for is handed back.
    pub(super) fn notify_now(
        &mut self,
        message: &mut MessageState<F::Message>,
        event: Event,
    ) -> Option<Event> {
        if self.dead {
            return None;
        }
        let name = event.name();
        let Self { session, filter, place, shared, envelope, header_macros, tap, .. } = self;
        let alarm = tap.alarm().map(|alarm| &**alarm);
        let seen = surroundings(session, place.peer(), envelope.as_deref(), shared, *header_macros, alarm);
        let mut cx = Context::new(message, &seen);
        let ended = match call::guard(|| filter.now(&mut cx, event)) {
            Ok(Now::Later(event)) => return Some(event),
            Ok(Now::Done(reply)) => Ended::Done(reply),
            Err(text) => Ended::Panicked(text),
        };
        self.note_notified(name, ended);
        None
    }

    /// Takes note of how the filter took something that is not answered.
    pub(super) fn note_notified(&mut self, name: &'static str, ended: Ended<Reply>) {
        self.record_alarm(name);
        let (cause, what) = match ended {
            Ended::Done(Ok(Verdict::Continue)) => return,
            Ended::Done(Ok(verdict)) => {
                (Cause::Error, format!("it cannot have a verdict, {verdict} was dropped"))
            }
            Ended::Done(Err(error)) => (Cause::Error, error.to_string()),
            Ended::Panicked(text) => {
                self.dead = true;
                (Cause::Panic, format!("panic: {text}"))
            }
            Ended::TimedOut(limit) => (Cause::Timeout, format!("not done within {limit:?}")),
            Ended::Lost(_) => unreachable!("nothing is waited for but the filter"),
        };
        tracing::error!("filter failed at {name}: {what}");
        self.shared.witness.failed(name, &what);
        self.record(cause, name, &what);
    }
}

/// What a handler can look at now.
pub(super) fn surroundings<'a>(
    session: &'a FilterSession,
    peer: &'a Peer,
    envelope: Option<&'a Envelope>,
    shared: &'a Shared,
    header_macros: bool,
    alarm: Option<&'a Alarm>,
) -> Surroundings<'a> {
    let Options { mta, strict, .. } = shared.options;
    let view = View::of(session);
    Surroundings {
        time: time(view.stage, &shared.options),
        view,
        peer,
        envelope,
        budget: &shared.bodies,
        mta: MtaHints { target: mta, header_macros, strict },
        goes_on: false,
        alarm,
    }
}

/// How long a handler may take.
pub(super) fn time(stage: Option<Stage>, options: &Options) -> Duration {
    match stage {
        Some(Stage::EndOfMessage) => options.end_of_message_time,
        _ => options.stage_time,
    }
}

//! One step of a session: an event, what the filter says to it, and what the MTA is told.

use std::fmt::Display;

use tamis_proto::{Event as Received, Misuse, Offer, Output, See, Sent, Stage, Verdict, trace};

use super::call::{self, Around, Ended};
use super::connection::Connection;
use super::lost::Lost;
use super::work::{Turn, Work};
use crate::filter::{Context, Event, Filter, MessageState, Now, Reply};

impl<F: Filter> Connection<F> {
    pub(super) async fn handle(&mut self, work: &mut Work<F>, event: Event) -> Result<(), Lost> {
        match event {
            Received::Negotiate(offer) => self.negotiate(work, offer).await,
            Received::Abort | Received::Close => {
                self.notify(&mut work.message, event).await;
                self.end_message(work);
                Ok(())
            }
            event => {
                let stage = event.stage().expect("all other events have a stage");
                if stage == Stage::Mail || stage.in_message() && !work.open {
                    self.end_message(work);
                    work.open = true;
                }
                let verdict = self.verdict(work, stage, event).await?;
                self.answer(work, stage, verdict);
                self.settle(work);
                Ok(())
            }
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

    /// Tells the filter that everything is over, as far as it does not know yet.
    pub(super) async fn conclude(&mut self, message: &mut MessageState<F::Message>) {
        while let Some(event) = self.session.end() {
            self.notify(message, event.map(bytes::Bytes::from_static)).await;
            self.drop_state(message);
        }
    }

    async fn negotiate(&mut self, work: &mut Work<F>, offer: Offer) -> Result<(), Lost> {
        let Self { stream, filter, peer, shared, held, .. } = self;
        let limit = shared.options.stage_time;
        let mut nothing = Output::default();
        let around = Around {
            stream,
            pending: &mut nothing,
            buf: &mut work.buf,
            held,
            read_ahead: shared.options.read_ahead,
            limit,
            progress: None,
            write_time: shared.options.write_time,
            shutdown: &shared.shutdown,
            id: peer.id,
        };
        // Called inside, so that a panic of what is no `async fn` is caught too.
        let needs = match call::run(async { filter.negotiate(&offer).await }, around).await {
            Ended::Done(Ok(needs)) => needs,
            Ended::Done(Err(error)) => return Err(Lost::Negotiation(error.to_string())),
            Ended::Panicked(text) => {
                self.dead = true;
                return Err(Lost::Negotiation(format!("the filter panicked: {text}")));
            }
            Ended::TimedOut(limit) => {
                return Err(Lost::Negotiation(format!("the filter took longer than {limit:?}")));
            }
            Ended::Lost(lost) => return Err(lost),
        };
        // The end of message is always answered, so that a failure there can be told.
        self.watches_end = needs.sees(Stage::EndOfMessage) == See::Watch;
        let needs = if self.watches_end { needs.answer([Stage::EndOfMessage]) } else { needs };
        let agreement =
            self.session.negotiate(&needs).map_err(|refusal| Lost::Negotiation(refusal.to_string()))?;
        tracing::debug!(
            version = agreement.version,
            actions = %agreement.actions,
            steps = %agreement.steps,
            "negotiated"
        );
        Ok(())
    }

    /// What is to be said about an event.
    async fn verdict(&mut self, work: &mut Work<F>, stage: Stage, event: Event) -> Result<Verdict, Lost> {
        match work.turn {
            Turn::Accepted if stage == Stage::EndOfMessage => return Ok(Verdict::Accept),
            Turn::Accepted if stage == Stage::Body && self.session.takes_verdict() => {
                return Ok(Verdict::Skip);
            }
            Turn::Accepted | Turn::Failed => return Ok(Verdict::Continue),
            Turn::Filter if self.dead && stage.in_message() => return Ok(self.fail_message(work, stage)),
            Turn::Filter if self.dead => return Ok(Verdict::Continue),
            Turn::Filter => {}
        }
        let asked = work.message.edits.len();
        let what = match self.call(work, stage, event).await {
            Ended::Done(Ok(verdict)) => {
                if stage != Stage::EndOfMessage || !self.watches_end || verdict == Verdict::Continue {
                    return Ok(verdict);
                }
                Misuse::NoReplyStage(stage).to_string()
            }
            Ended::Done(Err(error)) => error.to_string(),
            Ended::Panicked(text) => {
                self.dead = true;
                format!("panic: {text}")
            }
            Ended::TimedOut(limit) => format!("no verdict within {limit:?}"),
            Ended::Lost(lost) => return Err(lost),
        };
        // A step that failed asks for nothing, a filter that panicked never did.
        work.message.edits.truncate(if self.dead { 0 } else { asked });
        Ok(self.failed(work, stage, &what))
    }

    /// Logs a failure and says what the MTA is told now.
    fn failed(&mut self, work: &mut Work<F>, stage: Stage, what: &dyn Display) -> Verdict {
        let queue_id = trace::Text(self.session.macros().get("i").unwrap_or_default());
        let verdict = self.shared.options.on_failure.name();
        tracing::error!(%stage, %queue_id, verdict, "filter failed: {what}");
        self.fail_message(work, stage)
    }

    /// What a failure means at this stage. Where no verdict is due it is said at the next answered stage, and
    /// at rcpt of every recipient. The filter is out of the message either way.
    fn fail_message(&mut self, work: &mut Work<F>, stage: Stage) -> Verdict {
        let verdict = match &self.shared.options.on_failure {
            // Hardly a stage knows it.
            Verdict::Skip => Verdict::Continue,
            verdict => verdict.clone(),
        };
        if stage.in_message() && verdict != Verdict::Continue {
            work.turn = Turn::Failed;
            work.message.edits.clear();
        }
        let due = self.session.takes_verdict();
        if !due || stage == Stage::Rcpt {
            self.session.defer(verdict.clone());
        }
        if due { verdict } else { Verdict::Continue }
    }

    /// Gives the verdict to the session, at end of message after the modifications.
    fn answer(&mut self, work: &mut Work<F>, stage: Stage, mut verdict: Verdict) {
        if stage == Stage::EndOfMessage && matches!(verdict, Verdict::Continue | Verdict::Accept) {
            for edit in std::mem::take(&mut work.message.edits) {
                if let Err(misuse) = self.session.edit(edit) {
                    // Modifications were checked when they were asked for, so this is ours to explain.
                    verdict = self.failed(work, stage, &misuse);
                    break;
                }
            }
        }
        let early = stage.in_message() && stage != Stage::EndOfMessage && self.session.takes_verdict();
        if verdict == Verdict::Accept && early && !work.message.edits.is_empty() {
            work.turn = Turn::Accepted;
            verdict = if stage == Stage::Body { Verdict::Skip } else { Verdict::Continue };
        }
        match self.session.respond(verdict.clone()) {
            Ok(Sent::ContinueInstead) => {
                tracing::warn!(%stage, "MTAs misbehave on {verdict} at this stage, continue was sent instead");
            }
            Ok(_) => {}
            // A verdict that the stage does not know is a failure like any other.
            Err(misuse) => {
                let instead = self.failed(work, stage, &misuse);
                self.session.respond(instead).expect("the verdict of a failure is known to every stage");
            }
        }
    }

    /// Has the filter handle an event that the MTA waits for, or may wait for.
    async fn call(&mut self, work: &mut Work<F>, stage: Stage, event: Event) -> Ended<Reply> {
        let Self { stream, session, filter, peer, shared, held, .. } = self;
        let options = &shared.options;
        let progress = session.progress_frame().ok().map(|frame| (frame, options.progress_every));
        let mut pending = std::mem::take(session.output());
        let mut cx = Context::new(&mut work.message, session, peer);
        let ended = match call::guard(|| filter.now(&mut cx, event)) {
            Ok(Now::Later(event)) => {
                let around = Around {
                    stream,
                    pending: &mut pending,
                    buf: &mut work.buf,
                    held,
                    read_ahead: options.read_ahead,
                    limit: match stage {
                        Stage::EndOfMessage => options.end_of_message_time,
                        _ => options.stage_time,
                    },
                    progress,
                    write_time: options.write_time,
                    shutdown: &shared.shutdown,
                    id: peer.id,
                };
                call::run(async { filter.on(&mut cx, event).await }, around).await
            }
            Ok(Now::Done(reply)) => Ended::Done(reply),
            Err(text) => Ended::Panicked(text),
        };
        *session.output() = pending;
        ended
    }

    /// Tells the filter something that is not answered.
    async fn notify(&mut self, message: &mut MessageState<F::Message>, event: Event) {
        if self.dead {
            return;
        }
        let name = event.name();
        let Self { session, filter, peer, shared, .. } = self;
        let mut cx = Context::new(message, session, peer);
        let ended = match call::guard(|| filter.now(&mut cx, event)) {
            Ok(Now::Later(event)) => {
                let handler = async { filter.on(&mut cx, event).await };
                call::run_alone(handler, shared.options.stage_time).await
            }
            Ok(Now::Done(reply)) => Ended::Done(reply),
            Err(text) => Ended::Panicked(text),
        };
        match ended {
            Ended::Done(Ok(Verdict::Continue)) => {}
            Ended::Done(Ok(verdict)) => {
                tracing::error!("filter failed at {name}: it cannot have a verdict, {verdict} was dropped");
            }
            Ended::Done(Err(error)) => tracing::error!("filter failed at {name}: {error}"),
            Ended::Panicked(text) => {
                self.dead = true;
                tracing::error!("filter failed at {name}: panic: {text}");
            }
            Ended::TimedOut(limit) => tracing::error!("filter failed at {name}: not done within {limit:?}"),
            Ended::Lost(_) => unreachable!("nothing is waited for but the filter"),
        }
    }

    fn end_message(&mut self, work: &mut Work<F>) {
        self.drop_state(&mut work.message);
        work.open = false;
        work.turn = Turn::Filter;
    }

    /// Drops the state of a message, which is the filter's code too.
    fn drop_state(&mut self, message: &mut MessageState<F::Message>) {
        if let Err(text) = call::guard(|| drop(std::mem::take(message))) {
            self.dead = true;
            tracing::error!("filter failed at the end of its message: panic: {text}");
        }
    }
}

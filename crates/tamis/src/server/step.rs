//! One step of a session: an event, what the filter says to it, and what the MTA is told.

use std::fmt::Display;
use std::time::Duration;

use bytes::BytesMut;
use tamis_proto::{
    Event as Received, FilterSession, Misuse, Offer, Output, See, Sent, Stage, Verdict, trace,
};

use super::budget::Held;
use super::call::{self, Around, Ended};
use super::connection::{Connection, Declared};
use super::lost::Lost;
use super::work::{Turn, Work};
use super::{Options, Shared};
use crate::filter::{
    Asked, Called, Context, Event, Filter, MessageState, MtaHints, Now, Peer, Reply, Surroundings, View,
};
use crate::message::Envelope;
use crate::stream::Stream;

impl<F: Filter> Connection<F> {
    pub(super) async fn handle(&mut self, work: &mut Work<F>, event: Event) -> Result<(), Lost> {
        match event {
            Received::Negotiate(offer) => self.negotiate(work, offer).await,
            Received::Abort | Received::Close => {
                let closes = event == Received::Close;
                self.notify(&mut work.message, event).await;
                self.end_message(work);
                if closes {
                    self.forget_client();
                }
                Ok(())
            }
            event => {
                let stage = event.stage().expect("all other events have a stage");
                if stage == Stage::Mail || stage.in_message() && !work.open {
                    self.end_message(work);
                    self.begin_message(work);
                }
                self.observe(stage, &event);
                let verdict = self.verdict(work, stage, event).await?;
                self.answer(work, stage, verdict).await?;
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
        let Self { stream, filter, place, shared, held, .. } = self;
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
            id: place.peer().id,
        };
        // Called inside, so that a panic of what is no `async fn` is caught too.
        let asked = async { (filter.collect(), filter.negotiate(&offer).await) };
        let (collect, needs) = match call::run(asked, around).await {
            Ended::Done((collect, Ok(needs))) => (collect, needs),
            Ended::Done((_, Err(error))) => return Err(Lost::Negotiation(error.to_string())),
            Ended::Panicked(text) => {
                self.dead = true;
                return Err(Lost::Negotiation(format!("the filter panicked: {text}")));
            }
            Ended::TimedOut(limit) => {
                return Err(Lost::Negotiation(format!("the filter took longer than {limit:?}")));
            }
            Ended::Lost(lost) => return Err(lost),
        };
        self.declared = Declared {
            called: Called::by(&needs),
            watches_end: needs.sees(Stage::EndOfMessage) == See::Watch,
            collect,
            own_space: needs.keeps_leading_space(),
        };
        self.envelope = collect.envelope.then(Box::default);
        // The end of message is always answered: that is where modifications leave and a failure can be told.
        let needs = collect.add_to(needs).answer([Stage::EndOfMessage]);
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
            Turn::Accepted => {
                // The header that was edited goes on.
                work.message.transaction.keep(&event);
                return Ok(match stage {
                    Stage::EndOfMessage => Verdict::Accept,
                    Stage::Body if self.session.takes_verdict() => Verdict::Skip,
                    _ => Verdict::Continue,
                });
            }
            Turn::Failed => return Ok(Verdict::Continue),
            Turn::Filter if self.dead && stage.in_message() => return Ok(self.fail_message(work, stage)),
            Turn::Filter if self.dead => return Ok(Verdict::Continue),
            Turn::Filter => {}
        }
        let kept = self.keep(work, stage, &event).await;
        let asked = work.message.transaction.asked();
        if !matches!(kept, Ended::Done(Ok(()))) {
            // What is left of a body that was not kept is nothing to go on with.
            work.message.transaction.drop_body();
        }
        let ended = match kept {
            Ended::Done(Ok(())) if !self.declared.called.at(stage) => return Ok(Verdict::Continue),
            Ended::Done(Ok(())) => self.call(work, stage, event).await,
            Ended::Done(Err(error)) => Ended::Done(Err(error.into())),
            Ended::Panicked(text) => Ended::Panicked(text),
            Ended::TimedOut(limit) => Ended::TimedOut(limit),
            Ended::Lost(lost) => Ended::Lost(lost),
        };
        let what = match ended {
            Ended::Done(Ok(verdict)) => {
                if stage != Stage::EndOfMessage || !self.declared.watches_end || verdict == Verdict::Continue
                {
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
        work.message.transaction.take_back(if self.dead { Asked::default() } else { asked });
        Ok(self.failed(work, stage, &what))
    }

    /// Logs a failure and says what the MTA is told now.
    fn failed(&mut self, work: &mut Work<F>, stage: Stage, what: &dyn Display) -> Verdict {
        self.log_failure(stage, &self.shared.options.on_failure, what);
        self.fail_message(work, stage)
    }

    fn log_failure(&self, stage: Stage, verdict: &Verdict, what: &dyn Display) {
        let queue_id = trace::Text(self.session.macros().get("i").unwrap_or_default());
        let verdict = verdict.name();
        tracing::error!(%stage, %queue_id, verdict, "filter failed: {what}");
        self.shared.witness.failed(stage.name(), what);
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
            work.message.transaction.take_back(Asked::default());
            work.message.transaction.drop_body();
        }
        let due = self.session.takes_verdict();
        if !due || stage == Stage::Rcpt {
            self.session.defer(verdict.clone());
        }
        if due { verdict } else { Verdict::Continue }
    }

    /// Gives the verdict to the session, at end of message after the modifications.
    async fn answer(&mut self, work: &mut Work<F>, stage: Stage, mut verdict: Verdict) -> Result<(), Lost> {
        if stage == Stage::EndOfMessage && matches!(verdict, Verdict::Continue | Verdict::Accept) {
            match self.modify(work) {
                // What is wrong with modifications as a whole shows only now.
                Err(error) => verdict = self.failed(work, stage, &error),
                Ok(Some(body)) => {
                    if let Err(error) = self.send_body(&body).await? {
                        verdict = self.fail_message(work, stage);
                        if !verdict.stops() {
                            // Half of a new body is nothing to be delivered, whatever the policy says.
                            verdict = Verdict::Tempfail;
                        }
                        self.log_failure(stage, &verdict, &error);
                    }
                }
                Ok(None) => {}
            }
        }
        let early = stage.in_message() && stage != Stage::EndOfMessage && self.session.takes_verdict();
        if verdict == Verdict::Accept && early && work.message.transaction.is_changed() {
            work.turn = Turn::Accepted;
            work.message.transaction.drop_body();
            verdict = if stage == Stage::Body { Verdict::Skip } else { Verdict::Continue };
        }
        let refuses = verdict.stops();
        match self.session.respond(verdict.clone()) {
            Ok(Sent::ContinueInstead) => {
                tracing::warn!(%stage, "MTAs misbehave on {verdict} at this stage, continue was sent instead");
            }
            Ok(_) => {
                if let (Some(envelope), Stage::Rcpt, true) = (&mut self.envelope, stage, refuses) {
                    envelope.remove_last_recipient();
                }
            }
            // A verdict that the stage does not know is a failure like any other.
            Err(misuse) => {
                let instead = self.failed(work, stage, &misuse);
                self.session.respond(instead).expect("the verdict of a failure is known to every stage");
            }
        }
        Ok(())
    }

    /// Has the filter handle an event that the MTA waits for, or may wait for.
    async fn call(&mut self, work: &mut Work<F>, stage: Stage, event: Event) -> Ended<Reply> {
        let Self { stream, session, filter, place, shared, held, envelope, header_macros, .. } = self;
        let mut pending = std::mem::take(session.output());
        let seen = surroundings(session, place.peer(), envelope.as_deref(), shared, *header_macros);
        let mut cx = Context::new(&mut work.message, &seen);
        let ended = match call::guard(|| filter.now(&mut cx, event)) {
            Ok(Now::Later(event)) => {
                let around =
                    around(stage, stream, session, &mut pending, &mut work.buf, held, shared, place.peer());
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
        let Self { session, filter, place, shared, envelope, header_macros, .. } = self;
        let seen = surroundings(session, place.peer(), envelope.as_deref(), shared, *header_macros);
        let mut cx = Context::new(message, &seen);
        let ended = match call::guard(|| filter.now(&mut cx, event)) {
            Ok(Now::Later(event)) => {
                let handler = async { filter.on(&mut cx, event).await };
                call::run_alone(handler, shared.options.stage_time).await
            }
            Ok(Now::Done(reply)) => Ended::Done(reply),
            Err(text) => Ended::Panicked(text),
        };
        let what = match ended {
            Ended::Done(Ok(Verdict::Continue)) => return,
            Ended::Done(Ok(verdict)) => format!("it cannot have a verdict, {verdict} was dropped"),
            Ended::Done(Err(error)) => error.to_string(),
            Ended::Panicked(text) => {
                self.dead = true;
                format!("panic: {text}")
            }
            Ended::TimedOut(limit) => format!("not done within {limit:?}"),
            Ended::Lost(_) => unreachable!("nothing is waited for but the filter"),
        };
        tracing::error!("filter failed at {name}: {what}");
        self.shared.witness.failed(name, &what);
    }
}

/// What a handler can look at now.
fn surroundings<'a>(
    session: &'a FilterSession,
    peer: &'a Peer,
    envelope: Option<&'a Envelope>,
    shared: &'a Shared,
    header_macros: bool,
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
    }
}

/// How long a handler may take.
fn time(stage: Option<Stage>, options: &Options) -> Duration {
    match stage {
        Some(Stage::EndOfMessage) => options.end_of_message_time,
        _ => options.stage_time,
    }
}

/// What goes on while something is done that the MTA waits for, or may wait for.
#[expect(
    clippy::too_many_arguments,
    reason = "they are parts of one connection, borrowed apart from each other"
)]
pub(super) fn around<'a>(
    stage: Stage,
    stream: &'a Stream,
    session: &FilterSession,
    pending: &'a mut Output,
    buf: &'a mut BytesMut,
    held: &'a mut Held,
    shared: &'a Shared,
    peer: &Peer,
) -> Around<'a> {
    let options = &shared.options;
    Around {
        stream,
        pending,
        buf,
        held,
        read_ahead: options.read_ahead,
        limit: time(Some(stage), options),
        progress: session.progress_frame().ok().map(|frame| (frame, options.progress_every)),
        write_time: options.write_time,
        shutdown: &shared.shutdown,
        id: peer.id,
    }
}

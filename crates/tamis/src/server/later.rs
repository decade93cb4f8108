//! The part of a step that has to be waited for: handlers that are not done at once, room for a body, and the MTA that
//! takes a new one.

use std::pin::pin;

use bytes::BytesMut;
use tamis_proto::{FilterSession, Offer, Output, Refusal, See, Stage, Verdict};

use super::Shared;
use super::budget::Held;
use super::call::{self, Around, Ended};
use super::connection::{Connection, Declared};
use super::lost::Lost;
use super::step::{surroundings, time};
use super::tap::Tap;
use super::watch::Patience;
use super::work::Work;
use crate::filter::{Asked, Called, Context, Event, Filter, MessageState, Reply};
use crate::message::{BodyError, Replacement};
use crate::recorder::Cause;
use crate::stream::Stream;

/// What is left to do about an event.
pub(super) enum Later {
    /// The filter has to say what it needs.
    Negotiate(Offer),
    /// It has to handle an abort or a close.
    Notify(Event),
    /// What is kept of the message has to find room, before the filter sees the event.
    Keep(Stage, Event),
    /// It has to handle the event, having asked for so much before.
    Call(Stage, Event, Asked),
    /// A new body has to be sent, and then this be said.
    Send(Replacement, Verdict),
}

impl<F: Filter> Connection<F> {
    /// Does what is left to do about an event.
    pub(super) async fn finish(&mut self, work: &mut Work<F>, later: Later) -> Result<(), Lost> {
        let mut next = Some(later);
        while let Some(later) = next {
            next = match later {
                Later::Negotiate(offer) => {
                    self.negotiate(work, offer).await?;
                    None
                }
                Later::Notify(event) => {
                    let closes = event == Event::Close;
                    self.notify_later(&mut work.message, event).await;
                    self.end_noticed(work, closes);
                    None
                }
                Later::Keep(stage, event) => self.keep(work, stage, event).await?,
                Later::Call(stage, event, asked) => {
                    let ended = self.call(work, stage, event).await;
                    let verdict = self.judge(work, stage, ended, asked)?;
                    self.answer(work, stage, verdict)
                }
                Later::Send(body, verdict) => {
                    self.send(work, &body, verdict).await?;
                    None
                }
            };
        }
        Ok(())
    }

    /// Tells the filter that everything is over, as far as it does not know yet.
    pub(super) async fn conclude(&mut self, message: &mut MessageState<F::Message>) {
        while let Some(event) = self.session.end() {
            if let Some(event) = self.notify_now(message, event.map(bytes::Bytes::from_static)) {
                self.notify_later(message, event).await;
            }
            self.drop_state(message);
        }
    }

    pub(super) async fn negotiate(&mut self, work: &mut Work<F>, offer: Offer) -> Result<(), Lost> {
        let Self { stream, filter, shared, held, patience, tap, .. } = self;
        let limit = shared.options.stage_time;
        let mut nothing = Output::default();
        let around = Around {
            stream,
            pending: &mut nothing,
            buf: &mut work.buf,
            held,
            read_ahead: shared.options.read_ahead,
            limit,
            patience,
            progress: None,
            write_time: shared.options.write_time,
            shutdown: &shared.shutdown,
            watch: &shared.watch,
            tap,
        };
        // Called inside, so that a panic of what is no `async fn` is caught too.
        let asked = async { (filter.collect(), filter.negotiate(&offer).await) };
        let (collect, needs) = match call::run(pin!(asked), around).await {
            Ended::Done((collect, Ok(needs))) => (collect, needs),
            Ended::Done((_, Err(error))) => return Err(Lost::Negotiation(Cause::Error, error.to_string())),
            Ended::Panicked(text) => {
                self.dead = true;
                return Err(Lost::Negotiation(Cause::Panic, format!("the filter panicked: {text}")));
            }
            Ended::TimedOut(limit) => {
                let what = format!("the filter took longer than {limit:?}");
                return Err(Lost::Negotiation(Cause::Timeout, what));
            }
            Ended::Lost(lost) => return Err(lost),
        };
        self.declared = Declared {
            called: Called::by(&needs),
            watches_end: needs.sees(Stage::EndOfMessage) == See::Watch,
            collect,
            own_space: needs.keeps_leading_space(),
        };
        self.envelope = collect.keeps_client().then(Box::default);
        // The end of message is always answered: that is where modifications leave and a failure can be told.
        let needs = collect.add_to(needs).answer([Stage::EndOfMessage]);
        let refused = |refusal: Refusal| Lost::Negotiation(Cause::Error, refusal.to_string());
        let agreement = self.session.negotiate(&needs).map_err(refused)?;
        tracing::debug!(
            version = agreement.version,
            actions = %agreement.actions,
            steps = %agreement.steps,
            "negotiated"
        );
        Ok(())
    }

    /// Has the filter handle an event that it has to wait for.
    async fn call(&mut self, work: &mut Work<F>, stage: Stage, event: Event) -> Ended<Reply> {
        let Self {
            stream, session, filter, place, shared, held, patience, tap, envelope, header_macros, ..
        } = self;
        let mut pending = std::mem::take(session.output());
        let alarm = tap.alarm().cloned();
        let alarm = alarm.as_deref();
        let seen = surroundings(session, place.peer(), envelope.as_deref(), shared, *header_macros, alarm);
        let mut cx = Context::new(&mut work.message, &seen);
        let around = around(stage, stream, session, &mut pending, &mut work.buf, held, patience, shared, tap);
        let ended = call::run(pin!(async { filter.on(&mut cx, event).await }), around).await;
        *session.output() = pending;
        ended
    }

    /// Has the filter handle something that is not answered.
    async fn notify_later(&mut self, message: &mut MessageState<F::Message>, event: Event) {
        let name = event.name();
        let Self { session, filter, place, shared, envelope, header_macros, tap, .. } = self;
        let alarm = tap.alarm().map(|alarm| &**alarm);
        let seen = surroundings(session, place.peer(), envelope.as_deref(), shared, *header_macros, alarm);
        let mut cx = Context::new(message, &seen);
        let handler = async { filter.on(&mut cx, event).await };
        let ended = call::run_alone(pin!(handler), shared.options.stage_time).await;
        self.note_notified(name, ended);
    }

    /// Waits for room for what is kept of the message, then asks the filter.
    async fn keep(&mut self, work: &mut Work<F>, stage: Stage, event: Event) -> Result<Option<Later>, Lost> {
        let Self { stream, session, shared, held, patience, tap, .. } = self;
        let mut pending = std::mem::take(session.output());
        let around = around(stage, stream, session, &mut pending, &mut work.buf, held, patience, shared, tap);
        let kept = call::run(pin!(work.message.transaction.kept()), around).await;
        *session.output() = pending;
        let ended = match kept {
            Ended::Done(Ok(())) => return Ok(self.ask(work, stage, event)),
            Ended::Done(Err(error)) => Ended::Done(Err(BodyError::into(error))),
            Ended::Panicked(text) => Ended::Panicked(text),
            Ended::TimedOut(limit) => Ended::TimedOut(limit),
            Ended::Lost(lost) => Ended::Lost(lost),
        };
        let asked = work.message.transaction.asked();
        // What is left of a body that was not kept is nothing to go on with.
        work.message.transaction.drop_body();
        let verdict = self.judge(work, stage, ended, asked)?;
        Ok(self.answer(work, stage, verdict))
    }

    /// Sends a new body, then says the verdict.
    async fn send(&mut self, work: &mut Work<F>, body: &Replacement, verdict: Verdict) -> Result<(), Lost> {
        let stage = Stage::EndOfMessage;
        let mut verdict = verdict;
        if let Err(error) = self.send_body(body).await? {
            verdict = self.fail_message(work, stage);
            if !verdict.stops() {
                // Half of a new body is nothing to be delivered, whatever the policy says.
                verdict = Verdict::Tempfail;
            }
            self.log_failure(stage, &verdict, &error);
            self.record(Cause::Error, stage.name(), &error);
        }
        self.respond(work, stage, verdict);
        Ok(())
    }
}

/// What goes on while something is done that the MTA waits for, or may wait for.
#[expect(
    clippy::too_many_arguments,
    reason = "they are parts of one connection, borrowed apart from each other"
)]
fn around<'a>(
    stage: Stage,
    stream: &'a mut Stream,
    session: &FilterSession,
    pending: &'a mut Output,
    buf: &'a mut BytesMut,
    held: &'a mut Held,
    patience: &'a Patience,
    shared: &'a Shared,
    tap: &'a mut Tap,
) -> Around<'a> {
    let options = &shared.options;
    Around {
        stream,
        pending,
        buf,
        held,
        read_ahead: options.read_ahead,
        limit: time(Some(stage), options),
        patience,
        progress: session.progress_frame().ok().map(|frame| (frame, options.progress_every)),
        write_time: options.write_time,
        shutdown: &shared.shutdown,
        watch: &shared.watch,
        tap,
    }
}

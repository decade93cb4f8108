//! Runs a filter function alongside the stages of its message.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context as Task, Poll, Wake, Waker};

use tamis_proto::{Needs, Stage, Verdict};

use super::Linear;
use super::mail::{Mail, Start};
use super::slot::{Known, Slot};
use crate::filter::{BoxError, Collect, Context, Event, Filter, NotCollected, Now, Reply, Transaction};
use crate::handler::Outcome;

/// The function at work on a message.
pub struct Running<R> {
    function: Option<Box<Function<R>>>,
    /// What a function that has ended wants, until it can be said.
    verdict: Verdict,
    /// The stage of an event that the function has already, while it has to wait for something.
    works: Option<Stage>,
}

impl<R> Default for Running<R> {
    fn default() -> Self {
        Self { function: None, verdict: Verdict::default(), works: None }
    }
}

/// A function that has not ended. Dropping it cancels it, and tells a mail that it may have given away.
struct Function<R> {
    /// None before its begin and after its end.
    future: Pin<Box<Option<R>>>,
    slot: Slot,
    /// Something may have come that it waits for besides events.
    woken: Arc<Woken>,
    /// Notes that.
    waker: Waker,
}

/// Where nobody runs to be woken.
#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

/// What is handed back in place of an event that the function has.
const TAKEN: Event = Event::Data;

/// A function at work. One that takes too long is dropped with this, and is not asked again; where the message goes on
/// when the step is cancelled, it goes on too.
struct Held<'a, R> {
    function: Option<Box<Function<R>>>,
    place: Option<&'a mut Option<Box<Function<R>>>>,
}

impl<R> Drop for Held<'_, R> {
    fn drop(&mut self) {
        if let (Some(function), Some(place)) = (self.function.take(), self.place.take()) {
            *place = Some(function);
        }
    }
}

/// What a step of the function came to.
enum Came {
    /// It wants the next event, and says this to the one before.
    Further(Verdict),
    ToItsEnd(Reply),
}

impl<F, R> Filter for Linear<F>
where
    F: Fn(Mail) -> R + Send + 'static,
    R: Future + Send + 'static,
    R::Output: Outcome,
{
    type Message = Running<R>;

    fn needs(&self) -> Needs {
        self.settings.all()
    }

    fn collect(&self) -> Collect {
        // The rest of a message is kept by its mail.
        Collect::nothing().client()
    }

    /// Runs the function as far as it does not have to wait for anything but the next event.
    fn now(&mut self, cx: &mut Context<'_, Running<R>>, event: Event) -> Now {
        let stage = event.stage();
        let mut function = match self.give(cx, event) {
            Ok(function) => function,
            Err(reply) => return Now::Done(reply),
        };
        // Whoever waits for something else is asked again at once, with somebody to be woken.
        match function.poll_now() {
            Poll::Ready(came) => Now::Done(self.took(cx, stage, function, came)),
            Poll::Pending => {
                (cx.message.function, cx.message.works) = (Some(function), stage);
                Now::Later(TAKEN)
            }
        }
    }

    async fn on(&mut self, cx: &mut Context<'_, Running<R>>, event: Event) -> Reply {
        let works = cx.message.works.take();
        let stage = works.or(event.stage());
        let working = cx.message.function.take_if(|_| works.is_some());
        let function = match working.map_or_else(|| self.give(cx, event), Ok) {
            Ok(function) => function,
            Err(reply) => return reply,
        };
        let goes_on = cx.surroundings().goes_on;
        let mut held = Held { function: Some(function), place: goes_on.then_some(&mut cx.message.function) };
        let working = held.function.as_mut().expect("it was put there");
        let came = poll_fn(|task| working.poll(task)).await;
        // From now on others are woken instead.
        working.woken.wake_by_ref();
        let function = held.function.take().expect("it stays there");
        drop(held);
        self.took(cx, stage, function, came)
    }
}

impl<F, R> Linear<F>
where
    F: Fn(Mail) -> R + Send + 'static,
    R: Future + Send + 'static,
    R::Output: Outcome,
{
    /// Serves at one socket until the process ends, as [`tamis::run`](crate::run) does.
    ///
    /// # Errors
    ///
    /// When the socket is none, nobody can listen there, or the listener breaks down.
    pub fn run(self, socket: &str) -> Result<(), BoxError>
    where
        F: Clone + Sync,
    {
        crate::run(socket, move |_peer| self.clone())
    }

    /// Gives an event to the function that it is for; without one there is something to be said at once.
    fn give(&self, cx: &mut Context<'_, Running<R>>, event: Event) -> Result<Box<Function<R>>, Reply> {
        let Some(stage) = event.stage() else {
            // The message, or everything, is given up: the function is dropped where it waits.
            cx.message.function = None;
            return Err(Ok(Verdict::Continue));
        };
        if !stage.in_message() {
            return Err(Ok(Verdict::Continue));
        }
        match cx.message.function.take() {
            _ if stage == Stage::Mail => self.begin(cx, &event).map_err(|error| Err(error.into())),
            Some(function) => {
                let recipients = recipients_before(cx, stage);
                let spares = !function.woken.0.load(Ordering::Acquire);
                if function.slot.put(event, spares, &self.settings, cx.macros(), recipients) {
                    return Ok(function);
                }
                cx.message.function = Some(function);
                Err(Ok(Verdict::Continue))
            }
            None => Err(Ok(self.settled(cx.message, stage))),
        }
    }

    /// What is said when the function has handled an event.
    fn took(
        &self,
        cx: &mut Context<'_, Running<R>>,
        stage: Option<Stage>,
        mut function: Box<Function<R>>,
        came: Came,
    ) -> Reply {
        match came {
            Came::Further(verdict) => {
                cx.message.function = Some(function);
                Ok(verdict)
            }
            Came::ToItsEnd(reply) => {
                let (left, said) = function.slot.left();
                cx.adopt(left);
                if function.slot.renew() {
                    self.spares.give(function);
                }
                cx.message.verdict = reply?;
                let stage = stage.expect("the function runs at stages only");
                // The recipient that came last may be refused, and its message not.
                let refused = said.stops() && !cx.message.verdict.stops();
                Ok(if refused { said } else { self.settled(cx.message, stage) })
            }
        }
    }

    fn begin(
        &self,
        cx: &mut Context<'_, Running<R>>,
        event: &Event,
    ) -> Result<Box<Function<R>>, NotCollected> {
        let mut transaction = Transaction::default();
        let own_space = self.settings.needs.keeps_leading_space();
        transaction.begin(self.settings.collect(), cx.rules(), own_space, cx.budget());
        let envelope = cx.envelope()?;
        let mut function = self.spares.take().unwrap_or_else(|| Box::new(Function::new()));
        let mut room = function.slot.room();
        room.macros.clone_from(cx.macros());
        room.envelope.begin_message(envelope);
        self.settings.observe(&mut room, event);
        let mail = Mail::new(Start {
            slot: function.slot.clone(),
            settings: self.settings.clone(),
            peer: cx.peer().clone(),
            known: Known { stage: Stage::Mail, room, transaction },
            budget: cx.budget().clone(),
        });
        function.future.set(Some((self.function)(mail)));
        Ok(function)
    }

    /// What is said at a stage when the function has ended.
    fn settled(&self, message: &Running<R>, stage: Stage) -> Verdict {
        if !self.settings.answers(stage) {
            Verdict::Continue
        } else if stage == Stage::Body && !message.verdict.stops() {
            Verdict::Skip
        } else {
            message.verdict.clone()
        }
    }
}

impl<R> Function<R> {
    fn new() -> Self {
        let woken = Arc::<Woken>::default();
        let waker = Waker::from(woken.clone());
        Self { future: Box::pin(None), slot: Slot::default(), woken, waker }
    }
}

impl<R> Function<R>
where
    R: Future,
    R::Output: Outcome,
{
    /// Runs the function as far as it goes at once.
    fn poll_now(&mut self) -> Poll<Came> {
        self.woken.0.store(false, Ordering::Release);
        let waker = self.waker.clone();
        self.poll(&mut Task::from_waker(&waker))
    }

    /// Runs the function until it wants the next event or has ended.
    fn poll(&mut self, task: &mut Task<'_>) -> Poll<Came> {
        let Self { future, slot, .. } = self;
        let function = future.as_mut().as_pin_mut().expect("it is not polled again when it has ended");
        match function.poll(task) {
            Poll::Ready(outcome) => {
                // With its mail, of which the edits are asked for next.
                future.set(None);
                Poll::Ready(Came::ToItsEnd(outcome.into_reply()))
            }
            Poll::Pending => slot.poll_answered(task).map(Came::Further),
        }
    }
}

/// How many recipients there were before an event, where somebody else keeps them too and may have refused one.
fn recipients_before<R>(cx: &Context<'_, Running<R>>, stage: Stage) -> Option<usize> {
    let envelope = cx.envelope().ok().filter(|envelope| envelope.sender().is_some())?;
    Some(envelope.all_recipients().len().saturating_sub(usize::from(stage == Stage::Rcpt)))
}

impl<R> Drop for Function<R> {
    fn drop(&mut self) {
        self.slot.close();
    }
}

impl<R> std::fmt::Debug for Running<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running").field("verdict", &self.verdict).finish_non_exhaustive()
    }
}

//! Runs a filter function alongside the stages of its message.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context as Task, Poll, Waker};

use tamis_proto::{Needs, Stage, Verdict};

use super::Linear;
use super::mail::{Mail, Start};
use super::slot::Slot;
use crate::filter::{
    BoxError, Collect, Context, Copies, Event, Filter, NotCollected, Now, Reply, Transaction,
};
use crate::handler::Outcome;

/// The function at work on a message.
#[derive(Default)]
pub struct Running {
    function: Option<Function>,
    /// What a function that has ended wants, until it can be said.
    verdict: Verdict,
    /// The function has the event already, and has to wait for something.
    works: bool,
}

/// A function that has not ended. Dropping it cancels it, and tells a mail that it may have given away.
struct Function {
    future: Pin<Box<dyn Future<Output = Reply> + Send>>,
    slot: Slot,
}

/// A function at work. One that takes too long is dropped with this, and is not asked again; where the message goes on
/// when the step is cancelled, it goes on too.
struct Held<'a> {
    function: Option<Function>,
    place: Option<&'a mut Option<Function>>,
}

impl Drop for Held<'_> {
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
    type Message = Running;

    fn needs(&self) -> Needs {
        self.settings.all()
    }

    fn collect(&self) -> Collect {
        // The rest of a message is kept by its mail.
        Collect::nothing().client()
    }

    /// Runs the function as far as it does not have to wait for anything but the next event.
    fn now(&mut self, cx: &mut Context<'_, Running>, event: Event) -> Now {
        let stage = event.stage();
        let mut function = match self.give(cx, event.clone()) {
            Ok(function) => function,
            Err(reply) => return Now::Done(reply),
        };
        // Whoever waits for something else is asked again at once, with somebody to be woken.
        match function.poll(&mut Task::from_waker(Waker::noop())) {
            Poll::Ready(came) => Now::Done(self.took(cx, stage, function, came)),
            Poll::Pending => {
                (cx.message.function, cx.message.works) = (Some(function), true);
                Now::Later(event)
            }
        }
    }

    async fn on(&mut self, cx: &mut Context<'_, Running>, event: Event) -> Reply {
        let stage = event.stage();
        let working = cx.message.function.take_if(|_| std::mem::take(&mut cx.message.works));
        let function = match working.map_or_else(|| self.give(cx, event), Ok) {
            Ok(function) => function,
            Err(reply) => return reply,
        };
        let goes_on = cx.surroundings().goes_on;
        let mut held = Held { function: Some(function), place: goes_on.then_some(&mut cx.message.function) };
        let working = held.function.as_mut().expect("it was put there");
        let came = poll_fn(|task| working.poll(task)).await;
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
    fn give(&self, cx: &mut Context<'_, Running>, event: Event) -> Result<Function, Reply> {
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
                function.slot.put(event, cx.macros(), recipients_before(cx, stage));
                Ok(function)
            }
            None => Err(Ok(self.settled(cx.message, stage))),
        }
    }

    /// What is said when the function has handled an event.
    fn took(
        &self,
        cx: &mut Context<'_, Running>,
        stage: Option<Stage>,
        function: Function,
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
                cx.message.verdict = reply?;
                let stage = stage.expect("the function runs at stages only");
                // The recipient that came last may be refused, and its message not.
                let refused = said.stops() && !cx.message.verdict.stops();
                Ok(if refused { said } else { self.settled(cx.message, stage) })
            }
        }
    }

    fn begin(&self, cx: &mut Context<'_, Running>, event: &Event) -> Result<Function, NotCollected> {
        let mut transaction = Transaction::default();
        let own_space = self.settings.needs.keeps_leading_space();
        transaction.begin(self.settings.collect(), cx.rules(), own_space, cx.budget());
        let slot = Slot::default();
        let mut envelope = cx.envelope()?.clone();
        let mut copies = Copies::default();
        envelope.observe(&copies.of(event), cx.facts());
        let mail = Mail::new(Start {
            slot: slot.clone(),
            settings: self.settings.clone(),
            peer: cx.peer().clone(),
            macros: cx.macros().clone(),
            envelope,
            copies,
            transaction,
            budget: cx.budget().clone(),
        });
        let function = (self.function)(mail);
        let future = Box::pin(async move { function.await.into_reply() });
        Ok(Function { future, slot })
    }

    /// What is said at a stage when the function has ended.
    fn settled(&self, message: &Running, stage: Stage) -> Verdict {
        if !self.settings.answers(stage) {
            Verdict::Continue
        } else if stage == Stage::Body && !message.verdict.stops() {
            Verdict::Skip
        } else {
            message.verdict.clone()
        }
    }
}

impl Function {
    /// Runs the function until it wants the next event or has ended.
    fn poll(&mut self, task: &mut Task<'_>) -> Poll<Came> {
        let Self { future, slot } = self;
        match future.as_mut().poll(task) {
            Poll::Ready(reply) => Poll::Ready(Came::ToItsEnd(reply)),
            Poll::Pending => slot.poll_answered(task).map(Came::Further),
        }
    }
}

/// How many recipients there were before an event, where somebody else keeps them too and may have refused one.
fn recipients_before(cx: &Context<'_, Running>, stage: Stage) -> Option<usize> {
    let envelope = cx.envelope().ok().filter(|envelope| envelope.sender().is_some())?;
    Some(envelope.all_recipients().len().saturating_sub(usize::from(stage == Stage::Rcpt)))
}

impl Drop for Function {
    fn drop(&mut self) {
        self.slot.close();
    }
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running").field("verdict", &self.verdict).finish_non_exhaustive()
    }
}

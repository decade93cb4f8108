//! Runs a filter function alongside the stages of its message.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use tamis_proto::{Needs, Stage, Verdict};

use super::Linear;
use super::mail::{Mail, Start};
use super::slot::Slot;
use crate::filter::{BoxError, Collect, Context, Event, Filter, NotCollected, Reply, Transaction};
use crate::handler::Outcome;

/// The function at work on a message.
#[derive(Default)]
pub struct Running {
    function: Option<Function>,
    /// What a function that has ended wants, until it can be said.
    verdict: Verdict,
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
        // Who sends to whom. The rest of a message is kept by its mail.
        Collect::nothing().envelope()
    }

    async fn on(&mut self, cx: &mut Context<'_, Running>, event: Event) -> Reply {
        let Some(stage) = event.stage() else {
            // The message, or everything, is given up: the function is dropped where it waits.
            cx.message.function = None;
            return Ok(Verdict::Continue);
        };
        if !stage.in_message() {
            return Ok(Verdict::Continue);
        }
        let function = match cx.message.function.take() {
            _ if stage == Stage::Mail => self.begin(cx)?,
            Some(function) => {
                // Others may have refused recipients.
                let recipients =
                    cx.envelope()?.all_recipients().len().saturating_sub(usize::from(stage == Stage::Rcpt));
                function.slot.put(event, cx.macros(), recipients);
                function
            }
            None => return Ok(self.settled(cx.message, stage)),
        };
        let goes_on = cx.surroundings().goes_on;
        let mut held = Held { function: Some(function), place: goes_on.then_some(&mut cx.message.function) };
        let came = held.function.as_mut().expect("it was put there").step().await;
        let function = held.function.take().expect("it stays there");
        drop(held);
        match came {
            Came::Further(verdict) => {
                cx.message.function = Some(function);
                Ok(verdict)
            }
            Came::ToItsEnd(reply) => {
                let (left, said) = function.slot.left();
                cx.adopt(left);
                cx.message.verdict = reply?;
                // The recipient that came last may be refused, and its message not.
                let refused = said.stops() && !cx.message.verdict.stops();
                Ok(if refused { said } else { self.settled(cx.message, stage) })
            }
        }
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

    fn begin(&self, cx: &mut Context<'_, Running>) -> Result<Function, NotCollected> {
        let mut transaction = Transaction::default();
        let own_space = self.settings.needs.keeps_leading_space();
        transaction.begin(self.settings.collect(), cx.rules(), own_space, cx.budget());
        let slot = Slot::default();
        let mail = Mail::new(Start {
            slot: slot.clone(),
            settings: self.settings.clone(),
            peer: cx.peer().clone(),
            macros: cx.macros().clone(),
            envelope: cx.envelope()?.clone(),
            allowance: transaction.allowance(cx.budget()),
            transaction,
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
    async fn step(&mut self) -> Came {
        let Self { future, slot } = self;
        poll_fn(|task| match future.as_mut().poll(task) {
            Poll::Ready(reply) => Poll::Ready(Came::ToItsEnd(reply)),
            Poll::Pending => slot.poll_answered(task).map(Came::Further),
        })
        .await
    }
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

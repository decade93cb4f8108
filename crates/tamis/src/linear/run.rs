//! Runs a filter function alongside the stages of its message.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use tamis_proto::{Needs, Stage, Verdict};

use super::Linear;
use super::mail::{Mail, Start};
use super::slot::Slot;
use crate::filter::{BoxError, Context, Event, Filter, Reply, Transaction};
use crate::handler::Outcome;
use crate::message::Facts;

/// The function at work on a message.
#[derive(Default)]
pub struct Running {
    function: Option<Pin<Box<dyn Future<Output = Reply> + Send>>>,
    slot: Slot,
    /// What a function that has ended wants, until it can be said.
    verdict: Verdict,
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

    async fn on(&mut self, cx: &mut Context<'_, Running>, event: Event) -> Reply {
        let Some(stage) = event.stage() else {
            // The message, or everything, is given up: the function is dropped where it waits.
            cx.message.function = None;
            return Ok(Verdict::Continue);
        };
        if !stage.in_message() {
            self.known.observe(&event, Facts::new(cx.macros()));
            return Ok(Verdict::Continue);
        }
        if stage == Stage::Mail {
            self.begin(cx, &event);
        } else if cx.message.function.is_some() {
            let macros = cx.macros();
            cx.message.slot.put(event, macros);
        } else {
            return Ok(self.settled(cx.message, stage));
        }
        match cx.message.step().await {
            Came::Further(verdict) => Ok(verdict),
            Came::ToItsEnd(reply) => {
                cx.message.function = None;
                let left = cx.message.slot.left();
                cx.adopt(left);
                cx.message.verdict = reply?;
                Ok(self.settled(cx.message, stage))
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

    fn begin(&self, cx: &mut Context<'_, Running>, sender: &Event) {
        let mut envelope = self.known.clone();
        envelope.observe(sender, Facts::new(cx.macros()));
        let mut transaction = Transaction::default();
        let own_space = self.settings.needs.keeps_leading_space();
        transaction.begin(self.settings.collect(), cx.rules(), own_space, cx.budget());
        let slot = Slot::default();
        let mail = Mail::new(Start {
            slot: slot.clone(),
            settings: self.settings.clone(),
            peer: cx.peer().clone(),
            macros: cx.macros().clone(),
            envelope,
            allowance: transaction.allowance(cx.budget()),
            transaction,
        });
        let function = (self.function)(mail);
        let function = Box::pin(async move { function.await.into_reply() });
        *cx.message = Running { function: Some(function), slot, verdict: Verdict::Continue };
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

impl Running {
    /// Runs the function until it wants the next event or has ended.
    async fn step(&mut self) -> Came {
        let Self { function, slot, .. } = self;
        let function = function.as_mut().expect("it runs");
        poll_fn(|task| match function.as_mut().poll(task) {
            Poll::Ready(reply) => Poll::Ready(Came::ToItsEnd(reply)),
            Poll::Pending => slot.poll_answered(task).map(Came::Further),
        })
        .await
    }
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running").field("verdict", &self.verdict).finish_non_exhaustive()
    }
}

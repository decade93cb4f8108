//! Runs a filter function alongside the stages of its message.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use tamis_proto::{Needs, Stage, Verdict};

use super::mail::Mail;
use super::slot::Slot;
use super::{Linear, ReadBody, Settings};
use crate::filter::{Context, Event, Filter, Reply};
use crate::handler::Outcome;

/// The function at work on a message.
#[derive(Default)]
pub struct Running {
    function: Option<Pin<Box<dyn Future<Output = Reply> + Send>>>,
    slot: Slot,
    /// The verdict of a function that has ended, until it can be said.
    verdict: Option<Verdict>,
}

impl<F, R> Filter for Linear<F>
where
    F: AsyncFilterFn<Output = R>,
    R: Outcome,
{
    type Message = Running;

    fn needs(&self) -> Needs {
        self.settings.all()
    }

    async fn on(&mut self, cx: &mut Context<'_, Running>, event: Event) -> Reply {
        todo!()
    }
}

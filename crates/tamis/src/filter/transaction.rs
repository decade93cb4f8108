//! What is kept of a message, and what the filter wants it to become.

use bytes::Bytes;
use tamis_proto::{Actions, Edit};

use super::{BoxError, Collect, Event};
use crate::message::{Allowance, Body, BodyCollector, Budget, Headers, Replacement};

/// One message, as far as a filter asked for it to be kept, with the edits that it asked for.
#[derive(Default)]
pub(crate) struct Transaction {
    pub(crate) headers: Headers,
    /// Edits that are not made to `headers`, in order, as they stand on the wire.
    pub(crate) edits: Vec<Edit<Bytes>>,
    collect: Collect,
    allowance: Option<Allowance>,
    collector: Option<BodyCollector>,
    /// The body, when all of it is there.
    body: Option<Body>,
    pub(crate) replacement: Option<Replacement>,
}

/// What the filter asked for did not take place, as it was not declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotCollected {
    /// It is not kept.
    #[error("the {0} of the message is not collected, the filter has to declare that it wants it")]
    Undeclared(&'static str),
    /// It is not there yet.
    #[error("the {0} of the message is not there yet")]
    Early(&'static str),
}

impl Transaction {
    /// A message begins, of which this is to be kept.
    pub(crate) fn begin(
        &mut self,
        collect: Collect,
        actions: Actions,
        leading_space: bool,
        budget: &Budget,
    ) {
        self.collect = collect;
        self.headers.allow(actions);
        self.headers.own_leading_space(leading_space);
        if collect.body {
            self.collector = Some(self.allowance(budget).collector());
        }
    }

    /// Keeps what belongs to the message. Waits while there is no room for more of a body.
    pub(crate) async fn keep(&mut self, event: &Event) -> Result<(), BoxError> {
        match event {
            Event::Header(field) if self.collect.headers => self.headers.push(field.clone()),
            Event::Body(piece) => {
                if let Some(collector) = &mut self.collector {
                    collector.push(piece.clone()).await?;
                }
            }
            Event::EndOfMessage => {
                if let Some(collector) = self.collector.take() {
                    self.body = Some(collector.finish().await?);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether keeping an event may have to wait.
    pub(crate) const fn waits_for(&self, event: &Event) -> bool {
        self.collector.is_some() && matches!(event, Event::Body(_) | Event::EndOfMessage)
    }

    pub(crate) fn headers(&self) -> Result<&Headers, NotCollected> {
        if self.collect.headers { Ok(&self.headers) } else { Err(NotCollected::Undeclared("header")) }
    }

    pub(crate) fn headers_mut(&mut self) -> Result<&mut Headers, NotCollected> {
        if self.collect.headers { Ok(&mut self.headers) } else { Err(NotCollected::Undeclared("header")) }
    }

    pub(crate) fn body(&self) -> Result<&Body, NotCollected> {
        if !self.collect.body {
            return Err(NotCollected::Undeclared("body"));
        }
        self.body.as_ref().ok_or(NotCollected::Early("body"))
    }

    pub(crate) fn allowance(&mut self, budget: &Budget) -> Allowance {
        self.allowance.get_or_insert_with(|| budget.message()).clone()
    }

    /// Whether the message would not be delivered as it came.
    pub(crate) fn is_changed(&self) -> bool {
        !self.edits.is_empty() || self.headers.is_changed() || self.replacement.is_some()
    }

    /// Gives up everything that was asked for.
    pub(crate) fn forget_edits(&mut self) {
        self.edits.clear();
        self.headers = Headers::new();
        self.replacement = None;
    }
}

//! Filters of any type behind one: for filters chosen at run time, and for chains.

use std::any::Any;
use std::future::Future;
use std::pin::Pin;

use tamis_proto::{Needs, Offer};

use super::{BoxError, Collect, Context, Event, Filter, Look, Now, Reply, Surroundings, Transaction};

/// A filter of whatever type. Handlers that need no waiting cost no allocation.
///
/// ```
/// # use tamis::{BoxFilter, Context, Event, Filter, Needs, Reply};
/// # struct A; struct B;
/// # impl Filter for A { type Message = (); fn needs(&self) -> Needs { Needs::new() }
/// #   async fn on(&mut self, _: &mut Context<'_, ()>, _: Event) -> Reply { Ok(Default::default()) } }
/// # impl Filter for B { type Message = (); fn needs(&self) -> Needs { Needs::new() }
/// #   async fn on(&mut self, _: &mut Context<'_, ()>, _: Event) -> Reply { Ok(Default::default()) } }
/// # let strict = true;
/// let filter = if strict { BoxFilter::new(A) } else { BoxFilter::new(B) };
/// ```
pub struct BoxFilter(Box<dyn AnyFilter>);

/// A handler at work. Dropping it cancels the step; the filter's state survives.
pub(crate) type Handler<'a> = Pin<Box<dyn Future<Output = Reply> + Send + 'a>>;

/// The twin of [`Filter`] that can be a trait object.
pub(crate) trait AnyFilter: Send {
    fn needs(&self) -> Needs;

    fn collect(&self) -> Collect;

    fn negotiate<'a>(
        &'a mut self,
        offer: &'a Offer,
    ) -> Pin<Box<dyn Future<Output = Result<Needs, BoxError>> + Send + 'a>>;

    fn look(&mut self, cx: &mut Context<'_, BoxMessage>, event: &Event) -> Look;

    fn now(&mut self, cx: &mut Context<'_, BoxMessage>, event: Event) -> Now;

    fn on<'a>(
        &'a mut self,
        message: &'a mut BoxMessage,
        transaction: &'a mut Transaction,
        surroundings: Surroundings<'a>,
        event: Event,
    ) -> Handler<'a>;

    fn on_shown<'a>(
        &'a mut self,
        message: &'a mut BoxMessage,
        transaction: &'a mut Transaction,
        surroundings: Surroundings<'a>,
        event: &'a Event,
    ) -> Handler<'a>;
}

/// The state of a message for a filter whose type nobody knows: made when the filter is first asked, and dropped
/// by whoever keeps it when the message ends.
#[derive(Default)]
pub struct BoxMessage(Option<Box<dyn Any + Send>>);

impl BoxMessage {
    fn get<M: Default + Send + 'static>(&mut self) -> &mut M {
        let state = self.0.get_or_insert_with(|| Box::new(M::default()));
        state.downcast_mut().expect("one filter has one type of state")
    }
}

impl<F: Filter> AnyFilter for F {
    fn needs(&self) -> Needs {
        Filter::needs(self)
    }

    fn collect(&self) -> Collect {
        Filter::collect(self)
    }

    fn negotiate<'a>(
        &'a mut self,
        offer: &'a Offer,
    ) -> Pin<Box<dyn Future<Output = Result<Needs, BoxError>> + Send + 'a>> {
        Box::pin(Filter::negotiate(self, offer))
    }

    fn look(&mut self, cx: &mut Context<'_, BoxMessage>, event: &Event) -> Look {
        Filter::look(self, &mut cx.map_message(BoxMessage::get), event)
    }

    fn now(&mut self, cx: &mut Context<'_, BoxMessage>, event: Event) -> Now {
        Filter::now(self, &mut cx.map_message(BoxMessage::get), event)
    }

    fn on<'a>(
        &'a mut self,
        message: &'a mut BoxMessage,
        transaction: &'a mut Transaction,
        surroundings: Surroundings<'a>,
        event: Event,
    ) -> Handler<'a> {
        Box::pin(async move {
            let mut cx = Context::of(message.get(), transaction, &surroundings);
            Filter::on(self, &mut cx, event).await
        })
    }

    fn on_shown<'a>(
        &'a mut self,
        message: &'a mut BoxMessage,
        transaction: &'a mut Transaction,
        surroundings: Surroundings<'a>,
        event: &'a Event,
    ) -> Handler<'a> {
        Box::pin(async move {
            let mut cx = Context::of(message.get(), transaction, &surroundings);
            Filter::on_shown(self, &mut cx, event).await
        })
    }
}

impl BoxFilter {
    /// Hides a filter's type.
    pub fn new<F: Filter>(filter: F) -> Self {
        Self(Box::new(filter))
    }

    pub(crate) fn into_inner(self) -> Box<dyn AnyFilter> {
        self.0
    }
}

impl Filter for BoxFilter {
    type Message = BoxMessage;

    fn needs(&self) -> Needs {
        self.0.needs()
    }

    fn collect(&self) -> Collect {
        self.0.collect()
    }

    async fn negotiate(&mut self, offer: &Offer) -> Result<Needs, BoxError> {
        self.0.negotiate(offer).await
    }

    fn look(&mut self, cx: &mut Context<'_, BoxMessage>, event: &Event) -> Look {
        self.0.look(cx, event)
    }

    fn now(&mut self, cx: &mut Context<'_, BoxMessage>, event: Event) -> Now {
        self.0.now(cx, event)
    }

    async fn on(&mut self, cx: &mut Context<'_, BoxMessage>, event: Event) -> Reply {
        let (message, transaction, surroundings) = cx.parts();
        self.0.on(message, transaction, surroundings, event).await
    }

    async fn on_shown(&mut self, cx: &mut Context<'_, BoxMessage>, event: &Event) -> Reply {
        let (message, transaction, surroundings) = cx.parts();
        self.0.on_shown(message, transaction, surroundings, event).await
    }
}

impl std::fmt::Debug for BoxMessage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BoxMessage")
    }
}

impl std::fmt::Debug for BoxFilter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BoxFilter")
    }
}

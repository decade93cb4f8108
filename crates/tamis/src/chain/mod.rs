//! A chain: several filters on one connection, which look like one to the MTA.
//!
//! ```
//! use tamis::chain::{Chain, Member, OnFailure};
//! # use tamis::{Context, Event, Filter, Needs, Reply};
//! # struct Greylist; struct Sign;
//! # impl Filter for Greylist { type Message = (); fn needs(&self) -> Needs { Needs::new() }
//! #   async fn on(&mut self, _: &mut Context<'_, ()>, _: Event) -> Reply { Ok(Default::default()) } }
//! # impl Filter for Sign { type Message = (); fn needs(&self) -> Needs { Needs::new() }
//! #   async fn on(&mut self, _: &mut Context<'_, ()>, _: Event) -> Reply { Ok(Default::default()) } }
//!
//! fn filters() -> Chain {
//!     Chain::pipeline()
//!         .add("greylist", Greylist)
//!         .member(Member::new("sign", Sign).on_failure(OnFailure::Accept))
//! }
//! // tamis::serve(listeners, |_peer| filters(), Shutdown::new())
//! # let _ = filters;
//! ```
//!
//! A chain is a filter: it stands wherever one can, in another chain too. Each connection has its own, made by the
//! function that [`serve`](crate::serve) is given.
//!
//! # Two ways to run it
//!
//! [`Chain::pipeline`] asks the filters one after the other, as an MTA with several milters does: each only if those
//! before it let the message pass, and with the message as those before it have edited it. Content goes through all
//! filters as it comes, up to the first one that may edit it. Those behind get it when that one is done, at the end of
//! the message; meanwhile it is kept in memory or in a file, as [`Options::body`](crate::Options::body) says.
//! So filters that edit nothing see content side by side: where one of them refuses it, the others have seen as much of
//! it, and are not asked about the rest.
//!
//! [`Chain::parallel`] asks all filters at the same time, about the message as it came. A step is answered when all
//! are done, or at the first verdict that refuses: the others are then cancelled. See [`Decide`].
//!
//! # Verdicts
//!
//! - *Continue* of one leaves it to the others. *Accept* takes its own filter out, of the message or, at connect and
//!   helo, of the connection; the edits that it asked for are kept. The MTA is told accept when all are out.
//! - A verdict that refuses ends the message for all, at connect and helo the connection (no filter is asked about
//!   what the client still says), at rcpt the recipient, which the other filters then do not find in their
//!   [envelope](crate::Context::envelope) any more. A reply with 421 ends everything. All edits are dropped.
//! - *Skip* spares the one filter the rest of the body, and the MTA when none wants more.
//! - Filters that saw a message and cannot give a verdict on it any more get [`Event::Abort`](crate::Event).
//!
//! What a filter asks for is negotiated for it alone: the MTA is asked for what any of them needs, and each sees what
//! it asked for, with its own macros, its own leading space and its own permitted actions. A filter that asks for no
//! list of macros at a stage sees what Postfix and Sendmail send there by default; names that a site adds to its
//! MTA's configuration have to be asked for, as soon as there is a chain.
//!
//! # Edits
//!
//! All edits together become one change. In a pipeline it is what an MTA would make of the filters' edits, one filter
//! after the other. In a parallel chain the filters did not see each other's edits: edits of different fields all
//! count; where two change the same thing the later filter in the chain wins, and a warning names both.
//!
//! Quarantine is an edit too: the filters behind are asked all the same, and may still refuse the message. (Postfix asks
//! no other filter once one has had the message held.) The reasons of several are joined.
//!
//! # Failure
//!
//! A filter that panics, fails, takes too long, or says what its stage does not allow costs its own
//! [policy](OnFailure) and nothing else. After an error or a time limit it is out of the message, after a panic or
//! [`Unavailable`] out of the connection. All filters of a step share its [time](crate::Options::stage_time).

mod condition;
mod content;
mod edits;
mod failure;
mod flow;
mod gate;
mod member;
mod negotiate;
mod pipeline;
mod record;
mod scene;
mod step;
mod verdict;
mod wait;

use std::fmt;
use std::sync::Arc;

use tamis_proto::{Needs, Offer};

use crate::filter::{BoxError, Collect, Context, Event, Filter, Look, Now, Reply};
use crate::message::Envelope;
use crate::recorder::Cause;

pub use self::condition::{Condition, Seen};
pub use self::failure::{OnFailure, Unavailable};
use self::flow::Message;
pub use self::member::Member;
use self::member::Seat;
use self::negotiate::Plan;
pub use self::record::{Conflict, FilterRecord, Observer, Record};
use self::step::Step;
use self::verdict::Ended;

/// Several filters that are one. See the [module](self).
pub struct Chain {
    mode: Mode,
    seats: Vec<Seat>,
    plan: Plan,
    /// What a verdict that ended the connection's filtering is.
    ended: Option<Ended>,
    message: Message,
    /// A step that `now` began.
    step: Option<Step>,
    /// The envelope without the recipients that the MTA rejects, where some filters do not want to see them.
    plain: Option<Arc<Envelope>>,
    observer: Option<Arc<dyn Observer>>,
    /// The first failure of this step, for a flight record.
    failed: Option<(Cause, String)>,
}

/// How a chain runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Parallel(Decide),
    Pipeline,
}

/// When a step of a parallel chain is decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Decide {
    /// At the first verdict that refuses; filters that still work on the step are cancelled. Where several such verdicts are
    /// there at the same moment, the severest counts: 5xx before 421, 4xx and discard, then the one earlier in the
    /// chain.
    #[default]
    First,
    /// When all filters are done, for the severest verdict: slower, and independent of who is faster.
    All,
}

impl Chain {
    /// A chain that asks all filters at the same time.
    pub fn parallel() -> Self {
        Self::new(Mode::Parallel(Decide::First))
    }

    /// A chain that asks one filter after the other.
    pub fn pipeline() -> Self {
        Self::new(Mode::Pipeline)
    }

    fn new(mode: Mode) -> Self {
        Self {
            mode,
            seats: Vec::new(),
            plan: Plan::default(),
            ended: None,
            message: Message::default(),
            step: None,
            plain: None,
            observer: None,
            failed: None,
        }
    }

    /// Says when a step of a parallel chain is decided; nothing to a pipeline.
    #[must_use]
    pub fn decide(mut self, decide: Decide) -> Self {
        if let Mode::Parallel(current) = &mut self.mode {
            *current = decide;
        }
        self
    }

    /// Appends a filter, under a name for logs, of which failures are answered with
    /// [`OnFailure::Tempfail`].
    #[must_use]
    pub fn add(self, name: impl Into<String>, filter: impl Filter) -> Self {
        self.member(Member::new(name, filter))
    }

    /// Appends a filter with settings of its own.
    #[must_use]
    pub fn member(mut self, member: Member) -> Self {
        self.seats.push(Seat::new(member));
        self
    }

    /// Has somebody told what became of each message. Without one, and where nobody logs
    /// `tamis::chain::record` at level INFO, nothing is written down.
    #[must_use]
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = Some(observer);
        self
    }

    /// Number of filters.
    pub fn len(&self) -> usize {
        self.seats.len()
    }

    /// Whether there is no filter, so that all mail passes.
    pub fn is_empty(&self) -> bool {
        self.seats.is_empty()
    }
}

impl Chain {
    /// Has the connection know of a failure that it does not see.
    fn ring(&mut self, cx: &Context<'_, ()>) {
        if let Some((cause, what)) = self.failed.take()
            && let Some(alarm) = cx.surroundings().alarm
        {
            alarm.ring(cause, what);
        }
    }
}

impl Filter for Chain {
    type Message = ();

    /// What the filters need, as far as that is known before the MTA has made its offer.
    fn needs(&self) -> Needs {
        negotiate::declared(&self.seats)
    }

    fn collect(&self) -> Collect {
        let envelope = self.seats.iter().any(Seat::wants_envelope);
        if envelope { Collect::nothing().envelope() } else { Collect::nothing() }
    }

    async fn negotiate(&mut self, offer: &Offer) -> Result<Needs, BoxError> {
        self.plan = negotiate::negotiate(self.mode, &mut self.seats, *offer).await;
        Ok(self.plan.needs.clone())
    }

    fn look(&mut self, cx: &mut Context<'_, ()>, event: &Event) -> Look {
        let done = match event.stage() {
            Some(stage) => self.begin_step(cx, stage, event),
            None => self.begin_farewell(cx, event),
        };
        if self.failed.is_some() {
            self.ring(cx);
        }
        done.map_or(Look::Later, Look::Done)
    }

    fn now(&mut self, cx: &mut Context<'_, ()>, event: Event) -> Now {
        match self.look(cx, &event) {
            Look::Done(reply) => Now::Done(reply),
            Look::Later | Look::Own => Now::Later(event),
        }
    }

    async fn on(&mut self, cx: &mut Context<'_, ()>, event: Event) -> Reply {
        self.on_shown(cx, &event).await
    }

    async fn on_shown(&mut self, cx: &mut Context<'_, ()>, event: &Event) -> Reply {
        let reply = match event.stage() {
            Some(stage) => self.finish_step(cx, stage, event).await,
            None => self.finish_farewell(cx, event).await,
        };
        self.ring(cx);
        reply
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.seats.iter().map(|seat| &*seat.name).collect();
        f.debug_struct("Chain").field("mode", &self.mode).field("filters", &names).finish_non_exhaustive()
    }
}

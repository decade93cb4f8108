//! [`Member`]: a filter of a chain with its settings; and its seat, where the chain keeps what becomes of it.

use std::sync::{Arc, LazyLock, OnceLock};
use std::time::{Duration, Instant};

use tamis_proto::edit::EditRules;
use tamis_proto::{MacroLists, MacroTable, Needs, See, Stage};

use super::OnFailure;
use super::condition::Condition;
use super::failure::Failure;
use super::gate::Gate;
use super::record::FilterRecord;
use super::scene::Scene;
use super::verdict::Extent;
use crate::filter::{
    AnyFilter, BoxFilter, BoxMessage, Called, Collect, Context, Event, Filter, Handler, Look, MessageState,
    Now, Reply, Restricted, Surroundings, View,
};
use crate::server::call;

/// A filter of a [`Chain`](super::Chain), and what is particular about it there.
#[derive(Debug)]
pub struct Member {
    name: String,
    filter: BoxFilter,
    on_failure: OnFailure,
    timeout: Option<Duration>,
    dry_run: bool,
    condition: Option<Condition>,
}

impl Member {
    /// A filter under a name for logs.
    pub fn new(name: impl Into<String>, filter: impl Filter) -> Self {
        let (name, filter) = (name.into(), BoxFilter::new(filter));
        Self {
            name,
            filter,
            on_failure: OnFailure::default(),
            timeout: None,
            dry_run: false,
            condition: None,
        }
    }

    /// Says what happens to mail when the filter fails.
    #[must_use]
    pub fn on_failure(mut self, policy: OnFailure) -> Self {
        self.on_failure = policy;
        self
    }

    /// Bounds how long the filter may take at any stage. What the stage has for all filters together bounds it too.
    #[must_use]
    pub fn timeout(mut self, time: Duration) -> Self {
        self.timeout = Some(time);
        self
    }

    /// Asks the filter only about messages for which this holds.
    #[must_use]
    pub fn condition(mut self, condition: Condition) -> Self {
        self.condition = Some(condition);
        self
    }

    /// Runs the filter without effect: what it says and edits is logged, and that is all. The MTA is not asked for
    /// what the filter needs to answer or to edit.
    #[must_use]
    pub fn dry_run(mut self) -> Self {
        self.dry_run = true;
        self
    }
}

/// Lists of a filter that has none.
static NO_LISTS: LazyLock<MacroLists> = LazyLock::new(MacroLists::default);

/// A member of a chain on a connection.
#[expect(clippy::struct_excessive_bools, reason = "they say different things")]
pub(super) struct Seat {
    pub(super) name: Arc<str>,
    filter: Box<dyn AnyFilter>,
    pub(super) on_failure: OnFailure,
    pub(super) timeout: Option<Duration>,
    pub(super) dry_run: bool,
    pub(super) terms: Terms,
    /// What it is out of.
    pub(super) out: Option<Extent>,
    /// How much it failed for, if it did: its policy holds so long.
    pub(super) failed: Option<Extent>,
    /// It failed for good, whatever client comes next.
    lost: bool,
    /// Where and how it failed for the connection.
    failure: Option<(&'static str, String)>,
    /// It panicked, and is not called any more at all.
    dead: bool,
    closed: bool,
    /// It saw something of the message, and has not said its last word on it.
    pub(super) joined: bool,
    /// It has to be told that the message is given up.
    pub(super) aborts: bool,
    /// It wants no more of this message's body.
    pub(super) skips: bool,
    pub(super) message: MessageState<BoxMessage>,
    used: bool,
    /// What it is asked about, if not all messages.
    pub(super) gate: Option<Box<Gate>>,
    /// Events that are shown later than they came and the one of the step, the last one first.
    pub(super) replay: Vec<Event>,
    /// The stage of such an event while it is at work on it.
    pub(super) turn: Option<Stage>,
    /// It accepted, and is out for that.
    pub(super) accepted: bool,
    /// When it began with what it is at, if somebody wants to know.
    pub(super) began: Option<Instant>,
    pub(super) record: Box<FilterRecord>,
    /// An event that it needs time for, until it is at work on it.
    pub(super) later: Option<Later>,
    macros: Box<OnceLock<MacroTable>>,
}

/// An event that a filter needs time for.
pub(super) enum Later {
    /// The one that all are shown.
    Shown,
    /// One that only this filter has.
    Own(Event),
}

/// What was negotiated for one filter.
#[derive(Default)]
pub(super) struct Terms {
    pub(super) see: [See; Stage::COUNT],
    pub(super) called: Called,
    pub(super) collect: Collect,
    pub(super) rules: EditRules,
    /// The macros that it asked for, if it did and they were sent.
    pub(super) lists: Option<Box<MacroLists>>,
    /// It deals with the space after the colon of header fields itself.
    pub(super) own_space: bool,
    pub(super) rejected_recipients: bool,
    /// Bytes of a packet that it takes.
    pub(super) payload: usize,
}

impl Terms {
    pub(super) fn sees(&self, stage: Stage) -> See {
        self.see[stage as usize]
    }
}

impl Seat {
    pub(super) fn new(member: Member) -> Self {
        let Member { name, filter, on_failure, timeout, dry_run, condition } = member;
        let name: Arc<str> = name.into();
        Self {
            record: Box::new(FilterRecord { name: name.clone(), dry_run, ..FilterRecord::default() }),
            name,
            gate: condition.map(|condition| Box::new(Gate::new(condition))),
            replay: Vec::new(),
            turn: None,
            accepted: false,
            began: None,
            filter: filter.into_inner(),
            on_failure,
            timeout,
            dry_run,
            terms: Terms::default(),
            out: None,
            failed: None,
            lost: false,
            failure: None,
            dead: false,
            closed: false,
            joined: false,
            aborts: false,
            skips: false,
            message: MessageState::default(),
            used: false,
            later: None,
            macros: Box::default(),
        }
    }

    pub(super) fn filter(&mut self) -> &mut dyn AnyFilter {
        &mut *self.filter
    }

    pub(super) fn wants_envelope(&self) -> bool {
        self.gate.is_some() || self.collect().envelope
    }

    pub(super) fn needs(&self) -> Needs {
        self.filter.needs()
    }

    pub(super) fn collect(&self) -> Collect {
        let collect = self.filter.collect();
        // One that needs the client alone keeps recipients itself, but does not learn that others refuse them.
        if collect.keeps_client() { collect.envelope() } else { collect }
    }

    /// Whether it is asked at all.
    pub(super) fn is_in(&self) -> bool {
        self.out.is_none()
    }

    /// Whether it failed, and has messages held for it.
    pub(super) fn holds(&self) -> bool {
        self.failed.is_some() && self.on_failure == OnFailure::Quarantine && !self.dry_run
    }

    /// It is out from now on.
    pub(super) fn leave(&mut self, extent: Extent) {
        self.out = self.out.max(Some(extent));
        self.later = None;
        self.replay.clear();
        self.turn = None;
        self.joined = false;
    }

    /// What it was at is cancelled.
    pub(super) fn forget_step(&mut self) {
        self.later = None;
        self.replay.clear();
        self.turn = None;
        self.began = None;
    }

    /// It failed for so long.
    pub(super) fn fail(&mut self, extent: Extent, at: &'static str, failure: &Failure) {
        self.failed = self.failed.max(Some(extent));
        if extent == Extent::Connection {
            self.failure = Some((at, failure.to_string()));
        }
        self.lost |= failure.lasts();
        if let Failure::Panicked(_) = failure {
            // Not another call.
            self.dead = true;
            self.joined = false;
        }
    }

    /// It could not negotiate.
    pub(super) fn fail_to_negotiate(&mut self, failure: &Failure) {
        self.leave(Extent::Connection);
        self.fail(Extent::Connection, "negotiation", failure);
        self.lost = true;
    }

    /// Whether it may be told that a message is given up.
    pub(super) fn can_abort(&self) -> bool {
        self.joined && !self.dead
    }

    /// Whether it has to be told about the end of the connection, which it is told once.
    pub(super) fn closes(&mut self) -> bool {
        !self.dead && !std::mem::replace(&mut self.closed, true)
    }

    /// Another client is there.
    pub(super) fn reopen(&mut self) {
        self.closed = false;
        if let Some(gate) = &mut self.gate {
            gate.reopen();
        }
        if !self.lost {
            self.accepted = false;
            self.out = None;
            self.failed = None;
            self.failure = None;
        }
    }

    /// Begins to keep a message.
    pub(super) fn begin_message(&mut self) {
        self.skips = false;
        self.aborts = false;
        self.joined = false;
        if let Some(gate) = &mut self.gate {
            gate.begin_message();
        }
        let Terms { collect, rules, own_space, .. } = self.terms;
        if collect.headers || collect.body || !rules.actions().is_empty() {
            self.message.transaction.begin_without_body(collect, rules, own_space);
            self.used = true;
        }
    }

    /// Writes down for a message why it is not asked.
    pub(super) fn note_lasting_failure(&mut self) {
        self.record.failure.clone_from(&self.failure);
    }

    /// Forgets a message. The text of a panic, if that is what came of it.
    pub(super) fn end_message(&mut self) -> Result<(), String> {
        self.joined = false;
        self.replay.clear();
        // It is asked again from here on: a command that the MTA does not know may come before the next message.
        if self.out == Some(Extent::Message) {
            self.out = None;
            self.accepted = false;
        }
        if self.failed == Some(Extent::Message) {
            self.failed = None;
        }
        if !std::mem::take(&mut self.used) {
            return Ok(());
        }
        let message = std::mem::take(&mut self.message);
        call::guard(move || drop(message))
    }

    /// Has the filter handle an event, if it can do so at once; else it keeps that for later, unless all are shown it.
    /// `around` is what another filter was shown.
    #[inline]
    pub(super) fn now<'s>(
        &mut self,
        scene: &Scene<'s>,
        around: &mut Surroundings<'s>,
        event: &Event,
        is_shown: bool,
    ) -> Result<Option<Reply>, String> {
        self.used = true;
        let Self { filter, message, macros, terms, timeout, turn, later, .. } = self;
        around.view.rules = terms.rules;
        around.time = timeout.map_or(scene.time, |time| time.min(scene.time));
        around.envelope =
            if terms.collect.envelope { scene.envelope(terms.rejected_recipients) } else { None };
        if terms.lists.is_none() && turn.is_none() && scene.until.is_none() {
            return offered(&mut **filter, Context::new(message, around), event, is_shown, later);
        }
        let around = restricted(around, scene, terms, *turn, macros);
        offered(&mut **filter, Context::new(message, &around), event, is_shown, later)
    }

    /// Has the filter handle the event that it needs time for: the one that is `shown` to all, or its own.
    pub(super) fn on<'a>(&'a mut self, scene: &Scene<'a>, later: Later, shown: &'a Event) -> Handler<'a> {
        let Self { filter, message, macros, terms, timeout, turn, .. } = self;
        let mut around = scene.shown();
        around.view.rules = terms.rules;
        around.time = timeout.map_or(scene.time, |time| time.min(scene.time));
        around.envelope =
            if terms.collect.envelope { scene.envelope(terms.rejected_recipients) } else { None };
        if terms.lists.is_some() || turn.is_some() || scene.until.is_some() {
            around = restricted(&around, scene, terms, *turn, macros);
        }
        let MessageState { state, transaction } = message;
        match later {
            Later::Shown => filter.on_shown(state, transaction, around, shown),
            Later::Own(event) => filter.on(state, transaction, around, event),
        }
    }
}

/// Offers an event to a filter; what it needs time for is left there.
#[inline]
fn offered(
    filter: &mut dyn AnyFilter,
    mut cx: Context<'_, BoxMessage>,
    event: &Event,
    is_shown: bool,
    later: &mut Option<Later>,
) -> Result<Option<Reply>, String> {
    call::guard(|| {
        match filter.look(&mut cx, event) {
            Look::Done(reply) => return Some(reply),
            Look::Later if is_shown => *later = Some(Later::Shown),
            Look::Later => *later = Some(Later::Own(event.clone())),
            Look::Own => match filter.now(&mut cx, event.clone()) {
                Now::Done(reply) => return Some(reply),
                Now::Later(event) => *later = Some(Later::Own(event)),
            },
        }
        None
    })
}

/// What is around a filter that is not to see all macros.
fn restricted<'a>(
    around: &Surroundings<'a>,
    scene: &Scene<'a>,
    terms: &'a Terms,
    turn: Option<Stage>,
    macros: &'a mut OnceLock<MacroTable>,
) -> Surroundings<'a> {
    *macros = OnceLock::new();
    let lists = terms.lists.as_deref().unwrap_or(&NO_LISTS);
    let until = turn.or(scene.until);
    let view = View {
        macros: scene.around.view.macros(),
        restricted: Some(Restricted { lists, until, table: &*macros }),
        stage: turn.or(scene.stage),
        ..around.view
    };
    Surroundings { view, ..*around }
}

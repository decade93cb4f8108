//! A filter that does as it is told at each event, and writes down what happens.

use std::sync::Arc;
use std::time::Duration;

use tamis::{BoxError, Context, Event, Filter, Needs, Now, Offer, Reply, Verdict};
use tokio::sync::{Semaphore, mpsc};

use super::within;

pub type Cx<'a> = Context<'a, State>;

/// What a probe does with an event.
#[derive(Clone, Debug)]
pub enum Act {
    /// Says this.
    Say(Verdict),
    /// Says this without a future.
    SayNow(Verdict),
    /// Says this when it is let, or never.
    When(Arc<Semaphore>, Verdict),
    /// Says this after a while.
    After(Duration, Verdict),
    Fail(&'static str),
    FailNow(&'static str),
    Panic(&'static str),
    PanicNow(&'static str),
    /// Panics when it is polled for the second time.
    PanicLater(&'static str),
    /// Never ends; its end is noted as `cancelled`.
    Hang,
    /// Never ends, and panics when it is dropped.
    HangAndPanic(&'static str),
}

pub fn go() -> Act {
    Act::Say(Verdict::Continue)
}

type Script = dyn Fn(&mut Cx<'_>, &Event) -> Act + Send + Sync;
type Negotiate = dyn Fn(&Offer) -> Result<Needs, BoxError> + Send + Sync;

/// The filter. Clones write to the same notes.
#[derive(Clone)]
pub struct Probe {
    id: u64,
    needs: Needs,
    script: Arc<Script>,
    negotiate: Option<Arc<Negotiate>>,
    notes: mpsc::UnboundedSender<(u64, String)>,
    /// Events handled on this connection: the state of the connection.
    handled: usize,
    next: Option<Act>,
}

/// The state of a message: writes down what it saw when it is dropped.
#[derive(Default)]
pub struct State {
    pub seen: Vec<&'static str>,
    notes: Option<(u64, mpsc::UnboundedSender<(u64, String)>)>,
    pub panics_in_drop: bool,
}

/// What probes wrote down, in order, with the number of the connection.
pub struct Notes(mpsc::UnboundedReceiver<(u64, String)>);

impl Probe {
    pub fn new(
        needs: Needs,
        script: impl Fn(&mut Cx<'_>, &Event) -> Act + Send + Sync + 'static,
    ) -> (Self, Notes) {
        let (notes, read) = mpsc::unbounded_channel();
        let script = Arc::new(script);
        (Self { id: 0, needs, script, negotiate: None, notes, handled: 0, next: None }, Notes(read))
    }

    /// Sees and answers everything with continue.
    pub fn quiet() -> (Self, Notes) {
        Self::new(Needs::everything(), |_, _| go())
    }

    pub fn with_negotiate(
        mut self,
        negotiate: impl Fn(&Offer) -> Result<Needs, BoxError> + Send + Sync + 'static,
    ) -> Self {
        self.negotiate = Some(Arc::new(negotiate));
        self
    }

    pub fn for_connection(&self, id: u64) -> Self {
        let mut probe = self.clone();
        probe.id = id;
        probe
    }

    pub fn note(&self, text: impl Into<String>) {
        // Whoever does not read the notes does not need them.
        let _ = self.notes.send((self.id, text.into()));
    }

    fn begin(&mut self, cx: &mut Cx<'_>, event: &Event) {
        self.handled += 1;
        self.note(event.name());
        let state = &mut *cx.message;
        if event.stage().is_some_and(tamis::Stage::in_message) && state.notes.is_none() {
            state.notes = Some((self.id, self.notes.clone()));
        }
        state.seen.push(event.name());
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        if self.id != 0 {
            self.note(format!("filter dropped after {} events", self.handled));
        }
    }
}

impl Drop for State {
    fn drop(&mut self) {
        if let Some((id, notes)) = &self.notes {
            let _ = notes.send((*id, format!("message dropped after {}", self.seen.join(" "))));
        }
        assert!(!self.panics_in_drop, "dropping a message");
    }
}

impl Filter for Probe {
    type Message = State;

    fn needs(&self) -> Needs {
        self.needs.clone()
    }

    fn negotiate(&mut self, offer: &Offer) -> impl Future<Output = Result<Needs, BoxError>> + Send {
        let needs = match &self.negotiate {
            Some(negotiate) => negotiate(offer),
            None => Ok(Filter::needs(self)),
        };
        std::future::ready(needs)
    }

    fn now(&mut self, cx: &mut Cx<'_>, event: Event) -> Now {
        self.begin(cx, &event);
        match (self.script)(cx, &event) {
            Act::SayNow(verdict) => Now::Done(Ok(verdict)),
            Act::FailNow(text) => Now::Done(Err(text.into())),
            Act::PanicNow(text) => panic!("{text}"),
            act => {
                self.next = Some(act);
                Now::Later(event)
            }
        }
    }

    async fn on(&mut self, _cx: &mut Cx<'_>, _event: Event) -> Reply {
        match self.next.take().expect("`now` is asked first") {
            Act::SayNow(_) | Act::FailNow(_) | Act::PanicNow(_) => unreachable!("done already"),
            Act::Say(verdict) => Ok(verdict),
            Act::When(let_go, verdict) => {
                let cancelled = Cancelled(self);
                let_go.acquire().await.unwrap().forget();
                std::mem::forget(cancelled);
                Ok(verdict)
            }
            Act::After(time, verdict) => {
                tokio::time::sleep(time).await;
                Ok(verdict)
            }
            Act::Fail(text) => Err(text.into()),
            Act::Panic(text) => panic!("{text}"),
            Act::PanicLater(text) => {
                tokio::task::yield_now().await;
                panic!("{text}")
            }
            Act::Hang => {
                let _cancelled = Cancelled(self);
                std::future::pending().await
            }
            Act::HangAndPanic(text) => {
                let _cancelled = PanicsInDrop(text);
                std::future::pending().await
            }
        }
    }
}

struct Cancelled<'a>(&'a Probe);

impl Drop for Cancelled<'_> {
    fn drop(&mut self) {
        self.0.note("cancelled");
    }
}

struct PanicsInDrop(&'static str);

impl Drop for PanicsInDrop {
    fn drop(&mut self) {
        panic!("{}", self.0);
    }
}

impl Notes {
    /// The next note.
    pub async fn next(&mut self) -> String {
        within(self.0.recv()).await.expect("the filters are there").1
    }

    /// Waits for these notes, with nothing between them.
    #[track_caller]
    pub fn expect(&mut self, expected: &[&str]) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            for (at, expected) in expected.iter().enumerate() {
                let got = self.next().await;
                assert_eq!(got, *expected, "note {at}, {caller}");
            }
        }
    }

    /// Waits for this note; those before it are returned.
    pub async fn until(&mut self, wanted: &str) -> Vec<String> {
        let mut before = Vec::new();
        loop {
            let note = self.next().await;
            if note == wanted {
                return before;
            }
            before.push(note);
        }
    }

    /// Waits for the end of a connection; returns all notes before it.
    pub async fn ended(&mut self) -> Vec<String> {
        let mut before = Vec::new();
        loop {
            let note = self.next().await;
            if note.starts_with("filter dropped") {
                return before;
            }
            before.push(note);
        }
    }

    /// What was noted so far and not looked at.
    pub fn rest(&mut self) -> Vec<String> {
        let mut rest = Vec::new();
        while let Ok((_, note)) = self.0.try_recv() {
            rest.push(note);
        }
        rest
    }
}

//! Three filters that do their work, and one that is bad in the way of its connection.

use std::sync::atomic::{AtomicIsize, Ordering};

use bytes::BytesMut;
use tamis::{Actions, BoxError, Context, Event, Filter, Needs, Now, Reply, Stage, Verdict};

use crate::model::{Letter, Place, Way, way};

/// What a panic says that is meant to be.
pub const BOOM: &str = "boom";

static ALIVE: AtomicIsize = AtomicIsize::new(0);

/// Filters, states of messages and handlers at work that there are now.
pub fn alive() -> isize {
    ALIVE.load(Ordering::Relaxed)
}

/// Counts as long as it is there.
struct Alive(());

impl Default for Alive {
    fn default() -> Self {
        ALIVE.fetch_add(1, Ordering::Relaxed);
        Self(())
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        ALIVE.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What the filters know of a message.
#[derive(Default)]
pub struct State {
    letter: Option<Letter>,
    stage: Option<Stage>,
    count: u32,
    fields: Vec<String>,
    body: BytesMut,
    _alive: Alive,
}

impl State {
    /// Takes note of an event, and says where it is in its message.
    fn see(&mut self, event: &Event) -> Option<Place> {
        self.count = if self.stage == event.stage() { self.count + 1 } else { 0 };
        self.stage = event.stage();
        match event {
            Event::Mail(sender) => self.letter = Letter::of(&sender.address),
            // Those that a filter before this one refused are not seen.
            Event::Rcpt(recipient) => self.count = u32::from(recipient.address[3] - b'0'),
            Event::Header(field) => self.fields.push(String::from_utf8_lossy(&field.name).into_owned()),
            Event::Body(piece) => self.body.extend_from_slice(piece),
            _ => {}
        }
        let name = match event.stage()? {
            Stage::Mail => "mail",
            Stage::Rcpt => "rcpt",
            Stage::Data => "data",
            Stage::Header => "header",
            Stage::EndOfHeaders => "eoh",
            Stage::Body => "body",
            Stage::EndOfMessage => "end",
            _ => return None,
        };
        Some((name, self.count))
    }
}

/// Adds a field that names those that it saw.
#[derive(Default)]
pub struct Marker(Alive);

/// Refuses what is to be refused.
#[derive(Default)]
pub struct Judge(Alive);

/// Adds a field that names those that it saw, and appends to some bodies. Waits at each end.
#[derive(Default)]
pub struct Editor(Alive);

impl Filter for Marker {
    type Message = State;

    fn needs(&self) -> Needs {
        Needs::everything().require(Actions::ADD_HEADERS)
    }

    fn now(&mut self, cx: &mut Context<'_, State>, event: Event) -> Now {
        cx.message.see(&event);
        if event != Event::EndOfMessage {
            return Now::Done(Ok(Verdict::Continue));
        }
        let fields = cx.message.fields.join(" ");
        Now::Done(cx.add_header("X-Marks", fields).map(|()| Verdict::Continue).map_err(BoxError::from))
    }

    async fn on(&mut self, _: &mut Context<'_, State>, _: Event) -> Reply {
        unreachable!("it is always done at once")
    }
}

impl Filter for Judge {
    type Message = State;

    fn needs(&self) -> Needs {
        Needs::everything()
    }

    async fn on(&mut self, cx: &mut Context<'_, State>, event: Event) -> Reply {
        let place = cx.message.see(&event);
        Ok(match &cx.message.letter {
            Some(letter) if place.is_some() && place == letter.is_refused_at() => {
                Verdict::reject("5.7.1", &letter.refusal())
            }
            _ => Verdict::Continue,
        })
    }
}

impl Filter for Editor {
    type Message = State;

    fn needs(&self) -> Needs {
        Needs::everything().require(Actions::ADD_HEADERS | Actions::REPLACE_BODY)
    }

    async fn on(&mut self, cx: &mut Context<'_, State>, event: Event) -> Reply {
        cx.message.see(&event);
        if event == Event::EndOfMessage {
            tokio::task::yield_now().await;
            cx.add_header("X-Edits", cx.message.fields.join(" "))?;
            if cx.message.letter.as_ref().is_some_and(Letter::gets_new_body) {
                let mut body = std::mem::take(&mut cx.message.body);
                body.extend_from_slice(b"And more.\r\n");
                cx.replace_body(body.freeze())?;
            }
        }
        Ok(Verdict::Continue)
    }
}

/// The one that fails.
pub struct Bad {
    way: Way,
    _alive: Alive,
}

impl Bad {
    pub fn new(connection: u64) -> Self {
        Self { way: way(connection), _alive: Alive::default() }
    }
}

impl Filter for Bad {
    type Message = State;

    fn needs(&self) -> Needs {
        let needs = match self.way {
            Way::UnaskedVerdict => Needs::new().watch(Stage::ALL),
            _ => Needs::everything(),
        };
        needs.require(Actions::ADD_RECIPIENTS)
    }

    fn now(&mut self, cx: &mut Context<'_, State>, event: Event) -> Now {
        let place = cx.message.see(&event);
        if let (Some(letter), Event::Mail(_)) = (&cx.message.letter, &event) {
            let copy_to = letter.copy_to();
            cx.add_recipient(copy_to).expect("it may");
        }
        let fails = place.is_some() && cx.message.letter.as_ref().and_then(Letter::fails_at) == place;
        match self.way {
            _ if !fails => Now::Done(Ok(Verdict::Continue)),
            Way::Error => Now::Done(Err("broken".into())),
            Way::Panic => panic!("{BOOM}"),
            Way::WrongVerdict => Now::Done(Ok(Verdict::Skip)),
            Way::UnaskedVerdict => Now::Done(Ok(Verdict::Reject)),
            _ => Now::Later(event),
        }
    }

    async fn on(&mut self, _: &mut Context<'_, State>, _: Event) -> Reply {
        let _at_work = Alive::default();
        match self.way {
            Way::ErrorLater => Err("broken".into()),
            Way::PanicLater => {
                tokio::task::yield_now().await;
                panic!("{BOOM}")
            }
            Way::PanicWhenCancelled => {
                let _bomb = Bomb;
                std::future::pending().await
            }
            _ => std::future::pending().await,
        }
    }
}

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("{BOOM}");
    }
}

//! A filter that does as it is told.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tamis::proto::Misuse;
use tamis::{Actions, BoxError, Context, Event, Filter, Needs, Reply, Stage, Verdict};
use tokio::time::sleep;

use Then::{After, Fail, Say};

pub(crate) type Cx<'a> = Context<'a, Vec<&'static str>>;

/// A filter made of a closure, which says at once what is to come of an event.
pub(crate) struct Does<S> {
    pub(crate) needs: Needs,
    script: S,
    pub(crate) seen: Arc<Mutex<Vec<&'static str>>>,
}

/// What is to come of it.
pub(crate) enum Then {
    Say(Verdict),
    After(Duration, Verdict),
    Fail(&'static str),
    Panic(&'static str),
}

pub(crate) const GO: Then = Say(Verdict::Continue);

pub(crate) fn does<S>(needs: Needs, script: S) -> Does<S>
where
    S: FnMut(&mut Cx<'_>, &Event) -> Then + Send + 'static,
{
    Does { needs, script, seen: Arc::default() }
}

/// Sees everything and says one thing at one stage.
pub(crate) fn says(
    at: Stage,
    verdict: Verdict,
) -> Does<impl FnMut(&mut Cx<'_>, &Event) -> Then + Send + 'static> {
    does(Needs::everything(), move |_, event| {
        Say(if event.stage() == Some(at) { verdict.clone() } else { Verdict::Continue })
    })
}

/// Edits at end of message.
pub(crate) fn edits(
    mut edit: impl FnMut(&mut Cx<'_>) -> Result<(), Misuse> + Send + 'static,
) -> Does<impl FnMut(&mut Cx<'_>, &Event) -> Then + Send + 'static> {
    let needs = Needs::new().answer([Stage::EndOfMessage]).require(Actions::CURRENT & !Actions::MACRO_LISTS);
    does(needs, move |cx, event| {
        if *event == Event::EndOfMessage {
            edit(cx).unwrap();
        }
        GO
    })
}

impl<S: FnMut(&mut Cx<'_>, &Event) -> Then + Send + 'static> Filter for Does<S> {
    type Message = Vec<&'static str>;

    fn needs(&self) -> Needs {
        self.needs.clone()
    }

    fn on(&mut self, cx: &mut Cx<'_>, event: Event) -> impl Future<Output = Reply> + Send {
        self.seen.lock().unwrap().push(event.name());
        cx.message.push(event.name());
        let then = (self.script)(cx, &event);
        async move {
            match then {
                Say(verdict) => Ok(verdict),
                After(time, verdict) => {
                    sleep(time).await;
                    Ok(verdict)
                }
                Fail(text) => Err(BoxError::from(text)),
                Then::Panic(text) => panic!("{text}"),
            }
        }
    }
}

pub(crate) fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

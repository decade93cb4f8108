//! What is kept of a message, and what the filter wants it to become.

use bytes::Bytes;
use tamis_proto::edit::EditRules;
use tamis_proto::{Edit, Misuse};

use super::{BoxError, Collect, Event};
use crate::message::compile::{Mta, Target, Wanted, check, compile};
use crate::message::headers::Saved;
use crate::message::{Allowance, Body, BodyCollector, BodyError, Budget, Headers, Replacement};

/// One message, as far as a filter asked for it to be kept, with the edits that it asked for.
#[derive(Default)]
pub(crate) struct Transaction {
    collect: Collect,
    rules: EditRules,
    /// The filter deals with the space after the colon itself.
    own_space: bool,
    /// Somebody else collects the body, and gives it at the end of the message.
    is_given_body: bool,
    /// Made when there is something to keep: most messages pass without.
    kept: Option<Box<Kept>>,
}

/// What is there to keep.
#[derive(Default)]
struct Kept {
    headers: Headers,
    /// What the body may take of memory and disk.
    allowance: Option<Allowance>,
    collector: Option<BodyCollector>,
    /// The end of the message came.
    complete: bool,
    /// The body, when all of it is there.
    body: Option<Body>,
    /// Edits that are not made to `headers`, in order, as they stand on the wire.
    edits: Vec<Edit<Bytes>>,
    replacement: Option<Replacement>,
}

/// The part of a message that a filter wants to see is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotCollected {
    /// The filter did not say that it wants it.
    #[error("the {0} of messages is not collected, the filter has to declare that it wants it")]
    Undeclared(&'static str),
    /// It is not complete before the end of the message.
    #[error("the {0} of the message is not there before its end")]
    Early(&'static str),
    /// There was no room for it, which the filter was told before.
    #[error("the {0} of the message could not be kept")]
    Lost(&'static str),
}

/// The edits asked for up to some moment.
#[derive(Default)]
pub(crate) struct Asked {
    edits: usize,
    headers: Saved,
    replacement: Option<Replacement>,
}

impl Transaction {
    /// A message begins, of which this is to be kept.
    pub(crate) fn begin(&mut self, collect: Collect, rules: EditRules, own_space: bool, budget: &Budget) {
        self.begin_keeping(collect, rules, own_space);
        if collect.body {
            let collector = self.allowance(budget).collector();
            self.keeping().collector = Some(collector);
        }
    }

    /// A message begins, of which this is to be kept; the body is collected elsewhere.
    pub(crate) fn begin_without_body(&mut self, collect: Collect, rules: EditRules, own_space: bool) {
        self.begin_keeping(collect, rules, own_space);
        self.is_given_body = true;
    }

    fn begin_keeping(&mut self, collect: Collect, rules: EditRules, own_space: bool) {
        (self.collect, self.rules, self.own_space) = (collect, rules, own_space);
        if collect.headers {
            let headers = &mut self.keeping().headers;
            headers.allow(rules.actions());
            headers.own_leading_space(own_space);
        }
    }

    /// Gives the body that was collected elsewhere, if it could be.
    pub(crate) fn give_body(&mut self, body: Option<Body>) {
        if self.collect.body {
            let kept = self.keeping();
            (kept.complete, kept.body) = (true, body);
        }
    }

    /// Asks for modifications that were made elsewhere, in place of all others.
    pub(crate) fn put_edits(&mut self, edits: Vec<Edit<Bytes>>, replacement: Option<Replacement>) {
        let kept = self.keeping();
        (kept.edits, kept.replacement) = (edits, replacement);
    }

    /// Keeps what belongs to the message. `true` if [`kept`](Self::kept) has to be waited for before the next event.
    pub(crate) fn keep(&mut self, event: &Event) -> bool {
        let Some(kept) = &mut self.kept else { return false };
        if let Event::Header(field) = event
            && self.collect.headers
        {
            kept.headers.push(field.clone());
        }
        match (event, kept.collector.take()) {
            (Event::Body(piece), Some(mut collector)) => {
                collector.put(piece.clone());
                let waits = !collector.is_ready();
                kept.collector = Some(collector);
                waits
            }
            (Event::EndOfMessage, Some(collector)) => {
                kept.complete = true;
                match collector.finish_in_memory() {
                    Ok(body) => kept.body = Some(body),
                    Err(mut collector) => {
                        collector.start_flush();
                        kept.collector = Some(collector);
                    }
                }
                kept.collector.is_some()
            }
            (_, collector) => {
                kept.collector = collector;
                false
            }
        }
    }

    /// Waits while there is no room for more of a body. After an error the body is lost, and nothing more of it kept.
    ///
    /// # Cancel safety
    ///
    /// It goes on where it was when it is called again.
    pub(crate) async fn kept(&mut self) -> Result<(), BodyError> {
        let Some(kept) = &mut self.kept else { return Ok(()) };
        let Some(collector) = &mut kept.collector else { return Ok(()) };
        let ready = collector.ready().await;
        if ready.is_err() || kept.complete {
            let collector = kept.collector.take().expect("it was there before");
            ready?;
            kept.body = Some(collector.finish().await?);
        }
        Ok(())
    }

    pub(crate) fn headers(&self) -> Result<&Headers, NotCollected> {
        let kept = self.kept.as_ref().filter(|_| self.collect.headers);
        kept.map(|kept| &kept.headers).ok_or(NotCollected::Undeclared("header"))
    }

    pub(crate) fn headers_mut(&mut self) -> Result<&mut Headers, NotCollected> {
        let kept = self.kept.as_mut().filter(|_| self.collect.headers);
        kept.map(|kept| &mut kept.headers).ok_or(NotCollected::Undeclared("header"))
    }

    pub(crate) fn body(&self) -> Result<&Body, NotCollected> {
        if !self.collect.body {
            return Err(NotCollected::Undeclared("body"));
        }
        match self.kept.as_deref() {
            Some(Kept { body: Some(body), .. }) => Ok(body),
            Some(kept) if kept.collector.is_some() => Err(NotCollected::Early("body")),
            kept if self.is_given_body && !kept.is_some_and(|kept| kept.complete) => {
                Err(NotCollected::Early("body"))
            }
            _ => Err(NotCollected::Lost("body")),
        }
    }

    pub(crate) fn allowance(&mut self, budget: &Budget) -> Allowance {
        self.keeping().allowance.get_or_insert_with(|| budget.message()).clone()
    }

    /// What the body that is collected may take, if one is.
    pub(crate) fn body_allowance(&self) -> Option<&Allowance> {
        self.kept.as_ref()?.allowance.as_ref()
    }

    pub(crate) fn edit(&mut self, edit: Edit<Bytes>) -> Result<(), Misuse> {
        self.rules.check(&edit)?;
        self.keeping().edits.push(edit);
        Ok(())
    }

    pub(crate) fn replace_body(&mut self, body: Replacement) -> Result<(), Misuse> {
        self.rules.check(&Edit::ReplaceBody(b""))?;
        self.keeping().replacement = Some(body);
        Ok(())
    }

    /// What the filter may ask for.
    pub(crate) const fn rules(&self) -> EditRules {
        self.rules
    }

    /// The body is of no use any more: gives back what it takes.
    pub(crate) fn drop_body(&mut self) {
        if let Some(kept) = &mut self.kept {
            (kept.collector, kept.body) = (None, None);
        }
    }

    pub(crate) fn wire_edits(&self) -> &[Edit<Bytes>] {
        self.kept.as_ref().map_or(&[], |kept| &kept.edits)
    }

    /// Whether the message would not be delivered as it came.
    pub(crate) fn is_changed(&self) -> bool {
        self.kept.as_ref().is_some_and(|kept| {
            !kept.edits.is_empty() || kept.headers.is_changed() || kept.replacement.is_some()
        })
    }

    /// Remembers what was asked for so far.
    pub(crate) fn asked(&self) -> Asked {
        let Some(kept) = &self.kept else { return Asked::default() };
        Asked { edits: kept.edits.len(), headers: kept.headers.save(), replacement: kept.replacement.clone() }
    }

    /// Takes back what was asked for since.
    pub(crate) fn take_back(&mut self, since: Asked) {
        if let Some(kept) = &mut self.kept {
            kept.edits.truncate(since.edits);
            kept.headers.restore(since.headers);
            kept.replacement = since.replacement;
        }
    }

    fn keeping(&mut self) -> &mut Kept {
        self.kept.get_or_insert_default()
    }

    /// The edits to send, and the new body that comes behind them.
    ///
    /// Where it is to be strict, what the MTA makes of the edits of the header is compared with what was wanted.
    pub(crate) fn into_edits(
        self,
        target: impl FnOnce() -> Target,
        strict: bool,
    ) -> Result<(Vec<Edit<Bytes>>, Option<Replacement>), BoxError> {
        let Self { rules, own_space, kept: Some(kept), .. } = self else { return Ok((Vec::new(), None)) };
        let Kept { headers, mut edits, replacement, .. } = *kept;
        if replacement.is_some() {
            edits.retain(|edit| !matches!(edit, Edit::ReplaceBody(_)));
        }
        if headers.is_changed() {
            let mut mta = Mta::new(target(), rules.actions());
            (mta.leading_space, mta.payload) = (own_space, rules.payload());
            let wanted = Wanted::new(&headers);
            let mut all = compile(&wanted, &mta)?;
            // None is sent unless all can be.
            all.iter().try_for_each(|edit| rules.check(edit))?;
            if strict {
                check(&all, &wanted, &mta)?;
            }
            all.append(&mut edits);
            edits = all;
        }
        Ok((edits, replacement))
    }
}

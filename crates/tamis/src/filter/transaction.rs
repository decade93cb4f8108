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
    rules: EditRules,
    /// The filter deals with the space after the colon itself.
    own_space: bool,
    /// Somebody else collects the body, and gives it at the end of the message.
    is_given_body: bool,
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
        self.collect = collect;
        self.rules = rules;
        self.own_space = own_space;
        if collect.headers {
            self.headers.allow(rules.actions());
            self.headers.own_leading_space(own_space);
        }
        if collect.body {
            self.collector = Some(self.allowance(budget).collector());
        }
    }

    /// A message begins, of which this is to be kept; the body is collected elsewhere.
    pub(crate) fn begin_without_body(&mut self, collect: Collect, rules: EditRules, own_space: bool) {
        self.collect = collect;
        self.rules = rules;
        self.own_space = own_space;
        self.is_given_body = true;
        if collect.headers {
            self.headers.allow(rules.actions());
            self.headers.own_leading_space(own_space);
        }
    }

    /// Gives the body that was collected elsewhere, if it could be.
    pub(crate) fn give_body(&mut self, body: Option<Body>) {
        self.complete = true;
        self.body = body.filter(|_| self.collect.body);
    }

    /// Asks for modifications that were made elsewhere, in place of all others.
    pub(crate) fn put_edits(&mut self, edits: Vec<Edit<Bytes>>, replacement: Option<Replacement>) {
        self.edits = edits;
        self.replacement = replacement;
    }

    /// Keeps what belongs to the message. `true` if [`kept`](Self::kept) has to be waited for before the next event.
    pub(crate) fn keep(&mut self, event: &Event) -> bool {
        if let Event::Header(field) = event
            && self.collect.headers
        {
            self.headers.push(field.clone());
        }
        match (event, &mut self.collector) {
            (Event::Body(piece), Some(collector)) => collector.put(piece.clone()),
            (Event::EndOfMessage, Some(collector)) => {
                collector.start_flush();
                self.complete = true;
            }
            _ => return false,
        }
        true
    }

    /// Waits while there is no room for more of a body. After an error the body is lost, and nothing more of it kept.
    ///
    /// # Cancel safety
    ///
    /// It goes on where it was when it is called again.
    pub(crate) async fn kept(&mut self) -> Result<(), BodyError> {
        let Some(collector) = &mut self.collector else { return Ok(()) };
        let ready = collector.ready().await;
        if ready.is_err() || self.complete {
            let collector = self.collector.take().expect("it was there before");
            ready?;
            self.body = Some(collector.finish().await?);
        }
        Ok(())
    }

    pub(crate) fn headers(&self) -> Result<&Headers, NotCollected> {
        if self.collect.headers { Ok(&self.headers) } else { Err(NotCollected::Undeclared("header")) }
    }

    pub(crate) fn headers_mut(&mut self) -> Result<&mut Headers, NotCollected> {
        if self.collect.headers { Ok(&mut self.headers) } else { Err(NotCollected::Undeclared("header")) }
    }

    pub(crate) fn body(&self) -> Result<&Body, NotCollected> {
        match &self.body {
            Some(body) => Ok(body),
            None if !self.collect.body => Err(NotCollected::Undeclared("body")),
            None if self.collector.is_some() || self.is_given_body && !self.complete => {
                Err(NotCollected::Early("body"))
            }
            None => Err(NotCollected::Lost("body")),
        }
    }

    pub(crate) fn allowance(&mut self, budget: &Budget) -> Allowance {
        self.allowance.get_or_insert_with(|| budget.message()).clone()
    }

    pub(crate) fn edit(&mut self, edit: Edit<Bytes>) -> Result<(), Misuse> {
        self.rules.check(&edit)?;
        self.edits.push(edit);
        Ok(())
    }

    pub(crate) fn replace_body(&mut self, body: Replacement) -> Result<(), Misuse> {
        self.rules.check(&Edit::ReplaceBody(b""))?;
        self.replacement = Some(body);
        Ok(())
    }

    /// What the filter may ask for.
    pub(crate) const fn rules(&self) -> EditRules {
        self.rules
    }

    /// The body is of no use any more: gives back what it takes.
    pub(crate) fn drop_body(&mut self) {
        self.collector = None;
        self.body = None;
    }

    pub(crate) fn wire_edits(&self) -> &[Edit<Bytes>] {
        &self.edits
    }

    /// Whether the message would not be delivered as it came.
    pub(crate) fn is_changed(&self) -> bool {
        !self.edits.is_empty() || self.headers.is_changed() || self.replacement.is_some()
    }

    /// Remembers what was asked for so far.
    pub(crate) fn asked(&self) -> Asked {
        Asked { edits: self.edits.len(), headers: self.headers.save(), replacement: self.replacement.clone() }
    }

    /// Takes back what was asked for since.
    pub(crate) fn take_back(&mut self, since: Asked) {
        self.edits.truncate(since.edits);
        self.headers.restore(since.headers);
        self.replacement = since.replacement;
    }

    /// The edits to send, and the new body that comes behind them.
    ///
    /// Where it is to be strict, what the MTA makes of the edits of the header is compared with what was wanted.
    pub(crate) fn into_edits(
        self,
        target: impl FnOnce() -> Target,
        strict: bool,
    ) -> Result<(Vec<Edit<Bytes>>, Option<Replacement>), BoxError> {
        let Self { headers, mut edits, replacement, rules, own_space, .. } = self;
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

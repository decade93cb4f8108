//! What a filter can look up and ask for while it handles an event.

use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use tamis_proto::edit::EditRules;
use tamis_proto::{Actions, Edit, FilterSession, MacroLists, MacroTable, Misuse, Stage};

use super::edits::edit_methods;
use super::{NotCollected, Peer, Transaction};
use crate::message::compile::Target;
use crate::message::{Allowance, Body, Budget, Envelope, Facts, Headers, Replacement};
use crate::recorder::Alarm;

/// The surroundings of an event: the message's state, macros, and modifications to ask for.
///
/// Modifications may be asked for at any stage of a message; they are kept and sent at end of message, and dropped
/// with a message that gets no further and with a step that fails. Each call fails at once if there is no message
/// yet, if the action was not negotiated, if the text could end a header field early, or if it does not fit a
/// packet; nothing is kept then.
///
/// Header fields are best edited in [`headers_mut`](Self::headers_mut), by field and place: the methods here count
/// as the wire does, and what they ask for comes after all of that.
pub struct Context<'a, M> {
    /// State of the message.
    #[doc(alias = "smfi_getpriv")]
    #[doc(alias = "smfi_setpriv")]
    pub message: &'a mut M,
    transaction: &'a mut Transaction,
    surroundings: &'a Surroundings<'a>,
}

/// What a handler can look at and not change.
#[derive(Clone, Copy)]
pub(crate) struct Surroundings<'a> {
    pub(crate) view: View<'a>,
    pub(crate) peer: &'a Peer,
    pub(crate) envelope: Option<&'a Envelope>,
    pub(crate) budget: &'a Budget,
    pub(crate) mta: MtaHints,
    /// How long the handler may take.
    pub(crate) time: Duration,
    /// A handler that is cancelled goes on with its message: only this one event is over.
    pub(crate) goes_on: bool,
    /// For failures that the caller does not see, if they are to be recorded.
    pub(crate) alarm: Option<&'a Alarm>,
}

/// What of the session a filter sees: with several filters on one connection, each has a view of its own.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    /// All macros.
    pub(crate) macros: &'a MacroTable,
    /// What is left of them for this filter, if that is less.
    pub(crate) restricted: Option<Restricted<'a>>,
    pub(crate) rules: EditRules,
    pub(crate) stage: Option<Stage>,
    pub(crate) in_message: bool,
}

/// The macros that a filter asked for, sorted out when it looks at them.
#[derive(Clone, Copy)]
pub(crate) struct Restricted<'a> {
    pub(crate) lists: &'a MacroLists,
    pub(crate) until: Option<Stage>,
    pub(crate) table: &'a OnceLock<MacroTable>,
}

/// What is known of the MTA that edits of the header depend on.
#[derive(Clone, Copy)]
pub(crate) struct MtaHints {
    /// Which one it is, if that was configured.
    pub(crate) target: Option<Target>,
    /// It sends macros with header fields.
    pub(crate) header_macros: bool,
    /// Edits are to be compared with what it would make of them.
    pub(crate) strict: bool,
}

impl<'a> View<'a> {
    pub(crate) fn of(session: &'a FilterSession) -> Self {
        Self {
            macros: session.macros(),
            restricted: None,
            rules: session.edit_rules(),
            stage: session.waits_for(),
            in_message: session.in_message(),
        }
    }

    pub(crate) fn macros(&self) -> &'a MacroTable {
        match self.restricted {
            None => self.macros,
            Some(Restricted { lists, until, table }) => {
                table.get_or_init(|| self.macros.restricted(lists, until))
            }
        }
    }
}

impl Surroundings<'_> {
    /// Which MTA it is.
    pub(crate) fn target(&self) -> Target {
        self.mta.target(self.view.macros)
    }
}

impl MtaHints {
    /// Which MTA it is, as far as its macros at connect tell.
    pub(crate) fn target(self, macros: &MacroTable) -> Target {
        // Not by `get`, which tests take for the filter's.
        let version = || macros.of_stage(Stage::Connect).find(|(name, _)| matches!(*name, b"v" | b"{v}"));
        self.target.unwrap_or_else(|| Target::guess(version().map(|(_, value)| value), self.header_macros))
    }
}

/// What is kept for a message.
#[derive(Default)]
pub(crate) struct MessageState<M> {
    pub(crate) state: M,
    pub(crate) transaction: Transaction,
}

impl<'a, M> Context<'a, M> {
    pub(crate) fn new(message: &'a mut MessageState<M>, surroundings: &'a Surroundings<'a>) -> Self {
        Self { message: &mut message.state, transaction: &mut message.transaction, surroundings }
    }

    /// The same surroundings with another view of the message's state.
    pub(crate) fn map_message<'b, N>(
        &'b mut self,
        view: impl FnOnce(&'b mut M) -> &'b mut N,
    ) -> Context<'b, N> {
        Context {
            message: view(self.message),
            transaction: self.transaction,
            surroundings: self.surroundings,
        }
    }

    pub(crate) fn of(
        message: &'a mut M,
        transaction: &'a mut Transaction,
        surroundings: &'a Surroundings<'a>,
    ) -> Self {
        Self { message, transaction, surroundings }
    }

    /// What it is made of.
    pub(crate) fn parts(&mut self) -> (&mut M, &mut Transaction, Surroundings<'a>) {
        (self.message, self.transaction, *self.surroundings)
    }

    /// The MTA's end of the connection.
    pub fn peer(&self) -> &Peer {
        self.surroundings.peer
    }

    /// Client, sender and recipients, as far as they were seen. Recipients that this filter refused are left out.
    ///
    /// # Errors
    ///
    /// When the filter did not declare that it wants them: [`Collect::envelope`](crate::Collect::envelope).
    pub fn envelope(&self) -> Result<&'a Envelope, NotCollected> {
        self.surroundings.envelope.ok_or(NotCollected::Undeclared("envelope"))
    }

    /// The header, as far as it was seen and with all edits so far.
    ///
    /// # Errors
    ///
    /// When the filter did not declare that it wants it: [`Collect::headers`](crate::Collect::headers).
    pub fn headers(&self) -> Result<&Headers, NotCollected> {
        self.transaction.headers()
    }

    /// The header, to edit it. The edits take place at the end of the message, if it gets there.
    ///
    /// # Errors
    ///
    /// As [`headers`](Self::headers).
    pub fn headers_mut(&mut self) -> Result<&mut Headers, NotCollected> {
        self.transaction.headers_mut()
    }

    /// The body as it came, at end of message.
    ///
    /// # Errors
    ///
    /// When the filter did not declare that it wants it: [`Collect::body`](crate::Collect::body), before the end of
    /// the message, and when there was no room for it and the
    /// [failure policy](crate::Options::on_failure) is to go on.
    pub fn body(&self) -> Result<&Body, NotCollected> {
        self.transaction.body()
    }

    /// What a new body may take of memory and disk, for making a [`Replacement`].
    pub fn allowance(&mut self) -> Allowance {
        self.transaction.allowance(self.surroundings.budget)
    }

    /// Facts that the MTA tells in macros: queue id, TLS, who logged in.
    pub fn facts(&self) -> Facts<'a> {
        Facts::new(self.surroundings.view.macros())
    }

    /// The stage being handled; none for abort and close.
    pub fn stage(&self) -> Option<Stage> {
        self.surroundings.view.stage
    }

    /// How long the handler may take from its start, before the [failure policy](crate::Options::on_failure) answers
    /// for it: for what a filter waits for, and would rather give up by itself.
    pub fn time_limit(&self) -> Duration {
        self.surroundings.time
    }

    /// The value of a macro, with or without braces around its name, if the MTA sent it.
    #[doc(alias = "smfi_getsymval")]
    pub fn macro_value(&self, name: &str) -> Option<&[u8]> {
        self.macros().get(name)
    }

    /// All macros that are visible now.
    pub fn macros(&self) -> &'a MacroTable {
        self.surroundings.view.macros()
    }

    /// The queue id, if the MTA told it yet. Postfix does after the first recipient.
    pub fn queue_id(&self) -> Option<&[u8]> {
        self.macro_value("i")
    }

    /// The actions that were negotiated.
    pub fn actions(&self) -> Actions {
        self.surroundings.view.rules.actions()
    }

    /// Modifications asked for so far, in order.
    pub fn edits(&self) -> &[Edit<Bytes>] {
        self.transaction.wire_edits()
    }

    pub(crate) fn rules(&self) -> EditRules {
        self.surroundings.view.rules
    }

    pub(crate) fn surroundings(&self) -> Surroundings<'a> {
        *self.surroundings
    }

    pub(crate) fn transaction(&mut self) -> &mut Transaction {
        self.transaction
    }

    pub(crate) fn budget(&self) -> &'a Budget {
        self.surroundings.budget
    }

    /// Takes over what was asked for elsewhere.
    pub(crate) fn adopt(&mut self, transaction: Transaction) {
        *self.transaction = transaction;
    }

    edit_methods!("[`Context`]");

    /// Asks for a modification as it stands on the wire, one to one and in order (a replaced body leaves last).
    /// Header values may be anything that was read from the wire, only a NUL is refused.
    ///
    /// # Errors
    ///
    /// As said at [`Context`].
    pub fn edit(&mut self, edit: Edit<Bytes>) -> Result<(), Misuse> {
        if !self.surroundings.view.in_message {
            return Err(Misuse::NotAtEndOfMessage);
        }
        self.transaction.edit(edit)
    }

    /// Replaces the body by one that was made as a whole, which may be larger than memory. The last one counts, and
    /// takes the place of what [`replace_body`](Self::replace_body) was given.
    ///
    /// # Errors
    ///
    /// As said at [`Context`].
    #[doc(alias = "smfi_replacebody")]
    pub fn set_body(&mut self, body: impl Into<Replacement>) -> Result<(), Misuse> {
        if !self.surroundings.view.in_message {
            return Err(Misuse::NotAtEndOfMessage);
        }
        self.transaction.replace_body(body.into())
    }
}

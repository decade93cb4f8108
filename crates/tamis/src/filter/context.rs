//! What a filter can look up and ask for while it handles an event.

use bytes::Bytes;
use tamis_proto::edit::validate;
use tamis_proto::{Actions, Edit, FilterSession, MacroTable, Misuse, Stage};

use super::Peer;
use crate::message::Replacement;

/// The surroundings of an event: the message's state, macros, and modifications to ask for.
///
/// Modifications may be asked for at any stage of a message; they are kept and sent at end of message, and dropped
/// with a message that gets no further and with a step that fails. Each call fails at once if there is no message
/// yet, if the action was not negotiated, if the text could end a header field early, or if it does not fit a
/// packet; nothing is kept then.
pub struct Context<'a, M> {
    /// State of the message.
    pub message: &'a mut M,
    edits: &'a mut Vec<Edit<Bytes>>,
    new_body: &'a mut Option<Replacement>,
    session: &'a FilterSession,
    peer: &'a Peer,
}

/// What is kept for a message.
#[derive(Default)]
pub(crate) struct MessageState<M> {
    pub(crate) state: M,
    pub(crate) edits: Vec<Edit<Bytes>>,
    /// Counts instead of pieces among the modifications.
    pub(crate) new_body: Option<Replacement>,
}

/// What a message was to be modified to at some time.
pub(crate) struct Asked {
    edits: usize,
    new_body: Option<Replacement>,
}

impl<M> MessageState<M> {
    pub(crate) fn is_modified(&self) -> bool {
        !self.edits.is_empty() || self.new_body.is_some()
    }

    /// Notes what was asked for until now.
    pub(crate) fn asked(&self) -> Asked {
        Asked { edits: self.edits.len(), new_body: self.new_body.clone() }
    }

    /// Forgets what was asked for since then.
    pub(crate) fn go_back(&mut self, asked: Asked) {
        self.edits.truncate(asked.edits);
        self.new_body = asked.new_body;
    }

    /// Forgets everything that was asked for.
    pub(crate) fn forget_edits(&mut self) {
        self.edits.clear();
        self.new_body = None;
    }
}

impl<'a, M> Context<'a, M> {
    pub(crate) fn new(message: &'a mut MessageState<M>, session: &'a FilterSession, peer: &'a Peer) -> Self {
        let MessageState { state, edits, new_body } = message;
        Self { message: state, edits, new_body, session, peer }
    }

    /// The same surroundings with another view of the message's state.
    pub(crate) fn map_message<'b, N>(
        &'b mut self,
        view: impl FnOnce(&'b mut M) -> &'b mut N,
    ) -> Context<'b, N> {
        let Self { message, edits, new_body, session, peer } = self;
        Context { message: view(message), edits, new_body, session, peer }
    }

    /// The MTA's end of the connection.
    pub fn peer(&self) -> &Peer {
        self.peer
    }

    /// The stage being handled; none for abort and close.
    pub fn stage(&self) -> Option<Stage> {
        self.session.waits_for()
    }

    /// The value of a macro, with or without braces around its name, if the MTA sent it.
    #[doc(alias = "smfi_getsymval")]
    pub fn macro_value(&self, name: &str) -> Option<&[u8]> {
        self.session.macros().get(name)
    }

    /// All macros that are visible now.
    pub fn macros(&self) -> &MacroTable {
        self.session.macros()
    }

    /// The queue id, if the MTA told it yet. Postfix does after the first recipient.
    pub fn queue_id(&self) -> Option<&[u8]> {
        self.macro_value("i")
    }

    /// The actions that were negotiated.
    pub fn actions(&self) -> Actions {
        self.session.actions()
    }

    /// Modifications asked for so far, in order.
    pub fn edits(&self) -> &[Edit<Bytes>] {
        self.edits
    }

    /// Appends a header field. CRLF before a continuation line becomes LF.
    ///
    /// # Errors
    ///
    /// As said at [`Context`]; the value must not have a NUL, a bare CR or a line that is no continuation.
    #[doc(alias = "smfi_addheader")]
    pub fn add_header(&mut self, name: impl Into<Bytes>, value: impl Into<Bytes>) -> Result<(), Misuse> {
        self.edit(Edit::AddHeader { name: name.into(), value: checked(value)? })
    }

    /// Inserts a header field at a position among all of them, 0 is the top. Only 0, 1 (below the MTA's own
    /// `Received`) and very large numbers mean the same to every MTA.
    ///
    /// # Errors
    ///
    /// As [`add_header`](Self::add_header).
    #[doc(alias = "smfi_insheader")]
    pub fn insert_header(
        &mut self,
        index: u32,
        name: impl Into<Bytes>,
        value: impl Into<Bytes>,
    ) -> Result<(), Misuse> {
        self.edit(Edit::InsertHeader { index, name: name.into(), value: checked(value)? })
    }

    /// Replaces the n-th header field of a name, counted from 1; adds it if there is none.
    ///
    /// # Errors
    ///
    /// As [`add_header`](Self::add_header).
    #[doc(alias = "smfi_chgheader")]
    pub fn change_header(
        &mut self,
        index: u32,
        name: impl Into<Bytes>,
        value: impl Into<Bytes>,
    ) -> Result<(), Misuse> {
        self.edit(Edit::ChangeHeader { index, name: name.into(), value: checked(value)? })
    }

    /// Deletes the n-th header field of a name, counted from 1. Delete the last one first: Postfix numbers
    /// anew after each deletion, Sendmail does not.
    ///
    /// # Errors
    ///
    /// As said at [`Context`].
    pub fn delete_header(&mut self, index: u32, name: impl Into<Bytes>) -> Result<(), Misuse> {
        self.edit(Edit::ChangeHeader { index, name: name.into(), value: Bytes::new() })
    }

    /// Changes the envelope sender; `<>` is the null sender.
    ///
    /// # Errors
    ///
    /// As said at [`Context`].
    #[doc(alias = "smfi_chgfrom")]
    pub fn change_sender(&mut self, address: impl Into<Bytes>, args: Option<&str>) -> Result<(), Misuse> {
        let args = args.map(|args| Bytes::copy_from_slice(args.as_bytes()));
        self.edit(Edit::ChangeSender { address: address.into(), args })
    }

    /// Adds a recipient.
    ///
    /// # Errors
    ///
    /// As said at [`Context`].
    #[doc(alias = "smfi_addrcpt")]
    pub fn add_recipient(&mut self, address: impl Into<Bytes>) -> Result<(), Misuse> {
        self.edit(Edit::AddRecipient { address: address.into() })
    }

    /// Adds a recipient with ESMTP parameters, such as `NOTIFY=NEVER`.
    ///
    /// # Errors
    ///
    /// As said at [`Context`].
    #[doc(alias = "smfi_addrcpt_par")]
    pub fn add_recipient_with_args(&mut self, address: impl Into<Bytes>, args: &str) -> Result<(), Misuse> {
        let args = Some(Bytes::copy_from_slice(args.as_bytes()));
        self.edit(Edit::AddRecipientWithArgs { address: address.into(), args })
    }

    /// Removes a recipient, written as the client did in RCPT.
    ///
    /// # Errors
    ///
    /// As said at [`Context`].
    #[doc(alias = "smfi_delrcpt")]
    pub fn delete_recipient(&mut self, address: impl Into<Bytes>) -> Result<(), Misuse> {
        self.edit(Edit::DeleteRecipient { address: address.into() })
    }

    /// Replaces the body; further calls append to the new body. Lines should end in CRLF.
    ///
    /// # Errors
    ///
    /// As said at [`Context`].
    #[doc(alias = "smfi_replacebody")]
    pub fn replace_body(&mut self, body: impl Into<Bytes>) -> Result<(), Misuse> {
        self.edit(Edit::ReplaceBody(body.into()))
    }

    /// Replaces the body as a whole, in memory or in a file: what [`replace_body`](Self::replace_body) was given does
    /// not count then. It leaves packet by packet, and is not read into memory for that.
    ///
    /// # Errors
    ///
    /// As said at [`Context`].
    #[doc(alias = "smfi_replacebody")]
    pub fn set_body(&mut self, body: impl Into<Replacement>) -> Result<(), Misuse> {
        self.check(&Edit::ReplaceBody(Bytes::new()))?;
        *self.new_body = Some(body.into());
        Ok(())
    }

    /// Has the MTA hold the message. A verdict is still needed.
    ///
    /// # Errors
    ///
    /// As said at [`Context`].
    #[doc(alias = "smfi_quarantine")]
    pub fn quarantine(&mut self, reason: impl Into<Bytes>) -> Result<(), Misuse> {
        self.edit(Edit::Quarantine { reason: reason.into() })
    }

    /// Asks for a modification as it stands on the wire, one to one and in order (a replaced body leaves last).
    /// Header values may be anything that was read from the wire, only a NUL is refused.
    ///
    /// # Errors
    ///
    /// As said at [`Context`].
    pub fn edit(&mut self, edit: Edit<Bytes>) -> Result<(), Misuse> {
        self.check(&edit)?;
        self.edits.push(edit);
        Ok(())
    }

    fn check(&self, edit: &Edit<Bytes>) -> Result<(), Misuse> {
        if !self.session.in_message() {
            return Err(Misuse::NotAtEndOfMessage);
        }
        self.session.check_edit(edit)
    }
}

fn checked(value: impl Into<Bytes>) -> Result<Bytes, Misuse> {
    let value = value.into();
    let folded = match validate::header_value(&value)? {
        std::borrow::Cow::Borrowed(_) => None,
        std::borrow::Cow::Owned(folded) => Some(folded),
    };
    Ok(folded.map_or(value, Bytes::from))
}

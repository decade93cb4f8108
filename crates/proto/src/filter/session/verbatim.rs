//! What bindings to C filters need besides: bits, texts and limits exactly as the filter has them.

use std::sync::Arc;

use super::{FilterSession, LastPiece, Sent, State, Waits};
use crate::edit::{self, Edit};
use crate::error::Misuse;
use crate::frame;
use crate::limits::Limits;
use crate::negotiate::{BitAnswer, DataSize, Refusal};
use crate::reply::{Reply, Verdict};

impl FilterSession {
    /// Answers the offer with these bits.
    ///
    /// # Errors
    ///
    /// [`Refusal`] when a bit is not offered that the MTA has to know. Nothing is written then; close the connection.
    pub fn negotiate_bits(&mut self, answer: &BitAnswer) -> Result<(), Refusal> {
        let Waits::Needs(offer) = self.waits else { return Err(Refusal::NotNow) };
        let wire = answer.to(offer)?;
        let mut reply = Vec::new();
        Reply::Negotiate(wire.clone()).encode(&mut reply);
        let (length, limit) = (reply.len() - frame::LENGTH_BYTES - 1, self.limits.payload);
        if length > limit {
            return Err(Refusal::BadMacros(format!("answer of {length} bytes exceeds the limit of {limit}")));
        }
        self.see = answer.see();
        self.actions = wire.actions;
        self.steps = wire.steps;
        self.data_size = DataSize::K64;
        self.mends_space = false;
        self.output.frames().append(&mut reply);
        self.state = State::Negotiated;
        self.waits = Waits::Bytes;
        Ok(())
    }

    /// Gives a verdict that says `text` to the MTA: an SMTP reply as on the wire, without the final NUL. Nothing in it
    /// is looked at or changed; percent signs must be doubled already.
    ///
    /// # Errors
    ///
    /// As [`respond`](Self::respond).
    #[doc(alias = "smfi_setreply")]
    pub fn respond_text(&mut self, verdict: &Verdict, text: &[u8]) -> Result<Sent, Misuse> {
        let Waits::Verdict(stage) = self.waits else { return Err(Misuse::NoVerdictDue) };
        self.check_verdict(verdict, stage)?;
        self.waits = Waits::Bytes;
        self.macros.leave(stage);
        Ok(if self.last_piece == LastPiece::Given {
            self.answer_last_piece(verdict, Some(text))
        } else {
            self.answer(stage, verdict, Some(text))
        })
    }

    /// Asks for a modification whose text is borrowed, as [`edit`](Self::edit) does; a replaced body goes out where it
    /// stands among the others, whatever the rules say.
    ///
    /// # Errors
    ///
    /// As [`edit`](Self::edit).
    pub fn edit_borrowed(&mut self, edit: &Edit<&[u8]>) -> Result<(), Misuse> {
        if !self.at_end_of_message() {
            return Err(Misuse::NotAtEndOfMessage);
        }
        self.check_edit(edit)?;
        match edit {
            Edit::ReplaceBody(body) => edit::put_borrowed_body(&mut self.output, body),
            edit => edit.encode(self.output.frames()),
        }
        Ok(())
    }

    /// Whether modifications can be asked for now.
    pub fn takes_edits(&self) -> bool {
        self.at_end_of_message()
    }

    /// Goes on with other limits.
    pub fn set_limits(&mut self, limits: impl Into<Arc<Limits>>) {
        self.limits = limits.into();
    }
}

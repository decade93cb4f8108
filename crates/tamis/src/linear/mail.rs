//! [`Mail`]: a message as a filter function holds it.

use std::future::poll_fn;
use std::sync::{Arc, OnceLock};
use std::task::{Context as Task, Poll};

use bytes::Bytes;
use tamis_proto::{Actions, Edit, Misuse, Stage, Verdict};

use super::slot::{Known, Slot};
use super::{Over, ReadBody, Settings};
use crate::filter::edits::edit_methods;
use crate::filter::{BoxError, Event, NotCollected, Peer};
use crate::message::{Allowance, Body, Budget, Envelope, Facts, Headers, Recipient, Replacement, Sender};

/// A message that comes in while a function works on it.
///
/// Methods with `.await` wait for what is to come; those without return what is there. Asking for something that is
/// past gives nothing more.
///
/// Modifications may be asked for at any time and are sent at the end of the message, if it gets there. Each call
/// fails at once if the action was not negotiated, if the text could end a header field early, or if it does not fit a
/// packet; nothing is kept then.
///
/// What waits fails when there is no room for a body ([`BodyError`](crate::message::BodyError)), and with [`Over`](super::Over) where
/// a mail is held longer than the function that it was given to; `?` leaves both to the
/// [failure policy](crate::Options::on_failure).
///
/// # Cancel safety
///
/// All that waits may be dropped, as in `tokio::select!`, and called again: nothing of the message is lost.
pub struct Mail {
    slot: Slot,
    settings: Arc<Settings>,
    peer: Peer,
    known: Known,
    budget: Budget,
    allowance: OnceLock<Allowance>,
    /// The event that was taken last, until all of it is kept.
    arriving: Option<Event>,
    /// And from then on until somebody has had it.
    current: Option<Event>,
}

/// What a mail begins with.
pub(super) struct Start {
    pub(super) slot: Slot,
    pub(super) settings: Arc<Settings>,
    pub(super) peer: Peer,
    pub(super) known: Known,
    pub(super) budget: Budget,
}

impl Mail {
    pub(super) fn new(start: Start) -> Self {
        let Start { slot, settings, peer, known, budget } = start;
        Self {
            slot,
            settings,
            peer,
            known,
            budget,
            allowance: OnceLock::new(),
            arriving: None,
            current: None,
        }
    }

    /// The MTA's end of the connection.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Client, HELO name, sender and recipients, as far as they came.
    pub fn envelope(&self) -> &Envelope {
        &self.known.room.envelope
    }

    /// The sender.
    pub fn sender(&self) -> &Sender {
        self.known.room.envelope.sender().expect("a mail begins with its sender")
    }

    /// Facts that the MTA tells in macros: queue id, TLS, who logged in.
    pub fn facts(&self) -> Facts<'_> {
        Facts::new(&self.known.room.macros)
    }

    /// The stage that the message has come to.
    pub fn stage(&self) -> Stage {
        self.known.stage
    }

    /// The actions that were negotiated.
    pub fn actions(&self) -> Actions {
        self.known.transaction.rules().actions()
    }

    /// Waits for the next recipient; `None` when all came. Asking for the next one takes this one.
    ///
    /// # Errors
    ///
    /// As said at [`Mail`].
    ///
    /// # Cancel safety
    ///
    /// No recipient is lost. But the one before is taken from the first time this is polled on, and cannot be
    /// refused any more.
    pub async fn recipient(&mut self) -> Result<Option<Recipient>, BoxError> {
        let came = self.next(Stage::Rcpt).await?.is_some();
        Ok(self.known.room.envelope.all_recipients().last().filter(|_| came).cloned())
    }

    /// Refuses the recipient that came last. The message goes on without it.
    ///
    /// # Errors
    ///
    /// When the filter does not [decide](super::Linear::decides) at [`Stage::Rcpt`], when the message is past its
    /// recipients, when the next one was asked for already, and when the verdict is none that refuses.
    pub fn refuse(&mut self, verdict: Verdict) -> Result<(), Misuse> {
        if self.known.stage != Stage::Rcpt || !self.settings.answers(Stage::Rcpt) {
            return Err(Misuse::NoReplyStage(self.known.stage));
        }
        if !matches!(verdict, Verdict::Reject | Verdict::Tempfail | Verdict::Reply(_)) {
            return Err(Misuse::NotAtThisStage { verdict: verdict.name(), stage: self.known.stage });
        }
        if self.slot.answer(verdict).ok_or(Misuse::NoVerdictDue)? == Verdict::Continue {
            self.known.room.envelope.remove_last_recipient();
        }
        Ok(())
    }

    /// Waits for the whole header, to look at and to edit.
    ///
    /// # Errors
    ///
    /// When the filter [does without](super::Linear::without_headers), and as said at [`Mail`].
    ///
    /// # Cancel safety
    ///
    /// It goes on where it was when it is called again.
    pub async fn headers(&mut self) -> Result<&mut Headers, BoxError> {
        while self.next(Stage::Header).await?.is_some() {}
        Ok(self.known.transaction.headers_mut()?)
    }

    /// Waits for the next piece of the body; `None` at its end. Pieces end anywhere, lines in CRLF.
    ///
    /// # Errors
    ///
    /// When the filter does not [stream](ReadBody::Stream) the body, and as said at [`Mail`].
    ///
    /// # Cancel safety
    ///
    /// No piece is lost.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, BoxError> {
        if self.settings.body != ReadBody::Stream {
            return Err(NotCollected::Undeclared("body").into());
        }
        Ok(self.next(Stage::Body).await?.map(|event| match event {
            Event::Body(piece) => piece,
            _ => unreachable!("this is what was waited for"),
        }))
    }

    /// Waits for the whole body.
    ///
    /// # Errors
    ///
    /// When the filter does not [collect](ReadBody::Collect) the body, and as said at [`Mail`].
    ///
    /// # Cancel safety
    ///
    /// It goes on where it was when it is called again.
    pub async fn body(&mut self) -> Result<&Body, BoxError> {
        self.end().await?;
        Ok(self.known.transaction.body()?)
    }

    /// Waits for the end of the message. What comes before is passed over: of a body that is streamed no more is sent,
    /// if the MTA can skip it.
    ///
    /// # Errors
    ///
    /// As said at [`Mail`].
    ///
    /// # Cancel safety
    ///
    /// It goes on where it was when it is called again.
    pub async fn end(&mut self) -> Result<(), BoxError> {
        while self.known.stage != Stage::EndOfMessage || self.arriving.is_some() {
            if self.known.stage == Stage::Body && self.settings.body == ReadBody::Stream {
                self.slot.answer(Verdict::Skip);
            }
            // Pieces that are to be skipped have to be seen for that.
            let streams = self.settings.body == ReadBody::Stream;
            self.advance(if streams { Stage::Body } else { Stage::EndOfMessage }).await?;
        }
        Ok(())
    }

    /// The header as far as it came, to edit it: what is appended before the end of the header stands at the end.
    ///
    /// # Errors
    ///
    /// When the filter [does without](super::Linear::without_headers).
    pub fn headers_so_far(&mut self) -> Result<&mut Headers, NotCollected> {
        self.known.transaction.headers_mut()
    }

    /// What a new body may take of memory and disk, for making a [`Replacement`].
    pub fn allowance(&self) -> &Allowance {
        self.allowance.get_or_init(|| {
            let of_body = self.known.transaction.body_allowance().cloned();
            of_body.unwrap_or_else(|| self.budget.message())
        })
    }

    edit_methods!("[`Mail`]");

    /// Asks for a modification as it stands on the wire, one to one and in order (a replaced body leaves last).
    /// Header values may be anything that was read from the wire, only a NUL is refused.
    ///
    /// # Errors
    ///
    /// As said at [`Mail`].
    pub fn edit(&mut self, edit: Edit<Bytes>) -> Result<(), Misuse> {
        self.known.transaction.edit(edit)
    }

    /// Replaces the body by one that was made as a whole, which may be larger than memory. The last one counts, and
    /// takes the place of what [`replace_body`](Self::replace_body) was given.
    ///
    /// # Errors
    ///
    /// As said at [`Mail`].
    #[doc(alias = "smfi_replacebody")]
    pub fn set_body(&mut self, body: impl Into<Replacement>) -> Result<(), Misuse> {
        self.known.transaction.replace_body(body.into())
    }

    /// Waits for the next event of a stage, passing over earlier ones; `None` if the message is past that stage.
    async fn next(&mut self, stage: Stage) -> Result<Option<Event>, BoxError> {
        loop {
            if self.known.stage == stage && self.current.is_some() {
                return Ok(self.current.take());
            }
            if self.known.stage > stage || self.known.stage == Stage::EndOfMessage {
                return Ok(None);
            }
            self.advance(stage).await?;
        }
    }

    /// Waits for the next event, which there must be one of. What is not wanted is seen to without the function.
    async fn advance(&mut self, wanted: Stage) -> Result<(), BoxError> {
        if self.arriving.is_none() {
            // Nobody wants it, and what was read with it is not to be kept.
            self.current = None;
            let mut wait = Wait { mail: self, waits: false };
            let event = poll_fn(|task| wait.poll(wanted, task)).await?;
            drop(wait);
            self.arriving = Some(event);
        }
        // Whoever is cancelled here goes on here.
        let kept = self.known.transaction.kept().await;
        self.current = self.arriving.take();
        Ok(kept?)
    }
}

/// Waits for an event, and lends what the mail knows to the slot meanwhile.
struct Wait<'a> {
    mail: &'a mut Mail,
    waits: bool,
}

impl Wait<'_> {
    fn poll(&mut self, wanted: Stage, task: &Task<'_>) -> Poll<Result<Event, Over>> {
        let Mail { slot, settings, known, .. } = &mut *self.mail;
        let came = slot.poll_take(wanted, settings, known, task);
        self.waits = came.is_pending();
        came
    }
}

/// Where waiting is given up.
impl Drop for Wait<'_> {
    fn drop(&mut self) {
        if self.waits {
            self.mail.slot.take_back(&mut self.mail.known);
        }
    }
}

/// Leaves the edits to whoever called the function.
impl Drop for Mail {
    fn drop(&mut self) {
        self.slot.leave(std::mem::take(&mut self.known));
    }
}

impl std::fmt::Debug for Mail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mail")
            .field("envelope", &self.known.room.envelope)
            .field("stage", &self.known.stage)
            .finish_non_exhaustive()
    }
}

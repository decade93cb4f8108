//! A filter as one function over a message: its local variables are the state, returning is the verdict.
//!
//! ```no_run
//! use tamis::linear::{Linear, Mail, ReadBody};
//! use tamis::{Actions, BoxError, Shutdown, Stage, Verdict};
//!
//! async fn tag(mut mail: Mail) -> Result<Verdict, BoxError> {
//!     if mail.sender().domain() == Some("example.com") {
//!         return Ok(Verdict::Accept);
//!     }
//!     while let Some(recipient) = mail.recipient().await? {
//!         if recipient.local_part() == "nobody" {
//!             mail.refuse(Verdict::reject("5.1.1", "no such mailbox"))?;
//!         }
//!     }
//!     let headers = mail.headers().await?;
//!     if let Some(subject) = headers.first("Subject") {
//!         headers.replace(subject.id(), format!("[outside] {}", subject.unfolded()))?;
//!     }
//!     Ok(Verdict::Continue)
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), BoxError> {
//! let filter = Linear::new(tag).decides(Stage::Rcpt).require(Actions::CHANGE_HEADERS);
//! let listeners = tamis::bind(&["inet:8899@127.0.0.1".parse()?])?;
//! tamis::serve(listeners, move |_peer| filter.clone(), Shutdown::new()).await?;
//! # Ok(())
//! # }
//! ```
//!
//! The function begins when the sender is there and ends with the message at the latest. It sees the stages in their
//! order and goes on by asking for the next thing; what it passes over is kept all the same (recipients, header
//! fields) or dropped (the body). Returning before the end is a verdict at the stage it has come to, if the filter
//! [decides](Linear::decides) there; else at the next one where it does. Of what is left of a body then, no more is
//! sent where the MTA can skip it.
//!
//! The function runs while the MTA is at a stage, not between two of them: what is to go on meanwhile belongs in a task
//! of its own. When the MTA gives the message up, or goes away, or when the function takes longer than the
//! [time limit](crate::Options::stage_time) of a stage, it is dropped where it waits. A [`Mail`] may be given to another
//! task; what that one asks for counts if it has dropped the mail when the function returns. Later it only learns that
//! the message is [`Over`].

mod mail;
mod run;
mod slot;
mod spares;

use std::sync::Arc;

use tamis_proto::{Actions, DataSize, IfMissing, MacroStage, Needs, See, Stage};

use crate::filter::{Collect, Event, ask_for_version};
use crate::message::Facts;

pub use mail::Mail;
pub use run::Running;
use slot::Room;
use spares::Spares;

/// What a filter function does with the body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadBody {
    /// It is not sent.
    #[default]
    No,
    /// [`Mail::chunk`] gives it piece by piece, and what is not read is skipped.
    Stream,
    /// [`Mail::body`] gives it as a whole.
    Collect,
}

/// The message is given up, or the function that had it has returned. What waits for more of it fails so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the message is over, nothing more of it is to come")]
pub struct Over;

/// A filter made of a function over a message, with what the function needs. Clones are the filters of other
/// connections.
#[derive(Clone)]
pub struct Linear<F> {
    function: F,
    settings: Arc<Settings>,
    spares: Arc<Spares>,
}

/// What a function declared.
#[derive(Clone, Debug)]
struct Settings {
    needs: Needs,
    headers: bool,
    body: ReadBody,
}

impl<F> Linear<F> {
    /// A filter that sees envelope and header of each message and decides at its end.
    pub fn new(function: F) -> Self {
        let needs = Needs::new().watch([Stage::Mail, Stage::Rcpt]).answer([Stage::EndOfMessage]);
        let settings = Settings { needs, headers: true, body: ReadBody::No };
        Self { function, settings: Arc::new(settings), spares: Arc::default() }
    }

    /// Has returning at this stage be a verdict there and then. Each stage that decides costs the MTA a wait for the
    /// answer; at [`Stage::Rcpt`] every recipient gets one, see [`Mail::refuse`]. Stages outside of a message are never decided.
    #[must_use]
    pub fn decides(self, stage: Stage) -> Self {
        self.change(|settings| settings.needs = std::mem::take(&mut settings.needs).answer([stage]))
    }

    /// Says what the function does with the body.
    #[must_use]
    pub fn body(self, read: ReadBody) -> Self {
        self.change(|settings| settings.body = read)
    }

    /// Does without header fields.
    #[must_use]
    pub fn without_headers(self) -> Self {
        self.change(|settings| settings.headers = false)
    }

    /// Declares actions without which the function cannot work.
    #[must_use]
    pub fn require(self, actions: Actions) -> Self {
        self.needs(|needs| needs.require(actions))
    }

    /// Declares actions that the function uses if the MTA offers them; see [`Mail::actions`].
    #[must_use]
    pub fn allow(self, actions: Actions) -> Self {
        self.needs(|needs| needs.allow(actions))
    }

    /// Says what to do when a required action is missing.
    #[must_use]
    pub fn if_missing(self, policy: IfMissing) -> Self {
        self.needs(|needs| needs.if_missing(policy))
    }

    /// Asks for macros at a stage, instead of those that the MTA is configured to send.
    #[must_use]
    pub fn macros<N: AsRef<str>>(self, stage: MacroStage, names: impl IntoIterator<Item = N>) -> Self {
        self.needs(|needs| needs.macros(stage, names))
    }

    /// Also sees recipients that the MTA rejects itself.
    #[must_use]
    pub fn rejected_recipients(self) -> Self {
        self.needs(Needs::rejected_recipients)
    }

    /// Has header values keep the space after the colon, in both directions.
    #[must_use]
    pub fn leading_space(self) -> Self {
        self.needs(Needs::leading_space)
    }

    /// Takes packets larger than 64 KiB, if the MTA can send them.
    #[must_use]
    pub fn data_size(self, size: DataSize) -> Self {
        self.needs(|needs| needs.data_size(size))
    }

    fn needs(self, change: impl FnOnce(Needs) -> Needs) -> Self {
        self.change(|settings| settings.needs = change(std::mem::take(&mut settings.needs)))
    }

    fn change(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(Arc::make_mut(&mut self.settings));
        self
    }
}

impl Settings {
    /// What is negotiated.
    fn all(&self) -> Needs {
        let mut needs = self.needs.clone();
        if self.headers {
            // The end of the header needs no stage of its own: what comes next is no header field.
            needs = ask_for_version(needs.watch([Stage::Header]));
        }
        match self.body {
            ReadBody::No => needs,
            // Only where it is answered can the rest be skipped.
            ReadBody::Stream => needs.answer([Stage::Body]),
            ReadBody::Collect => needs.watch([Stage::Body]),
        }
    }

    fn answers(&self, stage: Stage) -> bool {
        self.needs.sees(stage) == See::Answer || stage == Stage::Body && self.body == ReadBody::Stream
    }

    /// Keeps a part of the envelope.
    fn observe(&self, room: &mut Room, event: &Event) {
        match room.copies.of(event) {
            // Whether the MTA rejects it is not looked for where it never does.
            Event::Rcpt(path) if !self.needs.sees_rejected_recipients() => {
                room.envelope.add_recipient(path.into());
            }
            event => room.envelope.observe(&event, Facts::new(&room.macros)),
        }
    }

    /// What the mail keeps for its function.
    fn collect(&self) -> Collect {
        let collect = if self.headers { Collect::nothing().headers() } else { Collect::nothing() };
        if self.body == ReadBody::Collect { collect.body() } else { collect }
    }
}

impl<F> std::fmt::Debug for Linear<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Linear").field("settings", &self.settings).finish_non_exhaustive()
    }
}

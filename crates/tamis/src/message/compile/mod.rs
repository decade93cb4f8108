//! From the message that a filter wants to the modifications that its MTA has to be sent.
//!
//! A filter edits fields and places; an MTA is told index numbers. Postfix and Sendmail count differently, place new
//! fields differently, and have fields that they do not show (`docs/protocol.md`, §3.7–3.14). [`compile`] knows all
//! that, and makes the smallest list of [`Edit`]s that an MTA turns into the wanted message; [`check`] applies the
//! list to the models of both MTAs ([`proto::edit::model`](tamis_proto::edit::model)) and compares.
//!
//! ```
//! use tamis::message::Headers;
//! use tamis::message::compile::{Mta, Target, Wanted, check, compile};
//! use tamis::{Actions, Edit, proto::command};
//!
//! let mut headers = Headers::new();
//! for (name, value) in [("X-Spam", "1"), ("Subject", "hello"), ("X-Spam", "2")] {
//!     headers.push(command::Header { name: name.into(), value: value.into(), implied_space: true });
//! }
//! headers.allow(Actions::CURRENT);
//! headers.remove_all("X-Spam")?;
//! headers.set("Subject", "[list] hello")?;
//!
//! let wanted = Wanted::new(&headers);
//! let mta = Mta::new(Target::Portable, Actions::CURRENT);
//! let edits = compile(&wanted, &mta)?;
//! let change = |index, name: &'static str, value: &'static str| {
//!     Edit::ChangeHeader { index, name: name.into(), value: value.into() }
//! };
//! assert_eq!(
//!     edits,
//!     [change(2, "X-Spam", ""), change(1, "Subject", "[list] hello"), change(1, "X-Spam", "")]
//! );
//! check(&edits, &wanted, &mta)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod check;
mod envelope;
mod header_edits;
mod layout;
pub(crate) mod net;
mod target;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use tamis_proto::edit::model::Path;
use tamis_proto::edit::validate::Invalid;
use tamis_proto::frame::MAX_PAYLOAD;
use tamis_proto::{Actions, Edit};

pub use self::check::{Mismatch, check};
pub use self::target::{Target, UnknownTarget};
use super::{Headers, Text};

/// The message that a filter wants, beside the one that it got.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Wanted<'a> {
    /// The header, as it came and as it is to be.
    pub headers: &'a Headers,
    /// Why the message is to be held, if it is.
    pub quarantine: Option<Bytes>,
    /// The new sender, if it is to be another one. Parameters replace those of the same name; Sendmail forgets all
    /// others as soon as there is one.
    pub sender: Option<Path>,
    /// The recipients that came from the client, as they were given in RCPT. One of them that is added without
    /// parameters is there already.
    pub recipients: &'a [Bytes],
    /// Recipients to remove, as they were given in RCPT. They are removed before others are added.
    pub removed: Vec<Bytes>,
    /// Recipients to add.
    pub added: Vec<Path>,
    /// The pieces of the new body, if it is to be another one; none at all for an empty body.
    pub body: Option<Vec<Bytes>>,
}

impl<'a> Wanted<'a> {
    /// A message of which only the header may be another one.
    pub fn new(headers: &'a Headers) -> Self {
        Self {
            headers,
            quarantine: None,
            sender: None,
            recipients: &[],
            removed: Vec::new(),
            added: Vec::new(),
            body: None,
        }
    }
}

/// The MTA at hand, and what was agreed on with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mta {
    /// Which one it is.
    pub target: Target,
    /// The actions that were negotiated.
    pub actions: Actions,
    /// Whether the filter declared that it deals with the space after the colon; the session makes up for an MTA
    /// that cannot leave it to the filter.
    pub leading_space: bool,
    /// Largest payload of a packet, in bytes.
    pub payload: usize,
}

impl Mta {
    /// An MTA that puts the space after the colon itself and takes packets of the usual size.
    pub fn new(target: Target, actions: Actions) -> Self {
        Self { target, actions, leading_space: false, payload: MAX_PAYLOAD }
    }

    fn check(&self, edit: &Edit<Bytes>) -> Result<(), CompileError> {
        let (action, name) = (edit.action(), edit.name());
        if !self.actions.contains(action) {
            return Err(CompileError::NotNegotiated { edit: name, action });
        }
        let (length, limit) = (edit.payload_len(), self.payload);
        if length > limit && !matches!(edit, Edit::ReplaceBody(_)) {
            return Err(CompileError::TooLong { edit: name, length, limit });
        }
        Ok(())
    }
}

/// Why a message cannot be had from an MTA.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CompileError {
    /// A modification needs an action that was not negotiated.
    #[error("{edit} needs the action {action}, which was not negotiated")]
    NotNegotiated {
        /// The modification.
        edit: &'static str,
        /// What it needs.
        action: Actions,
    },
    /// The text of a modification must not get onto the wire.
    #[error("{edit}: {reason}")]
    Invalid {
        /// The modification.
        edit: &'static str,
        /// What is wrong with it.
        #[source]
        reason: Invalid,
    },
    /// A modification does not fit a packet.
    #[error("{edit} of {length} bytes exceeds the packet size of {limit}")]
    TooLong {
        /// The modification.
        edit: &'static str,
        /// Bytes of payload it would take.
        length: usize,
        /// Bytes of payload that fit.
        limit: usize,
    },
    /// A field that was asked for in an exact place stands above one that the MTA would not take again as it is.
    #[error(
        "the exact place of a new header field takes writing the field {name:?} below it again, and no MTA takes its \
         name or value as it is"
    )]
    CannotMove {
        /// The name of the field below.
        name: Text,
    },
    /// A value shall stand right behind the colon, but the MTA puts a space there.
    #[error(
        "the value of header field {name:?} has no space before it, which takes negotiated leading space"
    )]
    TightValue {
        /// The name of the field.
        name: Text,
    },
}

/// Makes the list of modifications that turn the message as it came into the wanted one, in an order that both MTAs
/// take: envelope, header, and the body last and in one go.
///
/// # Errors
///
/// [`CompileError`], naming what this MTA cannot do, or may not by what was negotiated. Nothing is to be sent then.
pub fn compile(wanted: &Wanted<'_>, mta: &Mta) -> Result<Vec<Edit<Bytes>>, CompileError> {
    let mut edits = Vec::new();
    envelope::compile(wanted, mta, &mut edits)?;
    header_edits::compile(wanted.headers, mta, &mut edits)?;
    if let Some(pieces) = &wanted.body {
        replace_body(pieces, &mut edits);
    }
    edits.iter().try_for_each(|edit| mta.check(edit))?;
    Ok(edits)
}

fn replace_body(pieces: &[Bytes], edits: &mut Vec<Edit<Bytes>>) {
    let before = edits.len();
    for piece in pieces {
        let mut rest = piece.clone();
        while !rest.is_empty() {
            edits.push(Edit::ReplaceBody(rest.split_to(rest.len().min(MAX_PAYLOAD))));
        }
    }
    // A body without a byte is a packet without one.
    if edits.len() == before {
        edits.push(Edit::ReplaceBody(Bytes::new()));
    }
}

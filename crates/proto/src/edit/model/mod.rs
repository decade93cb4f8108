//! What a list of modifications makes of a message, as the MTA at hand would do it.
//!
//! [`Model`] holds a [`Message`] and applies one [`Edit`] after the other; [`Model::finish`] yields the message as
//! it would be delivered. Postfix and Sendmail differ in nearly every detail (spec §3.7–3.15, §10.1), so the model
//! asks for a [`Profile`]. It applies what the MTA would apply, however unwise; what our own side refuses
//! beforehand is in [`validate`](super::validate).
//!
//! ```
//! use tamis_proto::edit::Edit;
//! use tamis_proto::edit::model::{Message, Model, Profile};
//!
//! let message = Message::parse(b"Received: by mta\r\nSubject: hello\r\n\r\nHi\r\n");
//! let mut model = Model::new(Profile::Postfix, message).own_fields(1);
//! model.apply(&Edit::ChangeHeader { index: 1, name: "Subject", value: "[list] hello" })?;
//! model.apply(&Edit::InsertHeader { index: 0, name: "X-Seen", value: "yes" })?;
//! assert_eq!(
//!     model.finish().to_bytes(),
//!     b"X-Seen: yes\r\nReceived: by mta\r\nSubject: [list] hello\r\n\r\nHi\r\n"
//! );
//! # Ok::<(), tamis_proto::edit::model::Refused>(())
//! ```
//!
//! Not modelled, because they happen outside of the filter's conversation: aliases, Postfix' `milter_header_checks`,
//! address rewriting and re-folding at delivery, the splitting of lines that are too long for SMTP.

mod body;
mod envelope;
mod headers;
mod message;
#[cfg(test)]
mod tests;

use std::fmt;

use bytes::Bytes;

pub use self::body::Body;
use self::body::Replacement;
use self::envelope::Recipients;
use self::headers::Headers;
pub use self::message::{Field, Message, Path};
use super::Edit;

/// Most bytes of a quarantine reason that Postfix uses.
const POSTFIX_REASON: usize = 100;

/// The MTA whose behaviour is modelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Profile {
    /// Postfix 3.7 to 3.12.
    Postfix,
    /// Sendmail 8.17.
    Sendmail,
}

/// What an edit did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Applied {
    /// It did what it says.
    Done,
    /// A change of a header field that was not there: the field was added.
    AddedInstead,
    /// The MTA lets it pass without effect.
    Ignored(Ignored),
}

/// Why an edit has no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ignored {
    /// There is no such header field or recipient to delete.
    NotFound,
    /// The header name, address or reason is empty.
    Empty,
    /// The recipient is there already.
    Duplicate,
    /// Sendmail drops a recipient with arguments that it does not understand.
    BadArguments,
}

/// Why the MTA ends the conversation instead of applying an edit.
///
/// Postfix calls both a configuration error: the SMTP client gets `451 4.3.5`, or `milter_default_action` applies.
/// What the model holds afterwards is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refused {
    /// A piece of a replaced body came after something else came after an earlier piece (spec §3.12).
    ScatteredBody,
    /// A header change without a name (spec §3.9).
    EmptyHeaderName,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ScatteredBody => "replacement body is interrupted by another reply",
            Self::EmptyHeaderName => "header change has an empty name",
        })
    }
}

impl std::error::Error for Refused {}

/// A place in an MTA's list of header fields: a field, or what Sendmail keeps of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Place<'a> {
    /// Where it comes from.
    pub origin: Origin,
    /// The field. Its value begins with the space after the colon.
    pub field: &'a Field,
    /// Whether it is part of the message; Sendmail keeps the places of deleted and of default fields.
    pub live: bool,
    /// Whether an edit found it, or made it.
    pub edited: bool,
}

/// Where a header field comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// It is the MTA's own, which filters are not shown.
    Own,
    /// It came with the message: its number among those that the first filter is shown, from 0.
    Received(usize),
    /// An edit made it.
    Edit,
}

/// A message inside an MTA, open to the modifications of one filter after the other.
#[derive(Clone, Debug)]
pub struct Model {
    profile: Profile,
    message: Message, // without what has a field of its own here; its body is in `replacement` once there is one
    headers: Headers,
    recipients: Recipients,
    replacement: Option<Replacement>,
    body_closed: bool,
    body_replaced: bool,
}

impl Model {
    /// Takes a message as the MTA holds it before its first filter is at end of message.
    pub fn new(profile: Profile, mut message: Message) -> Self {
        let headers = Headers::new(profile, std::mem::take(&mut message.headers));
        let recipients = Recipients::new(profile, std::mem::take(&mut message.recipients));
        Self {
            profile,
            message,
            headers,
            recipients,
            replacement: None,
            body_closed: false,
            body_replaced: false,
        }
    }

    /// Tells how many of the first header fields are the MTA's own: its `Received`, and with Sendmail whatever it
    /// generated (`Date`, `Message-Id`). They count for an insertion, are not shown to filters, and do not count
    /// for a change, wherever insertions move them.
    #[must_use]
    pub fn own_fields(mut self, count: usize) -> Self {
        self.headers.own_fields(count);
        self
    }

    /// Puts the templates of Sendmail's configuration (`Date`, `From`, `Message-Id`, …) into its internal header
    /// list, in their order below its own `Received`. Where its own fields have one of that name it is the template
    /// that applied to this message; all others hold no value. They count for an insertion, and a field of that name
    /// that is added takes their place. Call it after [`own_fields`](Self::own_fields). Without effect for Postfix.
    #[must_use]
    pub fn blank_defaults<N: Into<Bytes>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.headers.blank_defaults(names.into_iter().map(Into::into));
        self
    }

    /// Tells whether `HDR_LEADSPC` was agreed with the filter: values are then taken verbatim, else a space is put
    /// before them.
    #[must_use]
    pub fn leading_space(mut self, agreed: bool) -> Self {
        self.headers.verbatim = agreed;
        self
    }

    /// The MTA that is modelled.
    pub fn profile(&self) -> Profile {
        self.profile
    }

    /// Applies one modification.
    ///
    /// # Errors
    ///
    /// [`Refused`] where the MTA takes the modification for an error and ends the conversation with the filter.
    pub fn apply<B: AsRef<[u8]>>(&mut self, edit: &Edit<B>) -> Result<Applied, Refused> {
        if let Edit::ReplaceBody(piece) = edit {
            return self.replace_body(piece.as_ref());
        }
        self.close_body();
        Ok(match edit {
            Edit::AddHeader { name, value } => self.headers.add(name.as_ref(), value.as_ref()),
            Edit::InsertHeader { index, name, value } => {
                self.headers.insert(*index, name.as_ref(), value.as_ref())
            }
            Edit::ChangeHeader { index, name, value } => {
                self.headers.change(*index, name.as_ref(), value.as_ref())?
            }
            Edit::ChangeSender { address, args } => {
                let args = args.as_ref().map(AsRef::as_ref);
                envelope::change_sender(self.profile, &mut self.message.sender, address.as_ref(), args)
            }
            Edit::AddRecipient { address } => self.recipients.add(address.as_ref(), None),
            Edit::AddRecipientWithArgs { address, args } => {
                // Without the string it is the packet with parameters all the same, only that there are none.
                let args = args.as_ref().map_or(&b""[..], AsRef::as_ref);
                self.recipients.add(address.as_ref(), Some(args))
            }
            Edit::DeleteRecipient { address } => self.recipients.delete(address.as_ref()),
            Edit::Quarantine { reason } => self.quarantine(reason.as_ref()),
            Edit::ReplaceBody(_) => Applied::Done, // handled above
        })
    }

    /// Notes a progress reply. For Postfix it ends a replaced body like any other reply does.
    pub fn progress(&mut self) {
        self.close_body();
    }

    /// Ends the turn of one filter and begins that of the next, which may have agreed on `HDR_LEADSPC` or not.
    ///
    /// Header fields are numbered anew, and a replaced body is from now on the message's body.
    pub fn next_filter(&mut self, leading_space: bool) {
        self.settle_body();
        self.headers.renumber();
        self.headers.verbatim = leading_space;
    }

    /// The header fields that a filter would be shown now, in order; see [`Field::wire_value`].
    pub fn shown(&self) -> impl Iterator<Item = &Field> {
        self.headers.shown()
    }

    /// The MTA's list of header fields: hidden and deleted ones count for insertions as long as they are in it.
    pub fn places(&self) -> impl Iterator<Item = Place<'_>> {
        self.headers.places()
    }

    /// Changes many fields at once, each given by its place among the [`shown`](Self::shown) ones with its name and its
    /// new value; an empty one deletes it. It does what as many header changes do, in an order from the last field to
    /// the first.
    pub fn change_shown<N: AsRef<[u8]>, V: AsRef<[u8]>>(
        &mut self,
        changes: impl IntoIterator<Item = (usize, N, V)>,
    ) {
        self.close_body();
        self.headers.change_shown(changes);
    }

    /// The envelope sender as it is now.
    pub fn sender(&self) -> &Path {
        &self.message.sender
    }

    /// The recipients as they are now; none at all is allowed, the message then goes to nobody.
    pub fn recipients(&self) -> &[Path] {
        self.recipients.paths()
    }

    /// The body that a filter would be shown now; a replacement counts from [`next_filter`](Self::next_filter) on.
    pub fn body(&self) -> &Body {
        &self.message.body
    }

    /// Yields the message as it would be delivered by SMTP.
    pub fn finish(mut self) -> Message {
        self.settle_body();
        if self.body_replaced {
            // SMTP has no other way to say where the message ends.
            self.message.body.terminate();
        }
        self.message.headers = self.headers.into_fields();
        self.message.recipients = self.recipients.into_paths();
        self.message
    }

    fn replace_body(&mut self, piece: &[u8]) -> Result<Applied, Refused> {
        if self.body_closed {
            return Err(Refused::ScatteredBody);
        }
        self.replacement.get_or_insert_default().push(piece);
        Ok(Applied::Done)
    }

    fn close_body(&mut self) {
        // Only Postfix minds; Sendmail appends to its data file whenever a piece comes.
        self.body_closed |= self.profile == Profile::Postfix && self.replacement.is_some();
    }

    fn settle_body(&mut self) {
        if let Some(replacement) = self.replacement.take() {
            self.message.body = replacement.finish(self.profile);
            self.body_replaced = true;
        }
        self.body_closed = false;
    }

    fn quarantine(&mut self, reason: &[u8]) -> Applied {
        let most = match self.profile {
            Profile::Postfix => POSTFIX_REASON,
            Profile::Sendmail => usize::MAX,
        };
        self.message.quarantine = Some(Bytes::copy_from_slice(&reason[..reason.len().min(most)]));
        Applied::Done
    }
}

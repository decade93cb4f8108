//! Modifications of a message: what a filter may ask for at end of message (spec §3.7–3.13).

pub mod model;
mod rules;
pub mod validate;

use bytes::Bytes;

pub use self::rules::EditRules;

use crate::codec::{self, Put, Reader};
use crate::error::Fault;
use crate::frame::{Frame, MAX_PAYLOAD};
use crate::negotiate::Actions;
use crate::output::Output;

/// One modification of a message, as it stands on the wire.
///
/// `B` is whatever holds bytes: `&[u8]` when decoded from a receive buffer, [`bytes::Bytes`] when owned.
/// Header values use a bare LF before each continuation line, as on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit<B> {
    /// Appends a header field (`h`).
    #[doc(alias = "smfi_addheader")]
    #[doc(alias = "SMFIR_ADDHEADER")]
    AddHeader {
        /// Field name, without the colon.
        name: B,
        /// Field value; may be empty.
        value: B,
    },
    /// Inserts a header field at a position counted over all fields, 0 is the top (`i`).
    #[doc(alias = "smfi_insheader")]
    #[doc(alias = "SMFIR_INSHEADER")]
    InsertHeader {
        /// Position counted over all header fields, the MTA's own `Received` included.
        index: u32,
        /// Field name, without the colon.
        name: B,
        /// Field value; may be empty.
        value: B,
    },
    /// Replaces, or with an empty value deletes, the n-th field of a name, counted from 1 (`m`).
    #[doc(alias = "smfi_chgheader")]
    #[doc(alias = "SMFIR_CHGHEADER")]
    ChangeHeader {
        /// Occurrence of the name, from 1; the MTA's own `Received` is not counted.
        index: u32,
        /// Field name, without the colon.
        name: B,
        /// New value; empty deletes the field.
        value: B,
    },
    /// Changes the envelope sender (`e`).
    #[doc(alias = "smfi_chgfrom")]
    #[doc(alias = "SMFIR_CHGFROM")]
    ChangeSender {
        /// The new sender, with or without angle brackets.
        address: B,
        /// ESMTP parameters, separated by single spaces.
        args: Option<B>,
    },
    /// Adds a recipient (`+`).
    #[doc(alias = "smfi_addrcpt")]
    #[doc(alias = "SMFIR_ADDRCPT")]
    AddRecipient {
        /// The recipient, with or without angle brackets.
        address: B,
    },
    /// Adds a recipient with ESMTP parameters (`2`).
    #[doc(alias = "smfi_addrcpt_par")]
    #[doc(alias = "SMFIR_ADDRCPT_PAR")]
    AddRecipientWithArgs {
        /// The recipient, with or without angle brackets.
        address: B,
        /// ESMTP parameters, separated by single spaces. Stalwart wants the string there, if only empty.
        args: Option<B>,
    },
    /// Removes a recipient (`-`).
    #[doc(alias = "smfi_delrcpt")]
    #[doc(alias = "SMFIR_DELRCPT")]
    DeleteRecipient {
        /// The recipient as it was given in RCPT.
        address: B,
    },
    /// Replaces the body; several in a row are concatenated (`b`).
    #[doc(alias = "smfi_replacebody")]
    #[doc(alias = "SMFIR_REPLBODY")]
    ReplaceBody(B),
    /// Asks the MTA to hold the message (`q`).
    #[doc(alias = "smfi_quarantine")]
    #[doc(alias = "SMFIR_QUARANTINE")]
    Quarantine {
        /// Why, in one line.
        reason: B,
    },
}

/// The letters of the modifications.
mod code {
    pub(super) const ADD_HEADER: u8 = b'h';
    pub(super) const INSERT_HEADER: u8 = b'i';
    pub(super) const CHANGE_HEADER: u8 = b'm';
    pub(super) const CHANGE_SENDER: u8 = b'e';
    pub(super) const ADD_RECIPIENT: u8 = b'+';
    pub(super) const ADD_RECIPIENT_WITH_ARGS: u8 = b'2';
    pub(super) const DELETE_RECIPIENT: u8 = b'-';
    pub(super) const REPLACE_BODY: u8 = b'b';
    pub(super) const QUARANTINE: u8 = b'q';
}

/// The name of a modification's letter, for messages.
pub(crate) fn name_of_code(code: u8) -> Option<&'static str> {
    Some(match code {
        code::ADD_HEADER => "add-header",
        code::INSERT_HEADER => "insert-header",
        code::CHANGE_HEADER => "change-header",
        code::CHANGE_SENDER => "change-sender",
        code::ADD_RECIPIENT => "add-recipient",
        code::ADD_RECIPIENT_WITH_ARGS => "add-recipient-with-args",
        code::DELETE_RECIPIENT => "delete-recipient",
        code::REPLACE_BODY => "replace-body",
        code::QUARANTINE => "quarantine",
        _ => return None,
    })
}

impl<B> Edit<B> {
    pub(crate) const fn code(&self) -> u8 {
        match self {
            Self::AddHeader { .. } => code::ADD_HEADER,
            Self::InsertHeader { .. } => code::INSERT_HEADER,
            Self::ChangeHeader { .. } => code::CHANGE_HEADER,
            Self::ChangeSender { .. } => code::CHANGE_SENDER,
            Self::AddRecipient { .. } => code::ADD_RECIPIENT,
            Self::AddRecipientWithArgs { .. } => code::ADD_RECIPIENT_WITH_ARGS,
            Self::DeleteRecipient { .. } => code::DELETE_RECIPIENT,
            Self::ReplaceBody(_) => code::REPLACE_BODY,
            Self::Quarantine { .. } => code::QUARANTINE,
        }
    }

    /// The name used in logs.
    pub fn name(&self) -> &'static str {
        name_of_code(self.code()).expect("every modification has a letter with a name")
    }

    /// The action that must have been negotiated for it.
    pub const fn action(&self) -> Actions {
        match self {
            Self::AddHeader { .. } | Self::InsertHeader { .. } => Actions::ADD_HEADERS,
            Self::ChangeHeader { .. } => Actions::CHANGE_HEADERS,
            Self::ChangeSender { .. } => Actions::CHANGE_SENDER,
            Self::AddRecipient { .. } => Actions::ADD_RECIPIENTS,
            Self::AddRecipientWithArgs { .. } => Actions::ADD_RECIPIENTS_WITH_ARGS,
            Self::DeleteRecipient { .. } => Actions::DELETE_RECIPIENTS,
            Self::ReplaceBody(_) => Actions::REPLACE_BODY,
            Self::Quarantine { .. } => Actions::QUARANTINE,
        }
    }

    /// Changes what holds the bytes.
    pub fn map<C>(self, mut to: impl FnMut(B) -> C) -> Edit<C> {
        match self {
            Self::AddHeader { name, value } => Edit::AddHeader { name: to(name), value: to(value) },
            Self::InsertHeader { index, name, value } => {
                Edit::InsertHeader { index, name: to(name), value: to(value) }
            }
            Self::ChangeHeader { index, name, value } => {
                Edit::ChangeHeader { index, name: to(name), value: to(value) }
            }
            Self::ChangeSender { address, args } => {
                Edit::ChangeSender { address: to(address), args: args.map(to) }
            }
            Self::AddRecipient { address } => Edit::AddRecipient { address: to(address) },
            Self::AddRecipientWithArgs { address, args } => {
                Edit::AddRecipientWithArgs { address: to(address), args: args.map(to) }
            }
            Self::DeleteRecipient { address } => Edit::DeleteRecipient { address: to(address) },
            Self::ReplaceBody(bytes) => Edit::ReplaceBody(to(bytes)),
            Self::Quarantine { reason } => Edit::Quarantine { reason: to(reason) },
        }
    }
}

impl<'b> Edit<&'b [u8]> {
    /// Reads a modification from a frame, as strictly as Postfix: every string with its NUL, none missing,
    /// nothing behind them (spec §3.15).
    ///
    /// # Errors
    ///
    /// Says what is wrong with the payload; [`Fault::UnknownCode`] for a letter that is no modification.
    pub fn decode(frame: Frame<'b>) -> Result<Self, Fault> {
        if frame.payload.is_empty() && frame.code != code::REPLACE_BODY && name_of_code(frame.code).is_some()
        {
            return Err(Fault::MissingPayload);
        }
        let mut reader = Reader(frame.payload);
        let edit = match frame.code {
            code::ADD_HEADER => Self::AddHeader { name: reader.cstr()?, value: second(&mut reader)? },
            code::INSERT_HEADER => {
                let index = reader.u32()?;
                Self::InsertHeader { index, name: reader.cstr()?, value: second(&mut reader)? }
            }
            code::CHANGE_HEADER => {
                let index = reader.u32()?;
                Self::ChangeHeader { index, name: reader.cstr()?, value: second(&mut reader)? }
            }
            code::CHANGE_SENDER => {
                Self::ChangeSender { address: reader.cstr()?, args: optional(&mut reader)? }
            }
            code::ADD_RECIPIENT => Self::AddRecipient { address: reader.cstr()? },
            code::ADD_RECIPIENT_WITH_ARGS => {
                Self::AddRecipientWithArgs { address: reader.cstr()?, args: optional(&mut reader)? }
            }
            code::DELETE_RECIPIENT => Self::DeleteRecipient { address: reader.cstr()? },
            code::REPLACE_BODY => return Ok(Self::ReplaceBody(frame.payload)),
            code::QUARANTINE => Self::Quarantine { reason: reader.cstr()? },
            _ => return Err(Fault::UnknownCode),
        };
        if reader.is_empty() { Ok(edit) } else { Err(Fault::TrailingBytes) }
    }
}

fn second<'b>(reader: &mut Reader<'b>) -> Result<&'b [u8], Fault> {
    if reader.is_empty() { Err(Fault::MissingString) } else { reader.cstr() }
}

fn optional<'b>(reader: &mut Reader<'b>) -> Result<Option<&'b [u8]>, Fault> {
    if reader.is_empty() { Ok(None) } else { reader.cstr().map(Some) }
}

impl<B: AsRef<[u8]>> Edit<B> {
    /// Bytes of payload it takes on the wire.
    pub fn payload_len(&self) -> usize {
        let string = |text: &B| text.as_ref().len() + 1;
        match self {
            Self::AddHeader { name, value } => string(name) + string(value),
            Self::InsertHeader { name, value, .. } | Self::ChangeHeader { name, value, .. } => {
                4 + string(name) + string(value)
            }
            Self::ChangeSender { address, args } | Self::AddRecipientWithArgs { address, args } => {
                string(address) + args.as_ref().map_or(0, string)
            }
            Self::AddRecipient { address } | Self::DeleteRecipient { address } => string(address),
            Self::ReplaceBody(bytes) => bytes.as_ref().len(),
            Self::Quarantine { reason } => string(reason),
        }
    }

    /// Appends the modification as a frame.
    ///
    /// Text with a NUL inside and pieces of a body above the packet size must be refused by the caller;
    /// [`FilterSession`](crate::FilterSession) does so.
    pub fn encode(&self, out: &mut Vec<u8>) {
        codec::put_frame(out, self.code(), |out| match self {
            Self::AddHeader { name, value } => put_strings(out, [name, value]),
            Self::InsertHeader { index, name, value } | Self::ChangeHeader { index, name, value } => {
                out.u32(*index);
                put_strings(out, [name, value]);
            }
            Self::ChangeSender { address, args } | Self::AddRecipientWithArgs { address, args } => {
                put_strings(out, std::iter::once(address).chain(args));
            }
            Self::AddRecipient { address } | Self::DeleteRecipient { address } => put_strings(out, [address]),
            Self::ReplaceBody(bytes) => out.extend_from_slice(bytes.as_ref()),
            Self::Quarantine { reason } => put_strings(out, [reason]),
        });
    }
}

fn put_strings<'a, B: AsRef<[u8]> + 'a>(out: &mut Vec<u8>, strings: impl IntoIterator<Item = &'a B>) {
    for text in strings {
        out.cstr(text.as_ref());
    }
}

/// Queues a piece of a replaced body in packets that every MTA takes; one of no bytes is a packet too.
pub(crate) fn put_borrowed_body(output: &mut Output, body: &[u8]) {
    let packets = body.chunks(MAX_PAYLOAD).chain(body.is_empty().then_some(body));
    for packet in packets {
        Edit::ReplaceBody(packet).encode(output.frames());
    }
}

/// Queues a replaced body in packets that every MTA takes, without copying it.
///
/// No pieces leave the body as it is; pieces without a byte make it empty.
pub(crate) fn put_body(output: &mut Output, pieces: Vec<Bytes>) {
    let mut put = |piece: Bytes| {
        output.frames().extend_from_slice(&codec::head(code::REPLACE_BODY, piece.len()));
        output.push(piece);
    };
    if !pieces.is_empty() && pieces.iter().all(Bytes::is_empty) {
        put(Bytes::new());
    }
    for mut piece in pieces {
        while !piece.is_empty() {
            put(piece.split_to(piece.len().min(MAX_PAYLOAD)));
        }
    }
}

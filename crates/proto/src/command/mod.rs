//! Commands, MTA → filter (spec §2): one file for each that has a payload worth a type.

mod connect;
mod envelope;
mod header;
mod kind;
mod macros;

pub use connect::{Client, Connect, Family};
pub use envelope::Envelope;
pub use header::Header;
pub use kind::Kind;
pub use macros::Macros;
pub(crate) use macros::pairs as macro_pairs;

use crate::codec::{self, Put, Reader};
use crate::error::Fault;
use crate::frame::Frame;
use crate::negotiate::Offer;
use crate::rules::Rules;

/// A decoded command. `B` holds bytes: `&[u8]` into a receive buffer, or something owned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command<B> {
    /// Opens the negotiation (`O`).
    #[doc(alias = "SMFIC_OPTNEG")]
    Negotiate(Offer),
    /// A client connected (`C`).
    #[doc(alias = "SMFIC_CONNECT")]
    Connect(Connect<B>),
    /// The client's HELO or EHLO name (`H`).
    #[doc(alias = "SMFIC_HELO")]
    Helo(B),
    /// The sender (`M`).
    #[doc(alias = "SMFIC_MAIL")]
    Mail(Envelope<B>),
    /// A recipient (`R`).
    #[doc(alias = "SMFIC_RCPT")]
    Rcpt(Envelope<B>),
    /// The client's DATA (`T`).
    #[doc(alias = "SMFIC_DATA")]
    Data,
    /// A header field (`L`).
    #[doc(alias = "SMFIC_HEADER")]
    Header(Header<B>),
    /// The end of the headers (`N`).
    #[doc(alias = "SMFIC_EOH")]
    EndOfHeaders,
    /// A piece of the body (`B`).
    #[doc(alias = "SMFIC_BODY")]
    Body(B),
    /// The end of the message, possibly with the last piece of the body (`E`).
    #[doc(alias = "SMFIC_BODYEOB")]
    EndOfMessage(B),
    /// An SMTP command the MTA does not know (`U`).
    #[doc(alias = "SMFIC_UNKNOWN")]
    Unknown(B),
    /// Macros for a command that mostly follows (`D`).
    #[doc(alias = "SMFIC_MACRO")]
    Macros(Macros<B>),
    /// The message ends here, without a verdict (`A`).
    #[doc(alias = "SMFIC_ABORT")]
    Abort,
    /// The session ends (`Q`).
    #[doc(alias = "SMFIC_QUIT")]
    Quit,
    /// The session ends, and a new one begins on the same connection (`K`).
    #[doc(alias = "SMFIC_QUIT_NC")]
    QuitNewConnection,
}

impl<B> Command<B> {
    /// Which command it is.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Negotiate(_) => Kind::Negotiate,
            Self::Connect(_) => Kind::Connect,
            Self::Helo(_) => Kind::Helo,
            Self::Mail(_) => Kind::Mail,
            Self::Rcpt(_) => Kind::Rcpt,
            Self::Data => Kind::Data,
            Self::Header(_) => Kind::Header,
            Self::EndOfHeaders => Kind::EndOfHeaders,
            Self::Body(_) => Kind::Body,
            Self::EndOfMessage(_) => Kind::EndOfMessage,
            Self::Unknown(_) => Kind::Unknown,
            Self::Macros(_) => Kind::Macros,
            Self::Abort => Kind::Abort,
            Self::Quit => Kind::Quit,
            Self::QuitNewConnection => Kind::QuitNewConnection,
        }
    }
}

impl<'b> Command<&'b [u8]> {
    /// Reads a command from a frame.
    ///
    /// # Errors
    ///
    /// Says what is wrong with the payload; [`Fault::UnknownCode`] for a letter that is no command.
    pub fn decode(frame: Frame<'b>, rules: Rules) -> Result<Self, Fault> {
        let kind = Kind::from_code(frame.code).ok_or(Fault::UnknownCode)?;
        Self::decode_as(kind, frame.payload, rules)
    }

    /// Reads a command whose letter was looked at before.
    pub(crate) fn decode_as(kind: Kind, payload: &'b [u8], rules: Rules) -> Result<Self, Fault> {
        if payload.is_empty() && kind.needs_payload() {
            return Err(Fault::MissingPayload);
        }
        let mut reader = Reader(payload);
        let command = match kind {
            Kind::Negotiate => return Ok(Self::Negotiate(Offer::decode(payload)?)),
            Kind::Macros => return Macros::decode(payload).map(Self::Macros),
            Kind::Mail => return Envelope::decode(payload).map(Self::Mail),
            Kind::Rcpt => return Envelope::decode(payload).map(Self::Rcpt),
            Kind::Body => return Ok(Self::Body(payload)),
            Kind::EndOfMessage => return Ok(Self::EndOfMessage(payload)),
            Kind::Data => return Ok(Self::Data),
            Kind::EndOfHeaders => return Ok(Self::EndOfHeaders),
            Kind::Abort => return Ok(Self::Abort),
            Kind::Quit => return Ok(Self::Quit),
            Kind::QuitNewConnection => return Ok(Self::QuitNewConnection),
            Kind::Connect => Self::Connect(Connect::decode(&mut reader, rules)?),
            Kind::Header => Self::Header(Header::decode(&mut reader)?),
            Kind::Helo => Self::Helo(reader.cstr()?),
            Kind::Unknown => Self::Unknown(reader.cstr()?),
        };
        let ends_anyhow = matches!(&command, Self::Connect(connect) if connect.family() == Family::Unknown);
        if rules.need_final_nul && !ends_anyhow && payload.last() != Some(&0) {
            return Err(Fault::Unterminated);
        }
        if rules.refuse_trailing_bytes && !reader.is_empty() {
            return Err(Fault::TrailingBytes);
        }
        Ok(command)
    }
}

impl<B: AsRef<[u8]>> Command<B> {
    /// Appends the command as a frame.
    ///
    /// Text with a NUL inside or a payload of 4 GiB cannot be told from other frames and must be refused by
    /// the caller; [`MtaSession`](crate::MtaSession) does so.
    pub fn encode(&self, out: &mut Vec<u8>) {
        codec::put_frame(out, self.kind().code(), |out| match self {
            Self::Negotiate(offer) => offer.encode(out),
            Self::Connect(connect) => connect.encode(out),
            Self::Helo(text) | Self::Unknown(text) => out.cstr(text.as_ref()),
            Self::Mail(envelope) | Self::Rcpt(envelope) => envelope.encode(out),
            Self::Header(header) => header.encode(out),
            Self::Body(bytes) | Self::EndOfMessage(bytes) => out.extend_from_slice(bytes.as_ref()),
            Self::Macros(macros) => macros.encode(out),
            Self::Data | Self::EndOfHeaders | Self::Abort | Self::Quit | Self::QuitNewConnection => {}
        });
    }
}

//! What a filter learns: checked, decoded commands.

use crate::command::{Connect, Envelope, Header};
use crate::negotiate::Offer;
use crate::stage::Stage;

/// Something that happened in a session, in order.
///
/// `B` holds bytes: `&[u8]` into the receive buffer as [`FilterSession::next`](crate::FilterSession::next)
/// gives it, or something owned after [`map`](Self::map).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<B> {
    /// The MTA makes its offer; waits for [`negotiate`](crate::FilterSession::negotiate).
    #[doc(alias = "xxfi_negotiate")]
    Negotiate(Offer),
    /// A client connected.
    Connect(Connect<B>),
    /// The client's HELO or EHLO name; may come several times, as after STARTTLS.
    Helo(B),
    /// The sender: a message begins.
    Mail(Envelope<B>),
    /// One recipient.
    Rcpt(Envelope<B>),
    /// The client said DATA.
    Data,
    /// One header field.
    Header(Header<B>),
    /// All header fields were seen.
    EndOfHeaders,
    /// A piece of the body, CRLF line ends; pieces may end anywhere.
    Body(B),
    /// The whole message was seen.
    EndOfMessage,
    /// An SMTP command that the MTA does not know.
    Unknown(B),
    /// The message ends here, without a verdict. Nothing is answered.
    #[doc(alias = "xxfi_abort")]
    Abort,
    /// The session is over; comes exactly once. Nothing is answered.
    #[doc(alias = "xxfi_close")]
    Close,
}

impl<B> Event<B> {
    /// The stage that waits for a verdict; none for negotiation, abort and close.
    pub const fn stage(&self) -> Option<Stage> {
        Some(match self {
            Self::Connect(_) => Stage::Connect,
            Self::Helo(_) => Stage::Helo,
            Self::Mail(_) => Stage::Mail,
            Self::Rcpt(_) => Stage::Rcpt,
            Self::Data => Stage::Data,
            Self::Header(_) => Stage::Header,
            Self::EndOfHeaders => Stage::EndOfHeaders,
            Self::Body(_) => Stage::Body,
            Self::EndOfMessage => Stage::EndOfMessage,
            Self::Unknown(_) => Stage::Unknown,
            Self::Negotiate(_) | Self::Abort | Self::Close => return None,
        })
    }

    /// The name used in logs.
    pub const fn name(&self) -> &'static str {
        match (self.stage(), self) {
            (Some(stage), _) => stage.name(),
            (None, Self::Negotiate(_)) => "negotiate",
            (None, Self::Abort) => "abort",
            (None, _) => "close",
        }
    }

    /// Changes what holds the bytes, for example to keep them beyond the receive buffer.
    pub fn map<C>(self, mut to: impl FnMut(B) -> C) -> Event<C> {
        match self {
            Self::Negotiate(offer) => Event::Negotiate(offer),
            Self::Connect(connect) => Event::Connect(connect.map(to)),
            Self::Helo(name) => Event::Helo(to(name)),
            Self::Mail(sender) => Event::Mail(sender.map(to)),
            Self::Rcpt(recipient) => Event::Rcpt(recipient.map(to)),
            Self::Data => Event::Data,
            Self::Header(Header { name, value, implied_space }) => {
                Event::Header(Header { name: to(name), value: to(value), implied_space })
            }
            Self::EndOfHeaders => Event::EndOfHeaders,
            Self::Body(piece) => Event::Body(to(piece)),
            Self::EndOfMessage => Event::EndOfMessage,
            Self::Unknown(line) => Event::Unknown(to(line)),
            Self::Abort => Event::Abort,
            Self::Close => Event::Close,
        }
    }
}

//! Replies, filter → MTA (spec §3).

mod smtp;
mod verdict;

pub use smtp::{BadSmtpReply, SmtpReply};
pub use verdict::Verdict;

use crate::codec::{self, Put, Reader};
use crate::edit::Edit;
use crate::error::Fault;
use crate::frame::Frame;
use crate::negotiate::Answer;

/// A decoded reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply<B> {
    /// Answers the negotiation (`O`).
    #[doc(alias = "SMFIC_OPTNEG")]
    Negotiate(Answer<B>),
    /// Go on (`c`).
    #[doc(alias = "SMFIR_CONTINUE")]
    Continue,
    /// Pass without further questions (`a`).
    #[doc(alias = "SMFIR_ACCEPT")]
    Accept,
    /// Refuse for good (`r`).
    #[doc(alias = "SMFIR_REJECT")]
    Reject,
    /// Refuse for now (`t`).
    #[doc(alias = "SMFIR_TEMPFAIL")]
    Tempfail,
    /// Pretend to accept (`d`).
    #[doc(alias = "SMFIR_DISCARD")]
    Discard,
    /// Send no more of the body (`s`).
    #[doc(alias = "SMFIR_SKIP")]
    Skip,
    /// Refuse with this text (`y`), as on the wire: percent signs doubled.
    #[doc(alias = "SMFIR_REPLYCODE")]
    Custom(B),
    /// Still working (`p`).
    #[doc(alias = "SMFIR_PROGRESS")]
    Progress,
    /// A modification.
    Edit(Edit<B>),
    /// Reserved (`f`); a filter error on both MTAs.
    #[doc(alias = "SMFIR_CONN_FAIL")]
    ConnectionFailed,
    /// Reserved (`4`); Sendmail's own. Postfix loses mail over it at end of message.
    #[doc(alias = "SMFIR_SHUTDOWN")]
    Shutdown,
}

/// The letters of the replies.
mod code {
    pub(super) const NEGOTIATE: u8 = b'O';
    pub(super) const CONTINUE: u8 = b'c';
    pub(super) const ACCEPT: u8 = b'a';
    pub(super) const REJECT: u8 = b'r';
    pub(super) const TEMPFAIL: u8 = b't';
    pub(super) const DISCARD: u8 = b'd';
    pub(super) const SKIP: u8 = b's';
    pub(super) const CUSTOM: u8 = b'y';
    pub(super) const PROGRESS: u8 = b'p';
    pub(super) const CONNECTION_FAILED: u8 = b'f';
    pub(super) const SHUTDOWN: u8 = b'4';
}

/// A whole progress packet.
pub(crate) const PROGRESS_FRAME: &[u8] = &[0, 0, 0, 1, code::PROGRESS];

/// Whether a letter is that of [`Reply::Custom`].
pub(crate) const fn is_custom(code: u8) -> bool {
    code == code::CUSTOM
}

/// The name of a reply's letter, for messages.
pub(crate) fn name_of_code(code: u8) -> Option<&'static str> {
    Some(match code {
        code::NEGOTIATE => "negotiate",
        code::CONTINUE => "continue",
        code::ACCEPT => "accept",
        code::REJECT => "reject",
        code::TEMPFAIL => "tempfail",
        code::DISCARD => "discard",
        code::SKIP => "skip",
        code::CUSTOM => "reply-code",
        code::PROGRESS => "progress",
        code::CONNECTION_FAILED => "connection-failed",
        code::SHUTDOWN => "shutdown",
        other => return crate::edit::name_of_code(other),
    })
}

impl<B> Reply<B> {
    /// The letter on the wire.
    pub fn code(&self) -> u8 {
        match self {
            Self::Negotiate(_) => code::NEGOTIATE,
            Self::Continue => code::CONTINUE,
            Self::Accept => code::ACCEPT,
            Self::Reject => code::REJECT,
            Self::Tempfail => code::TEMPFAIL,
            Self::Discard => code::DISCARD,
            Self::Skip => code::SKIP,
            Self::Custom(_) => code::CUSTOM,
            Self::Progress => code::PROGRESS,
            Self::Edit(edit) => edit.code(),
            Self::ConnectionFailed => code::CONNECTION_FAILED,
            Self::Shutdown => code::SHUTDOWN,
        }
    }

    /// The name used in logs.
    pub fn name(&self) -> &'static str {
        name_of_code(self.code()).expect("every reply has a letter with a name")
    }
}

impl<'b> Reply<&'b [u8]> {
    /// Reads a reply from a frame.
    ///
    /// # Errors
    ///
    /// Says what is wrong with the payload; [`Fault::UnknownCode`] for a letter that is no reply.
    pub fn decode(frame: Frame<'b>) -> Result<Self, Fault> {
        let simple = match frame.code {
            code::CONTINUE => Self::Continue,
            code::ACCEPT => Self::Accept,
            code::REJECT => Self::Reject,
            code::TEMPFAIL => Self::Tempfail,
            code::DISCARD => Self::Discard,
            code::SKIP => Self::Skip,
            code::PROGRESS => Self::Progress,
            code::CONNECTION_FAILED => Self::ConnectionFailed,
            code::SHUTDOWN => Self::Shutdown,
            code::NEGOTIATE => return Answer::decode(frame.payload).map(Self::Negotiate),
            code::CUSTOM => {
                let mut reader = Reader(frame.payload);
                let text = reader.cstr()?;
                return if reader.is_empty() { Ok(Self::Custom(text)) } else { Err(Fault::TrailingBytes) };
            }
            _ => return Edit::decode(frame).map(Self::Edit),
        };
        if frame.payload.is_empty() { Ok(simple) } else { Err(Fault::UnexpectedPayload) }
    }
}

impl<B: AsRef<[u8]>> Reply<B> {
    /// Appends the reply as a frame.
    ///
    /// Text with a NUL inside must be refused by the caller; [`FilterSession`](crate::FilterSession) does so.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Edit(edit) => edit.encode(out),
            Self::Negotiate(answer) => codec::put_frame(out, self.code(), |out| answer.encode(out)),
            Self::Custom(text) => codec::put_frame(out, self.code(), |out| out.cstr(text.as_ref())),
            _ => codec::put_frame(out, self.code(), |_| {}),
        }
    }
}

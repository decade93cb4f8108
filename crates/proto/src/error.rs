//! What can go wrong, and whose fault it is.
//!
//! An [`Error`] is the peer's: the session is over and the connection must be closed. A [`Misuse`] is the
//! caller's: nothing was written, nothing has changed, the session goes on.

use std::fmt;

use crate::edit::validate::Invalid;
use crate::negotiate::Actions;
use crate::stage::Stage;

/// What is wrong with the bytes of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// A frame of length 0: there is not even a code letter.
    EmptyFrame,
    /// The payload is longer than the limit.
    FrameTooLong {
        /// Length of the payload.
        length: usize,
        /// The limit in force.
        limit: usize,
    },
    /// A code letter that does not exist.
    UnknownCode,
    /// A payload that must be there is not.
    MissingPayload,
    /// A payload where none belongs.
    UnexpectedPayload,
    /// A number is cut off.
    Truncated,
    /// A string without its final NUL.
    Unterminated,
    /// A second string is missing.
    MissingString,
    /// Bytes follow the last string.
    TrailingBytes,
    /// A header field, a macro list or an edit without a name.
    EmptyName,
    /// An address family that does not exist.
    BadFamily(u8),
    /// The text is not an address of its family.
    BadAddress,
    /// The path of a unix socket is longer than such a path can be.
    PathTooLong,
    /// The macro names that a filter wants are cut off, or more at a stage than the limit.
    BadMacroList,
    /// A protocol version that is not served.
    BadVersion(u32),
    /// Actions that were not offered.
    ExcessActions(u32),
    /// Steps that were not offered.
    ExcessSteps(u32),
    /// A command or reply that is not allowed now.
    OutOfOrder,
    /// A reply although none is due.
    Unsolicited,
    /// A custom reply that is not an SMTP reply.
    BadReply,
    /// A modification or skip that was not negotiated.
    NotNegotiated,
    /// A piece of a replaced body after another modification, which Postfix refuses.
    ScatteredBody,
    /// A replaced body larger than the limit.
    BodyTooLong {
        /// The limit in force, in bytes.
        limit: u64,
    },
    /// A message has more header fields than the limit.
    TooManyHeaders {
        /// The limit in force.
        limit: usize,
    },
    /// The header fields of a message have more bytes than the limit.
    HeadersTooLong {
        /// The limit in force, in bytes.
        limit: usize,
    },
    /// A message has more recipients than the limit.
    TooManyRecipients {
        /// The limit in force.
        limit: usize,
    },
    /// What the client said in a command is longer than the limit.
    ArgumentTooLong {
        /// Its length in bytes.
        length: usize,
        /// The limit in force.
        limit: usize,
    },
    /// The macros of a stage are longer than the limit.
    MacrosTooLong {
        /// Their length in bytes.
        length: usize,
        /// The limit in force.
        limit: usize,
    },
    /// The peer did not answer in time.
    TimedOut,
    /// The peer closed the connection inside a frame.
    EndInFrame,
    /// The peer closed the connection while a reply was due or a message was open.
    EndTooEarly,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::EmptyFrame => f.write_str("frame of length 0"),
            Self::FrameTooLong { length, limit } => {
                write!(f, "frame of {length} bytes exceeds the limit of {limit}")
            }
            Self::UnknownCode => f.write_str("no such code"),
            Self::MissingPayload => f.write_str("payload is missing"),
            Self::UnexpectedPayload => f.write_str("payload where none belongs"),
            Self::Truncated => f.write_str("payload is cut off"),
            Self::Unterminated => f.write_str("string without its final NUL"),
            Self::MissingString => f.write_str("second string is missing"),
            Self::TrailingBytes => f.write_str("bytes after the last string"),
            Self::EmptyName => f.write_str("name is empty"),
            Self::BadFamily(family) => write!(f, "address family {family:#04x} does not exist"),
            Self::BadAddress => f.write_str("text is not an address of its family"),
            Self::PathTooLong => f.write_str("unix socket path of more than 107 bytes"),
            Self::BadMacroList => f.write_str("list of macro names is cut off or too long"),
            Self::BadVersion(version) => write!(f, "protocol version {version} is not served"),
            Self::ExcessActions(bits) => write!(f, "actions {bits:#x} were not offered"),
            Self::ExcessSteps(bits) => write!(f, "steps {bits:#x} were not offered"),
            Self::OutOfOrder => f.write_str("not allowed now"),
            Self::Unsolicited => f.write_str("reply although none is due"),
            Self::BadReply => f.write_str("text is not an SMTP reply"),
            Self::NotNegotiated => f.write_str("reply was not negotiated"),
            Self::ScatteredBody => f.write_str("replaced body is interrupted by another modification"),
            Self::BodyTooLong { limit } => write!(f, "replaced body exceeds the limit of {limit} bytes"),
            Self::TooManyHeaders { limit } => write!(f, "message has more than {limit} header fields"),
            Self::HeadersTooLong { limit } => {
                write!(f, "header fields of the message exceed the limit of {limit} bytes")
            }
            Self::TooManyRecipients { limit } => write!(f, "message has more than {limit} recipients"),
            Self::ArgumentTooLong { length, limit } => {
                write!(f, "argument of {length} bytes exceeds the limit of {limit}")
            }
            Self::MacrosTooLong { length, limit } => {
                write!(f, "macros of {length} bytes exceed the limit of {limit} at one stage")
            }
            Self::TimedOut => f.write_str("no answer in time"),
            Self::EndInFrame => f.write_str("connection closed inside a frame"),
            Self::EndTooEarly => f.write_str("connection closed before the end"),
        }
    }
}

impl std::error::Error for Fault {}

/// A violation of the protocol by the peer: what came, where, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// Who sent it.
    pub peer: Role,
    /// What is wrong.
    pub fault: Fault,
    /// The code letter of the frame, if one was read.
    pub code: Option<u8>,
    /// Name of the state the session was in.
    pub state: &'static str,
    /// Bytes of the stream before the frame.
    pub offset: u64,
}

/// The two sides of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Sends commands.
    Mta,
    /// Sends replies.
    Filter,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mta => "MTA",
            Self::Filter => "filter",
        })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.peer, self.fault)?;
        if let Some(code) = self.code {
            match crate::trace::name(self.peer, code) {
                Some(name) => write!(f, " in {name} ({:?})", char::from(code))?,
                None => write!(f, " (code {code:#04x})")?,
            }
        }
        write!(f, ", state {}, byte {}", self.state, self.offset)
    }
}

impl std::error::Error for Error {}

/// Something a filter's side asked of its session that cannot be done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[doc(alias = "MI_FAILURE")]
#[doc(alias = "MI_SUCCESS")]
pub enum Misuse {
    /// A verdict although no event waits for one.
    NoVerdictDue,
    /// A verdict at a stage that was negotiated as never answered.
    NoReplyStage(Stage),
    /// A verdict that this stage does not know.
    NotAtThisStage {
        /// The verdict's name.
        verdict: &'static str,
        /// The stage it was given at.
        stage: Stage,
    },
    /// A modification or progress outside the end of message.
    NotAtEndOfMessage,
    /// A modification or progress between the packets of a new body.
    InsideBody,
    /// An action that was not negotiated.
    DisabledAction(Actions),
    /// A modification longer than the packet size that was agreed on.
    TooLong {
        /// Bytes of payload it would take.
        length: usize,
        /// Bytes of payload that fit.
        limit: usize,
    },
    /// Text that must not get onto the wire.
    Invalid(Invalid),
    /// A command of the MTA side whose text is empty where it must not be, or has a NUL.
    BadText(&'static str),
    /// A command that the MTA side cannot send now.
    OutOfOrder(&'static str),
    /// A script that was made for a session that agreed on something else.
    OtherAgreement,
    /// The session is over.
    Ended,
}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoVerdictDue => f.write_str("no event waits for a verdict"),
            Self::NoReplyStage(stage) => {
                write!(
                    f,
                    "stage {stage} was declared as never answered, it cannot have a verdict but continue"
                )
            }
            Self::NotAtThisStage { verdict, stage } => {
                write!(f, "verdict {verdict} does not exist at stage {stage}")
            }
            Self::NotAtEndOfMessage => f.write_str("only possible at end of message"),
            Self::InsideBody => f.write_str("not possible after the first packet of a new body"),
            Self::DisabledAction(action) => {
                write!(f, "action {action} was not negotiated: declare it in the filter's needs")
            }
            Self::TooLong { length, limit } => {
                write!(f, "modification of {length} bytes exceeds the packet size of {limit}")
            }
            Self::Invalid(invalid) => invalid.fmt(f),
            Self::BadText(what) => write!(f, "text of {what} is empty or has a NUL"),
            Self::OutOfOrder(what) => write!(f, "{what} cannot be sent now"),
            Self::OtherAgreement => f.write_str("the script was made for another agreement"),
            Self::Ended => f.write_str("the session is over"),
        }
    }
}

impl std::error::Error for Misuse {}

impl From<Invalid> for Misuse {
    fn from(invalid: Invalid) -> Self {
        Self::Invalid(invalid)
    }
}

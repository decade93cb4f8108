//! The fifteen commands by letter and name.

use crate::stage::Stage;

/// Which command a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[allow(missing_docs)] // named as in `Command`
pub enum Kind {
    Abort = b'A',
    Body = b'B',
    Connect = b'C',
    Macros = b'D',
    EndOfMessage = b'E',
    Helo = b'H',
    QuitNewConnection = b'K',
    Header = b'L',
    Mail = b'M',
    EndOfHeaders = b'N',
    Negotiate = b'O',
    Quit = b'Q',
    Rcpt = b'R',
    Data = b'T',
    Unknown = b'U',
}

impl Kind {
    /// Every command, in the order of their letters.
    pub const ALL: [Self; 15] = [
        Self::Abort,
        Self::Body,
        Self::Connect,
        Self::Macros,
        Self::EndOfMessage,
        Self::Helo,
        Self::QuitNewConnection,
        Self::Header,
        Self::Mail,
        Self::EndOfHeaders,
        Self::Negotiate,
        Self::Quit,
        Self::Rcpt,
        Self::Data,
        Self::Unknown,
    ];

    /// The command of a letter.
    pub const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            b'A' => Self::Abort,
            b'B' => Self::Body,
            b'C' => Self::Connect,
            b'D' => Self::Macros,
            b'E' => Self::EndOfMessage,
            b'H' => Self::Helo,
            b'K' => Self::QuitNewConnection,
            b'L' => Self::Header,
            b'M' => Self::Mail,
            b'N' => Self::EndOfHeaders,
            b'O' => Self::Negotiate,
            b'Q' => Self::Quit,
            b'R' => Self::Rcpt,
            b'T' => Self::Data,
            b'U' => Self::Unknown,
            _ => return None,
        })
    }

    /// The letter on the wire.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The name used in logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Abort => "abort",
            Self::Macros => "macros",
            Self::QuitNewConnection => "quit-new-connection",
            Self::Negotiate => "negotiate",
            Self::Quit => "quit",
            Self::Body => Stage::Body.name(),
            Self::Connect => Stage::Connect.name(),
            Self::EndOfMessage => Stage::EndOfMessage.name(),
            Self::Helo => Stage::Helo.name(),
            Self::Header => Stage::Header.name(),
            Self::Mail => Stage::Mail.name(),
            Self::EndOfHeaders => Stage::EndOfHeaders.name(),
            Self::Rcpt => Stage::Rcpt.name(),
            Self::Data => Stage::Data.name(),
            Self::Unknown => Stage::Unknown.name(),
        }
    }

    /// The stage a command brings a session to; the others are never answered.
    pub const fn stage(self) -> Option<Stage> {
        Some(match self {
            Self::Connect => Stage::Connect,
            Self::Helo => Stage::Helo,
            Self::Mail => Stage::Mail,
            Self::Rcpt => Stage::Rcpt,
            Self::Data => Stage::Data,
            Self::Header => Stage::Header,
            Self::EndOfHeaders => Stage::EndOfHeaders,
            Self::Body => Stage::Body,
            Self::EndOfMessage => Stage::EndOfMessage,
            Self::Unknown => Stage::Unknown,
            Self::Abort | Self::Macros | Self::QuitNewConnection | Self::Negotiate | Self::Quit => {
                return None;
            }
        })
    }

    /// The command that brings a session to a stage.
    pub const fn of_stage(stage: Stage) -> Self {
        match stage {
            Stage::Connect => Self::Connect,
            Stage::Helo => Self::Helo,
            Stage::Mail => Self::Mail,
            Stage::Rcpt => Self::Rcpt,
            Stage::Data => Self::Data,
            Stage::Header => Self::Header,
            Stage::EndOfHeaders => Self::EndOfHeaders,
            Stage::Body => Self::Body,
            Stage::EndOfMessage => Self::EndOfMessage,
            Stage::Unknown => Self::Unknown,
        }
    }

    /// The first protocol version that has the command.
    pub const fn since(self) -> u32 {
        match self {
            Self::Unknown => 3,
            Self::Data => 4,
            Self::QuitNewConnection => 6,
            _ => 2,
        }
    }

    /// Whether the command means nothing without a payload.
    pub(crate) const fn needs_payload(self) -> bool {
        matches!(
            self,
            Self::Body
                | Self::Connect
                | Self::Macros
                | Self::Helo
                | Self::Header
                | Self::Mail
                | Self::Negotiate
                | Self::Rcpt
                | Self::Unknown
        )
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

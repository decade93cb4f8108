//! Stages of a session, where macros and verdicts belong.

/// One step of an SMTP session that a filter may see and, mostly, answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// A client connected.
    #[doc(alias = "xxfi_connect")]
    Connect,
    /// The client said HELO or EHLO.
    #[doc(alias = "xxfi_helo")]
    Helo,
    /// The sender: begin of a message.
    #[doc(alias = "xxfi_envfrom")]
    Mail,
    /// One recipient.
    #[doc(alias = "xxfi_envrcpt")]
    Rcpt,
    /// The client said DATA.
    #[doc(alias = "xxfi_data")]
    Data,
    /// One header field.
    #[doc(alias = "xxfi_header")]
    Header,
    /// All header fields were seen.
    #[doc(alias = "xxfi_eoh")]
    EndOfHeaders,
    /// A piece of the body.
    #[doc(alias = "xxfi_body")]
    Body,
    /// The whole message was seen; the only stage at which it can be edited.
    #[doc(alias = "xxfi_eom")]
    EndOfMessage,
    /// An SMTP command that the MTA does not know.
    #[doc(alias = "xxfi_unknown")]
    Unknown,
}

impl Stage {
    /// Number of stages.
    pub const COUNT: usize = 10;

    /// Every stage, in the order of a session.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Connect,
        Self::Helo,
        Self::Mail,
        Self::Rcpt,
        Self::Data,
        Self::Header,
        Self::EndOfHeaders,
        Self::Body,
        Self::EndOfMessage,
        Self::Unknown,
    ];

    /// The name used in logs and configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Helo => "helo",
            Self::Mail => "mail",
            Self::Rcpt => "rcpt",
            Self::Data => "data",
            Self::Header => "header",
            Self::EndOfHeaders => "end-of-headers",
            Self::Body => "body",
            Self::EndOfMessage => "end-of-message",
            Self::Unknown => "unknown",
        }
    }

    /// Finds a stage by its [`name`](Self::name).
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.name() == name)
    }

    /// Whether the stage is part of a message, from MAIL to the end of it.
    pub const fn in_message(self) -> bool {
        !matches!(self, Self::Connect | Self::Helo | Self::Unknown)
    }

    /// Position in tables that have a place for every stage.
    pub(crate) const fn index(self) -> usize {
        self as usize
    }
}

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

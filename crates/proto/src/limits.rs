//! Bounds on what a peer can make a session keep or wait for.

/// Bounds of one session.
///
/// What goes above one ends the session with a [`Fault`](crate::Fault) that says so, and only that session; an
/// MTA then does with the message what it does when a filter fails. The defaults are above what Postfix and
/// Sendmail let through by theirs.
///
/// All but `payload` and `macros` concern the filter's role only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Largest payload that is accepted, in bytes; 1,048,575 by default, so that a header field of Postfix
    /// (about 100 KiB) and peers with larger packets fit.
    pub payload: usize,
    /// Most macros accepted at one stage, 1,000 by default: more of an MTA's are dropped, more names wanted by
    /// a filter are an error.
    pub macros: usize,
    /// Most bytes of names and values of macros at one stage; 65,535 by default, the packet that every filter
    /// understands. A filter that negotiated larger packets takes macros of that size whatever is set here.
    pub macro_bytes: usize,
    /// Most header fields of one message; 10,000 by default.
    pub headers: usize,
    /// Most bytes of names and values of all header fields of one message; 1,048,576 by default. Postfix has no
    /// such limit, Sendmail's is 32,768.
    pub header_bytes: usize,
    /// Most recipients of one message, refused ones included; 10,000 by default. Postfix's limit for SMTP clients
    /// is 1,000.
    pub recipients: usize,
    /// Most bytes of what the client said in one command: its name and address, its HELO name, a sender or
    /// recipient with all parameters, an unknown command; 8,192 by default. Both MTAs read SMTP lines of up to
    /// 2,048 bytes. A filter that negotiated larger packets takes arguments of that size whatever is set here.
    pub argument: usize,
    /// How many bytes of replies may wait to be written before the session takes another command; 16,384 by
    /// default. One reply may be longer.
    pub replies: usize,
}

impl Limits {
    /// The defaults.
    pub const fn new() -> Self {
        Self {
            payload: 1_048_575,
            macros: 1_000,
            macro_bytes: 65_535,
            headers: 10_000,
            header_bytes: 1_048_576,
            recipients: 10_000,
            argument: 8_192,
            replies: 16_384,
        }
    }

    /// Sets the largest payload accepted, in bytes; 65,535 at the least, which every MTA may send.
    #[must_use]
    pub const fn with_payload(mut self, bytes: usize) -> Self {
        self.payload = if bytes < crate::frame::MAX_PAYLOAD { crate::frame::MAX_PAYLOAD } else { bytes };
        self
    }

    /// Sets how many macros are accepted at one stage.
    #[must_use]
    pub const fn with_macros(mut self, count: usize) -> Self {
        self.macros = count;
        self
    }

    /// Sets how many bytes of macros are accepted at one stage.
    #[must_use]
    pub const fn with_macro_bytes(mut self, bytes: usize) -> Self {
        self.macro_bytes = bytes;
        self
    }

    /// Sets how many header fields a message may have.
    #[must_use]
    pub const fn with_headers(mut self, count: usize) -> Self {
        self.headers = count;
        self
    }

    /// Sets how many bytes the header fields of a message may have.
    #[must_use]
    pub const fn with_header_bytes(mut self, bytes: usize) -> Self {
        self.header_bytes = bytes;
        self
    }

    /// Sets how many recipients a message may have.
    #[must_use]
    pub const fn with_recipients(mut self, count: usize) -> Self {
        self.recipients = count;
        self
    }

    /// Sets how long what the client said in one command may be.
    #[must_use]
    pub const fn with_argument(mut self, bytes: usize) -> Self {
        self.argument = bytes;
        self
    }

    /// Sets how many bytes of replies may wait before the session takes another command.
    #[must_use]
    pub const fn with_replies(mut self, bytes: usize) -> Self {
        self.replies = bytes;
        self
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::new()
    }
}

//! The states of a session, and the way to each of them.

use anyhow::Result;

use crate::client::Raw;
use crate::honest;
use crate::target::Target;
use crate::wire::{self, ACTIONS, NO_STEPS, frame, strings};

/// Where a session is: the rows of `docs/session-table.md`, without *settled*, which takes a filter that refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Connected, and nothing else.
    Fresh,
    /// After the offer.
    Negotiated,
    /// After CONNECT.
    Connected,
    /// After HELO.
    Greeted,
    /// After MAIL.
    Mail,
    /// After RCPT.
    Rcpt,
    /// After DATA.
    Data,
    /// After a header field.
    Headers,
    /// After the end of headers.
    EndOfHeaders,
    /// After a piece of the body.
    Body,
    /// After the end of message.
    Ended,
}

impl State {
    /// All, each one step after the one before.
    pub const ALL: [Self; 11] = [
        Self::Fresh,
        Self::Negotiated,
        Self::Connected,
        Self::Greeted,
        Self::Mail,
        Self::Rcpt,
        Self::Data,
        Self::Headers,
        Self::EndOfHeaders,
        Self::Body,
        Self::Ended,
    ];

    /// As the session table and the log call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Negotiated => "negotiated",
            Self::Connected => "connected",
            Self::Greeted => "greeted",
            Self::Mail => "mail",
            Self::Rcpt => "rcpt",
            Self::Data => "data",
            Self::Headers => "headers",
            Self::EndOfHeaders => "end-of-headers",
            Self::Body => "body",
            Self::Ended => "ended",
        }
    }

    /// Whether a message is open.
    pub fn in_message(self) -> bool {
        (Self::Mail..=Self::Body).contains(&self)
    }

    /// The codes of the commands that lead here.
    pub fn way(self) -> &'static [u8] {
        &b"OCHMRTLNBE"[..self as usize]
    }

    /// Connects and comes here, every command answered.
    pub fn reach(self, target: &Target) -> Result<Raw<'_>> {
        let mut raw = Raw::connect(target)?;
        self.lead(&mut raw)?;
        Ok(raw)
    }

    /// Leads a fresh connection here.
    pub fn lead(self, raw: &mut Raw<'_>) -> Result<()> {
        let bytes: Vec<u8> = self.way().iter().flat_map(|code| command(*code)).collect();
        raw.send(&bytes)?;
        self.way().iter().try_for_each(|code| answered(raw, *code))
    }
}

/// A command as it should be.
pub fn command(code: u8) -> Vec<u8> {
    match code {
        b'O' => wire::offer(6, ACTIONS, NO_STEPS),
        b'C' => wire::connect(),
        b'H' => strings(code, &[b"client.example"]),
        b'M' => strings(code, &[b"<a@example.com>"]),
        b'R' => strings(code, &[b"<b@example.org>"]),
        b'L' => strings(code, &[b"Subject", b"Hello"]),
        b'U' => strings(code, &[b"XYZZY"]),
        b'B' => frame(code, b"Hello.\r\n"),
        b'D' => wire::macros(b'M', &[("i", "4HOSTILE")]),
        _ => frame(code, b""),
    }
}

/// Reads what is due to a command of a session where every command is answered.
pub fn answered(raw: &mut Raw<'_>, code: u8) -> Result<()> {
    match code {
        b'A' | b'D' | b'K' | b'Q' => Ok(()),
        b'O' => honest::negotiated(raw, 6, NO_STEPS).map(drop),
        b'E' => {
            // Edits come before the verdict; honest sessions look at those.
            while raw.reply()?.code != b'c' {}
            Ok(())
        }
        _ => raw.continues(1),
    }
}

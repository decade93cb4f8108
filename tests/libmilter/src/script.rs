//! What the probe is told to do: at which callback which calls, and what to return.

use std::fmt;
use std::fmt::Write as _;

/// A callback of the filter, by the probe's word for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Callback {
    Negotiate,
    Connect,
    Helo,
    Mail,
    Rcpt,
    Data,
    Header,
    Eoh,
    Body,
    Eom,
    Abort,
    Close,
    Unknown,
}

impl Callback {
    /// Every callback.
    pub const ALL: [Self; 13] = [
        Self::Negotiate,
        Self::Connect,
        Self::Helo,
        Self::Mail,
        Self::Rcpt,
        Self::Data,
        Self::Header,
        Self::Eoh,
        Self::Body,
        Self::Eom,
        Self::Abort,
        Self::Close,
        Self::Unknown,
    ];

    /// The callbacks whose return value is an answer.
    pub const ANSWERED: [Self; 10] = [
        Self::Connect,
        Self::Helo,
        Self::Mail,
        Self::Rcpt,
        Self::Data,
        Self::Header,
        Self::Eoh,
        Self::Body,
        Self::Eom,
        Self::Unknown,
    ];

    /// The probe's word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Negotiate => "negotiate",
            Self::Connect => "connect",
            Self::Helo => "helo",
            Self::Mail => "mail",
            Self::Rcpt => "rcpt",
            Self::Data => "data",
            Self::Header => "header",
            Self::Eoh => "eoh",
            Self::Body => "body",
            Self::Eom => "eom",
            Self::Abort => "abort",
            Self::Close => "close",
            Self::Unknown => "unknown",
        }
    }
}

/// What to do at a callback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Return this value; without it, 0.
    Return(i32),
    /// Anything else, as the probe reads it: a call with its arguments, `sleep`, `out`, `scribble`.
    Do(String),
}

/// One line of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Where.
    pub callback: Callback,
    /// At which of its calls in the connection, from 1; 0 is at each.
    pub nth: u32,
    /// What.
    pub action: Action,
}

/// All that the probe is told about one connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Script(pub Vec<Line>);

impl Script {
    /// Returns `status` at the nth call of a callback.
    #[must_use]
    pub fn returns(mut self, callback: Callback, nth: u32, status: i32) -> Self {
        self.0.push(Line { callback, nth, action: Action::Return(status) });
        self
    }

    /// Calls something at the nth call of a callback.
    #[must_use]
    pub fn calls(mut self, callback: Callback, nth: u32, call: impl Into<String>) -> Self {
        self.0.push(Line { callback, nth, action: Action::Do(call.into()) });
        self
    }

    /// Accepts all that is offered, so that every stage is seen and every action allowed.
    #[must_use]
    pub fn with_everything(self) -> Self {
        self.returns(Callback::Negotiate, 0, status::ALL_OPTS)
    }

    /// What a callback returns the nth time.
    pub fn status(&self, callback: Callback, nth: u32) -> i32 {
        let fits = |line: &&Line| line.callback == callback && (line.nth == 0 || line.nth == nth);
        let mut statuses = self.0.iter().filter(fits).filter_map(|line| match line.action {
            Action::Return(status) => Some(status),
            Action::Do(_) => None,
        });
        statuses.next_back().unwrap_or(status::CONTINUE)
    }
}

/// The text that the probe reads.
impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Line { callback, nth, action } in &self.0 {
            write!(f, "{} ", callback.name())?;
            match nth {
                0 => f.write_str("*")?,
                nth => write!(f, "{nth}")?,
            }
            match action {
                Action::Return(status) => writeln!(f, " return {status}")?,
                Action::Do(call) => writeln!(f, " {call}")?,
            }
        }
        Ok(())
    }
}

/// Values of `SMFIS_…`.
#[allow(missing_docs)]
pub mod status {
    pub const CONTINUE: i32 = 0;
    pub const REJECT: i32 = 1;
    pub const DISCARD: i32 = 2;
    pub const ACCEPT: i32 = 3;
    pub const TEMPFAIL: i32 = 4;
    pub const NOREPLY: i32 = 7;
    pub const SKIP: i32 = 8;
    pub const ALL_OPTS: i32 = 10;
}

/// Writes bytes as a script has them: in quotes, with `\xNN` for what is not plain.
pub fn quoted(bytes: &[u8]) -> String {
    let mut text = String::from("\"");
    for byte in bytes {
        match byte {
            b' '..=b'~' if !matches!(byte, b'"' | b'\\') => text.push(char::from(*byte)),
            byte => {
                // A string takes all.
                let _ = write!(text, "\\x{byte:02x}");
            }
        }
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_that_fits_says_the_status() {
        let script = Script::default()
            .returns(Callback::Mail, 0, status::REJECT)
            .returns(Callback::Mail, 2, status::ACCEPT)
            .calls(Callback::Mail, 2, "progress");
        assert_eq!([1, 2, 3].map(|nth| script.status(Callback::Mail, nth)), [1, 3, 1]);
        assert_eq!(script.status(Callback::Rcpt, 1), status::CONTINUE);
        assert_eq!(script.to_string(), "mail * return 1\nmail 2 return 3\nmail 2 progress\n");
    }

    #[test]
    fn quotes_leave_nothing_to_guess() {
        assert_eq!(quoted(b"a \"\\\n\xff"), r#""a \x22\x5c\x0a\xff""#);
    }
}

//! One connection as data: what the probe was started with, its script, and what is sent.

use std::fmt;

use tamis_proto::frame::{self, Frame};
use tamis_proto::trace;

use crate::script::{Callback, Script};

/// How a probe is started: what a whole process has in common.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Setup {
    /// Options of the probe, `name=value`.
    pub options: Vec<String>,
    /// Callbacks that are not registered.
    pub without: Vec<Callback>,
}

impl Setup {
    /// Registers no such callbacks.
    pub fn without(callbacks: impl IntoIterator<Item = Callback>) -> Self {
        Self { without: callbacks.into_iter().collect(), ..Self::default() }
    }

    /// Starts the probe with one more option.
    #[must_use]
    pub fn option(mut self, option: impl Into<String>) -> Self {
        self.options.push(option.into());
        self
    }
}

/// How the bytes are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// All at once and then the end of the stream: whatever becomes of it, nobody waits for anybody.
    Pour,
    /// All at once, and the stream stays open: the filter has to close it.
    PourAndStay,
    /// As an MTA does: after each command that is answered, the answer is awaited.
    Step,
}

/// Some bytes that are sent in one go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// The bytes; usually one command with its macros.
    pub bytes: Vec<u8>,
    /// Whether a verdict must come before the next turn.
    pub answered: bool,
}

/// A connection to the probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// What the probe was started with.
    pub setup: Setup,
    /// What it does.
    pub script: Script,
    /// What is sent.
    pub turns: Vec<Turn>,
    /// How.
    pub manner: Manner,
}

impl Session {
    /// A session that is poured, with nothing in it yet.
    pub fn new(script: Script) -> Self {
        Self { setup: Setup::default(), script, turns: Vec::new(), manner: Manner::Pour }
    }

    /// Everything that is sent.
    pub fn bytes(&self) -> Vec<u8> {
        self.turns.iter().flat_map(|turn| turn.bytes.iter().copied()).collect()
    }

    /// The same with other bytes, poured.
    #[must_use]
    pub fn with_bytes(&self, bytes: Vec<u8>) -> Self {
        let turns = vec![Turn { bytes, answered: false }];
        Self { turns, manner: Manner::Pour, ..self.clone() }
    }

    /// Sends frames written as code letter and payload.
    #[must_use]
    pub fn sending<'f>(mut self, frames: impl IntoIterator<Item = (u8, &'f [u8])>) -> Self {
        self.turns.extend(
            frames.into_iter().map(|(code, payload)| Turn { bytes: frame(code, payload), answered: false }),
        );
        self
    }
}

impl Session {
    /// Sends a plain command for each letter: `OCHMRTLNBEQ` is a whole session.
    #[must_use]
    pub fn letters(self, letters: &str) -> Self {
        let frames: Vec<(u8, &[u8])> = letters.bytes().map(|code| (code, plain(code))).collect();
        self.sending(frames)
    }
}

/// The payload of a plain command.
pub fn plain(code: u8) -> &'static [u8] {
    match code {
        b'O' => b"\0\0\0\x06\0\0\x01\xff\0\x1f\xff\xff",
        b'C' => b"client.example.com\x004\x30\x39192.0.2.1\0",
        b'D' => b"Cj\0mta.example.net\0",
        b'H' => b"client.example.com\0",
        b'M' => b"<sender@example.com>\0SIZE=1000\0",
        b'R' => b"<rcpt@example.com>\0",
        b'L' => b"Subject\0hello\0",
        b'B' => b"Hi there\r\n",
        b'U' => b"FOOBAR arg\0",
        _ => b"",
    }
}

/// Puts a frame together.
///
/// # Panics
///
/// When the payload is longer than a length can say.
pub fn frame(code: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len() + 1).expect("no test sends 4 GiB");
    [&length.to_be_bytes()[..], &[code], payload].concat()
}

impl fmt::Display for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.setup != Setup::default() {
            writeln!(f, "setup: {:?}", self.setup)?;
        }
        if !self.script.0.is_empty() {
            writeln!(f, "script:")?;
            for line in self.script.to_string().lines() {
                writeln!(f, "  {line}")?;
            }
        }
        writeln!(f, "sent ({:?}):", self.manner)?;
        for turn in &self.turns {
            let shown = Frames(&turn.bytes, |frame| trace::FromMta(frame).to_string());
            write!(f, "{shown}")?;
            if turn.answered {
                writeln!(f, "    (waits)")?;
            }
        }
        Ok(())
    }
}

/// Bytes written out, a frame on each line, with what is no frame in hex.
pub(crate) struct Frames<'b, F: Fn(Frame<'b>) -> String>(pub(crate) &'b [u8], pub(crate) F);

/// A length that is cut or wrong must not hide what follows, but there is an end to patience.
const LONGEST: usize = 1 << 24;

impl<'b, F: Fn(Frame<'b>) -> String> fmt::Display for Frames<'b, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while !rest.is_empty() {
            if let Ok(Some((used, frame))) = Frame::parse(rest, LONGEST) {
                writeln!(f, "  {} {}", char::from(frame.code).escape_default(), (self.1)(frame))?;
                rest = &rest[used..];
            } else {
                let length = frame::total(rest, LONGEST);
                writeln!(f, "  no frame ({length:?}): {}", hex(rest))?;
                break;
            }
        }
        Ok(())
    }
}

fn hex(bytes: &[u8]) -> String {
    let shown: Vec<String> = bytes.iter().take(48).map(|byte| format!("{byte:02x}")).collect();
    let rest = bytes.len().saturating_sub(48);
    if rest == 0 { shown.join(" ") } else { format!("{} … and {rest} more", shown.join(" ")) }
}

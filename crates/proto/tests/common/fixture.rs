//! Reads the two kinds of data files beside the tests: `sessions/*.session` and `malformed/*.fixture`.
//!
//! The formats are defined in `sessions/README.md` (lines and bytes) and `malformed/README.md` (headers, states and
//! the vocabulary). Every mistake in a file is reported as `file:line: what is wrong`.
#![allow(dead_code, unused_imports, reason = "no test file uses all of it")]

mod bytes;
mod malformed;
mod session;
#[cfg(test)]
mod tests;
mod words;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Payload;
pub(crate) use malformed::{After, Expect, Fixture, Role};
pub(crate) use session::{Needs, Origin, Session};
pub(crate) use words::{EDITS, ERRORS, EVENTS, LIMITS, MTAS};

/// One of the two ends of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// The side that sends commands, `>`.
    Mta,
    /// The side that sends replies, `<`.
    Filter,
}

/// One thing that happens, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// Bytes on the wire, length prefix included: in a session one frame, in a fixture anything.
    Bytes { from: Side, bytes: Vec<u8> },
    /// An event that the session under test reports.
    Event { name: String, args: Vec<Vec<u8>> },
    /// This side closes the connection.
    Eof(Side),
    /// Time passes and nothing arrives.
    Wait(Duration),
}

/// A line of a file that does something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// The line's number, from 1; 0 for the steps of a common prefix.
    pub(crate) line: usize,
    pub(crate) what: What,
    /// The comment at the end of the line, which names the frame; may be empty.
    pub(crate) note: String,
}

/// The numbers of an `O` packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) version: u32,
    pub(crate) actions: u32,
    pub(crate) steps: u32,
}

/// A mistake in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mistake {
    pub(crate) file: String,
    /// From 1; 0 for the file as a whole.
    pub(crate) line: usize,
    pub(crate) message: String,
}

/// Reads every session, in the order of their names.
pub(crate) fn sessions() -> Result<Vec<Session>, Mistake> {
    read_all("sessions", "session")?.iter().map(|(name, text)| Session::parse(name, text)).collect()
}

/// Reads every fixture, in the order of their names.
pub(crate) fn fixtures() -> Result<Vec<Fixture>, Mistake> {
    read_all("malformed", "fixture")?.iter().map(|(name, text)| Fixture::parse(name, text)).collect()
}

/// Reads the fixture of this name.
pub(crate) fn fixture(name: &str) -> Result<Fixture, Mistake> {
    let file = format!("{name}.fixture");
    let path = folder("malformed").join(&file);
    let text = fs::read_to_string(&path).map_err(|error| Mistake::whole(&file, error.to_string()))?;
    Fixture::parse(&file, &text)
}

/// Where the files are, seen from this package and from that which attacks the program (`tests/hostile`).
fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crates/proto/tests").join(name)
}

/// Returns file names and texts.
fn read_all(folder: &str, extension: &str) -> Result<Vec<(String, String)>, Mistake> {
    let folder = self::folder(folder);
    let mistake = |path: &Path, error: std::io::Error| Mistake {
        file: path.display().to_string(),
        line: 0,
        message: error.to_string(),
    };
    let mut files = Vec::new();
    for entry in fs::read_dir(&folder).map_err(|error| mistake(&folder, error))? {
        let path = entry.map_err(|error| mistake(&folder, error))?.path();
        if path.extension().is_some_and(|found| found == extension) {
            let text = fs::read_to_string(&path).map_err(|error| mistake(&path, error))?;
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            files.push((name, text));
        }
    }
    files.sort();
    Ok(files)
}

impl Terms {
    fn parse(text: &str) -> Result<Self, String> {
        let (mut version, mut actions, mut steps) = (None, None, None);
        for (key, value) in bytes::pairs(text)? {
            let slot = match key.as_str() {
                "version" => &mut version,
                "actions" => &mut actions,
                "steps" => &mut steps,
                _ => return Err(format!("unknown key {key:?}, expected version, actions or steps")),
            };
            once(&key, slot, bytes::number(&value)?)?;
        }
        match (version, actions, steps) {
            (Some(version), Some(actions), Some(steps)) => Ok(Self { version, actions, steps }),
            _ => Err("version, actions and steps are all needed".to_owned()),
        }
    }

    /// Returns the `O` packet with these numbers and nothing behind them.
    pub(crate) fn frame(self) -> Vec<u8> {
        let numbers = [self.version, self.actions, self.steps].map(u32::to_be_bytes);
        bytes::frame(b'O', &numbers.concat())
    }
}

impl Mistake {
    fn whole(file: &str, message: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line: 0, message: message.into() }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file, self.message),
            line => write!(f, "{}:{line}: {}", self.file, self.message),
        }
    }
}

impl std::error::Error for Mistake {}

/// Reads what both formats share, and gives every other line to `head`, as it is and trimmed.
///
/// Those lines have to come first.
fn lines(
    file: &str,
    text: &str,
    mut head: impl FnMut(&str, &str) -> Result<(), String>,
) -> Result<Vec<Step>, Mistake> {
    let mut steps = Vec::new();
    let mut open: Option<(usize, Side, Payload)> = None;
    let close = |open: &mut Option<(usize, Side, Payload)>, steps: &mut Vec<Step>| -> Result<(), Mistake> {
        let Some((line, from, payload)) = open.take() else { return Ok(()) };
        let (bytes, note) =
            payload.finish().map_err(|message| Mistake { file: file.to_owned(), line, message })?;
        steps.push(Step { line, what: What::Bytes { from, bytes }, note });
        Ok(())
    };
    for (number, line) in (1..).zip(text.lines()) {
        let here = |message: String| Mistake { file: file.to_owned(), line: number, message };
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            continue;
        }
        if line.starts_with([' ', '\t']) {
            let (_, _, payload) = open.as_mut().ok_or_else(|| {
                here("an indented line continues bytes, and there are none before it".to_owned())
            })?;
            payload.push(trimmed).map_err(here)?;
            continue;
        }
        close(&mut open, &mut steps)?;
        let (sign, rest) = trimmed.split_once(' ').unwrap_or((trimmed, ""));
        let step =
            match sign {
                ">" | "<" => {
                    let mut payload = Payload::default();
                    payload.push(rest).map_err(here)?;
                    open = Some((number, if sign == ">" { Side::Mta } else { Side::Filter }, payload));
                    continue;
                }
                "=" => bytes::event(rest).map_err(here)?,
                "@eof" => match one_of("side", &[">", "<"], rest).map_err(here)?.as_str() {
                    ">" => What::Eof(Side::Mta),
                    _ => What::Eof(Side::Filter),
                },
                "@wait" => {
                    let seconds = rest.strip_suffix('s').and_then(|seconds| seconds.parse().ok());
                    What::Wait(Duration::from_secs(seconds.ok_or_else(|| {
                        here(format!("expected seconds as in \"@wait 10s\", found {rest:?}"))
                    })?))
                }
                _ if steps.is_empty() => {
                    head(line, trimmed).map_err(here)?;
                    continue;
                }
                _ => return Err(here(format!("headers come before the first step, found {line:?}"))),
            };
        steps.push(Step { line: number, what: step, note: String::new() });
    }
    close(&mut open, &mut steps)?;
    Ok(steps)
}

fn one_of(what: &str, words: &[&str], found: &str) -> Result<String, String> {
    if words.contains(&found) {
        Ok(found.to_owned())
    } else {
        Err(format!("unknown {what} {found:?}, expected one of {}", words.join(", ")))
    }
}

fn once<T>(word: &str, slot: &mut Option<T>, value: T) -> Result<(), String> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(format!("{word:?} is given twice")),
    }
}

fn stem(file: &str) -> String {
    Path::new(file).file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

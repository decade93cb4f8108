//! Commands that are encoded once and sent many times.

use std::io::IoSlice;
use std::ops::Range;
use std::time::Instant;

use bytes::Bytes;

use super::send::Wire;
use super::{Edits, MtaSession, Turn, Waits};
use crate::command::{Command, Kind, Macros};
use crate::error::Misuse;

/// Commands in a row with their macros, as bytes, for sessions that say the same again and again.
///
/// [`MtaSession::record`] appends to one, [`MtaSession::play`] goes through it. Nothing is encoded or copied then:
/// what is to be written are slices of the script. Large pieces of a body are shared with whoever gave them, and
/// scripts among any number of sessions that agreed on the same.
#[derive(Clone, Debug, Default)]
pub struct Script {
    made_for: Option<Wire>,
    steps: Vec<Step>,
    /// All small frames.
    frames: Vec<u8>,
    parts: Vec<Part>,
    length: u64,
}

#[derive(Clone, Copy, Debug)]
struct Step {
    kind: Kind,
    turn: Turn,
    /// Where its bytes end.
    end: u64,
}

#[derive(Clone, Debug)]
struct Part {
    start: u64,
    bytes: Piece,
}

#[derive(Clone, Debug)]
enum Piece {
    /// Of the small frames.
    Frames(Range<usize>),
    Shared(Bytes),
}

/// Pieces of a body below this size are cheaper to copy than to keep apart.
const COPY_BELOW: usize = 16 * 1024;

impl Script {
    /// An empty script.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of commands.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Whether there is no command.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Puts the bytes of a range that [`MtaSession::play`] gave into as many slots as it takes, and returns how many
    /// that are. Where they are too few, the first bytes of the range are there.
    pub fn slices<'s>(&'s self, range: &Range<u64>, slots: &mut [IoSlice<'s>]) -> usize {
        let first = self.parts.partition_point(|part| part.start <= range.start).saturating_sub(1);
        let mut count = 0;
        for (slot, part) in slots.iter_mut().zip(&self.parts[first..]) {
            if part.start >= range.end {
                break;
            }
            let bytes = match &part.bytes {
                Piece::Frames(at) => &self.frames[at.clone()],
                Piece::Shared(bytes) => bytes,
            };
            let within = |at: u64| {
                usize::try_from(at.saturating_sub(part.start)).map_or(bytes.len(), |at| at.min(bytes.len()))
            };
            *slot = IoSlice::new(&bytes[within(range.start)..within(range.end)]);
            count += 1;
        }
        count
    }

    /// Where the bytes of a step begin.
    fn start_of(&self, step: usize) -> u64 {
        step.checked_sub(1).and_then(|before| self.steps.get(before)).map_or(0, |step| step.end)
    }

    /// Takes over the frames from `start` on, the last `shared` bytes of which are those of a piece.
    fn append(&mut self, start: usize, piece: Option<&Bytes>) {
        let shared = piece.filter(|piece| piece.len() >= COPY_BELOW);
        self.frames.truncate(self.frames.len() - shared.map_or(0, Bytes::len));
        let end = self.frames.len();
        match self.parts.last_mut() {
            Some(Part { bytes: Piece::Frames(at), .. }) => at.end = end,
            _ if start < end => {
                self.parts.push(Part { start: self.length, bytes: Piece::Frames(start..end) });
            }
            _ => {}
        }
        self.length += (end - start) as u64;
        if let Some(piece) = shared {
            self.parts.push(Part { start: self.length, bytes: Piece::Shared(piece.clone()) });
            self.length += piece.len() as u64;
        }
    }
}

impl MtaSession {
    /// Appends a command with its macros to a script, for this session and all others that agreed on the same.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send) for a command that cannot be sent whatever came before it; quit is none for a script.
    pub fn record(
        &self,
        script: &mut Script,
        command: &Command<Bytes>,
        macros: Option<&Macros<Vec<u8>>>,
    ) -> Result<(), Misuse> {
        let kind = command.kind();
        let wire = self.wire();
        if *script.made_for.get_or_insert(wire) != wire {
            return Err(Misuse::OtherAgreement);
        }
        let start = script.frames.len();
        let turn = match kind {
            Kind::Abort => {
                command.encode(&mut script.frames);
                Turn::Mta
            }
            _ if kind.stage().is_none() => return Err(Misuse::OutOfOrder(kind.name())),
            _ => wire.put(command, macros, false, &mut script.frames)?,
        };
        let piece = match command {
            Command::Body(piece) if matches!(turn, Turn::Filter | Turn::Mta) => Some(piece),
            _ => None,
        };
        script.append(start, piece);
        script.steps.push(Step { kind, turn, end: script.length });
        Ok(())
    }

    /// Goes on with the commands of a script from step `at`, as [`send`](Self::send) does with one: up to the next
    /// that the filter answers, or to the end.
    ///
    /// Returns whose turn it is and which bytes of the script are to be written; `at` is then the step to go on with.
    /// Commands that this message does not need any more are left out. Where the turn is still the MTA's and `at` is
    /// not the script's length, something was left out in the middle: write the bytes and go on.
    ///
    /// # Errors
    ///
    /// When a reply is due, a step does not follow from the one before, or the script was made for sessions that
    /// agreed on something else. Nothing has happened then.
    pub fn play(
        &mut self,
        script: &Script,
        at: &mut usize,
        now: Instant,
    ) -> Result<(Turn, Range<u64>), Misuse> {
        self.check_turn("script")?;
        if script.made_for.is_some_and(|made_for| made_for != self.wire()) {
            return Err(Misuse::OtherAgreement);
        }
        let start = script.start_of(*at);
        let mut range = start..start;
        while let Some(step) = script.steps.get(*at) {
            let goes_to = match step.kind.stage() {
                None => None,
                Some(stage) => match self.phase_after(stage) {
                    Some(next) => Some((stage, next)),
                    None if range.is_empty() => return Err(Misuse::OutOfOrder(step.kind.name())),
                    None => break,
                },
            };
            let left_out = match goes_to {
                None => !self.says_abort(),
                Some((stage, next)) => self.leaves_out(stage, next),
            };
            if left_out && !range.is_empty() && range.end < step.end {
                break;
            }
            *at += 1;
            range.end = step.end;
            if left_out && range.start == script.start_of(*at - 1) {
                range.start = step.end;
            }
            let turn = if left_out { Turn::Unwanted } else { step.turn };
            match goes_to {
                None => self.abort(),
                Some((stage, next)) => self.enter(stage, next, turn != Turn::Unwanted),
            }
            if let (Turn::Filter, Some(stage)) = (turn, step.kind.stage()) {
                self.edits = Edits::default();
                self.waits = Some(Waits { stage: Some(stage), since: now, alive: now });
                return Ok((Turn::Filter, range));
            }
        }
        Ok((Turn::Mta, range))
    }

    /// Notes that the filter has taken what was to be written, where that took a while: its time begins now.
    pub fn written(&mut self, now: Instant) {
        if let Some(waits) = &mut self.waits {
            (waits.since, waits.alive) = (now, now);
        }
    }
}

//! Connections that end where nobody expects it.

use anyhow::{Context as _, Result, ensure};

use super::{Attack, Bytes, Server};
use crate::client::Raw;
use crate::state::{State, command};
use crate::target::Target;
use crate::wire::{CHUNK, frame};

pub(super) const ALL: &[Attack] = &[
    Attack {
        name: "half-closes",
        throws: "a session that is half closed after each of its bytes",
        connections: 160,
        bytes: Bytes::Exactly(12_720),
        must: "everything before is answered; closed; inside a frame or a message one line with the reason, elsewhere \
               none",
        server: Server::Shared,
        run: half_closes,
    },
    Attack {
        name: "resets",
        throws: "a session that is reset (RST) after each of its bytes, and 20 that are reset while a verdict with a \
                 body of 1 MiB is being written; nothing is read",
        connections: 180,
        bytes: Bytes::Exactly(20_988_440),
        must: "inside a frame or a message, or with a verdict that cannot be told, at most one line; elsewhere none",
        server: Server::Shared,
        run: resets,
    },
];

/// A session from the offer to the end of message, and where its frames end.
fn session() -> (Vec<u8>, Vec<(usize, State)>) {
    let mut bytes = Vec::new();
    let mut ends = vec![(0, State::Fresh)];
    for (code, state) in State::Ended.way().iter().zip(&State::ALL[1..]) {
        bytes.extend(command(*code));
        ends.push((bytes.len(), *state));
    }
    (bytes, ends)
}

/// What is in work where the session is cut: the state, and whether a frame has begun.
fn at(cut: usize, ends: &[(usize, State)]) -> (State, bool) {
    let (end, state) = ends.iter().rev().find(|(end, _)| *end <= cut).expect("0 is one of them");
    (*state, *end < cut)
}

const REASONS: [&str; 2] = ["connection closed inside a frame", "connection closed before the end"];

fn half_closes(target: &Target) -> Result<()> {
    let (bytes, ends) = session();
    for cut in 0..=bytes.len() {
        let (state, in_frame) = at(cut, &ends);
        let mut raw = Raw::connect(target)?;
        raw.send(&bytes[..cut])?;
        raw.half_close();
        let codes = raw.drain()?;
        let what = || format!("after {cut} bytes, state {}, in a frame: {in_frame}", state.name());
        // The edits at end of message come on top.
        let answers = codes.iter().filter(|code| b"Oc".contains(code)).count();
        ensure!(answers == state.way().len(), "{answers} answers {}", what());
        match (in_frame, state.in_message()) {
            (true, _) => raw.logged(REASONS[0]).with_context(what)?,
            (false, true) => raw.logged(REASONS[1]).with_context(what)?,
            (false, false) => {}
        }
    }
    Ok(())
}

/// Connections that are reset while something is written to them.
const WRITING: usize = 20;

fn resets(target: &Target) -> Result<()> {
    let (bytes, ends) = session();
    let mut noisy = 0;
    let mark = target.log.as_ref().map_or(0, |log| log.mark());
    for cut in 0..=bytes.len() {
        let (state, in_frame) = at(cut, &ends);
        // A verdict that cannot be told is worth a line too.
        noisy += usize::from(in_frame || state.in_message() || state == State::Ended);
        let mut raw = Raw::connect(target)?;
        raw.send(&bytes[..cut])?;
        raw.reset()?;
    }
    for _ in 0..WRITING {
        let mut raw = State::EndOfHeaders.reach(target)?;
        for _ in 0..16 {
            raw.send(&frame(b'B', &vec![b'x'; CHUNK]))?;
            raw.continues(1)?;
        }
        raw.send(&command(b'E'))?;
        raw.reset()?;
    }
    target.settle()?;
    if let Some(log) = &target.log {
        let lines = log.expect_any(mark, &REASONS) + log.expect_any(mark, &["connection failed: "]);
        ensure!(
            lines <= noisy + WRITING,
            "{lines} lines about {noisy} + {WRITING} connections with something in work"
        );
    }
    Ok(())
}

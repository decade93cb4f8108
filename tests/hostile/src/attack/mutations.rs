//! Captured sessions with something changed at random.

#[path = "../../../../crates/proto/tests/common/mod.rs"]
mod common;

use anyhow::{Context as _, Result, anyhow, ensure};

use super::{Attack, Bytes, Server};
use crate::client::Raw;
use crate::random::Random;
use crate::target::Target;
use common::fixture::{self, Session, Side, What};

pub(super) const ALL: &[Attack] = &[Attack {
    name: "mutations",
    throws: "captured sessions with up to 4 random changes each: bits, bytes, lengths, cuts, frames left out, repeated \
             or exchanged; in one to five writes, then half closed",
    connections: 20_000,
    bytes: Bytes::Exactly(4_308_489),
    must: "whole replies only; the connection ends; at most one line each; nothing but the connection fails",
    server: Server::Shared,
    run: mutations,
}];

/// The same sessions in each run. `docs/hostile.md` says how to try others.
const SEED: u64 = 0x7461_6d69;

/// How many sessions.
const MANY: usize = 20_000;

/// Larger ones would only be slower: what they are made of is what the others are made of.
const LARGEST: usize = 16 << 10;

/// What the log may say about a connection that something was wrong with.
const REASONS: [&str; 3] = ["connection ended: ", "MTA: ", "filter failed: "];

fn mutations(target: &Target) -> Result<()> {
    let seed = std::env::var("TAMIS_HOSTILE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(SEED);
    let mut random = Random::new(seed);
    let sessions = sessions()?;
    let mark = target.log.as_ref().map_or(0, |log| log.mark());
    for number in 0..MANY {
        let session = &sessions[random.below(sessions.len())];
        let bytes = mutate(session, &sessions, &mut random).concat();
        let mut raw = Raw::connect(target)?;
        let mut rest = &bytes[..];
        for _ in 0..random.below(5) {
            let (piece, more) = rest.split_at(random.below(rest.len() + 1));
            raw.throw(piece);
            rest = more;
        }
        raw.throw(rest);
        raw.half_close();
        raw.drain().with_context(|| format!("session {number} of seed {seed}: {}", bytes.escape_ascii()))?;
    }
    target.settle()?;
    if let Some(log) = &target.log {
        let lines = log.expect_any(mark, &REASONS[..1]);
        ensure!((MANY / 3..=MANY).contains(&lines), "{lines} of {MANY} sessions were found fault with");
        log.expect_any(mark, &REASONS);
    }
    Ok(())
}

/// The frames that the MTA sends in each captured session.
fn sessions() -> Result<Vec<Vec<Vec<u8>>>> {
    let sessions = fixture::sessions().map_err(|mistake| anyhow!("{mistake}"))?;
    let frames = |session: Session| {
        let steps = session.steps.into_iter().filter_map(|step| match step.what {
            What::Bytes { from: Side::Mta, bytes } => Some(bytes),
            _ => None,
        });
        steps.collect::<Vec<_>>()
    };
    let mut sessions: Vec<_> = sessions.into_iter().map(frames).collect();
    sessions.retain(|frames| frames.iter().map(Vec::len).sum::<usize>() <= LARGEST);
    Ok(sessions)
}

fn mutate(session: &[Vec<u8>], others: &[Vec<Vec<u8>>], random: &mut Random) -> Vec<Vec<u8>> {
    let mut frames = session.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(frames.len());
        let count = frames.len();
        let frame = &mut frames[at];
        let byte = random.below(frame.len().max(1));
        match random.below(9) {
            0 if !frame.is_empty() => frame[byte] ^= 1 << random.below(8),
            1 if !frame.is_empty() => frame[byte] = random.byte(),
            2 => frame.truncate(byte),
            3 => frame.insert(byte, random.byte()),
            // The low byte of the length: out of step by a little.
            4 if frame.len() > 3 => frame[3] = random.byte(),
            5 => frames.swap(at, random.below(count)),
            6 => frames.insert(at, frames[at].clone()),
            7 if count > 1 => drop(frames.remove(at)),
            _ => {
                let other = &others[random.below(others.len())];
                frames.insert(at, other[random.below(other.len())].clone());
            }
        }
    }
    frames
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mutations_differ_from_what_they_are_made_of() {
        let sessions = sessions().unwrap();
        assert!(sessions.len() > 50);
        let mut random = Random::new(1);
        let changed =
            (0..100).filter(|_| mutate(&sessions[0], &sessions, &mut random) != sessions[0]).count();
        assert!(changed > 90, "{changed}");
    }
}

//! Many at the same time.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};

use super::{Attack, Bytes, Server};
use crate::client::Raw;
use crate::honest;
use crate::state::State;
use crate::target::Target;

pub(super) const ALL: &[Attack] = &[
    Attack {
        name: "half-frames",
        throws: "100 frames of 1,048,575 bytes that are sent but for the last 48,575, at the same time",
        connections: 100,
        bytes: Bytes::Exactly(100_014_100),
        must: "held in at most 2 MiB each; others are served meanwhile; closed when the peer closes, a line each",
        server: Server::Shared,
        run: half_frames,
    },
    Attack {
        name: "crowds",
        throws: "300 connections of one address where 50 are allowed (`--max-connections-per-peer`)",
        connections: 300,
        bytes: Bytes::Exactly(7_791),
        must: "those above 50 are closed at once, with at most one line a second; those below go on",
        server: Server::With(&["--max-connections-per-peer=50"]),
        run: crowds,
    },
];

fn half_frames(target: &Target) -> Result<()> {
    let mut begun = vec![b'x'; 5 + 1_000_000];
    begun[..5].copy_from_slice(b"\x00\x10\x00\x00L");
    let mut crowd = Vec::new();
    for _ in 0..100 {
        let mut raw = State::Headers.reach(target)?;
        raw.send(&begun)?;
        crowd.push(raw);
    }
    honest::session(target).context("a session beside 100 half frames")?;
    let grown = target.usage()?.resident.saturating_sub(target.base().resident);
    ensure!(grown <= 100 * (2 << 20), "{} KiB for 100 half frames", grown >> 10);
    for mut raw in crowd {
        raw.silent()?;
        raw.half_close();
        raw.refused("connection closed inside a frame")?;
    }
    Ok(())
}

fn crowds(target: &Target) -> Result<()> {
    let start = Instant::now();
    let mark = target.log.as_ref().map_or(0, |log| log.mark());
    let mut crowd = (0..300).map(|_| Raw::connect(target)).collect::<Result<Vec<_>>>()?;
    // The last one: all before it were seen by then, as they are taken in order.
    crowd[299].closed()?;
    let open = crowd.iter().filter(|raw| raw.silent().is_ok()).count();
    // One place is the bystander's.
    ensure!(open == 49, "{open} connections are open where 49 have a place");
    for mut raw in crowd {
        if raw.silent().is_ok() {
            State::Ended.lead(&mut raw)?;
        } else {
            raw.closed()?;
        }
    }
    if let Some(log) = &target.log {
        log.wait_for(mark, "connection refused: ")?;
        let lines = log.expect_any(mark, &["connection refused: 50 connections of this peer are open"]);
        let seconds = start.elapsed().as_secs() + 1;
        ensure!(lines > 0 && lines as u64 <= seconds, "{lines} lines in {seconds} s");
    }
    Ok(())
}

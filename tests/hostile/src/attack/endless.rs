//! What may come as often as the MTA likes, and must cost nothing.

use anyhow::{Context as _, Result, ensure};

use super::{Attack, Bytes, Server};
use crate::client::Raw;
use crate::state::{State, answered, command};
use crate::target::Target;

pub(super) const ALL: &[Attack] = &[
    Attack {
        name: "endless-aborts",
        throws: "100,000 times ABORT in one session",
        connections: 1,
        bytes: Bytes::Exactly(500_086),
        must: "no answer; no memory grows while they come",
        server: Server::Shared,
        run: |target| endless(target, b'A'),
    },
    Attack {
        name: "endless-macros",
        throws: "100,000 times the macros of MAIL in one session",
        connections: 1,
        bytes: Bytes::Exactly(1_700_086),
        must: "no answer; no memory grows while they come",
        server: Server::Shared,
        run: |target| endless(target, b'D'),
    },
    Attack {
        name: "endless-helos",
        throws: "100,000 times HELO in one session",
        connections: 1,
        bytes: Bytes::Exactly(2_000_086),
        must: "100,000 answers; no memory grows while they come",
        server: Server::Shared,
        run: |target| endless(target, b'H'),
    },
    Attack {
        name: "endless-unknowns",
        throws: "100,000 times an unknown SMTP command in one session",
        connections: 1,
        bytes: Bytes::Exactly(1_100_086),
        must: "100,000 answers; no memory grows while they come",
        server: Server::Shared,
        run: |target| endless(target, b'U'),
    },
    Attack {
        name: "endless-clients",
        throws: "100,000 times QUIT_NC, CONNECT, HELO and MAIL in one session",
        connections: 1,
        bytes: Bytes::Exactly(7_900_086),
        must: "300,000 answers; every open message aborted; no memory grows while they come",
        server: Server::Shared,
        run: clients,
    },
];

/// How often.
const TIMES: usize = 100_000;

/// How many before their answers are read.
const AT_ONCE: usize = 1_000;

fn endless(target: &Target, code: u8) -> Result<()> {
    let mut raw = State::Greeted.reach(target)?;
    repeat(&mut raw, &[code])?;
    raw.send(&command(b'Q'))?;
    raw.closed()
}

fn clients(target: &Target) -> Result<()> {
    let mut raw = State::Greeted.reach(target)?;
    repeat(&mut raw, b"KCHM")?;
    raw.send(&command(b'Q'))?;
    raw.closed()
}

fn repeat(raw: &mut Raw<'_>, codes: &[u8]) -> Result<()> {
    let target = raw.target();
    let some: Vec<u8> = codes.iter().flat_map(|code| command(*code)).collect::<Vec<_>>().repeat(AT_ONCE);
    for round in 0..TIMES / AT_ONCE {
        raw.send(&some)?;
        for _ in 0..AT_ONCE {
            codes
                .iter()
                .try_for_each(|code| answered(raw, *code))
                .with_context(|| format!("round {round}"))?;
        }
    }
    // An answer shows that all of it was handled, and nothing else was said.
    raw.send(&command(b'U'))?;
    answered(raw, b'U')?;
    let resident = target.usage()?.resident;
    ensure!(resident <= target.memory(), "{} KiB while they come", resident >> 10);
    Ok(())
}

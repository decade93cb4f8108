//! Peers that take their time: silent ones, frames that never end, readers that never read.

use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::{Attack, Bytes, Server};
use crate::client::Raw;
use crate::honest::{self, Message};
use crate::state::{State, command};
use crate::target::Target;
use crate::wire::{NO_STEPS, frame};

pub(super) const ALL: &[Attack] = &[
    Attack {
        name: "silence",
        throws: "5,000 connections that say nothing, at the same time",
        connections: 5_000,
        bytes: Bytes::Exactly(0),
        must: "all are held, with 8 KiB each at most; others are served meanwhile; after `handshake_time` all are \
               closed, a line each",
        server: Server::Own,
        run: silence,
    },
    Attack {
        name: "idleness",
        throws: "5,000 connections that negotiate and then say nothing, at the same time",
        connections: 5_000,
        bytes: Bytes::Exactly(110_000),
        must: "all are held, with 8 KiB each at most; others are served meanwhile; all can still go on",
        server: Server::Shared,
        run: idleness,
    },
    Attack {
        name: "unfinished-offers",
        throws: "50 offers, a byte a second, side by side",
        connections: 50,
        bytes: Bytes::AtLeast(50),
        must: "closed after `handshake_time` and not before, a line each",
        server: Server::Short,
        run: unfinished_offers,
    },
    Attack {
        name: "unfinished-frames",
        throws: "50 frames in messages, a byte a second, side by side",
        connections: 50,
        bytes: Bytes::AtLeast(50),
        must: "closed after `frame_time` and not before, a line each",
        server: Server::Short,
        run: unfinished_frames,
    },
    Attack {
        name: "unread-replies",
        throws: "20 readers that never read, 10 with up to 64 MiB of messages each whose bodies are replaced, 10 with up to 64 \
                 MiB of unknown SMTP commands",
        connections: 20,
        bytes: Bytes::AtLeast(20 << 16),
        must: "no more is read from them than sockets hold, no memory grows; closed after `write_time`, a line each",
        server: Server::Short,
        run: unread,
    },
];

/// Resident memory that an idle connection may take; a debug build takes more than `docs/limits.md` says.
const IDLE: u64 = 8 << 10;

fn crowd<'t>(target: &'t Target, make: impl Fn() -> Result<Raw<'t>>) -> Result<Vec<Raw<'t>>> {
    let crowd = (0..5_000).map(|_| make()).collect::<Result<Vec<_>>>().context("5,000 connections")?;
    honest::session(target).context("a session beside 5,000 connections")?;
    let (base, now) = (target.base(), target.usage()?);
    let more = now.descriptors - base.descriptors;
    ensure!(more >= 5_000, "only {more} connections are open");
    let each = now.resident.saturating_sub(base.resident) / 5_000;
    ensure!(each <= IDLE, "{each} bytes of memory for each idle connection");
    // Whoever waits takes no processor time, however many do.
    sleep(Duration::from_secs(1));
    let busy = target.usage()?.cpu.saturating_sub(now.cpu);
    ensure!(busy <= Duration::from_millis(500), "{busy:?} of processor time in a second of silence");
    Ok(crowd)
}

fn silence(target: &Target) -> Result<()> {
    for mut raw in crowd(target, || Raw::connect(target))? {
        raw.refused("the MTA did not negotiate within")?;
    }
    Ok(())
}

fn idleness(target: &Target) -> Result<()> {
    for mut raw in crowd(target, || State::Negotiated.reach(target))? {
        raw.silent()?;
        raw.throw(&command(b'Q'));
        raw.closed()?;
    }
    Ok(())
}

fn unfinished_offers(target: &Target) -> Result<()> {
    let offer = frame(b'O', &[0; 4_096]);
    drip(target, State::Fresh, &offer, target.times.handshake, "the MTA did not negotiate within")
}

fn unfinished_frames(target: &Target) -> Result<()> {
    let field = frame(b'L', &[b'x'; 4_096]);
    drip(
        target,
        State::Headers,
        &field,
        target.times.frame,
        "a frame that the MTA began was not finished within",
    )
}

/// Sends a byte a second on 50 connections until they are closed, which must not be before `time`.
fn drip(target: &Target, state: State, bytes: &[u8], time: Duration, reason: &str) -> Result<()> {
    let start = Instant::now();
    let mut open = (0..50).map(|_| state.reach(target)).collect::<Result<Vec<_>>>()?;
    for byte in bytes {
        let before = start.elapsed();
        let (still, closed): (Vec<_>, Vec<_>) = open.into_iter().partition(|raw| raw.silent().is_ok());
        ensure!(
            closed.is_empty() || start.elapsed() >= time,
            "closed after {:?}, before {time:?}",
            start.elapsed()
        );
        for mut raw in closed {
            raw.refused(reason)?;
        }
        open = still;
        if open.is_empty() {
            return Ok(());
        }
        ensure!(before < time + crate::PATIENCE, "{} are still open after {before:?}", open.len());
        for raw in &mut open {
            raw.throw(&[*byte]);
        }
        sleep(Duration::from_secs(1));
    }
    Ok(())
}

fn unread(target: &Target) -> Result<()> {
    let message = Message::new(1, 1, b"0123456789abcd\r\n".repeat(4_000));
    let bytes = message.whole(NO_STEPS).bytes;
    let messages = bytes.repeat((64 << 20) / bytes.len());
    let unknowns = command(b'U').repeat((64 << 20) / command(b'U').len());
    thread::scope(|scope| {
        // The bodies come back from servers that were started here.
        let much = |number| if number % 2 == 0 && target.is_ours() { &messages } else { &unknowns };
        let readers: Vec<_> =
            (0..20).map(|number| scope.spawn(move || never_read(target, much(number)))).collect();
        readers.into_iter().try_for_each(|reader| reader.join().expect("no reader panics"))
    })
}

fn never_read(target: &Target, much: &[u8]) -> Result<()> {
    let mut raw = Raw::connect_small(target)?;
    raw.send(&b"OCH".iter().flat_map(|code| command(*code)).collect::<Vec<_>>())?;
    let taken = raw.fill(much, Duration::from_secs(1))?;
    ensure!(taken < much.len() / 2, "{taken} bytes were taken from a peer that reads nothing");
    let (now, most) = (target.usage()?.resident, target.memory());
    ensure!(now <= most, "{} KiB of memory for peers that read nothing", now >> 10);
    raw.logged("the MTA read nothing of a reply for")
}

//! Commands out of order, negotiation repeated, versions that do not exist.

use anyhow::{Context as _, Result, ensure};

use super::{Attack, Bytes, Server};
use crate::client::Raw;
use crate::honest::{self, Message};
use crate::state::{State, answered, command};
use crate::target::Target;
use crate::wire::{self, ACTIONS, NO_STEPS, frame, strings};

pub(super) const ALL: &[Attack] = &[
    Attack {
        name: "orders",
        throws: "each of the 15 commands in each of 11 states",
        connections: 165,
        bytes: Bytes::Exactly(19_181),
        must: "exactly what the [session table](session-table.md) says: answered, ignored, or closed and logged",
        server: Server::Shared,
        run: orders,
    },
    Attack {
        name: "negotiations",
        throws: "100 offers in one segment; a second offer in each of 10 states",
        connections: 11,
        bytes: Bytes::Exactly(2_917),
        must: "the first offer is answered, the second closes, logged",
        server: Server::Shared,
        run: negotiations,
    },
    Attack {
        name: "versions",
        throws: "versions 0 to 99, with a message each",
        connections: 100,
        bytes: Bytes::Exactly(37_176),
        must: "0 and 1: closed, logged; all others: the lower of it and 6 is spoken, the message judged",
        server: Server::Shared,
        run: versions,
    },
    Attack {
        name: "forgetting",
        throws: "QUIT_NC in a message with macros, and another client without any on the same connection",
        connections: 1,
        bytes: Bytes::Exactly(278),
        must: "nothing of the first client is left: the header field has no queue id, the log no sender",
        server: Server::Shared,
        run: forgetting,
    },
];

/// What the documentation says about commands in states.
const TABLE: &str = include_str!("../../../../docs/session-table.md");

/// A cell of the table, where no step is switched off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Goes,
    Ignored,
    Refused,
}

fn orders(target: &Target) -> Result<()> {
    let cells = cells(TABLE)?;
    ensure!(cells.len() == 165, "the session table has {} cells for us", cells.len());
    for (state, code, outcome) in cells {
        let try_it = || -> Result<()> {
            let mut raw = state.reach(target)?;
            raw.throw(&command(code));
            if outcome == Outcome::Refused {
                return raw.refused("not allowed now");
            }
            if outcome == Outcome::Goes {
                answered(&mut raw, code)?;
            }
            if code == b'Q' {
                return raw.closed();
            }
            let probe = if state == State::Fresh && code != b'O' { b'O' } else { b'U' };
            raw.send(&command(probe))?;
            answered(&mut raw, probe)?;
            raw.send(&command(b'Q'))?;
            raw.closed()
        };
        try_it().with_context(|| {
            format!("{:?} in state {}, which {outcome:?}", char::from(code), state.name())
        })?;
    }
    Ok(())
}

fn cells(table: &str) -> Result<Vec<(State, u8, Outcome)>> {
    let (mut codes, mut cells) = (Vec::new(), Vec::new());
    for line in table.lines().filter_map(|line| line.strip_prefix("| ")) {
        let mut columns = line.split('|').map(str::trim);
        let first = columns.next().unwrap_or_default();
        if first == "state" {
            codes = columns.filter_map(|head| head.as_bytes().get(1).copied()).collect();
            continue;
        }
        let Some(state) = State::ALL.into_iter().find(|state| state.name() == first) else { continue };
        for (code, cell) in codes.iter().zip(columns) {
            let rule = cell.rsplit("else ").next().unwrap_or(cell);
            let outcome = match rule.split([' ', ',']).next() {
                Some("go" | "abort") => Outcome::Goes,
                Some("ignored") => Outcome::Ignored,
                Some("refused") => Outcome::Refused,
                _ => anyhow::bail!("{cell:?} in the session table is not understood"),
            };
            cells.push((state, *code, outcome));
        }
    }
    Ok(cells)
}

fn negotiations(target: &Target) -> Result<()> {
    let mut raw = Raw::connect(target)?;
    raw.throw(&command(b'O').repeat(100));
    answered(&mut raw, b'O')?;
    raw.refused("not allowed now in negotiate").context("100 offers in one segment")?;
    for state in &State::ALL[1..] {
        let mut raw = state.reach(target)?;
        raw.throw(&command(b'O'));
        raw.refused("not allowed now in negotiate").with_context(|| format!("state {}", state.name()))?;
    }
    Ok(())
}

fn versions(target: &Target) -> Result<()> {
    for version in 0..100 {
        one_version(target, version).with_context(|| format!("version {version}"))?;
    }
    Ok(())
}

fn one_version(target: &Target, version: u32) -> Result<()> {
    let mut raw = Raw::connect(target)?;
    raw.throw(&wire::offer(version, ACTIONS, NO_STEPS));
    if version < 2 {
        return raw.refused(&format!("protocol version {version} is not served"));
    }
    honest::negotiated(&mut raw, version.min(6), NO_STEPS)?;
    // As if DATA was switched off: it needs version 4.
    let message = Message::new(1, 1, b"Hello.\r\n".to_vec());
    let steps = 0x200;
    let mut whole = honest::join(honest::greeting(steps));
    let end = message.whole(steps);
    whole.bytes.extend(end.bytes);
    raw.send(&whole.bytes)?;
    raw.continues(whole.answers + end.answers)?;
    message.verdict(&mut raw)?;
    raw.send(&frame(b'Q', b""))?;
    raw.closed()
}

fn forgetting(target: &Target) -> Result<()> {
    let mark = target.log.as_ref().map_or(0, |log| log.mark());
    let mut raw = State::Greeted.reach(target)?;
    for code in *b"DMRTKCH" {
        raw.send(&command(code))?;
        answered(&mut raw, code)?;
    }
    for (code, text) in [(b'M', b"<second@example.com>"), (b'R', b"<second@example.org>")] {
        raw.send(&strings(code, &[text]))?;
        raw.continues(1)?;
    }
    for code in *b"LN" {
        raw.send(&command(code))?;
        raw.continues(1)?;
    }
    raw.send(&command(b'E'))?;
    let mut fields = Vec::new();
    while let reply = raw.reply()?
        && reply.code != b'c'
    {
        fields.extend((reply.code == b'h').then_some(reply.payload));
    }
    let without = [b"X-Tamis\0\0".to_vec()];
    ensure!(!target.is_ours() || fields == without, "{fields:?} where there is no queue id");
    raw.send(&command(b'Q'))?;
    raw.closed()?;
    if let Some(log) = &target.log {
        log.wait_for(mark, "\"verdict\":\"aborted\"")?;
        let line = log.wait_for(mark, "second@example.com")?;
        ensure!(!line.contains("4HOSTILE") && !line.contains("b@example.org"), "{line}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_session_table_is_understood() {
        let cells = cells(TABLE).unwrap();
        let outcome = |state, code| {
            let mut found = cells.iter().filter(|cell| (cell.0, cell.1) == (state, code));
            let outcome = found.next().unwrap().2;
            assert_eq!(found.next(), None);
            outcome
        };
        assert_eq!(cells.len(), 165);
        assert_eq!(outcome(State::Fresh, b'O'), Outcome::Goes);
        assert_eq!(outcome(State::Fresh, b'M'), Outcome::Refused);
        assert_eq!(outcome(State::Ended, b'A'), Outcome::Ignored);
        assert_eq!(outcome(State::Body, b'H'), Outcome::Goes);
        assert_eq!(outcome(State::Data, b'B'), Outcome::Refused);
    }
}

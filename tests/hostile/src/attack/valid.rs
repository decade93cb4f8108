//! Nothing wrong at all, but not in the pieces that anybody expects.

use anyhow::{Context as _, Result};

use super::{Attack, Bytes, Server};
use crate::client::Raw;
use crate::honest::{self, Exchange, Message};
use crate::target::Target;
use crate::wire::{self, ACTIONS, NO_STEPS, frame};

pub(super) const ALL: &[Attack] = &[
    Attack {
        name: "coalesced",
        throws: "valid sessions of 20 messages, each session in one write",
        connections: 100,
        bytes: Bytes::Exactly(852_300),
        must: "every answer, in order, all messages judged",
        server: Server::Shared,
        run: coalesced,
    },
    Attack {
        name: "trickled",
        throws: "valid sessions of one message, side by side, a byte in each write",
        connections: 50,
        bytes: Bytes::Exactly(27_150),
        must: "every answer, in order, all messages judged",
        server: Server::Shared,
        run: trickled,
    },
];

/// A whole session, which can be written without waiting for anything.
struct Whole {
    bytes: Vec<u8>,
    greeting: usize,
    messages: Vec<(Message, usize)>,
}

impl Whole {
    fn new(messages: usize) -> Self {
        let Exchange { bytes, answers } = honest::join(honest::greeting(NO_STEPS));
        let offer = wire::offer(6, ACTIONS, NO_STEPS);
        let mut whole = Self { bytes: [offer, bytes].concat(), greeting: answers, messages: Vec::new() };
        for _ in 0..messages {
            let message = Message::new(2, 3, b"Hello.\r\n".to_vec());
            let Exchange { bytes, answers } = message.whole(NO_STEPS);
            whole.bytes.extend(bytes);
            whole.bytes.extend(frame(b'A', b""));
            whole.messages.push((message, answers));
        }
        whole.bytes.extend(frame(b'Q', b""));
        whole
    }

    fn check(&self, raw: &mut Raw<'_>) -> Result<()> {
        honest::negotiated(raw, 6, NO_STEPS)?;
        raw.continues(self.greeting)?;
        for (message, answers) in &self.messages {
            raw.continues(*answers)?;
            message.verdict(raw)?;
        }
        raw.closed()
    }
}

fn coalesced(target: &Target) -> Result<()> {
    for number in 0..100 {
        let whole = Whole::new(20);
        let mut raw = Raw::connect(target)?;
        raw.send(&whole.bytes)?;
        whole.check(&mut raw).with_context(|| format!("session {number}"))?;
    }
    Ok(())
}

fn trickled(target: &Target) -> Result<()> {
    let mut sessions = Vec::new();
    for _ in 0..50 {
        sessions.push((Raw::connect(target)?, Whole::new(1)));
    }
    for at in 0..sessions[0].1.bytes.len() {
        for (raw, whole) in &mut sessions {
            raw.send(&whole.bytes[at..=at])?;
        }
    }
    sessions.iter_mut().try_for_each(|(raw, whole)| whole.check(raw))
}

//! More of everything than anybody needs: recipients, macros, header fields, arguments, bodies.

use anyhow::{Context as _, Result, ensure};

use super::{Attack, Bytes, Server};
use crate::client::Raw;
use crate::honest::{Exchange, Message, Session};
use crate::state::{State, answered, command};
use crate::target::Target;
use crate::wire::{CHUNK, NO_STEPS, frame, macros, many_macros, strings};

pub(super) const ALL: &[Attack] = &[
    Attack {
        name: "recipients",
        throws: "a message with 10,000 recipients, and one with 10,001",
        connections: 2,
        bytes: Bytes::Exactly(1_138_339),
        must: "the first is judged; the other: 10,000 answers, then closed, logged with the limit",
        server: Server::Shared,
        run: recipients,
    },
    Attack {
        name: "macros",
        throws: "100,000 macros at one stage: in one frame, in 100 frames, in 100,000 frames; 8,000 in one frame",
        connections: 4,
        bytes: Bytes::Exactly(4_041_883),
        must: "one frame of 800,000 bytes: closed, logged with the limit; several frames: each replaces the one \
               before, the message is judged; 8,000: those above 1,000 are dropped, one line, the message is judged",
        server: Server::Shared,
        run: many,
    },
    Attack {
        name: "headers",
        throws: "messages with 10,000 header fields, with 10,001, and with 17 of 64 KiB",
        connections: 3,
        bytes: Bytes::Exactly(2_230_515),
        must: "the first is judged; the others: closed, logged with the limit",
        server: Server::Shared,
        run: headers,
    },
    Attack {
        name: "arguments",
        throws: "CONNECT, HELO, MAIL, RCPT and UNKNOWN of 8,192 and of 8,193 bytes",
        connections: 10,
        bytes: Bytes::Exactly(82_764),
        must: "8,192: answered; 8,193: closed, logged with the limit",
        server: Server::Shared,
        run: arguments,
    },
    Attack {
        name: "bodies",
        throws: "a body of exactly 64 MiB, four of 16 MiB at the same time, one of 65 MiB",
        connections: 6,
        bytes: Bytes::Exactly(202_496_026),
        must: "up to 64 MiB the body comes back whole with the text behind it; the last passes unchanged, logged",
        server: Server::Shared,
        run: bodies,
    },
];

/// Commands that are sent before their answers are read. A unix socket holds some 270 of them, however short they are;
/// with more, both sides would wait for the other to read.
const AT_ONCE: usize = 100;

fn begin(target: &Target) -> Result<Session<'_>> {
    Session::begin_on(Raw::connect(target)?, NO_STEPS)
}

/// Sends a message up to its end, many commands at once.
fn send(session: &mut Session<'_>, exchanges: Vec<Exchange>) -> Result<()> {
    let mut rest = exchanges.into_iter().peekable();
    while rest.peek().is_some() {
        let some = rest.by_ref().take(AT_ONCE).collect();
        session.exchange(&crate::honest::join(some))?;
    }
    Ok(())
}

fn judge(mut session: Session<'_>, message: &Message) -> Result<()> {
    send(&mut session, message.exchanges(NO_STEPS))?;
    let mut raw = session.into_raw();
    raw.send(&message.end())?;
    message.verdict(&mut raw)?;
    raw.send(&frame(b'Q', b""))?;
    raw.closed()
}

fn recipients(target: &Target) -> Result<()> {
    judge(begin(target)?, &Message::new(10_000, 1, b"Hello.\r\n".to_vec())).context("10,000 recipients")?;
    let mut session = begin(target)?;
    // MAIL and 10,000 recipients are answered, one more is not.
    let mut exchanges = Message::new(10_001, 0, Vec::new()).exchanges(NO_STEPS);
    exchanges.truncate(10_002);
    let last = exchanges.pop().map(|exchange| exchange.bytes).unwrap_or_default();
    send(&mut session, exchanges)?;
    let mut raw = session.into_raw();
    raw.throw(&last);
    raw.refused("message has more than 10000 recipients").context("10,001 recipients")
}

fn many(target: &Target) -> Result<()> {
    let mut raw = State::Greeted.reach(target)?;
    raw.throw(&many_macros(b'M', 100_000));
    raw.refused("macros of 800000 bytes exceed the limit of 65535 at one stage")?;

    let message = || Message::new(1, 1, b"Hello.\r\n".to_vec());
    let mut session = begin(target)?;
    for _ in 0..100 {
        session.exchange(&Exchange { bytes: many_macros(b'C', 1_000), answers: 0 })?;
    }
    judge(session, &message()).context("100 frames of 1,000 macros")?;

    let mut session = begin(target)?;
    for number in 0..100 {
        let name = format!("{{m{number:02}}}");
        let stage = b"CHMRTNE"[number % 7];
        let bytes = macros(stage, &[(&name, "value")]).repeat(1_000);
        session.exchange(&Exchange { bytes, answers: 0 })?;
    }
    judge(session, &message()).context("100,000 frames of a macro")?;

    let mut session = begin(target)?;
    session.exchange(&Exchange { bytes: many_macros(b'C', 8_000).repeat(10), answers: 0 })?;
    let message = message();
    send(&mut session, message.exchanges(NO_STEPS))?;
    let mut raw = session.into_raw();
    raw.send(&message.end())?;
    message.verdict(&mut raw).context("8,000 macros")?;
    raw.logged("more than 1000 macros")
}

fn headers(target: &Target) -> Result<()> {
    judge(begin(target)?, &Message::new(1, 10_000, b"Hello.\r\n".to_vec()))
        .context("10,000 header fields")?;
    let mut session = begin(target)?;
    let mut exchanges = Message::new(1, 10_001, Vec::new()).exchanges(NO_STEPS);
    // MAIL, RCPT, DATA and the fields.
    exchanges.truncate(3 + 10_001);
    let last = exchanges.pop().map(|exchange| exchange.bytes).unwrap_or_default();
    send(&mut session, exchanges)?;
    let mut raw = session.into_raw();
    raw.throw(&last);
    raw.refused("message has more than 10000 header fields")?;

    let mut raw = State::Data.reach(target)?;
    let field = strings(b'L', &[b"X-Long", &vec![b'x'; (64 << 10) - 8]]);
    for _ in 0..16 {
        raw.send(&field)?;
        answered(&mut raw, b'L')?;
    }
    raw.throw(&field);
    raw.refused("header fields of the message exceed the limit of 1048576 bytes")
}

fn arguments(target: &Target) -> Result<()> {
    let places = [
        (State::Negotiated, b'C'),
        (State::Connected, b'H'),
        (State::Greeted, b'M'),
        (State::Mail, b'R'),
        (State::Body, b'U'),
    ];
    for (state, code) in places {
        for length in [8_192, 8_193] {
            let end: &[u8] = if code == b'C' { b"\0U" } else { b"\0" };
            let payload = [&vec![b'x'; length - end.len()], end].concat();
            let mut raw = state.reach(target)?;
            raw.throw(&frame(code, &payload));
            let checked = if length > 8_192 {
                raw.refused("argument of 8193 bytes exceeds the limit of 8192")
            } else {
                answered(&mut raw, code)?;
                raw.throw(&command(b'Q'));
                raw.closed()
            };
            checked.with_context(|| format!("{:?} of {length} bytes", char::from(code)))?;
        }
    }
    Ok(())
}

fn bodies(target: &Target) -> Result<()> {
    let body = |length: usize| b"0123456789abcd\r\n".repeat(length / 16);
    judge(begin(target)?, &Message::new(1, 1, body(64 << 20))).context("64 MiB")?;
    let message = Message::new(1, 1, body(16 << 20));
    let mut sessions = (0..4).map(|_| begin(target)).collect::<Result<Vec<_>>>()?;
    for session in &mut sessions {
        send(session, message.exchanges(NO_STEPS))?;
    }
    for session in sessions {
        let mut raw = session.into_raw();
        raw.send(&message.end())?;
        message.verdict(&mut raw).context("four of 16 MiB")?;
    }
    let mark = target.log.as_ref().map_or(0, |log| log.mark());
    let mut raw = State::EndOfHeaders.reach(target)?;
    let chunk = frame(b'B', &vec![b'x'; CHUNK]);
    for _ in 0..=(65 << 20) / CHUNK {
        raw.send(&chunk)?;
        raw.continues(1)?;
    }
    raw.send(&command(b'E'))?;
    while let reply = raw.reply()?
        && reply.code != b'c'
    {
        ensure!(
            !target.is_ours() || reply.code == b'h',
            "{:?} to a body that is too long",
            char::from(reply.code)
        );
    }
    if let Some(log) = &target.log {
        log.wait_for(mark, "no text is appended to a body of more than 64 MiB")?;
    }
    Ok(())
}

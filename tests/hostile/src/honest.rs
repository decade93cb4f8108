//! The honest session: an MTA that does everything right and checks everything it is told.

use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, Result, bail, ensure};

use crate::client::Raw;
use crate::process::FOOTER;
use crate::target::Target;
use crate::wire::{self, ACTIONS, ALL_STEPS, CHUNK, NO_STEPS, frame, macros, strings};

/// A message that the server under test has to judge.
#[derive(Clone, Debug)]
pub struct Message {
    /// Unlike that of any other message.
    pub queue_id: String,
    /// How many recipients it has, at least one.
    pub recipients: usize,
    /// How many header fields it has.
    pub headers: usize,
    /// Its body, whole lines.
    pub body: Vec<u8>,
}

/// A session after its negotiation and HELO.
#[derive(Debug)]
pub struct Session<'t> {
    raw: Raw<'t>,
    /// The step bits agreed on.
    steps: u32,
}

/// One exchange: the bytes, and how many answers of "continue" they get.
#[derive(Debug, Default)]
pub struct Exchange {
    /// What is sent.
    pub bytes: Vec<u8>,
    /// How many times "continue" is due for it.
    pub answers: usize,
}

/// Does everything right on two connections: one where every command is answered, and one as Postfix is. Returns
/// the queue id of the last message.
pub fn session(target: &Target) -> Result<String> {
    let mut last = String::new();
    for steps in [NO_STEPS, ALL_STEPS] {
        let mut session = Session::begin(target, steps)?;
        for body in ["", "Hello.\r\n"] {
            let message = Message::new(2, 5, body.as_bytes().to_vec());
            session.judge(&message)?;
            last = message.queue_id;
        }
        session.end()?;
    }
    Ok(last)
}

impl Message {
    /// A message with a queue id of its own.
    pub fn new(recipients: usize, headers: usize, body: Vec<u8>) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self { queue_id: format!("4H{number:08X}"), recipients, headers, body }
    }

    /// The steps of the message from MAIL on, an exchange for each command, without the end of message.
    pub fn exchanges(&self, steps: u32) -> Vec<Exchange> {
        let id = [("i", self.queue_id.as_str())];
        let mut all = vec![step(
            steps,
            b'M',
            &[("{mail_addr}", "a@example.com")],
            strings(b'M', &[b"<a@example.com>"]),
        )];
        for number in 0..self.recipients {
            let address = format!("<b{number}@example.org>");
            all.push(step(steps, b'R', &id, strings(b'R', &[address.as_bytes(), b"NOTIFY=NEVER"])));
        }
        all.push(step(steps, b'T', &id, frame(b'T', b"")));
        for number in 0..self.headers {
            let (name, value) = (format!("X-Field-{number}"), format!("value {number}\n\tfolded"));
            all.push(step(steps, b'L', &id, strings(b'L', &[name.as_bytes(), value.as_bytes()])));
        }
        all.push(step(steps, b'N', &id, frame(b'N', b"")));
        all.extend(self.body.chunks(CHUNK).map(|chunk| step(steps, b'B', &id, frame(b'B', chunk))));
        all
    }

    /// The end of message.
    pub fn end(&self) -> Vec<u8> {
        [macros(b'E', &[("i", &self.queue_id)]), frame(b'E', b"")].concat()
    }

    /// The whole of it at once, with how many answers come before those to its end.
    pub fn whole(&self, steps: u32) -> Exchange {
        let mut whole = join(self.exchanges(steps));
        whole.bytes.extend(self.end());
        whole
    }

    /// Reads what is said to the end of message, and checks all of it: the header field with the queue id, the body
    /// with the text behind it, and the verdict.
    pub fn verdict(&self, raw: &mut Raw<'_>) -> Result<()> {
        let (mut fields, mut body, mut bodies) = (Vec::new(), Vec::new(), 0);
        loop {
            let reply = raw.reply().with_context(|| format!("verdict on {}", self.queue_id))?;
            match reply.code {
                b'p' if reply.payload.is_empty() => {}
                b'h' => fields.push(reply.payload),
                b'b' => {
                    body.extend_from_slice(&reply.payload);
                    bodies += 1;
                }
                b'c' if reply.payload.is_empty() => break,
                _ => bail!("{reply:?} to the end of message"),
            }
        }
        if !raw.target().is_ours() {
            return Ok(());
        }
        ensure!(
            fields == [format!("X-Tamis\0{}\0", self.queue_id).into_bytes()],
            "wrong header fields: {fields:?}"
        );
        let appended = body.strip_prefix(&self.body[..]).context("the body was changed")?;
        ensure!(appended == FOOTER.as_bytes(), "{bodies} pieces, the last of {} bytes", appended.len());
        Ok(())
    }
}

impl<'t> Session<'t> {
    /// Connects, offers these step bits, and comes to MAIL.
    pub fn begin(target: &'t Target, steps: u32) -> Result<Self> {
        Self::begin_on(Raw::connect_honestly(target)?, steps)
    }

    /// As [`begin`](Self::begin), on a connection that is there.
    pub fn begin_on(mut raw: Raw<'t>, steps: u32) -> Result<Self> {
        raw.send(&wire::offer(6, ACTIONS, steps))?;
        let agreed = negotiated(&mut raw, 6, steps)?;
        let mut session = Self { raw, steps: agreed };
        for exchange in greeting(agreed) {
            session.exchange(&exchange)?;
        }
        Ok(session)
    }

    /// Sends a message step by step and checks what is said to each of them.
    pub fn judge(&mut self, message: &Message) -> Result<()> {
        for exchange in message.exchanges(self.steps) {
            self.exchange(&exchange)?;
        }
        self.finish(message)
    }

    /// Sends the end of a message and checks the verdict.
    pub fn finish(&mut self, message: &Message) -> Result<()> {
        self.raw.send(&message.end())?;
        message.verdict(&mut self.raw)
    }

    /// Ends the session; the server has to close, and to say nothing more.
    pub fn end(mut self) -> Result<()> {
        self.raw.send(&[frame(b'A', b""), frame(b'Q', b"")].concat())?;
        self.raw.closed()
    }

    /// The step bits agreed on.
    pub fn steps(&self) -> u32 {
        self.steps
    }

    /// The connection.
    pub fn into_raw(self) -> Raw<'t> {
        self.raw
    }

    /// One command and its answer.
    pub fn exchange(&mut self, exchange: &Exchange) -> Result<()> {
        self.raw.send(&exchange.bytes)?;
        self.raw.continues(exchange.answers)
    }
}

/// Reads the answer to an offer and returns the step bits agreed on.
pub fn negotiated(raw: &mut Raw<'_>, version: u32, offered: u32) -> Result<u32> {
    let reply = raw.reply()?;
    ensure!(reply.code == b'O' && reply.payload.len() == 12, "{reply:?} to an offer");
    let number =
        |at: usize| reply.payload[at..at + 4].iter().fold(0, |number, byte| number << 8 | u32::from(*byte));
    let (spoken, actions, steps) = (number(0), number(4), number(8));
    ensure!(spoken == version, "version {spoken} is spoken, not {version}");
    ensure!(steps & !offered == 0, "steps {steps:#x} were agreed on, {offered:#x} offered");
    ensure!(actions & !ACTIONS == 0, "actions {actions:#x} were agreed on");
    Ok(steps)
}

/// CONNECT and HELO.
pub fn greeting(steps: u32) -> Vec<Exchange> {
    let mta = [("j", "mta.example.net"), ("{daemon_name}", "mta")];
    vec![
        step(steps, b'C', &mta, wire::connect()),
        step(steps, b'H', &[], strings(b'H', &[b"client.example"])),
    ]
}

/// Several exchanges in one.
pub fn join(exchanges: Vec<Exchange>) -> Exchange {
    exchanges.into_iter().fold(Exchange::default(), |mut all, exchange| {
        all.bytes.extend(exchange.bytes);
        all.answers += exchange.answers;
        all
    })
}

/// A command with its macros, as far as the filter wants it and an answer to it.
fn step(steps: u32, code: u8, with: &[(&str, &str)], command: Vec<u8>) -> Exchange {
    let (off, unanswered) = match code {
        b'C' => (0x001, 0x1000),
        b'H' => (0x002, 0x2000),
        b'M' => (0x004, 0x4000),
        b'R' => (0x008, 0x8000),
        b'B' => (0x010, 0x8_0000),
        b'L' => (0x020, 0x80),
        b'N' => (0x040, 0x4_0000),
        b'T' => (0x200, 0x1_0000),
        _ => (0, 0),
    };
    let mut bytes = macros(code, with);
    if steps & off == 0 {
        bytes.extend(command);
    }
    Exchange { bytes, answers: usize::from(steps & (off | unanswered) == 0) }
}

//! An MTA that has a conversation with a milter and writes it down, for people and to compare.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use tamis_proto::Frame;

use crate::play::patience;
use crate::script::quoted;
use crate::session::frame;
use crate::stock::{State, bits, no_reply_bit};

/// The MTA's side of one connection.
#[derive(Debug)]
pub struct Mta {
    stream: UnixStream,
    received: Vec<u8>,
    /// The steps that the milter asked for.
    steps: u32,
    text: String,
}

/// A message.
#[derive(Clone, Debug)]
pub struct Message<'m> {
    /// The sender, with its arguments.
    pub sender: &'m [&'m str],
    /// The recipients.
    pub recipients: &'m [&'m str],
    /// The header fields.
    pub header: &'m [(&'m str, &'m str)],
    /// The body, in pieces.
    pub body: &'m [&'m [u8]],
}

/// What a milter said last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    /// Go on.
    Continue,
    /// No more of this.
    Skip,
    /// This message, or one recipient, is decided.
    Decided,
    /// Nothing, as agreed.
    Nothing,
}

const MACROS: [(u8, &[(&str, &str)]); 5] = [
    (
        b'C',
        &[
            ("j", "mta.example.net"),
            ("{daemon_name}", "mta.example.net"),
            ("v", "Postfix 3.7.11"),
            ("_", "client.example.com [192.0.2.1]"),
        ],
    ),
    (
        b'M',
        &[
            ("i", "4D2A17"),
            ("{mail_addr}", "alice@example.com"),
            ("{mail_mailer}", "smtp"),
            ("{mail_host}", "example.org"),
        ],
    ),
    (
        b'R',
        &[
            ("i", "4D2A17"),
            ("{rcpt_addr}", "bob@example.org"),
            ("{rcpt_mailer}", "smtp"),
            ("{rcpt_host}", "example.org"),
        ],
    ),
    (b'T', &[("i", "4D2A17")]),
    (b'E', &[("i", "4D2A17"), ("{msg_id}", "<1@example.com>")]),
];

impl Mta {
    /// Negotiates.
    ///
    /// # Panics
    ///
    /// As all that follows: when the milter closes the connection, is silent, or says what is no reply.
    pub fn negotiate(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(patience())).expect("20 seconds are no 0");
        let mut mta = Self { stream, received: Vec::new(), steps: 0, text: String::new() };
        let offer = [6_u32, 0x1ff, 0x1f_ffff].map(u32::to_be_bytes).concat();
        mta.send(b'O', &offer);
        let payload = mta.read(b'O');
        let word = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().expect("four bytes"));
        mta.steps = word(8);
        let _ = writeln!(
            mta.text,
            "< version {} actions {:#x} steps {:#x}{}",
            word(0),
            word(4),
            word(8),
            strings(&payload[12..])
        );
        mta
    }

    /// Says who the client is.
    pub fn hello(&mut self, host: &str, address: &str) {
        let family = if address.contains(':') { b'6' } else { b'4' };
        let payload = [host.as_bytes(), &[0, family, 0x30, 0x39], address.as_bytes(), &[0]].concat();
        self.say(b'C', &payload);
        self.say(b'H', b"client.example.com\0");
    }

    /// Sends a message, as far as the milter wants it.
    pub fn message(&mut self, message: &Message<'_>) {
        if self.send_message(message) != Said::Nothing {
            // As Postfix does after each.
            self.send(b'A', b"");
        }
    }

    fn send_message(&mut self, message: &Message<'_>) -> Said {
        let mut said = self.say(b'M', &nul_terminated(message.sender));
        let mut recipients = 0;
        for recipient in message.recipients {
            if said == Said::Decided {
                return said;
            }
            recipients += usize::from(self.say(b'R', &nul_terminated(&[recipient])) != Said::Decided);
        }
        if recipients == 0 {
            return Said::Decided;
        }
        said = self.say(b'T', b"");
        for (name, value) in message.header {
            if said != Said::Decided {
                said = self.say(b'L', &nul_terminated(&[name, value]));
            }
        }
        if said != Said::Decided {
            said = self.say(b'N', b"");
        }
        for piece in message.body {
            if !matches!(said, Said::Decided | Said::Skip) {
                said = self.say(b'B', piece);
            }
        }
        if said != Said::Decided {
            said = self.say(b'E', b"");
        }
        said
    }

    /// Sends an SMTP command that the MTA does not know.
    pub fn unknown(&mut self, line: &str) {
        self.say(b'U', &nul_terminated(&[line]));
    }

    /// Ends the connection and returns what was said.
    pub fn quit(mut self) -> String {
        self.send(b'Q', b"");
        let mut rest = Vec::new();
        let read = self.stream.read_to_end(&mut rest);
        let end = if read.is_ok() && rest.is_empty() { "closed" } else { "more came after quit" };
        let _ = writeln!(self.text, "< {end}");
        self.text
    }

    /// Writes something else into the conversation.
    pub fn note(&mut self, line: &str) {
        let _ = writeln!(self.text, "{line}");
    }

    /// Sends a command with its macros, unless the milter does not want it, and waits for what is said to it.
    fn say(&mut self, code: u8, payload: &[u8]) -> Said {
        let state = State::of(code).expect("only commands are said");
        if let Some((_, macros)) = MACROS.iter().find(|(of, _)| *of == code) {
            let list: Vec<&str> = macros.iter().flat_map(|(name, value)| [*name, *value]).collect();
            let payload = [&[code], &nul_terminated(&list)[..]].concat();
            self.write(b'D', &payload);
        }
        if self.steps & off_bit(code) != 0 {
            return Said::Nothing;
        }
        self.send(code, payload);
        if self.steps & no_reply_bit(state) != 0 {
            return Said::Nothing;
        }
        loop {
            let (code, payload) = self.next();
            let _ = writeln!(self.text, "< {}", reply(code, &payload));
            match code {
                b'c' => return Said::Continue,
                b's' => return Said::Skip,
                b'a' | b'r' | b't' | b'd' | b'y' => return Said::Decided,
                _ => {}
            }
        }
    }

    fn send(&mut self, code: u8, payload: &[u8]) {
        let _ = writeln!(self.text, "> {}", command(code, payload));
        self.write(code, payload);
    }

    fn write(&mut self, code: u8, payload: &[u8]) {
        let sent = self.stream.write_all(&frame(code, payload));
        sent.unwrap_or_else(|error| panic!("{error}, after\n{}", self.text));
    }

    fn read(&mut self, expected: u8) -> Vec<u8> {
        let (code, payload) = self.next();
        assert_eq!(char::from(code), char::from(expected), "after\n{}", self.text);
        payload
    }

    fn next(&mut self) -> (u8, Vec<u8>) {
        loop {
            if let Ok(Some((used, frame))) = Frame::parse(&self.received, usize::MAX >> 1) {
                let next = (frame.code, frame.payload.to_vec());
                self.received.drain(..used);
                return next;
            }
            let mut buf = vec![0; 1 << 16];
            match self.stream.read(&mut buf) {
                Ok(length) if length > 0 => self.received.extend_from_slice(&buf[..length]),
                ended => panic!("the milter is gone ({ended:?}), after\n{}", self.text),
            }
        }
    }
}

fn nul_terminated(strings: &[&str]) -> Vec<u8> {
    strings.iter().flat_map(|text| text.bytes().chain([0])).collect()
}

fn off_bit(code: u8) -> u32 {
    match code {
        b'C' => bits::NO_CONNECT,
        b'H' => bits::NO_HELO,
        b'M' => bits::NO_MAIL,
        b'R' => bits::NO_RCPT,
        b'T' => bits::NO_DATA,
        b'L' => bits::NO_HEADERS,
        b'N' => bits::NO_EOH,
        b'B' => bits::NO_BODY,
        b'U' => bits::NO_UNKNOWN,
        _ => 0,
    }
}

/// A command with all of its text.
fn command(code: u8, payload: &[u8]) -> String {
    match code {
        b'O' => "O".to_owned(),
        b'B' => format!("B {}", quoted(payload)),
        code => format!("{}{}", char::from(code), strings(payload)),
    }
}

/// Pieces of a body that are longer than this are cut.
const LONGEST: usize = 1000;

/// A reply with all of its text.
fn reply(code: u8, payload: &[u8]) -> String {
    let letter = char::from(code);
    match (code, payload) {
        (b'i' | b'm', [a, b, c, d, rest @ ..]) => {
            format!("{letter} {}{}", u32::from_be_bytes([*a, *b, *c, *d]), strings(rest))
        }
        (b'b', body) if body.len() > LONGEST => {
            let sum = body.iter().fold(0_u32, |sum, byte| sum.rotate_left(5) ^ u32::from(*byte));
            format!("{letter} {} and so on, {} bytes, sum {sum:08x}", quoted(&body[..40]), body.len())
        }
        (b'b', body) => format!("{letter} {}", quoted(body)),
        _ => format!("{letter}{}", strings(payload)),
    }
}

/// Strings that end with NUL, in quotes; what is behind the last one, too.
fn strings(mut bytes: &[u8]) -> String {
    let mut text = String::new();
    while !bytes.is_empty() {
        let end = bytes.iter().position(|byte| *byte == 0);
        let _ = write!(text, " {}", quoted(&bytes[..end.unwrap_or(bytes.len())]));
        if let Some(end) = end {
            bytes = &bytes[end + 1..];
        } else {
            text.push_str(" without NUL");
            break;
        }
    }
    text
}

//! The message that is sent again and again, encoded once for all connections that agreed on the same.

use anyhow::Result;
use bytes::{Bytes, BytesMut};
use tamis::Stage;
use tamis::client::{MacroSource, Mail};
use tamis::proto::command::{Connect, Envelope, Header};
use tamis::proto::frame::MAX_PAYLOAD;
use tamis::proto::{Agreement, Command, MtaSession, Profile, Script};

/// How much of everything a message has.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub(super) profile: Profile,
    pub(super) recipients: usize,
    pub(super) headers: usize,
    pub(super) body: u64,
}

/// What is said on each connection, as bytes.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) agreement: Agreement,
    /// Connect and helo.
    pub(super) opening: Script,
    /// From the abort that ends the message before to the end of message.
    pub(super) message: Script,
}

/// Bytes of a line of the body. Its whole lines fill a piece of 65,535 bytes, so that all pieces are one.
const LINE: usize = 51;

const SENDER: &[u8] = b"sender@example.com";
/// For documentation (RFC 5737).
const CLIENT: ([u8; 4], u16) = ([192, 0, 2, 1], 49_152);
const HELO: &[u8] = b"client.example";

impl Shape {
    /// Encodes everything as this session, which has negotiated, would send it.
    pub(super) fn plan(&self, session: &MtaSession, agreement: Agreement) -> Result<Plan> {
        let recipients: Vec<Bytes> = (1..=self.recipients).map(recipient).collect();
        let mut macros = MacroSource::new(self.profile, &Mail::new(SENDER, recipients.iter(), Bytes::new()));
        let record = |script: &mut Script, stage: Stage, command: Command<Bytes>, macros: &MacroSource| {
            session.record(script, &command, macros.packet(stage, &agreement).as_ref())
        };
        let mut opening = Script::new();
        let connect = connect(self.profile).map(Bytes::from);
        record(&mut opening, Stage::Connect, Command::Connect(connect), &macros)?;
        record(&mut opening, Stage::Helo, Command::Helo(Bytes::from_static(HELO)), &macros)?;

        let mut message = Script::new();
        session.record(&mut message, &Command::Abort, None)?;
        let size = format!("SIZE={}", self.bytes());
        let sender = envelope(SENDER, &[size.as_bytes(), b"BODY=8BITMIME"]);
        record(&mut message, Stage::Mail, Command::Mail(sender), &macros)?;
        for address in &recipients {
            macros.recipient(address);
            record(&mut message, Stage::Rcpt, Command::Rcpt(envelope(address, &[])), &macros)?;
            macros.queued();
        }
        record(&mut message, Stage::Data, Command::Data, &macros)?;
        for (name, value) in (0..self.headers).map(field) {
            let header = Header { name: name.into(), value: value.into(), implied_space: false };
            record(&mut message, Stage::Header, Command::Header(header), &macros)?;
        }
        record(&mut message, Stage::EndOfHeaders, Command::EndOfHeaders, &macros)?;
        for piece in self.pieces() {
            record(&mut message, Stage::Body, Command::Body(piece), &macros)?;
        }
        record(&mut message, Stage::EndOfMessage, Command::EndOfMessage(Bytes::new()), &macros)?;
        Ok(Plan { agreement, opening, message })
    }

    /// Bytes of header and body as the SMTP client would send them.
    pub(super) fn bytes(&self) -> u64 {
        let header: usize =
            (0..self.headers).map(field).map(|(name, value)| name.len() + value.len() + 3).sum();
        header as u64 + self.body
    }

    /// The body in the pieces that MTAs send: full ones, all of them the same memory, and what is left.
    pub(super) fn pieces(&self) -> impl Iterator<Item = Bytes> + use<> {
        let mut full = BytesMut::with_capacity(MAX_PAYLOAD);
        while full.len() < MAX_PAYLOAD {
            full.extend_from_slice(
                &[b"The quick brown fox jumps over the lazy dog now.", &b".\r\n"[..]].concat(),
            );
        }
        debug_assert_eq!((full.len(), full.len() % LINE), (MAX_PAYLOAD, 0), "whole lines fill a piece");
        let full = full.freeze();
        let piece = MAX_PAYLOAD as u64;
        let rest = usize::try_from(self.body % piece).expect("a piece is small");
        let count = self.body / piece;
        let mut last = BytesMut::from(&full[..rest]);
        if let Some(end) = last.len().checked_sub(2) {
            last[end..].copy_from_slice(b"\r\n");
        }
        let last = (rest > 0).then(|| last.freeze());
        (0..count).map(move |_| full.clone()).chain(last)
    }
}

fn recipient(number: usize) -> Bytes {
    format!("recipient-{number}@example.org").into()
}

fn envelope(address: &[u8], args: &[&[u8]]) -> Envelope<Bytes> {
    Envelope::with_args(&[b"<", address, b">"].concat(), args).map(Bytes::from)
}

fn connect(profile: Profile) -> Connect<Vec<u8>> {
    let name = format!("[{}]", std::net::Ipv4Addr::from(CLIENT.0));
    Connect::inet(name, CLIENT.into(), profile == Profile::Sendmail)
}

/// A header field, as ordinary mail has them; beyond those, fields that scanners add.
fn field(number: usize) -> (String, String) {
    const FIELDS: [(&str, &str); 12] = [
        (
            "Received",
            " from client.example (client.example [192.0.2.1])\n\tby relay.example with ESMTPS id 4cXbR52vBz1x\n\tfor <recipient-1@example.org>; Sat, 21 Nov 2026 10:00:00 +0000",
        ),
        ("Message-ID", " <20261121100000.4711.0815@client.example>"),
        ("Date", " Sat, 21 Nov 2026 10:00:00 +0000"),
        ("From", " \"The Sender\" <sender@example.com>"),
        ("To", " \"First Recipient\" <recipient-1@example.org>"),
        ("Subject", " The minutes of our meeting, and what to do next"),
        ("MIME-Version", " 1.0"),
        ("Content-Type", " text/plain; charset=us-ascii; format=flowed"),
        ("Content-Transfer-Encoding", " 7bit"),
        ("User-Agent", " Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Thunderbird/128.3"),
        ("In-Reply-To", " <20261120173000.4711.0814@client.example>"),
        ("Content-Language", " en-GB"),
    ];
    match FIELDS.get(number) {
        Some((name, value)) => ((*name).to_owned(), (*value).to_owned()),
        None => (
            format!("X-Bench-{}", number + 1),
            " one of the fields that programs on the way have put in".to_owned(),
        ),
    }
}

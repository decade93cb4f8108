//! A usual message, as an MTA shows it: 3 recipients, 15 header fields, a body of 4 KiB, macros before every step.

use tamis_proto::command::{Connect, Envelope, Header, Kind, Macros};
use tamis_proto::{Command, Needs, Offer, Stage};

/// A command with the macros before it.
pub(crate) type Step = (Command<Vec<u8>>, Option<Macros<Vec<u8>>>);

/// The answer to a step.
pub(crate) const CONTINUE: &[u8] = b"\0\0\0\x01c";

/// What a connection begins with, the negotiation aside.
pub(crate) fn greeting() -> Vec<Step> {
    let client = "192.0.2.1:49152".parse().expect("this is an address");
    vec![
        (
            Command::Connect(Connect::inet("client.example", client, false)),
            macros(Kind::Connect, &["j", "mx.example.net"]),
        ),
        (Command::Helo(b"client.example".to_vec()), macros(Kind::Helo, &[])),
    ]
}

/// One message: 47 frames, with the ABORT that Postfix says before the next one.
pub(crate) fn message() -> Vec<Step> {
    let mut steps: Vec<Step> = vec![
        (Command::Abort, None),
        (
            Command::Mail(envelope("<ann@example.org>", &["SIZE=6000"])),
            macros(Kind::Mail, &["{mail_addr}", "ann@example.org", "{mail_mailer}", "smtp"]),
        ),
    ];
    for name in ["bob", "carol", "dave"] {
        let (path, address) = (format!("<{name}@example.net>"), format!("{name}@example.net"));
        let values = ["i", "4KqBz1Xy", "{rcpt_addr}", address.as_str(), "{rcpt_mailer}", "local"];
        steps.push((Command::Rcpt(envelope(&path, &["NOTIFY=NEVER"])), macros(Kind::Rcpt, &values)));
    }
    let queue_id = |kind| macros(kind, &["i", "4KqBz1Xy"]);
    steps.push((Command::Data, queue_id(Kind::Data)));
    for number in 1..=15 {
        let name = format!("X-Field-{number}").into_bytes();
        let value = b"a value as long as most are, which is some sixty characters".to_vec();
        let field = Header { name, value, implied_space: false };
        steps.push((Command::Header(field), queue_id(Kind::Header)));
    }
    steps.push((Command::EndOfHeaders, queue_id(Kind::EndOfHeaders)));
    steps.push((Command::Body(b"It was a bright day in April.\r\n".repeat(132)), queue_id(Kind::Body)));
    steps.push((Command::EndOfMessage(Vec::new()), queue_id(Kind::EndOfMessage)));
    steps
}

/// The bytes of steps.
pub(crate) fn wire(steps: &[Step]) -> Vec<u8> {
    let mut wire = Vec::new();
    for (command, macros) in steps {
        if let Some(macros) = macros {
            Command::Macros(macros.clone()).encode(&mut wire);
        }
        command.encode(&mut wire);
    }
    wire
}

/// What Postfix offers.
pub(crate) fn offer() -> Vec<u8> {
    let mut wire = Vec::new();
    Command::<Vec<u8>>::Negotiate(Offer::CURRENT).encode(&mut wire);
    wire
}

/// Every stage answered.
pub(crate) fn answers_all() -> Needs {
    Needs::new().answer(Stage::ALL)
}

/// Every stage seen, and none answered but the end of message.
pub(crate) fn answers_the_end() -> Needs {
    Needs::new().watch(Stage::ALL).answer([Stage::EndOfMessage])
}

fn envelope(path: &str, args: &[&str]) -> Envelope<Vec<u8>> {
    Envelope::with_args(path.as_bytes(), args)
}

/// Macros of names and values in turn.
#[allow(clippy::unnecessary_wraps)] // as it is wanted
fn macros(kind: Kind, pairs: &[&str]) -> Option<Macros<Vec<u8>>> {
    Some(Macros::new(kind, pairs.chunks(2).map(|pair| (pair[0], pair[1]))))
}

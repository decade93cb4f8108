//! What the peers of the benchmark have in common: the scenarios, and what they look like on the wire.
//!
//! Every peer is a program `PEER SOCKET SCENARIO` that serves one scenario on a unix socket until it is killed. All do
//! the same thing in a scenario, each written as its library wants it.
#![forbid(unsafe_code)]

pub mod check;
pub mod floor;

use std::env;
use std::process::exit;
use std::time::Duration;

/// The header field of [`Scenario::Header`].
pub const HEADER: (&str, &str) = ("X-Scanned", "yes");

/// The header field that says how long the body was, in [`Scenario::Look`].
pub const LENGTH_HEADER: &str = "X-Length";

/// What is put behind the body in [`Scenario::Footer`].
pub const FOOTER: &str = "-- \r\nThis message was read by a program.\r\n";

/// How long [`Scenario::Wait50`] takes over a message.
pub const WAIT: Duration = Duration::from_millis(50);

/// What a filter does with each message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// Answers every step with continue, and nothing else.
    Answered,
    /// Adds a header field.
    Header,
    /// Replaces the body by itself with a footer.
    Footer,
    /// Sees every step and answers none but the end of the message.
    NoReply,
    /// Answers every step, and the end of the message after 50 ms.
    Wait50,
    /// Looks at every piece of the body, and says in a header field how long it was.
    Look,
    /// As [`Footer`](Self::Footer), with memory for a large body and its replacement.
    Replace25,
    /// As [`Footer`](Self::Footer), with 1 MiB of memory for bodies and a file for what is more. Only for those that
    /// can.
    Replace25Spool,
    /// As [`Answered`](Self::Answered); the connections are what is looked at.
    Idle,
}

impl Scenario {
    /// All there are.
    pub const ALL: [Self; 9] = [
        Self::Answered,
        Self::Header,
        Self::Footer,
        Self::NoReply,
        Self::Wait50,
        Self::Look,
        Self::Replace25,
        Self::Replace25Spool,
        Self::Idle,
    ];

    /// The word for the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Header => "header",
            Self::Footer => "footer",
            Self::NoReply => "no-reply",
            Self::Wait50 => "wait50",
            Self::Look => "look",
            Self::Replace25 => "replace25",
            Self::Replace25Spool => "replace25-spool",
            Self::Idle => "idle",
        }
    }
}

/// Reads the command line of a peer, and ends the program where it is wrong.
pub fn arguments() -> (String, Scenario) {
    let arguments: Vec<_> = env::args().collect();
    let [_, socket, scenario] = arguments.as_slice() else { usage(&arguments) };
    let known = Scenario::ALL.into_iter().find(|known| known.name() == scenario);
    (socket.clone(), known.unwrap_or_else(|| usage(&arguments)))
}

fn usage(arguments: &[String]) -> ! {
    let program = arguments.first().map_or("peer", String::as_str);
    eprintln!("usage: {program} SOCKET {}", Scenario::ALL.map(Scenario::name).join("|"));
    exit(2)
}

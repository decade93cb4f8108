//! Settings of a server; all have defaults that suit Postfix and Sendmail.

use std::time::Duration;

use tamis_proto::{Limits, Rules, Verdict};

use crate::message::BodyOptions;
use crate::message::compile::Target;

/// Settings of a [`Server`](crate::Server).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// What the MTA is told when a filter fails: an error, a panic, a time limit, a verdict that its stage
    /// does not know. `451 4.7.1 Service unavailable - try again later` by default; details are in the log
    /// only. [`Verdict::Accept`] lets mail pass unfiltered, [`Verdict::Continue`] goes on with the next stage.
    pub on_failure: Verdict,
    /// How long a handler may take at any stage but the end of message: 8 s by default, as Sendmail waits 10 s.
    #[doc(alias = "smfi_set_max_exec_time")]
    pub stage_time: Duration,
    /// How long a handler may take at end of message: 270 s by default, as both MTAs wait 300 s.
    pub end_of_message_time: Duration,
    /// How often the MTA is told that the end of message is still worked on: every 4 s by default.
    pub progress_every: Duration,
    /// How many connections may be open; 16,000 by default. One more is closed at once, which an MTA takes for a
    /// filter that is down. Each takes a file: see the system's limit on open files too.
    pub max_connections: usize,
    /// How many connections of one address may be open, all of unix sockets counting as one; 12,000 by default, so
    /// that no peer takes all there are. An MTA opens one for each SMTP session.
    pub max_connections_per_peer: usize,
    /// How long it may take from the connection to the end of the negotiation, without the filter's own time; 30 s
    /// by default. MTAs begin at once.
    pub handshake_time: Duration,
    /// How long the MTA may take to finish a frame that it began; 60 s by default. MTAs write frames whole.
    pub frame_time: Duration,
    /// How long an MTA may be silent: 7,210 s by default, longer than any of its own SMTP timeouts.
    #[doc(alias = "smfi_settimeout")]
    pub idle_time: Duration,
    /// How long the MTA may take to read a part of a reply: 10 s by default.
    pub write_time: Duration,
    /// How long messages in work may go on after a shutdown began: 30 s by default.
    pub drain_time: Duration,
    /// Most bytes in the receive buffers and macros of all connections together, without 16 KiB that each may have
    /// anyway; 1 GiB by default. A connection that needs more than is left is closed.
    pub buffers: usize,
    /// Most bytes that are read ahead while a handler works, to notice an MTA that goes away; 64 KiB by default.
    pub read_ahead: usize,
    /// What bodies that filters collect or make may take of memory and disk.
    pub body: BodyOptions,
    /// Which MTA it is, for edits of the header: found out by what it says if this is `None`, the default.
    pub mta: Option<Target>,
    /// Has edits of the header compared with what the MTA would make of them, before they are sent; a difference is a
    /// failure of the filter. On by default where debug assertions are.
    pub strict: bool,
    /// Most bytes that are kept of each connection's last frames, for the [flight recorder](crate::recorder); 0 by
    /// default, which is off. 16 KiB hold a usual message's frames; only what is needed is taken.
    pub flight_recorder: usize,
    /// Most bytes that the flight recorder keeps of each piece of a body; 64 by default, 512 at most.
    pub flight_recorder_body: usize,
    /// Bounds on what an MTA sends in one session.
    pub limits: Limits,
    /// How the protocol is spoken where implementations differ.
    pub rules: Rules,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            on_failure: Verdict::tempfail("4.7.1", "Service unavailable - try again later"),
            stage_time: Duration::from_secs(8),
            end_of_message_time: Duration::from_secs(270),
            progress_every: Duration::from_secs(4),
            max_connections: 16_000,
            max_connections_per_peer: 12_000,
            handshake_time: Duration::from_secs(30),
            frame_time: Duration::from_mins(1),
            idle_time: Duration::from_secs(7_210),
            write_time: Duration::from_secs(10),
            drain_time: Duration::from_secs(30),
            buffers: 1 << 30,
            read_ahead: 64 * 1024,
            body: BodyOptions::default(),
            mta: None,
            strict: cfg!(debug_assertions),
            flight_recorder: 0,
            flight_recorder_body: 64,
            limits: Limits::default(),
            rules: Rules::default(),
        }
    }
}

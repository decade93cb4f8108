//! What came of it, for people and for programs.

mod json;
mod text;

pub(super) use json::{error as json_error, report as json};
pub(super) use text::report as text;

use std::time::Duration;

use super::process::{Spent, Usage};
use super::tally::Tally;

/// Everything that was measured.
#[derive(Debug)]
pub(super) struct Results {
    pub(super) tally: Tally,
    /// From the first message to the last reply.
    pub(super) elapsed: Duration,
    /// Bytes of each message.
    pub(super) message_bytes: u64,
    /// What was agreed on.
    pub(super) negotiated: String,
    pub(super) client: Spent,
    pub(super) server: Option<Server>,
}

/// What the filter's process took.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) pid: i32,
    pub(super) spent: Spent,
    /// At the end, with all connections open.
    pub(super) usage: Usage,
    /// Resident bytes for each idle connection.
    pub(super) idle: Option<f64>,
}

impl Results {
    pub(super) fn messages_per_second(&self) -> f64 {
        self.tally.messages as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    pub(super) fn megabytes_per_second(&self) -> f64 {
        self.messages_per_second() * self.message_bytes as f64 / 1e6
    }

    /// Of CPU time for a message.
    pub(super) fn per_message(&self, microseconds: f64) -> f64 {
        microseconds / self.tally.messages.max(1) as f64
    }

    /// Microseconds within which this share of the messages was done.
    pub(super) fn quantile(&self, share: f64) -> f64 {
        self.tally.latency.value_at_quantile(share) as f64 / 1e3
    }
}

//! What came of it, for people and for programs.

mod json;
mod text;

use std::time::Duration;

use tamis::proto::Agreement;

use super::process::{Spent, Usage};
use super::tally::Tally;
use crate::exit;

pub(super) use json::{error as json_error, report as json};
pub(super) use text::report as text;

/// Everything that was measured.
#[derive(Debug)]
pub(super) struct Results {
    pub(super) tally: Tally,
    /// From the first message to the last reply.
    pub(super) elapsed: Duration,
    /// Messages that were due and could not begin.
    pub(super) missed: u64,
    /// Bytes of each message.
    pub(super) message_bytes: u64,
    pub(super) agreement: Agreement,
    pub(super) client: Spent,
    pub(super) server: Option<Server>,
    /// Messages that were compared with the first, and those that differed.
    pub(super) check: Option<(u64, u64)>,
    pub(super) ending: Ending,
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

/// Why measuring ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Done,
    Interrupted,
    /// There was nothing but failures.
    GivenUp,
}

impl Results {
    pub(super) fn messages_per_second(&self) -> f64 {
        self.tally.messages as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    pub(super) fn megabytes_per_second(&self) -> f64 {
        self.messages_per_second() * self.message_bytes as f64 / 1e6
    }

    /// What a message took of something.
    pub(super) fn per_message(&self, all: f64) -> f64 {
        all / self.tally.messages.max(1) as f64
    }

    /// Microseconds within which this share of the messages was done.
    pub(super) fn quantile(&self, share: f64) -> f64 {
        self.tally.latency.value_at_quantile(share) as f64 / 1e3
    }

    pub(super) fn exit_code(&self) -> u8 {
        match self.ending {
            Ending::Interrupted => exit::INTERRUPTED,
            Ending::GivenUp => exit::ERRORS,
            Ending::Done if self.tally.error_count() > 0 => exit::ERRORS,
            Ending::Done => 0,
        }
    }
}

impl Ending {
    fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Interrupted => "interrupted",
            Self::GivenUp => "given-up",
        }
    }
}

//! How an MTA behaves: what it offers, how long it waits, how strict it is.

use std::time::Duration;

use crate::edit::model::Profile;
use crate::limits::Limits;
use crate::negotiate::Offer;

/// Settings of an [`MtaSession`](crate::MtaSession).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MtaConfig {
    /// Whose habits to follow where the two MTAs differ.
    pub profile: Profile,
    /// What is offered; version 6 and everything by default.
    pub offer: Offer,
    /// Bounds on what the filter sends.
    pub limits: Limits,
    /// Bounds on how long it takes.
    pub timeouts: Timeouts,
    /// Most bytes of a replaced body; 50 MiB by default.
    pub body_limit: u64,
    /// End the session for what is merely untidy: modifications that were not negotiated and bytes behind a
    /// simple verdict (otherwise ignored), and steps that were not offered (otherwise masked). On by default.
    pub strict: bool,
    /// Stand between another MTA and the filter. Steps may come in any order, and none has to be there: a
    /// [`FilterSession`](crate::FilterSession) has checked them before. Header values that the filter asks for may be
    /// as careless as that MTA would take them. Off by default.
    pub relays: bool,
}

impl MtaConfig {
    /// The defaults with the habits of one MTA.
    pub const fn new(profile: Profile) -> Self {
        Self {
            profile,
            offer: Offer::CURRENT,
            limits: Limits::new(),
            timeouts: Timeouts::new(),
            body_limit: 50 << 20,
            strict: true,
            relays: false,
        }
    }

    /// Changes what is offered.
    #[must_use]
    pub const fn with_offer(mut self, offer: Offer) -> Self {
        self.offer = offer;
        self
    }

    /// Changes how long it waits.
    #[must_use]
    pub const fn with_timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// Changes the bounds on what the filter sends.
    #[must_use]
    pub const fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Changes the bound on a replaced body, in bytes.
    #[must_use]
    pub const fn with_body_limit(mut self, bytes: u64) -> Self {
        self.body_limit = bytes;
        self
    }

    /// Stands between another MTA and the filter: see [`relays`](Self::relays).
    #[must_use]
    pub const fn relaying(mut self) -> Self {
        self.relays = true;
        self
    }

    /// Tolerates what is merely untidy.
    #[must_use]
    pub const fn lenient(mut self) -> Self {
        self.strict = false;
        self
    }
}

/// How long an MTA waits for a filter (spec §7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeouts {
    /// For the negotiation and for each answer up to DATA; 30 s by default.
    pub command: Duration,
    /// For each answer from the headers on, restarted by progress and modifications; 300 s by default.
    pub content: Duration,
    /// From the end of message to its verdict, whatever progress there is; 1 h by default.
    pub end_of_message: Duration,
}

impl Timeouts {
    /// Postfix's defaults, and an hour for the end of message.
    pub const fn new() -> Self {
        Self {
            command: Duration::from_secs(30),
            content: Duration::from_mins(5),
            end_of_message: Duration::from_hours(1),
        }
    }

    /// The same for all three.
    pub const fn all(time: Duration) -> Self {
        Self { command: time, content: time, end_of_message: time }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self::new()
    }
}

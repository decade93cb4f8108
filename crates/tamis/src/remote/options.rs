//! Settings of a milter that is consulted; all have defaults.

use std::time::Duration;

use tamis_proto::{Limits, MacroLists, MacroStage};

use super::BreakerOptions;

/// How a [`Milter`](super::Milter) is consulted.
///
/// The times are those of Postfix. Whatever they are, no stage takes longer than a handler may, which is what
/// [`Options::stage_time`](crate::Options::stage_time) and
/// [`Options::end_of_message_time`](crate::Options::end_of_message_time) say.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RemoteOptions {
    /// How long it may take to connect; 30 s by default.
    pub connect_time: Duration,
    /// How long it may take to connect and to negotiate together; 5 s by default, as the MTA waits meanwhile, and
    /// Sendmail for 10 s. It should be less than [`Options::stage_time`](crate::Options::stage_time).
    pub negotiation_time: Duration,
    /// How long the milter may take to answer a step up to DATA; 30 s by default.
    pub command_time: Duration,
    /// How long it may take to answer a step from the header on, at the end of message from one sign of life to the
    /// next; 300 s by default.
    pub content_time: Duration,
    /// Most bytes of modifications that it may ask for in one message, without a new body, which has the limits of
    /// [`Options::body`](crate::Options::body); 4 MiB by default.
    pub edits: usize,
    /// Bounds on what it sends.
    pub limits: Limits,
    /// When it is left alone because it fails.
    pub breaker: BreakerOptions,
    pub(super) macros: MacroLists,
}

impl RemoteOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self {
            connect_time: Duration::from_secs(30),
            negotiation_time: Duration::from_secs(5),
            command_time: Duration::from_secs(30),
            content_time: Duration::from_mins(5),
            edits: 4 << 20,
            limits: Limits::new(),
            breaker: BreakerOptions::default(),
            macros: MacroLists::default(),
        }
    }

    /// Names macros that the milter is given at a stage, if it does not name any there itself: in place of those that
    /// the MTA is configured to send.
    #[must_use]
    pub fn macros<N: AsRef<str>>(mut self, stage: MacroStage, names: impl IntoIterator<Item = N>) -> Self {
        self.macros.want(stage, names);
        self
    }
}

impl Default for RemoteOptions {
    fn default() -> Self {
        Self::new()
    }
}

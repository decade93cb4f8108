//! What all filters of a chain have around them at a step.

use std::time::Duration;

use tamis_proto::Stage;
use tokio::time::Instant;

use crate::filter::{Surroundings, View};
use crate::message::Envelope;

/// What is around a step; each filter is shown its part of it.
#[derive(Clone, Copy)]
pub(super) struct Scene<'a> {
    pub(super) around: Surroundings<'a>,
    pub(super) stage: Option<Stage>,
    /// Macros of later stages are not to be seen: the event is shown later than it came.
    pub(super) until: Option<Stage>,
    pub(super) in_message: bool,
    /// What is left of the time for the step.
    pub(super) time: Duration,
    pub(super) goes_on: bool,
    /// The recipient is one that the MTA rejects itself.
    pub(super) rejected: bool,
    /// The envelope without recipients that the MTA rejects, where that is another one.
    pub(super) plain: Option<&'a Envelope>,
}

impl<'a> Scene<'a> {
    pub(super) fn new(around: Surroundings<'a>, stage: Option<Stage>) -> Self {
        Self {
            around,
            stage,
            until: None,
            in_message: around.view.in_message && stage.is_some(),
            time: around.time,
            goes_on: false,
            rejected: false,
            plain: None,
        }
    }

    /// What a filter is shown, but for what is its own.
    pub(super) fn shown(&self) -> Surroundings<'a> {
        let view = View { in_message: self.in_message, stage: self.stage, ..self.around.view };
        Surroundings { view, goes_on: self.goes_on, time: self.time, ..self.around }
    }

    /// The same for an event that is shown later than it came.
    pub(super) fn replayed(self, stage: Stage) -> Self {
        Self { stage: Some(stage), until: Some(stage), ..self }
    }

    /// The same for filters that are told what nobody answers.
    pub(super) fn farewell(self) -> Self {
        Self { stage: None, in_message: false, goes_on: false, ..self }
    }

    /// The same with what is left of the time.
    pub(super) fn left(self, deadline: Option<Instant>) -> Self {
        match deadline {
            Some(deadline) => Self { time: deadline.saturating_duration_since(Instant::now()), ..self },
            None => self,
        }
    }

    pub(super) fn envelope(&self, with_rejected: bool) -> Option<&'a Envelope> {
        if with_rejected { self.around.envelope } else { self.plain.or(self.around.envelope) }
    }
}

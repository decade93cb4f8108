//! What goes over a connection, seen in one place: every frame that comes is heard before it is handled, every one that
//! leaves is said before it is written. The trace shows them, the flight recorder keeps them.

use std::sync::Arc;

use tamis_proto::{Output, Role};

use crate::recorder::{Alarm, Recorder};
use crate::wire;

/// Shows the frames of a connection to whoever wants to see them, each once.
#[derive(Debug)]
pub(super) struct Tap {
    /// Number of the connection.
    id: u64,
    /// Bytes of what waits to be written that were shown.
    shown: usize,
    /// The last frames, if somebody wants to have them where something goes wrong.
    recorder: Option<Box<Recorder>>,
}

impl Tap {
    pub(super) fn new(id: u64, recorder: Option<Box<Recorder>>) -> Self {
        Self { id, shown: 0, recorder }
    }

    /// The MTA says these frames, all of them whole.
    pub(super) fn heard(&self, frames: &[u8]) {
        if wire::enabled() {
            wire::from_mta(Some(self.id), frames);
        }
    }

    /// This one of them is looked at.
    pub(super) fn handles(&mut self, frame: &[u8]) {
        if let Some(recorder) = &mut self.recorder {
            recorder.frames(Role::Mta, frame);
        }
    }

    /// What is in the output is about to be written.
    pub(super) fn says(&mut self, output: &Output) {
        let traced = wire::enabled();
        if !traced && self.recorder.is_none() {
            return;
        }
        match &mut self.recorder {
            Some(recorder) if self.shown == 0 && !traced => recorder.output(output),
            recorder => {
                let contents = wire::contents(output);
                let new = &contents[self.shown..];
                if traced {
                    wire::from_filter(Some(self.id), new);
                }
                if let Some(recorder) = recorder {
                    recorder.frames(Role::Filter, new);
                }
            }
        }
        self.shown = output.len();
    }

    /// So much of it was.
    pub(super) fn wrote(&mut self, count: usize) {
        self.shown = self.shown.saturating_sub(count);
    }

    /// All of it was.
    pub(super) fn wrote_all(&mut self) {
        self.shown = 0;
    }

    /// A frame beside the output is about to be written.
    pub(super) fn says_frame(&mut self, frame: &[u8]) {
        if wire::enabled() {
            wire::from_filter(Some(self.id), frame);
        }
        if let Some(recorder) = &mut self.recorder {
            recorder.frames(Role::Filter, frame);
        }
    }

    /// The flight recorder, if there is one.
    pub(super) fn recorder(&mut self) -> Option<&mut Recorder> {
        self.recorder.as_deref_mut()
    }

    /// What filters that stand for others ring when one of those fails, if anybody listens.
    pub(super) fn alarm(&self) -> Option<&Arc<Alarm>> {
        self.recorder.as_deref().map(Recorder::alarm)
    }
}

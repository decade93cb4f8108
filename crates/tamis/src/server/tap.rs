//! What goes over a connection, seen in one place: every frame that comes is heard before it is handled, every one that
//! leaves is said before it is written.

use tamis_proto::Output;

use crate::wire;

/// Shows the frames of a connection to whoever wants to see them, each once.
#[derive(Debug)]
pub(super) struct Tap {
    /// Number of the connection.
    id: u64,
    /// Bytes of what waits to be written that were shown.
    shown: usize,
}

impl Tap {
    pub(super) fn new(id: u64) -> Self {
        Self { id, shown: 0 }
    }

    /// The MTA says these frames, all of them whole.
    pub(super) fn heard(&self, frames: &[u8]) {
        if wire::enabled() {
            wire::from_mta(Some(self.id), frames);
        }
    }

    /// What is in the output is about to be written.
    pub(super) fn says(&mut self, output: &Output) {
        if wire::enabled() {
            wire::from_filter(Some(self.id), &wire::contents(output)[self.shown..]);
            self.shown = output.len();
        }
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
    pub(super) fn says_frame(&self, frame: &[u8]) {
        if wire::enabled() {
            wire::from_filter(Some(self.id), frame);
        }
    }
}

//! A thread's receive buffer.

/// Bytes that were received and not used yet, and room for more.
pub(super) struct Buffer {
    /// The last byte is never received into: programs that look one byte behind a piece of a body find something.
    data: Vec<u8>,
    start: usize,
    end: usize,
    /// Something was used of what came since the beginning.
    moved_on: bool,
}

/// Room for the largest usual command, and most of the next one.
const ROOM: usize = 128 * 1024;

impl Buffer {
    pub(super) fn new() -> Self {
        Self { data: vec![0; ROOM], start: 0, end: 0, moved_on: false }
    }

    /// Begins anew, with what was left of the connection's last time.
    pub(super) fn begin(&mut self, rest: &[u8]) {
        if self.data.len() > ROOM {
            *self = Self::new();
        }
        (self.start, self.end) = (0, 0);
        while self.room().len() < rest.len() {
            self.data.resize(self.data.len() * 2, 0);
        }
        self.room()[..rest.len()].copy_from_slice(rest);
        self.end = rest.len();
        self.moved_on = rest.is_empty();
    }

    pub(super) fn unused(&self) -> &[u8] {
        &self.data[self.start..self.end]
    }

    /// What is unused and everything behind it, from a place among the unused on.
    pub(super) fn from(&mut self, start: usize) -> &mut [u8] {
        &mut self.data[start..]
    }

    /// Where the unused begins.
    pub(super) const fn start(&self) -> usize {
        self.start
    }

    pub(super) fn used(&mut self, count: usize) {
        self.start += count;
        self.moved_on = true;
    }

    /// Whether what is unused came after the beginning.
    pub(super) const fn has_moved_on(&self) -> bool {
        self.moved_on
    }

    /// Makes room for more: twice as much when a command fills all there is.
    pub(super) fn make_room(&mut self) -> &mut [u8] {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.start > 0 {
            self.data.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.room().is_empty() {
            self.data.resize(self.data.len() * 2, 0);
        }
        self.room()
    }

    /// Notes that so much was received.
    pub(super) fn received(&mut self, count: usize) {
        self.end += count;
    }

    fn room(&mut self) -> &mut [u8] {
        let last = self.data.len() - 1;
        &mut self.data[self.end..last]
    }
}

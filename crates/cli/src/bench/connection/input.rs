//! What was read and is not understood yet.

use tamis::proto::frame::LENGTH_BYTES;

/// Bytes of a connection; without a buffer while there are none.
#[derive(Debug, Default)]
pub(super) struct Input {
    buf: Vec<u8>,
    start: usize,
    end: usize,
}

/// Buffers that no connection holds, the one used last on top: most reads of all connections go into one.
pub(in crate::bench) type Spare = Vec<Vec<u8>>;

/// As much as a unix socket holds by default.
const SIZE: usize = 256 * 1024;

impl Input {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.buf[self.start..self.end]
    }

    /// Room to read into: for the rest of a frame whose payload may have as many bytes as `limit`.
    pub(super) fn room(&mut self, limit: usize, spare: &mut Spare) -> &mut [u8] {
        if self.buf.is_empty() {
            self.buf = spare.pop().unwrap_or_else(|| vec![0; SIZE]);
        }
        if self.start > 0 {
            self.buf.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.end == self.buf.len() {
            // The session refuses longer frames by their first bytes.
            self.buf.resize((self.buf.len() * 2).min(limit.max(SIZE) + LENGTH_BYTES + 2), 0);
        }
        &mut self.buf[self.end..]
    }

    pub(super) fn filled(&mut self, count: usize) {
        self.end += count;
    }

    pub(super) fn consume(&mut self, count: usize) {
        self.start += count;
    }

    pub(super) fn give_back_if_empty(&mut self, spare: &mut Spare) {
        if self.start == self.end {
            self.give_back(spare);
        }
    }

    pub(super) fn give_back(&mut self, spare: &mut Spare) {
        (self.start, self.end) = (0, 0);
        if !self.buf.is_empty() {
            spare.push(std::mem::take(&mut self.buf));
        }
    }
}

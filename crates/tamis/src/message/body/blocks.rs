//! Bytes in memory, in blocks whose size is known.
//!
//! Pieces of a body come as slices of what was read from the MTA, and a slice keeps all of that read: up to 128 KiB
//! for a piece of a few bytes. To keep slices would be no copying and no honest accounting. So they are copied, once
//! and into blocks of about their own size, which costs less than what the kernel did to bring them here; the buffer
//! they came in is used again for the next read instead of being allocated anew. What counts is what is allocated.

use std::sync::Arc;

use bytes::Bytes;
use tamis_proto::frame::MAX_PAYLOAD;

use super::budget::{Allowance, Budget, MemoryCharge};

/// A body that grows in memory.
#[derive(Debug)]
pub(super) struct Blocks {
    parts: Vec<Vec<u8>>,
    /// Bytes allocated for them.
    charge: MemoryCharge,
    len: usize,
}

/// The least that is allocated for pieces that follow others.
const SMALLEST: usize = 256;

/// The most.
pub(super) const LARGEST: usize = MAX_PAYLOAD;

impl Blocks {
    pub(super) fn new(allowance: &Allowance) -> Self {
        Self { parts: Vec::new(), charge: allowance.memory(), len: 0 }
    }

    /// Appends a copy of the piece, all or nothing of it; `false` if there is no memory.
    pub(super) fn push(&mut self, piece: &[u8]) -> bool {
        let room = self.parts.last().map_or(0, |last| last.capacity() - last.len());
        let (here, rest) = piece.split_at(room.min(piece.len()));
        let more = if rest.is_empty() {
            None
        } else {
            // Ever larger, so that small pieces do not make many blocks; by a quarter, so that little is for nothing.
            let roomy = if self.len == 0 { 0 } else { (self.len / 4).clamp(SMALLEST, LARGEST) };
            let Some(size) =
                [roomy.max(rest.len()), rest.len()].into_iter().find(|size| self.charge.grow(*size))
            else {
                return false;
            };
            let mut block = self.block(size);
            block.extend_from_slice(rest);
            Some(block)
        };
        if let Some(last) = self.parts.last_mut() {
            last.extend_from_slice(here);
        }
        self.parts.extend(more);
        self.len += piece.len();
        true
    }

    fn block(&self, size: usize) -> Vec<u8> {
        let kept = if size == LARGEST { self.charge.budget().take_block() } else { None };
        let Some(mut block) = kept else { return Vec::with_capacity(size) };
        block.clear();
        block
    }

    /// Bytes that were pushed.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// What was pushed. It counts until the last slice of it is gone.
    pub(super) fn freeze(self) -> Vec<Bytes> {
        let charge = Arc::new(self.charge);
        let block = |bytes| Bytes::from_owner(Block { bytes, charge: charge.clone() });
        self.parts.into_iter().map(block).collect()
    }
}

struct Block {
    bytes: Vec<u8>,
    charge: Arc<MemoryCharge>,
}

impl AsRef<[u8]> for Block {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        self.charge.budget().keep_block(std::mem::take(&mut self.bytes));
    }
}

/// A block to read into, which does not count: its reader has one at a time.
pub(super) struct Scratch {
    bytes: Vec<u8>,
    budget: Budget,
}

impl Scratch {
    /// Of so many bytes, whatever they are.
    pub(super) fn new(budget: &Budget, len: usize) -> Self {
        let mut bytes = budget.take_block().unwrap_or_else(|| Vec::with_capacity(len));
        bytes.resize(len, 0);
        Self { bytes, budget: budget.clone() }
    }

    pub(super) fn bytes(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// The first bytes of it.
    pub(super) fn freeze(self, len: usize) -> Bytes {
        Bytes::from_owner(self).slice(..len)
    }
}

impl AsRef<[u8]> for Scratch {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.budget.keep_block(std::mem::take(&mut self.bytes));
    }
}

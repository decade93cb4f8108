//! What a session has to say: a queue of bytes to write.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes};

/// Frames waiting to be written, in order.
///
/// Small frames are gathered in one buffer that is reused; large pieces, such as a replaced body, are kept as
/// the handles they came in, so they are never copied. Implements [`Buf`], so that a driver can write
/// everything with one vectored write.
#[derive(Debug, Default)]
pub struct Output {
    /// Finished pieces that precede `tail`. Boxed, as most sessions never have any.
    #[expect(clippy::box_collection, reason = "an idle session is to be small")]
    parts: Option<Box<VecDeque<Bytes>>>,
    tail: Vec<u8>,
    /// Bytes of `tail` that are already written.
    written: usize,
}

/// Pieces below this size are cheaper to copy than to keep apart.
const COPY_BELOW: usize = 1024;

impl Output {
    /// Whether nothing waits to be written.
    pub fn is_empty(&self) -> bool {
        !self.has_remaining()
    }

    /// Number of bytes waiting.
    pub fn len(&self) -> usize {
        self.remaining()
    }

    /// What is waiting, in pieces.
    pub fn chunks(&self) -> impl Iterator<Item = &[u8]> {
        let tail = &self.tail[self.written..];
        self.parts().map(|part| &part[..]).chain((!tail.is_empty()).then_some(tail))
    }

    /// Drops what is waiting and gives back the memory.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// The buffer for small frames.
    pub(crate) fn frames(&mut self) -> &mut Vec<u8> {
        &mut self.tail
    }

    /// Appends a piece without copying it where that pays.
    pub(crate) fn push(&mut self, piece: Bytes) {
        if piece.len() < COPY_BELOW {
            self.tail.extend_from_slice(&piece);
            return;
        }
        if self.written < self.tail.len() {
            let mut head = Bytes::from(std::mem::take(&mut self.tail));
            head.advance(std::mem::take(&mut self.written));
            self.parts.get_or_insert_default().push_back(head);
        }
        self.parts.get_or_insert_default().push_back(piece);
    }

    fn parts(&self) -> impl Iterator<Item = &Bytes> {
        self.parts.iter().flat_map(|parts| parts.iter())
    }
}

impl Buf for Output {
    fn remaining(&self) -> usize {
        self.parts().map(Bytes::len).sum::<usize>() + self.tail.len() - self.written
    }

    fn has_remaining(&self) -> bool {
        self.parts.is_some() || self.written < self.tail.len()
    }

    fn chunk(&self) -> &[u8] {
        self.parts().next().map_or(&self.tail[self.written..], |part| part)
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut count = 0;
        for (slot, piece) in slices.iter_mut().zip(self.chunks()) {
            *slot = IoSlice::new(piece);
            count += 1;
        }
        count
    }

    fn advance(&mut self, mut count: usize) {
        if let Some(parts) = &mut self.parts {
            while let Some(front) = parts.front_mut() {
                if count < front.len() {
                    front.advance(count);
                    return;
                }
                count -= front.len();
                parts.pop_front();
            }
            self.parts = None;
        }
        self.written += count;
        assert!(self.written <= self.tail.len(), "advanced past the end of the output");
        if self.written == self.tail.len() {
            self.tail.clear();
            self.written = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_leave_in_order_however_the_write_is_cut() {
        let big = Bytes::from(vec![7; COPY_BELOW]);
        let build = || {
            let mut out = Output::default();
            out.frames().extend_from_slice(b"abc");
            out.push(big.clone());
            out.push(Bytes::from_static(b"def"));
            out.frames().extend_from_slice(b"ghi");
            out
        };
        let whole = [&b"abc"[..], &big, b"defghi"].concat();
        for step in 1..=whole.len() {
            let mut out = build();
            let mut got = Vec::new();
            while out.has_remaining() {
                let mut slices = [IoSlice::new(&[]); 8];
                let count = out.chunks_vectored(&mut slices);
                let seen: Vec<u8> = slices[..count].iter().flat_map(|s| s.to_vec()).collect();
                assert_eq!(seen.len(), out.len());
                let take = step.min(seen.len());
                got.extend_from_slice(&seen[..take]);
                out.advance(take);
            }
            assert_eq!(got, whole);
        }
    }
}

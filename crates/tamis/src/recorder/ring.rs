//! The last frames of a session, in a bounded number of bytes.

use std::collections::VecDeque;
use std::time::Duration;

use tamis_proto::Role;

use super::RecordedFrame;

/// Frames one behind the other, each with a head that says how much of it was kept. What does not fit any more pushes
/// the oldest ones out.
#[derive(Debug)]
pub(super) struct Ring {
    bytes: VecDeque<u8>,
    limit: usize,
    frames: usize,
    /// Frames that were pushed out.
    lost: u64,
}

/// What of a frame is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    pub(super) at: Duration,
    pub(super) from: Role,
    /// The start of what is no whole frame.
    pub(super) is_broken: bool,
    pub(super) code: u8,
    /// Bytes of its payload.
    pub(super) length: u32,
    pub(super) kept: &'a [u8],
}

/// Microseconds, flags, code, length, bytes kept.
const HEAD: usize = 8 + 1 + 1 + 4 + 2;
const FROM_FILTER: u8 = 1;
const BROKEN: u8 = 2;

/// Room is taken in steps, as most sessions are short.
const STEP: usize = 1024;

impl Ring {
    pub(super) fn new(limit: usize) -> Self {
        Self { bytes: VecDeque::new(), limit, frames: 0, lost: 0 }
    }

    pub(super) fn push(&mut self, entry: Entry<'_>) {
        let room = self.limit.saturating_sub(HEAD);
        let kept = &entry.kept[..entry.kept.len().min(room).min(usize::from(u16::MAX))];
        let size = HEAD + kept.len();
        if size > self.limit {
            self.lost += 1;
            return;
        }
        while self.bytes.len() + size > self.limit {
            self.drop_oldest();
        }
        self.make_room(size);
        let micros = u64::try_from(entry.at.as_micros()).unwrap_or(u64::MAX);
        let from = if entry.from == Role::Filter { FROM_FILTER } else { 0 };
        let mut head = [0; HEAD];
        head[..8].copy_from_slice(&micros.to_le_bytes());
        head[8] = from | if entry.is_broken { BROKEN } else { 0 };
        head[9] = entry.code;
        head[10..14].copy_from_slice(&entry.length.to_le_bytes());
        let count = u16::try_from(kept.len()).expect("bounded above");
        head[14..].copy_from_slice(&count.to_le_bytes());
        self.bytes.extend(head);
        self.bytes.extend(kept);
        self.frames += 1;
    }

    /// Hands out all frames, from the oldest on, and how many were before them.
    pub(super) fn take(&mut self) -> (Vec<RecordedFrame>, u64) {
        let mut frames = Vec::with_capacity(self.frames);
        let bytes = std::mem::take(&mut self.bytes);
        let mut bytes = bytes.into_iter();
        let mut next = || bytes.next().expect("entries are whole");
        for _ in 0..self.frames {
            let micros = u64::from_le_bytes(std::array::from_fn(|_| next()));
            let (flags, code) = (next(), next());
            let length = u32::from_le_bytes(std::array::from_fn(|_| next()));
            let count = u16::from_le_bytes(std::array::from_fn(|_| next()));
            frames.push(RecordedFrame {
                at: Duration::from_micros(micros),
                from: if flags & FROM_FILTER == 0 { Role::Mta } else { Role::Filter },
                is_broken: flags & BROKEN != 0,
                code,
                length: length as usize,
                kept: (0..count).map(|_| next()).collect(),
            });
        }
        self.frames = 0;
        (frames, std::mem::take(&mut self.lost))
    }

    /// Bytes of memory it takes.
    #[cfg(test)]
    pub(super) fn allocated(&self) -> usize {
        self.bytes.capacity()
    }

    fn drop_oldest(&mut self) {
        let count = [14, 15].map(|at| self.bytes[at]);
        self.bytes.drain(..HEAD + usize::from(u16::from_le_bytes(count)));
        self.frames -= 1;
        self.lost += 1;
    }

    fn make_room(&mut self, size: usize) {
        let needed = self.bytes.len() + size;
        if needed > self.bytes.capacity() {
            let wanted = (self.bytes.capacity() * 2).max(STEP).max(needed).min(self.limit);
            self.bytes.reserve_exact(wanted - self.bytes.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(number: usize, kept: &[u8]) -> Entry<'_> {
        let (at, code) = (Duration::from_micros(number as u64), b'a' + u8::try_from(number % 26).unwrap());
        let from = if number.is_multiple_of(2) { Role::Mta } else { Role::Filter };
        Entry { at, from, is_broken: false, code, length: u32::try_from(number).unwrap(), kept }
    }

    #[test]
    fn the_last_frames_stay_whatever_their_sizes_and_the_memory_is_bounded() {
        let text = vec![b'x'; 3_000];
        for limit in [0, 10, HEAD, HEAD + 1, 100, 1_000, 10_000] {
            let mut ring = Ring::new(limit);
            for number in 0..5_000 {
                ring.push(entry(number, &text[..number * 7 % 300]));
                assert!(ring.bytes.len() <= limit);
                // A deque may round up by a little.
                assert!(ring.allocated() <= limit.next_multiple_of(64), "{} of {limit}", ring.allocated());
            }
            let (frames, lost) = ring.take();
            assert_eq!(frames.len() as u64 + lost, 5_000);
            assert_eq!(frames.is_empty(), limit < HEAD);
            for (frame, number) in frames.iter().zip(5_000 - frames.len()..) {
                assert_eq!(frame.at, Duration::from_micros(number as u64));
                assert_eq!(frame.length, number);
                assert_eq!(frame.from, entry(number, b"").from);
                assert_eq!(frame.kept.len(), (number * 7 % 300).min(limit - HEAD));
            }
        }
    }

    #[test]
    fn a_short_session_takes_little() {
        let mut ring = Ring::new(1 << 20);
        (0..10).for_each(|number| ring.push(entry(number, b"text")));
        assert!(ring.allocated() <= STEP);
        assert_eq!(ring.take().0.len(), 10);
        assert_eq!((ring.take().0.len(), ring.allocated()), (0, 0));
    }
}

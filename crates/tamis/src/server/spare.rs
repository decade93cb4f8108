//! The buffers that connections read into.

use std::cell::Cell;

use bytes::BytesMut;

thread_local! {
    /// One of each size for each thread: whoever waits holds none, unless something of what it read is kept. So few
    /// are needed, and those few stay in the processor's cache.
    static SPARE: [Cell<BytesMut>; 2] = [Cell::default(), Cell::default()];
}

/// The sizes: for the commands of a usual message, and for the largest frame that everybody takes with what an MTA
/// sends along with it.
const SIZES: [usize; 2] = [16 * 1024, 128 * 1024];

/// From this on it was a large one that was needed.
pub(super) const MUCH: usize = SIZES[0];

/// An empty buffer, a large one if much is to come.
pub(super) fn take(much: bool) -> BytesMut {
    let class = usize::from(much);
    let spare = SPARE.with(|spares| spares[class].take());
    if spare.capacity() >= SIZES[class] {
        return spare;
    }
    let mut buf = BytesMut::with_capacity(SIZES[class]);
    // Makes it one that can be frozen and thawed without an allocation each time.
    drop(buf.split());
    buf
}

/// Takes an empty buffer back. One that something else refers to is left with whoever has it.
pub(super) fn give(buf: &mut BytesMut) {
    let Some(class) = SIZES.iter().rposition(|size| buf.try_reclaim(*size)) else { return };
    if buf.capacity() < 2 * SIZES[class] {
        SPARE.with(|spares| spares[class].set(std::mem::take(buf)));
    }
}

/// Moves the little that is in a buffer to one of its own size, and gives the buffer back.
pub(super) fn shrink(buf: &mut BytesMut) {
    if buf.len() < SIZES[0] / 2 && buf.capacity() >= SIZES[0] {
        let kept = BytesMut::from(&buf[..]);
        buf.clear();
        give(buf);
        *buf = kept;
    }
}

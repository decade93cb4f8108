//! Receive buffers that nobody uses.

use std::sync::Mutex;

use bytes::BytesMut;

/// Buffers for whoever has something to read next. An idle connection has none.
#[derive(Debug, Default)]
pub(super) struct Spare(Mutex<Vec<BytesMut>>);

/// How large they are: the commands of a usual message fit in.
pub(super) const SIZE: usize = 8 * 1024;

/// How many are kept. More are in use where messages wait for something, and then one more costs little beside.
const MOST: usize = 16;

impl Spare {
    /// An empty buffer.
    pub(super) fn take(&self) -> BytesMut {
        // Who finds others there goes without: nobody waits for a buffer.
        let spare = self.0.try_lock().ok().and_then(|mut spare| spare.pop());
        spare.unwrap_or_else(|| {
            let mut buf = BytesMut::with_capacity(SIZE);
            // Makes it one that can be frozen and thawed without an allocation each time.
            drop(buf.split());
            buf
        })
    }

    /// Takes a buffer back that is empty and that nothing else refers to.
    pub(super) fn give(&self, mut buf: BytesMut) {
        buf.clear();
        if buf.try_reclaim(SIZE)
            && buf.capacity() < 2 * SIZE
            && let Ok(mut spare) = self.0.try_lock()
            && spare.len() < MOST
        {
            spare.push(buf);
        }
    }
}

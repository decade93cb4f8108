//! A connection inside the process, for tests. It wakes by wakers alone: a paused clock, which runs ahead as soon as
//! nothing but timers is left to wait for, stands still while bytes are under way. It would run ahead of what another
//! process, another thread or the system still has to put into a socket.

use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context as Task, Poll, Waker};

use bytes::{Buf, BufMut, BytesMut};

/// Bytes that one direction holds before its writer has to wait, like a socket's buffer.
const CAPACITY: usize = 128 * 1024;

/// One end of the connection.
#[derive(Debug)]
pub(crate) struct Memory {
    incoming: Arc<Pipe>,
    outgoing: Arc<Pipe>,
}

/// One direction, with one reader and one writer.
#[derive(Debug, Default)]
struct Pipe(Mutex<Content>);

#[derive(Debug, Default)]
struct Content {
    bytes: BytesMut,
    /// The writer writes no more.
    finished: bool,
    /// The reader is gone.
    abandoned: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
    /// How many bytes each write brought.
    #[cfg(test)]
    writes: Vec<usize>,
}

impl Memory {
    /// Both ends.
    pub(crate) fn pair() -> (Self, Self) {
        let (there, back) = (Arc::new(Pipe::default()), Arc::new(Pipe::default()));
        (Self { incoming: back.clone(), outgoing: there.clone() }, Self { incoming: there, outgoing: back })
    }

    pub(super) fn poll_readable(&self, task: &Task<'_>) -> Poll<()> {
        let mut content = self.incoming.lock();
        let ready = content.has_output();
        wait_unless(ready, &mut content.reader, task)
    }

    pub(super) fn has_input(&self) -> bool {
        self.incoming.lock().has_output()
    }

    pub(super) fn poll_writable(&self, task: &Task<'_>) -> Poll<()> {
        let mut content = self.outgoing.lock();
        let ready = content.takes_more();
        wait_unless(ready, &mut content.writer, task)
    }

    pub(super) fn finish(&self) {
        let mut content = self.outgoing.lock();
        content.finished = true;
        wake(&mut content.reader);
    }

    /// Moves bytes into the spare room that the buffer has.
    pub(super) fn try_read(&self, buf: &mut BytesMut) -> io::Result<usize> {
        let mut content = self.incoming.lock();
        if content.bytes.is_empty() {
            return if content.finished { Ok(0) } else { Err(io::ErrorKind::WouldBlock.into()) };
        }
        let count = content.bytes.len().min(buf.capacity() - buf.len());
        buf.put_slice(&content.bytes[..count]);
        content.bytes.advance(count);
        wake(&mut content.writer);
        Ok(count)
    }

    pub(super) fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut content = self.outgoing.lock();
        if content.abandoned {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if !content.takes_more() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let before = content.bytes.len();
        for slice in slices {
            let room = CAPACITY - content.bytes.len();
            content.bytes.extend_from_slice(&slice[..slice.len().min(room)]);
        }
        wake(&mut content.reader);
        let written = content.bytes.len() - before;
        #[cfg(test)]
        content.writes.push(written);
        Ok(written)
    }

    /// How many bytes came with each write of the other end since this was asked last.
    #[cfg(test)]
    pub(crate) fn take_writes(&self) -> Vec<usize> {
        std::mem::take(&mut self.incoming.lock().writes)
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.finish();
        let mut content = self.incoming.lock();
        content.abandoned = true;
        wake(&mut content.writer);
    }
}

impl Pipe {
    fn lock(&self) -> MutexGuard<'_, Content> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Content {
    fn has_output(&self) -> bool {
        !self.bytes.is_empty() || self.finished
    }

    fn takes_more(&self) -> bool {
        self.bytes.len() < CAPACITY || self.abandoned
    }
}

fn wait_unless(ready: bool, place: &mut Option<Waker>, task: &Task<'_>) -> Poll<()> {
    if ready {
        return Poll::Ready(());
    }
    *place = Some(task.waker().clone());
    Poll::Pending
}

fn wake(place: &mut Option<Waker>) {
    if let Some(waker) = place.take() {
        waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::Stream;
    use super::*;

    const TIME: Duration = Duration::from_secs(10);

    fn pair() -> (Stream, Stream) {
        let (a, b) = Memory::pair();
        (Stream::Memory(a), Stream::Memory(b))
    }

    async fn read_all(stream: &Stream) -> Vec<u8> {
        let mut all = BytesMut::new();
        loop {
            all.reserve(1000);
            if stream.read(&mut all).await.unwrap() == 0 {
                return all.to_vec();
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_one_end_writes_the_other_reads_and_no_time_passes() {
        let start = tokio::time::Instant::now();
        let (a, b) = pair();
        let text: Vec<u8> = (0..1_000_000_u32).map(|n| n.to_le_bytes()[n as usize % 4]).collect();
        let write = async {
            a.write(&mut &text[..], TIME).await.unwrap();
            drop(a);
        };
        let ((), read) = tokio::join!(write, read_all(&b));
        assert_eq!(read, text);
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn writer_waits_for_a_reader_that_does_not_read() {
        let (a, b) = pair();
        let error = a.write(&mut &vec![0; CAPACITY + 1][..], TIME).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(b);
        let error = a.write(&mut &b"x"[..], TIME).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }

    #[tokio::test]
    async fn end_is_read_after_what_was_written_before() {
        let (a, b) = pair();
        assert!(!b.has_input().unwrap());
        a.write(&mut &b"bye"[..], TIME).await.unwrap();
        a.finish().unwrap();
        assert!(b.has_input().unwrap());
        assert_eq!(read_all(&b).await, b"bye");
        assert!(b.has_input().unwrap());
        b.write(&mut &b"good night"[..], TIME).await.unwrap();
        drop(b);
        assert_eq!(read_all(&a).await, b"good night");
    }
}

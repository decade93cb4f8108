//! A connection over TCP or a unix socket, by readiness: nothing is held while there is nothing to read.

#[cfg(feature = "testing")]
mod memory;

use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::pin::pin;
use std::task::{Context as Task, Poll};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use socket2::SockRef;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

#[cfg(feature = "testing")]
pub(crate) use memory::Memory;

/// Slices in one vectored write; more are written by the next one.
const SLICES: usize = 64;

/// A stream socket of either kind, or what stands in for one in tests.
#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    #[cfg(feature = "testing")]
    Memory(Memory),
}

impl Stream {
    /// Ready when there is something to read, or the peer is gone. One task at a time may wait for that.
    pub(crate) fn poll_readable(&self, task: &mut Task<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_read_ready(task),
            Self::Unix(stream) => stream.poll_read_ready(task),
            #[cfg(feature = "testing")]
            Self::Memory(stream) => stream.poll_readable(task).map(Ok),
        }
    }

    /// Ready when there is room to write. One task at a time may wait for that.
    fn poll_writable(&self, task: &mut Task<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_write_ready(task),
            Self::Unix(stream) => stream.poll_write_ready(task),
            #[cfg(feature = "testing")]
            Self::Memory(stream) => stream.poll_writable(task).map(Ok),
        }
    }

    /// Reads into the buffer's spare room; `Ok(0)` is the end. When less came than there is room for, the next read
    /// does not ask the system before there is more, as [`try_read`](Self::try_read) does.
    pub(crate) fn poll_read(&mut self, buf: &mut BytesMut, task: &mut Task<'_>) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(stream) => pin!(stream.read_buf(buf)).poll(task),
            Self::Unix(stream) => pin!(stream.read_buf(buf)).poll(task),
            #[cfg(feature = "testing")]
            Self::Memory(stream) => stream.poll_readable(task).map(|()| stream.try_read(buf)),
        }
    }

    /// Whether bytes wait to be read, or the end of the stream does, asking the system and not the reactor.
    pub(crate) fn has_input(&self) -> io::Result<bool> {
        let mut byte = [std::mem::MaybeUninit::uninit()];
        let peeked = match self {
            Self::Tcp(stream) => SockRef::from(stream).peek(&mut byte),
            Self::Unix(stream) => SockRef::from(stream).peek(&mut byte),
            #[cfg(feature = "testing")]
            Self::Memory(stream) => return Ok(stream.has_input()),
        };
        match peeked {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Writes no more, which the peer reads as the end.
    pub(crate) fn finish(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => SockRef::from(stream).shutdown(Shutdown::Write),
            Self::Unix(stream) => SockRef::from(stream).shutdown(Shutdown::Write),
            #[cfg(feature = "testing")]
            Self::Memory(stream) => {
                stream.finish();
                Ok(())
            }
        }
    }

    /// Reads what is there into the buffer's spare room; `Ok(0)` is the end.
    fn try_read(&self, buf: &mut BytesMut) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_read_buf(buf),
            Self::Unix(stream) => stream.try_read_buf(buf),
            #[cfg(feature = "testing")]
            Self::Memory(stream) => stream.try_read(buf),
        }
    }

    /// Reads at least one byte; `Ok(0)` is the end.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub(crate) async fn read(&self, buf: &mut BytesMut) -> io::Result<usize> {
        loop {
            poll_fn(|task| self.poll_readable(task)).await?;
            match self.try_read(buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
        }
    }

    /// Writes everything; the peer must take some of it within each `time`.
    ///
    /// # Cancel safety
    ///
    /// What was written is gone from `from`, nothing else is.
    pub(crate) async fn write(&self, from: &mut impl Buf, time: Duration) -> io::Result<()> {
        while from.has_remaining() {
            match self.try_write(from) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    timeout(time, poll_fn(|task| self.poll_writable(task)))
                        .await
                        .map_err(|_| io::ErrorKind::TimedOut)??;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Writes what fits now.
    pub(crate) fn try_write(&self, from: &mut impl Buf) -> io::Result<usize> {
        let written = if from.chunk().len() == from.remaining() {
            self.try_write_slice(from.chunk())?
        } else {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let count = from.chunks_vectored(&mut slices);
            self.try_write_slices(&slices[..count])?
        };
        from.advance(written);
        Ok(written)
    }

    fn try_write_slice(&self, slice: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_write(slice),
            Self::Unix(stream) => stream.try_write(slice),
            #[cfg(feature = "testing")]
            Self::Memory(stream) => stream.try_write(&[IoSlice::new(slice)]),
        }
    }

    fn try_write_slices(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_write_vectored(slices),
            Self::Unix(stream) => stream.try_write_vectored(slices),
            #[cfg(feature = "testing")]
            Self::Memory(stream) => stream.try_write(slices),
        }
    }
}

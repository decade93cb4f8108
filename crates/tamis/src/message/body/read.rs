//! Reading a body.

use std::future::poll_fn;
use std::io::{self, SeekFrom};
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context as Task, Poll, ready};

use bytes::{Buf, Bytes};
use tamis_proto::frame::MAX_PAYLOAD;
use tokio::io::{AsyncBufRead, AsyncRead, AsyncSeek, ReadBuf};
use tokio::task::{JoinHandle, spawn_blocking};

use super::spool::{SpoolFile, no_runtime};
use super::{Body, BodyError, Piece};

/// Bytes read from a file at once: what fits a packet.
const BLOCK: usize = MAX_PAYLOAD;

/// Reads a [`Body`] anywhere; any number of readers may do so at the same time.
///
/// A reader of a body that is in a file holds one block of it, at most 64 KiB, and must be used within a Tokio runtime.
#[derive(Debug)]
pub struct BodyReader(Cursor);

/// The pieces of a [`Body`] in order, as they lie in memory or are read from the file.
#[derive(Debug)]
pub struct Chunks(Cursor);

#[derive(Debug)]
struct Cursor {
    body: Body,
    /// Where `current` starts.
    at: u64,
    end: u64,
    /// What is there to be read next; may be empty.
    current: Bytes,
    /// A block on its way, and where it starts.
    fetch: Option<(u64, JoinHandle<Result<Bytes, BodyError>>)>,
    /// Whom the piece that was handed out last is shown to.
    recent: Option<Recent>,
}

/// The piece of a body that a reader handed out last, and where it starts: so that it can be told where in the body
/// bytes are that come back.
#[derive(Clone, Debug, Default)]
pub(super) struct Recent(Arc<Mutex<(u64, Bytes)>>);

impl Recent {
    fn set(&self, at: u64, piece: &Bytes) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (at, piece.clone());
    }

    /// Where in the body these bytes are, if they are a part of that piece, and not equal by chance.
    pub(super) fn find(&self, bytes: &Bytes) -> Option<Range<u64>> {
        let (at, piece) = &*self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let offset = bytes.as_ptr().addr().checked_sub(piece.as_ptr().addr())?;
        let inside = offset.checked_add(bytes.len())? <= piece.len();
        let start = at + offset as u64;
        inside.then(|| start..start + bytes.len() as u64)
    }
}

impl BodyReader {
    pub(super) fn new(body: Body) -> Self {
        let end = body.len();
        Self(Cursor::new(body, 0..end))
    }

    /// Shows which piece it handed out last.
    pub(super) fn shown_to(mut self, recent: &Recent) -> Self {
        self.0.recent = Some(recent.clone());
        self
    }

    /// The next piece, as it lies in memory or is read from the file; `None` at the end.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub async fn next_chunk(&mut self) -> Option<io::Result<Bytes>> {
        self.0.next().await
    }

    /// Where it reads next.
    pub fn position(&self) -> u64 {
        self.0.at
    }

    /// The body that it reads.
    pub fn body(&self) -> &Body {
        &self.0.body
    }
}

impl Chunks {
    pub(super) fn new(body: Body, range: Range<u64>) -> Self {
        Self(Cursor::new(body, range))
    }

    /// The next piece, never an empty one; `None` at the end.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<io::Result<Bytes>> {
        self.0.next().await
    }

    /// Bytes that are left.
    pub fn remaining(&self) -> u64 {
        self.0.end - self.0.at
    }
}

impl Cursor {
    fn new(body: Body, range: Range<u64>) -> Self {
        Self { body, at: range.start, end: range.end, current: Bytes::new(), fetch: None, recent: None }
    }

    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        match poll_fn(|task| self.poll_fill(task)).await {
            Ok(()) if self.current.is_empty() => None,
            Ok(()) => {
                if let Some(recent) = &self.recent {
                    recent.set(self.at, &self.current);
                }
                self.at += self.current.len() as u64;
                Some(Ok(std::mem::take(&mut self.current)))
            }
            Err(error) => Some(Err(error)),
        }
    }

    /// Waits until there is something in `current`, but at the end.
    fn poll_fill(&mut self, task: &mut Task<'_>) -> Poll<io::Result<()>> {
        if !self.current.is_empty() || self.at >= self.end {
            return Poll::Ready(Ok(()));
        }
        self.current = match self.body.0.at(self.at..self.end) {
            (_, Piece::Memory(piece)) => piece,
            (left, Piece::File(file, from)) => {
                let at = self.at;
                let count = usize::try_from(left).map_or(BLOCK, |left| left.min(BLOCK));
                // After a seek what was on its way is of no use.
                if self.fetch.as_ref().is_some_and(|(start, _)| *start != at) {
                    self.fetch = None;
                }
                if self.fetch.is_none()
                    && let Some(read) = file.read_now(from, count)
                {
                    self.current = read;
                    return Poll::Ready(Ok(()));
                }
                let (_, fetch) = self.fetch.get_or_insert_with(|| (at, read_block(&file, from, count)));
                let read = ready!(Pin::new(fetch).poll(task));
                self.fetch = None;
                let failed = |stopped| BodyError::spool("read", file.folder(), no_runtime(&stopped));
                read.map_err(failed).flatten()?
            }
        };
        Poll::Ready(Ok(()))
    }

    fn consume(&mut self, count: usize) {
        self.current.advance(count);
        self.at += count as u64;
    }

    fn go_to(&mut self, at: u64) {
        match at.checked_sub(self.at).map(usize::try_from) {
            Some(Ok(ahead)) if ahead <= self.current.len() => self.consume(ahead),
            _ => {
                self.current = Bytes::new();
                self.at = at;
            }
        }
    }
}

fn read_block(file: &Arc<SpoolFile>, at: u64, count: usize) -> JoinHandle<Result<Bytes, BodyError>> {
    let file = file.clone();
    spawn_blocking(move || file.read(at, count))
}

impl AsyncBufRead for BodyReader {
    fn poll_fill_buf(self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<io::Result<&[u8]>> {
        let cursor = &mut self.get_mut().0;
        ready!(cursor.poll_fill(task))?;
        Poll::Ready(Ok(&cursor.current))
    }

    fn consume(mut self: Pin<&mut Self>, count: usize) {
        self.0.consume(count);
    }
}

impl AsyncRead for BodyReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        task: &mut Task<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let ready = ready!(self.as_mut().poll_fill_buf(task))?;
        let count = ready.len().min(buf.remaining());
        buf.put_slice(&ready[..count]);
        self.0.consume(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncSeek for BodyReader {
    fn start_seek(mut self: Pin<&mut Self>, position: SeekFrom) -> io::Result<()> {
        let at = match position {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.0.end.checked_add_signed(by),
            SeekFrom::Current(by) => self.0.at.checked_add_signed(by),
        };
        let outside = || io::Error::new(io::ErrorKind::InvalidInput, "position before the start of a body");
        self.0.go_to(at.ok_or_else(outside)?);
        Ok(())
    }

    fn poll_complete(self: Pin<&mut Self>, _: &mut Task<'_>) -> Poll<io::Result<u64>> {
        Poll::Ready(Ok(self.0.at))
    }
}

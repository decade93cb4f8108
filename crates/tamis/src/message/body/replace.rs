//! New bodies: made whole, then sent in packets.

use std::io;
use std::ops::Range;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context as Task, Poll, ready};

use bytes::{Bytes, BytesMut};
use tamis_proto::frame::MAX_PAYLOAD;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

use super::read::Recent;
use super::{Allowance, Body, BodyCollector, BodyError, BodyReader, Chunks, CrlfLines, Pieces, own_error};
use crate::filter::BoxError;

/// A new body, whole: nothing can go wrong with making it once its first packet leaves, and an MTA that waits for the
/// end of message is told to keep waiting while it is made. Between packets it cannot be told.
///
/// Lines should end in CRLF; [`BodyWriter::crlf_lines`] sees to it.
#[derive(Clone, Debug, Default)]
pub struct Replacement(Body);

impl Replacement {
    /// Reads the new body to its end.
    ///
    /// # Errors
    ///
    /// When the reader fails, or there is no room for what it reads.
    pub async fn read(allowance: &Allowance, from: impl AsyncRead) -> Result<Self, BodyError> {
        let mut to = allowance.writer();
        to.write_from(from).await?;
        to.finish().await
    }

    /// Makes a new body of the old one, at most a piece of each in memory at a time.
    ///
    /// ```
    /// use tamis::message::{Body, BodyReader, BodyWriter, Budget, Replacement};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let allowance = Budget::default().message();
    /// let body = Body::from("Good news.\r\n");
    /// let loud = Replacement::transform(&allowance, &body, async |mut from: BodyReader, to: &mut BodyWriter| {
    ///     while let Some(chunk) = from.next_chunk().await {
    ///         to.push(chunk?.to_ascii_uppercase()).await?;
    ///     }
    ///     Ok(())
    /// });
    /// assert_eq!(loud.await?.body().to_bytes(1024).await?, "GOOD NEWS.\r\n");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`BodyError::Transform`] with the function's error, or the body's own error where that is what it is.
    pub async fn transform<F>(allowance: &Allowance, body: &Body, make: F) -> Result<Self, BodyError>
    where
        F: AsyncFnOnce(BodyReader, &mut BodyWriter) -> Result<(), BoxError>,
    {
        let mut to = allowance.writer();
        let recent = Recent::default();
        to.source = Some((body.clone(), recent.clone()));
        make(body.reader().shown_to(&recent), &mut to).await.map_err(BodyError::of_transform)?;
        to.finish().await
    }

    /// What it is.
    pub fn body(&self) -> &Body {
        &self.0
    }

    /// Cuts it into packets that every MTA takes.
    pub fn packets(&self) -> Packets {
        Packets { chunks: self.0.chunks(), chunk: Bytes::new(), begun: false }
    }
}

/// Takes a body, or bytes as they are, which do not count in any budget.
impl<T: Into<Body>> From<T> for Replacement {
    fn from(body: T) -> Self {
        Self(body.into())
    }
}

/// The packets of a new body, at most 65,535 bytes each. An empty body is one empty packet: none would leave the old
/// one.
#[derive(Debug)]
pub struct Packets {
    chunks: Chunks,
    /// What is left of a piece that is longer than a packet.
    chunk: Bytes,
    begun: bool,
}

impl Packets {
    /// The next packet; `None` when all were given.
    ///
    /// # Errors
    ///
    /// When the file cannot be read. Packets that left already do not make a body: the message must be refused.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<io::Result<Bytes>> {
        if self.chunk.is_empty() {
            match self.chunks.next().await {
                Some(Ok(chunk)) => self.chunk = chunk,
                None if !self.begun => {}
                end => return end,
            }
        }
        self.begun = true;
        Some(Ok(self.chunk.split_to(self.chunk.len().min(MAX_PAYLOAD))))
    }
}

/// Takes a new body, by pieces or as an [`AsyncWrite`].
///
/// Errors through `AsyncWrite` are [`BodyError`]s inside of [`io::Error`]s. What was written counts when
/// [`finish`](Self::finish) has returned.
#[derive(Debug)]
pub struct BodyWriter {
    /// What is new.
    collector: BodyCollector,
    lines: Option<CrlfLines>,
    /// The body that is being transformed.
    source: Option<(Body, Recent)>,
    /// What is taken over from there, not copied, and how much of what is new comes before each part.
    kept: Vec<(u64, Range<u64>)>,
    kept_len: u64,
}

/// Smaller pieces are cheaper to copy than to keep apart.
const COPY_BELOW: usize = 1024;

/// Bytes whose line ends are looked after at once.
const PART: usize = 64 * 1024;

impl BodyWriter {
    pub(super) fn new(collector: BodyCollector) -> Self {
        Self { collector, lines: None, source: None, kept: Vec::new(), kept_len: 0 }
    }

    /// Turns line ends that are a bare LF into CRLF from now on.
    #[must_use]
    pub fn crlf_lines(mut self) -> Self {
        self.set_crlf_lines(true);
        self
    }

    /// Says whether line ends that are a bare LF are turned into CRLF from now on.
    pub fn set_crlf_lines(&mut self, crlf: bool) {
        self.lines = crlf.then(CrlfLines::default);
    }

    /// Appends a piece.
    ///
    /// # Errors
    ///
    /// As [`BodyCollector::push`].
    pub async fn push(&mut self, piece: impl Into<Bytes>) -> Result<(), BodyError> {
        let mut piece = piece.into();
        let Some(lines) = &mut self.lines else {
            return if self.keeps(&piece) { Ok(()) } else { self.collector.push(piece).await };
        };
        while !piece.is_empty() {
            let part = piece.split_to(piece.len().min(PART));
            self.collector.push(lines.convert(part)).await?;
        }
        Ok(())
    }

    /// Takes a piece over that was read from the body that is being transformed, if it is one.
    fn keeps(&mut self, piece: &Bytes) -> bool {
        let Some((_, recent)) = self.source.as_ref().filter(|_| piece.len() >= COPY_BELOW) else {
            return false;
        };
        let Some(range) = recent.find(piece) else { return false };
        let before = self.collector.len();
        match self.kept.last_mut() {
            Some((new, last)) if *new == before && last.end == range.start => last.end = range.end,
            _ => self.kept.push((before, range)),
        }
        self.kept_len += piece.len() as u64;
        true
    }

    /// Appends everything that a reader has.
    ///
    /// # Errors
    ///
    /// [`BodyError::Source`] when the reader fails; as [`push`](Self::push).
    pub async fn write_from(&mut self, from: impl AsyncRead) -> Result<(), BodyError> {
        let mut from = pin!(from);
        let mut buf = BytesMut::new();
        loop {
            buf.reserve(PART);
            if from.read_buf(&mut buf).await.map_err(own_error)? == 0 {
                return Ok(());
            }
            self.push(buf.split().freeze()).await?;
        }
    }

    /// Bytes of the new body so far.
    pub fn len(&self) -> u64 {
        self.collector.len() + self.kept_len
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ends the new body.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push).
    pub async fn finish(self) -> Result<Replacement, BodyError> {
        let new = self.collector.finish().await?;
        let Some((source, _)) = self.source.filter(|_| !self.kept.is_empty()) else {
            return Ok(Replacement(new));
        };
        let (mut pieces, mut at) = (Pieces::default(), 0);
        for (until, range) in self.kept {
            pieces.extend(&new.0, at..until);
            pieces.extend(&source.0, range);
            at = until;
        }
        pieces.extend(&new.0, at..new.len());
        Ok(Replacement(Body(Arc::new(pieces))))
    }
}

impl AsyncWrite for BodyWriter {
    fn poll_write(mut self: Pin<&mut Self>, task: &mut Task<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let Self { collector, lines, .. } = &mut *self;
        ready!(collector.poll_ready(task))?;
        let part = &buf[..buf.len().min(PART)];
        match lines {
            Some(lines) => collector.put(lines.convert(Bytes::copy_from_slice(part))),
            None => collector.put_slice(part),
        }
        Poll::Ready(Ok(part.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<io::Result<()>> {
        ready!(self.collector.poll_ready(task))?;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(task)
    }
}

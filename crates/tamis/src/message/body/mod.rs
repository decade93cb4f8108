//! Bodies: collected in memory or in a file, read, replaced and transformed.
//!
//! A [`Budget`] bounds what the bodies of all messages take, and gives each message an [`Allowance`]. A
//! [`BodyCollector`] takes pieces and makes a [`Body`] of them, which any number of readers read and seek in. A
//! [`Replacement`] is a new body that is complete before the first packet of it leaves.
//!
//! Beside what the budget counts, each message may take 16 KiB in memory, and each reader or writer at work the piece
//! that it works on, up to 64 KiB. Bytes that a filter takes out of a body, or puts in as they are ([`Body::from`]), are
//! its own. What a new body has of the old one, as it was read from it, is not copied. Files are written on
//! the threads for blocking work of a Tokio runtime, and what of them is not in the page cache is read there; its time must be
//! enabled too.

mod blocks;
mod budget;
mod collect;
mod error;
mod line_ends;
mod options;
mod queue;
mod read;
mod replace;
mod spool;

use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

pub use budget::{Allowance, Budget, Usage};
pub use collect::BodyCollector;
pub use error::BodyError;
pub use line_ends::CrlfLines;
pub use options::BodyOptions;
pub use read::{BodyReader, Chunks};
pub use replace::{BodyWriter, Packets, Replacement};

use spool::SpoolFile;

/// A whole body, in memory or in a file without a name. Clones are handles of the same bytes.
///
/// Lines end as they came, which is CRLF from an MTA. What it takes of its [`Budget`] is given back with the last
/// handle, reader or slice of it.
///
/// ```
/// use tamis::message::Body;
/// use tokio::io::AsyncBufReadExt;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let body = Body::from("Dear all,\r\nthank you.\r\n");
/// let mut lines = body.reader().lines();
/// assert_eq!(lines.next_line().await?.as_deref(), Some("Dear all,"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Body(Arc<Pieces>);

/// Where the bytes are, in order and none of it empty, with where each piece ends.
#[derive(Default)]
struct Pieces(Vec<(u64, Piece)>);

#[derive(Clone)]
enum Piece {
    Memory(Bytes),
    /// From somewhere in the file on.
    File(Arc<SpoolFile>, u64),
}

impl Body {
    fn in_memory(blocks: impl IntoIterator<Item = Bytes>) -> Self {
        let mut pieces = Pieces::default();
        blocks.into_iter().for_each(|block| pieces.push(block.len() as u64, Piece::Memory(block)));
        Self(Arc::new(pieces))
    }

    fn in_file(file: SpoolFile) -> Self {
        let mut pieces = Pieces::default();
        pieces.push(file.len(), Piece::File(Arc::new(file), 0));
        Self(Arc::new(pieces))
    }

    /// Its bytes.
    pub fn len(&self) -> u64 {
        self.0.len()
    }

    /// Whether there is no byte in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it is in a file, or a part of it.
    pub fn is_spooled(&self) -> bool {
        self.0.0.iter().any(|(_, piece)| matches!(piece, Piece::File(..)))
    }

    /// Reads it from the start.
    pub fn reader(&self) -> BodyReader {
        BodyReader::new(self.clone())
    }

    /// Its pieces in order, not copied where they are in memory.
    pub fn chunks(&self) -> Chunks {
        self.chunks_of(0..self.len())
    }

    /// The pieces of a part of it; what is beyond the end is left out.
    pub fn chunks_of(&self, range: Range<u64>) -> Chunks {
        let end = range.end.min(self.len());
        Chunks::new(self.clone(), range.start.min(end)..end)
    }

    /// All of it in one piece, not copied where it lies so. The piece does not count in the [`Budget`], unless it is
    /// the body's own.
    ///
    /// # Errors
    ///
    /// [`BodyError::AboveLimit`] if it is longer than `limit`; when the file cannot be read.
    pub async fn to_bytes(&self, limit: usize) -> Result<Bytes, BodyError> {
        let length = self.len();
        let len = usize::try_from(length).ok().filter(|len| *len <= limit);
        let len = len.ok_or(BodyError::AboveLimit { length, limit })?;
        if let [(_, Piece::Memory(block))] = &self.0.0[..] {
            return Ok(block.clone());
        }
        let mut whole = BytesMut::with_capacity(len);
        let mut chunks = self.chunks();
        while let Some(chunk) = chunks.next().await {
            whole.extend_from_slice(&chunk.map_err(own_error)?);
        }
        Ok(whole.freeze())
    }
}

/// Readers fail with errors of this module inside.
fn own_error(error: io::Error) -> BodyError {
    error.downcast().unwrap_or_else(BodyError::Source)
}

impl Pieces {
    fn len(&self) -> u64 {
        self.0.last().map_or(0, |(end, _)| *end)
    }

    fn push(&mut self, len: u64, piece: Piece) {
        if len > 0 {
            self.0.push((self.len() + len, piece));
        }
    }

    /// What lies in one piece from the start of the range on, and how much of it; the range is not empty and inside.
    fn at(&self, range: Range<u64>) -> (u64, Piece) {
        let index = self.0.partition_point(|(end, _)| *end <= range.start);
        let start = index.checked_sub(1).map_or(0, |before| self.0[before].0);
        let (end, piece) = &self.0[index];
        let (from, len) = (range.start - start, range.end.min(*end) - range.start);
        let piece = match piece {
            Piece::Memory(block) => {
                let offset = |at: u64| usize::try_from(at).expect("inside a block");
                Piece::Memory(block.slice(offset(from)..offset(from + len)))
            }
            Piece::File(file, at) => Piece::File(file.clone(), at + from),
        };
        (len, piece)
    }

    /// Appends a part of others, which is inside of them.
    fn extend(&mut self, others: &Self, mut range: Range<u64>) {
        while !range.is_empty() {
            let (len, piece) = others.at(range.clone());
            self.push(len, piece);
            range.start += len;
        }
    }
}

/// Takes the bytes as they are; they do not count in any budget.
impl<T: Into<Bytes>> From<T> for Body {
    fn from(bytes: T) -> Self {
        Self::in_memory([bytes.into()])
    }
}

impl Default for Body {
    fn default() -> Self {
        Self::from(Bytes::new())
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.is_spooled() { "a file" } else { "memory" };
        write!(f, "Body({} bytes in {place})", self.len())
    }
}

#[cfg(test)]
mod tests;

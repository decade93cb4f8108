//! Line ends as SMTP has them.

use bytes::{BufMut, Bytes, BytesMut};
use memchr::memchr_iter;

/// Turns line ends that are a bare LF into CRLF, piece by piece. A bare CR stays what it is.
///
/// ```
/// use tamis::message::body::CrlfLines;
///
/// let mut lines = CrlfLines::default();
/// assert_eq!(lines.convert("one\ntwo\r".into()), "one\r\ntwo\r");
/// assert_eq!(lines.convert("\nthree\n".into()), "\nthree\r\n");
/// assert_eq!(lines.converted(), 2);
/// ```
#[derive(Clone, Debug, Default)]
pub struct CrlfLines {
    /// The last piece ended in a CR.
    after_cr: bool,
    converted: u64,
}

impl CrlfLines {
    /// Converts the next piece; one that needs nothing is not copied.
    #[must_use]
    pub fn convert(&mut self, piece: Bytes) -> Bytes {
        let Some(last) = piece.last() else { return piece };
        let after_cr = std::mem::replace(&mut self.after_cr, *last == b'\r');
        let is_bare = |at: &usize| match at.checked_sub(1) {
            Some(before) => piece[before] != b'\r',
            None => !after_cr,
        };
        let count = memchr_iter(b'\n', &piece).filter(is_bare).count();
        if count == 0 {
            return piece;
        }
        self.converted += count as u64;
        let mut converted = BytesMut::with_capacity(piece.len() + count);
        let mut done = 0;
        for at in memchr_iter(b'\n', &piece).filter(is_bare) {
            converted.put_slice(&piece[done..at]);
            converted.put_slice(b"\r\n");
            done = at + 1;
        }
        converted.put_slice(&piece[done..]);
        converted.freeze()
    }

    /// Line ends that were converted; while this is 0, nothing was changed.
    pub fn converted(&self) -> u64 {
        self.converted
    }
}

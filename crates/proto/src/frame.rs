//! Frames: the length-prefixed unit of the protocol (spec §1).

use crate::codec;
use crate::error::Fault;

/// Bytes of the length prefix.
pub const LENGTH_BYTES: usize = 4;

/// Largest payload a peer accepts unless a larger size was negotiated (`MILTER_MAX_DATA_SIZE`).
#[doc(alias = "MILTER_CHUNK_SIZE")]
#[doc(alias = "MILTER_MAX_DATA_SIZE")]
pub const MAX_PAYLOAD: usize = 65_535;

/// A whole frame in a receive buffer: the code letter and what follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'b> {
    /// The command or reply letter.
    pub code: u8,
    /// Everything after the letter.
    pub payload: &'b [u8],
}

impl<'b> Frame<'b> {
    /// Takes the first frame off `buf`: the bytes it used and the frame, or `None` while it is incomplete.
    ///
    /// `limit` bounds the payload. The length is checked as soon as its four bytes are there, so that
    /// nobody waits for, or makes room for, a frame that will be refused.
    ///
    /// # Errors
    ///
    /// [`Fault::EmptyFrame`] for a length of 0 and [`Fault::FrameTooLong`] for one above `limit`.
    pub fn parse(buf: &'b [u8], limit: usize) -> Result<Option<(usize, Self)>, Fault> {
        let Some(total) = total(buf, limit)? else { return Ok(None) };
        match buf.get(LENGTH_BYTES..total) {
            Some([code, payload @ ..]) => Ok(Some((total, Self { code: *code, payload }))),
            _ => Ok(None),
        }
    }

    /// Bytes of this frame on the wire.
    #[allow(clippy::len_without_is_empty)] // a frame is never empty
    pub fn len(&self) -> usize {
        LENGTH_BYTES + 1 + self.payload.len()
    }
}

/// Returns the size on the wire of the frame that starts `buf`, once its length is known.
///
/// A driver uses it to tell how many more bytes to read before a frame is whole.
///
/// # Errors
///
/// As [`Frame::parse`].
pub fn total(buf: &[u8], limit: usize) -> Result<Option<usize>, Fault> {
    let Some(length) = codec::peek_u32(buf) else { return Ok(None) };
    // A u32 fits usize on every platform that has a socket to read from.
    let length = length as usize;
    match length {
        0 => Err(Fault::EmptyFrame),
        _ if length - 1 > limit => Err(Fault::FrameTooLong { length: length - 1, limit }),
        _ => Ok(Some(LENGTH_BYTES + length)),
    }
}

/// Returns how many bytes at the start of `buf` are whole frames.
///
/// Stops, without an error, before the first frame that is incomplete or malformed.
pub fn whole(buf: &[u8], limit: usize) -> usize {
    let mut at = 0;
    while let Ok(Some(total)) = total(&buf[at..], limit) {
        if buf.len() - at < total {
            break;
        }
        at += total;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frame_needs_every_byte_of_its_length() {
        let wire = [0, 0, 0, 3, b'H', b'a', 0, 9];
        for cut in 0..7 {
            assert_eq!(Frame::parse(&wire[..cut], 10), Ok(None), "{cut} bytes");
        }
        let (used, frame) = Frame::parse(&wire, 10).unwrap().unwrap();
        assert_eq!((used, frame.code, frame.payload), (7, b'H', &b"a\0"[..]));
        assert_eq!(frame.len(), 7);
    }

    #[test]
    fn length_is_checked_as_unsigned_before_the_payload_arrives() {
        assert_eq!(Frame::parse(&[0; 4], 10), Err(Fault::EmptyFrame));
        for wire in [[0, 0, 0, 12], [0x7f, 0xff, 0xff, 0xff], [0x80, 0, 0, 0], [0xff; 4]] {
            assert!(
                matches!(Frame::parse(&wire, 10), Err(Fault::FrameTooLong { limit: 10, .. })),
                "{wire:?}"
            );
        }
        assert_eq!(Frame::parse(&[0, 0, 0, 11], 10), Ok(None));
    }

    #[test]
    fn whole_counts_complete_frames_only() {
        let wire = [0, 0, 0, 1, b'A', 0, 0, 0, 2, b'H', 0, 0, 0, 0, 2, b'H'];
        assert_eq!(whole(&wire, 10), 11);
        assert_eq!(whole(&wire[..10], 10), 5);
        assert_eq!(whole(&[0, 0, 0, 0], 10), 0);
    }
}

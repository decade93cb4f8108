//! Copies of what is kept for longer than its event.

use bytes::{Bytes, BytesMut};

use super::Event;

/// Makes copies of the bytes of events, one behind the other: a slice of what was read would keep all of that read.
#[derive(Debug, Default)]
pub(crate) struct Copies(BytesMut);

/// Room for the addresses of a usual message, made at once.
const ROOM: usize = 256;

impl Copies {
    /// The same event with bytes of its own.
    pub(crate) fn of(&mut self, event: &Event) -> Event {
        event.clone().map(|bytes| self.copy(&bytes))
    }

    /// Keeps no memory but of the usual size, for other copies when these are gone.
    pub(crate) fn clear(&mut self) {
        if !self.0.try_reclaim(ROOM) || self.0.capacity() > 2 * ROOM {
            self.0 = BytesMut::new();
        }
    }

    fn copy(&mut self, bytes: &[u8]) -> Bytes {
        if self.0.capacity() < bytes.len() && !self.0.try_reclaim(bytes.len()) {
            self.0 = BytesMut::with_capacity(bytes.len().max(ROOM));
        }
        self.0.extend_from_slice(bytes);
        self.0.split().freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_equal_and_elsewhere() {
        let mut copies = Copies::default();
        for length in [0, 1, 100, 200, 300, 5_000, 2] {
            let event = Event::Helo(Bytes::from(vec![b'x'; length]));
            let copy = copies.of(&event);
            assert_eq!(copy, event);
            let (Event::Helo(old), Event::Helo(new)) = (&event, &copy) else { unreachable!("it is one") };
            assert!(length == 0 || old.as_ptr() != new.as_ptr());
        }
    }
}

//! One connection that was made otherwise than by a listener.

use std::sync::Arc;

use tracing::Instrument;

use super::accept::hold;
use super::admission::Place;
use super::connection::Connection;
use super::witness::Witness;
use super::{Counters, Options, Shared, Shutdown};
use crate::filter::{Filter, Peer};
use crate::stream::Stream;

/// Serves one connection to its end, as a server does that has no other.
pub(crate) async fn serve_single<F: Filter>(
    stream: Stream,
    peer: Peer,
    filter: F,
    options: Options,
    witness: Witness,
) {
    let shared = Arc::new(Shared::new(options, Shutdown::new(), Counters::default(), witness));
    let Ok(place) = Place::take(&shared, peer) else { return };
    shared.counters.opened();
    let span = tracing::error_span!("connection", id = place.peer().id);
    let watch = shared.watch.clone();
    tokio::select! {
        biased;
        () = hold(Connection::new(stream, filter, shared, place)).instrument(span) => {}
        () = watch.run() => {}
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use bytes::{Buf, BytesMut};
    use tamis_proto::{Actions, Needs, Stage, Verdict};

    use super::*;
    use crate::filter::{Context, Event, PeerAddress, Reply};
    use crate::stream::Memory;

    /// Adds header fields and replaces the body, at once or in a handler that has to be waited for.
    struct Edits {
        replace: fn(&mut Context<'_, ()>),
    }

    impl Filter for Edits {
        type Message = ();

        fn needs(&self) -> Needs {
            Needs::everything().require(Actions::ADD_HEADERS | Actions::REPLACE_BODY)
        }

        async fn on(&mut self, cx: &mut Context<'_, ()>, event: Event) -> Reply {
            if event.stage() == Some(Stage::EndOfMessage) {
                tokio::task::yield_now().await;
                for n in 0..10 {
                    cx.add_header(format!("X-{n}"), "value")?;
                }
                (self.replace)(cx);
            }
            Ok(Verdict::Continue)
        }
    }

    fn frame(code: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len() + 1).unwrap().to_be_bytes();
        [&length[..], &[code], payload].concat()
    }

    async fn codes(stream: &mut Stream, last: u8) -> Vec<u8> {
        let (mut buf, mut codes) = (BytesMut::new(), Vec::new());
        while codes.last() != Some(&last) || !buf.is_empty() {
            match buf.first_chunk::<5>() {
                Some([a, b, c, d, code])
                    if buf.len() >= 4 + u32::from_be_bytes([*a, *b, *c, *d]) as usize =>
                {
                    codes.push(*code);
                    buf.advance(4 + u32::from_be_bytes([*a, *b, *c, *d]) as usize);
                }
                _ => {
                    buf.reserve(64 * 1024);
                    assert!(stream.read(&mut buf).await.unwrap() > 0, "closed after {codes:?}");
                }
            }
        }
        codes
    }

    fn writes(stream: &Stream) -> usize {
        let Stream::Memory(memory) = stream else { unreachable!("it is one") };
        memory.take_writes().len()
    }

    async fn say(stream: &mut Stream, bytes: Vec<u8>, last: u8) -> (usize, usize) {
        stream.write(&mut &bytes[..], Duration::from_secs(10)).await.unwrap();
        let codes = codes(stream, last).await;
        (codes.len(), writes(stream))
    }

    async fn one_write_for_each_step(replace: fn(&mut Context<'_, ()>)) {
        let (ours, theirs) = Memory::pair();
        let mut mta = Stream::Memory(ours);
        let peer = Peer {
            id: 1,
            address: PeerAddress::Unix(Arc::from(std::path::Path::new("x"))),
            credentials: None,
        };
        let served =
            serve_single(Stream::Memory(theirs), peer, Edits { replace }, Options::default(), Witness::new());
        let played = async move {
            let offer = [0, 0, 0, 6, 0, 0, 1, 0xff, 0, 0x1f, 0xff, 0xff];
            assert_eq!(say(&mut mta, frame(b'O', &offer), b'O').await, (1, 1));
            assert_eq!(say(&mut mta, frame(b'H', b"host\0"), b'c').await, (1, 1));
            for _ in 0..3 {
                let steps: [(u8, &[u8]); 6] = [
                    (b'M', b"<a@b>\0"),
                    (b'R', b"<c@d>\0"),
                    (b'T', b""),
                    (b'L', b"A\0b\0"),
                    (b'N', b""),
                    (b'B', b"body\r\n"),
                ];
                for (code, payload) in steps {
                    assert_eq!(
                        say(&mut mta, frame(code, payload), b'c').await,
                        (1, 1),
                        "{}",
                        char::from(code)
                    );
                }
                // Ten header fields, a body and the verdict.
                assert_eq!(say(&mut mta, frame(b'E', b""), b'c').await, (12, 1));
            }
            // A burst whose answers are all ready at once is one step too.
            let burst =
                [frame(b'M', b"<>\0"), frame(b'R', b"<c@d>\0"), frame(b'R', b"<e@f>\0"), frame(b'T', b"")];
            assert_eq!(say(&mut mta, burst.concat(), b'c').await, (4, 1));
        };
        tokio::join!(served, played);
    }

    #[tokio::test]
    async fn everything_said_to_a_step_leaves_in_one_write() {
        one_write_for_each_step(|cx| cx.replace_body(vec![b'x'; 2_000]).unwrap()).await;
    }

    #[tokio::test]
    async fn a_body_that_was_made_as_a_whole_leaves_in_one_write_with_the_verdict() {
        one_write_for_each_step(|cx| cx.set_body(vec![b'x'; 2_000]).unwrap()).await;
    }
}

//! The content of a message as the chain keeps it: for edits that meet, for filters that want the body whole, and for
//! those that are shown it later than it comes.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::task::{Context as Task, Poll, Waker};

use bytes::{Bytes, BytesMut};
use tamis_proto::command::Header;
use tamis_proto::edit::model::{Field, Profile};
use tamis_proto::frame::MAX_PAYLOAD;

use super::edits::NewBody;
use crate::filter::Event;
use crate::message::body::Chunks;
use crate::message::{Allowance, Body, BodyCollector, BodyError};

/// What is kept of the content of one message.
#[derive(Default)]
pub(super) struct Content {
    pub(super) headers: Vec<Header<Bytes>>,
    pub(super) has_end_of_headers: bool,
    collector: Option<BodyCollector>,
    body: Option<Body>,
}

impl Content {
    pub(super) fn new(allowance: Option<Allowance>) -> Self {
        Self { collector: allowance.map(|allowance| allowance.collector()), ..Self::default() }
    }

    /// Keeps what belongs to it. `false` if [`ready`](Self::ready) has to be waited for before the next event.
    pub(super) fn keep(&mut self, event: &Event, keeps_headers: bool) -> bool {
        match (event, &mut self.collector) {
            (Event::Header(header), _) if keeps_headers => self.headers.push(header.clone()),
            (Event::EndOfHeaders, _) => self.has_end_of_headers = true,
            (Event::Body(piece), Some(collector)) => {
                collector.put(piece.clone());
                return collector.is_ready();
            }
            (Event::EndOfMessage, Some(collector)) => {
                collector.start_flush();
                if !collector.is_ready() {
                    return false;
                }
                let finish = self.collector.take().expect("it was there").finish();
                match pin!(finish).poll(&mut Task::from_waker(Waker::noop())) {
                    Poll::Ready(body) => self.body = body.ok(),
                    Poll::Pending => unreachable!("a collector that is ready has nothing to wait for"),
                }
            }
            _ => {}
        }
        true
    }

    /// Waits while there is no room for more of a body, and at the end until all of it is there. After an error
    /// nothing more of it is kept.
    ///
    /// # Cancel safety
    ///
    /// It goes on where it was when it is called again.
    pub(super) async fn ready(&mut self, complete: bool) -> Result<(), BodyError> {
        let Some(collector) = &mut self.collector else { return Ok(()) };
        let ready = collector.ready().await;
        if ready.is_err() || complete {
            let collector = self.collector.take().expect("it was there before");
            ready?;
            self.body = Some(collector.finish().await?);
        }
        Ok(())
    }

    /// Keeps nothing more of the body.
    pub(super) fn give_up_body(&mut self) {
        self.collector = None;
        self.body = None;
    }

    /// The body, at end of message, unless it could not be kept.
    pub(super) fn body(&self) -> Option<&Body> {
        self.body.as_ref()
    }

    /// The header as the message has it.
    pub(super) fn fields(&self) -> Vec<Field> {
        let field = |header: &Header<Bytes>| {
            let value = if header.implied_space {
                [b" ", &*header.value].concat().into()
            } else {
                header.value.clone()
            };
            Field { name: header.name.clone(), value }
        };
        self.headers.iter().map(field).collect()
    }
}

/// A header field as a filter gets it that does or does not deal with the space after the colon itself.
pub(super) fn for_filter(header: &Header<Bytes>, own_space: bool) -> Header<Bytes> {
    let mut header = header.clone();
    if !own_space && !header.implied_space {
        if header.value.first() == Some(&b' ') {
            header.value = header.value.slice(1..);
        }
        header.implied_space = true;
    }
    header
}

/// A field of the model as it comes over the wire.
pub(super) fn as_sent(field: &Field, spaced: bool) -> Header<Bytes> {
    Header { name: field.name.clone(), value: field.wire_value(spaced), implied_space: !spaced }
}

/// A new body as the MTA shows it to the next filter.
pub(super) async fn as_stored(
    new: &NewBody,
    profile: Profile,
    allowance: &Allowance,
) -> Result<Body, BodyError> {
    let mut writer = allowance.writer().crlf_lines();
    let mut last = None;
    match new {
        NewBody::Pieces(pieces) => {
            for piece in pieces {
                last = piece.last().copied().or(last);
                writer.push(piece.clone()).await?;
            }
        }
        NewBody::Whole(replacement) => {
            let mut chunks = replacement.body().chunks();
            while let Some(chunk) = chunks.next().await {
                let chunk = chunk.map_err(BodyError::Source)?;
                last = chunk.last().copied().or(last);
                writer.push(chunk).await?;
            }
        }
    }
    // Sendmail leaves an unterminated last line as it is until the message leaves.
    if profile == Profile::Postfix && last.is_some_and(|last| last != b'\n') {
        writer.set_crlf_lines(false);
        writer.push(&b"\r\n"[..]).await?;
    }
    writer.finish().await.map(|replacement| replacement.body().clone())
}

/// The packets of a body, filled as MTAs do it: what a filter says of the first one must not depend on the pieces that
/// the filter before it made the body of.
pub(super) struct Packets {
    chunks: Chunks,
    payload: usize,
    waiting: VecDeque<Bytes>,
    size: usize,
}

impl Packets {
    pub(super) fn of(body: &Body, payload: usize) -> Self {
        Self { chunks: body.chunks(), payload: payload.max(MAX_PAYLOAD), waiting: VecDeque::new(), size: 0 }
    }

    pub(super) async fn next(&mut self) -> Option<io::Result<Bytes>> {
        while self.size < self.payload {
            match self.chunks.next().await {
                Some(Ok(chunk)) if chunk.is_empty() => {}
                Some(Ok(chunk)) => {
                    self.size += chunk.len();
                    self.waiting.push_back(chunk);
                }
                Some(Err(error)) => return Some(Err(error)),
                None => break,
            }
        }
        (self.size > 0).then(|| Ok(self.take(self.size.min(self.payload))))
    }

    fn take(&mut self, size: usize) -> Bytes {
        self.size -= size;
        let first = self.waiting.front_mut().expect("so much is waiting");
        if first.len() > size {
            return first.split_to(size);
        }
        let first = self.waiting.pop_front().expect("it was there");
        if first.len() == size {
            return first;
        }
        let mut packet = BytesMut::with_capacity(size);
        packet.extend_from_slice(&first);
        while packet.len() < size {
            let next = self.waiting.front_mut().expect("so much is waiting");
            packet.extend_from_slice(&next.split_to(next.len().min(size - packet.len())));
            if next.is_empty() {
                self.waiting.pop_front();
            }
        }
        packet.freeze()
    }
}

/// Cuts a piece of a body into pieces that fit a packet.
pub(super) fn cut(mut piece: Bytes, payload: usize) -> impl Iterator<Item = Bytes> {
    let payload = payload.max(MAX_PAYLOAD);
    std::iter::from_fn(move || (!piece.is_empty()).then(|| piece.split_to(piece.len().min(payload))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Budget;

    #[tokio::test]
    async fn pieces_of_any_size_fill_packets() {
        let whole: Bytes = (0..200_000_u32).map(|number| number.to_le_bytes()[0]).collect();
        for size in [1, 1000, MAX_PAYLOAD - 1, MAX_PAYLOAD, MAX_PAYLOAD + 1, 150_000] {
            let mut writer = Budget::default().message().writer();
            let mut from = whole.clone();
            while !from.is_empty() {
                writer.push(from.split_to(size.min(from.len()))).await.unwrap();
            }
            let body = writer.finish().await.unwrap();
            let (mut packets, mut made) = (Packets::of(body.body(), 1), Vec::new());
            while let Some(packet) = packets.next().await {
                made.push(packet.unwrap());
            }
            let (last, full) = made.split_last().unwrap();
            assert!(full.iter().all(|packet| packet.len() == MAX_PAYLOAD), "pieces of {size}");
            assert!(last.len() <= MAX_PAYLOAD, "pieces of {size}");
            assert_eq!(made.concat(), whole, "pieces of {size}");
        }
    }
}

//! The content of a message as the chain keeps it: for edits that meet, for filters that want the body whole, and for
//! those that are shown it later than it comes.

use std::future::Future;
use std::pin::pin;
use std::task::{Context as Task, Poll, Waker};

use bytes::Bytes;
use tamis_proto::command::Header;
use tamis_proto::edit::model::{Field, Profile};
use tamis_proto::frame::MAX_PAYLOAD;

use super::edits::NewBody;
use crate::filter::Event;
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

/// Cuts a piece of a body into pieces that fit a packet.
pub(super) fn cut(mut piece: Bytes, payload: usize) -> impl Iterator<Item = Bytes> {
    let payload = payload.max(MAX_PAYLOAD);
    std::iter::from_fn(move || (!piece.is_empty()).then(|| piece.split_to(piece.len().min(payload))))
}

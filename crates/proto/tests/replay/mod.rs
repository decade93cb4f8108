//! Plays the data files against the two sessions, with the peer's bytes cut in every way.
#![allow(dead_code, unused_imports, reason = "no test file uses all of it")]

mod filter;
mod mta;

use bytes::Buf;
use tamis_proto::command::Client;
use tamis_proto::{Event, Frame, Output};

pub(crate) use filter::{Ended, Scenario, needs};
pub(crate) use mta::{Op, Player};

/// An event as the files write it: its name and its strings.
pub(crate) type Described = (String, Vec<Vec<u8>>);

/// How the peer's bytes arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Feed {
    /// All at once, as from a peer that does not wait for answers.
    Whole,
    /// Step by step, waiting for what each of them brings.
    Steps,
    /// In two, cut at this position of the stream; step by step where it matters when the bytes come.
    Split(usize),
    /// Byte by byte, waiting as with `Steps`.
    Bytes,
}

/// Longer streams are not cut everywhere but around their ends and here and there.
const EVERYWHERE: usize = 8 * 1024;

impl Feed {
    /// Every way to cut a stream of this length.
    pub(crate) fn all(length: usize) -> impl Iterator<Item = Self> {
        let splits = (1..length).filter(move |at| {
            length <= EVERYWHERE || *at < 64 || *at > length - 64 || at.is_multiple_of(4999)
        });
        [Self::Whole, Self::Steps, Self::Bytes].into_iter().chain(splits.map(Self::Split))
    }

    /// Where the bytes from `start` to `end` of the stream are cut; `end` included.
    pub(crate) fn cuts(self, start: usize, end: usize) -> Vec<usize> {
        match self {
            Self::Bytes => (start + 1..=end).collect(),
            Self::Split(at) if start < at && at < end => vec![at, end],
            _ => vec![end],
        }
    }
}

/// The frame that the bytes are.
pub(crate) fn frame(bytes: &[u8]) -> Frame<'_> {
    let (used, frame) = Frame::parse(bytes, usize::MAX - 1).expect("a frame").expect("a whole frame");
    assert_eq!(used, bytes.len(), "one frame");
    frame
}

/// The frames that the bytes are.
pub(crate) fn frames(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    while let Ok(Some((used, _))) = Frame::parse(bytes, usize::MAX - 1) {
        frames.push(bytes[..used].to_vec());
        bytes = &bytes[used..];
    }
    assert!(bytes.is_empty(), "whole frames");
    frames
}

/// Takes what waits to be written.
pub(crate) fn drain(output: &mut Output, into: &mut Vec<u8>) {
    while output.has_remaining() {
        let chunk = output.chunk();
        into.extend_from_slice(chunk);
        let len = chunk.len();
        output.advance(len);
    }
}

/// An event of the filter's session as the files write it.
pub(crate) fn describe(event: &Event<&[u8]>) -> Described {
    let args: Vec<Vec<u8>> = match event {
        Event::Connect(connect) => {
            let host = connect.host.to_vec();
            match connect.client() {
                Client::Inet(address) => {
                    let family = if address.is_ipv4() { "inet" } else { "inet6" };
                    vec![
                        host,
                        family.into(),
                        address.ip().to_string().into(),
                        address.port().to_string().into(),
                    ]
                }
                Client::Unix(path) => vec![host, "unix".into(), path.to_vec()],
                Client::Unknown => vec![host, "unknown".into()],
            }
        }
        Event::Helo(text) | Event::Unknown(text) | Event::Body(text) => vec![text.to_vec()],
        Event::Mail(path) | Event::Rcpt(path) => {
            std::iter::once(path.address).chain(path.args()).map(<[u8]>::to_vec).collect()
        }
        Event::Header(header) => vec![header.name.to_vec(), header.value.to_vec()],
        _ => Vec::new(),
    };
    (event.name().to_owned(), args)
}

/// Two descriptions side by side, short enough to read.
pub(crate) fn show(described: &Described) -> String {
    let args: Vec<String> = described
        .1
        .iter()
        .map(|arg| format!("{:?}", arg[..arg.len().min(60)].escape_ascii().to_string()))
        .collect();
    format!("{} {}", described.0, args.join(" "))
}

//! The raw MTA.

use std::path::Path;

use bytes::{Buf, Bytes, BytesMut};
use socket2::SockRef;
use tamis::proto::Frame as Parsed;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use super::{frames, within};

/// What came from the filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub code: char,
    pub payload: Bytes,
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// An MTA that writes whatever it is told to.
pub struct Mta {
    stream: Stream,
    buf: BytesMut,
}

impl Mta {
    pub async fn unix(path: &Path) -> Self {
        Self::new(Stream::Unix(within(UnixStream::connect(path)).await.unwrap()))
    }

    pub async fn tcp(address: std::net::SocketAddr) -> Self {
        let stream = within(TcpStream::connect(address)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self::new(Stream::Tcp(stream))
    }

    pub fn of_tcp(stream: TcpStream) -> Self {
        Self::new(Stream::Tcp(stream))
    }

    fn new(stream: Stream) -> Self {
        Self { stream, buf: BytesMut::new() }
    }

    pub async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        within(self.write_slowly(bytes.as_ref())).await.unwrap();
    }

    /// Writes for as long as the filter takes it.
    pub async fn write_slowly(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match &mut self.stream {
            Stream::Tcp(stream) => stream.write_all(bytes).await,
            Stream::Unix(stream) => stream.write_all(bytes).await,
        }
    }

    /// Writes one frame and reads the answer.
    pub async fn ask(&mut self, bytes: impl AsRef<[u8]>) -> Frame {
        self.write(bytes).await;
        self.reply().await
    }

    /// Writes frames, each of which must be answered with continue.
    pub async fn go(&mut self, frames: impl IntoIterator<Item = impl AsRef<[u8]>>) {
        for frame in frames {
            let frame = frame.as_ref();
            let reply = self.ask(frame).await;
            assert_eq!(reply.code, 'c', "answer {reply:?} to {:?}", Bytes::copy_from_slice(frame));
        }
    }

    /// Negotiates with everything offered; returns the answer's payload.
    pub async fn negotiate(&mut self) -> Bytes {
        let reply = self.ask(frames::offer()).await;
        assert_eq!(reply.code, 'O');
        reply.payload
    }

    /// The next frame from the filter.
    pub async fn reply(&mut self) -> Frame {
        within(self.next()).await.expect("the filter closed the connection instead of answering")
    }

    /// The letters of the next frames.
    pub async fn codes(&mut self, count: usize) -> String {
        let mut codes = String::new();
        for _ in 0..count {
            codes.push(self.reply().await.code);
        }
        codes
    }

    /// The next frame; `None` when the filter closed the connection.
    pub async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some((used, frame)) = Parsed::parse(&self.buf, usize::MAX >> 1).unwrap() {
                let frame =
                    Frame { code: char::from(frame.code), payload: Bytes::copy_from_slice(frame.payload) };
                self.buf.advance(used);
                return Some(frame);
            }
            let read = match &mut self.stream {
                Stream::Tcp(stream) => stream.read_buf(&mut self.buf).await,
                Stream::Unix(stream) => stream.read_buf(&mut self.buf).await,
            };
            match read {
                Ok(0) => {
                    assert!(self.buf.is_empty(), "the filter closed the connection inside a frame");
                    return None;
                }
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Waits until the filter closes the connection, and makes sure that it says nothing before.
    pub async fn closed(&mut self) {
        let said = within(self.next()).await;
        assert_eq!(said, None, "said instead of closing");
    }

    /// Ends the session in an orderly way, with nothing left unread.
    pub async fn quit(mut self) {
        self.write(frames::quit()).await;
        self.closed().await;
    }

    /// Goes away with a reset, or as near to one as the kind of socket has.
    pub fn reset(self) {
        if let Stream::Tcp(stream) = &self.stream {
            SockRef::from(stream).set_linger(Some(std::time::Duration::ZERO)).unwrap();
        }
    }
}

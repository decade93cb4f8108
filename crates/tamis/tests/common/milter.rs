//! A milter that writes whatever it is told to.

use std::path::Path;

use bytes::{Buf, Bytes, BytesMut};
use tamis::SocketSpec;
use tamis::proto::Frame as Parsed;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::mta::Frame;
use super::within;

/// Where a fake milter listens.
pub enum FakeMilter {
    Tcp(TcpListener),
    Unix(UnixListener, TempDir),
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// One connection to it.
pub struct Asked {
    stream: Stream,
    buf: BytesMut,
}

impl FakeMilter {
    pub async fn tcp() -> Self {
        Self::Tcp(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    pub fn unix() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::Unix(UnixListener::bind(Self::path(&folder)).unwrap(), folder)
    }

    fn path(folder: &TempDir) -> std::path::PathBuf {
        folder.path().join("nobody.sock")
    }

    /// One of each kind.
    pub async fn both() -> [Self; 2] {
        [Self::unix(), Self::tcp().await]
    }

    pub fn spec(&self) -> SocketSpec {
        match self {
            Self::Tcp(listener) => format!("inet:{}", listener.local_addr().unwrap()).parse().unwrap(),
            Self::Unix(_, folder) => SocketSpec::Unix(Self::path(folder)),
        }
    }

    /// The next connection.
    pub async fn accept(&self) -> Asked {
        let stream = match self {
            Self::Tcp(listener) => Stream::Tcp(within(listener.accept()).await.unwrap().0),
            Self::Unix(listener, _) => Stream::Unix(within(listener.accept()).await.unwrap().0),
        };
        Asked { stream, buf: BytesMut::new() }
    }

    /// The next connection, whose offer is answered with version 6 and these actions and steps.
    pub async fn negotiated(&self, actions: u32, steps: u32) -> Asked {
        let mut asked = self.accept().await;
        asked.negotiate(6, actions, steps).await;
        asked
    }
}

/// A frame of a filter.
pub fn frame(code: char, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len() + 1).unwrap().to_be_bytes();
    [&length[..], &[u8::try_from(code).unwrap()], payload].concat()
}

/// The answer to an offer.
pub fn answer(version: u32, actions: u32, steps: u32) -> Vec<u8> {
    frame('O', &[version.to_be_bytes(), actions.to_be_bytes(), steps.to_be_bytes()].concat())
}

impl Asked {
    pub async fn negotiate(&mut self, version: u32, actions: u32, steps: u32) {
        assert_eq!(self.next().await.unwrap().code, 'O');
        self.write(answer(version, actions, steps)).await;
    }

    pub async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        let written = match &mut self.stream {
            Stream::Tcp(stream) => within(stream.write_all(bytes.as_ref())).await,
            Stream::Unix(stream) => within(stream.write_all(bytes.as_ref())).await,
        };
        written.unwrap();
    }

    /// Says continue.
    pub async fn go(&mut self) {
        self.write(frame('c', b"")).await;
    }

    /// The next command; `None` when the other side closed the connection.
    pub async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some((used, frame)) = Parsed::parse(&self.buf, usize::MAX >> 1).unwrap() {
                let frame =
                    Frame { code: char::from(frame.code), payload: Bytes::copy_from_slice(frame.payload) };
                self.buf.advance(used);
                return Some(frame);
            }
            let read = match &mut self.stream {
                Stream::Tcp(stream) => within(stream.read_buf(&mut self.buf)).await,
                Stream::Unix(stream) => within(stream.read_buf(&mut self.buf)).await,
            };
            match read {
                Ok(0) => {
                    assert!(self.buf.is_empty(), "closed inside a frame");
                    return None;
                }
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// The next command that is not about macros.
    pub async fn command(&mut self) -> Frame {
        loop {
            let frame = self.next().await.expect("the connection was closed instead of a command");
            if frame.code != 'D' {
                return frame;
            }
        }
    }

    /// Reads commands, each of which must be the one of this letter, and answers them with continue.
    pub async fn goes(&mut self, codes: &str) {
        for code in codes.chars() {
            self.expect(code).await;
            self.go().await;
        }
    }

    /// Reads a command, which must be the one of this letter.
    pub async fn expect(&mut self, code: char) {
        let frame = self.command().await;
        assert_eq!(frame.code, code, "{frame:?}");
    }

    /// Waits until the connection is closed; what came before, by letters.
    pub async fn closed(&mut self) -> String {
        let mut codes = String::new();
        while let Some(frame) = self.next().await {
            codes.push(frame.code);
        }
        codes
    }
}

/// A socket at which nobody listens.
pub fn nobody(folder: &Path) -> SocketSpec {
    SocketSpec::Unix(folder.join("nobody.sock"))
}

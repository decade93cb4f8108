//! A stream socket of either kind that never blocks.

use std::io::{self, IoSlice, Read, Write};
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Result, anyhow};
use mio::event::Source;
use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};
use tamis::SocketSpec;
use tamis::server::resolve;

/// Where the filter listens.
#[derive(Clone, Debug)]
pub(super) enum Target {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// A connection to it, perhaps still on its way.
#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Target {
    /// Looks a host name up once, for all connections.
    pub(super) fn find(spec: &SocketSpec) -> Result<Self> {
        match (spec, resolve(spec).map_err(|error| anyhow!("cannot connect to {spec}: {error}"))?) {
            (SocketSpec::Unix(path), _) => Ok(Self::Unix(path.clone())),
            (_, Some(address)) => Ok(Self::Tcp(address)),
            (_, None) => Err(anyhow!("cannot connect to {spec}: it has no address")),
        }
    }
}

impl Socket {
    /// Begins to connect. A unix socket whose listener's queue is full says "would block".
    pub(super) fn connect(target: &Target) -> io::Result<Self> {
        Ok(match target {
            Target::Tcp(address) => Self::Tcp(TcpStream::connect(*address)?),
            Target::Unix(path) => Self::Unix(UnixStream::connect(path)?),
        })
    }

    /// Whether the connection is made, once the socket can be written to.
    pub(super) fn is_connected(&self) -> io::Result<bool> {
        let (error, peer) = match self {
            Self::Tcp(stream) => (stream.take_error()?, stream.peer_addr().map(drop)),
            Self::Unix(stream) => (stream.take_error()?, stream.peer_addr().map(drop)),
        };
        match (error, peer) {
            (None, Ok(())) => {
                if let Self::Tcp(stream) = self {
                    stream.set_nodelay(true)?;
                }
                Ok(true)
            }
            (None, Err(error)) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
            (Some(error), _) | (None, Err(error)) => Err(error),
        }
    }

    pub(super) fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buf),
            Self::Unix(stream) => stream.read(buf),
        }
    }

    pub(super) fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match (self, slices) {
            (Self::Tcp(stream), [one]) => stream.write(one),
            (Self::Unix(stream), [one]) => stream.write(one),
            (Self::Tcp(stream), many) => stream.write_vectored(many),
            (Self::Unix(stream), many) => stream.write_vectored(many),
        }
    }

    /// Has the reactor tell what the socket is ready for.
    ///
    /// Whoever asks for writability of a unix socket is woken each time the filter has read something, so it is asked
    /// for only while something waits to be written.
    pub(super) fn register(
        &mut self,
        registry: &Registry,
        token: Token,
        writes: bool,
        again: bool,
    ) -> io::Result<()> {
        let interest = if writes { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
        let source: &mut dyn Source = match self {
            Self::Tcp(stream) => stream,
            Self::Unix(stream) => stream,
        };
        if again {
            source.reregister(registry, token, interest)
        } else {
            source.register(registry, token, interest)
        }
    }
}

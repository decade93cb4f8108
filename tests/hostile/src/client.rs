//! The raw client: a socket, what is sent on it, and what has to come back.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::Shutdown;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use socket2::{Domain, Protocol, Socket, Type};
use tamis_proto::Frame;

use crate::PATIENCE;
use crate::target::{Address, Target};

/// Largest frame that a filter may answer with.
const LARGEST: usize = 1 << 20;

/// What attacks did, to be held against what they declare.
#[derive(Debug, Default)]
pub struct Tally {
    connections: AtomicU64,
    bytes: AtomicU64,
}

impl Tally {
    /// Connections and bytes since the last [`take`](Self::take).
    pub fn peek(&self) -> (u64, u64) {
        (self.connections.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }

    /// As [`peek`](Self::peek), and begins anew.
    pub fn take(&self) -> (u64, u64) {
        (self.connections.swap(0, Ordering::Relaxed), self.bytes.swap(0, Ordering::Relaxed))
    }
}

/// A connection to the server under test.
#[derive(Debug)]
pub struct Raw<'t> {
    target: &'t Target,
    socket: Socket,
    /// Honest sessions are no part of what an attack declares.
    counted: bool,
    /// What was read; all before `at` was looked at.
    input: Vec<u8>,
    at: usize,
    /// Where the server's log stood when it connected.
    mark: usize,
    peer: String,
}

/// One frame of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The letter.
    pub code: u8,
    /// What is behind it.
    pub payload: Vec<u8>,
}

impl<'t> Raw<'t> {
    /// Connects.
    pub fn connect(target: &'t Target) -> Result<Self> {
        Self::connect_with(target, true, |_| Ok(()))
    }

    /// Connects without being counted among what an attack does.
    pub fn connect_honestly(target: &'t Target) -> Result<Self> {
        Self::connect_with(target, false, |_| Ok(()))
    }

    /// Connects with a receive buffer as small as the system has it, so that a few unread replies fill it.
    pub fn connect_small(target: &'t Target) -> Result<Self> {
        Self::connect_with(target, true, |socket| socket.set_recv_buffer_size(1))
    }

    fn connect_with(
        target: &'t Target,
        counted: bool,
        set: impl Fn(&Socket) -> std::io::Result<()>,
    ) -> Result<Self> {
        target.tally.connections.fetch_add(u64::from(counted), Ordering::Relaxed);
        let mark = target.log.as_ref().map_or(0, |log| log.mark());
        let (domain, protocol) = match target.address {
            Address::Tcp(address) => (Domain::for_address(address), Some(Protocol::TCP)),
            Address::Unix(_) => (Domain::UNIX, None),
        };
        let socket = Socket::new(domain, Type::STREAM, protocol).context("cannot make a socket")?;
        set(&socket).context("cannot set the receive buffer")?;
        match target.address {
            Address::Tcp(_) => socket.connect_timeout(&target.address.socket()?, PATIENCE),
            // Waits while more want to be accepted than there is room for; without blocking it would fail.
            Address::Unix(_) => socket.connect(&target.address.socket()?),
        }
        .context("cannot connect")?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        let mut peer = String::new();
        if matches!(target.address, Address::Tcp(_)) {
            socket.set_tcp_nodelay(true)?;
            let own = socket.local_addr()?.as_socket().context("a TCP socket has an address")?;
            peer = own.to_string();
        }
        Ok(Self { target, socket, counted, input: Vec::new(), at: 0, mark, peer })
    }

    /// The server it is connected to.
    pub fn target(&self) -> &'t Target {
        self.target
    }

    /// Sends all of it.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.count(bytes.len());
        (&self.socket).write_all(bytes).context("the server does not take what is sent")
    }

    /// Sends as much as the server takes: it may have closed the connection already, and be right.
    pub fn throw(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        let _ = (&self.socket).write_all(bytes);
    }

    /// Sends until nothing was taken for `time`, or the server has enough; returns how many bytes were taken.
    pub fn fill(&mut self, bytes: &[u8], time: Duration) -> Result<usize> {
        self.socket.set_write_timeout(Some(time))?;
        let mut taken = 0;
        while taken < bytes.len() {
            match (&self.socket).write(&bytes[taken..]) {
                Ok(count) => taken += count,
                Err(error) if is_end(&error) || error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error).context("cannot write"),
            }
        }
        self.count(taken);
        self.socket.set_write_timeout(Some(PATIENCE))?;
        Ok(taken)
    }

    fn count(&self, bytes: usize) {
        if self.counted {
            self.target.tally.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        }
    }

    /// The next frame.
    pub fn reply(&mut self) -> Result<Reply> {
        match self.reply_or_end()? {
            Some(reply) => Ok(reply),
            None => bail!("the server closed the connection instead of answering"),
        }
    }

    /// The next frame, or `None` where the server closed.
    pub fn reply_or_end(&mut self) -> Result<Option<Reply>> {
        loop {
            if let Some((used, frame)) = Frame::parse(&self.input[self.at..], LARGEST)? {
                let reply = Reply { code: frame.code, payload: frame.payload.to_vec() };
                self.at += used;
                return Ok(Some(reply));
            }
            if !self.read()? {
                ensure!(self.at == self.input.len(), "the server closed the connection inside a frame");
                return Ok(None);
            }
        }
    }

    /// Reads `count` answers of "continue".
    pub fn continues(&mut self, count: usize) -> Result<()> {
        for number in 0..count {
            let reply = self.reply().with_context(|| format!("answer {number} of {count}"))?;
            ensure!(reply.code == b'c' && reply.payload.is_empty(), "{reply:?} instead of continue");
        }
        Ok(())
    }

    /// Waits for the server to close, and insists that it says nothing before.
    pub fn closed(&mut self) -> Result<()> {
        match self.reply_or_end()? {
            None => Ok(()),
            Some(reply) => bail!("{reply:?} instead of the end of the connection"),
        }
    }

    /// As [`closed`](Self::closed), and insists on the one line that the server has to log about it.
    pub fn refused(&mut self, reason: &str) -> Result<()> {
        self.closed()?;
        self.logged(reason)
    }

    /// Insists on a warning about this connection with this reason.
    pub fn logged(&self, reason: &str) -> Result<()> {
        match &self.target.log {
            Some(log) if !self.peer.is_empty() => log.expect(self.mark, &self.peer, reason),
            _ => Ok(()),
        }
    }

    /// Waits for the end; returns the codes of the replies before it.
    pub fn drain(&mut self) -> Result<Vec<u8>> {
        let mut codes = Vec::new();
        while let Some(reply) = self.reply_or_end()? {
            codes.push(reply.code);
        }
        Ok(codes)
    }

    /// Everything until the end, which need be no frames.
    pub fn text(&mut self) -> Result<String> {
        while self.read()? {}
        Ok(String::from_utf8_lossy(&self.input).into_owned())
    }

    /// Insists that nothing comes and nothing ends right now.
    pub fn silent(&self) -> Result<()> {
        self.socket.set_nonblocking(true)?;
        let peeked = self.socket.peek(&mut [std::mem::MaybeUninit::uninit()]);
        self.socket.set_nonblocking(false)?;
        match peeked {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            Ok(0) | Err(_) => bail!("the server closed a connection that did nothing wrong"),
            Ok(_) => bail!("the server said something unasked"),
        }
    }

    /// Says that nothing more comes, and goes on reading.
    pub fn half_close(&self) {
        // Fails where the server was faster.
        let _ = self.socket.shutdown(Shutdown::Write);
    }

    /// Has the socket end with a reset when it is dropped.
    pub fn reset(self) -> Result<()> {
        self.socket.set_linger(Some(Duration::ZERO)).context("cannot set SO_LINGER")
    }

    /// Reads more; `false` is the end. A reset is one: the server does not read what comes after a fault.
    fn read(&mut self) -> Result<bool> {
        self.input.drain(..self.at);
        self.at = 0;
        let mut buffer = [0; 16 * 1024];
        match (&self.socket).read(&mut buffer) {
            Ok(0) => Ok(false),
            Ok(count) => {
                self.input.extend_from_slice(&buffer[..count]);
                Ok(true)
            }
            Err(error) if is_end(&error) => Ok(false),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                bail!("the server says nothing for {PATIENCE:?}")
            }
            Err(error) => Err(error).context("cannot read"),
        }
    }
}

/// Whether the server closed the connection.
fn is_end(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
}

//! Sends the bytes of a session and collects what comes back.

use std::env;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::Shutdown;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tamis_proto::Frame;

use crate::session::{Manner, Session};

/// How long a library may be silent where it has something to do: 20 seconds, or `TAMIS_PATIENCE`.
///
/// Nothing ever waits this long unless it fails.
///
/// # Panics
///
/// When `TAMIS_PATIENCE` is no number.
pub fn patience() -> Duration {
    static PATIENCE: OnceLock<Duration> = OnceLock::new();
    *PATIENCE.get_or_init(|| {
        let seconds = env::var("TAMIS_PATIENCE").unwrap_or_else(|_| "20".to_owned());
        Duration::from_secs(seconds.parse().expect("TAMIS_PATIENCE is a number of seconds"))
    })
}

/// What came back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Played {
    /// All bytes.
    pub replies: Vec<u8>,
    /// The turn whose answer, or the end, did not come in time.
    pub hung_at: Option<usize>,
}

/// Plays a session over a connection to the probe.
///
/// # Errors
///
/// When the socket fails otherwise than by being closed.
pub fn play(stream: &UnixStream, session: &Session) -> io::Result<Played> {
    let mut wire = Wire::new(stream)?;
    if session.manner == Manner::Step {
        for (number, turn) in session.turns.iter().enumerate() {
            wire.write(&turn.bytes)?;
            if turn.answered && !wire.read_verdict()? {
                return Ok(wire.played(Some(number)));
            }
        }
    } else {
        wire.write(&session.bytes())?;
    }
    if session.manner != Manner::PourAndStay {
        ignore_closed(stream.shutdown(Shutdown::Write))?;
    }
    let ended = wire.read_to_end()?;
    let hung_at = (!ended).then_some(session.turns.len());
    Ok(wire.played(hung_at))
}

struct Wire<'s> {
    stream: &'s UnixStream,
    replies: Vec<u8>,
    /// Up to here the replies were looked at.
    seen: usize,
    closed: bool,
}

impl<'s> Wire<'s> {
    fn new(stream: &'s UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { stream, replies: Vec::new(), seen: 0, closed: false })
    }

    fn played(self, hung_at: Option<usize>) -> Played {
        Played { replies: self.replies, hung_at }
    }

    /// Writes all of it, reading whatever comes meanwhile, so that neither side can block the other.
    fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        let deadline = Instant::now() + patience();
        while !bytes.is_empty() && !self.closed && Instant::now() < deadline {
            match self.stream.write(bytes) {
                Ok(written) => bytes = &bytes[written..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.wait(PollFlags::POLLIN | PollFlags::POLLOUT)?;
                    self.read()?;
                }
                // The filter has closed; what it said before is still to be read.
                Err(error) if is_closed(&error) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Whether a verdict came, or the end of the stream.
    fn read_verdict(&mut self) -> io::Result<bool> {
        let deadline = Instant::now() + patience();
        loop {
            while let Ok(Some((used, frame))) = Frame::parse(&self.replies[self.seen..], usize::MAX >> 1) {
                self.seen += used;
                if b"Oacdrtys".contains(&frame.code) {
                    return Ok(true);
                }
            }
            if self.closed || !self.read_more(deadline)? {
                return Ok(self.closed);
            }
        }
    }

    /// Whether the end of the stream came.
    fn read_to_end(&mut self) -> io::Result<bool> {
        let deadline = Instant::now() + patience();
        while !self.closed && self.read_more(deadline)? {}
        Ok(self.closed)
    }

    /// Waits and reads once; false when time is up.
    fn read_more(&mut self, deadline: Instant) -> io::Result<bool> {
        if Instant::now() >= deadline {
            return Ok(false);
        }
        self.wait(PollFlags::POLLIN)?;
        self.read()?;
        Ok(true)
    }

    fn wait(&self, flags: PollFlags) -> io::Result<()> {
        let mut polled = [PollFd::new(self.stream.as_fd(), flags)];
        poll(&mut polled, PollTimeout::from(1000_u16))?;
        Ok(())
    }

    fn read(&mut self) -> io::Result<()> {
        let mut buf = vec![0; 1 << 16];
        loop {
            match self.stream.read(&mut buf) {
                Ok(0) => self.closed = true,
                Ok(length) => {
                    self.replies.extend_from_slice(&buf[..length]);
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) if is_closed(&error) => self.closed = true,
                Err(error) => return Err(error),
            }
            return Ok(());
        }
    }
}

fn is_closed(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::NotConnected)
}

fn ignore_closed(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if !is_closed(&error) => Err(error),
        _ => Ok(()),
    }
}

//! A small SMTP client that sends what it is told and hides nothing of the replies.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::text::escape;

/// Longer than any pause that a case makes on purpose.
const PATIENCE: Duration = Duration::from_mins(1);

/// One SMTP session.
#[derive(Debug)]
pub struct Client {
    reader: BufReader<TcpStream>,
    stream: TcpStream,
}

/// A reply with all its lines, without line ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The lines as they came, code included; at least one.
    pub lines: Vec<Vec<u8>>,
}

impl Client {
    /// Connects, and reads nothing yet.
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { reader: BufReader::new(stream.try_clone()?), stream })
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends one line and reads the reply.
    pub fn command(&mut self, line: &str) -> io::Result<Reply> {
        self.send(format!("{line}\r\n").as_bytes())?;
        self.reply()
    }

    /// Sends a message after `354`, with dot stuffing and the final dot, and reads nothing.
    ///
    /// The message must end with a line end.
    pub fn message(&mut self, message: &[u8]) -> io::Result<()> {
        let mut stuffed = Vec::with_capacity(message.len() + message.len() / 64 + 8);
        for line in message.split_inclusive(|b| *b == b'\n') {
            if line[0] == b'.' {
                stuffed.push(b'.');
            }
            stuffed.extend_from_slice(line);
        }
        stuffed.extend_from_slice(b".\r\n");
        self.send(&stuffed)
    }

    /// Reads one reply; a connection that the server has closed is [`io::ErrorKind::UnexpectedEof`].
    pub fn reply(&mut self) -> io::Result<Reply> {
        let mut lines = Vec::new();
        loop {
            let mut line = Vec::new();
            if self.reader.read_until(b'\n', &mut line)? == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection"));
            }
            let line = line.strip_suffix(b"\r\n").unwrap_or(&line).to_vec();
            let more = line.get(3) == Some(&b'-');
            lines.push(line);
            if !more {
                return Ok(Reply { lines });
            }
        }
    }
}

impl Reply {
    /// The three digits, or 0 when there are none.
    pub fn code(&self) -> u16 {
        std::str::from_utf8(self.lines[0].get(..3).unwrap_or_default())
            .map_or(0, |code| code.parse().unwrap_or(0))
    }
}

impl std::fmt::Display for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let lines: Vec<String> = self.lines.iter().map(|line| escape(line)).collect();
        f.write_str(&lines.join("\n"))
    }
}

//! The SMTP server at the end of the line: accepts everything and keeps it as it came.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

/// What one message looked like when it was delivered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delivered {
    /// What followed `MAIL FROM:`, such as `<a@example.com> RET=HDRS`.
    pub mail: Vec<u8>,
    /// What followed each `RCPT TO:`, in order.
    pub rcpt: Vec<Vec<u8>>,
    /// The message, byte for byte, without dot stuffing and the final dot.
    pub message: Vec<u8>,
}

/// A running sink; it stops when dropped.
#[derive(Debug)]
pub struct Sink {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    messages: Mutex<Vec<Delivered>>,
    arrived: Condvar,
    stopped: AtomicBool,
}

impl Sink {
    /// Starts a sink on a free port of loopback.
    ///
    /// # Panics
    ///
    /// When loopback cannot be listened on.
    pub fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback can be listened on");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared::default());
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if accepting.stopped.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let shared = Arc::clone(&accepting);
                // A session that the MTA breaks off has delivered nothing more: there is nobody to tell.
                thread::spawn(move || drop(Session::new(stream, shared).and_then(Session::run)));
            }
        });
        Self { address, shared }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until `count` messages are there, and returns all; fewer if they did not come in time.
    ///
    /// # Panics
    ///
    /// When a session panicked: its message could be the one waited for.
    pub fn wait(&self, count: usize, patience: Duration) -> Vec<Delivered> {
        let messages = self.messages();
        let waited = self.shared.arrived.wait_timeout_while(messages, patience, |all| all.len() < count);
        waited.expect("no session panics while it holds the lock").0.clone()
    }

    /// Takes the messages that have come so far.
    pub fn take(&self) -> Vec<Delivered> {
        std::mem::take(&mut *self.messages())
    }

    fn messages(&self) -> MutexGuard<'_, Vec<Delivered>> {
        self.shared.messages.lock().expect("no session panics while it holds the lock")
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        // Wakes the accepting thread; if that fails it is gone already.
        drop(TcpStream::connect(self.address));
    }
}

struct Session {
    reader: BufReader<TcpStream>,
    stream: TcpStream,
    current: Delivered,
    shared: Arc<Shared>,
}

impl Session {
    fn new(stream: TcpStream, shared: Arc<Shared>) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let reader = BufReader::with_capacity(1 << 16, stream.try_clone()?);
        Ok(Self { reader, stream, current: Delivered::default(), shared })
    }

    fn run(mut self) -> io::Result<()> {
        self.reply("220 sink.test ESMTP")?;
        while let Some(line) = self.line()? {
            let verb = line.split(|b| *b == b' ').next().unwrap_or_default().to_ascii_uppercase();
            match verb.as_slice() {
                b"EHLO" => {
                    self.reply("250-sink.test\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-DSN\r\n250 HELP")?;
                }
                b"MAIL" => {
                    self.current = Delivered { mail: after(&line, b"MAIL FROM:"), ..Delivered::default() };
                    self.reply("250 2.1.0 Ok")?;
                }
                b"RCPT" => {
                    self.current.rcpt.push(after(&line, b"RCPT TO:"));
                    self.reply("250 2.1.5 Ok")?;
                }
                b"DATA" => self.data()?,
                b"QUIT" => return self.reply("221 2.0.0 Bye"),
                _ => self.reply("250 2.0.0 Ok")?,
            }
        }
        Ok(())
    }

    fn data(&mut self) -> io::Result<()> {
        self.reply("354 Go on")?;
        let mut message = Vec::new();
        loop {
            let start = message.len();
            if self.reader.read_until(b'\n', &mut message)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if message[start..] == *b".\r\n" {
                message.truncate(start);
                break;
            }
            if message[start] == b'.' {
                message.remove(start);
            }
        }
        self.current.message = message;
        // Kept before the reply: once the MTA has removed the message from its queue it can be found here.
        let delivered = std::mem::take(&mut self.current);
        self.shared.messages.lock().expect("no session panics while it holds the lock").push(delivered);
        self.shared.arrived.notify_all();
        self.reply("250 2.0.0 Ok")
    }

    fn line(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        if self.reader.read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        Ok(Some(line.trim_ascii_end().to_vec()))
    }

    fn reply(&mut self, text: &str) -> io::Result<()> {
        self.stream.write_all(format!("{text}\r\n").as_bytes())
    }
}

fn after(line: &[u8], prefix: &[u8]) -> Vec<u8> {
    line.get(prefix.len()..).unwrap_or_default().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smtp::Client;

    #[test]
    fn keeps_envelope_and_bytes_without_stuffing() {
        let sink = Sink::start();
        let mut client = Client::connect(sink.address()).unwrap();
        assert_eq!(client.reply().unwrap().code(), 220);
        for line in ["EHLO me", "MAIL FROM:<a@x> RET=HDRS", "RCPT TO:<b@x>", "RCPT TO:<c@x> NOTIFY=NEVER"] {
            assert_eq!(client.command(line).unwrap().code(), 250, "{line}");
        }
        let message = b"A: \xe9\r\n\r\n.dot\r\n..\r\n\x00\r\n";
        assert_eq!(client.command("DATA").unwrap().code(), 354);
        client.message(message).unwrap();
        assert_eq!(client.reply().unwrap().code(), 250);
        let expected = Delivered {
            mail: b"<a@x> RET=HDRS".to_vec(),
            rcpt: vec![b"<b@x>".to_vec(), b"<c@x> NOTIFY=NEVER".to_vec()],
            message: message.to_vec(),
        };
        assert_eq!(sink.wait(1, Duration::from_secs(5)), [expected]);
        assert_eq!(sink.take().len(), 1);
        assert_eq!(sink.take(), []);
    }

    #[test]
    fn a_message_broken_off_is_not_kept() {
        let sink = Sink::start();
        let mut client = Client::connect(sink.address()).unwrap();
        client.reply().unwrap();
        client.send(b"MAIL FROM:<a@x>\r\nDATA\r\nhalf a mess").unwrap();
        drop(client);
        assert_eq!(sink.wait(1, Duration::from_millis(50)), []);
    }
}

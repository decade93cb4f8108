//! Filters on plain sockets, which need not keep to the protocol.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use tamis::proto::{Frame, Steps};

/// A command of the MTA.
pub(crate) struct Said {
    pub(crate) code: u8,
    /// Which command of its connection it is, from 0.
    pub(crate) nth: u64,
    /// Connections that are open.
    pub(crate) open: u64,
    /// What the connection is for: the first only asks what is negotiated.
    pub(crate) connection: u64,
}

/// What the filter does about it.
pub(crate) enum Answer {
    /// As a filter that answers everything does.
    Continue,
    /// As a filter that answers nothing but connect, helo and the end of message does.
    ContinueAtEnd,
    /// These bytes.
    Say(Vec<u8>),
    /// It closes the connection.
    Close,
    /// Not a word.
    Silence,
}

impl Said {
    /// Whether an MTA waits after it, unless it was negotiated otherwise.
    pub(crate) fn is_answered(&self) -> bool {
        !matches!(self.code, b'D' | b'A' | b'Q' | b'O')
    }
}

/// Runs a filter; returns its address.
pub(crate) fn filter(answer: impl Fn(&Said) -> Answer + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("inet:{}@127.0.0.1", listener.local_addr().unwrap().port());
    let (answer, open) = (Arc::new(answer), Arc::new(AtomicU64::new(0)));
    thread::spawn(move || {
        for (connection, stream) in listener.incoming().map_while(Result::ok).enumerate() {
            let (answer, open) = (answer.clone(), open.clone());
            open.fetch_add(1, Ordering::Relaxed);
            thread::spawn(move || {
                converse(stream, connection as u64, &open, &*answer);
                open.fetch_sub(1, Ordering::Relaxed);
            });
        }
    });
    address
}

fn converse(
    mut stream: TcpStream,
    connection: u64,
    open: &AtomicU64,
    answer: &dyn Fn(&Said) -> Answer,
) -> Option<()> {
    let (mut buf, mut nth) = (Vec::new(), 0);
    let mut chunk = vec![0; 100_000];
    stream.set_nodelay(true).ok()?;
    loop {
        while let Ok(Some((used, frame))) = Frame::parse(&buf, 1 << 20) {
            let code = frame.code;
            buf.drain(..used);
            let said = Said { code, nth, open: open.load(Ordering::Relaxed), connection };
            nth += 1;
            let bytes = match (answer(&said), code) {
                (Answer::Say(bytes), _) => bytes,
                (Answer::Silence, _) => Vec::new(),
                (Answer::Close, _) | (_, b'Q') => return Some(()),
                (_, b'D' | b'A') => Vec::new(),
                (Answer::Continue, b'O') => negotiation(Steps::empty()),
                (Answer::ContinueAtEnd, b'O') => {
                    negotiation(Steps::NO_REPLIES.difference(Steps::NO_REPLY_CONNECT | Steps::NO_REPLY_HELO))
                }
                (Answer::ContinueAtEnd, b'C' | b'H' | b'E') | (Answer::Continue, _) => {
                    b"\0\0\0\x01c".to_vec()
                }
                (Answer::ContinueAtEnd, _) => Vec::new(),
            };
            stream.write_all(&bytes).ok()?;
        }
        match stream.read(&mut chunk).ok()? {
            0 => return Some(()),
            count => buf.extend_from_slice(&chunk[..count]),
        }
    }
}

/// An answer to the offer, with everything that may be done to a message.
fn negotiation(steps: Steps) -> Vec<u8> {
    let words = [13, 6, 0x1ff, steps.bits()].map(u32::to_be_bytes);
    [&words[0][..], b"O", &words[1], &words[2], &words[3]].concat()
}

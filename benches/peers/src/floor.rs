//! The least that a server must do: finds out where frames end and which letter they have, and answers with bytes that
//! were there before.

use std::mem;

use crate::{FOOTER, HEADER, LENGTH_HEADER, Scenario};

/// How much is read at once.
pub const READ: usize = 64 * 1024;

/// A frame's length and its letter.
const HEAD: usize = 5;
/// The answer to a step.
pub const CONTINUE: [u8; HEAD] = [0, 0, 0, 1, b'c'];

/// What the connection does next, once the answers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Reads on.
    Read,
    /// Waits for 50 ms, then answers with [`CONTINUE`].
    Wait,
    /// Ends.
    Close,
}

/// One connection.
#[derive(Debug)]
pub struct Floor {
    scenario: Scenario,
    head: [u8; HEAD],
    /// How much of the head is there.
    have: usize,
    /// How much of the payload is not.
    left: usize,
    /// The new body, in frames.
    body: Vec<u8>,
    length: usize,
}

impl Floor {
    /// Begins with nothing read.
    pub fn new(scenario: Scenario) -> Self {
        Self { scenario, head: [0; HEAD], have: 0, left: 0, body: Vec::new(), length: 0 }
    }

    /// Takes what was read and appends the answers to it.
    pub fn take(&mut self, mut bytes: &[u8], answers: &mut Vec<u8>) -> Next {
        while !bytes.is_empty() {
            if self.have < HEAD {
                let count = bytes.len().min(HEAD - self.have);
                self.head[self.have..self.have + count].copy_from_slice(&bytes[..count]);
                bytes = &bytes[count..];
                self.have += count;
                if self.have < HEAD {
                    break;
                }
                let [a, b, c, d, letter] = self.head;
                let Some(left) = u32::from_be_bytes([a, b, c, d]).checked_sub(1) else { return Next::Close };
                self.left = left as usize;
                if letter == b'B' && self.replaces() {
                    self.body.extend([a, b, c, d, b'b']);
                }
            }
            let (payload, rest) = bytes.split_at(self.left.min(bytes.len()));
            bytes = rest;
            self.left -= payload.len();
            if self.head[4] == b'B' {
                self.length += payload.len();
                if self.replaces() {
                    self.body.extend_from_slice(payload);
                }
            }
            if self.left == 0 {
                self.have = 0;
                match self.answer(answers) {
                    Next::Read => {}
                    other => return other,
                }
            }
        }
        Next::Read
    }

    /// Takes back what large answers were in, so that the next body goes to the same memory.
    pub fn reuse(&mut self, answers: &mut Vec<u8>) {
        if answers.len() > READ {
            mem::swap(answers, &mut self.body);
            self.body.clear();
        }
        answers.clear();
    }

    fn answer(&mut self, answers: &mut Vec<u8>) -> Next {
        match self.head[4] {
            b'O' => answers.extend_from_slice(self.agreement()),
            b'A' | b'D' => {}
            b'Q' => return Next::Close,
            b'E' => return self.end_of_message(answers),
            _ if self.scenario == Scenario::NoReply => {}
            _ => answers.extend_from_slice(&CONTINUE),
        }
        Next::Read
    }

    fn end_of_message(&mut self, answers: &mut Vec<u8>) -> Next {
        let length = mem::take(&mut self.length);
        match self.scenario {
            Scenario::Wait50 => return Next::Wait,
            Scenario::Header => push_header(answers, HEADER.0, HEADER.1),
            Scenario::Look => push_header(answers, LENGTH_HEADER, &length.to_string()),
            _ if self.replaces() => {
                // Nothing waits before the end of message, so the body takes the place of the answers.
                mem::swap(answers, &mut self.body);
                push_frame(answers, b'b', &[FOOTER.as_bytes()]);
            }
            _ => {}
        }
        answers.extend_from_slice(&CONTINUE);
        Next::Read
    }

    fn replaces(&self) -> bool {
        matches!(self.scenario, Scenario::Footer | Scenario::Replace25 | Scenario::Replace25Spool)
    }

    /// Version 6, the one action that is needed, and all stages, answered or not.
    fn agreement(&self) -> &'static [u8] {
        match self.scenario {
            Scenario::Header | Scenario::Look => &[0, 0, 0, 13, b'O', 0, 0, 0, 6, 0, 0, 0, 1, 0, 0, 0, 0],
            Scenario::NoReply => &[0, 0, 0, 13, b'O', 0, 0, 0, 6, 0, 0, 0, 0, 0, 0x0f, 0xf0, 0x80],
            _ if self.replaces() => &[0, 0, 0, 13, b'O', 0, 0, 0, 6, 0, 0, 0, 2, 0, 0, 0, 0],
            _ => &[0, 0, 0, 13, b'O', 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0],
        }
    }
}

fn push_header(to: &mut Vec<u8>, name: &str, value: &str) {
    push_frame(to, b'h', &[name.as_bytes(), b"\0", value.as_bytes(), b"\0"]);
}

fn push_frame(to: &mut Vec<u8>, letter: u8, payload: &[&[u8]]) {
    let length = 1 + payload.iter().map(|part| part.len()).sum::<usize>();
    to.extend(u32::try_from(length).expect("only short frames are made here").to_be_bytes());
    to.push(letter);
    for part in payload {
        to.extend_from_slice(part);
    }
}

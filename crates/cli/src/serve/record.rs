//! What is known about a message, and the line that is logged of it.

use std::time::Instant;

use bytes::Bytes;
use tamis::Stage;

use super::append::{Content, Kept};
use crate::log::List;

/// Where log lines of messages come from, to be chosen or left out by `--log-level`.
const TARGET: &str = "tamis::message";

/// Most recipients that are listed; of more only the number is told.
const MAX_RECIPIENTS: usize = 100;

/// Most characters of any one text.
const MAX_TEXT: usize = 500;

/// The client of a message.
#[derive(Debug, Default)]
pub(super) struct Client {
    /// The name, or the address in brackets.
    pub(super) name: String,
    /// As the MTA wrote it.
    pub(super) address: String,
    pub(super) port: String,
    pub(super) helo: Option<String>,
}

/// A message so far.
#[derive(Debug, Default)]
pub(super) struct Record {
    begin: Option<Instant>,
    /// How far the message has come.
    pub(super) stage: Option<Stage>,
    /// Kept once the MTA tells it: when a message is aborted, the next one's may be known already.
    pub(super) queue_id: Option<String>,
    /// As the client wrote it, without brackets.
    pub(super) sender: String,
    recipients: Vec<String>,
    more_recipients: u32,
    subject: Option<String>,
    /// Bytes of header and body, as the MTA will deliver them.
    size: u64,
    pub(super) content: Content,
    pub(super) body: Kept,
}

impl Record {
    pub(super) fn begin(&mut self, sender: &[u8]) {
        self.begin = Some(Instant::now());
        self.sender = text(bare(sender));
    }

    pub(super) fn recipient(&mut self, address: &[u8]) {
        if self.recipients.len() < MAX_RECIPIENTS {
            self.recipients.push(text(bare(address)));
        } else {
            self.more_recipients += 1;
        }
    }

    pub(super) fn header(&mut self, name: &[u8], value: &Bytes, implied_space: bool) {
        // A colon, the space, CR for each LF, and CRLF.
        let line_ends = value.split(|byte| *byte == b'\n').count() + 1;
        self.add_size(name.len() + 1 + usize::from(implied_space) + value.len() + line_ends);
        if name.eq_ignore_ascii_case(b"subject") && self.subject.is_none() {
            self.subject = Some(text(value.trim_ascii()));
        }
    }

    pub(super) fn add_size(&mut self, bytes: usize) {
        self.size += bytes as u64;
    }

    /// Logs the message with what was said at its end.
    pub(super) fn finished(&self, client: &Client, verdict: &str) {
        self.log(client, verdict, None);
    }

    /// Logs a message that the MTA gave up.
    pub(super) fn aborted(&self, client: &Client) {
        self.log(client, "aborted", self.stage);
    }

    fn log(&self, client: &Client, verdict: &str, stage: Option<Stage>) {
        let Some(begin) = self.begin else { return };
        let ms = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
        let sender = if self.sender.is_empty() { "<>" } else { &self.sender };
        tracing::info!(
            target: TARGET,
            queue_id = self.queue_id.as_deref(),
            client = client.address,
            client_name = client.name,
            helo = client.helo.as_deref(),
            sender,
            recipients = ?List(&self.recipients),
            more_recipients = (self.more_recipients > 0).then_some(self.more_recipients),
            size = self.size,
            subject = self.subject.as_deref(),
            verdict,
            stage = stage.map(Stage::name),
            ms,
            "message"
        );
    }
}

/// Bytes as text. Log formats escape what is in it; its length is bounded here.
pub(super) fn text(bytes: &[u8]) -> String {
    // No character has more bytes, so that the copy is bounded too.
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(4 * MAX_TEXT + 4)]);
    match text.char_indices().nth(MAX_TEXT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.into_owned(),
    }
}

/// An address without its brackets.
pub(super) fn bare(address: &[u8]) -> &[u8] {
    address.strip_prefix(b"<").and_then(|inner| inner.strip_suffix(b">")).unwrap_or(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(text(b"caf\xe9"), "caf\u{fffd}");
        let long = text("ü".repeat(MAX_TEXT + 1).as_bytes());
        assert_eq!(long, format!("{}…", "ü".repeat(MAX_TEXT)));
        assert_eq!(text("x".repeat(MAX_TEXT).as_bytes()).len(), MAX_TEXT);
    }

    #[test]
    fn sizes_count_what_is_delivered() {
        let mut record = Record::default();
        record.header(b"Subject", &Bytes::from_static(b"a\n b"), true);
        assert_eq!(record.size, b"Subject: a\r\n b\r\n".len() as u64);
        assert_eq!(record.subject.as_deref(), Some("a\n b"));
    }
}

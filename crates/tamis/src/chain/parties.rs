//! Who sends a message to whom, kept for its record.

use std::net::IpAddr;

use bytes::Bytes;
use tamis_proto::command::Client;
use tamis_proto::{Event, Verdict};

use crate::message::Facts;

/// Who sends a message to whom, as far as the MTA has said so. It is written down where an [`Observer`](super::Observer)
/// is set, and has bounds whatever a client says: texts are cut at [`MAX_TEXT`](Self::MAX_TEXT) bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Parties {
    /// The client's name as the MTA tells it: where it could verify none, the address in brackets or `unknown`.
    pub client_name: Option<Bytes>,
    /// The client's IP address; an IPv4 address is one, however the MTA wrote it.
    pub client_addr: Option<IpAddr>,
    /// The name that the client gave with its last HELO or EHLO.
    pub helo: Option<Bytes>,
    /// The account that the client logged in with.
    pub auth_user: Option<Bytes>,
    /// The sender as the client wrote it, which is in brackets as a rule; `<>` for a bounce.
    pub sender: Option<Bytes>,
    /// The first recipients, [`MAX_RECIPIENTS`](Self::MAX_RECIPIENTS) at most.
    pub recipients: Vec<RecordedRecipient>,
    /// How many recipients there were besides.
    pub more_recipients: u32,
}

/// A recipient of a message that is written down.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordedRecipient {
    /// As the client wrote it, which is in brackets as a rule.
    pub address: Bytes,
    /// The filters refused it, or the MTA did, so that the message does not go there.
    pub refused: bool,
}

impl Parties {
    /// Most recipients that are kept; others are counted.
    pub const MAX_RECIPIENTS: usize = 100;

    /// Most bytes of any one text.
    pub const MAX_TEXT: usize = 500;

    /// Takes note of what belongs to it.
    pub(super) fn observe(&mut self, event: &Event<Bytes>, facts: Facts<'_>) {
        match event {
            Event::Connect(connect) => {
                let client_addr = match connect.client() {
                    Client::Inet(inet) => Some(inet.ip().to_canonical()),
                    Client::Unix(_) | Client::Unknown => None,
                };
                *self = Self { client_name: Some(text(&connect.host)), client_addr, ..Self::default() };
            }
            Event::Helo(name) => self.helo = Some(text(name)),
            Event::Mail(sender) => {
                self.sender = Some(text(&sender.address));
                self.auth_user = facts.auth_user().map(|user| text(user.as_bytes()));
            }
            Event::Rcpt(recipient) if self.recipients.len() < Self::MAX_RECIPIENTS => {
                let refused = facts.rejection().is_some();
                self.recipients.push(RecordedRecipient { address: text(&recipient.address), refused });
            }
            Event::Rcpt(_) => self.more_recipients = self.more_recipients.saturating_add(1),
            _ => {}
        }
    }

    /// Takes note of what the MTA is told about the last recipient.
    pub(super) fn answered(&mut self, verdict: &Verdict) {
        if verdict.stops()
            && *verdict != Verdict::Discard
            && self.more_recipients == 0
            && let Some(last) = self.recipients.last_mut()
        {
            last.refused = true;
        }
    }

    /// Hands out what there is of a message, and keeps what there is of its client.
    pub(super) fn end_message(&mut self) -> Self {
        let client = Self {
            client_name: self.client_name.clone(),
            client_addr: self.client_addr,
            helo: self.helo.clone(),
            ..Self::default()
        };
        std::mem::replace(self, client)
    }

    /// Number of recipients that were not refused, as far as they are known.
    pub(super) fn reached(&self) -> usize {
        self.recipients.iter().filter(|recipient| !recipient.refused).count() + self.more_recipients as usize
    }
}

/// A copy with bounds: what came in may be a slice of much more.
fn text(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(&bytes[..bytes.len().min(Parties::MAX_TEXT)])
}

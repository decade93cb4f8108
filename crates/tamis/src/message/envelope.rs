//! [`Envelope`]: who sends a message to whom.

mod client;
mod path;

use bytes::Bytes;
use tamis_proto::Event;

use super::{Facts, Text};

pub use client::Client;
pub(in crate::message) use client::verified;
pub use path::{Recipient, Rejection, Sender};

/// What is known of a message before its content: the client, its HELO name, the sender and the recipients.
///
/// What it holds is what was seen: a stage that the MTA does not send leaves its place empty.
///
/// # Examples
///
/// ```
/// use tamis::message::{Envelope, Facts};
/// use tamis::proto::{Event, MacroTable, command};
///
/// let mut envelope = Envelope::default();
/// let macros = MacroTable::default();
/// let path = |address: &[u8], params: &[&str]| command::Envelope::with_args(address, params).map(Into::into);
/// for event in [
///     Event::Helo("client.example".into()),
///     Event::Mail(path(b"<joe@Example.com>", &["SIZE=1000"])),
///     Event::Rcpt(path(b"<jane@example.org>", &[])),
/// ] {
///     envelope.observe(&event, Facts::new(&macros));
/// }
/// let sender = envelope.sender().unwrap();
/// assert_eq!((sender.domain(), sender.params().size()), (Some("example.com"), Some(1000)));
/// assert_eq!(envelope.recipients().map(|to| to.to_string()).collect::<Vec<_>>(), ["<jane@example.org>"]);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Envelope {
    client: Option<Client>,
    helo: Option<Text>,
    /// Boxed, as an idle connection keeps the rest for long.
    message: Option<Box<Paths>>,
}

/// Whom a message comes from and where it goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Paths {
    sender: Option<Sender>,
    recipients: Vec<Recipient>,
}

impl Envelope {
    /// The client that handed the message to the MTA.
    pub fn client(&self) -> Option<&Client> {
        self.client.as_ref()
    }

    /// The name that the client gave with its last HELO or EHLO.
    pub fn helo(&self) -> Option<&Text> {
        self.helo.as_ref()
    }

    /// The sender.
    pub fn sender(&self) -> Option<&Sender> {
        self.message.as_ref()?.sender.as_ref()
    }

    /// The recipients, in their order, without those that the MTA [rejects](Recipient::is_rejected) itself.
    pub fn recipients(&self) -> impl Iterator<Item = &Recipient> + Clone {
        self.all_recipients().iter().filter(|recipient| !recipient.is_rejected())
    }

    /// All recipients that were seen, with those that the MTA rejects itself. It only tells of these if asked to.
    pub fn all_recipients(&self) -> &[Recipient] {
        self.message.as_ref().map_or(&[], |message| &message.recipients)
    }

    /// Takes note of what happened: keeps what belongs to the envelope, and forgets what an event ends. A new sender
    /// begins a new message, HELO and abort end one, a new client begins everything anew.
    ///
    /// The facts are those of the event; whether the MTA rejects a recipient is read there.
    pub fn observe(&mut self, event: &Event<Bytes>, facts: Facts<'_>) {
        match event {
            Event::Connect(client) => *self = Self { client: Some(client.clone().into()), ..Self::default() },
            Event::Helo(name) => {
                self.end_message();
                self.helo = Some(name.clone().into());
            }
            Event::Mail(sender) => {
                let message = self.message.get_or_insert_default();
                message.recipients.clear();
                message.sender = Some(sender.clone().into());
            }
            Event::Rcpt(recipient) => {
                self.add_recipient(Recipient::new(recipient.clone(), facts.rejection()));
            }
            Event::Abort => self.end_message(),
            Event::Close => *self = Self::default(),
            _ => {}
        }
    }

    /// Takes back the last recipient, as a verdict that refuses it asks for: the message will not go there.
    pub fn remove_last_recipient(&mut self) -> Option<Recipient> {
        self.message.as_mut()?.recipients.pop()
    }

    pub(crate) fn add_recipient(&mut self, recipient: Recipient) {
        self.message.get_or_insert_default().recipients.push(recipient);
    }

    /// Takes over client and HELO name.
    pub(crate) fn begin_message(&mut self, of: &Self) {
        self.client.clone_from(&of.client);
        self.helo.clone_from(&of.helo);
    }

    /// Forgets everything but memory for a usual message.
    pub(crate) fn clear(&mut self) {
        (self.client, self.helo) = (None, None);
        self.message.take_if(|message| message.recipients.capacity() > 16);
        if let Some(message) = &mut self.message {
            message.sender = None;
            message.recipients.clear();
        }
    }

    /// Forgets the message, not its client.
    pub(crate) fn end_message(&mut self) {
        self.message = None;
    }
}

#[cfg(test)]
mod tests {
    use tamis_proto::MacroTable;
    use tamis_proto::command::{self, Connect};

    use super::*;

    fn path(address: &str) -> command::Envelope<Bytes> {
        command::Envelope::with_args(address.as_bytes(), [""; 0]).map(Bytes::from)
    }

    fn observe(envelope: &mut Envelope, event: &Event<Bytes>) {
        envelope.observe(event, Facts::new(&MacroTable::default()));
    }

    fn full() -> Envelope {
        let mut envelope = Envelope::default();
        observe(&mut envelope, &Event::Connect(Connect::unknown("client").map(Bytes::from)));
        observe(&mut envelope, &Event::Helo("helo".into()));
        observe(&mut envelope, &Event::Mail(path("<a@example.com>")));
        observe(&mut envelope, &Event::Rcpt(path("<b@example.com>")));
        observe(&mut envelope, &Event::Rcpt(path("<c@example.com>")));
        envelope
    }

    fn recipients(envelope: &Envelope) -> Vec<String> {
        envelope.recipients().map(ToString::to_string).collect()
    }

    #[test]
    fn what_was_not_seen_is_not_there() {
        let mut envelope = Envelope::default();
        observe(&mut envelope, &Event::Rcpt(path("<b@example.com>")));
        observe(&mut envelope, &Event::Data);
        assert_eq!((envelope.client(), envelope.helo(), envelope.sender()), (None, None, None));
        assert_eq!(recipients(&envelope), ["<b@example.com>"]);
    }

    #[test]
    fn nothing_of_a_message_is_left_in_the_next() {
        let mut envelope = full();
        assert_eq!(recipients(&envelope), ["<b@example.com>", "<c@example.com>"]);
        observe(&mut envelope, &Event::EndOfMessage);
        assert_eq!(recipients(&envelope).len(), 2, "an end of message is handled with its envelope");
        observe(&mut envelope, &Event::Mail(path("<>")));
        assert!(recipients(&envelope).is_empty() && envelope.sender().unwrap().is_null());
        assert_eq!(
            (envelope.client().unwrap().host(), envelope.helo().unwrap()),
            (&"client".into(), &"helo".into())
        );
    }

    #[test]
    fn a_message_ends_with_helo_abort_and_a_new_client() {
        for event in [
            Event::Helo("again".into()),
            Event::Abort,
            Event::Close,
            Event::Connect(Connect::unknown("next").map(Bytes::from)),
        ] {
            let (is_helo, is_abort) = (matches!(event, Event::Helo(_)), event == Event::Abort);
            let mut envelope = full();
            observe(&mut envelope, &event);
            assert!(envelope.sender().is_none() && envelope.all_recipients().is_empty());
            assert_eq!(envelope.helo().is_some(), is_helo || is_abort);
            assert_eq!(
                envelope.client().is_some_and(|client| client.host() == "client"),
                is_helo || is_abort
            );
        }
    }

    #[test]
    fn recipients_that_are_refused_are_none_of_the_message() {
        let mut envelope = full();
        assert_eq!(envelope.remove_last_recipient().unwrap().address().as_bytes(), b"<c@example.com>");
        assert_eq!(recipients(&envelope), ["<b@example.com>"]);
        let rejection = Rejection { status: "5.1.1".into(), text: "User unknown".into() };
        let rejected = Recipient::new(path("<d@example.com>"), Some(rejection));
        envelope.message.as_mut().unwrap().recipients.push(rejected);
        assert_eq!((recipients(&envelope).len(), envelope.all_recipients().len()), (1, 2));
    }
}

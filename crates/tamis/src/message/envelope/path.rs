//! Sender and recipient (spec §2.5).

use std::fmt;

use bytes::Bytes;
use tamis_proto::command;

use crate::message::{Address, Params, Text};

/// The sender of a message, with the ESMTP parameters of MAIL.
#[doc(alias = "xxfi_envfrom")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sender {
    address: Address,
    params: Params,
}

impl Sender {
    /// The address, as the client wrote it.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The ESMTP parameters.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Whether it is the null sender, `<>`, as of bounces.
    pub fn is_null(&self) -> bool {
        self.address.is_null()
    }

    /// The local part of the address, unquoted; see [`Address::local_part`].
    pub fn local_part(&self) -> &Text {
        self.address.local_part()
    }

    /// The domain of the address in lower case; see [`Address::domain`].
    pub fn domain(&self) -> Option<&str> {
        self.address.domain()
    }
}

/// The address, as the client wrote it.
impl fmt::Display for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

impl From<command::Envelope<Bytes>> for Sender {
    fn from(path: command::Envelope<Bytes>) -> Self {
        let (address, params) = parts(path);
        Self { address, params }
    }
}

/// A recipient of a message, with the ESMTP parameters of RCPT.
#[doc(alias = "xxfi_envrcpt")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    address: Address,
    params: Params,
    /// Rare, and a message may have thousands of recipients.
    rejection: Option<Box<Rejection>>,
}

impl Recipient {
    /// Makes a recipient of what the MTA handed over, and of what [`Facts::rejection`](crate::message::Facts::rejection)
    /// said with it.
    pub fn new(path: command::Envelope<Bytes>, rejection: Option<Rejection>) -> Self {
        let (address, params) = parts(path);
        Self { address, params, rejection: rejection.map(Box::new) }
    }

    /// The address, as the client wrote it.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The ESMTP parameters.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// The local part of the address, unquoted; see [`Address::local_part`].
    pub fn local_part(&self) -> &Text {
        self.address.local_part()
    }

    /// The domain of the address in lower case; see [`Address::domain`].
    pub fn domain(&self) -> Option<&str> {
        self.address.domain()
    }

    /// Whether the MTA rejects it, whatever the filter says. Such recipients are only seen if
    /// [asked for](crate::Needs::rejected_recipients).
    #[doc(alias = "SMFIP_RCPT_REJ")]
    pub fn is_rejected(&self) -> bool {
        self.rejection.is_some()
    }

    /// Why the MTA rejects it, if it does.
    pub fn rejection(&self) -> Option<&Rejection> {
        self.rejection.as_deref()
    }
}

/// The address, as the client wrote it.
impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

/// A recipient that the MTA does not reject.
impl From<command::Envelope<Bytes>> for Recipient {
    fn from(path: command::Envelope<Bytes>) -> Self {
        Self::new(path, None)
    }
}

/// Why an MTA rejects a recipient itself (spec §4.6).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rejection {
    /// The enhanced status code, such as `5.1.1`; empty if the MTA does not tell it.
    pub status: Text,
    /// The reason in words, empty if the MTA does not tell it. Sendmail puts the reply and status codes before it.
    pub text: Text,
}

/// Address and parameters. Sendmail before 8.17.2 has all parameters behind the address if it speaks SMTPUTF8.
fn parts(path: command::Envelope<Bytes>) -> (Address, Params) {
    let address = Address::parse(path.address.clone());
    let params = Params::from(path);
    if params.is_empty() && !address.trailing().is_empty() {
        let words = address.trailing().split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        let params = words.collect();
        return (address, params);
    }
    (address, params)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(address: &[u8], params: &[&str]) -> command::Envelope<Bytes> {
        command::Envelope::with_args(address, params).map(Bytes::from)
    }

    #[test]
    fn senders_have_their_parts_at_hand() {
        let sender = Sender::from(wire(b"<\"Joe D\"@Example.COM>", &["SIZE=7", "AUTH=<>"]));
        assert!(
            sender.domain() == Some("example.com") && sender.local_part() == "Joe D" && !sender.is_null()
        );
        assert_eq!((sender.params().size(), sender.params().len()), (Some(7), 2));
        assert_eq!(sender.to_string(), "<\"Joe D\"@Example.COM>");
        assert!(Sender::from(wire(b"<>", &[])).is_null());
    }

    #[test]
    fn recipients_know_whether_the_mta_rejects_them() {
        let recipient = Recipient::from(wire(b"joe@example.com", &["NOTIFY=NEVER"]));
        assert!(!recipient.is_rejected() && recipient.params().notify().unwrap().is_never());
        assert!(recipient.domain() == Some("example.com") && recipient.local_part() == "joe");
        let rejection = Rejection { status: "5.1.1".into(), text: "no such user here".into() };
        let recipient = Recipient::new(wire(b"<joe@example.com>", &[]), Some(rejection.clone()));
        assert_eq!((recipient.is_rejected(), recipient.rejection()), (true, Some(&rejection)));
    }

    #[test]
    fn parameters_that_came_inside_the_address_are_parameters() {
        let sender = Sender::from(wire("<jörg@example.com>  SIZE=7 SMTPUTF8 ".as_bytes(), &[]));
        assert_eq!(
            (sender.domain(), sender.params().to_string().as_str()),
            (Some("example.com"), "SIZE=7 SMTPUTF8")
        );
        let sender = Sender::from(wire(b"<joe@example.com> SIZE=7", &["SIZE=8"]));
        assert_eq!(sender.params().size(), Some(8), "real ones are believed first");
        assert_eq!(sender.address().as_bytes(), b"<joe@example.com> SIZE=7");
    }
}

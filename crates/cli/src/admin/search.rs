//! Which records are searched for, by who sent what to whom.

use std::net::IpAddr;

use tamis::server::IpNet;

use super::keep::Kept;

/// What is known of a record that is searched for. What is not said matches all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Search {
    client: Option<ClientIs>,
    sender: Option<String>,
    recipient: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum ClientIs {
    In(IpNet),
    Named(String),
}

impl Search {
    /// The names of its parts, which are those of the options of `tamis explain`.
    pub(crate) const PARTS: [&str; 3] = ["client", "sender", "recipient"];

    /// Adds a part; `false` if there is none of that name.
    pub(super) fn set(&mut self, part: &str, text: &str) -> bool {
        match part {
            "client" => self.client = Some(ClientIs::of(text)),
            "sender" => self.sender = Some(text.to_owned()),
            "recipient" => self.recipient = Some(text.to_owned()),
            _ => return false,
        }
        true
    }

    pub(super) fn matches(&self, kept: &Kept) -> bool {
        let client = |client: &ClientIs| client.is(kept);
        let sender = |wanted: &String| kept.sender().is_some_and(|sender| is(sender, wanted));
        let recipient = |wanted: &String| kept.recipients().any(|recipient| is(recipient, wanted));
        self.client.as_ref().is_none_or(client)
            && self.sender.as_ref().is_none_or(sender)
            && self.recipient.as_ref().is_none_or(recipient)
    }
}

impl ClientIs {
    fn of(text: &str) -> Self {
        let address = || text.parse::<IpAddr>().map(|address| IpNet::from(address.to_canonical()));
        match text.parse::<IpNet>().ok().or_else(|| address().ok()) {
            Some(network) => Self::In(network),
            None => Self::Named(text.to_owned()),
        }
    }

    fn is(&self, kept: &Kept) -> bool {
        let client = kept.client();
        match self {
            Self::In(network) => client.address.is_some_and(|address| network.contains(&address)),
            Self::Named(name) => client.name.as_ref().is_some_and(|own| own.eq_ignore_ascii_case(name)),
        }
    }
}

/// Whether an address is the one that is looked for, or one in the domain that is.
fn is(address: &str, wanted: &str) -> bool {
    if address.eq_ignore_ascii_case(wanted) {
        return true;
    }
    let domain = wanted.strip_prefix('@').unwrap_or(wanted);
    !domain.contains('@') && address.rsplit_once('@').is_some_and(|(_, own)| own.eq_ignore_ascii_case(domain))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tamis::chain::{Chain, Record};
    use tamis::linear::{Linear, Mail};
    use tamis::testing::Mta;
    use tamis::{BoxError, Verdict};

    use super::*;
    use crate::admin::generation::Generation;
    use crate::admin::record::About;

    /// What is kept of a message from a client, through a chain.
    fn kept(name: &str, address: &str) -> Kept {
        async fn pass(_: Mail) -> Result<Verdict, BoxError> {
            Ok(Verdict::Continue)
        }
        let seen = Arc::new(Mutex::new(None));
        let observer = {
            let seen = seen.clone();
            move |record: &Record| *seen.lock().unwrap() = Some(record.clone())
        };
        let mta = Mta::postfix().client(name, address.parse().unwrap());
        let mta = mta.from("<Joe@Example.com>").to("<jane@example.org>").to("<bob@example.net>");
        let chain = Chain::pipeline().add("pass", Linear::new(pass)).observer(Arc::new(observer));
        mta.message("Subject: hello\n\nHi!\n").run_blocking(|_| chain).unwrap();
        let record = seen.lock().unwrap().take().unwrap();
        Kept::new(About::Message, &record, &Generation::default())
    }

    #[test]
    fn messages_are_found_by_who_sends_them_and_to_whom() {
        let kept = kept("mail.example.com", "192.0.2.7:4321");
        let matches = |parts: &[(&str, &str)]| {
            let mut search = Search::default();
            assert!(parts.iter().all(|(part, text)| search.set(part, text)));
            search.matches(&kept)
        };
        assert!(matches(&[]));
        for (part, yes, no) in [
            ("client", "192.0.2.7", "192.0.2.8"),
            ("client", "192.0.2.0/24", "192.0.3.0/24"),
            ("client", "::ffff:192.0.2.7", "2001:db8::1"),
            ("client", "Mail.Example.com", "example.com"),
            ("sender", "joe@example.com", "oe@example.com"),
            ("sender", "example.com", "com"),
            ("sender", "@example.com", "@example.org"),
            ("recipient", "bob@example.net", "joe@example.com"),
            ("recipient", "example.org", "jane"),
        ] {
            assert!(matches(&[(part, yes)]), "{part} {yes}");
            assert!(!matches(&[(part, no)]), "{part} {no}");
        }
        assert!(matches(&[("client", "192.0.2.7"), ("sender", "example.com"), ("recipient", "example.org")]));
        assert!(!matches(&[("client", "192.0.2.7"), ("sender", "example.org")]));
        assert!(!Search::default().set("queue", "x"));
    }
}

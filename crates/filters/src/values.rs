//! What is known of a message, under the names that templates and log lines have for it.

use std::borrow::Cow;

use tamis::Needs;
use tamis::message::{Client, Envelope, Fact, Facts};
use tamis::proto::MacroStage;

use crate::condition::Check;

/// Something that is known of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    QueueId,
    Mta,
    Daemon,
    Client,
    ClientIp,
    ClientName,
    Helo,
    Tls,
    User,
    Sender,
    SenderDomain,
    Recipients,
    RecipientCount,
    Macro(Box<str>),
}

/// All names, with what they stand for.
const NAMES: [(&str, Value); 13] = [
    ("queue_id", Value::QueueId),
    ("mta", Value::Mta),
    ("daemon", Value::Daemon),
    ("client", Value::Client),
    ("client_ip", Value::ClientIp),
    ("client_name", Value::ClientName),
    ("helo", Value::Helo),
    ("tls", Value::Tls),
    ("user", Value::User),
    ("sender", Value::Sender),
    ("sender_domain", Value::SenderDomain),
    ("recipients", Value::Recipients),
    ("recipient_count", Value::RecipientCount),
];

impl Value {
    /// Most recipients that are listed.
    pub(crate) const MOST_RECIPIENTS: usize = 50;

    /// The names of all but macros.
    pub(crate) fn names() -> impl Iterator<Item = &'static str> {
        NAMES.iter().map(|(name, _)| *name)
    }

    /// Its name as it is written in a configuration.
    pub(crate) fn name(&self) -> Cow<'static, str> {
        match self {
            Self::Macro(name) if fact(name).is_some() => name.to_string().into(),
            Self::Macro(name) => format!("macro:{name}").into(),
            value => NAMES.iter().find(|(_, known)| known == value).map_or("", |(name, _)| name).into(),
        }
    }

    /// Looks up a name: one of its own, a macro that is known (`i`, `auth_authen`), or `macro:NAME` for any other.
    pub(crate) fn find(name: &str) -> Option<Self> {
        if let Some((_, value)) = NAMES.iter().find(|(known, _)| *known == name) {
            return Some(value.clone());
        }
        let any = name
            .strip_prefix("macro:")
            .filter(|name| !name.is_empty() && !name.contains(['{', '}', ' ', ',']));
        let known = || Some(name).filter(|name| fact(name).is_some());
        any.or_else(known).map(|name| Self::Macro(name.into()))
    }

    /// As [`find`](Self::find), with what to write instead.
    pub(crate) fn named(name: &str) -> Result<Self, String> {
        Self::find(name).ok_or_else(|| {
            let names: Vec<_> = Self::names().map(|name| format!("{{{name}}}")).collect();
            format!(
                "nothing is known as {{{name}}}: write a macro as {{macro:NAME}}, or one of {}",
                names.join(", ")
            )
        })
    }

    /// What it is for this message; none if it is not known.
    pub(crate) fn text<'a>(&self, envelope: &'a Envelope, facts: Facts<'a>) -> Option<Cow<'a, [u8]>> {
        let text = |text: &'a str| Cow::Borrowed(text.as_bytes());
        let own = |text: String| Cow::Owned(text.into_bytes());
        let client = envelope.client();
        match self {
            Self::QueueId => facts.queue_id().map(text),
            Self::Mta => facts.mta_name().map(text),
            Self::Daemon => facts.daemon_name().map(text),
            Self::Client => client.map(|client| own(client.to_string())),
            Self::ClientIp => client.and_then(Client::ip).map(|ip| own(ip.to_canonical().to_string())),
            Self::ClientName => client.and_then(Client::name).map(text),
            Self::Helo => envelope.helo().map(|name| name.as_bytes().into()),
            Self::Tls => facts.tls_version().map(text),
            Self::User => facts.get("auth_authen").filter(|user| !user.is_empty()).map(Cow::Borrowed),
            Self::Sender => envelope.sender().map(|sender| sender.address().mailbox().into()),
            Self::SenderDomain => envelope.sender().and_then(|sender| sender.domain()).map(text),
            Self::Recipients => {
                let recipients = envelope.recipients().take(Self::MOST_RECIPIENTS);
                let all: Vec<_> = recipients.map(|to| to.address().mailbox()).collect();
                Some(all.join(&b", "[..]).into())
            }
            Self::RecipientCount => Some(own(envelope.recipients().count().to_string())),
            Self::Macro(name) => facts.get(&**name).map(Cow::Borrowed),
        }
    }
}

/// What a filter has to ask for, to know what it wants to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asks {
    /// It looks at the envelope.
    pub(crate) envelope: bool,
    facts: Vec<Fact>,
    macros: Vec<String>,
}

impl Asks {
    pub(crate) fn value(&mut self, value: &Value) {
        match value {
            Value::QueueId => self.facts.push(Fact::QueueId),
            Value::Mta => self.facts.push(Fact::MtaName),
            Value::Daemon => self.facts.push(Fact::DaemonName),
            Value::Tls => self.facts.push(Fact::TlsVersion),
            Value::User => self.facts.push(Fact::AuthUser),
            Value::Macro(name) => match fact(name) {
                Some(fact) => self.facts.push(fact),
                None => self.macros.push(name.to_string()),
            },
            _ => self.envelope = true,
        }
    }

    pub(crate) fn check(&mut self, check: &Check) {
        self.envelope = true;
        self.facts.extend(check.facts());
    }

    /// The names of all macros.
    pub(crate) fn macro_names(&self) -> Vec<String> {
        let facts = self.facts.iter().map(|fact| fact.macro_name().to_owned());
        let mut names: Vec<_> = facts.chain(self.macros.iter().cloned()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Adds the macros to what a filter needs: nothing where the MTAs send by default what is wanted, as a list would
    /// take the place of all that.
    pub(crate) fn add_to(&self, mut needs: Needs) -> Needs {
        for stage in MacroStage::ALL {
            let here: Vec<Fact> =
                self.facts.iter().copied().filter(|fact| fact.stages().contains(&stage)).collect();
            let others: &[String] = if stage == MacroStage::EndOfMessage { &self.macros } else { &[] };
            if here.iter().all(|fact| DEFAULT.contains(fact)) && others.is_empty() {
                continue;
            }
            needs = needs.macros(stage, here.iter().map(|fact| fact.macro_name()));
            needs = needs.macros(stage, others);
        }
        needs
    }
}

/// What both MTAs tell without being asked.
const DEFAULT: [Fact; 17] = [
    Fact::QueueId,
    Fact::MtaName,
    Fact::DaemonName,
    Fact::ClientDescription,
    Fact::TlsVersion,
    Fact::Cipher,
    Fact::CipherBits,
    Fact::CertSubject,
    Fact::CertIssuer,
    Fact::AuthUser,
    Fact::AuthType,
    Fact::AuthAuthor,
    Fact::MailAddr,
    Fact::MailHost,
    Fact::MailMailer,
    Fact::RcptAddr,
    Fact::RcptHost,
];

/// The fact that a macro tells.
fn fact(name: &str) -> Option<Fact> {
    let bare = |name: &'static str| name.trim_start_matches('{').trim_end_matches('}');
    Fact::ALL.iter().copied().find(|fact| bare(fact.macro_name()) == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_of_the_message_or_of_macros() {
        assert_eq!(Value::named("sender"), Ok(Value::Sender));
        for name in ["i", "auth_authen", "macro:anything"] {
            assert!(matches!(Value::named(name), Ok(Value::Macro(_))), "{name}");
        }
        for name in ["sendr", "", "macro:", "{i}", "macro:a b"] {
            assert!(Value::named(name).unwrap_err().contains("one of {queue_id}, "), "{name}");
        }
    }

    #[test]
    fn lists_of_macros_are_asked_for_only_where_the_mta_would_not_send_what_is_wanted() {
        let mut asks = Asks::default();
        for name in ["queue_id", "i", "auth_authen", "tls", "daemon"] {
            asks.value(&Value::find(name).unwrap());
        }
        assert_eq!(asks.add_to(Needs::new()), Needs::new());
        asks.value(&Value::find("client_ptr").unwrap());
        asks.value(&Value::find("macro:mine").unwrap());
        let needs = Needs::new()
            .macros(MacroStage::Connect, ["{daemon_name}", "{client_ptr}"])
            .macros(MacroStage::EndOfMessage, ["mine"]);
        assert_eq!(asks.add_to(Needs::new()), needs);
    }
}

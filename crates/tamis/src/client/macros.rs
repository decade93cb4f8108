//! Macros as Postfix and Sendmail send them (spec §8.1, §4.8).

use std::collections::BTreeMap;

use bytes::Bytes;
use tamis_proto::command::{Kind, Macros};
use tamis_proto::{Agreement, MacroStage, Profile, Stage};

use super::mail::{Macro, Mail};

/// The values of macros for a piece of mail, and which of them a filter gets at each stage.
#[derive(Debug)]
pub struct MacroSource {
    profile: Profile,
    values: BTreeMap<String, Bytes>,
    /// Values that stand in for those that the MTA would have.
    given: BTreeMap<String, Bytes>,
    extra: Vec<Macro>,
    /// What the MTA is configured to send beyond its defaults.
    configured: Vec<(Stage, String)>,
}

/// The queue id of mail that is never queued.
pub(crate) const QUEUE_ID: &str = "4TAMIS0SEND";

impl MacroSource {
    /// The macros that an MTA knows when a client has named itself and the sender.
    pub fn new(profile: Profile, mail: &Mail) -> Self {
        let mut source = Self {
            profile,
            values: BTreeMap::new(),
            given: BTreeMap::new(),
            extra: Vec::new(),
            configured: Vec::new(),
        };
        let address = mail.client.map(|client| client.ip().to_string());
        let address = address.as_deref().unwrap_or("unknown");
        let name = mail.client_name.clone().unwrap_or_else(|| Bytes::from_static(b"unknown"));
        let shown_name = String::from_utf8_lossy(&name).into_owned();
        for (macro_name, value) in [
            ("j", "mta.example"),
            ("v", if profile == Profile::Postfix { "Postfix 3.7.11" } else { "8.17.1.9" }),
            ("{daemon_name}", if profile == Profile::Postfix { "mta.example" } else { "MTA" }),
            ("{daemon_addr}", "127.0.0.1"),
            ("{daemon_port}", "25"),
            ("{client_addr}", address),
            ("{client_name}", &shown_name),
            ("{client_ptr}", &shown_name),
            ("_", &format!("{shown_name} [{address}]")),
            ("{client_port}", &mail.client.map_or(0, |client| client.port()).to_string()),
            ("{mail_mailer}", if profile == Profile::Postfix { "smtp" } else { "esmtp" }),
        ] {
            source.set(macro_name, value.to_owned());
        }
        source.set("{mail_addr}", shown(profile, &mail.sender.address));
        source.set("{mail_host}", domain(&mail.sender.address));
        if profile == Profile::Sendmail {
            source.set("i", QUEUE_ID);
        }
        for given in &mail.macros {
            let name = braced(&given.name);
            if given.stage.is_none() && (source.values.contains_key(&name) || is_listed(profile, &name)) {
                source.given.insert(name, given.value.clone());
            } else {
                source.extra.push(Macro { name, ..given.clone() });
            }
        }
        source
    }

    /// Notes the recipient that comes next.
    pub fn recipient(&mut self, address: &Bytes) {
        self.set("{rcpt_addr}", shown(self.profile, address));
        self.set("{rcpt_host}", domain(address));
        self.set("{rcpt_mailer}", if self.profile == Profile::Postfix { "smtp" } else { "esmtp" });
    }

    /// Notes that a recipient was accepted: from now on Postfix has a queue id.
    pub fn queued(&mut self) {
        self.values.entry("i".into()).or_insert_with(|| Bytes::from_static(QUEUE_ID.as_bytes()));
    }

    /// The packet that precedes a command, if the MTA sends one there.
    pub fn packet(&self, stage: Stage, agreement: &Agreement) -> Option<Macros<Vec<u8>>> {
        let names = self.names(stage, agreement)?;
        let extra = self.extra.iter().filter(|given| given.stage.unwrap_or(Stage::Connect) == stage);
        let listed = names.iter().filter_map(|name| Some((name.as_str(), self.value(&braced(name))?)));
        let pairs = listed.chain(extra.map(|given| (given.name.as_str(), &given.value)));
        Some(Macros::new(Kind::of_stage(stage), pairs))
    }

    /// The names that are sent at a stage if they have a value; `None` where no packet is sent.
    pub(crate) fn names(&self, stage: Stage, agreement: &Agreement) -> Option<Vec<String>> {
        let list = |stage| agreement.macros.get(stage);
        let wanted = match (self.profile, stage) {
            // Postfix has no lists of their own for these.
            (Profile::Postfix, Stage::Header) => list(MacroStage::EndOfHeaders),
            (Profile::Postfix, Stage::Body) => list(MacroStage::EndOfMessage),
            // Sendmail asks whether there is a list for the end of headers before it uses this one.
            (Profile::Sendmail, Stage::EndOfMessage) => {
                list(MacroStage::EndOfHeaders).map(|_| list(MacroStage::EndOfMessage).unwrap_or_default())
            }
            _ => MacroStage::ALL.into_iter().find(|at| at.stage() == stage).and_then(list),
        };
        match wanted {
            // Postfix takes an empty list for none.
            Some([]) if self.profile == Profile::Sendmail => None,
            Some(names) if !names.is_empty() => Some(names.to_vec()),
            _ => self.unasked(stage),
        }
    }

    /// The names that are sent to filters that have no list.
    fn unasked(&self, stage: Stage) -> Option<Vec<String>> {
        let configured: Vec<_> =
            self.configured.iter().filter(|(at, _)| *at == stage).map(|(_, name)| name.clone()).collect();
        match defaults(self.profile, stage) {
            None if configured.is_empty() => None,
            names => {
                let names = names.unwrap_or_default().iter().map(|name| (*name).to_owned());
                Some(names.chain(configured).collect())
            }
        }
    }

    /// Gives a macro a value, which is sent where the filter or the MTA's configuration lists it.
    #[cfg(feature = "testing")]
    pub(crate) fn give(&mut self, name: &str, value: Bytes) {
        self.given.insert(braced(name), value);
    }

    /// Lists a macro at a stage in the MTA's configuration.
    #[cfg(feature = "testing")]
    pub(crate) fn configure(&mut self, stage: Stage, name: &str) {
        self.configured.push((stage, braced(name)));
    }

    fn value(&self, name: &str) -> Option<&Bytes> {
        self.given.get(name).or_else(|| self.values.get(name))
    }

    fn set(&mut self, name: &str, value: impl Into<Bytes>) {
        self.values.insert(name.into(), value.into());
    }
}

/// What both MTAs are shipped to send; `None` where they send no packet.
fn defaults(profile: Profile, stage: Stage) -> Option<&'static [&'static str]> {
    const TLS: &[&str] = &["{tls_version}", "{cipher}", "{cipher_bits}", "{cert_subject}", "{cert_issuer}"];
    Some(match (profile, stage) {
        (_, Stage::Helo) => TLS,
        (Profile::Sendmail, Stage::Connect) => &["j", "_", "{daemon_name}", "{if_name}", "{if_addr}"],
        (Profile::Sendmail, Stage::Mail) => &[
            "i",
            "{auth_type}",
            "{auth_authen}",
            "{auth_ssf}",
            "{auth_author}",
            "{mail_mailer}",
            "{mail_host}",
            "{mail_addr}",
        ],
        (Profile::Sendmail, Stage::Rcpt) => &["{rcpt_mailer}", "{rcpt_host}", "{rcpt_addr}"],
        (Profile::Sendmail, Stage::EndOfMessage) => &["{msg_id}"],
        (Profile::Sendmail, _) => return None,
        (Profile::Postfix, Stage::Connect) => &["j", "{daemon_name}", "{daemon_addr}", "v", "_"],
        (Profile::Postfix, Stage::Mail) => &[
            "i",
            "{auth_type}",
            "{auth_authen}",
            "{auth_author}",
            "{mail_addr}",
            "{mail_host}",
            "{mail_mailer}",
        ],
        (Profile::Postfix, Stage::Rcpt) => &["i", "{rcpt_addr}", "{rcpt_host}", "{rcpt_mailer}"],
        (Profile::Postfix, Stage::Unknown) => &[],
        (Profile::Postfix, _) => &["i"],
    })
}

fn is_listed(profile: Profile, name: &str) -> bool {
    Stage::ALL.into_iter().filter_map(|stage| defaults(profile, stage)).any(|list| list.contains(&name))
}

/// A name as the values are kept: one letter bare, everything longer in braces.
pub(crate) fn braced(name: &str) -> String {
    let bare = name.strip_prefix('{').and_then(|name| name.strip_suffix('}')).unwrap_or(name);
    if bare.len() == 1 { bare.to_owned() } else { format!("{{{bare}}}") }
}

/// An address as macros have it: Postfix writes it in lower case (spec §8.2).
fn shown(profile: Profile, address: &Bytes) -> Bytes {
    match profile {
        Profile::Postfix => address.to_ascii_lowercase().into(),
        Profile::Sendmail => address.clone(),
    }
}

fn domain(address: &Bytes) -> Bytes {
    let at = address.iter().rposition(|byte| *byte == b'@');
    at.map_or_else(Bytes::new, |at| address.slice(at + 1..))
}

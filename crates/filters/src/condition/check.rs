//! [`Check`]: a condition that can be looked at.

use std::sync::Arc;

use tamis::Stage;
use tamis::chain::Condition;
use tamis::message::{Client, Envelope, Fact, Facts};

use super::{Login, Scope, When};
use crate::config::Build;
use crate::lists::{Addresses, Domains, Entries, List, Networks, ReadLines, Words, looks_dynamic};

/// A condition that can be looked at.
#[derive(Debug)]
pub struct Check(Node);

#[derive(Debug)]
enum Node {
    Client(List<Networks>),
    ClientName(List<Domains>),
    Dynamic,
    Helo(List<Domains>),
    Authenticated,
    User(List<Words>),
    Tls,
    Daemon(String),
    Sender(List<Addresses>),
    SenderDomain(List<Domains>),
    Recipient(List<Addresses>),
    RecipientDomain(List<Domains>),
    AcceptedBy(String),
    Failed(String),
    Not(Box<Check>),
    All(Vec<Check>),
    Any(Vec<Check>),
}

impl Check {
    pub(super) fn build(when: When, scope: Scope, build: &mut Build) -> Option<Self> {
        Maker { scope, build, checks: Vec::new(), sound: true }.make(when)
    }

    /// Whether it holds, by what is known when all recipients came.
    pub fn holds(&self, envelope: &Envelope, facts: Facts<'_>) -> bool {
        match &self.0 {
            Node::Client(list) => {
                envelope.client().and_then(Client::ip).is_some_and(|address| list.contains(address))
            }
            Node::ClientName(list) => {
                let name = envelope.client().and_then(Client::name);
                name.is_some_and(|name| list.contains(name))
            }
            Node::Dynamic => envelope.client().is_some_and(is_dynamic),
            Node::Helo(list) => {
                let name = envelope.helo().and_then(|name| name.to_str().ok());
                name.is_some_and(|name| list.contains(name))
            }
            Node::Authenticated => facts.is_authenticated(),
            Node::User(list) => facts.auth_user().is_some_and(|user| list.any(|users| users.contains(user))),
            Node::Tls => facts.is_tls(),
            Node::Daemon(name) => facts.daemon_name() == Some(name),
            Node::Sender(list) => envelope.sender().is_some_and(|sender| list.contains(sender.address())),
            Node::SenderDomain(list) => {
                let domain = envelope.sender().and_then(|sender| sender.domain());
                domain.is_some_and(|domain| list.contains(domain))
            }
            Node::Recipient(list) => {
                let mut recipients = envelope.recipients();
                recipients.any(|to| list.contains(to.address()))
            }
            Node::RecipientDomain(list) => {
                let mut domains = envelope.recipients().filter_map(|to| to.domain());
                domains.any(|domain| list.contains(domain))
            }
            // Not to be had in a filter.
            Node::AcceptedBy(_) | Node::Failed(_) => false,
            Node::Not(check) => !check.holds(envelope, facts),
            Node::All(checks) => checks.iter().all(|check| check.holds(envelope, facts)),
            Node::Any(checks) => checks.iter().any(|check| check.holds(envelope, facts)),
        }
    }

    /// The facts that it looks at.
    pub fn facts(&self) -> Vec<Fact> {
        match &self.0 {
            Node::Authenticated | Node::User(_) => vec![Fact::AuthType, Fact::AuthUser],
            Node::Tls => vec![Fact::TlsVersion, Fact::Cipher],
            Node::Daemon(_) => vec![Fact::DaemonName],
            Node::Not(check) => check.facts(),
            Node::All(checks) | Node::Any(checks) => checks.iter().flat_map(Self::facts).collect(),
            _ => Vec::new(),
        }
    }

    /// The same as the condition of a filter of a chain, which is decided as early as can be.
    pub fn into_condition(self) -> Condition {
        let stage = match &self.0 {
            Node::Client(_) | Node::ClientName(_) | Node::Dynamic => Stage::Connect,
            // There may be another HELO, or none.
            Node::Helo(_) | Node::User(_) | Node::Sender(_) | Node::SenderDomain(_) => Stage::Mail,
            _ => Stage::Data,
        };
        match self.0 {
            Node::Authenticated => Condition::authenticated(),
            Node::Tls => Condition::tls(),
            Node::Daemon(name) => Condition::daemon(name),
            Node::AcceptedBy(filter) => Condition::accepted_by(filter),
            Node::Failed(filter) => Condition::failed(filter),
            Node::Not(check) => !check.into_condition(),
            Node::All(checks) => Condition::all(checks.into_iter().map(Self::into_condition)),
            Node::Any(checks) => Condition::any(checks.into_iter().map(Self::into_condition)),
            // It asks for its macros by being an `authenticated` besides.
            node @ Node::User(_) => Condition::authenticated() & Self(node).into_when(stage),
            node => Self(node).into_when(stage),
        }
    }

    fn into_when(self, stage: Stage) -> Condition {
        let check = Arc::new(self);
        Condition::when(stage, move |seen| check.holds(seen.envelope(), seen.facts()))
    }
}

fn is_dynamic(client: &Client) -> bool {
    client.ip().zip(client.name()).is_some_and(|(address, name)| looks_dynamic(address, name))
}

/// Makes a check of a table.
struct Maker<'b> {
    scope: Scope,
    build: &'b mut Build,
    checks: Vec<Check>,
    sound: bool,
}

impl Maker<'_> {
    fn make(mut self, when: When) -> Option<Check> {
        let When { client, client_name, dynamic_client, helo, authenticated, tls, daemon, .. } = when;
        let When {
            sender,
            sender_domain,
            recipient,
            recipient_domain,
            accepted_by,
            failed,
            not,
            all,
            any,
            ..
        } = when;
        self.list("client", client, Node::Client);
        self.list("client_name", client_name, Node::ClientName);
        self.flag(dynamic_client, Node::Dynamic);
        self.list("helo", helo, Node::Helo);
        match authenticated {
            Some(Login::Is(is)) => self.flag(Some(is), Node::Authenticated),
            Some(Login::As(users)) => self.list("authenticated", Some(users), Node::User),
            None => {}
        }
        self.flag(tls, Node::Tls);
        self.names("daemon", daemon.map(|names| names.0), Node::Daemon);
        self.list("sender", sender, Node::Sender);
        self.list("sender_domain", sender_domain, Node::SenderDomain);
        self.list("recipient", recipient, Node::Recipient);
        self.list("recipient_domain", recipient_domain, Node::RecipientDomain);
        for (key, names) in [("accepted_by", &accepted_by), ("failed", &failed)] {
            if names.is_some() && self.scope == Scope::Filter {
                self.sound = false;
                self.build.within(key, |build| {
                    build.mistake(
                        "other filters are not known here: put it into the `when` of the filter itself",
                    );
                });
            }
        }
        self.names("accepted_by", accepted_by.map(|names| names.0), Node::AcceptedBy);
        self.names("failed", failed.map(|names| names.0), Node::Failed);
        if let Some(inner) = not {
            let inner = self.build.within("not", |build| Check::build(*inner, self.scope, build));
            self.push(inner.map(|check| Node::Not(Box::new(check))));
        }
        self.tables("all", all, Node::All);
        self.tables("any", any, Node::Any);
        if self.checks.is_empty() && self.sound {
            self.build.warning("a condition that says nothing always holds: leave it out");
        }
        self.sound.then(|| match <[Check; 1]>::try_from(self.checks) {
            Ok([check]) => check,
            Err(checks) => Check(Node::All(checks)),
        })
    }

    fn push(&mut self, node: Option<Node>) {
        self.sound &= node.is_some();
        self.checks.extend(node.map(Check));
    }

    fn flag(&mut self, wanted: Option<bool>, node: Node) {
        match wanted {
            Some(true) => self.push(Some(node)),
            Some(false) => self.push(Some(Node::Not(Box::new(Check(node))))),
            None => {}
        }
    }

    fn list<T: ReadLines>(&mut self, key: &str, entries: Option<Entries>, node: fn(List<T>) -> Node) {
        if let Some(entries) = entries {
            let list = self.build.within(key, |build| List::build(&entries, build));
            self.push(list.map(node));
        }
    }

    fn names(&mut self, key: &str, names: Option<Vec<String>>, node: fn(String) -> Node) {
        let Some(names) = names else { return };
        if names.is_empty() {
            self.build.within(key, |build| build.warning("the list is empty: nothing is in it"));
        }
        self.push(Some(Node::Any(names.into_iter().map(|name| Check(node(name))).collect())));
    }

    fn tables(&mut self, key: &str, tables: Option<Vec<When>>, node: fn(Vec<Check>) -> Node) {
        let Some(tables) = tables else { return };
        let scope = self.scope;
        let checks: Vec<Option<Check>> = self.build.within(key, |build| {
            if tables.is_empty() {
                build.warning("an empty array says nothing: leave it out");
            }
            let each = tables.into_iter().enumerate();
            each.map(|(index, when)| build.within(index, |build| Check::build(when, scope, build))).collect()
        });
        self.push(checks.into_iter().collect::<Option<Vec<Check>>>().map(node));
    }
}

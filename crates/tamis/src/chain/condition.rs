//! [`Condition`]: for which messages a filter of a chain is asked.

use std::fmt;
use std::ops;
use std::sync::Arc;

use ipnet::IpNet;
use tamis_proto::{MacroLists, MacroStage, Stage};

use crate::message::{Client, Envelope, Fact, Facts};

/// For which messages a filter is asked, by what is known of the connection and the envelope.
///
/// Conditions are combined with `&`, `|` and `!`. One that cannot be decided yet holds back the filter's steps; when it
/// can be, at the latest when the recipients are through, they are shown to the filter or dropped. A verdict that refuses
/// something held back answers the step at which it is shown; recipients before that one have been accepted.
/// Commands that the MTA does not know are not held back. A filter whose condition is not met sees nothing of the
/// message, and has no say in it.
///
/// ```
/// use tamis::chain::{Chain, Condition, Member};
/// # use tamis::{Context, Event, Filter, Needs, Reply};
/// # struct Greylist;
/// # impl Filter for Greylist { type Message = (); fn needs(&self) -> Needs { Needs::new() }
/// #   async fn on(&mut self, _: &mut Context<'_, ()>, _: Event) -> Reply { Ok(Default::default()) } }
///
/// let inside = Condition::client_in(["192.0.2.0/24".parse()?, "2001:db8::/32".parse()?]);
/// let outside = !(inside | Condition::authenticated());
/// let chain = Chain::pipeline().member(Member::new("greylist", Greylist).condition(outside));
/// # Ok::<(), ipnet::AddrParseError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "it is for `Member::condition`"]
pub struct Condition(Node);

#[derive(Clone)]
enum Node {
    ClientIn(Vec<IpNet>),
    Authenticated,
    Tls,
    Daemon(String),
    SenderDomain(String),
    RecipientDomain(String),
    AcceptedBy(String),
    Failed(String),
    When(Stage, Arc<dyn Fn(&Seen<'_>) -> bool + Send + Sync>),
    Not(Box<Condition>),
    All(Vec<Condition>),
    Any(Vec<Condition>),
}

/// What a condition of an author's own looks at.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    envelope: &'a Envelope,
    facts: Facts<'a>,
}

impl<'a> Seen<'a> {
    /// Client, sender and recipients, as far as they came.
    pub fn envelope(&self) -> &'a Envelope {
        self.envelope
    }

    /// What the MTA tells by macros.
    pub fn facts(&self) -> Facts<'a> {
        self.facts
    }
}

/// What is known when a condition is looked at.
pub(super) struct Known<'a> {
    pub(super) stage: Stage,
    pub(super) envelope: &'a Envelope,
    pub(super) facts: Facts<'a>,
    /// What became of an earlier filter.
    pub(super) earlier: &'a dyn Fn(&str) -> Earlier,
}

/// What became of an earlier filter by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Earlier {
    Open,
    Accepted,
    Failed,
}

impl Condition {
    /// The client's address is in one of these networks. One without an address is in none.
    pub fn client_in(networks: impl IntoIterator<Item = IpNet>) -> Self {
        Self(Node::ClientIn(networks.into_iter().collect()))
    }

    /// The client has logged in.
    pub fn authenticated() -> Self {
        Self(Node::Authenticated)
    }

    /// The client speaks TLS when it names the sender.
    pub fn tls() -> Self {
        Self(Node::Tls)
    }

    /// The client came to the listener of this name: the macro `{daemon_name}`, which Postfix has from
    /// `milter_macro_daemon_name`.
    pub fn daemon(name: impl Into<String>) -> Self {
        Self(Node::Daemon(name.into()))
    }

    /// The sender is of this domain.
    pub fn sender_domain(domain: impl Into<String>) -> Self {
        Self(Node::SenderDomain(domain.into()))
    }

    /// Some recipient is of this domain.
    pub fn recipient_domain(domain: impl Into<String>) -> Self {
        Self(Node::RecipientDomain(domain.into()))
    }

    /// The filter of this name, which stands before in the chain, accepted the message or the connection before the
    /// content came.
    pub fn accepted_by(filter: impl Into<String>) -> Self {
        Self(Node::AcceptedBy(filter.into()))
    }

    /// The filter of this name, which stands before in the chain, failed before the content came.
    pub fn failed(filter: impl Into<String>) -> Self {
        Self(Node::Failed(filter.into()))
    }

    /// Something else, which is known from this stage on: connect, mail, or for what is about recipients, data.
    pub fn when(stage: Stage, holds: impl Fn(&Seen<'_>) -> bool + Send + Sync + 'static) -> Self {
        Self(Node::When(stage, Arc::new(holds)))
    }

    /// Holds where all of these do.
    pub fn all(conditions: impl IntoIterator<Item = Self>) -> Self {
        Self(Node::All(conditions.into_iter().collect()))
    }

    /// Holds where any of these does.
    pub fn any(conditions: impl IntoIterator<Item = Self>) -> Self {
        Self(Node::Any(conditions.into_iter().collect()))
    }

    /// Whether it is met, as soon as that can be told.
    pub(super) fn holds(&self, known: &Known<'_>) -> Option<bool> {
        let Known { stage, envelope, facts, earlier } = known;
        let from = |begin: Stage| begin <= *stage && *stage != Stage::Unknown;
        let at = |begin: Stage, holds: &dyn Fn() -> bool| from(begin).then(holds);
        // True at once, false when there is nothing more to come.
        let some = |end: Stage, holds: bool| if holds { Some(true) } else { from(end).then_some(false) };
        match &self.0 {
            Node::ClientIn(networks) => at(Stage::Connect, &|| {
                let address = envelope.client().and_then(Client::ip).map(|ip| ip.to_canonical());
                address.is_some_and(|address| networks.iter().any(|network| network.contains(&address)))
            }),
            Node::Authenticated => at(Stage::Mail, &|| facts.is_authenticated()),
            Node::Tls => at(Stage::Mail, &|| facts.is_tls()),
            Node::Daemon(name) => at(Stage::Connect, &|| facts.daemon_name() == Some(name)),
            Node::SenderDomain(domain) => at(Stage::Mail, &|| {
                envelope.sender().is_some_and(|sender| is_domain(sender.domain(), domain))
            }),
            Node::RecipientDomain(domain) => {
                let mut recipients = envelope.recipients();
                let holds = from(Stage::Rcpt) && recipients.any(|to| is_domain(to.domain(), domain));
                some(Stage::Data, holds)
            }
            Node::AcceptedBy(name) => some(Stage::Data, earlier(name) == Earlier::Accepted),
            Node::Failed(name) => some(Stage::Data, earlier(name) == Earlier::Failed),
            Node::When(begin, holds) => at(*begin, &|| holds(&Seen { envelope, facts: *facts })),
            Node::Not(condition) => condition.holds(known).map(|holds| !holds),
            Node::All(conditions) => combined(conditions, known, false),
            Node::Any(conditions) => combined(conditions, known, true),
        }
    }

    /// The stage at which it is decided at the latest: connect, mail or data.
    pub(super) fn latest(&self) -> Stage {
        match &self.0 {
            Node::ClientIn(_) | Node::Daemon(_) => Stage::Connect,
            Node::Authenticated | Node::Tls | Node::SenderDomain(_) => Stage::Mail,
            Node::RecipientDomain(_) | Node::AcceptedBy(_) | Node::Failed(_) => Stage::Data,
            Node::When(stage, _) => match stage {
                Stage::Connect => Stage::Connect,
                Stage::Helo | Stage::Mail => Stage::Mail,
                _ => Stage::Data,
            },
            Node::Not(condition) => condition.latest(),
            Node::All(conditions) | Node::Any(conditions) => {
                conditions.iter().map(Self::latest).max().unwrap_or(Stage::Connect)
            }
        }
    }

    /// Adds the macros that it looks at.
    pub(super) fn ask(&self, lists: &mut MacroLists) {
        let mut want = |stage: MacroStage, facts: &[Fact]| {
            lists.want(stage, facts.iter().map(|fact| fact.macro_name()));
        };
        match &self.0 {
            Node::Authenticated => want(MacroStage::Mail, &[Fact::AuthType, Fact::AuthUser]),
            Node::Tls => want(MacroStage::Helo, &[Fact::TlsVersion, Fact::Cipher]),
            Node::Daemon(_) => want(MacroStage::Connect, &[Fact::DaemonName]),
            Node::Not(condition) => condition.ask(lists),
            Node::All(conditions) | Node::Any(conditions) => {
                for condition in conditions {
                    condition.ask(lists);
                }
            }
            _ => {}
        }
    }
}

/// Whether any of the conditions is as wanted, or else all are not.
fn combined(conditions: &[Condition], known: &Known<'_>, wanted: bool) -> Option<bool> {
    let mut all_known = true;
    for condition in conditions {
        match condition.holds(known) {
            Some(holds) if holds == wanted => return Some(wanted),
            Some(_) => {}
            None => all_known = false,
        }
    }
    all_known.then_some(!wanted)
}

fn is_domain(domain: Option<&str>, wanted: &str) -> bool {
    domain.is_some_and(|domain| domain.eq_ignore_ascii_case(wanted.trim_end_matches('.')))
}

impl ops::Not for Condition {
    type Output = Self;

    fn not(self) -> Self {
        Self(Node::Not(Box::new(self)))
    }
}

impl ops::BitAnd for Condition {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        Self::all([self, other])
    }
}

impl ops::BitOr for Condition {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self::any([self, other])
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClientIn(networks) => f.debug_tuple("ClientIn").field(networks).finish(),
            Self::Authenticated => f.write_str("Authenticated"),
            Self::Tls => f.write_str("Tls"),
            Self::Daemon(name) => f.debug_tuple("Daemon").field(name).finish(),
            Self::SenderDomain(domain) => f.debug_tuple("SenderDomain").field(domain).finish(),
            Self::RecipientDomain(domain) => f.debug_tuple("RecipientDomain").field(domain).finish(),
            Self::AcceptedBy(filter) => f.debug_tuple("AcceptedBy").field(filter).finish(),
            Self::Failed(filter) => f.debug_tuple("Failed").field(filter).finish(),
            Self::When(stage, _) => f.debug_tuple("When").field(stage).finish(),
            Self::Not(condition) => f.debug_tuple("Not").field(condition).finish(),
            Self::All(conditions) => f.debug_tuple("All").field(conditions).finish(),
            Self::Any(conditions) => f.debug_tuple("Any").field(conditions).finish(),
        }
    }
}

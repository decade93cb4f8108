//! [`Map`]: what is to be done, by key.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use ipnet::IpNet;
use tamis::Verdict;
use tamis::message::Address;

use super::action::{self, Action};
use crate::lists::{Patterns, ReadLines, Sources, canonical, lower, name_of, network, parents, prefix};

/// What is to be done, by key.
#[derive(Debug, Default)]
pub(super) struct Map {
    /// By family, length and first bits.
    networks: HashMap<(u8, (bool, u128)), Arc<Action>>,
    /// The lengths that there are, the longest first.
    lengths: Vec<u8>,
    /// By domain and local part.
    mailboxes: HashMap<Box<str>, HashMap<Box<str>, Arc<Action>>>,
    users: HashMap<Box<str>, Arc<Action>>,
    names: HashMap<Box<str>, Arc<Action>>,
    /// Names that all below is meant of, and whether they themselves are too.
    trees: HashMap<Box<str>, (Arc<Action>, bool)>,
    /// In their order, with what each is for.
    patterns: Patterns,
    expressions: Vec<Arc<Action>>,
    /// Those that are no automaton yet.
    sources: Sources,
    null: Option<Arc<Action>>,
    default: Option<Arc<Action>>,
    /// Some entry discards.
    discards: bool,
    /// Some entry has messages held.
    holds: bool,
}

/// A map for each direction, as in Sendmail's access database.
#[derive(Debug, Default)]
pub(super) struct Tagged {
    pub(super) client: Map,
    pub(super) helo: Map,
    pub(super) sender: Map,
    pub(super) recipient: Map,
}

/// What a key is.
#[derive(Debug)]
enum Key {
    Default,
    Null,
    Network(IpNet),
    Mailbox(Box<str>, Box<str>),
    User(Box<str>),
    Name(Box<str>),
    Tree(Box<str>),
    Below(Box<str>),
    Expression,
}

impl Map {
    pub(super) fn is_empty(&self) -> bool {
        let Self { networks, mailboxes, users, names, trees, expressions, null, default, .. } = self;
        networks.is_empty()
            && mailboxes.is_empty()
            && users.is_empty()
            && names.is_empty()
            && trees.is_empty()
            && expressions.is_empty()
            && null.is_none()
            && default.is_none()
    }

    pub(super) fn discards(&self) -> bool {
        self.discards
    }

    pub(super) fn holds(&self) -> bool {
        self.holds
    }

    /// The first regular expression that matches.
    pub(super) fn expression(&self, text: &[u8]) -> Option<Arc<Action>> {
        self.patterns.first(text).map(|place| self.expressions[place].clone())
    }

    pub(super) fn default(&self) -> Option<Arc<Action>> {
        self.default.clone()
    }

    /// The smallest network that the address is in.
    pub(super) fn ip(&self, address: IpAddr) -> Option<Arc<Action>> {
        let mut found =
            self.lengths.iter().filter_map(|length| self.networks.get(&(*length, prefix(address, *length))));
        found.next().cloned()
    }

    /// A name, then the names above it.
    pub(super) fn name(&self, name: &str) -> Option<Arc<Action>> {
        if self.names.is_empty() && self.trees.is_empty() {
            return None;
        }
        let name = canonical(name)?;
        let itself = || self.trees.get(&*name).filter(|(_, itself)| *itself);
        let above = || parents(&name).find_map(|parent| self.trees.get(parent));
        self.names.get(&*name).or_else(|| itself().or_else(above).map(|(action, _)| action)).cloned()
    }

    /// The address itself, with its extension and without.
    pub(super) fn mailbox(&self, address: &Address, delimiter: &str) -> Option<Arc<Action>> {
        if address.is_null() {
            return self.null.clone();
        }
        if self.mailboxes.is_empty() {
            return None;
        }
        let domain = address.domain().and_then(canonical)?;
        let users = self.mailboxes.get(&*domain)?;
        locals(address, delimiter, |local| users.get(local).cloned())
    }

    /// The user at any domain.
    pub(super) fn user(&self, address: &Address, delimiter: &str) -> Option<Arc<Action>> {
        if self.users.is_empty() || address.is_null() {
            return None;
        }
        locals(address, delimiter, |local| self.users.get(local).cloned())
    }

    fn insert(&mut self, key: Key, action: Arc<Action>) -> Result<(), String> {
        self.discards |= action.verdict == Verdict::Discard;
        self.holds |= action.hold.is_some();
        let text = action.key.clone();
        let before = match key {
            Key::Default => self.default.replace(action),
            Key::Null => self.null.replace(action),
            Key::Network(network) => {
                let length = network.prefix_len();
                if !self.lengths.contains(&length) {
                    self.lengths.push(length);
                }
                self.networks.insert((length, prefix(network.network(), length)), action)
            }
            Key::Mailbox(local, domain) => self.mailboxes.entry(domain).or_default().insert(local, action),
            Key::User(local) => self.users.insert(local, action),
            Key::Name(name) => self.names.insert(name, action),
            Key::Below(name) => self.trees.insert(name, (action, false)).map(|(action, _)| action),
            Key::Tree(name) => self.trees.insert(name, (action, true)).map(|(action, _)| action),
            Key::Expression => {
                self.sources.take(expression_of(&text))?;
                self.expressions.push(action);
                None
            }
        };
        match before {
            Some(before) => {
                Err(format!("{text:?} was said before, as {:?}: one of them has no effect", before.key))
            }
            None => Ok(()),
        }
    }

    fn finish(mut self) -> Result<Self, String> {
        self.lengths.sort_unstable_by(|a, b| b.cmp(a));
        self.patterns = std::mem::take(&mut self.sources).finish()?;
        Ok(self)
    }
}

/// Looks up a local part, then without its extension.
fn locals(
    address: &Address,
    delimiter: &str,
    look: impl Fn(&str) -> Option<Arc<Action>>,
) -> Option<Arc<Action>> {
    let local = lower(address.local_part().to_str().ok()?);
    let bare = || {
        let end = local.find(|letter| delimiter.contains(letter)).filter(|end| *end > 0)?;
        look(&local[..end])
    };
    look(&local).or_else(bare)
}

impl ReadLines for Map {
    type Draft = Self;
    // Texts of replies may have the sign.
    const COMMENTS_BEHIND: bool = false;

    fn add(draft: &mut Self, entry: &str) -> Result<(), String> {
        let (key, action) = parse(entry)?;
        draft.insert(read_key(key)?, action)
    }

    fn finish(draft: Self) -> Result<Self, String> {
        draft.finish()
    }
}

impl ReadLines for Tagged {
    type Draft = Self;
    const COMMENTS_BEHIND: bool = false;

    fn add(draft: &mut Self, entry: &str) -> Result<(), String> {
        let (key, action) = parse(entry)?;
        let tag = key.split_once(':').map(|(tag, rest)| (tag.to_ascii_lowercase(), rest));
        let (map, key) = match tag.as_ref().map(|(tag, rest)| (tag.as_str(), *rest)) {
            Some(("connect", key)) => (&mut draft.client, key),
            Some(("helo", key)) => (&mut draft.helo, key),
            Some(("from", key)) => (&mut draft.sender, key),
            Some(("to", key)) => (&mut draft.recipient, key),
            _ => {
                let is_client = !matches!(read_key(key)?, Key::Null | Key::Mailbox(..) | Key::User(_));
                let is_sender = !matches!(read_key(key)?, Key::Network(_));
                if is_client {
                    draft.client.insert(read_key(key)?, action.clone())?;
                }
                return if is_sender { draft.sender.insert(read_key(key)?, action) } else { Ok(()) };
            }
        };
        map.insert(read_key(key)?, action)
    }

    fn finish(draft: Self) -> Result<Self, String> {
        let Self { client, helo, sender, recipient } = draft;
        Ok(Self {
            client: client.finish()?,
            helo: helo.finish()?,
            sender: sender.finish()?,
            recipient: recipient.finish()?,
        })
    }
}

/// Parts an entry.
fn parse(entry: &str) -> Result<(&str, Arc<Action>), String> {
    let mut quoted = false;
    let blank = || {
        entry.find(|letter: char| {
            quoted ^= letter == '"';
            !quoted && letter.is_whitespace()
        })
    };
    let end = end_of_expression(entry).or_else(blank);
    let (key, action) = entry.split_at(end.unwrap_or(entry.len()));
    Ok((key, Arc::new(action::read(key, action.trim())?)))
}

/// Where a regular expression ends that an entry begins with, which may have spaces: at a slash before a space.
fn end_of_expression(entry: &str) -> Option<usize> {
    let start = entry.len() - expression_of(entry).len();
    let inner = entry[start..].strip_prefix('/')?;
    let mut escaped = false;
    inner.char_indices().find_map(|(at, letter)| {
        let is_slash = letter == '/' && !escaped;
        escaped = letter == '\\' && !escaped;
        let behind = &inner[at + letter.len_utf8()..];
        (is_slash && !behind.starts_with(|next: char| !next.is_whitespace()))
            .then(|| entry.len() - behind.len())
    })
}

/// A key without the direction that it may have in front.
fn expression_of(key: &str) -> &str {
    match key.split_once(':') {
        Some((tag, rest)) if rest.starts_with('/') && tag.bytes().all(|byte| byte.is_ascii_alphabetic()) => {
            rest
        }
        _ => key,
    }
}

fn read_key(key: &str) -> Result<Key, String> {
    if let Some(inner) = key.strip_prefix('/') {
        return match inner.rsplit_once('/') {
            Some((_, flags)) if !flags.is_empty() && flags.bytes().all(|flag| flag.is_ascii_alphabetic()) => {
                Err(format!(
                    "{key:?}: there are no flags behind a regular expression; case does not matter unless it begins with (?-i)"
                ))
            }
            _ => Ok(Key::Expression),
        };
    }
    let bare = key.strip_prefix('<').and_then(|key| key.strip_suffix('>')).unwrap_or(key);
    if key == "*" || key == "<>" {
        return Ok(if key == "*" { Key::Default } else { Key::Null });
    }
    if let Some((local, domain)) = bare.rsplit_once('@') {
        if local.is_empty() {
            return name_key(domain, key);
        }
        let address = Address::parse(bare.to_owned());
        let local = lower(address.local_part().to_str().unwrap_or(local)).into();
        return Ok(match domain {
            "" => Key::User(local),
            domain => Key::Mailbox(local, name_of(domain, key)?),
        });
    }
    if let Some(network) = octets(key) {
        return Ok(Key::Network(network));
    }
    if key.contains(['/', ':']) || key.parse::<IpAddr>().is_ok() {
        return network(key).map(Key::Network);
    }
    name_key(key, key)
}

fn name_key(name: &str, key: &str) -> Result<Key, String> {
    if let Some(name) = name.strip_prefix("*.") {
        return name_of(name, key).map(Key::Below);
    }
    match name.strip_prefix('.') {
        Some(name) => name_of(name, key).map(Key::Tree),
        None => name_of(name, key).map(Key::Name),
    }
}

/// One to three octets, as both MTAs have networks in their maps: `192.0.2` is `192.0.2.0/24`.
fn octets(key: &str) -> Option<IpNet> {
    let key = key.strip_suffix('.').unwrap_or(key);
    let mut address = [0; 4];
    let mut count = 0;
    for octet in key.split('.') {
        if octet.is_empty() || !octet.bytes().all(|digit| digit.is_ascii_digit()) {
            return None;
        }
        *address.get_mut(count).filter(|_| count < 3)? = octet.parse().ok()?;
        count += 1;
    }
    IpNet::new(Ipv4Addr::from(address).into(), u8::try_from(count).ok()? * 8).ok()
}

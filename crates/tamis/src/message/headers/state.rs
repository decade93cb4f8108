//! What edits have come to: what becomes of each received field, what is added, in which order; and the way back.

use super::order::{Node, Order};
use super::{Field, Header, HeaderId, HeaderValue};

/// What is to become of the received fields, and what is added to them.
#[derive(Debug)]
pub(super) struct Edits {
    pub(super) order: Order,
    received: Vec<Fate>,
    added: Vec<Added>,
    len: usize,
    /// What takes the edits back, the last one last.
    undo: Vec<Undo>,
}

/// What is to become of a received field.
#[derive(Debug)]
enum Fate {
    Stays,
    Changes(HeaderValue),
    Goes,
}

#[derive(Debug)]
pub(super) struct Added {
    pub(super) field: Field,
    pub(super) exact: bool,
    pub(super) removed: bool,
}

/// How an edit is taken back.
#[derive(Debug)]
enum Undo {
    Fate(u32, Fate),
    Value(u32, HeaderValue),
    Remove(u32),
    Add,
}

impl Edits {
    pub(super) fn new(received: usize) -> Self {
        let fates = std::iter::repeat_with(|| Fate::Stays).take(received).collect();
        Self {
            order: Order::new(received),
            received: fates,
            added: Vec::new(),
            len: received,
            undo: Vec::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn push_received(&mut self) {
        self.order.push_received();
        self.received.push(Fate::Stays);
        self.len += 1;
    }

    pub(super) fn view<'a>(&'a self, id: HeaderId, received: &'a [Field]) -> Option<Header<'a>> {
        match id.node {
            Node::Received(at) => {
                let header = Header::new(id, received.get(at as usize)?);
                match self.received.get(at as usize)? {
                    Fate::Stays => Some(header),
                    Fate::Changes(value) => Some(header.with_value(value)),
                    Fate::Goes => None,
                }
            }
            Node::Added(at) => {
                let added = self.added.get(at as usize).filter(|added| !added.removed)?;
                Some(Header::new(id, &added.field))
            }
            Node::Ends | Node::Frontier => None,
        }
    }

    /// Whether they come to anything.
    pub(super) fn change(&self, received: &[Field]) -> bool {
        self.added.iter().any(|added| !added.removed)
            || self.received.iter().zip(received).any(|(fate, field)| match fate {
                Fate::Stays => false,
                Fate::Changes(value) => {
                    (value.text(), value.implied_space()) != (&field.value, field.implied_space)
                }
                Fate::Goes => true,
            })
    }

    pub(super) fn is_exact(&self, node: Node) -> bool {
        matches!(node, Node::Added(at) if self.added[at as usize].exact)
    }

    pub(super) fn add(&mut self, place: Node, added: Added) -> Node {
        self.added.push(added);
        self.len += 1;
        self.undo.push(Undo::Add);
        self.order.add(place)
    }

    pub(super) fn replace(&mut self, node: Node, value: HeaderValue) {
        match node {
            Node::Received(at) => self.decide(at, Fate::Changes(value)),
            Node::Added(at) => {
                let before = self.added[at as usize].set(value);
                self.undo.push(Undo::Value(at, before));
            }
            Node::Ends | Node::Frontier => {}
        }
    }

    /// Removes a field that is there.
    pub(super) fn remove(&mut self, node: Node) {
        match node {
            Node::Received(at) => self.decide(at, Fate::Goes),
            Node::Added(at) => {
                self.added[at as usize].removed = true;
                self.undo.push(Undo::Remove(at));
            }
            Node::Ends | Node::Frontier => return,
        }
        self.len -= 1;
    }

    fn decide(&mut self, at: u32, fate: Fate) {
        let before = std::mem::replace(&mut self.received[at as usize], fate);
        self.undo.push(Undo::Fate(at, before));
    }

    /// Number of edits so far.
    pub(super) fn count(&self) -> usize {
        self.undo.len()
    }

    /// Takes back all edits but the first ones.
    pub(super) fn take_back(&mut self, count: usize) {
        for undo in self.undo.drain(count.min(self.undo.len())..).rev() {
            match undo {
                Undo::Fate(at, fate) => {
                    let edited = std::mem::replace(&mut self.received[at as usize], fate);
                    self.len += usize::from(matches!(edited, Fate::Goes));
                }
                Undo::Value(at, value) => drop(self.added[at as usize].set(value)),
                Undo::Remove(at) => {
                    self.added[at as usize].removed = false;
                    self.len += 1;
                }
                Undo::Add => {
                    self.added.pop();
                    self.order.unadd();
                    self.len -= 1;
                }
            }
        }
    }
}

impl Added {
    fn set(&mut self, value: HeaderValue) -> HeaderValue {
        let Field { value: text, implied_space, .. } = &mut self.field;
        let before = HeaderValue::settled(std::mem::take(text), *implied_space);
        *implied_space = value.implied_space();
        *text = value.into_text();
        before
    }
}

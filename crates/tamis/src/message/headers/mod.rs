//! [`Headers`]: the header fields of a message, as they came and as the filter wants them.

mod edit;
mod error;
mod header;
mod order;
mod state;
#[cfg(test)]
mod tests;
#[cfg(feature = "mime")]
mod typed;
mod value;

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use tamis_proto::{Actions, command};

pub use self::edit::Anchor;
pub use self::error::HeaderError;
pub use self::header::Header;
pub(crate) use self::order::Node;
use self::state::Edits;
#[cfg(feature = "mime")]
pub use self::typed::Mailbox;
pub use self::value::HeaderValue;
use super::Text;

/// A header field as it is kept.
pub(crate) type Field = command::Header<Text>;

/// The header fields of a message, in order, duplicates and all.
///
/// Looking up goes by name without regard to case, or by the [`HeaderId`] of a field, which stays the same whatever
/// happens around it. Edits are made to fields and places, not to index numbers: what an MTA has to be sent for them
/// is computed at the end of the message ([`compile`](super::compile)). From the moment of an edit on, reading shows
/// the header as the message will have it; [`received`](Self::received) still has it as it came.
///
/// What the MTA adds by itself, its `Received` above all, is not shown to filters and not in here.
///
/// # Examples
///
/// ```
/// use tamis::message::Headers;
/// use tamis::{Actions, proto::command};
///
/// let mut headers = Headers::new();
/// for (name, value) in [("From", "alice@example.com"), ("Subject", "hello"), ("X-Spam", "1"), ("X-Spam", "2")] {
///     headers.push(command::Header { name: name.into(), value: value.into(), implied_space: true });
/// }
/// headers.allow(Actions::ADD_HEADERS | Actions::CHANGE_HEADERS);
///
/// let subject = headers.first("subject").unwrap();
/// headers.replace(subject.id(), format!("[list] {}", subject.unfolded()))?;
/// headers.remove_all("X-Spam")?;
/// headers.prepend("X-Seen", "yes")?;
/// assert_eq!(headers.to_string(), "X-Seen: yes\nFrom: alice@example.com\nSubject: [list] hello\n");
/// # Ok::<(), tamis::message::HeaderError>(())
/// ```
pub struct Headers {
    /// Tells ids of this message's fields from those of others.
    message: u32,
    received: Vec<Field>,
    edits: Option<Box<Edits>>, // made by the first edit
    allowed: Actions,
    leading_space: bool,
}

/// A field of one message's [`Headers`]; stays the same wherever edits move the field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HeaderId {
    message: u32,
    node: Node,
}

/// A moment among the edits of [`Headers`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Saved(usize);

impl Headers {
    /// No fields yet, and no edits allowed.
    pub fn new() -> Self {
        static MESSAGES: AtomicU32 = AtomicU32::new(0);
        Self {
            message: MESSAGES.fetch_add(1, Ordering::Relaxed),
            received: Vec::new(),
            edits: None,
            allowed: Actions::empty(),
            leading_space: false,
        }
    }

    /// Says which actions were negotiated; an edit that needs another one fails when it is asked for.
    pub fn allow(&mut self, actions: Actions) {
        self.allowed = actions;
    }

    /// Says whether the filter declared that it deals with the space after the colon itself: values that it gives
    /// then have to begin with it.
    pub fn own_leading_space(&mut self, declared: bool) {
        self.leading_space = declared;
    }

    /// Takes the next field from the MTA.
    ///
    /// Fields that were added before it came stay where they were asked for: what was prepended stays on top, what
    /// was appended stays at the end.
    pub fn push(&mut self, field: command::Header<Bytes>) {
        let command::Header { name, value, implied_space } = field;
        self.received.push(Field { name: name.into(), value: value.into(), implied_space });
        if let Some(edits) = &mut self.edits {
            edits.push_received();
        }
    }

    /// Number of fields.
    pub fn len(&self) -> usize {
        self.edits.as_ref().map_or(self.received.len(), |edits| edits.len())
    }

    /// Whether there is no field.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All fields from the top.
    pub fn iter(&self) -> Iter<'_> {
        Iter { headers: self, front: Node::Ends, back: Node::Ends, left: self.len() }
    }

    /// All fields of a name from the top.
    pub fn all<'a>(
        &'a self,
        name: &'a (impl AsRef<[u8]> + ?Sized),
    ) -> impl DoubleEndedIterator<Item = Header<'a>> {
        self.iter().filter(move |header| header.is(name))
    }

    /// The first field of a name.
    pub fn first(&self, name: impl AsRef<[u8]>) -> Option<Header<'_>> {
        self.iter().find(|header| header.is(&name))
    }

    /// The last field of a name.
    pub fn last(&self, name: impl AsRef<[u8]>) -> Option<Header<'_>> {
        self.iter().rfind(|header| header.is(&name))
    }

    /// Whether there is a field of a name.
    pub fn contains(&self, name: impl AsRef<[u8]>) -> bool {
        self.first(name).is_some()
    }

    /// The field with this id, unless it was removed or is another message's.
    pub fn get(&self, id: HeaderId) -> Option<Header<'_>> {
        if id.message == self.message { self.view(id.node) } else { None }
    }

    /// The fields as the MTA sent them, without any edits.
    pub fn received(&self) -> impl DoubleEndedIterator<Item = Header<'_>> + ExactSizeIterator {
        (0..self.received.len()).map(|at| self.received_at(at))
    }

    /// Whether the fields are others than those that the MTA sent.
    pub fn is_changed(&self) -> bool {
        self.edits.as_ref().is_some_and(|edits| edits.change(&self.received))
    }

    /// The actions that edits may use.
    pub fn allowed(&self) -> Actions {
        self.allowed
    }

    /// All nodes in order, those of removed fields included.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = Node> {
        let mut node = Node::Ends;
        std::iter::from_fn(move || {
            node = self.after(node);
            (node != Node::Ends).then_some(node)
        })
    }

    /// The field as the MTA sent it.
    pub(crate) fn received_at(&self, at: usize) -> Header<'_> {
        Header::new(self.id(Node::received(at)), &self.received[at])
    }

    /// Whether the field was asked for in an exact place.
    pub(crate) fn is_exact(&self, node: Node) -> bool {
        self.edits.as_ref().is_some_and(|edits| edits.is_exact(node))
    }

    /// Remembers this moment.
    pub(crate) fn save(&self) -> Saved {
        Saved(self.edits.as_ref().map_or(0, |edits| edits.count()))
    }

    /// Takes back the edits since then; fields that came since stay.
    pub(crate) fn restore(&mut self, saved: Saved) {
        if let Some(edits) = &mut self.edits {
            edits.take_back(saved.0);
        }
    }

    fn id(&self, node: Node) -> HeaderId {
        HeaderId { message: self.message, node }
    }

    /// The field as it is now; none for a removed one.
    pub(crate) fn view(&self, node: Node) -> Option<Header<'_>> {
        match &self.edits {
            Some(edits) => edits.view(self.id(node), &self.received),
            None => match node {
                Node::Received(at) => {
                    self.received.get(at as usize).map(|field| Header::new(self.id(node), field))
                }
                _ => None,
            },
        }
    }

    fn after(&self, node: Node) -> Node {
        let len = self.received.len();
        match (&self.edits, node) {
            (Some(edits), _) => edits.order.after(node),
            (None, Node::Ends) if len > 0 => Node::received(0),
            (None, Node::Received(at)) if (at as usize) + 1 < len => Node::Received(at + 1),
            (None, _) => Node::Ends,
        }
    }

    fn before(&self, node: Node) -> Node {
        match (&self.edits, node) {
            (Some(edits), _) => edits.order.before(node),
            (None, Node::Ends) if !self.received.is_empty() => Node::received(self.received.len() - 1),
            (None, Node::Received(at)) if at > 0 => Node::Received(at - 1),
            (None, _) => Node::Ends,
        }
    }
}

impl Default for Headers {
    fn default() -> Self {
        Self::new()
    }
}

/// Writes a line for each field, folded values on several, with U+FFFD for what is not UTF-8.
impl fmt::Display for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.iter().try_for_each(|header| writeln!(f, "{header}"))
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

impl<'a> IntoIterator for &'a Headers {
    type Item = Header<'a>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// The fields of [`Headers`] in order, from [`Headers::iter`].
#[derive(Clone)]
pub struct Iter<'a> {
    headers: &'a Headers,
    front: Node,
    back: Node,
    left: usize,
}

impl<'a> Iterator for Iter<'a> {
    type Item = Header<'a>;

    fn next(&mut self) -> Option<Header<'a>> {
        self.left = self.left.checked_sub(1)?;
        loop {
            self.front = self.headers.after(self.front);
            if let Some(header) = self.headers.view(self.front) {
                return Some(header);
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl DoubleEndedIterator for Iter<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        loop {
            self.back = self.headers.before(self.back);
            if let Some(header) = self.headers.view(self.back) {
                return Some(header);
            }
        }
    }
}

impl ExactSizeIterator for Iter<'_> {}

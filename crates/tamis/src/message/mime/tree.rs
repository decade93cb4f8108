//! The parts in memory: ranges of what was read, linked to each other.

use std::fmt;
use std::ops::Range;

use bytes::Bytes;

use super::field::Entry;
use super::transfer::Encoding;

/// The identity of a part within its message. It is never given to another part, not even after the part is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartId(pub(super) u32);

impl PartId {
    pub(super) const ROOT: Self = Self(0);
}

/// A number; the message itself is 0.
impl fmt::Display for PartId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A range of one of the sources.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) source: u32,
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Span {
    pub(super) fn new(source: u32, range: Range<usize>) -> Self {
        Self { source, start: range.start, end: range.end.max(range.start) }
    }

    pub(super) const fn is_empty(self) -> bool {
        self.start == self.end
    }
}

/// Text that was read, or that we made.
#[derive(Clone, Debug)]
pub(super) enum Text {
    Read(Span),
    Made(Bytes),
}

/// Where bytes come from: the message, the decoded form of a nested message, or a new part.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) bytes: Bytes,
    /// How its lines end, going by the first one.
    pub(super) eol: &'static str,
    /// Whether the header of its last part goes on to its end.
    pub(super) ends_in_header: bool,
}

impl Source {
    pub(super) fn new(bytes: Bytes) -> Self {
        let first = memchr::memchr(b'\n', &bytes);
        let lf = first.is_some_and(|at| at == 0 || bytes[at - 1] != b'\r');
        Self { bytes, eol: if lf { "\n" } else { "\r\n" }, ends_in_header: false }
    }
}

/// A part. Its bytes, while nobody edits it: `head`, `blank` and `body`, one after the other.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) parent: Option<PartId>,
    pub(super) previous: Option<PartId>,
    pub(super) next: Option<PartId>,
    /// The delimiter line before it, with the line end that is no part of what is before it.
    pub(super) lead: Text,
    /// The fields, with their line ends.
    pub(super) head: Span,
    /// The line between header and body.
    pub(super) blank: Span,
    pub(super) body: Span,
    pub(super) content: Content,
    /// The header once it was edited, or where it never was bytes.
    pub(super) fields: Option<Vec<Entry>>,
    pub(super) header_modified: bool,
    /// Whether anything in `body` was edited, however deep.
    pub(super) body_modified: bool,
    pub(super) gone: bool,
    pub(super) defects: Defects,
}

impl Node {
    pub(super) const fn is_modified(&self) -> bool {
        self.header_modified || self.body_modified
    }

    pub(super) fn multipart(&self) -> Option<&Multipart> {
        if let Content::Multipart(multipart) = &self.content { Some(multipart) } else { None }
    }

    pub(super) fn multipart_mut(&mut self) -> Option<&mut Multipart> {
        if let Content::Multipart(multipart) = &mut self.content { Some(multipart) } else { None }
    }
}

/// What is in a body.
#[derive(Debug)]
pub(super) enum Content {
    Leaf,
    Multipart(Box<Multipart>),
    Message(Nested),
}

#[derive(Debug)]
pub(super) struct Multipart {
    pub(super) boundary: Bytes,
    /// Parts without a type are messages.
    pub(super) digest: bool,
    pub(super) preamble: Text,
    pub(super) first: Option<PartId>,
    pub(super) last: Option<PartId>,
    /// The closing delimiter and the epilogue; empty where it is missing.
    pub(super) tail: Text,
    /// A multipart within it has a boundary that a reader could mistake for this one.
    pub(super) ambiguous: bool,
}

/// A message within a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Nested {
    /// Its own part; none while what is encoded was not read yet.
    pub(super) root: Option<PartId>,
    pub(super) encoding: Encoding,
    /// Whether the header says that it is encoded, but it is not.
    pub(super) mislabelled: bool,
}

/// Something about a part that no correct program makes, and that programs read differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Defect {
    /// A multipart without a boundary: nothing in it can be found.
    NoBoundary,
    /// None of the lines is the boundary of the multipart.
    NoDelimiter,
    /// The closing delimiter of the multipart is missing.
    Unclosed,
    /// There is more than one field that says what the part is or how it is encoded.
    RepeatedField,
    /// A line of the header is no field.
    BrokenHeader,
    /// The header ends without an empty line.
    NoBlankLine,
    /// A nested message is encoded, which RFC 2046 does not allow. It was decoded to be read.
    EncodedMessage,
    /// The boundary could be mistaken for that of a multipart within, or the other way round.
    AmbiguousBoundary,
}

impl Defect {
    const ALL: [Self; 8] = [
        Self::NoBoundary,
        Self::NoDelimiter,
        Self::Unclosed,
        Self::RepeatedField,
        Self::BrokenHeader,
        Self::NoBlankLine,
        Self::EncodedMessage,
        Self::AmbiguousBoundary,
    ];
}

/// A set of defects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Defects(u8);

impl Defects {
    pub(super) fn add(&mut self, defect: Defect) {
        self.0 |= 1 << defect as u8;
    }

    pub(super) fn has(self, defect: Defect) -> bool {
        self.0 & (1 << defect as u8) != 0
    }

    pub(super) fn iter(self) -> impl Iterator<Item = Defect> {
        Defect::ALL.into_iter().filter(move |defect| self.has(*defect))
    }
}

/// All parts, those that are gone included, and the bytes that they are ranges of.
#[derive(Debug, Default)]
pub(super) struct Tree {
    pub(super) sources: Vec<Source>,
    pub(super) nodes: Vec<Node>,
}

impl Tree {
    pub(super) fn add_source(&mut self, bytes: Bytes) -> u32 {
        let id = u32::try_from(self.sources.len()).expect("there are fewer sources than parts");
        self.sources.push(Source::new(bytes));
        id
    }

    pub(super) fn add(&mut self, parent: Option<PartId>, head: Span) -> PartId {
        let id = PartId(u32::try_from(self.nodes.len()).expect("a limit keeps the number of parts small"));
        let empty = Span::new(head.source, head.end..head.end);
        self.nodes.push(Node {
            parent,
            previous: None,
            next: None,
            lead: Text::Read(Span::new(head.source, head.start..head.start)),
            head,
            blank: empty,
            body: empty,
            content: Content::Leaf,
            fields: None,
            header_modified: false,
            body_modified: false,
            gone: false,
            defects: Defects::default(),
        });
        id
    }

    pub(super) fn node(&self, id: PartId) -> &Node {
        &self.nodes[id.0 as usize]
    }

    pub(super) fn node_mut(&mut self, id: PartId) -> &mut Node {
        &mut self.nodes[id.0 as usize]
    }

    pub(super) fn bytes(&self, span: Span) -> &[u8] {
        &self.sources[span.source as usize].bytes[span.start..span.end]
    }

    pub(super) fn slice(&self, span: Span) -> Bytes {
        self.sources[span.source as usize].bytes.slice(span.start..span.end)
    }

    /// How lines end around this part.
    pub(super) fn eol(&self, id: PartId) -> &'static str {
        self.sources[self.node(id).head.source as usize].eol
    }

    /// The containers around a part, from the inside out.
    pub(super) fn around(&self, id: PartId) -> impl Iterator<Item = PartId> {
        std::iter::successors(self.node(id).parent, |id| self.node(*id).parent)
    }

    /// Whether it, and everything around it, is still there.
    pub(super) fn is_there(&self, id: PartId) -> bool {
        (id.0 as usize) < self.nodes.len()
            && !self.node(id).gone
            && self.around(id).all(|outer| !self.node(outer).gone)
    }

    pub(super) fn first_child(&self, id: PartId) -> Option<PartId> {
        match &self.node(id).content {
            Content::Leaf => None,
            Content::Multipart(multipart) => multipart.first,
            Content::Message(nested) => nested.root,
        }
    }

    /// The part that comes after `id` in `root`, which is walked through with each container before its parts.
    pub(super) fn after(&self, id: PartId, root: PartId) -> Option<PartId> {
        if let Some(child) = self.first_child(id) {
            return Some(child);
        }
        let mut id = id;
        while id != root {
            if let Some(next) = self.node(id).next {
                return Some(next);
            }
            id = self.node(id).parent?;
        }
        None
    }

    /// Puts a part behind all others of its parent.
    pub(super) fn link_last(&mut self, parent: PartId, id: PartId) {
        self.node_mut(id).parent = Some(parent);
        match &mut self.node_mut(parent).content {
            Content::Leaf => {}
            Content::Message(nested) => nested.root = Some(id),
            Content::Multipart(multipart) => {
                let previous = multipart.last.replace(id);
                if previous.is_none() {
                    multipart.first = Some(id);
                }
                self.node_mut(id).previous = previous;
                if let Some(previous) = previous {
                    self.node_mut(previous).next = Some(id);
                }
            }
        }
    }

    /// Whether it is the part of a message itself, not one of a multipart.
    pub(super) fn is_message_root(&self, id: PartId) -> bool {
        match self.node(id).parent {
            None => true,
            Some(parent) => matches!(self.node(parent).content, Content::Message(_)),
        }
    }

    /// Whether parts without a type are messages there.
    pub(super) fn in_digest(&self, id: PartId) -> bool {
        let parent = self.node(id).parent.and_then(|parent| self.node(parent).multipart());
        parent.is_some_and(|multipart| multipart.digest)
    }

    /// The multiparts around a place in `container` whose delimiters end it: up to an encoded message, from the
    /// inside out, `container` included.
    pub(super) fn boundaries(&self, container: PartId) -> impl Iterator<Item = (PartId, &Multipart)> {
        let all = std::iter::once(container).chain(self.around(container));
        let plain = all.take_while(|id| match &self.node(*id).content {
            Content::Message(nested) => nested.encoding == Encoding::Identity,
            _ => true,
        });
        plain.filter_map(|id| Some((id, self.node(id).multipart()?)))
    }
}

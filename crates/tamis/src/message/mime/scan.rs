//! Finds the parts of a message: one pass over its lines, in time proportional to its length.
//!
//! mail-parser, which decodes what is in the parts, could find them too, but not in mail from strangers: its message
//! is nested values, so that some hundred kilobytes of message within message overflow the stack, and each multipart
//! without its boundary makes it search the rest of the message anew. And the ranges of its parts overlap where
//! boundaries are missing. So the lines are read here, with a stack of what is open, and every range is in its
//! container by construction.
//!
//! Where readers of mail differ, more is found rather than less. A delimiter is a line that begins with two hyphens
//! and a boundary, whatever follows (as RFC 2046 has it); one that closes has nothing behind its hyphens. If the line
//! is the delimiter of several multiparts, the innermost that it fits exactly has it, then the one with the longest
//! boundary.

use bytes::Bytes;
use memchr::memchr;
use memchr::memmem::Finder;

use super::error::{MimeError, MimeLimits};
use super::facts::{Facts, Kind};
use super::transfer::Encoding;
use super::tree::{Content, Defect, Multipart, Nested, PartId, Span, Text, Tree};

/// How much of an encoded message is decoded to see whether it is one.
const PEEK: usize = 1024;

/// What is read, and where in the tree it goes.
#[derive(Default)]
pub(super) struct Task {
    pub(super) source: u32,
    /// A part without a type is a message there.
    pub(super) digest: bool,
    /// How many containers are around it.
    pub(super) depth: usize,
    /// The multiparts that a line of it could end.
    pub(super) around: Vec<(PartId, Bytes)>,
}

/// Reads a part, with those in it and in the encoded messages among them, and adds them to the tree.
pub(super) fn scan(tree: &mut Tree, limits: &MimeLimits, task: &Task) -> Result<PartId, MimeError> {
    let mut budget = Budget { parts: limits.parts, decoded: limits.decoded };
    let root = Scan::new(tree, limits, &mut budget, task, None).run()?;
    decode_messages(tree, limits, &mut budget, root, task.depth)?;
    Ok(root)
}

/// Reads a body whose header came apart from it; its part is in the tree already.
pub(super) fn scan_body(tree: &mut Tree, limits: &MimeLimits, root: PartId) -> Result<(), MimeError> {
    let mut budget = Budget { parts: limits.parts, decoded: limits.decoded };
    let task = Task { source: tree.node(root).body.source, ..Task::default() };
    Scan::new(tree, limits, &mut budget, &task, None).run_body(root)?;
    decode_messages(tree, limits, &mut budget, root, 0)
}

/// Reads the encoded messages that were added to the tree with and after `first`, and those in them.
fn decode_messages(
    tree: &mut Tree,
    limits: &MimeLimits,
    budget: &mut Budget,
    first: PartId,
    depth: usize,
) -> Result<(), MimeError> {
    let mut id = first;
    while (id.0 as usize) < tree.nodes.len() {
        let node = tree.node(id);
        if let Content::Message(nested @ Nested { root: None, encoding, .. }) = node.content {
            // Neither encoding makes its text shorter, so what is decoded is no longer than what is there.
            let decoded = encoding.decode(tree.slice(node.body));
            let left = budget.decoded.checked_sub(decoded.len());
            budget.decoded = left.ok_or(MimeError::TooMuchDecoded { limit: limits.decoded })?;
            let depth = depth + tree.around(id).count() + 1;
            let task = Task { source: tree.add_source(decoded), depth, ..Task::default() };
            let root = Scan::new(tree, limits, budget, &task, Some(id)).run()?;
            tree.node_mut(id).content = Content::Message(Nested { root: Some(root), ..nested });
        }
        id = PartId(id.0 + 1);
    }
    Ok(())
}

/// What is left of the limits.
struct Budget {
    parts: usize,
    decoded: usize,
}

struct Scan<'a> {
    tree: &'a mut Tree,
    limits: &'a MimeLimits,
    budget: &'a mut Budget,
    task: &'a Task,
    /// The encoded message that all of this is in.
    parent: Option<PartId>,
    text: Bytes,
    hyphens: Finder<'static>,
    open: Vec<Open>,
}

/// A part whose end was not found yet.
struct Open {
    part: PartId,
    /// Where it can end at the earliest.
    floor: usize,
    /// What ends its parts, while there may be more of them.
    boundary: Option<Bytes>,
}

/// What comes next, and where.
enum Next {
    Header(usize),
    Body(usize),
}

/// A line that ends a part.
struct Delimiter {
    start: usize,
    end: usize,
    /// Whose it is: a place in the stack.
    owner: usize,
    closes: bool,
}

impl<'a> Scan<'a> {
    fn new(
        tree: &'a mut Tree,
        limits: &'a MimeLimits,
        budget: &'a mut Budget,
        task: &'a Task,
        parent: Option<PartId>,
    ) -> Self {
        let text = tree.sources[task.source as usize].bytes.clone();
        Self { tree, limits, budget, task, parent, text, hyphens: Finder::new(b"\n--"), open: Vec::new() }
    }

    /// Reads all of the source: a part, its header first.
    fn run(mut self) -> Result<PartId, MimeError> {
        let root = PartId(u32::try_from(self.tree.nodes.len()).expect("a limit keeps the number small"));
        self.parts(Next::Header(0))?;
        Ok(root)
    }

    /// Reads all of the source: the body of a part that is there already.
    fn run_body(mut self, root: PartId) -> Result<(), MimeError> {
        let next = self.enter(root, 0)?;
        self.parts(next)
    }

    fn parts(&mut self, mut next: Next) -> Result<(), MimeError> {
        let mut lead = self.span(0, 0);
        loop {
            let at = match next {
                Next::Header(at) => {
                    next = self.part(at, lead)?;
                    lead = self.span(0, 0);
                    continue;
                }
                Next::Body(at) => at,
            };
            let Some(delimiter) = self.next_delimiter(at)? else { break };
            let end = self.content_end(delimiter.start);
            self.close(delimiter.owner + 1, end);
            self.preamble_ends(delimiter.owner, end);
            if delimiter.closes {
                let tail = Text::Read(self.span(end, end));
                let owner = &mut self.open[delimiter.owner];
                (owner.boundary, owner.floor) = (None, end);
                multipart(self.tree, owner.part).tail = tail;
                next = Next::Body(delimiter.end);
            } else {
                lead = self.span(end, delimiter.end);
                next = Next::Header(delimiter.end);
            }
        }
        self.close(0, self.text.len());
        Ok(())
    }

    /// Reads the header of a part, and opens it.
    fn part(&mut self, at: usize, lead: Span) -> Result<Next, MimeError> {
        let depth = self.task.depth + self.open.len();
        if depth > self.limits.depth {
            return Err(MimeError::TooDeep { limit: self.limits.depth });
        }
        let left = self.budget.parts.checked_sub(1);
        self.budget.parts = left.ok_or(MimeError::TooManyParts { limit: self.limits.parts })?;
        let header = self.header(at)?;
        let parent = self.open.last().map_or(self.parent, |open| Some(open.part));
        let head = self.span(at, header.end);
        let id = self.tree.add(parent, head);
        let (blank, body) = (self.span(header.end, header.body), self.span(header.body, header.body));
        let node = self.tree.node_mut(id);
        (node.lead, node.blank, node.body) = (Text::Read(lead), blank, body);
        if let (Some(parent), false) = (parent, self.open.is_empty()) {
            self.tree.link_last(parent, id);
        }
        if header.is_cut {
            if header.next == self.text.len() {
                self.tree.sources[self.task.source as usize].ends_in_header = true;
            }
            self.tree.node_mut(id).defects.add(Defect::NoBlankLine);
            let facts = Facts::read(self.tree.fields(id), self.tree.in_digest(id) || self.is_digest());
            facts.note(&mut self.tree.node_mut(id).defects);
            self.open.push(Open { part: id, floor: header.end, boundary: None });
            return Ok(Next::Body(header.next));
        }
        self.enter(id, header.body)
    }

    /// Opens a part, whose header was read.
    fn enter(&mut self, id: PartId, at: usize) -> Result<Next, MimeError> {
        let facts = Facts::read(self.tree.fields(id), self.tree.in_digest(id) || self.is_digest());
        facts.note(&mut self.tree.node_mut(id).defects);
        let mut boundary = None;
        let mut next = Next::Body(at);
        match facts.kind {
            Kind::Leaf => {}
            Kind::Multipart { boundary: text, digest } => {
                self.compare(id, &text)?;
                let empty = Text::Read(self.span(at, at));
                self.tree.node_mut(id).content = Content::Multipart(Box::new(Multipart {
                    boundary: text.clone(),
                    digest,
                    preamble: empty.clone(),
                    first: None,
                    last: None,
                    tail: empty,
                    ambiguous: self.tree.node(id).defects.has(Defect::AmbiguousBoundary),
                }));
                boundary = Some(text);
            }
            Kind::Message => {
                let encoding = self.message_encoding(facts.encoding, at);
                let node = self.tree.node_mut(id);
                if facts.encoding != Encoding::Identity {
                    node.defects.add(Defect::EncodedMessage);
                }
                let mislabelled = encoding != facts.encoding;
                node.content = Content::Message(Nested { root: None, encoding, mislabelled });
                if encoding == Encoding::Identity {
                    next = Next::Header(at);
                }
            }
        }
        self.open.push(Open { part: id, floor: at, boundary });
        Ok(next)
    }

    /// Says whether a message that is said to be encoded is. It may not be, and so some programs do not decode it.
    fn message_encoding(&self, said: Encoding, at: usize) -> Encoding {
        let peek = self.text.slice(at..self.text.len().min(at + PEEK));
        if !begins_with_field(&said.decode(peek.clone())) && begins_with_field(&peek) {
            return Encoding::Identity;
        }
        said
    }

    /// Compares a boundary with those around it.
    fn compare(&mut self, id: PartId, boundary: &Bytes) -> Result<(), MimeError> {
        let alike = |other: &Bytes| other.starts_with(boundary) || boundary.starts_with(other);
        if let Some((part, _)) = self.task.around.iter().find(|(_, other)| alike(other)) {
            return Err(MimeError::BoundaryInContent { part: *part });
        }
        for open in &self.open {
            if open.boundary.as_ref().is_some_and(alike) {
                multipart(self.tree, open.part).ambiguous = true;
                for part in [open.part, id] {
                    self.tree.node_mut(part).defects.add(Defect::AmbiguousBoundary);
                }
            }
        }
        Ok(())
    }

    /// Finds the end of the header that begins at `start`.
    fn header(&self, start: usize) -> Result<Header, MimeError> {
        let mut at = start;
        while at < self.text.len() {
            let end = self.line_end(at);
            if matches!(&self.text[at..end], b"\n" | b"\r\n") {
                return Ok(Header { end: at, body: end, next: end, is_cut: false });
            }
            if end - start > self.limits.header {
                return Err(MimeError::HeaderTooLong { limit: self.limits.header });
            }
            if self.delimiter(at, end)?.is_some() {
                let header_end = self.before_line_end(at).max(start);
                return Ok(Header { end: header_end, body: header_end, next: at, is_cut: true });
            }
            at = end;
        }
        Ok(Header { end: at, body: at, next: at, is_cut: true })
    }

    /// Finds the next delimiter in the lines from `at` on.
    fn next_delimiter(&self, mut at: usize) -> Result<Option<Delimiter>, MimeError> {
        if self.task.around.is_empty() && self.open.iter().all(|open| open.boundary.is_none()) {
            return Ok(None);
        }
        loop {
            if !self.text[at..].starts_with(b"--") {
                let Some(found) = self.hyphens.find(&self.text[at..]) else { return Ok(None) };
                at += found + 1;
            }
            let end = self.line_end(at);
            if let Some(delimiter) = self.delimiter(at, end)? {
                return Ok(Some(delimiter));
            }
            at = end;
        }
    }

    /// Says whether a line is a delimiter, and whose.
    fn delimiter(&self, start: usize, end: usize) -> Result<Option<Delimiter>, MimeError> {
        let Some(line) = self.text[start..end].strip_prefix(b"--") else { return Ok(None) };
        let line = line.trim_ascii_end();
        if let Some((part, _)) = self.task.around.iter().find(|(_, boundary)| line.starts_with(boundary)) {
            return Err(MimeError::BoundaryInContent { part: *part });
        }
        let mut longest: Option<(usize, usize)> = None;
        for (owner, open) in self.open.iter().enumerate().rev() {
            let Some(boundary) = &open.boundary else { continue };
            let Some(rest) = line.strip_prefix(&boundary[..]) else { continue };
            if matches!(rest, b"" | b"--") {
                return Ok(Some(Delimiter { start, end, owner, closes: !rest.is_empty() }));
            }
            if longest.is_none_or(|(_, length)| boundary.len() > length) {
                longest = Some((owner, boundary.len()));
            }
        }
        Ok(longest.map(|(owner, _)| Delimiter { start, end, owner, closes: false }))
    }

    /// Closes all parts from a place in the stack on: they end here.
    fn close(&mut self, from: usize, end: usize) {
        for at in from..self.open.len() {
            self.preamble_ends(at, end);
        }
        for open in self.open.drain(from..) {
            let node = self.tree.node_mut(open.part);
            node.body.end = end.max(node.body.start);
            let Content::Multipart(multipart) = &mut node.content else { continue };
            if let Text::Read(tail) = &mut multipart.tail {
                if open.boundary.is_some() {
                    *tail = Span::new(tail.source, end..end);
                }
                tail.end = end.max(tail.start);
            }
            if multipart.first.is_none() {
                node.defects.add(Defect::NoDelimiter);
            } else if open.boundary.is_some() {
                node.defects.add(Defect::Unclosed);
            }
        }
    }

    /// Notes where the preamble of a multipart ends, if nothing has ended it yet.
    fn preamble_ends(&mut self, at: usize, end: usize) {
        let open = &self.open[at];
        if open.boundary.is_none() {
            return;
        }
        let start = self.tree.node(open.part).body.start;
        let preamble = self.span(start, end);
        let multipart = multipart(self.tree, open.part);
        if multipart.first.is_none() {
            multipart.preamble = Text::Read(preamble);
        }
    }

    /// Where the innermost part ends if a delimiter is at `at`: the line end before that belongs to the delimiter.
    fn content_end(&self, at: usize) -> usize {
        let floor = self.open.last().map_or(0, |open| open.floor);
        self.before_line_end(at).max(floor)
    }

    fn before_line_end(&self, at: usize) -> usize {
        let text = &self.text[..at];
        let text = text.strip_suffix(b"\n").map_or(text, |text| text.strip_suffix(b"\r").unwrap_or(text));
        text.len()
    }

    fn line_end(&self, at: usize) -> usize {
        memchr(b'\n', &self.text[at..]).map_or(self.text.len(), |end| at + end + 1)
    }

    fn span(&self, start: usize, end: usize) -> Span {
        Span::new(self.task.source, start..end)
    }

    /// Whether the outermost part is in a digest, and this is the outermost part.
    fn is_digest(&self) -> bool {
        self.task.digest && self.open.is_empty()
    }
}

/// Where a header ends.
struct Header {
    end: usize,
    body: usize,
    /// Where reading goes on.
    next: usize,
    /// Whether there is no empty line behind it. Such a part has no body, whatever its header says.
    is_cut: bool,
}

fn multipart(tree: &mut Tree, id: PartId) -> &mut Multipart {
    tree.node_mut(id).multipart_mut().expect("only multiparts have a boundary")
}

/// Whether text looks like the beginning of a message; encoded text never does.
fn begins_with_field(text: &[u8]) -> bool {
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
    let name = text.iter().take_while(|byte| is_name(byte)).count();
    name > 0 && text[name..].trim_ascii_start().first() == Some(&b':')
}

//! Writes parts: unedited ranges as the slices they are, and between them what is new.

use bytes::{Bytes, BytesMut};

use super::field::Entry;
use super::transfer::Encoding;
use super::tree::{Content, Node, PartId, Span, Text, Tree};

/// What of a part is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Range {
    /// Header and body.
    Whole,
    Body,
}

/// Writes a part as it is now, as slices in order.
pub(super) fn pieces(tree: &Tree, id: PartId, range: Range) -> Vec<Bytes> {
    let mut writer =
        Writer { tree, todo: vec![], outputs: vec![Vec::new()], in_header: false, missing: None };
    writer.todo.push(match range {
        Range::Whole => Step::Part(id),
        Range::Body => Step::Body(id),
    });
    writer.run()
}

/// Joins pieces, without a copy where there is one only.
pub(super) fn join(mut pieces: Vec<Bytes>) -> Bytes {
    if pieces.len() <= 1 {
        return pieces.pop().unwrap_or_default();
    }
    let mut all = BytesMut::with_capacity(pieces.iter().map(Bytes::len).sum());
    for piece in pieces {
        all.extend_from_slice(&piece);
    }
    all.freeze()
}

/// A stack of these stands for the calls that recursion would need; a message may be nested deeply.
enum Step {
    Part(PartId),
    Body(PartId),
    /// The delimiter before a part, and whether it is the first one.
    Lead(PartId, bool),
    /// What follows the last part of a multipart.
    Tail(PartId),
    /// The encoded message is written: encode it.
    Encode(Encoding),
}

enum Piece {
    Read(Span),
    Made(Bytes),
}

struct Writer<'a> {
    tree: &'a Tree,
    todo: Vec<Step>,
    /// What is written, and behind it the messages that are not encoded yet.
    outputs: Vec<Vec<Piece>>,
    /// Whether what was written last is a header without an empty line behind it.
    in_header: bool,
    /// The line end that the delimiter written last lacks: it was at the end of a message.
    missing: Option<&'static str>,
}

impl Writer<'_> {
    fn run(mut self) -> Vec<Bytes> {
        while let Some(step) = self.todo.pop() {
            match step {
                Step::Part(id) => self.part(id),
                Step::Body(id) => self.body(id),
                Step::Lead(id, first) => {
                    self.delimiter(&self.tree.node(id).lead, id, first);
                    self.missing = (!self.is_at_line_start()).then_some(self.tree.eol(id));
                }
                Step::Tail(id) => {
                    let multipart = self.tree.node(id).multipart().expect("only a multipart has a tail");
                    self.delimiter(&multipart.tail, id, false);
                }
                Step::Encode(encoding) => {
                    let pieces = self.outputs.pop().expect("an output was begun for the message");
                    let message = join(self.slices(pieces));
                    self.push(Piece::Made(encoding.encode(&message).into()));
                }
            }
        }
        let pieces = self.outputs.pop().expect("the first output is never taken");
        self.slices(pieces)
    }

    fn part(&mut self, id: PartId) {
        let node = self.tree.node(id);
        if let Some(entries) = &node.fields {
            self.header(id, entries);
        } else {
            self.read(node.head);
            self.read(node.blank);
            self.in_header = node.blank.is_empty() && !has_body(node);
        }
        self.todo.push(Step::Body(id));
    }

    fn header(&mut self, id: PartId, entries: &[Entry]) {
        let (node, eol) = (self.tree.node(id), self.tree.eol(id));
        for entry in entries {
            self.start_line(eol);
            self.text(&entry.text);
        }
        if node.blank.is_empty() && !has_body(node) {
            self.in_header = true;
            return;
        }
        self.start_line(eol);
        if node.blank.is_empty() {
            self.made(eol);
        } else {
            self.read(node.blank);
        }
    }

    fn body(&mut self, id: PartId) {
        let node = self.tree.node(id);
        if !node.body_modified {
            self.read(node.body);
            return;
        }
        match &node.content {
            Content::Leaf => self.read(node.body),
            Content::Multipart(multipart) => {
                self.text(&multipart.preamble);
                self.todo.push(Step::Tail(id));
                let mut part = multipart.last;
                while let Some(id) = part {
                    let node = self.tree.node(id);
                    self.todo.push(Step::Part(id));
                    self.todo.push(Step::Lead(id, node.previous.is_none()));
                    part = node.previous;
                }
            }
            Content::Message(nested) => {
                if nested.encoding != Encoding::Identity {
                    self.outputs.push(Vec::new());
                    self.todo.push(Step::Encode(nested.encoding));
                }
                self.todo.extend(nested.root.map(Step::Part));
            }
        }
    }

    /// Writes a delimiter. It needs a line end of its own, unless it stands where it stood, or behind a header that
    /// goes on to it: that would not end there any more.
    fn delimiter(&mut self, text: &Text, id: PartId, first: bool) {
        let bytes = match text {
            Text::Made(bytes) => &bytes[..],
            Text::Read(span) => self.tree.bytes(*span),
        };
        let line_end = match bytes {
            [b'\n', ..] => 1,
            [b'\r', b'\n', ..] => 2,
            _ => 0,
        };
        let stands = match (text, self.last()) {
            (Text::Read(span), Some(Piece::Read(last))) => {
                last.source == span.source && last.end == span.start
            }
            (_, None) => true,
            _ => false,
        };
        self.missing = None;
        let at_line_start = self.is_at_line_start();
        if self.in_header && at_line_start && !stands {
            return match text {
                Text::Read(span) => self.read(Span { start: span.start + line_end, ..*span }),
                Text::Made(bytes) => self.push(Piece::Made(bytes.slice(line_end..))),
            };
        }
        let begins_line = stands || first && at_line_start;
        if line_end == 0 && !bytes.is_empty() && !begins_line {
            self.line_end(self.tree.eol(id));
        } else if line_end == 1 && !stands && self.last_byte() == Some(b'\r') {
            // A carriage return of the text must not become one of the line end.
            self.made("\r");
        }
        self.text(text);
    }

    /// Ends the line that was written last, if it has no end.
    fn start_line(&mut self, eol: &'static str) {
        self.end_delimiter();
        if !self.is_at_line_start() {
            self.line_end(eol);
        }
    }

    /// Writes a line end, of which a carriage return before it does not become a part.
    fn line_end(&mut self, eol: &'static str) {
        self.made(if self.last_byte() == Some(b'\r') { "\r\n" } else { eol });
    }

    fn is_at_line_start(&self) -> bool {
        self.last_byte().is_none_or(|byte| byte == b'\n')
    }

    fn last_byte(&self) -> Option<u8> {
        match self.last()? {
            Piece::Read(span) => self.tree.bytes(*span).last().copied(),
            Piece::Made(bytes) => bytes.last().copied(),
        }
    }

    fn last(&self) -> Option<&Piece> {
        self.outputs.last().and_then(|pieces| pieces.last())
    }

    fn text(&mut self, text: &Text) {
        match text {
            Text::Read(span) => self.read(*span),
            Text::Made(bytes) => self.push(Piece::Made(bytes.clone())),
        }
    }

    fn made(&mut self, text: &'static str) {
        self.push(Piece::Made(Bytes::from_static(text.as_bytes())));
    }

    fn read(&mut self, span: Span) {
        if span.is_empty() {
            return;
        }
        self.end_delimiter();
        let source = &self.tree.sources[span.source as usize];
        self.in_header = source.ends_in_header && span.end == source.bytes.len();
        let output = self.outputs.last_mut().expect("the first output is never taken");
        match output.last_mut() {
            Some(Piece::Read(last)) if last.source == span.source && last.end == span.start => {
                last.end = span.end;
            }
            _ => output.push(Piece::Read(span)),
        }
    }

    fn end_delimiter(&mut self) {
        if let Some(eol) = self.missing.take() {
            self.made(eol);
        }
    }

    fn push(&mut self, piece: Piece) {
        if matches!(&piece, Piece::Made(bytes) if bytes.is_empty()) {
            return;
        }
        self.end_delimiter();
        self.in_header = false;
        self.outputs.last_mut().expect("the first output is never taken").push(piece);
    }

    fn slices(&self, pieces: Vec<Piece>) -> Vec<Bytes> {
        pieces
            .into_iter()
            .map(|piece| match piece {
                Piece::Read(span) => self.tree.slice(span),
                Piece::Made(bytes) => bytes,
            })
            .collect()
    }
}

/// Whether something must be behind the header.
fn has_body(node: &Node) -> bool {
    !node.body.is_empty() || !matches!(node.content, Content::Leaf)
}

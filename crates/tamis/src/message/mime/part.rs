//! Looking at a part.

use std::fmt;

use bytes::Bytes;

use super::Mime;
use super::facts::Facts;
use super::field::{Field, Fields};
use super::names;
use super::param::Value;
use super::render::{self, Range};
use super::tree::{Content, Defect, Node, PartId, Text};
use super::words::charset;

/// A part of a message as it is now.
#[derive(Clone, Copy)]
pub struct Part<'a> {
    pub(super) mime: &'a Mime,
    pub(super) id: PartId,
}

impl<'a> Part<'a> {
    /// Its identity, to come back to it after an edit.
    pub const fn id(self) -> PartId {
        self.id
    }

    /// The multipart or message that it is in; none for the message itself.
    pub fn parent(self) -> Option<Self> {
        self.node().parent.map(|id| self.at(id))
    }

    /// The parts of a multipart, or the message in a part that is one.
    pub fn children(self) -> impl Iterator<Item = Self> {
        let first = self.mime.tree.first_child(self.id);
        std::iter::successors(first, move |id| self.mime.tree.node(*id).next).map(move |id| self.at(id))
    }

    /// The part and all that are in it, in order.
    pub fn with_descendants(self) -> impl Iterator<Item = Self> {
        let next = move |id: &PartId| self.mime.tree.after(*id, self.id);
        std::iter::successors(Some(self.id), next).map(move |id| self.at(id))
    }

    /// Its header fields, in order.
    pub fn headers(self) -> Fields<'a> {
        self.mime.tree.fields(self.id)
    }

    /// The first header field of a name.
    pub fn header(self, name: &str) -> Option<Field<'a>> {
        self.headers().find(|field| field.is(name))
    }

    /// What it says it is: without a `Content-Type` plain text, or, in a digest, a message.
    pub fn content_type(self) -> ContentType {
        let fields = self.headers().filter(|field| field.is("Content-Type"));
        ContentType(Facts::content_type_of(fields, self.is_in_digest()))
    }

    /// Whether it is to be shown or saved, if it says so.
    pub fn disposition(self) -> Option<Disposition> {
        Some(Disposition(Value::parse(self.header("Content-Disposition")?.raw())))
    }

    /// Its file name as most programs show it.
    ///
    /// For deciding on names, use [`file_names`](Self::file_names) or [`has_extension`](Self::has_extension).
    pub fn file_name(self) -> Option<String> {
        self.file_names().into_iter().next()
    }

    /// Every file name that a program could see in it, none twice.
    ///
    /// These are the values of `filename` and `name` in each `Content-Disposition` and `Content-Type`, in pieces and character sets (RFC 2231), with encoded words (RFC 2047) as text, and, where a value is broken, in
    /// all the ways that it is read: with and without what is behind a quote, a comment or a NUL.
    pub fn file_names(self) -> Vec<String> {
        names::file_names(self.headers())
    }

    /// Whether one of its [file names](Self::file_names) has one of these [extensions](super::extension), which are given
    /// without a dot and in lower case.
    pub fn has_extension(self, extensions: &[&str]) -> bool {
        let mut found = self.file_names().into_iter().flat_map(|name| names::extensions(&name));
        found.any(|extension| extensions.contains(&extension.as_str()))
    }

    /// Whether it was read as a multipart: it says so, and has a boundary.
    pub fn is_multipart(self) -> bool {
        matches!(self.node().content, Content::Multipart(_))
    }

    /// Whether it was read as a message within the message. The one child is that message.
    pub fn is_message(self) -> bool {
        matches!(self.node().content, Content::Message(_))
    }

    /// Whether it, or anything in it, is not as it was read.
    #[doc(alias = "ismodified")]
    pub fn is_modified(self) -> bool {
        self.node().is_modified()
    }

    /// What is wrong with it.
    pub fn defects(self) -> impl Iterator<Item = Defect> {
        self.node().defects.iter()
    }

    /// Header, empty line and body, without the delimiters around it. A header that came apart from its body is not
    /// in it.
    pub fn raw(self) -> Bytes {
        let apart = self.id == PartId::ROOT && self.mime.given.is_some();
        self.render(if apart { Range::Body } else { Range::Whole })
    }

    /// The body in its transfer encoding.
    pub fn body_raw(self) -> Bytes {
        self.render(Range::Body)
    }

    /// The body with its transfer encoding decoded, as far as it can be; without a copy where it has none.
    pub fn decoded(self) -> Bytes {
        match &self.node().content {
            Content::Multipart(_) => self.body_raw(),
            Content::Message(nested) => {
                nested.root.map(|root| self.at(root).render(Range::Whole)).unwrap_or_default()
            }
            Content::Leaf => {
                Facts::read(self.headers(), self.is_in_digest()).encoding.decode(self.body_raw())
            }
        }
    }

    /// The text of a `text/…` part, from its character set; nothing for others.
    pub fn text(self) -> Option<String> {
        let content_type = self.content_type();
        if content_type.main_type() != "text" || !matches!(self.node().content, Content::Leaf) {
            return None;
        }
        let label = content_type.param("charset").unwrap_or_default();
        Some(charset(&self.decoded(), label.as_bytes()))
    }

    /// What is before the first part of a multipart; programs that know MIME do not show it.
    pub fn preamble(self) -> Option<Bytes> {
        self.node().multipart().map(|multipart| self.slice(&multipart.preamble))
    }

    fn slice(self, text: &Text) -> Bytes {
        match text {
            Text::Read(span) => self.mime.tree.slice(*span),
            Text::Made(bytes) => bytes.clone(),
        }
    }

    fn render(self, range: Range) -> Bytes {
        render::join(render::pieces(&self.mime.tree, self.id, range))
    }

    fn is_in_digest(self) -> bool {
        self.mime.tree.in_digest(self.id)
    }

    fn node(self) -> &'a Node {
        self.mime.tree.node(self.id)
    }

    const fn at(self, id: PartId) -> Self {
        Self { mime: self.mime, id }
    }
}

/// The identity, type, and file name.
impl fmt::Debug for Part<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Part {} {}", self.id, self.content_type().essence())?;
        self.file_name().map_or(Ok(()), |name| write!(f, " {name:?}"))
    }
}

/// A `Content-Type`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentType(pub(super) Value);

impl ContentType {
    /// Type and subtype in lower case, such as `text/plain`.
    pub fn essence(&self) -> &str {
        &self.0.main
    }

    /// What is before the slash.
    pub fn main_type(&self) -> &str {
        self.0.main.split_once('/').map_or(&self.0.main, |(main, _)| main)
    }

    /// What is behind the slash.
    pub fn subtype(&self) -> &str {
        self.0.main.split_once('/').map_or("", |(_, sub)| sub)
    }

    /// A parameter by its name in lower case, decoded.
    pub fn param(&self, name: &str) -> Option<String> {
        self.0.text(name)
    }
}

/// A `Content-Disposition`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disposition(Value);

impl Disposition {
    /// The word before the parameters in lower case, such as `inline`.
    pub fn kind(&self) -> &str {
        &self.0.main
    }

    /// Whether it is not to be shown: anything but `inline` means that (RFC 2183).
    pub fn is_attachment(&self) -> bool {
        self.0.main != "inline"
    }

    /// A parameter by its name in lower case, decoded.
    pub fn param(&self, name: &str) -> Option<String> {
        self.0.text(name)
    }
}

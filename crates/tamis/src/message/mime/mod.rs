//! The parts of a message: a tree to look at, and edits that leave everything else as it is, byte for byte.
//!
//! [`Mime`] is made of a whole message, or, as a filter has it, of a body and the header that came before it. Its
//! [parts](Mime::parts) are those of multiparts and of messages within the message, also of encoded ones. A part has
//! header fields, a [type](Part::content_type), [file names](Part::file_names) and a [body](Part::decoded); parts
//! are [replaced](Mime::replace), [removed](Mime::remove), [inserted](Mime::insert_before), and their header fields
//! [changed](Mime::set_header). What comes out are [pieces](Mime::pieces), which are slices of the message but for
//! what is new, or the [changes](Mime::changes) that an MTA has to be told.
//!
//! # Strip dangerous attachments
//!
//! ```
//! use tamis::message::mime::{Mime, MimeError, NewPart};
//!
//! const DANGEROUS: [&str; 4] = ["exe", "scr", "js", "vbs"];
//!
//! fn strip(mime: &mut Mime) -> Result<(), MimeError> {
//!     let found: Vec<_> =
//!         mime.parts().filter(|part| part.has_extension(&DANGEROUS)).map(|part| part.id()).collect();
//!     for id in found {
//!         // One may have been in another.
//!         let Some(part) = mime.part(id) else { continue };
//!         let note = format!("{} was removed.\n", part.file_name().unwrap_or_default());
//!         mime.replace(id, NewPart::text(note))?;
//!     }
//!     Ok(())
//! }
//!
//! let header = [("Content-Type", "multipart/mixed; boundary=frontier")];
//! let body = "--frontier\r\n\r\nHello\r\n--frontier\r\n\
//!     Content-Disposition: attachment;\r\n filename*0*=utf-8''invoice%2e; filename*1=EXE\r\n\r\nMZ\r\n--frontier--\r\n";
//! let mut mime = Mime::of_body(header, body)?;
//! strip(&mut mime)?;
//! let changes = mime.changes();
//! assert!(changes.header.is_empty());
//! let new_body = changes.body.unwrap().concat();
//! assert!(new_body.starts_with(b"--frontier\r\n\r\nHello\r\n--frontier\r\nContent-Type: text/plain"));
//! assert!(new_body.ends_with(b"\r\n\r\ninvoice.EXE was removed.\r\n\r\n--frontier--\r\n"));
//! # Ok::<(), MimeError>(())
//! ```
//!
//! # Observe changes
//!
//! ```
//! use std::sync::{Arc, Mutex};
//! use tamis::message::mime::{Change, Mime, MimeError};
//!
//! let mut mime = Mime::parse("Subject: hi\r\nContent-Type: text/plain\r\n\r\nHello\r\n")?;
//! let log = Arc::new(Mutex::new(Vec::new()));
//! let lines = log.clone();
//! mime.on_change(move |change| {
//!     if let Change::Header { part, name, old, new } = change {
//!         let text = |value: &Option<&[u8]>| value.map(|value| value.escape_ascii().to_string());
//!         lines.lock().unwrap().push(format!("{part} {}: {:?} {:?}", name.escape_ascii(), text(old), text(new)));
//!     }
//! });
//! let root = mime.root().id();
//! mime.set_header(root, "Subject", "[outside] hi")?;
//! assert_eq!(*log.lock().unwrap(), [r#"0 Subject: Some("hi") Some("[outside] hi")"#]);
//! assert!(mime.root().is_modified());
//! # Ok::<(), MimeError>(())
//! ```
//!
//! # How a message is read
//!
//! Any bytes are a message; reading fails only where [limits](MimeLimits) are exceeded, and takes time in proportion
//! to the message. Where mail programs read a broken message differently, the tree has more rather than less: a line
//! that some take for a delimiter is one, a header goes on to the empty line whatever its lines are, and of several
//! types the one counts that has parts. What is wrong is said by [`Part::defects`]. Lines end with CRLF or LF; a lone
//! CR ends none.
//!
//! Editing a signed message breaks its signature, which no library can help; what is in a signed part that nobody
//! edits stays as it is, and so does its signature.
//!
//! # What stands where
//!
//! - A part that is replaced or removed is gone, with all parts in it: [`Mime::part`] finds it no more.
//! - A multipart that loses its last part goes with it.
//! - A message's own part, of the message itself as of one within it, can lose its content but not its place: to
//!   remove it makes an empty text of it, to replace it changes its body and the `Content-…` fields of its header.
//! - Where a part is inserted beside a message's own part, the message becomes a `multipart/mixed` of the two, unless
//!   it is one.
//! - An edit within an encoded message encodes that message anew.

mod change;
mod edit;
mod error;
mod facts;
mod field;
mod header_edit;
mod names;
mod new_part;
mod param;
mod part;
mod render;
mod scan;
mod transfer;
mod tree;
mod words;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Mutex;

use bytes::Bytes;

pub use change::{Change, Changes, HeaderChange};
pub use error::{MimeError, MimeLimits};
pub use field::{Field, Fields};
pub use names::extension;
pub use new_part::NewPart;
pub use part::{ContentType, Disposition, Part};
pub use tree::{Defect, PartId};

use field::Entry;
use render::Range;
use scan::Task;
use tree::{Span, Tree};

/// Told of each change.
type Observer = Box<dyn FnMut(&Change<'_>) + Send>;

/// A message as a tree of parts. See the [module](self) for what it is for.
pub struct Mime {
    tree: Tree,
    limits: MimeLimits,
    /// The header that came apart from the body, as it was.
    given: Option<Vec<Entry>>,
    /// In a mutex for being shared, not for locking: it is only ever reached through `&mut`.
    observer: Option<Mutex<Observer>>,
}

impl Mime {
    /// Reads a whole message: header, empty line, body.
    ///
    /// # Errors
    ///
    /// More parts, or deeper ones, than the [default limits](MimeLimits::new) allow.
    pub fn parse(message: impl Into<Bytes>) -> Result<Self, MimeError> {
        Self::parse_with(message, MimeLimits::new())
    }

    /// Reads a whole message within limits.
    ///
    /// # Errors
    ///
    /// More parts, or deeper ones, than the limits allow.
    pub fn parse_with(message: impl Into<Bytes>, limits: MimeLimits) -> Result<Self, MimeError> {
        let mut tree = Tree::default();
        let source = tree.add_source(message.into());
        scan::scan(&mut tree, &limits, &Task { source, ..Task::default() })?;
        Ok(Self { tree, limits, given: None, observer: None })
    }

    /// Reads a body whose header came apart from it, as it comes to a filter: names, and values with or without the
    /// white space that is behind the colon, folded with LF or CRLF.
    ///
    /// All fields can be given; `Content-Type` and `Content-Transfer-Encoding` say how the body is read, and the
    /// positions of [changes](Self::changes) are those in what is given.
    ///
    /// # Errors
    ///
    /// More parts, or deeper ones, than the [default limits](MimeLimits::new) allow.
    pub fn of_body<N, V>(
        header: impl IntoIterator<Item = (N, V)>,
        body: impl Into<Bytes>,
    ) -> Result<Self, MimeError>
    where
        N: AsRef<[u8]>,
        V: AsRef<[u8]>,
    {
        Self::of_body_with(header, body, MimeLimits::new())
    }

    /// Reads a body whose header came apart from it, within limits.
    ///
    /// # Errors
    ///
    /// More parts, or deeper ones, than the limits allow.
    pub fn of_body_with<N, V>(
        header: impl IntoIterator<Item = (N, V)>,
        body: impl Into<Bytes>,
        limits: MimeLimits,
    ) -> Result<Self, MimeError>
    where
        N: AsRef<[u8]>,
        V: AsRef<[u8]>,
    {
        let mut tree = Tree::default();
        let source = tree.add_source(body.into());
        let (eol, length) = (tree.sources[0].eol, tree.sources[0].bytes.len());
        let entry = |(at, (name, value)): (usize, (N, V))| {
            let entry = Entry::new(name.as_ref(), value.as_ref(), eol);
            Entry { origin: Some(at), ..entry }
        };
        let given: Vec<_> = header.into_iter().enumerate().map(entry).collect();
        let root = tree.add(None, Span::new(source, 0..0));
        tree.node_mut(root).body = Span::new(source, 0..length);
        tree.node_mut(root).fields = Some(given.clone());
        scan::scan_body(&mut tree, &limits, root)?;
        Ok(Self { tree, limits, given: Some(given), observer: None })
    }

    /// The part that is the message itself.
    pub const fn root(&self) -> Part<'_> {
        Part { mime: self, id: PartId::ROOT }
    }

    /// A part by its identity, if it is still there.
    pub fn part(&self, id: PartId) -> Option<Part<'_>> {
        self.tree.is_there(id).then_some(Part { mime: self, id })
    }

    /// All parts in order, each multipart and message before what is in it, beginning with the message itself.
    pub fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        self.root().with_descendants()
    }

    /// Whether anything was edited.
    #[doc(alias = "ismodified")]
    pub fn is_modified(&self) -> bool {
        self.tree.node(PartId::ROOT).is_modified()
    }

    /// The message as it is now, in pieces: slices of what was read, and what is new. Of a message whose header came
    /// apart from the body these are the pieces of the body.
    pub fn pieces(&self) -> Vec<Bytes> {
        let range = if self.given.is_some() { Range::Body } else { Range::Whole };
        render::pieces(&self.tree, PartId::ROOT, range)
    }

    /// The message as it is now, as [`pieces`](Self::pieces) in one. What was not edited is not copied.
    pub fn to_bytes(&self) -> Bytes {
        render::join(self.pieces())
    }

    /// What changed, in the form that an MTA needs: fields of the message's own header, and the body.
    pub fn changes(&self) -> Changes {
        let root = self.tree.node(PartId::ROOT);
        let body = root.body_modified.then(|| render::pieces(&self.tree, PartId::ROOT, Range::Body));
        Changes { header: self.header_changes(), body }
    }

    /// Calls `observer` after each change that is made from now on, in the place of an earlier one.
    #[doc(alias = "headerchange")]
    pub fn on_change(&mut self, observer: impl FnMut(&Change<'_>) + Send + 'static) {
        self.observer = Some(Mutex::new(Box::new(observer)));
    }

    fn notify(&mut self, change: Change<'_>) {
        if let Some(observer) = &mut self.observer {
            let observer = observer.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
            observer(&change);
        }
    }
}

/// The parts, for people.
impl fmt::Debug for Mime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.parts()).finish()
    }
}

//! Replacing, removing and inserting parts.

use bytes::Bytes;
use mail_builder::mime::make_boundary;
use memchr::memmem;

use super::scan::{self, Task};
use super::tree::{Content, Multipart, PartId, Span, Text};
use super::{Change, Mime, MimeError, NewPart};

impl Mime {
    /// Puts a part in the place of another; returns the identity of the one that is there now.
    ///
    /// Of a message's own part the body is replaced, and the `Content-…` fields of the header; it keeps its identity.
    ///
    /// # Errors
    ///
    /// There is no such part, or the new one does not fit: it nests too deep, or has a line that would end a part
    /// around it.
    pub fn replace(&mut self, id: PartId, part: NewPart) -> Result<PartId, MimeError> {
        self.find(id)?;
        let parent = self.tree.node(id).parent;
        let new = self.read_new(part, parent, 0)?;
        if self.tree.is_message_root(id) {
            self.take_content(id, new);
            self.notify(Change::Replaced { part: id, by: id });
            return Ok(id);
        }
        let old = self.tree.node_mut(id);
        old.gone = true;
        let (previous, next) = (old.previous, old.next);
        let lead = old.lead.clone();
        let node = self.tree.node_mut(new);
        (node.parent, node.previous, node.next, node.lead) = (parent, previous, next, lead);
        self.link(previous, Some(new), parent);
        self.link(Some(new), next, parent);
        self.mark_around(new);
        self.notify(Change::Replaced { part: id, by: new });
        Ok(new)
    }

    /// Removes a part, with all parts in it.
    ///
    /// A multipart that loses its last part is removed too. A message's own part becomes an empty text.
    ///
    /// # Errors
    ///
    /// There is no such part, or the boundaries around it [cannot be told apart](MimeError::AmbiguousBoundaries).
    pub fn remove(&mut self, id: PartId) -> Result<(), MimeError> {
        self.find(id)?;
        let mut last = id;
        while !self.tree.is_message_root(last) {
            let node = self.tree.node(last);
            let parent = node.parent.expect("what is no message's own part is in a multipart");
            if node.previous.is_none() && node.next.is_none() {
                last = parent;
                continue;
            }
            self.check_boundaries(parent)?;
            self.unlink(last);
            self.notify(Change::Removed { part: last });
            return Ok(());
        }
        self.empty(last);
        self.notify(Change::Removed { part: id });
        Ok(())
    }

    /// Inserts a part before another one; returns its identity.
    ///
    /// Before a message's own part: as the first of it if it is a `multipart/mixed`, else the message becomes one.
    ///
    /// # Errors
    ///
    /// As for [`replace`](Self::replace) and [`remove`](Self::remove).
    pub fn insert_before(&mut self, id: PartId, part: NewPart) -> Result<PartId, MimeError> {
        self.find(id)?;
        if !self.tree.is_message_root(id) {
            let parent = self.tree.node(id).parent;
            let parent = parent.expect("what is no message's own part is in a multipart");
            self.check_boundaries(parent)?;
            let new = self.read_new(part, Some(parent), 0)?;
            self.put_before(id, new, parent);
            return Ok(new);
        }
        match self.tree.first_child(id) {
            Some(first) if self.is_mixed(id) => self.insert_before(first, part),
            _ if self.is_mixed(id) => self.append_to(id, part),
            _ => {
                let new = self.read_new(part, self.tree.node(id).parent, 1)?;
                let content = self.wrap(id);
                self.put_before(content, new, id);
                Ok(new)
            }
        }
    }

    /// Inserts a part behind another one; returns its identity.
    ///
    /// Behind a message's own part: as the last of it if it is a `multipart/mixed`, else the message becomes one.
    ///
    /// # Errors
    ///
    /// As for [`replace`](Self::replace) and [`remove`](Self::remove).
    pub fn insert_after(&mut self, id: PartId, part: NewPart) -> Result<PartId, MimeError> {
        self.find(id)?;
        if !self.tree.is_message_root(id) {
            let node = self.tree.node(id);
            return match (node.next, node.parent) {
                (Some(next), _) => self.insert_before(next, part),
                (None, parent) => {
                    self.append_to(parent.expect("what is no message's own part is in a multipart"), part)
                }
            };
        }
        if self.is_mixed(id) { self.append_to(id, part) } else { self.wrap_and_append(id, part) }
    }

    /// Adds a part as the last one of a multipart; returns its identity.
    ///
    /// A message whose own part is no multipart becomes a `multipart/mixed`.
    ///
    /// # Errors
    ///
    /// The part is no multipart; and as for [`replace`](Self::replace) and [`remove`](Self::remove).
    pub fn append_to(&mut self, id: PartId, part: NewPart) -> Result<PartId, MimeError> {
        self.find(id)?;
        if self.tree.node(id).multipart().is_none() {
            if self.tree.is_message_root(id) {
                return self.wrap_and_append(id, part);
            }
            return Err(MimeError::NotMultipart { part: id });
        }
        self.check_boundaries(id)?;
        let new = self.read_new(part, Some(id), 0)?;
        self.put_last(id, new);
        Ok(new)
    }

    pub(super) fn find(&self, id: PartId) -> Result<(), MimeError> {
        if self.tree.is_there(id) { Ok(()) } else { Err(MimeError::NoSuchPart { part: id }) }
    }

    /// Refuses to change which parts are in a multipart if its delimiters could be mistaken for those of another one.
    ///
    /// Delimiters are then read by what is open where they stand, and that changes with the parts before them.
    fn check_boundaries(&self, container: PartId) -> Result<(), MimeError> {
        let ambiguous = self.tree.boundaries(container).filter(|(_, multipart)| multipart.ambiguous);
        match ambiguous.last() {
            Some((part, _)) => Err(MimeError::AmbiguousBoundaries { part }),
            None => Ok(()),
        }
    }

    /// Notes of all containers around a part that something in them is edited.
    pub(super) fn mark_around(&mut self, id: PartId) {
        let mut outer = self.tree.node(id).parent;
        while let Some(id) = outer {
            let node = self.tree.node_mut(id);
            node.body_modified = true;
            outer = node.parent;
            if let Content::Message(nested) = &mut node.content
                && std::mem::take(&mut nested.mislabelled)
            {
                // With other text in it, it might be taken for encoded the next time.
                self.remove_encoding(id);
            }
        }
    }

    fn is_mixed(&self, id: PartId) -> bool {
        let part = super::Part { mime: self, id };
        part.is_multipart() && part.content_type().essence() == "multipart/mixed"
    }

    /// Reads a new part that is to stand in `parent`, `deeper` by so many containers that are not there yet. Nothing
    /// has changed if that fails.
    fn read_new(
        &mut self,
        part: NewPart,
        parent: Option<PartId>,
        deeper: usize,
    ) -> Result<PartId, MimeError> {
        let (nodes, sources) = (self.tree.nodes.len(), self.tree.sources.len());
        let eol = self.tree.eol(parent.unwrap_or(PartId::ROOT));
        let multipart = parent.and_then(|parent| self.tree.node(parent).multipart());
        let mut task = Task {
            source: 0,
            digest: multipart.is_some_and(|multipart| multipart.digest) && deeper == 0,
            depth: parent.map_or(0, |parent| self.tree.around(parent).count() + 1) + deeper,
            around: parent.map_or(Vec::new(), |parent| {
                let around = self.tree.boundaries(parent);
                around.map(|(id, multipart)| (id, multipart.boundary.clone())).collect()
            }),
        };
        let (bytes, spare) = part.into_bytes(eol, !task.around.is_empty());
        task.source = self.tree.add_source(bytes);
        let mut read = scan::scan(&mut self.tree, &self.limits, &task);
        if let (Err(MimeError::BoundaryInContent { .. }), Some(spare)) = (&read, spare) {
            self.tree.nodes.truncate(nodes);
            self.tree.sources.truncate(sources);
            task.source = self.tree.add_source(spare.in_base64(eol));
            read = scan::scan(&mut self.tree, &self.limits, &task);
        }
        let Ok(new) = read else {
            self.tree.nodes.truncate(nodes);
            self.tree.sources.truncate(sources);
            return read;
        };
        for node in &mut self.tree.nodes[nodes..] {
            (node.header_modified, node.body_modified) = (true, false);
        }
        Ok(new)
    }

    fn put_before(&mut self, id: PartId, new: PartId, parent: PartId) {
        // The new part gets the delimiter that is there, so that the part before keeps its neighbour.
        let lead = self.delimiter(parent, false);
        let lead = std::mem::replace(&mut self.tree.node_mut(id).lead, lead);
        let previous = self.tree.node(id).previous;
        let node = self.tree.node_mut(new);
        (node.parent, node.lead) = (Some(parent), lead);
        self.link(previous, Some(new), Some(parent));
        self.link(Some(new), Some(id), Some(parent));
        self.mark_around(new);
        self.notify(Change::Inserted { part: new, parent });
    }

    fn put_last(&mut self, parent: PartId, new: PartId) {
        let (lead, tail) = (self.delimiter(parent, false), self.delimiter(parent, true));
        self.tree.node_mut(new).lead = lead;
        self.tree.link_last(parent, new);
        let multipart = self.tree.node_mut(parent).multipart_mut().expect("parts are added to multiparts");
        let is_only = multipart.first == Some(new);
        if is_only && matches!(multipart.tail, Text::Read(tail) if tail.is_empty()) {
            multipart.tail = tail;
        }
        self.mark_around(new);
        self.notify(Change::Inserted { part: new, parent });
    }

    fn wrap_and_append(&mut self, root: PartId, part: NewPart) -> Result<PartId, MimeError> {
        let new = self.read_new(part, self.tree.node(root).parent, 1)?;
        self.wrap(root);
        self.put_last(root, new);
        Ok(new)
    }

    /// Makes neighbours of two parts, or of one the first or last of its parent.
    fn link(&mut self, first: Option<PartId>, second: Option<PartId>, parent: Option<PartId>) {
        if let Some(first) = first {
            self.tree.node_mut(first).next = second;
        }
        if let Some(second) = second {
            self.tree.node_mut(second).previous = first;
        }
        let parent = parent.expect("only parts of multiparts have neighbours");
        let multipart = self.tree.node_mut(parent).multipart_mut().expect("its parts are linked");
        if first.is_none() {
            multipart.first = second;
        }
        if second.is_none() {
            multipart.last = first;
        }
    }

    /// Takes a part away that has neighbours. Its delimiter goes to the next one, so that the part before keeps it.
    fn unlink(&mut self, id: PartId) {
        let node = self.tree.node_mut(id);
        node.gone = true;
        let (previous, next, parent, lead) = (node.previous, node.next, node.parent, node.lead.clone());
        if let Some(next) = next {
            self.tree.node_mut(next).lead = lead;
        }
        self.link(previous, next, parent);
        self.mark_around(id);
    }

    fn delimiter(&self, id: PartId, closes: bool) -> Text {
        let multipart = self.tree.node(id).multipart().expect("only a multipart has delimiters");
        let eol = self.tree.eol(id).as_bytes();
        let hyphens: &[u8] = if closes { b"--" } else { b"" };
        Text::Made([eol, b"--", &multipart.boundary, hyphens, eol].concat().into())
    }

    /// Makes a `multipart/mixed` of a message's own part, with its content as the only part; returns that.
    fn wrap(&mut self, root: PartId) -> PartId {
        let boundary = self.new_boundary(root);
        let eol = self.tree.eol(root);
        let node = self.tree.node(root);
        let (body, body_modified) = (node.body, node.body_modified);
        let content = self.tree.add(Some(root), Span::new(body.source, body.start..body.start));
        let made = |parts: &[&str]| Text::Made(Bytes::from(parts.concat()));
        let multipart = Multipart {
            boundary: Bytes::from(boundary.clone()),
            digest: false,
            preamble: Text::Made(Bytes::new()),
            first: Some(content),
            last: Some(content),
            tail: made(&[eol, "--", &boundary, "--", eol]),
            ambiguous: false,
        };
        let node = self.tree.node_mut(root);
        let old = std::mem::replace(&mut node.content, Content::Multipart(Box::new(multipart)));
        let defects = std::mem::take(&mut node.defects);
        node.body_modified = true;
        let moved = self.wrap_header(root, &boundary);
        let node = self.tree.node_mut(content);
        (node.body, node.body_modified, node.defects) = (body, body_modified, defects);
        (node.fields, node.header_modified) = (Some(moved), true);
        node.lead = made(&["--", &boundary, eol]);
        self.set_content(content, old);
        self.mark_around(root);
        self.notify(Change::Inserted { part: content, parent: root });
        content
    }

    /// Gives a body to a part that had another one.
    fn set_content(&mut self, id: PartId, content: Content) {
        self.tree.node_mut(id).content = content;
        let mut child = self.tree.first_child(id);
        while let Some(part) = child {
            let node = self.tree.node_mut(part);
            node.parent = Some(id);
            child = node.next;
        }
    }

    fn drop_children(&mut self, id: PartId) {
        let mut child = self.tree.first_child(id);
        while let Some(part) = child {
            let node = self.tree.node_mut(part);
            node.gone = true;
            child = node.next;
        }
    }

    /// Gives the body and type of a new part to a message's own one.
    fn take_content(&mut self, root: PartId, new: PartId) {
        let fields = self.tree.entries(new);
        let node = self.tree.node_mut(new);
        node.gone = true;
        let (body, defects) = (node.body, node.defects);
        let content = std::mem::replace(&mut node.content, Content::Leaf);
        self.drop_children(root);
        self.set_content(root, content);
        let node = self.tree.node_mut(root);
        (node.body, node.body_modified, node.defects) = (body, true, defects);
        self.replace_content_fields(root, fields);
        self.mark_around(root);
    }

    /// Makes an empty text of a message's own part.
    fn empty(&mut self, root: PartId) {
        self.drop_children(root);
        let node = self.tree.node_mut(root);
        node.content = Content::Leaf;
        node.body.end = node.body.start;
        node.body_modified = true;
        self.replace_content_fields(root, Vec::new());
        self.mark_around(root);
    }

    /// Makes a boundary that is nowhere in the message, and is not alike those around.
    fn new_boundary(&self, root: PartId) -> String {
        let is_free = |boundary: &String| {
            let mut around = self.tree.node(root).parent.into_iter().flat_map(|id| self.tree.boundaries(id));
            let alike = around.any(|(_, multipart)| boundary.as_bytes().starts_with(&multipart.boundary));
            !alike && memmem::find(self.tree.bytes(self.tree.node(root).body), boundary.as_bytes()).is_none()
        };
        // No line of base64 or quoted-printable can begin with the first of these.
        let starts = ["=_", "_", "tamis.", "0", "'"];
        let mut candidates = starts.iter().map(|start| format!("{start}{}", make_boundary("_")));
        candidates.find(is_free).unwrap_or_else(|| make_boundary("_"))
    }
}

//! Changing header fields of parts.

use std::collections::HashMap;

use tamis_proto::edit::validate::{header_name, header_value};

use super::facts::{Facts, Kind};
use super::field::{Entry, Fields};
use super::tree::{Content, PartId};
use super::{Change, HeaderChange, Mime, MimeError};

impl Mime {
    /// Gives a header field a value: the first of this name, of which there is one only then, or a new one at the
    /// end.
    ///
    /// # Errors
    ///
    /// There is no such part, the name or value is not allowed in a header, or the part would be something else
    /// with it.
    #[doc(alias = "replace_header")]
    pub fn set_header(&mut self, id: PartId, name: &str, value: impl AsRef<[u8]>) -> Result<(), MimeError> {
        let new = self.new_entry(id, name, value.as_ref())?;
        let mut entries = self.tree.entries(id);
        let mut edits = Vec::new();
        let mut new = Some(new);
        entries.retain_mut(|entry| {
            if !entry.field().is(name) {
                return true;
            }
            let Some(new) = new.take() else {
                edits.push((entry.clone(), None));
                return false;
            };
            // The spelling of the name stays.
            let line = super::field::line(&entry.name, &new.value, self.tree.eol(id));
            let (origin, name) = (entry.origin, entry.name.clone());
            let new = Entry { name, value: new.value, text: super::tree::Text::Made(line), origin };
            edits.push((entry.clone(), Some(new.value.clone())));
            *entry = new;
            true
        });
        let added = new.inspect(|new| entries.push(new.clone()));
        self.commit(id, name, entries)?;
        for (old, new) in &edits {
            self.notify_header(id, &old.name, Some(&old.value), new.as_deref());
        }
        if let Some(added) = added {
            self.notify_header(id, &added.name, None, Some(&added.value));
        }
        Ok(())
    }

    /// Adds a header field behind all others.
    ///
    /// # Errors
    ///
    /// As for [`set_header`](Self::set_header).
    pub fn add_header(&mut self, id: PartId, name: &str, value: impl AsRef<[u8]>) -> Result<(), MimeError> {
        let new = self.new_entry(id, name, value.as_ref())?;
        let mut entries = self.tree.entries(id);
        entries.push(new.clone());
        self.commit(id, name, entries)?;
        self.notify_header(id, &new.name, None, Some(&new.value));
        Ok(())
    }

    /// Removes all header fields of a name; returns how many there were.
    ///
    /// # Errors
    ///
    /// There is no such part, or it would be something else without the field.
    pub fn remove_header(&mut self, id: PartId, name: &str) -> Result<usize, MimeError> {
        self.find(id)?;
        let (removed, entries): (Vec<_>, Vec<_>) =
            self.tree.entries(id).into_iter().partition(|entry| entry.field().is(name));
        if removed.is_empty() {
            return Ok(0);
        }
        self.commit(id, name, entries)?;
        self.notify_removed(id, &removed);
        Ok(removed.len())
    }

    /// Takes the word back that a message is encoded, which it is not.
    pub(super) fn remove_encoding(&mut self, id: PartId) {
        let is_encoding = |entry: &Entry| entry.field().is("Content-Transfer-Encoding");
        let (removed, entries): (Vec<_>, Vec<_>) = self.tree.entries(id).into_iter().partition(is_encoding);
        self.put(id, entries);
        self.notify_removed(id, &removed);
    }

    fn new_entry(&self, id: PartId, name: &str, value: &[u8]) -> Result<Entry, MimeError> {
        self.find(id)?;
        header_name(name.as_bytes())?;
        let value = header_value(value)?;
        let around = self.tree.node(id).parent.into_iter().flat_map(|parent| self.tree.boundaries(parent));
        let line = name.strip_prefix("--").map(str::as_bytes);
        for (part, multipart) in around {
            if line.is_some_and(|line| line.starts_with(&multipart.boundary)) {
                return Err(MimeError::BoundaryInContent { part });
            }
        }
        Ok(Entry::new(name.as_bytes(), &value, self.tree.eol(id)))
    }

    /// Puts an edited header in its place, unless the part would be read differently with it.
    fn commit(&mut self, id: PartId, name: &str, entries: Vec<Entry>) -> Result<(), MimeError> {
        for field in ["Content-Type", "Content-Transfer-Encoding"] {
            if name.eq_ignore_ascii_case(field) && !self.fits(id, &entries) {
                return Err(MimeError::Structure { part: id, field });
            }
        }
        self.put(id, entries);
        self.mark_around(id);
        Ok(())
    }

    fn fits(&self, id: PartId, entries: &[Entry]) -> bool {
        let digest = self.tree.in_digest(id);
        let (old, new) =
            (Facts::read(self.tree.fields(id), digest), Facts::read(Fields::edited(entries), digest));
        match (&self.tree.node(id).content, new.kind) {
            (Content::Leaf, kind) => kind == Kind::Leaf || kind == old.kind,
            (Content::Multipart(multipart), Kind::Multipart { boundary, digest }) => {
                (boundary, digest) == (multipart.boundary.clone(), multipart.digest)
            }
            (Content::Message(nested), Kind::Message) => {
                new.encoding == nested.encoding || nested.mislabelled && new.encoding == old.encoding
            }
            _ => false,
        }
    }

    fn put(&mut self, id: PartId, entries: Vec<Entry>) {
        let node = self.tree.node_mut(id);
        (node.fields, node.header_modified) = (Some(entries), true);
    }

    fn notify_removed(&mut self, id: PartId, removed: &[Entry]) {
        for old in removed {
            self.notify_header(id, &old.name, Some(&old.value), None);
        }
    }

    fn notify_header(&mut self, part: PartId, name: &[u8], old: Option<&[u8]>, new: Option<&[u8]>) {
        self.notify(Change::Header {
            part,
            name,
            old: old.map(<[u8]>::trim_ascii_start),
            new: new.map(<[u8]>::trim_ascii_start),
        });
    }

    /// Makes the header of a `multipart/mixed` of that of a message's own part; returns the fields that go with the
    /// content.
    pub(super) fn wrap_header(&mut self, root: PartId, boundary: &str) -> Vec<Entry> {
        let fields = self.tree.entries(root);
        let moved: Vec<_> = fields.iter().filter(|entry| is_content(entry)).cloned().collect();
        let eol = self.tree.eol(root);
        let mixed = format!("multipart/mixed; boundary=\"{boundary}\"");
        let mut new = vec![Entry::new(b"Content-Type", mixed.as_bytes(), eol)];
        // 8-bit text in a part needs a message that says so.
        let wide = |entry: &&Entry| {
            let value = entry.field().value();
            entry.field().is("Content-Transfer-Encoding")
                && (value.eq_ignore_ascii_case(b"8bit") || value.eq_ignore_ascii_case(b"binary"))
        };
        if let Some(encoding) = moved.iter().find(wide) {
            new.push(encoding.clone());
        }
        self.replace_content_fields(root, new);
        moved.into_iter().map(|entry| Entry { origin: None, ..entry }).collect()
    }

    /// Replaces the `Content-…` fields of a message's own part, each by the new one of its name where there is one.
    pub(super) fn replace_content_fields(&mut self, root: PartId, new: Vec<Entry>) {
        let mut new: Vec<_> = new.into_iter().filter(is_content).collect();
        let mut edits = Vec::new();
        let mut entries = self.tree.entries(root);
        let eol = self.tree.eol(root);
        entries.retain_mut(|entry| {
            if !is_content(entry) {
                return true;
            }
            let found = new.iter().position(|new| new.name.eq_ignore_ascii_case(&entry.name));
            let Some(found) = found else {
                edits.push((entry.name.clone(), Some(entry.value.clone()), None));
                return false;
            };
            let new = new.remove(found);
            if new.value.trim_ascii() != entry.value.trim_ascii() {
                edits.push((entry.name.clone(), Some(entry.value.clone()), Some(new.value.clone())));
                *entry = Entry { origin: entry.origin, ..new };
            }
            true
        });
        let is_mime = entries.iter().any(|entry| entry.field().is("MIME-Version"));
        let has_content = !new.is_empty() || entries.iter().any(is_content);
        if has_content && !is_mime {
            new.insert(0, Entry::new(b"MIME-Version", b"1.0", eol));
        }
        for entry in new {
            edits.push((entry.name.clone(), None, Some(entry.value.clone())));
            entries.push(Entry { origin: None, ..entry });
        }
        self.put(root, entries);
        for (name, old, new) in &edits {
            self.notify_header(root, name, old.as_deref(), new.as_deref());
        }
    }

    /// The difference between the message's own header as it was and as it is.
    pub(super) fn header_changes(&self) -> Vec<HeaderChange> {
        let root = self.tree.node(PartId::ROOT);
        let Some(now) = root.fields.as_ref().filter(|_| root.header_modified) else { return Vec::new() };
        let before = self.given.clone().unwrap_or_else(|| self.tree.split(root.head));
        let kept: HashMap<_, _> = now.iter().filter_map(|entry| Some((entry.origin?, entry))).collect();
        let mut occurrences = HashMap::new();
        let value = |entry: &Entry| entry.value.slice_ref(entry.value.trim_ascii_start());
        let mut changes = Vec::new();
        for (at, old) in before.iter().enumerate() {
            let occurrence: &mut usize = occurrences.entry(old.name.to_ascii_lowercase()).or_default();
            *occurrence += 1;
            let new = kept.get(&at).map(|entry| value(entry));
            if new.as_ref() != Some(&value(old)) {
                let (name, occurrence) = (old.name.clone(), *occurrence);
                changes.push(HeaderChange { name, occurrence, old: Some(value(old)), new });
            }
        }
        let added = now.iter().filter(|entry| entry.origin.is_none());
        changes.extend(added.map(|new| HeaderChange {
            name: new.name.clone(),
            occurrence: 0,
            old: None,
            new: Some(value(new)),
        }));
        changes
    }
}

fn is_content(entry: &Entry) -> bool {
    const PREFIX: &[u8] = b"content-";
    entry.name.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
}

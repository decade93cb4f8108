//! The one change of the header that several filters' edits come to.
//!
//! [`Entry`]s are the fields of the header that the MTA's model ([`tamis_proto::edit::model`]) has after the edits of
//! one filter after the other. [`compile`] makes the list of edits that gives the same header when one filter asks for
//! it; [`merge`] makes one list of the entries of filters that did not see each other's edits.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use tamis_proto::Edit;
use tamis_proto::edit::model::{Field, Message, Model, Origin, Profile};

use super::header_edits::BOTTOM;
use super::target::{SENDMAIL_TEMPLATES, Target};

/// A place in the MTA's list of header fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) origin: Origin,
    pub(crate) field: Field,
    pub(crate) live: bool,
    /// Number of the filter that edited it.
    pub(crate) edited: Option<usize>,
}

/// The model of a header before any edits, as the MTA at hand has it with its own fields.
pub(crate) fn model(target: Target, received: &[Field]) -> Model {
    let own = Field::new("Received", "");
    let headers = std::iter::once(own).chain(received.iter().cloned()).collect();
    Model::new(profile(target), Message { headers, ..Message::default() })
        .own_fields(1)
        .blank_defaults(SENDMAIL_TEMPLATES)
}

/// Whose rules hold. Of what is the same with all MTAs Postfix' are the simpler ones.
pub(crate) fn profile(target: Target) -> Profile {
    match target {
        Target::Postfix | Target::Portable => Profile::Postfix,
        Target::Sendmail => Profile::Sendmail,
    }
}

/// The places in the list of a model after the edits of filter `by`, with those of received fields that it dropped.
pub(crate) fn entries(model: &Model, received: &[Field], by: usize) -> Vec<Entry> {
    let mut entries = Vec::with_capacity(received.len() + 8);
    let mut next = 0;
    let gone = |at: usize| Entry {
        origin: Origin::Received(at),
        field: received[at].clone(),
        live: false,
        edited: Some(by),
    };
    for place in model.places() {
        if let Origin::Received(at) = place.origin {
            entries.extend((next..at).map(gone));
            next = at + 1;
        }
        let (origin, field) = (place.origin, place.field.clone());
        entries.push(Entry { origin, field, live: place.live, edited: place.edited.then_some(by) });
    }
    entries.extend((next..received.len()).map(gone));
    entries
}

/// Takes over what one filter made of a header that the filters before did not show it. Each of the received fields
/// that both changed into different ones is told to `conflict`; the later change counts.
pub(crate) fn merge(
    master: Vec<Entry>,
    mut later: Vec<Entry>,
    mut conflict: impl FnMut(usize, usize, &Field),
) -> Vec<Entry> {
    let mut changed = HashMap::new();
    // New fields, by what they stand above.
    let mut above: HashMap<Option<Key>, Vec<Entry>> = HashMap::new();
    let mut below = None;
    for entry in later.drain(..).rev() {
        match Key::of(&entry) {
            None => above.entry(below.clone()).or_default().push(entry),
            Some(key) => {
                below = Some(key.clone());
                if entry.edited.is_some() {
                    changed.insert(key, entry);
                }
            }
        }
    }
    let mut merged = Vec::with_capacity(master.len() + 4);
    let top = master.iter().position(|entry| Key::of(entry).is_some());
    let mut put = |key: Option<Key>, merged: &mut Vec<Entry>| {
        merged.extend(above.remove(&key).into_iter().flatten().rev());
    };
    // What is put on top stands above what others put there.
    let first = top.and_then(|at| Key::of(&master[at]));
    put(first.clone(), &mut merged);
    for mut entry in master {
        if let Some(key) = Key::of(&entry) {
            if first.as_ref() != Some(&key) {
                put(Some(key.clone()), &mut merged);
            }
            if let Some(later) = changed.remove(&key) {
                if let (Some(one), Some(other)) = (entry.edited, later.edited)
                    && (&entry.field, entry.live) != (&later.field, later.live)
                {
                    conflict(one, other, &entry.field);
                }
                entry = later;
            }
        }
        merged.push(entry);
    }
    put(None, &mut merged);
    merged
}

/// What names a field that is not new, in all filters' lists.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Received(usize),
    Own(Bytes),
}

impl Key {
    fn of(entry: &Entry) -> Option<Self> {
        match entry.origin {
            Origin::Received(at) => Some(Self::Received(at)),
            Origin::Own => Some(Self::Own(entry.field.name.clone())),
            Origin::Edit => None,
        }
    }
}

/// Makes the edits that turn the header that was received into this one.
///
/// First what is there is changed and deleted, from the bottom to the top, then new fields are inserted from the top,
/// each at the place that it has with all above it, and the end is written last.
pub(crate) fn compile(
    entries: &[Entry],
    received: &[Field],
    target: Target,
    own_space: bool,
) -> Vec<Edit<Bytes>> {
    let mut net = Net { target, own_space, received, edits: Vec::new() };
    net.change(entries);
    net.clear(entries);
    net.insert(entries);
    net.edits
}

struct Net<'n> {
    target: Target,
    /// Values are given with the space after the colon.
    own_space: bool,
    received: &'n [Field],
    edits: Vec<Edit<Bytes>>,
}

impl Net<'_> {
    fn change(&mut self, entries: &[Entry]) {
        let numbers = self.numbers();
        for entry in entries.iter().rev() {
            let Origin::Received(at) = entry.origin else { continue };
            let (before, index) = (&self.received[at], numbers[at]);
            let value = match entry.live {
                false => Bytes::new(),
                true if entry.field == *before => continue,
                true => self.value(&entry.field),
            };
            let name = if entry.live { &entry.field.name } else { &before.name };
            self.edits.push(Edit::ChangeHeader { index, name: name.clone(), value });
        }
    }

    /// Removes what Sendmail generated and a filter does not want.
    fn clear(&mut self, entries: &[Entry]) {
        let unwanted = entries
            .iter()
            .filter(|entry| entry.origin == Origin::Own && entry.edited.is_some() && !entry.live);
        for entry in unwanted {
            let same = |field: &&Field| field.name.eq_ignore_ascii_case(&entry.field.name);
            let count = self.received.iter().filter(same).count();
            let index = u32::try_from(count + 1).unwrap_or(u32::MAX);
            self.edits.push(Edit::ChangeHeader {
                index,
                name: entry.field.name.clone(),
                value: Bytes::new(),
            });
        }
    }

    fn insert(&mut self, entries: &[Entry]) {
        // Sendmail counts deleted fields, Postfix does not.
        let counts =
            |entry: &Entry| entry.live || self.target == Target::Sendmail && entry.origin != Origin::Edit;
        let last = entries.iter().rposition(|entry| entry.origin != Origin::Edit && counts(entry));
        let end = last.map_or(0, |last| last + 1);
        let mut names: HashSet<Vec<u8>> = self.received.iter().map(|field| lower(&field.name)).collect();
        let mut index = 0_u32;
        for entry in entries[..end].iter().filter(|entry| counts(entry)) {
            if entry.origin == Origin::Edit {
                names.insert(lower(&entry.field.name));
                let (name, value) = (entry.field.name.clone(), self.value(&entry.field));
                self.edits.push(Edit::InsertHeader { index: index.min(BOTTOM), name, value });
            }
            index = index.saturating_add(1);
        }
        // Fields that Sendmail has a place for of its own.
        for entry in
            entries.iter().filter(|entry| entry.origin == Origin::Own && entry.edited.is_some() && entry.live)
        {
            let (name, value) = (entry.field.name.clone(), self.value(&entry.field));
            self.edits.push(Edit::AddHeader { name, value });
        }
        for entry in entries[end..].iter().filter(|entry| entry.origin == Origin::Edit && entry.live) {
            let (name, value) = (entry.field.name.clone(), self.value(&entry.field));
            let is_new = names.insert(lower(&name));
            // To add is the request that every MTA knows, but Sendmail adds beside a field of the same name.
            let fills = self.target == Target::Portable && is_new && is_template(&name);
            let add = self.target == Target::Postfix || fills || is_new && self.target.adds_at_end(&name);
            self.edits.push(if add {
                Edit::AddHeader { name, value }
            } else {
                Edit::InsertHeader { index: BOTTOM, name, value }
            });
        }
    }

    /// The number of each received field among those of its name, from 1.
    fn numbers(&self) -> Vec<u32> {
        let mut counts = HashMap::<Vec<u8>, u32>::new();
        let number = |field: &Field| {
            let count = counts.entry(lower(&field.name)).or_default();
            *count += 1;
            *count
        };
        self.received.iter().map(number).collect()
    }

    fn value(&self, field: &Field) -> Bytes {
        field.wire_value(self.own_space)
    }
}

fn is_template(name: &[u8]) -> bool {
    SENDMAIL_TEMPLATES.iter().any(|template| name.eq_ignore_ascii_case(template.as_bytes()))
}

fn lower(name: &[u8]) -> Vec<u8> {
    name.to_ascii_lowercase()
}

//! Header fields: add, insert, change, delete, and how each MTA counts them.

use bytes::Bytes;
use memchr::memchr_iter;

use super::message::{Field, is_blank};
use super::{Applied, Ignored, Origin, Place, Profile, Refused};

/// Fields that Sendmail knows as trace fields: its own are never replaced, there may be many of them.
const TRACE: [&[u8]; 4] = [b"received", b"x400-received", b"via", b"mail-from"];

/// The MTA's list of header fields.
#[derive(Clone, Debug)]
pub(super) struct Headers {
    profile: Profile,
    entries: Vec<Entry>,
    own: usize,
    /// Whether values are taken as they are, without a space before them.
    pub(super) verbatim: bool,
}

#[derive(Clone, Debug)]
struct Entry {
    field: Field,
    /// Sendmail keeps deleted fields in its list, without a value.
    live: bool,
    /// Whether it counts for filters; Sendmail: came from the client or a filter and was not found deleted since.
    counted: bool,
    origin: Origin,
    /// Whether an edit found it.
    edited: bool,
}

impl Entry {
    fn named(&self, name: &[u8]) -> bool {
        self.field.name.eq_ignore_ascii_case(name)
    }

    fn is_shown(&self) -> bool {
        self.live && self.counted
    }

    /// Sendmail: a generated field, or the place of one, which a filter's field of that name takes over.
    fn replaceable(&self) -> bool {
        !self.counted && !TRACE.iter().any(|name| self.named(name))
    }
}

impl Headers {
    pub(super) fn new(profile: Profile, fields: Vec<Field>) -> Self {
        let entry = |(at, field)| Entry {
            field,
            live: true,
            counted: true,
            origin: Origin::Received(at),
            edited: false,
        };
        let entries = fields.into_iter().enumerate().map(entry).collect();
        Self { profile, entries, own: 0, verbatim: false }
    }

    pub(super) fn own_fields(&mut self, count: usize) {
        self.own = count;
        for (at, entry) in self.entries.iter_mut().enumerate() {
            entry.counted = entry.live && at >= count;
            entry.origin = at.checked_sub(count).map_or(Origin::Own, Origin::Received);
        }
    }

    pub(super) fn blank_defaults(&mut self, names: impl Iterator<Item = Bytes>) {
        if self.profile == Profile::Postfix {
            return;
        }
        let mut own: Vec<Entry> = self.entries.drain(..self.own.min(self.entries.len())).collect();
        let mut templates = Vec::new();
        for name in names {
            let blank = Field { name, value: Bytes::new() };
            let applied = own.iter().position(|entry| entry.named(&blank.name)).map(|at| own.remove(at));
            templates.push(applied.unwrap_or(Entry {
                field: blank,
                live: false,
                counted: false,
                origin: Origin::Own,
                edited: false,
            }));
        }
        self.entries.splice(..0, own.into_iter().chain(templates));
    }

    pub(super) fn add(&mut self, name: &[u8], value: &[u8]) -> Applied {
        match self.profile {
            Profile::Postfix => {
                let entry = self.entry(name, value);
                self.entries.push(entry);
            }
            Profile::Sendmail if name.is_empty() => return Applied::Ignored(Ignored::Empty),
            Profile::Sendmail => {
                if let Some(at) = self.entries.iter().position(|e| e.named(name) && e.replaceable()) {
                    self.set(at, value);
                } else {
                    let first = self.entries.iter().position(|e| e.named(name));
                    let entry = self.entry(name, value);
                    self.entries.insert(first.unwrap_or(self.entries.len()), entry);
                }
            }
        }
        Applied::Done
    }

    pub(super) fn insert(&mut self, index: u32, name: &[u8], value: &[u8]) -> Applied {
        let (index, end) = match self.profile {
            Profile::Postfix => (usize::try_from(index).unwrap_or(usize::MAX), self.reachable()),
            Profile::Sendmail if name.is_empty() => return Applied::Ignored(Ignored::Empty),
            // Sendmail reads the index as a signed number.
            Profile::Sendmail => (usize::try_from(index.cast_signed()).unwrap_or(0), self.entries.len()),
        };
        let at = if index < end { index } else { self.entries.len() };
        let entry = self.entry(name, value);
        self.entries.insert(at, entry);
        Applied::Done
    }

    pub(super) fn change(&mut self, index: u32, name: &[u8], value: &[u8]) -> Result<Applied, Refused> {
        if name.is_empty() {
            return match self.profile {
                Profile::Postfix => Err(Refused::EmptyHeaderName),
                Profile::Sendmail => Ok(Applied::Ignored(Ignored::Empty)),
            };
        }
        let found = match self.profile {
            Profile::Postfix => self.find_postfix(index, name),
            Profile::Sendmail => self.find_sendmail(index, name),
        };
        Ok(match (found, self.profile) {
            (None, _) if value.is_empty() => Applied::Ignored(Ignored::NotFound),
            (None, _) => {
                self.add(name, value);
                Applied::AddedInstead
            }
            (Some(at), Profile::Postfix) if value.is_empty() => {
                self.entries.remove(at);
                Applied::Done
            }
            (Some(at), _) => {
                self.change_at(at, name, value);
                Applied::Done
            }
        })
    }

    /// Changes fields by their places among those that are shown, from the last to the first.
    pub(super) fn change_shown<N: AsRef<[u8]>, V: AsRef<[u8]>>(
        &mut self,
        changes: impl IntoIterator<Item = (usize, N, V)>,
    ) {
        let shown: Vec<usize> = (0..self.entries.len()).filter(|at| self.entries[*at].is_shown()).collect();
        for (place, name, value) in changes {
            if let Some(at) = shown.get(place) {
                self.change_at(*at, name.as_ref(), value.as_ref());
            }
        }
        if self.profile == Profile::Postfix {
            self.entries.retain(|entry| entry.live);
        }
    }

    fn change_at(&mut self, at: usize, name: &[u8], value: &[u8]) {
        if value.is_empty() {
            self.entries[at].live = false;
        } else if self.profile == Profile::Postfix {
            // With the filter's spelling of the name.
            let origin = self.entries[at].origin;
            self.entries[at] = Entry { origin, edited: true, ..self.entry(name, value) };
        } else {
            self.set(at, value);
        }
        self.entries[at].edited = true;
    }

    /// Counts anew for the next filter: what Sendmail has deleted is no longer counted, but keeps its place.
    pub(super) fn renumber(&mut self) {
        for entry in &mut self.entries {
            entry.counted &= entry.live;
        }
    }

    pub(super) fn shown(&self) -> impl Iterator<Item = &Field> {
        self.entries.iter().filter(|entry| entry.is_shown()).map(|entry| &entry.field)
    }

    pub(super) fn places(&self) -> impl Iterator<Item = Place<'_>> {
        self.entries.iter().map(|entry| Place {
            origin: entry.origin,
            field: &entry.field,
            live: entry.live,
            edited: entry.edited,
        })
    }

    pub(super) fn into_fields(self) -> Vec<Field> {
        self.entries.into_iter().filter(|entry| entry.live).map(|entry| entry.field).collect()
    }

    fn find_postfix(&self, index: u32, name: &[u8]) -> Option<usize> {
        let nth = usize::try_from(index.saturating_sub(1)).ok()?;
        let entries = self.entries[..self.reachable()].iter().enumerate();
        entries.filter(|(_, entry)| entry.counted && entry.named(name)).map(|(at, _)| at).nth(nth)
    }

    fn find_sendmail(&self, index: u32, name: &[u8]) -> Option<usize> {
        let mut left = index.cast_signed(); // negative ones mean the first, as 0 does
        let mut generated = None;
        for (at, entry) in self.entries.iter().enumerate().filter(|(_, entry)| entry.named(name)) {
            if entry.counted {
                left = left.saturating_sub(1);
                if left <= 0 {
                    return Some(at);
                }
            } else if entry.replaceable() {
                generated = Some(at);
            }
        }
        generated
    }

    /// How many entries Postfix finds: for its search the header ends at a line that is no field.
    fn reachable(&self) -> usize {
        let is_field = |entry: &Entry| !entry.field.name.iter().any(|byte| is_blank(*byte));
        self.entries
            .iter()
            .position(|entry| entry.field.name.is_empty() || !is_field(entry))
            .unwrap_or(self.entries.len())
    }

    fn set(&mut self, at: usize, value: &[u8]) {
        let value = self.value(value);
        let entry = &mut self.entries[at];
        // Sendmail goes on without a template that it had no use for, as long as there is nothing in it.
        entry.live |= !value.is_empty();
        entry.field.value = value;
        entry.counted = true;
        entry.edited = true;
    }

    fn entry(&self, name: &[u8], value: &[u8]) -> Entry {
        let field = Field { name: Bytes::copy_from_slice(name), value: self.value(value) };
        Entry { field, live: true, counted: true, origin: Origin::Edit, edited: true }
    }

    /// The value as it will stand behind the colon.
    fn value(&self, value: &[u8]) -> Bytes {
        let pad = match self.profile {
            Profile::Postfix => b'\t',
            Profile::Sendmail => b' ',
        };
        let mut out = Vec::with_capacity(value.len() + 1);
        if !self.verbatim {
            out.push(b' ');
        }
        let mut done = 0;
        for feed in memchr_iter(b'\n', value) {
            // A line feed never ends the field: white space is put after it where there is none.
            if !value.get(feed + 1).is_some_and(|next| is_blank(*next)) {
                out.extend_from_slice(&value[done..=feed]);
                out.push(pad);
                done = feed + 1;
            }
        }
        out.extend_from_slice(&value[done..]);
        out.into()
    }
}

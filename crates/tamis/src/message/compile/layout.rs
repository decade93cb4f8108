//! Where each field of the wanted header is going to stand.

use super::Target;
use crate::message::Header;
use crate::message::headers::{Headers, Node};

/// The wanted header as the MTA is going to have it: it differs from what the filter sees in its [`Headers`] only in
/// the places of fields that were not asked for exactly.
#[derive(Debug)]
pub(super) struct Layout<'a> {
    /// What becomes of each received field.
    pub(super) received: Vec<Fate<'a>>,
    /// New fields above all others, from the top.
    pub(super) top: Vec<Header<'a>>,
    /// One of those was asked for exactly.
    pub(super) exact_top: bool,
    /// New fields among the received ones, from the top.
    pub(super) middle: Vec<Middle<'a>>,
    /// Fields below all that stay where they are, from the top.
    pub(super) end: Vec<End<'a>>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Fate<'a> {
    Stays(Header<'a>),
    Changes(Header<'a>),
    Goes,
    /// Goes and comes again at the end.
    Moves,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Middle<'a> {
    pub(super) header: Header<'a>,
    /// How many received fields are above it, and how many of those stay.
    pub(super) above: usize,
    pub(super) staying_above: usize,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct End<'a> {
    pub(super) header: Header<'a>,
    /// Which received field it is, if it is one that moves.
    pub(super) received: Option<usize>,
    /// Its place among its neighbours matters.
    pub(super) exact: bool,
}

impl<'a> Layout<'a> {
    pub(super) fn new(headers: &'a Headers, target: Target) -> Self {
        let slots = slots(headers);
        let mut staying = slots.iter().filter(|slot| matches!(slot, Slot::Received(_, Some(_)))).count();
        let mut layout = Self {
            received: Vec::new(),
            top: Vec::new(),
            exact_top: false,
            middle: Vec::new(),
            end: Vec::new(),
        };
        let mut staying_above = 0;
        let mut above_all = Vec::new();
        let mut below_all = Vec::new();
        let mut appended = false;
        let mut moving = false;
        for slot in slots {
            match slot {
                Slot::Received(_, None) => layout.received.push(Fate::Goes),
                Slot::Received(at, Some(header)) => {
                    staying -= 1;
                    if moving {
                        layout.received.push(Fate::Moves);
                        layout.end.push(End { header, received: Some(at), exact: true });
                    } else {
                        staying_above += 1;
                        layout.received.push(stays_or_changes(headers, at, header));
                    }
                }
                Slot::Frontier => appended = true,
                Slot::Added(header, exact) => {
                    moving |= exact && staying_above > 0 && staying > 0 && target != Target::Postfix;
                    if moving || appended || (staying == 0 && staying_above > 0) {
                        layout.end.push(End { header, received: None, exact: moving || exact });
                    } else if staying_above == 0 {
                        layout.top.push(header);
                        layout.exact_top |= exact;
                    } else if target.hidden_fields().is_some() {
                        let above = layout.received.len();
                        layout.middle.push(Middle { header, above, staying_above });
                    } else if staying_above <= staying {
                        above_all.push(header);
                    } else {
                        below_all.push(End { header, received: None, exact: false });
                    }
                }
            }
        }
        // Outside of the others, so that they do not get between a field and its exact place.
        layout.top.splice(..0, above_all);
        layout.end.extend(below_all);
        layout
    }

    /// The fields from the top, and whether an edit writes them.
    pub(super) fn fields(&self) -> impl Iterator<Item = (Header<'a>, bool)> {
        let mut fields: Vec<_> = self.top.iter().map(|header| (*header, true)).collect();
        let mut middle = self.middle.iter().peekable();
        for (at, fate) in self.received.iter().enumerate() {
            while let Some(new) = middle.next_if(|new| new.above <= at) {
                fields.push((new.header, true));
            }
            match fate {
                Fate::Stays(header) => fields.push((*header, false)),
                Fate::Changes(header) => fields.push((*header, true)),
                Fate::Goes | Fate::Moves => {}
            }
        }
        fields.extend(middle.map(|new| (new.header, true)));
        fields.extend(self.end.iter().map(|end| (end.header, true)));
        fields.into_iter()
    }
}

/// A place in the wanted header.
enum Slot<'a> {
    /// A received field by its number, as it is now unless it was removed.
    Received(usize, Option<Header<'a>>),
    /// An added field, and whether its place was asked for exactly.
    Added(Header<'a>, bool),
    /// Where received fields end and appended ones begin.
    Frontier,
}

fn slots(headers: &Headers) -> Vec<Slot<'_>> {
    let mut slots = Vec::new();
    for node in headers.nodes() {
        let slot = match node {
            Node::Received(at) => Slot::Received(at as usize, headers.view(node)),
            Node::Added(_) => match headers.view(node) {
                Some(header) => Slot::Added(header, headers.is_exact(node)),
                None => continue,
            },
            Node::Frontier | Node::Ends => Slot::Frontier,
        };
        match slots.last().and_then(|last| swap(headers, last, &slot)) {
            Some(changed) => *slots.last_mut().expect("there is a last one") = changed,
            None => slots.push(slot),
        }
    }
    slots
}

/// A field that is removed beside a new one of the same name is a field that changes: one edit less, and its place
/// is exact with every MTA. Not so above all that came: what is put on top stands above the MTA's own fields too, and
/// a changed one would stay below them.
fn swap<'a>(headers: &'a Headers, one: &Slot<'a>, other: &Slot<'a>) -> Option<Slot<'a>> {
    let ((Slot::Received(at, None), Slot::Added(new, _)) | (Slot::Added(new, _), Slot::Received(at, None))) =
        (one, other)
    else {
        return None;
    };
    if matches!((one, other), (Slot::Added(..), Slot::Received(0, _))) {
        return None;
    }
    let same_name = headers.received_at(*at).name() == new.name();
    (same_name && !new.is_blank()).then_some(Slot::Received(*at, Some(*new)))
}

fn stays_or_changes<'a>(headers: &'a Headers, at: usize, header: Header<'a>) -> Fate<'a> {
    let before = headers.received_at(at);
    if (before.value(), before.implied_space()) == (header.value(), header.implied_space()) {
        Fate::Stays(header)
    } else {
        Fate::Changes(header)
    }
}

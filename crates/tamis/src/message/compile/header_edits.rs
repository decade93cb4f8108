//! From where header fields are going to stand to the edits that put them there.

use std::collections::HashSet;

use bytes::Bytes;
use tamis_proto::edit::validate;
use tamis_proto::{Actions, Edit};

use super::layout::{End, Fate, Layout, Middle};
use super::target::SENDMAIL_TEMPLATES;
use super::{CompileError, Mta, Target};
use crate::message::headers::Headers;
use crate::message::{Header, HeaderId, Text};

/// An index below all fields. Postfix on a machine of 32 bits takes none above 2^31 - 2, and Sendmail takes one above
/// that for negative.
pub(super) const BOTTOM: u32 = 1 << 30;

/// Makes the edits of header fields, in the order that both MTAs need.
///
/// First what is there is changed and deleted, from the bottom to the top: Postfix counts anew after each deletion,
/// Sendmail does not. Then new fields are inserted, again from the bottom, so that none moves the place of another.
/// Then the end is written.
pub(super) fn compile(
    headers: &Headers,
    mta: &Mta,
    edits: &mut Vec<Edit<Bytes>>,
) -> Result<(), CompileError> {
    if !headers.is_changed() {
        return Ok(());
    }
    let layout = Layout::new(headers, mta.target);
    let generated = Generated::new(headers, &layout, mta);
    let mut compiler = Compiler { mta, edits, names: names(headers), fill: generated.fill };
    compiler.change_received(headers, &layout)?;
    compiler.clear(generated.clear);
    for new in layout.middle.iter().rev() {
        compiler.insert(index(new, mta.target), new.header)?;
    }
    for header in layout.top.iter().rev() {
        compiler.insert(0, *header)?;
    }
    for end in &layout.end {
        compiler.write_end(end)?;
    }
    Ok(())
}

fn index(new: &Middle<'_>, target: Target) -> u32 {
    let hidden = target.hidden_fields().expect("a field goes in the middle only where places are known");
    // Sendmail counts deleted fields, Postfix does not.
    let above = if target == Target::Postfix { new.staying_above } else { new.above };
    u32::try_from(hidden + above).map_or(BOTTOM, |index| index.min(BOTTOM))
}

/// What to do about fields that Sendmail generates where the message has none, which filters are not shown.
#[derive(Default)]
pub(super) struct Generated {
    /// New fields that are added so that they take the place of the generated one, wherever that is.
    pub(super) fill: HashSet<HeaderId>,
    /// Names of generated fields that are removed, if they are there, because the new one is wanted elsewhere.
    pub(super) clear: Vec<&'static str>,
}

impl Generated {
    pub(super) fn new(headers: &Headers, layout: &Layout<'_>, mta: &Mta) -> Self {
        let mut generated = Self::default();
        if mta.target == Target::Postfix {
            return generated;
        }
        let placed = || layout.top.iter().copied().chain(layout.middle.iter().map(|new| new.header));
        let ends = || layout.end.iter().filter(|end| end.received.is_none());
        for name in SENDMAIL_TEMPLATES {
            let has_value = |header: &Header<'_>| header.is(name) && !header.value().is_empty();
            let first_end = ends().find(|end| end.header.is(name));
            let has_place = placed().any(|header| header.is(name));
            if !has_place && first_end.is_none() || headers.received().any(|header| header.is(name)) {
                continue;
            }
            // The generated one stands between what is on top and the first received field.
            let free = !has_place && !layout.exact_top;
            let appended = first_end.filter(|end| free && !end.exact && has_value(&end.header));
            match appended {
                Some(end) => _ = generated.fill.insert(end.header.id()),
                None if mta.actions.contains(Actions::CHANGE_HEADERS) => generated.clear.push(name),
                // One field of the name in the wrong place is better than two.
                None => {
                    let mut new = placed().chain(ends().map(|end| end.header));
                    generated.fill.extend(new.find(has_value).map(|header| header.id()));
                }
            }
        }
        generated
    }
}

struct Compiler<'c> {
    mta: &'c Mta,
    edits: &'c mut Vec<Edit<Bytes>>,
    /// Names of all fields so far, in lower case.
    names: HashSet<Vec<u8>>,
    fill: HashSet<HeaderId>,
}

impl Compiler<'_> {
    fn change_received(&mut self, headers: &Headers, layout: &Layout<'_>) -> Result<(), CompileError> {
        let numbers = numbers(headers);
        for (at, fate) in layout.received.iter().enumerate().rev() {
            let value = match fate {
                Fate::Stays(_) => continue,
                Fate::Changes(header) => self.value(*header)?,
                Fate::Goes | Fate::Moves => Bytes::new(),
            };
            let name = bytes(headers.received_at(at).name());
            self.edits.push(Edit::ChangeHeader { index: numbers[at], name, value });
        }
        Ok(())
    }

    fn clear(&mut self, names: Vec<&'static str>) {
        for name in names {
            let name = Bytes::from_static(name.as_bytes());
            self.edits.push(Edit::ChangeHeader { index: 1, name, value: Bytes::new() });
        }
    }

    fn insert(&mut self, index: u32, header: Header<'_>) -> Result<(), CompileError> {
        let (name, value) = (bytes(header.name()), self.value(header)?);
        self.names.insert(name.to_ascii_lowercase());
        self.edits.push(if self.fill.contains(&header.id()) {
            Edit::AddHeader { name, value }
        } else {
            Edit::InsertHeader { index, name, value }
        });
        Ok(())
    }

    fn write_end(&mut self, end: &End<'_>) -> Result<(), CompileError> {
        let header = end.header;
        if end.received.is_some() {
            rewritable(header)?;
        }
        let (name, value) = (bytes(header.name()), self.value(header)?);
        let new_name = self.names.insert(name.to_ascii_lowercase());
        let target = self.mta.target;
        // To add is the request that every MTA knows, but Sendmail adds beside a field of the same name.
        let add = target == Target::Postfix
            || self.fill.contains(&header.id())
            || (new_name && !end.exact && target.adds_at_end(&name));
        self.edits.push(if add {
            Edit::AddHeader { name, value }
        } else {
            Edit::InsertHeader { index: BOTTOM, name, value }
        });
        Ok(())
    }

    /// The value as the MTA wants it sent.
    fn value(&self, header: Header<'_>) -> Result<Bytes, CompileError> {
        let value = header.value();
        match (header.implied_space(), self.mta.leading_space) {
            (true, true) => Ok([b" ", value.as_bytes()].concat().into()),
            (true, false) | (false, true) => Ok(bytes(value)),
            (false, false) if value.as_bytes().first() == Some(&b' ') => Ok(bytes(value).slice(1..)),
            (false, false) => Err(CompileError::TightValue { name: header.name().clone() }),
        }
    }
}

fn bytes(text: &Text) -> Bytes {
    text.clone().into_bytes()
}

/// Whether a field that came from the MTA can be sent to it again as a new one without becoming another one.
fn rewritable(header: Header<'_>) -> Result<(), CompileError> {
    let value = header.value().as_bytes();
    let folded = |at: usize| matches!(value.get(at + 1), Some(b' ' | b'\t'));
    let feeds = || value.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at);
    if validate::header_name(header.name().as_bytes()).is_err() || !feeds().all(folded) {
        return Err(CompileError::CannotMove { name: header.name().clone() });
    }
    Ok(())
}

/// The number of each received field among those of its name, from 1.
fn numbers(headers: &Headers) -> Vec<u32> {
    let mut counts = std::collections::HashMap::<Vec<u8>, u32>::new();
    let number = |header: Header<'_>| {
        let count = counts.entry(header.name().as_bytes().to_ascii_lowercase()).or_default();
        *count += 1;
        *count
    };
    headers.received().map(number).collect()
}

/// The names of all received fields in lower case.
fn names(headers: &Headers) -> HashSet<Vec<u8>> {
    headers.received().map(|header| header.name().as_bytes().to_ascii_lowercase()).collect()
}

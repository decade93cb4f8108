//! Where in the text something of a configuration stands.

use std::ops::Range;

use tamis_filters::config::{Key, Path};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A table with the places of all that is in it.
pub(super) type Table<'i> = Spanned<DeTable<'i>>;

/// The place of what a path leads to; where there is nothing, of what it would be in.
pub(super) fn locate(root: &Table<'_>, path: &Path) -> Range<usize> {
    let mut span = root.span();
    let mut value: Option<&DeValue<'_>> = None;
    for key in path.keys() {
        let next = match (key, value) {
            (Key::Name(name), None) => entry(root.get_ref(), name),
            (Key::Name(name), Some(DeValue::Table(table))) => entry(table, name),
            (Key::Index(index), Some(DeValue::Array(array))) => {
                array.get(*index).map(|it| (it.span(), it.get_ref()))
            }
            _ => None,
        };
        let Some((place, inner)) = next else { break };
        span = place;
        value = Some(inner);
    }
    span
}

/// A value of a table and its place: the value's own, where it has one on a line.
fn entry<'t, 'i>(table: &'t DeTable<'i>, name: &str) -> Option<(Range<usize>, &'t DeValue<'i>)> {
    let (key, value) = table.iter().find(|(key, _)| key.get_ref() == name)?;
    let place = match value.get_ref() {
        DeValue::Table(_) if value.span().is_empty() => key.span(),
        _ => value.span(),
    };
    Some((place, value.get_ref()))
}

/// Takes out of a table what is at a place: the key that stands there, or the innermost value around it. Says which
/// key went, and from which table; `None` if there is nothing but the table itself.
pub(super) fn remove(table: &mut Table<'_>, place: &Range<usize>) -> Option<Removed> {
    let span = table.span();
    remove_from(table.get_mut(), &span, place)
}

/// What [`remove`] took.
pub(super) struct Removed {
    /// The table that it was in.
    pub(super) table: Range<usize>,
    /// The key, or nothing for a part of an array.
    pub(super) key: Option<String>,
}

fn remove_from(table: &mut DeTable<'_>, span: &Range<usize>, place: &Range<usize>) -> Option<Removed> {
    let mut found = None;
    for (key, value) in table.iter() {
        if key.span() == *place || holds(value, place) {
            found = Some(key.clone());
            break;
        }
    }
    let found = found?;
    if found.span() != *place
        && let Some((_, value)) = table.iter_mut().find(|(key, _)| **key == found)
        && let Some(removed) = remove_within(value, place)
    {
        return Some(removed);
    }
    table.remove(&found);
    Some(Removed { table: span.clone(), key: Some(found.into_inner().into_owned()) })
}

fn remove_within(value: &mut Spanned<DeValue<'_>>, place: &Range<usize>) -> Option<Removed> {
    let span = value.span();
    match value.get_mut() {
        // The table itself is what is wrong.
        DeValue::Table(_) if span == *place => None,
        DeValue::Table(table) => remove_from(table, &span, place),
        DeValue::Array(array) => {
            let index = array.iter().position(|it| holds(it, place))?;
            let inner = array.get_mut(index).and_then(|it| remove_within(it, place));
            if inner.is_none() {
                let kept = std::mem::replace(array, std::iter::empty().collect()).into_iter().enumerate();
                *array = kept.filter(|(at, _)| *at != index).map(|(_, it)| it).collect();
            }
            Some(inner.unwrap_or(Removed { table: span, key: None }))
        }
        _ => None,
    }
}

/// Whether a place is in a value. That of a table with a header is in pieces, so what is in it is asked too.
fn holds(value: &Spanned<DeValue<'_>>, place: &Range<usize>) -> bool {
    let span = value.span();
    if span.start <= place.start && place.end <= span.end && span.end > span.start {
        return true;
    }
    match value.get_ref() {
        DeValue::Table(table) => table.iter().any(|(key, value)| key.span() == *place || holds(value, place)),
        DeValue::Array(array) => array.iter().any(|it| holds(it, place)),
        _ => false,
    }
}

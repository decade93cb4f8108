//! The edits of all filters, and the one change that they come to.

use std::collections::HashMap;

use bytes::Bytes;
use tamis_proto::Edit;
use tamis_proto::edit::model::{Applied, Field, Message, Model, Path, Profile};

use crate::filter::BoxError;
use crate::message::Replacement;
use crate::message::compile::Target;
use crate::message::compile::net::{self, Entry};

/// What the filters of a chain edit of a message, filter by filter in the chain's order.
pub(super) struct Draft {
    rules: EditSpace,
    /// The header and the recipients as they came.
    received: Vec<Field>,
    recipients: Vec<Path>,
    turns: Vec<Turn>,
    /// The header as the MTA would have it after so many turns.
    model: Option<Model>,
    applied: usize,
    /// Filters that failed have the message held.
    holds: Vec<Bytes>,
}

/// How header values and fields are counted.
#[derive(Clone, Copy, Debug)]
pub(super) struct EditSpace {
    pub(super) target: Target,
    /// The MTA takes values with the space after the colon.
    pub(super) spaced: bool,
    /// Values are to be given with it, whether the MTA takes it or the session takes it off.
    pub(super) own_space: bool,
    /// The change is to be compared with what the MTA would make of it.
    pub(super) strict: bool,
}

/// The edits of one filter as they would go to the MTA.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) by: usize,
    /// All but the new body.
    edits: Vec<Edit<Bytes>>,
    body: Option<NewBody>,
    /// Its values have the space after the colon.
    own_space: bool,
}

/// A new body.
#[derive(Clone, Debug)]
pub(super) enum NewBody {
    Pieces(Vec<Bytes>),
    Whole(Replacement),
}

/// Two filters that changed the same thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Clash {
    pub(super) what: String,
    pub(super) first: usize,
    pub(super) second: usize,
}

/// The change that all edits come to.
#[derive(Default)]
pub(super) struct Change {
    pub(super) edits: Vec<Edit<Bytes>>,
    pub(super) replacement: Option<Replacement>,
    pub(super) conflicts: Vec<Clash>,
}

impl Turn {
    pub(super) fn new(
        by: usize,
        edits: Vec<Edit<Bytes>>,
        replacement: Option<Replacement>,
        own_space: bool,
    ) -> Self {
        let mut pieces = Vec::new();
        let mut rest = Vec::with_capacity(edits.len());
        for edit in edits {
            match edit {
                Edit::ReplaceBody(piece) => pieces.push(piece),
                edit => rest.push(edit),
            }
        }
        let pieces = (!pieces.is_empty()).then_some(NewBody::Pieces(pieces));
        Self { by, edits: rest, body: replacement.map(NewBody::Whole).or(pieces), own_space }
    }

    /// What was asked for, and whether a new body was.
    pub(super) fn summary(&self) -> (Vec<Edit<Bytes>>, bool) {
        (self.edits.clone(), self.body.is_some())
    }

    fn edits_header(&self) -> bool {
        self.edits.iter().any(is_of_header)
    }
}

impl Draft {
    pub(super) fn new(rules: EditSpace, received: Vec<Field>, recipients: Vec<Path>) -> Self {
        Self { rules, received, recipients, turns: Vec::new(), model: None, applied: 0, holds: Vec::new() }
    }

    /// Takes the edits of the next filter.
    pub(super) fn push(&mut self, turn: Turn) {
        self.turns.push(turn);
    }

    /// Has the message held.
    pub(super) fn hold(&mut self, reason: Bytes) {
        self.holds.push(reason);
    }

    /// The header as the MTA would show it to the next filter, if it is not the one that came.
    pub(super) fn shown(&mut self) -> Option<impl Iterator<Item = &Field>> {
        if !self.turns.iter().any(Turn::edits_header) {
            return None;
        }
        self.catch_up();
        self.model.as_ref().map(Model::shown)
    }

    /// The body that the next filter is shown, if it is a new one.
    pub(super) fn body(&self) -> Option<&NewBody> {
        self.turns.iter().rev().find_map(|turn| turn.body.as_ref())
    }

    /// The change that filters make who saw each other's edits, one after the other.
    pub(super) fn in_order(mut self) -> Result<Change, BoxError> {
        if self.turns.len() <= 1 {
            return Ok(self.of_one());
        }
        let mut change = self.envelope(&mut |_| {});
        if let Some(turn) = self.only_one(is_of_header) {
            change.edits.extend(self.header_edits(turn));
        } else if self.turns.iter().any(Turn::edits_header) {
            self.catch_up();
            let model = self.model.as_ref().expect("it caught up");
            let entries = net::entries(model, &self.received, 0);
            self.compile(&entries, &mut change)?;
        }
        self.put_body(&mut change);
        Ok(change)
    }

    /// The change that filters make none of whom saw another's edits.
    pub(super) fn side_by_side(mut self) -> Result<Change, BoxError> {
        if self.turns.len() <= 1 {
            return Ok(self.of_one());
        }
        let mut conflicts = Vec::new();
        let mut change = self.envelope(&mut |conflict| conflicts.push(conflict));
        if let Some(turn) = self.only_one(is_of_header) {
            change.edits.extend(self.header_edits(turn));
        } else if self.turns.iter().any(Turn::edits_header) {
            let untouched = net::model(self.rules.target, &self.received);
            let mut master = net::entries(&untouched, &self.received, 0);
            for turn in self.turns.iter().filter(|turn| turn.edits_header()) {
                let mut model = untouched.clone();
                apply(&mut model, turn, self.rules);
                let later = net::entries(&model, &self.received, turn.by);
                master = net::merge(master, later, |first, second, field| {
                    let what = format!("header field {}", field.name.escape_ascii());
                    conflicts.push(Clash { what, first, second });
                });
            }
            self.compile(&master, &mut change)?;
        }
        let bodies: Vec<usize> =
            self.turns.iter().filter(|turn| turn.body.is_some()).map(|turn| turn.by).collect();
        for pair in bodies.windows(2) {
            conflicts.push(Clash { what: "body".to_owned(), first: pair[0], second: pair[1] });
        }
        self.put_body(&mut change);
        change.conflicts = conflicts;
        Ok(change)
    }

    /// The filter that alone asks for edits of a kind: they meet no others and go as they are. What they are about need
    /// not have been kept.
    fn only_one(&self, kind: impl Fn(&Edit<Bytes>) -> bool) -> Option<&Turn> {
        let mut turns = self.turns.iter().filter(|turn| turn.edits.iter().any(&kind));
        let first = turns.next()?;
        turns.next().is_none().then_some(first)
    }

    fn header_edits(&self, turn: &Turn) -> impl Iterator<Item = Edit<Bytes>> {
        let widen = self.rules.own_space && !turn.own_space;
        let edits = turn.edits.iter().filter(|edit| is_of_header(edit)).cloned();
        edits.map(move |edit| if widen { with_space(edit) } else { edit })
    }

    /// What a single filter asks for goes as it is.
    fn of_one(&mut self) -> Change {
        let mut change = Change::default();
        change.edits.extend(self.quarantine());
        let Some(Turn { edits, body, own_space, .. }) = self.turns.pop() else { return change };
        let widen = self.rules.own_space && !own_space;
        let edits = edits.into_iter().filter(|edit| !matches!(edit, Edit::Quarantine { .. }));
        change.edits.extend(edits.map(|edit| if widen { with_space(edit) } else { edit }));
        put_body(body, &mut change);
        change
    }

    fn put_body(&mut self, change: &mut Change) {
        put_body(self.turns.iter_mut().rev().find_map(|turn| turn.body.take()), change);
    }

    /// Why the message is held, of all filters that want it held.
    fn quarantine(&self) -> Option<Edit<Bytes>> {
        let of_turn = |turn: &Turn| {
            turn.edits.iter().rev().find_map(|edit| match edit {
                Edit::Quarantine { reason } => Some(reason.clone()),
                _ => None,
            })
        };
        let mut reasons: Vec<Bytes> = self.turns.iter().filter_map(of_turn).collect();
        reasons.extend(self.holds.iter().cloned());
        match reasons.len() {
            0 => None,
            1 => Some(Edit::Quarantine { reason: reasons.remove(0) }),
            _ => Some(Edit::Quarantine { reason: reasons.join(&b"; "[..]).into() }),
        }
    }

    /// Quarantine, sender and recipients.
    fn envelope(&self, conflict: &mut dyn FnMut(Clash)) -> Change {
        let mut edits: Vec<Edit<Bytes>> = self.quarantine().into_iter().collect();
        let profile = net::profile(self.rules.target);
        edits.extend(self.sender(profile, conflict));
        self.recipients(profile, &mut edits);
        Change { edits, ..Change::default() }
    }

    fn sender(&self, profile: Profile, conflict: &mut dyn FnMut(Clash)) -> Option<Edit<Bytes>> {
        let mut last: Option<usize> = None;
        let mut new: Option<Bytes> = None;
        let mut all_args: Vec<Bytes> = Vec::new();
        let mut has_args = false;
        for (by, edit) in self.turns.iter().flat_map(|turn| turn.edits.iter().map(|edit| (turn.by, edit))) {
            let Edit::ChangeSender { address, args } = edit else { continue };
            if address.is_empty() && profile == Profile::Sendmail {
                // It ignores that.
                continue;
            }
            if let Some(first) = last.replace(by).filter(|first| *first != by)
                && new.as_ref() != Some(address)
            {
                conflict(Clash { what: "sender".to_owned(), first, second: by });
            }
            new = Some(address.clone());
            if let Some(args) = args {
                has_args = true;
                if profile == Profile::Sendmail {
                    all_args.clear();
                }
                for word in args.split(|byte| *byte == b' ').filter(|word| !word.is_empty()) {
                    let keyword = |arg: &[u8]| {
                        let mut parts = arg.splitn(2, |byte| *byte == b'=');
                        let known = |name: &[u8]| {
                            ["RET", "ENVID"]
                                .into_iter()
                                .find(|known| name.eq_ignore_ascii_case(known.as_bytes()))
                        };
                        parts.next().and_then(known).filter(|_| parts.next().is_some())
                    };
                    let new = keyword(word);
                    all_args.retain(|old| new.is_none() || keyword(old) != new);
                    all_args.push(args.slice_ref(word));
                }
            }
        }
        let args = has_args.then(|| all_args.join(&b' ').into());
        new.map(|address| Edit::ChangeSender { address, args })
    }

    /// Recipients to remove, and then those to add that are not removed later.
    fn recipients(&self, profile: Profile, edits: &mut Vec<Edit<Bytes>>) {
        if let Some(turn) = self.only_one(is_of_recipients) {
            edits.extend(turn.edits.iter().filter(|edit| is_of_recipients(edit)).cloned());
            return;
        }
        let given = self.recipients.clone();
        // What was added, by which edit; those of the client were by none.
        let mut there: Vec<(Option<usize>, Path)> = given.iter().map(|path| (None, path.clone())).collect();
        let mut model = Model::new(profile, Message { recipients: given, ..Message::default() });
        let mut deleted: Vec<&Edit<Bytes>> = Vec::new();
        let all: Vec<&Edit<Bytes>> = self.turns.iter().flat_map(|turn| &turn.edits).collect();
        let mut made = vec![0_usize; all.len()];
        for (at, edit) in all.iter().enumerate() {
            match edit {
                Edit::DeleteRecipient { .. } => {
                    if !deleted.contains(edit) {
                        deleted.push(edit);
                    }
                    if model.apply(edit) == Ok(Applied::Done) {
                        let mut left = model.recipients().iter().peekable();
                        there.retain(|(_, path)| left.next_if(|left| *left == path).is_some());
                    }
                }
                Edit::AddRecipient { .. } | Edit::AddRecipientWithArgs { .. } => {
                    let before = model.recipients().len();
                    // It is what the model says then; nothing of the envelope can end the conversation.
                    let _ = model.apply(edit);
                    let new = &model.recipients()[before..];
                    made[at] = new.len();
                    there.extend(new.iter().map(|path| (Some(at), path.clone())));
                }
                _ => {}
            }
        }
        edits.extend(deleted.into_iter().cloned());
        let added: Vec<(usize, &Path)> =
            there.iter().filter_map(|(at, path)| at.map(|at| (at, path))).collect();
        let mut rest = &added[..];
        while let [(at, _), ..] = rest {
            let count = rest.iter().take_while(|(other, _)| other == at).count();
            let (of_edit, others) = rest.split_at(count);
            if count == made[*at] {
                edits.push(all[*at].clone());
            } else {
                edits.extend(of_edit.iter().map(|(_, path)| add_recipient(path)));
            }
            rest = others;
        }
    }

    fn compile(&self, entries: &[Entry], change: &mut Change) -> Result<(), BoxError> {
        let EditSpace { target, own_space, strict, .. } = self.rules;
        let edits = net::compile(entries, &self.received, target, own_space);
        if strict && target != Target::Portable {
            self.check(entries, &edits)?;
        }
        change.edits.extend(edits);
        Ok(())
    }

    /// Compares what the MTA would make of the change with what it would make of all edits.
    fn check(&self, entries: &[Entry], edits: &[Edit<Bytes>]) -> Result<(), BoxError> {
        let mut model = net::model(self.rules.target, &self.received);
        let turn = Turn { by: 0, edits: edits.to_vec(), body: None, own_space: self.rules.own_space };
        apply(&mut model, &turn, self.rules);
        let wanted: Vec<&Field> =
            entries.iter().filter(|entry| entry.live).map(|entry| &entry.field).collect();
        let made: Vec<Field> = model.finish().headers;
        if wanted.iter().copied().eq(made.iter()) {
            return Ok(());
        }
        Err(format!("the change of the header makes {made:?} instead of {wanted:?}").into())
    }

    fn catch_up(&mut self) {
        let model = self.model.get_or_insert_with(|| net::model(self.rules.target, &self.received));
        for turn in &self.turns[self.applied..] {
            if turn.edits_header() {
                apply(model, turn, self.rules);
                model.next_filter(false);
            }
        }
        self.applied = self.turns.len();
    }
}

/// Has a model take one filter's edits of the header.
fn apply(model: &mut Model, turn: &Turn, rules: EditSpace) {
    let verbatim = turn.own_space && rules.spaced;
    model.next_filter(verbatim);
    // Where the MTA puts a space there by itself, the session takes one off.
    let mend = |edit: &Edit<Bytes>| {
        if turn.own_space && !rules.spaced { without_space(edit.clone()) } else { edit.clone() }
    };
    let edits: Vec<Edit<Bytes>> = turn.edits.iter().filter(|edit| is_of_header(edit)).map(mend).collect();
    let changes = many_changes(model, &edits);
    let rest = &edits[changes.len()..];
    if !changes.is_empty() {
        model.change_shown(changes);
    }
    for edit in rest {
        // Filters are not let ask for what an MTA refuses.
        let _ = model.apply(edit);
    }
}

/// The first edits, as far as they change fields from the bottom to the top: where each of them stands, its name and
/// its new value. With thousands of them, looking for each one would take too long.
fn many_changes<'e>(model: &Model, edits: &'e [Edit<Bytes>]) -> Vec<(usize, &'e Bytes, &'e Bytes)> {
    let mut places: HashMap<Vec<u8>, Vec<usize>> = HashMap::new();
    for (at, field) in model.shown().enumerate() {
        if field.name.is_empty() || field.name.iter().any(|byte| matches!(byte, b' ' | b'\t')) {
            // Postfix sees no fields below.
            return Vec::new();
        }
        places.entry(field.name.to_ascii_lowercase()).or_default().push(at);
    }
    let mut below = usize::MAX;
    let mut changes = Vec::new();
    for edit in edits {
        let Edit::ChangeHeader { index, name, value } = edit else { break };
        let Some(nth) = index.checked_sub(1).and_then(|nth| usize::try_from(nth).ok()) else { break };
        let place = places.get(&name.to_ascii_lowercase()).and_then(|places| places.get(nth));
        let Some(place) = place.copied().filter(|place| *place < below) else { break };
        below = place;
        changes.push((place, name, value));
    }
    changes
}

fn put_body(body: Option<NewBody>, change: &mut Change) {
    match body {
        None => {}
        Some(NewBody::Pieces(pieces)) => change.edits.extend(pieces.into_iter().map(Edit::ReplaceBody)),
        Some(NewBody::Whole(replacement)) => change.replacement = Some(replacement),
    }
}

fn add_recipient(path: &Path) -> Edit<Bytes> {
    let address = [b"<", &*path.address, b">"].concat().into();
    if path.args.is_empty() {
        Edit::AddRecipient { address }
    } else {
        Edit::AddRecipientWithArgs { address, args: Some(path.args.join(&b' ').into()) }
    }
}

fn is_of_recipients(edit: &Edit<Bytes>) -> bool {
    matches!(
        edit,
        Edit::AddRecipient { .. } | Edit::AddRecipientWithArgs { .. } | Edit::DeleteRecipient { .. }
    )
}

fn is_of_header(edit: &Edit<Bytes>) -> bool {
    matches!(edit, Edit::AddHeader { .. } | Edit::InsertHeader { .. } | Edit::ChangeHeader { .. })
}

/// Puts a space before the value of a header field, but for the empty one that removes it.
fn with_space(edit: Edit<Bytes>) -> Edit<Bytes> {
    let spaced = |value: Bytes| Bytes::from([b" ", &*value].concat());
    match edit {
        Edit::AddHeader { name, value } => Edit::AddHeader { name, value: spaced(value) },
        Edit::InsertHeader { index, name, value } => Edit::InsertHeader { index, name, value: spaced(value) },
        Edit::ChangeHeader { index, name, value } if !value.is_empty() => {
            Edit::ChangeHeader { index, name, value: spaced(value) }
        }
        edit => edit,
    }
}

fn without_space(mut edit: Edit<Bytes>) -> Edit<Bytes> {
    if let Edit::AddHeader { value, .. } | Edit::InsertHeader { value, .. } | Edit::ChangeHeader { value, .. } =
        &mut edit
        && value.first() == Some(&b' ')
    {
        *value = value.slice(1..);
    }
    edit
}

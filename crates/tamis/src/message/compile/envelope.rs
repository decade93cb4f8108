//! Quarantine, sender and recipients.

use std::collections::HashSet;

use bytes::Bytes;
use tamis_proto::edit::model::Path;
use tamis_proto::edit::validate::{self, Invalid};
use tamis_proto::{Actions, Edit};

use super::{CompileError, Mta, Wanted};

pub(super) fn compile(
    wanted: &Wanted<'_>,
    mta: &Mta,
    edits: &mut Vec<Edit<Bytes>>,
) -> Result<(), CompileError> {
    if let Some(reason) = &wanted.quarantine {
        push(edits, Edit::Quarantine { reason: reason.clone() }, validate::reason(reason))?;
    }
    if let Some(sender) = &wanted.sender {
        let (address, args) = (bracketed(sender), joined(sender));
        let valid = validate::sender(&address).and_then(|()| valid_args(args.as_ref()));
        push(edits, Edit::ChangeSender { address, args }, valid)?;
    }
    let mut removed = HashSet::new();
    for address in &wanted.removed {
        if removed.insert(Path::new(address).address) {
            let edit = Edit::DeleteRecipient { address: address.clone() };
            // It only has to equal what RCPT had; the null address is nobody's.
            push(edits, edit, validate::sender(address))?;
        }
    }
    let given = wanted.recipients.iter().map(|given| Path::new(given).address);
    let mut there: HashSet<(Bytes, &[Bytes])> =
        given.filter(|given| !removed.contains(given)).map(|given| (given, &[][..])).collect();
    for recipient in &wanted.added {
        // Postfix delivers twice to a recipient of the client that is added.
        if !there.insert((recipient.address.clone(), &recipient.args)) {
            continue;
        }
        let (address, args) = (bracketed(recipient), joined(recipient));
        let valid = validate::recipient(&address).and_then(|()| valid_args(args.as_ref()));
        push(edits, add(address, args, mta), valid)?;
    }
    Ok(())
}

fn add(address: Bytes, args: Option<Bytes>, mta: &Mta) -> Edit<Bytes> {
    let only_with_args = mta.actions & (Actions::ADD_RECIPIENTS | Actions::ADD_RECIPIENTS_WITH_ARGS)
        == Actions::ADD_RECIPIENTS_WITH_ARGS;
    if args.is_none() && !only_with_args {
        Edit::AddRecipient { address }
    } else {
        // Stalwart wants the text there, if only empty.
        Edit::AddRecipientWithArgs { address, args: Some(args.unwrap_or_default()) }
    }
}

fn push(
    edits: &mut Vec<Edit<Bytes>>,
    edit: Edit<Bytes>,
    valid: Result<(), Invalid>,
) -> Result<(), CompileError> {
    valid.map_err(|reason| CompileError::Invalid { edit: edit.name(), reason })?;
    edits.push(edit);
    Ok(())
}

fn bracketed(path: &Path) -> Bytes {
    [b"<", &*path.address, b">"].concat().into()
}

fn joined(path: &Path) -> Option<Bytes> {
    (!path.args.is_empty()).then(|| path.args.join(&b' ').into())
}

fn valid_args(args: Option<&Bytes>) -> Result<(), Invalid> {
    args.map_or(Ok(()), |args| validate::args(args))
}

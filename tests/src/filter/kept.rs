//! Edits of what the library keeps of a message.

use bytes::Bytes;
use tamis::message::{
    Allowance, Body, BodyError, BodyReader, BodyWriter, HeaderError, HeaderId, Headers, Replacement,
};

use crate::script::KeptEdit;

/// Makes a new body of the one that was kept, if that is the edit.
pub(super) async fn new_body(
    edit: &KeptEdit,
    allowance: &Allowance,
    kept: &Body,
) -> Result<Replacement, BodyError> {
    let KeptEdit::ExtendBody(text) = edit else { unreachable!("it edits the header") };
    let text = Bytes::from(text.clone());
    let make = async |mut from: BodyReader, to: &mut BodyWriter| {
        while let Some(chunk) = from.next_chunk().await {
            to.push(chunk?).await?;
        }
        to.push(text).await.map_err(Into::into)
    };
    Replacement::transform(allowance, kept, make).await
}

/// Edits the header that was kept.
pub(super) fn edit_header(headers: &mut Headers, edit: &KeptEdit) -> Result<(), HeaderError> {
    match edit {
        KeptEdit::Append { name, value } => drop(headers.append(name, value.as_slice())?),
        KeptEdit::Prepend { name, value } => drop(headers.prepend(name, value.as_slice())?),
        KeptEdit::Set { name, value } => drop(headers.set(name, value.as_slice())?),
        KeptEdit::RemoveAll { name } => drop(headers.remove_all(name)?),
        KeptEdit::InsertBefore { field, name, value } => {
            if let Some(id) = nth(headers, *field) {
                headers.insert_before(id, name, value.as_slice())?;
            }
        }
        KeptEdit::InsertAfter { field, name, value } => {
            if let Some(id) = nth(headers, *field) {
                headers.insert_after(id, name, value.as_slice())?;
            }
        }
        KeptEdit::Replace { field, value } => {
            if let Some(id) = nth(headers, *field) {
                headers.replace(id, value.as_slice())?;
            }
        }
        KeptEdit::Remove { field } => {
            if let Some(id) = nth(headers, *field) {
                headers.remove(id)?;
            }
        }
        KeptEdit::ExtendBody(_) => unreachable!("it edits the body"),
    }
    Ok(())
}

fn nth(headers: &Headers, field: usize) -> Option<HeaderId> {
    headers.iter().nth(field.checked_sub(1)?).map(|header| header.id())
}

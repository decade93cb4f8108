//! Edits of what the library keeps of a message.

use bytes::{Bytes, BytesMut};
use tamis::message::{BodyReader, BodyWriter, HeaderId, Headers, Replacement};
use tamis::{BoxError, Context};

use crate::script::KeptEdit;

pub(super) async fn apply(cx: &mut Context<'_, BytesMut>, edit: &KeptEdit) -> Result<(), BoxError> {
    if let KeptEdit::ExtendBody(text) = edit {
        let (allowance, old) = (cx.allowance(), cx.body()?.clone());
        let text = Bytes::from(text.clone());
        let new =
            Replacement::transform(&allowance, &old, async |mut from: BodyReader, to: &mut BodyWriter| {
                while let Some(chunk) = from.next_chunk().await {
                    to.push(chunk?).await?;
                }
                to.push(text).await.map_err(Into::into)
            });
        return Ok(cx.set_body(new.await?)?);
    }
    let headers = cx.headers_mut()?;
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
        KeptEdit::ExtendBody(_) => unreachable!("it was done above"),
    }
    Ok(())
}

fn nth(headers: &Headers, field: usize) -> Option<HeaderId> {
    headers.iter().nth(field.checked_sub(1)?).map(|header| header.id())
}

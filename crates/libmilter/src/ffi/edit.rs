//! Modifications, which are possible in the callback for the end of a message.
//!
//! They are gathered, and leave with the verdict or with `smfi_progress`, in the order of the calls.

use std::ffi::{c_char, c_int, c_uchar};

use tamis_proto::Edit;

use super::{text, with_connection};
use crate::connection::Connection;
use crate::descr::Ctx;
use crate::{metrics, process};

/// Asks for a modification.
fn edit(name: &str, ctx: Ctx, edit: Option<Edit<&[u8]>>) -> c_int {
    with_connection(name, ctx, |connection| edit.is_some_and(|edit| send(connection, &edit)))
}

fn send(connection: &mut Connection, edit: &Edit<&[u8]>) -> bool {
    let sent = !connection.broken
        && connection.session.edit_borrowed(edit).is_ok()
        && connection.flush_gathered(process::timeout()).is_ok();
    if let (true, Some(metrics)) = (sent, metrics::get()) {
        metrics.edit(edit.name());
    }
    sent
}

/// A text that must be there and must not be empty.
///
/// # Safety
///
/// As [`text`].
unsafe fn filled<'a>(pointer: *const c_char) -> Option<&'a [u8]> {
    // SAFETY: as the caller says.
    unsafe { text(pointer) }.filter(|text| !text.is_empty())
}

/// Adds a header field at the end.
///
/// # Safety
///
/// The texts are null or C strings.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn smfi_addheader(ctx: Ctx, field: *mut c_char, value: *mut c_char) -> c_int {
    // SAFETY: as the caller says.
    let (name, value) = unsafe { (filled(field), text(value)) };
    let asked = name.zip(value).map(|(name, value)| Edit::AddHeader { name, value });
    edit("smfi_addheader", ctx, asked)
}

/// Inserts a header field at a place.
///
/// # Safety
///
/// The texts are null or C strings.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn smfi_insheader(
    ctx: Ctx,
    index: c_int,
    field: *mut c_char,
    value: *mut c_char,
) -> c_int {
    // SAFETY: as the caller says.
    let (name, value) = unsafe { (filled(field), text(value)) };
    let asked = name.zip(value).zip(u32::try_from(index).ok());
    edit("smfi_insheader", ctx, asked.map(|((name, value), index)| Edit::InsertHeader { index, name, value }))
}

/// Changes or deletes a header field.
///
/// # Safety
///
/// The texts are null or C strings.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn smfi_chgheader(
    ctx: Ctx,
    field: *mut c_char,
    index: c_int,
    value: *mut c_char,
) -> c_int {
    // SAFETY: as the caller says.
    let (name, value) = unsafe { (filled(field), text(value).unwrap_or_default()) };
    let asked = name.zip(u32::try_from(index).ok());
    edit("smfi_chgheader", ctx, asked.map(|(name, index)| Edit::ChangeHeader { index, name, value }))
}

/// Changes the sender.
///
/// # Safety
///
/// The texts are null or C strings.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn smfi_chgfrom(ctx: Ctx, mail: *mut c_char, args: *mut c_char) -> c_int {
    // SAFETY: as the caller says.
    let (address, args) = unsafe { (filled(mail), text(args)) };
    edit("smfi_chgfrom", ctx, address.map(|address| Edit::ChangeSender { address, args }))
}

/// Adds a recipient.
///
/// # Safety
///
/// The text is null or a C string.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn smfi_addrcpt(ctx: Ctx, rcpt: *mut c_char) -> c_int {
    // SAFETY: as the caller says.
    let address = unsafe { filled(rcpt) };
    edit("smfi_addrcpt", ctx, address.map(|address| Edit::AddRecipient { address }))
}

/// Adds a recipient with ESMTP parameters.
///
/// # Safety
///
/// The texts are null or C strings.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn smfi_addrcpt_par(ctx: Ctx, rcpt: *mut c_char, args: *mut c_char) -> c_int {
    // SAFETY: as the caller says.
    let (address, args) = unsafe { (filled(rcpt), text(args)) };
    edit("smfi_addrcpt_par", ctx, address.map(|address| Edit::AddRecipientWithArgs { address, args }))
}

/// Removes a recipient.
///
/// # Safety
///
/// The text is null or a C string.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn smfi_delrcpt(ctx: Ctx, rcpt: *mut c_char) -> c_int {
    // SAFETY: as the caller says.
    let address = unsafe { filled(rcpt) };
    edit("smfi_delrcpt", ctx, address.map(|address| Edit::DeleteRecipient { address }))
}

/// Replaces the body, or continues to.
///
/// # Safety
///
/// `body` points to `length` bytes, if that is above 0.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn smfi_replacebody(ctx: Ctx, body: *mut c_uchar, length: c_int) -> c_int {
    let length = usize::try_from(length).ok();
    let body = match length {
        Some(0) => Some(&[][..]),
        // SAFETY: as the caller says.
        Some(length) if !body.is_null() => Some(unsafe { std::slice::from_raw_parts(body, length) }),
        _ => None,
    };
    with_connection("smfi_replacebody", ctx, |connection| {
        let Some(body) = body else { return false };
        // So much at a time that no more of it is kept than has to be.
        let pieces = body.chunks(tamis_proto::frame::MAX_PAYLOAD).chain(body.is_empty().then_some(body));
        pieces.into_iter().all(|piece| send(connection, &Edit::ReplaceBody(piece)))
    })
}

/// Has the message held.
///
/// # Safety
///
/// The text is null or a C string.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn smfi_quarantine(ctx: Ctx, reason: *mut c_char) -> c_int {
    // SAFETY: as the caller says.
    let reason = unsafe { filled(reason) };
    edit("smfi_quarantine", ctx, reason.map(|reason| Edit::Quarantine { reason }))
}

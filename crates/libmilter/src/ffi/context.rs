//! What a program asks of a connection and keeps with it: macros, its own data, progress.

use std::ffi::{c_char, c_int, c_void};

use tamis_proto::MacroStage;

use super::{guard, text, with_connection};
use crate::connection::Private;
use crate::context::{Handle, SLOTS};
use crate::descr::Ctx;
use crate::process;

/// Looks up a macro.
///
/// # Safety
///
/// `name` is null or a C string.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn smfi_getsymval(ctx: Ctx, name: *mut c_char) -> *mut c_char {
    // SAFETY: as the caller says.
    let name = unsafe { text(name) };
    guard("smfi_getsymval", std::ptr::null_mut(), || {
        let name = name.filter(|name| !name.is_empty());
        let found = name.zip(Handle::from_pointer(ctx)).and_then(|(name, handle)| {
            SLOTS
                .with(handle, |connection| {
                    connection.symbols.get_or_insert_default().get(connection.session.macros(), name)
                })
                .flatten()
        });
        // Nobody may write there, says the documentation; but that is the type.
        found.map_or(std::ptr::null_mut(), <*const c_char>::cast_mut)
    })
}

/// Keeps a pointer of the program's with the connection.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn smfi_setpriv(ctx: Ctx, data: *mut c_void) -> c_int {
    with_connection("smfi_setpriv", ctx, |connection| {
        connection.private = Private(data);
        true
    })
}

/// Gives back the pointer.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn smfi_getpriv(ctx: Ctx) -> *mut c_void {
    guard("smfi_getpriv", std::ptr::null_mut(), || {
        let found =
            Handle::from_pointer(ctx).and_then(|handle| SLOTS.with(handle, |connection| connection.private));
        found.map_or(std::ptr::null_mut(), |private| private.0)
    })
}

/// Says which macros are wanted at a stage; each stage once.
///
/// # Safety
///
/// `macros` is null or a C string.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn smfi_setsymlist(ctx: Ctx, stage: c_int, macros: *mut c_char) -> c_int {
    // SAFETY: as the caller says.
    let macros = unsafe { text(macros) };
    with_connection("smfi_setsymlist", ctx, |connection| {
        let stage = usize::try_from(stage).ok().and_then(|stage| MacroStage::ALL.get(stage).copied());
        let (Some(stage), Some(macros)) = (stage, macros) else { return false };
        connection.lists.get_or_insert_default().set(stage, macros)
    })
}

/// Tells the MTA to go on waiting, at the end of a message.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn smfi_progress(ctx: Ctx) -> c_int {
    with_connection("smfi_progress", ctx, |connection| {
        !connection.broken
            && connection.session.progress().is_ok()
            && connection.flush_all(process::timeout()).is_ok()
    })
}

//! `smfi_setreply` and `smfi_setmlreply`.

use std::arch::naked_asm;
use std::ffi::{c_char, c_int};

use super::{text, with_connection};
use crate::descr::Ctx;
use crate::reply::StoredReply;

/// Sets the reply for a refusal.
///
/// # Safety
///
/// The pointers but `ctx` are null or C strings.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn smfi_setreply(
    ctx: Ctx,
    rcode: *mut c_char,
    xcode: *mut c_char,
    message: *mut c_char,
) -> c_int {
    // SAFETY: as the caller says.
    let [code, enhanced, message] = [rcode, xcode, message].map(|pointer| unsafe { text(pointer) });
    with_connection("smfi_setreply", ctx, |connection| {
        let reply = code.and_then(|code| StoredReply::line(code, enhanced, message));
        let valid = reply.is_some();
        connection.reply = reply.or_else(|| connection.reply.take());
        valid
    })
}

/// Sets the reply for a refusal, of many lines; the last argument is a null pointer.
///
/// # Safety
///
/// As the header says. In Rust it cannot be called: the arguments are left as they are for C to walk.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn smfi_setmlreply() {
    unsafe extern "C" {
        fn tamis_setmlreply_walk();
    }
    #[cfg(any(target_arch = "x86_64", target_arch = "x86"))]
    naked_asm!("jmp {}", sym tamis_setmlreply_walk);
    #[cfg(target_arch = "aarch64")]
    naked_asm!("b {}", sym tamis_setmlreply_walk);
    #[cfg(any(target_arch = "riscv64", target_arch = "riscv32"))]
    naked_asm!("tail {}", sym tamis_setmlreply_walk);
}

/// Takes the lines of `smfi_setmlreply` from C. It is not exported: C says that it is hidden.
///
/// # Safety
///
/// `lines` points to `count` C strings; the other pointers but `ctx` are null or C strings.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn tamis_setmlreply(
    ctx: Ctx,
    rcode: *const c_char,
    xcode: *const c_char,
    lines: *const *const c_char,
    count: usize,
) -> c_int {
    // SAFETY: as the caller says.
    let lines = unsafe { std::slice::from_raw_parts(lines, count) };
    // SAFETY: as the caller says; none of them is null.
    let lines: Vec<&[u8]> = lines.iter().filter_map(|line| unsafe { text(*line) }).collect();
    // SAFETY: as the caller says.
    let [code, enhanced] = [rcode, xcode].map(|pointer| unsafe { text(pointer) });
    with_connection("smfi_setmlreply", ctx, |connection| {
        let reply = code.and_then(|code| StoredReply::lines(code, enhanced, &lines));
        let valid = reply.is_some();
        connection.reply = reply.or_else(|| connection.reply.take());
        valid
    })
}

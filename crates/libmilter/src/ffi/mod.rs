//! The functions of the C interface (spec §9), and nothing else.
//!
//! Each checks its arguments, and lets no panic of Rust out into C.

mod context;
mod edit;
mod reply;
mod setup;

use std::ffi::{CStr, c_char, c_int};
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::connection::Connection;
use crate::context::{Handle, SLOTS};
use crate::descr::{Ctx, FAILURE, SUCCESS};
use crate::log;

/// Reads a string of C; `None` for a null pointer.
///
/// # Safety
///
/// `pointer` is null or a C string that stays as it is while the text is used.
pub(crate) unsafe fn text<'a>(pointer: *const c_char) -> Option<&'a [u8]> {
    // SAFETY: not null, so a C string, as the caller says.
    (!pointer.is_null()).then(|| unsafe { CStr::from_ptr(pointer) }.to_bytes())
}

/// Runs a function of the interface; what it returns if it panics is said before.
fn guard<R>(name: &str, failure: R, run: impl FnOnce() -> R) -> R {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| {
        // Whatever happened may happen here again.
        let _ = catch_unwind(|| log::error(format_args!("internal error in {name}")));
        failure
    })
}

/// Looks at a connection that a program names; a name of nothing is a failure.
fn with_connection(name: &str, ctx: Ctx, run: impl FnOnce(&mut Connection) -> bool) -> c_int {
    guard(name, FAILURE, || {
        let done = Handle::from_pointer(ctx).and_then(|handle| SLOTS.with(handle, run));
        result(done.unwrap_or(false))
    })
}

fn result(success: bool) -> c_int {
    if success { SUCCESS } else { FAILURE }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_a_failure_for_the_program() {
        assert_eq!(guard("smfi_test", FAILURE, || panic!("on purpose")), FAILURE);
        assert_eq!(guard("smfi_test", FAILURE, || SUCCESS), SUCCESS);
    }

    #[test]
    fn a_null_pointer_is_no_text() {
        // SAFETY: null, and a C string.
        let texts = unsafe { (text(std::ptr::null()), text(c"x".as_ptr())) };
        assert_eq!(texts, (None, Some(&b"x"[..])));
    }
}

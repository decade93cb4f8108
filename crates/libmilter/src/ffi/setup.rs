//! What a program calls before its connections, and to have them: `smfi_register` … `smfi_main`.

use std::ffi::{c_char, c_int, c_uint};
use std::io::Write as _;

use super::{guard, result, text};
use crate::descr::{FAILURE, SUCCESS, SmfiDesc, VERSION};
use crate::listen::Listener;
use crate::process::{self, Stop};
use crate::settings::Settings;
use crate::{engine, log};

/// Registers a filter.
///
/// # Safety
///
/// The name is null or a C string, and the callbacks have the types of the header.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn smfi_register(descr: SmfiDesc) -> c_int {
    // SAFETY: as the caller says.
    guard("smfi_register", FAILURE, || match unsafe { descr.filter() } {
        Ok(filter) => {
            process::register(filter);
            SUCCESS
        }
        Err(wrong) => {
            log::error(format_args!(
                "smfi_register: the filter was built for version {:#x} of libmilter, this is {VERSION:#x}",
                wrong.version
            ));
            FAILURE
        }
    })
}

/// Says where to listen.
///
/// # Safety
///
/// `spec` is null or a C string.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn smfi_setconn(spec: *mut c_char) -> c_int {
    // SAFETY: as the caller says.
    let spec = unsafe { text(spec) };
    guard("smfi_setconn", FAILURE, || {
        let spec = spec.filter(|spec| !spec.is_empty());
        if let Some(spec) = spec {
            process::listening().spec = Some(spec.to_vec());
        }
        result(spec.is_some())
    })
}

/// Opens the socket now. Only the low byte of a `bool` is looked at: what is above it is anything in some programs.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn smfi_opensocket(rmsocket: c_int) -> c_int {
    let remove = rmsocket & 0xff != 0;
    guard("smfi_opensocket", FAILURE, || result(process::filter().is_some() && open(remove)))
}

/// Opens the socket unless it is open.
fn open(remove: bool) -> bool {
    let mut listening = process::listening();
    if listening.listener.is_some() {
        return true;
    }
    let Some(spec) = &listening.spec else {
        log::error(format_args!("smfi_setconn was not called: nowhere to listen"));
        return false;
    };
    match Listener::open(spec, listening.backlog, remove) {
        Ok(listener) => {
            listening.listener = Some(listener);
            true
        }
        Err(failure) => {
            log::error(format_args!("{failure}"));
            false
        }
    }
}

/// Serves connections until it is told to stop.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn smfi_main() -> c_int {
    guard("smfi_main", FAILURE, || {
        let Some(filter) = process::filter() else {
            log::error(format_args!("smfi_main: no filter is registered"));
            return FAILURE;
        };
        // A stop is for good, and what never began has not ended well.
        if process::stopping() != Stop::No {
            return FAILURE;
        }
        let listener = || open(false).then(|| process::listening().listener.take()).flatten();
        match engine::run(filter, settings(), listener) {
            Ok(()) => SUCCESS,
            Err(error) => {
                log::error(format_args!("smfi_main: {error}"));
                FAILURE
            }
        }
    })
}

/// What the administrator has set. What is wrong with it is said where a program may still have somebody to read it,
/// too.
fn settings() -> Settings {
    Settings::read(crate::sys::variable, |complaint| {
        log::error(format_args!("{complaint}"));
        // Nobody can be told where it fails.
        let _ = writeln!(std::io::stderr(), "libmilter: {complaint}");
    })
}

/// Makes `smfi_main` return.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn smfi_stop() -> c_int {
    process::stop(Stop::Soon);
    SUCCESS
}

/// Sets how long to wait for an MTA, in seconds.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn smfi_settimeout(seconds: c_int) -> c_int {
    process::set_timeout(seconds);
    SUCCESS
}

/// Sets how many connections may wait to be accepted.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn smfi_setbacklog(backlog: c_int) -> c_int {
    guard("smfi_setbacklog", FAILURE, || {
        if backlog > 0 {
            process::listening().backlog = Some(backlog);
        }
        result(backlog > 0)
    })
}

/// Sets how much is written to standard output.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn smfi_setdbg(level: c_int) -> c_int {
    log::set_debug(level);
    SUCCESS
}

/// Sets the largest payload of a packet, in both directions; the one before.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn smfi_setmaxdatasize(bytes: usize) -> usize {
    process::set_max_data(bytes)
}

/// Says which version of libmilter this is.
///
/// # Safety
///
/// The pointers are null or point to where a number can be written.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn smfi_version(
    major: *mut c_uint,
    minor: *mut c_uint,
    patch: *mut c_uint,
) -> c_int {
    for (pointer, number) in [(major, 1), (minor, 0), (patch, 1)] {
        if !pointer.is_null() {
            // SAFETY: as the caller says.
            unsafe { pointer.write(number) };
        }
    }
    SUCCESS
}

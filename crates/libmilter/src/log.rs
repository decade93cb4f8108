//! Lines for the administrator: to the system's log, as libmilter does, under the filter's name.

use std::fmt;
use std::sync::atomic::{AtomicI32, Ordering};

use crate::process;
use crate::sys;

/// Something is wrong that somebody should look at.
pub(crate) fn error(text: fmt::Arguments<'_>) {
    write(libc::LOG_ERR, text);
}

/// Something was not as it should be, and went on.
pub(crate) fn warning(text: fmt::Arguments<'_>) {
    write(libc::LOG_WARNING, text);
}

/// Something that is good to know.
pub(crate) fn info(text: fmt::Arguments<'_>) {
    write(libc::LOG_INFO, text);
}

fn write(priority: i32, text: fmt::Arguments<'_>) {
    let line = match process::filter() {
        Some(filter) => format!("{}: {text}", filter.display_name()),
        None => format!("libmilter: {text}"),
    };
    // What peers sent must not be able to begin a line of its own.
    sys::log(priority, &line.replace(char::is_control, " "));
}

/// What `smfi_setdbg` was given.
static DEBUG: AtomicI32 = AtomicI32::new(0);

pub(crate) fn set_debug(level: i32) {
    DEBUG.store(level, Ordering::Relaxed);
}

/// Writes a line to standard output, if the program asked for as much.
pub(crate) fn debug(level: i32, text: fmt::Arguments<'_>) {
    use std::io::Write as _;
    if debugs(level) {
        let mut out = std::io::stdout().lock();
        // Nobody can be told where it fails.
        let _ = writeln!(out, "{text}").and_then(|()| out.flush());
    }
}

/// Whether lines of a level are written.
pub(crate) fn debugs(level: i32) -> bool {
    DEBUG.load(Ordering::Relaxed) >= level
}

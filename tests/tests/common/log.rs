//! What Tamis logs, for whoever looks into a failure.

use std::env;
use std::io;

use tracing_subscriber::EnvFilter;

/// Shows it on standard error, if `TAMIS_LOG` says what of it: `TAMIS_LOG=warn`.
pub(crate) fn show() {
    if env::var_os("TAMIS_LOG").is_some() {
        let filter = EnvFilter::from_env("TAMIS_LOG");
        // Another test may have done it.
        let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).try_init();
    }
}

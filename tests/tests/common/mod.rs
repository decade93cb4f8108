//! What the tests of this folder share.

use tamis_interop::filter::TamisHost;
use tamis_interop::host::FilterHost;

/// The filter under test: scripts on the `tamis` library. With `TAMIS_RELAYED=1` the MTA asks another filter, which
/// consults it.
pub(crate) fn host() -> impl FilterHost {
    if std::env::var_os("TAMIS_RELAYED").is_some() { TamisHost::relayed() } else { TamisHost::new() }
}

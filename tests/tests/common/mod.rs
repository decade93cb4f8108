//! What the tests of this folder share.

use tamis_interop::filter::TamisHost;
use tamis_interop::host::FilterHost;

/// The filter under test: scripts on the `tamis` library.
pub(crate) fn host() -> impl FilterHost {
    TamisHost::new()
}

//! The protocol trace: every frame decoded, at target `tamis::wire`, level trace (D11).

use tamis_proto::{Frame, Output, trace};
use tracing::Level;

/// Where the frames go.
pub(crate) const TARGET: &str = "tamis::wire";

/// Whether anybody wants to see them. Nothing is formatted otherwise.
pub(crate) fn enabled() -> bool {
    tracing::enabled!(target: TARGET, Level::TRACE)
}

/// Logs frames from the MTA. The number of the connection is in the line itself, as its span is missing where
/// this target alone is logged.
pub(crate) fn from_mta(connection: Option<u64>, bytes: &[u8]) {
    for_each(bytes, |frame| tracing::trace!(target: TARGET, connection, "> {}", trace::FromMta(frame)));
}

/// Logs frames from the filter.
pub(crate) fn from_filter(connection: Option<u64>, bytes: &[u8]) {
    for_each(bytes, |frame| tracing::trace!(target: TARGET, connection, "< {}", trace::FromFilter(frame)));
}

/// Logs frames to a milter whose MTA we are.
pub(crate) fn to_milter(milter: &str, bytes: &[u8]) {
    for_each(bytes, |frame| tracing::trace!(target: TARGET, milter, "> {}", trace::FromMta(frame)));
}

/// Logs frames from a milter whose MTA we are.
pub(crate) fn from_milter(milter: &str, bytes: &[u8]) {
    for_each(bytes, |frame| tracing::trace!(target: TARGET, milter, "< {}", trace::FromFilter(frame)));
}

/// A copy of what waits in an output, to be shown.
pub(crate) fn contents(output: &Output) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(output.len());
    output.chunks().for_each(|chunk| bytes.extend_from_slice(chunk));
    bytes
}

fn for_each(mut bytes: &[u8], show: impl Fn(Frame<'_>)) {
    while let Ok(Some((used, frame))) = Frame::parse(bytes, usize::MAX >> 1) {
        show(frame);
        bytes = &bytes[used..];
    }
}

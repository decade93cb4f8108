//! Tests of reading and editing parts.

mod properties;

use super::*;

/// What two trees must have in common: of every part how deep it is and what it is, and the bytes of those that have
/// no parts in them.
fn shape(mime: &Mime) -> Vec<(usize, &'static str, Bytes)> {
    mime.parts()
        .map(|part| {
            let depth = std::iter::successors(part.parent(), |part| part.parent()).count();
            if part.is_multipart() {
                (depth, "multipart", Bytes::new())
            } else if part.is_message() {
                (depth, "message", Bytes::new())
            } else {
                (depth, "leaf", part.body_raw())
            }
        })
        .collect()
}

//! Tests of reading and editing parts.

mod decoding;
mod edits;
mod fields;
mod hostile;
mod names;
mod oracle;
mod properties;
mod reading;

use super::*;

fn mime(message: impl AsRef<[u8]>) -> Mime {
    Mime::parse(message.as_ref().to_vec()).unwrap()
}

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

/// The tree in one line: `(` and `)` around the parts of multiparts, `[` and `]` around messages.
fn outline(mime: &Mime) -> String {
    fn write(part: Part<'_>, out: &mut String) {
        if part.is_multipart() || part.is_message() {
            let [open, close] = if part.is_multipart() { ["(", ")"] } else { ["[", "]"] };
            out.push_str(open);
            for (at, child) in part.children().enumerate() {
                out.push_str(if at == 0 { "" } else { " " });
                write(child, out);
            }
            out.push_str(close);
        } else {
            out.push_str(&String::from_utf8_lossy(part.body_raw().trim_ascii()));
        }
    }
    let mut out = String::new();
    write(mime.root(), &mut out);
    out
}

/// The one leaf with this text in it.
fn find(mime: &Mime, text: &str) -> PartId {
    let has_it = |part: &Part<'_>| {
        !part.is_multipart() && !part.is_message() && String::from_utf8_lossy(&part.raw()).contains(text)
    };
    mime.parts().find(has_it).expect("the part is there").id()
}

//! Any message and any edits of its parts: unedited it stays as it is; after an edit, what is written reads as the
//! tree that was edited, every part that nobody touched has the bytes that it had, and an edit that is refused
//! changes nothing.
//!
//! Input: the number of edits, each as a kind and the number of a part, then the message.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tamis::message::mime::{Defect, Mime, MimeError, NewPart, Part, PartId};
use tamis_fuzz::Input;

/// New parts, the odd ones included.
const NEW: [&str; 4] = [
    "",
    "X: y\r\n\r\nnew",
    "Content-Type: multipart/mixed; boundary=new\r\n\r\n--new\r\n\r\none\r\n--new\r\n\r\ntwo",
    "Content-Type: message/rfc822\r\n\r\nSubject: new\r\n\r\nnew\r\n",
];

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let count = usize::from(input.u8() % 8);
    let edits: Vec<_> = (0..count).map(|_| (input.u8(), usize::from(input.u16()))).collect();
    let message = Bytes::copy_from_slice(input.0);
    let Ok(mut mime) = Mime::parse(message.clone()) else { return };
    assert_eq!(mime.to_bytes(), message, "nobody edited it");
    for part in mime.parts() {
        look_at(part);
    }
    for (kind, at) in edits {
        let parts: Vec<_> = mime.parts().map(|part| (part.id(), part.raw())).collect();
        let before = shape(&mime);
        let (id, _) = parts[at % parts.len()];
        if let Err(error) = edit(&mut mime, kind, id) {
            assert_eq!(shape(&mime), before, "a refused edit: {error}");
            continue;
        }
        let again = Mime::parse(mime.to_bytes()).expect("edits keep to the limits");
        assert_eq!(shape(&again), shape(&mime), "it reads as it was edited");
        for (id, raw) in parts {
            if let Some(part) = mime.part(id).filter(|part| !part.is_modified()) {
                assert_eq!(part.raw(), raw, "nobody edited part {id}");
            }
        }
    }
});

fn edit(mime: &mut Mime, kind: u8, id: PartId) -> Result<(), MimeError> {
    let new = || NewPart::raw(NEW[usize::from(kind >> 4) % NEW.len()]);
    match kind % 8 {
        0 | 1 => mime.remove(id),
        2 => mime.replace(id, new()).map(drop),
        3 => mime.insert_before(id, new()).map(drop),
        4 => mime.insert_after(id, new()).map(drop),
        5 => mime.append_to(id, new()).map(drop),
        6 => mime.set_header(id, "Subject", "new\n value"),
        _ => mime.remove_header(id, "Content-Type").map(drop),
    }
}

/// Calls all that reads.
fn look_at(part: Part<'_>) {
    assert!(part.file_names().iter().all(|name| !name.is_empty()));
    part.has_extension(&["exe"]);
    let content_type = part.content_type();
    assert_eq!(content_type.essence(), content_type.essence().to_ascii_lowercase());
    part.disposition();
    part.text();
    assert!(part.body_raw().len() <= part.raw().len());
    assert!(part.children().all(|child| child.parent().is_some_and(|parent| parent.id() == part.id())));
    for field in part.headers() {
        field.text();
    }
    let is_plain = !part.is_message() && part.header("Content-Transfer-Encoding").is_none();
    assert!(!is_plain || part.decoded() == part.body_raw());
    assert!(part.is_multipart() || part.defects().all(|defect| defect != Defect::Unclosed));
}

/// Of every part how deep it is, what it is, and its text.
fn shape(mime: &Mime) -> Vec<(usize, u8, Bytes)> {
    let describe = |part: Part<'_>| {
        let depth = std::iter::successors(part.parent(), |part| part.parent()).count();
        match (part.is_multipart(), part.is_message()) {
            (true, _) => (depth, 1, Bytes::new()),
            (_, true) => (depth, 2, Bytes::new()),
            _ => (depth, 0, part.body_raw()),
        }
    };
    mime.parts().map(describe).collect()
}

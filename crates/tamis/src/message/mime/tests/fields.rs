//! Header fields, their edits and who is told of them.

use std::sync::{Arc, Mutex};

use super::*;

const MESSAGE: &str = "Received: a\r\n\tb\r\nSubject: one\r\nX: 1\r\nSUBJECT : two\r\nx:2\r\n\r\nbody\r\n";

fn header(mime: &Mime) -> String {
    let message = mime.to_bytes();
    let end = memchr::memmem::find(&message, b"\r\n\r\n").unwrap();
    String::from_utf8(message[..end].to_vec()).unwrap()
}

/// Collects what an observer is told.
fn observe(mime: &mut Mime) -> Arc<Mutex<Vec<String>>> {
    let log = Arc::new(Mutex::new(Vec::new()));
    let lines = log.clone();
    mime.on_change(move |change| {
        let text =
            |value: Option<&[u8]>| value.map_or("-".to_owned(), |value| value.escape_ascii().to_string());
        let line = match change {
            Change::Header { part, name, old, new } => {
                format!("{part} {}: {} > {}", name.escape_ascii(), text(*old), text(*new))
            }
            Change::Inserted { part, parent } => format!("{part} into {parent}"),
            Change::Replaced { part, by } => format!("{part} by {by}"),
            Change::Removed { part } => format!("{part} removed"),
        };
        lines.lock().unwrap().push(line);
    });
    log
}

#[test]
fn fields_are_listed_in_order_with_what_is_in_them() {
    let mime = mime(MESSAGE);
    let fields: Vec<_> = mime.root().headers().map(|field| format!("{field:?}")).collect();
    let expected =
        ["\"Received: a\\r\\n\\tb\"", "\"Subject: one\"", "\"X: 1\"", "\"SUBJECT: two\"", "\"x:2\""];
    assert_eq!(fields, expected);
    let received = mime.root().header("received").unwrap();
    assert_eq!(received.raw(), b" a\r\n\tb");
    assert_eq!(&received.value()[..], b"a\tb");
    assert!(mime.root().header("Y").is_none());
}

#[test]
fn setting_a_field_leaves_one_of_its_name_and_the_others_as_they_are() {
    let mut mime = mime(MESSAGE);
    mime.set_header(PartId::ROOT, "subject", "new\r\n line").unwrap();
    assert_eq!(header(&mime), "Received: a\r\n\tb\r\nSubject: new\r\n line\r\nX: 1\r\nx:2");
    mime.set_header(PartId::ROOT, "Y", "3").unwrap();
    assert_eq!(header(&mime), "Received: a\r\n\tb\r\nSubject: new\r\n line\r\nX: 1\r\nx:2\r\nY: 3");
}

#[test]
fn fields_are_added_and_removed() {
    let mut mime = mime(MESSAGE);
    mime.add_header(PartId::ROOT, "X", "3").unwrap();
    assert_eq!(mime.remove_header(PartId::ROOT, "SUBJECT").unwrap(), 2);
    assert_eq!(mime.remove_header(PartId::ROOT, "Y").unwrap(), 0);
    assert_eq!(header(&mime), "Received: a\r\n\tb\r\nX: 1\r\nx:2\r\nX: 3");
    assert_eq!(mime.root().body_raw(), "body\r\n");
}

#[test]
fn a_part_without_a_header_gets_one() {
    let mut mime =
        mime("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n--b\r\n--b--\r\n");
    let parts: Vec<_> = mime.root().children().map(Part::id).collect();
    for id in parts {
        mime.add_header(id, "X", "y").unwrap();
    }
    let body = "--b\r\nX: y\r\n\r\none\r\n--b\r\nX: y\r\n--b--\r\n";
    assert_eq!(mime.root().body_raw(), body);
}

#[test]
fn fields_in_a_message_with_lf_end_with_lf() {
    let mut mime = mime("Subject: one\n\nbody\n");
    mime.set_header(PartId::ROOT, "Subject", "a\n b").unwrap();
    mime.add_header(PartId::ROOT, "X", "y").unwrap();
    assert_eq!(mime.to_bytes(), "Subject: a\n b\nX: y\n\nbody\n");
}

#[test]
fn what_is_no_field_is_refused() {
    let mut mime = mime(MESSAGE);
    for (name, value) in
        [("", "x"), ("a b", "x"), ("a:", "x"), ("X", "a\r\nBcc: x"), ("X", "a\0"), ("X", "a\rb")]
    {
        assert!(
            matches!(mime.set_header(PartId::ROOT, name, value), Err(MimeError::Header(_))),
            "{name} {value}"
        );
        assert!(mime.add_header(PartId::ROOT, name, value).is_err());
    }
    assert!(!mime.is_modified());
}

#[test]
fn a_name_that_is_a_boundary_is_refused() {
    let mut mime = mime("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n--b--\r\n");
    let part = mime.parts().last().unwrap().id();
    let error = mime.add_header(part, "--bcc", "x").unwrap_err();
    assert_eq!(error.to_string(), "the new content has a line that is a boundary of part 0");
    mime.add_header(part, "--acc", "x").unwrap();
}

#[test]
fn a_type_that_would_make_something_else_of_a_part_is_refused() {
    let body =
        "--b\r\n\r\none\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: x\r\n\r\ntwo\r\n--b--\r\n";
    let mut mime = Mime::of_body([("Content-Type", "multipart/mixed; boundary=b")], body).unwrap();
    let [leaf, message] = mime.root().children().map(Part::id).collect::<Vec<_>>()[..] else { panic!() };
    for (part, value) in [
        (PartId::ROOT, "text/plain"),
        (PartId::ROOT, "multipart/mixed; boundary=c"),
        (PartId::ROOT, "multipart/digest; boundary=b"),
        (leaf, "multipart/mixed; boundary=x"),
        (leaf, "message/rfc822"),
        (message, "text/plain"),
    ] {
        let error = mime.set_header(part, "content-type", value).unwrap_err();
        assert!(matches!(error, MimeError::Structure { field: "Content-Type", .. }), "{value}");
    }
    assert!(mime.remove_header(message, "Content-Type").is_err());
    assert!(mime.set_header(message, "Content-Transfer-Encoding", "base64").is_err());
    assert!(!mime.is_modified());
    mime.set_header(PartId::ROOT, "Content-Type", "multipart/related; boundary=\"b\"; type=\"text/html\"")
        .unwrap();
    mime.set_header(leaf, "Content-Type", "text/x-note").unwrap();
    mime.set_header(message, "Content-Disposition", "inline").unwrap();
    assert_eq!(outline(&mime), "(one [two])");
}

#[test]
fn observers_are_told_of_every_field() {
    let mut mime = mime(MESSAGE);
    let log = observe(&mut mime);
    mime.set_header(PartId::ROOT, "Subject", "new").unwrap();
    mime.add_header(PartId::ROOT, "Y", "1").unwrap();
    mime.remove_header(PartId::ROOT, "X").unwrap();
    mime.set_header(PartId::ROOT, "Z", "1").unwrap();
    mime.add_header(PartId::ROOT, "Z", "\0").unwrap_err();
    let expected = [
        "0 Subject: one > new",
        "0 SUBJECT: two > -",
        "0 Y: - > 1",
        "0 X: 1 > -",
        "0 x: 2 > -",
        "0 Z: - > 1",
    ];
    assert_eq!(*log.lock().unwrap(), expected);
}

#[test]
fn observers_are_told_of_every_part() {
    let mut mime = mime("Subject: hi\r\n\r\none\r\n");
    let log = observe(&mut mime);
    let new = mime.append_to(PartId::ROOT, NewPart::raw("X: y\r\n\r\ntwo")).unwrap();
    mime.add_header(new, "A", "b").unwrap();
    let new = mime.replace(new, NewPart::raw("\r\nthree")).unwrap();
    mime.remove(new).unwrap();
    let log = log.lock().unwrap();
    assert_eq!(log[0], "0 MIME-Version: - > 1.0");
    assert!(log[1].starts_with("0 Content-Type: - > multipart/mixed; boundary="), "{}", log[1]);
    assert_eq!(log[2..], ["2 into 0", "1 into 0", "1 A: - > b", "1 by 3", "3 removed"]);
}

#[test]
fn a_changed_part_and_all_around_it_are_modified() {
    let body =
        "--b\r\n\r\none\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: x\r\n\r\ntwo\r\n--b--\r\n";
    let mut mime = Mime::of_body([("Content-Type", "multipart/mixed; boundary=b")], body).unwrap();
    let two = find(&mime, "two");
    mime.add_header(two, "X", "y").unwrap();
    let modified: Vec<_> = mime.parts().map(Part::is_modified).collect();
    assert_eq!(modified, [true, false, true, true]);
}

#[test]
fn changes_of_the_own_header_are_edits_of_fields() {
    let given = [("Received", "a"), ("Subject", "one"), ("X", "1"), ("subject", "two"), ("X", "2")];
    let mut mime = Mime::of_body(given, "body\r\n").unwrap();
    assert_eq!(mime.changes(), Changes::default());
    mime.set_header(PartId::ROOT, "Subject", "new").unwrap();
    mime.add_header(PartId::ROOT, "Y", "3").unwrap();
    let changes = mime.changes();
    let lines: Vec<_> = changes
        .header
        .iter()
        .map(|change| format!("{:?} {} {:?} {:?}", change.name, change.occurrence, change.old, change.new))
        .collect();
    let expected = [
        r#"b"Subject" 1 Some(b"one") Some(b"new")"#,
        r#"b"subject" 2 Some(b"two") None"#,
        r#"b"Y" 0 None Some(b"3")"#,
    ];
    assert_eq!(lines, expected);
    assert_eq!(changes.body, None);
    assert_eq!(mime.to_bytes(), "body\r\n");
    mime.set_header(PartId::ROOT, "Y", "4").unwrap();
    assert_eq!(mime.changes().header[2].new.as_deref(), Some(&b"4"[..]));
}

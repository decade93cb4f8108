//! Whole messages as programs write them, and as they should not: what parts are found in the files of `tests/mail`,
//! and that editing one leaves the others as they are. Each is read with LF and with CRLF at the ends of lines.

#![cfg(feature = "mime")]

use std::fs;
use std::path::Path;

use tamis::message::mime::{Mime, NewPart, Part};

/// Every file with its parts in order: how deep, the type, file names, defects.
const FILES: &[(&str, &str)] = &[
    (
        "alternative-with-picture",
        "multipart/related
         - multipart/alternative
         - - text/plain
         - - text/html
         - image/gif Köln.gif =?iso-8859-1?Q?K=F6ln.gif?=",
    ),
    (
        "bounce",
        "multipart/report
         - text/plain
         - message/global-delivery-status
         - message/global
         - - text/plain",
    ),
    (
        "boundary-begins-with-outer",
        "multipart/mixed !AmbiguousBoundary
         - multipart/mixed !AmbiguousBoundary
         - - text/plain
         - - text/plain
         - text/plain",
    ),
    (
        "closing-delimiter-missing",
        "multipart/mixed !Unclosed
         - multipart/alternative !Unclosed
         - - text/plain
         - text/plain a.exe",
    ),
    (
        "delimiters-in-text",
        "multipart/mixed
         - text/plain",
    ),
    (
        "digest",
        "multipart/digest !AmbiguousBoundary
         - message/rfc822
         - - text/plain
         - text/plain
         - message/rfc822
         - - multipart/mixed !AmbiguousBoundary
         - - - text/plain",
    ),
    (
        "forwarded-encoded",
        "multipart/mixed
         - message/rfc822 mail.eml !EncodedMessage
         - - multipart/mixed
         - - - text/plain
         - - - text/plain a.exe",
    ),
    (
        "forwarded-with-attachment",
        "multipart/mixed
         - text/plain
         - message/rfc822 invoice.eml
         - - multipart/mixed
         - - - text/plain
         - - - application/octet-stream invoice.pdf   .scr invoice.pdf",
    ),
    (
        "japanese",
        "multipart/mixed
         - text/plain
         - application/pdf 日本語.pdf =?ISO-2022-JP?B?GyRCRnxLXDhsGyhCLnBkZg==?=",
    ),
    ("plain", "text/plain"),
    (
        "signed",
        "multipart/signed
         - multipart/mixed
         - - text/plain
         - - text/x-patch fix.patch
         - application/pkcs7-signature smime.p7s",
    ),
    (
        "text-in-header",
        "multipart/mixed !BrokenHeader
         - text/plain a.txt; name=b.exe b.exe !BrokenHeader
         - text/plain !NoBlankLine",
    ),
    (
        "two-types",
        "multipart/mixed !RepeatedField
         - application/octet-stream a.exe b.txt a.txt",
    ),
    (
        "winmail",
        "multipart/mixed
         - text/plain
         - application/ms-tnef winmail.dat",
    ),
];

fn read(name: &str) -> [Vec<u8>; 2] {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mail").join(name).with_extension("eml");
    let text = fs::read(&path).unwrap();
    let mut crlf = Vec::new();
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        crlf.extend_from_slice(line.strip_suffix(b"\n").unwrap_or(line));
        crlf.extend_from_slice(if line.ends_with(b"\n") { b"\r\n" } else { b"" });
    }
    [text, crlf]
}

fn describe(part: Part<'_>) -> String {
    let depth = std::iter::successors(part.parent(), |part| part.parent()).count();
    let content_type = part.content_type();
    let mut words = vec!["-"; depth];
    words.push(content_type.essence());
    let names = part.file_names();
    words.extend(names.iter().map(String::as_str));
    let defects: Vec<_> = part.defects().map(|defect| format!("!{defect:?}")).collect();
    words.extend(defects.iter().map(String::as_str));
    words.join(" ")
}

#[test]
fn every_part_of_a_message_is_found() {
    for (name, parts) in FILES {
        let expected: Vec<_> = parts.lines().map(str::trim).collect();
        for message in read(name) {
            let mime = Mime::parse(message.clone()).unwrap();
            let found: Vec<_> = mime.parts().map(describe).collect();
            assert_eq!(found, expected, "{name}");
            assert_eq!(mime.to_bytes(), message, "{name}");
        }
    }
}

#[test]
fn every_file_is_tried() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mail");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let names: Vec<_> = files.iter().map(|path| path.file_stem().unwrap().to_str().unwrap()).collect();
    let tried: Vec<_> = FILES.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, tried);
}

#[test]
fn replacing_a_part_leaves_all_others_as_they_are() {
    for (name, _) in FILES {
        for message in read(name) {
            let mime = Mime::parse(message.clone()).unwrap();
            for (at, part) in mime.parts().enumerate().skip(1) {
                let mut edited = Mime::parse(message.clone()).unwrap();
                let new = edited.replace(part.id(), NewPart::text("new\n")).unwrap();
                let again = Mime::parse(edited.to_bytes()).unwrap();
                assert_eq!(again.parts().count(), mime.parts().count() + 1 - part.with_descendants().count());
                let left: Vec<_> = edited.parts().collect();
                for (part, written) in left.iter().zip(again.parts()) {
                    assert_eq!(part.raw(), written.raw(), "{name}, part {at}");
                    let old = mime.part(part.id()).filter(|_| !part.is_modified());
                    assert!(old.is_none_or(|old| old.raw() == part.raw()), "{name}, part {at}");
                }
                assert!(edited.part(new).unwrap().is_modified() || edited.part(part.id()).is_some());
            }
        }
    }
}

#[test]
fn names_that_a_system_would_run_are_found_wherever_they_are() {
    let dangerous = |name: &str| {
        let [message, _] = read(name);
        let mime = Mime::parse(message).unwrap();
        mime.parts().any(|part| part.has_extension(&["exe", "scr"]))
    };
    let found: Vec<_> = FILES.iter().map(|(name, _)| *name).filter(|name| dangerous(name)).collect();
    let expected = [
        "closing-delimiter-missing",
        "forwarded-encoded",
        "forwarded-with-attachment",
        "text-in-header",
        "two-types",
    ];
    assert_eq!(found, expected);
}

#[test]
fn text_is_what_its_writer_saw() {
    let text = |name: &str, at: usize| {
        let [message, _] = read(name);
        let mime = Mime::parse(message).unwrap();
        mime.parts().filter_map(Part::text).nth(at).unwrap()
    };
    assert!(text("alternative-with-picture", 0).starts_with(
        "Grüße, mit einer Zeile, die so lang ist, dass sie weich umbrochen wird.\n--  \nJürgen\n"
    ));
    assert_eq!(text("alternative-with-picture", 1), "<p>Grüße <img src=\"cid:a@example.com\"></p>\n");
    assert_eq!(text("winmail", 0), "Café € 5\n");
    assert_eq!(text("japanese", 0), "日本語");
    let [message, _] = read("japanese");
    let mime = Mime::parse(message).unwrap();
    assert_eq!(mime.root().header("Subject").unwrap().text(), "日本語");
}

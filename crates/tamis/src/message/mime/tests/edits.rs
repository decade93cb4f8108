//! Replacing, removing and inserting parts.

use super::*;

const BODY: &str =
    "preamble\r\n--b\r\nX: 1\r\n\r\none\r\n--b\r\n\r\ntwo\r\n--b\t\r\n\r\nthree\r\n--b--\r\nepilogue";

fn three() -> Mime {
    Mime::of_body([("Content-Type", "multipart/mixed; boundary=b")], BODY).unwrap()
}

fn text(text: &str) -> NewPart {
    NewPart::raw(format!("\r\n{text}"))
}

fn body(mime: &Mime) -> String {
    assert_eq!(mime.changes().body.map_or(BODY.into(), |pieces| pieces.concat()), mime.to_bytes());
    String::from_utf8(mime.to_bytes().to_vec()).unwrap()
}

#[test]
fn a_replaced_part_leaves_the_others_as_they_are() {
    let mut mime = three();
    let old = find(&mime, "two");
    let new = mime.replace(old, text("2")).unwrap();
    assert_eq!(body(&mime), BODY.replace("two", "2"));
    assert!(mime.part(old).is_none());
    assert_eq!(mime.part(new).unwrap().body_raw(), "2");
    assert!(mime.part(new).unwrap().is_modified());
    let changes = mime.changes();
    assert!(changes.header.is_empty());
    assert_eq!(changes.body.unwrap().len(), 3);
}

#[test]
fn unedited_text_is_not_copied() {
    let source = Bytes::from_static(BODY.as_bytes());
    let mut mime = Mime::of_body([("Content-Type", "multipart/mixed; boundary=b")], source.clone()).unwrap();
    mime.remove(find(&mime, "two")).unwrap();
    let pieces = mime.pieces();
    assert_eq!(pieces.len(), 2);
    let range = source.as_ptr_range();
    assert!(pieces.iter().all(|piece| range.contains(&piece.as_ptr())));
}

#[test]
fn removed_parts_take_one_delimiter_with_them() {
    for (part, expected) in [
        ("one", BODY.replace("X: 1\r\n\r\none\r\n--b\r\n", "")),
        ("two", BODY.replace("\r\n--b\t\r\n\r\nthree", "").replace("two", "three")),
        ("three", BODY.replace("\r\n--b\t\r\n\r\nthree", "")),
    ] {
        let mut mime = three();
        mime.remove(find(&mime, part)).unwrap();
        assert_eq!(body(&mime), expected);
    }
}

#[test]
fn a_multipart_goes_with_its_last_part() {
    let body = "--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n\r\none\r\n--c--\r\n--b\r\n\r\ntwo\r\n--b--";
    let mut mime = Mime::of_body([("Content-Type", "multipart/mixed; boundary=b")], body).unwrap();
    mime.remove(find(&mime, "one")).unwrap();
    assert_eq!(mime.to_bytes(), "--b\r\n\r\ntwo\r\n--b--");
    assert_eq!(outline(&mime), "(two)");
}

#[test]
fn a_message_that_loses_its_last_part_is_an_empty_text() {
    let message = "Subject: hi\r\nContent-Type: multipart/mixed; boundary=b\r\nContent-ID: <x>\r\n\r\n--b\r\n\r\none\r\n--b--\r\n";
    let mut whole = mime(message);
    whole.remove(find(&whole, "one")).unwrap();
    assert_eq!(whole.to_bytes(), "Subject: hi\r\n\r\n");
    let names: Vec<_> = whole.changes().header.iter().map(|change| change.name.clone()).collect();
    assert_eq!(names, ["Content-Type", "Content-ID"]);
    assert_eq!(whole.changes().body.unwrap().concat(), b"");

    let outer = format!(
        "Content-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\nContent-Type: message/rfc822\r\n\r\n{message}\r\n--o--\r\n"
    );
    let mut nested = mime(outer);
    nested.remove(find(&nested, "one")).unwrap();
    assert_eq!(outline(&nested), "([])");
    assert_eq!(
        nested.root().body_raw(),
        "--o\r\nContent-Type: message/rfc822\r\n\r\nSubject: hi\r\n\r\n\r\n--o--\r\n"
    );
}

#[test]
fn parts_are_inserted_where_they_are_wanted() {
    let one = "X: 1\r\n\r\none";
    let mut mime = three();
    mime.insert_before(find(&mime, "one"), text("new")).unwrap();
    assert_eq!(body(&mime), BODY.replace(one, &format!("\r\nnew\r\n--b\r\n{one}")));
    let mut mime = three();
    mime.insert_after(find(&mime, "one"), text("new")).unwrap();
    assert_eq!(body(&mime), BODY.replace(one, &format!("{one}\r\n--b\r\n\r\nnew")));
    for insert in [Mime::append_to, Mime::insert_after] {
        let mut mime = three();
        insert(&mut mime, PartId::ROOT, text("new")).unwrap();
        assert_eq!(body(&mime), BODY.replace("three", "three\r\n--b\r\n\r\nnew"));
    }
    let mut mime = three();
    mime.insert_before(PartId::ROOT, text("new")).unwrap();
    assert_eq!(outline(&mime), "(new one two three)");
}

#[test]
fn parts_are_added_where_the_closing_delimiter_or_all_of_them_are_missing() {
    let mut mime =
        Mime::of_body([("Content-Type", "multipart/mixed; boundary=b")], "--b\r\n\r\none").unwrap();
    mime.append_to(PartId::ROOT, text("two")).unwrap();
    assert_eq!(mime.to_bytes(), "--b\r\n\r\none\r\n--b\r\n\r\ntwo");
    let mut mime = Mime::of_body([("Content-Type", "multipart/mixed; boundary=b")], "text").unwrap();
    mime.append_to(PartId::ROOT, text("one")).unwrap();
    assert_eq!(mime.to_bytes(), "text\r\n--b\r\n\r\none\r\n--b--\r\n");
    assert_eq!(outline(&mime), "(one)");
}

#[test]
fn a_text_becomes_the_first_part_of_a_multipart() {
    let header = [
        ("Subject", "hi"),
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Content-Transfer-Encoding", "8bit"),
        ("Content-Language", "de"),
        ("MIME-Version", "1.0"),
    ];
    let mut mime = Mime::of_body(header, "Grüße\r\n").unwrap();
    let new = mime.append_to(PartId::ROOT, text("footer")).unwrap();
    assert_eq!(outline(&mime), "(Grüße footer)");
    assert_eq!(mime.root().children().last().unwrap().id(), new);
    let changes = mime.changes();
    let boundary = mime.root().content_type().param("boundary").unwrap();
    let expected = [
        (
            "Content-Type",
            1,
            Some("text/plain; charset=utf-8"),
            Some(format!("multipart/mixed; boundary=\"{boundary}\"")),
        ),
        ("Content-Language", 1, Some("de"), None),
    ];
    let expected = expected.map(|(name, occurrence, old, new)| HeaderChange {
        name: name.into(),
        occurrence,
        old: old.map(Bytes::from),
        new: new.map(Bytes::from),
    });
    // The message still says that there is 8-bit text in it.
    assert_eq!(changes.header, expected);
    let moved = "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\nContent-Language: de\r\n";
    let expected =
        format!("--{boundary}\r\n{moved}\r\nGrüße\r\n\r\n--{boundary}\r\n\r\nfooter\r\n--{boundary}--\r\n");
    assert_eq!(changes.body.unwrap().concat(), expected.as_bytes());
}

#[test]
fn a_message_without_mime_becomes_one_with_it() {
    let mut mime = mime("Subject: hi\n\nHello\n");
    mime.insert_before(PartId::ROOT, NewPart::text("header\n")).unwrap();
    let boundary = mime.root().content_type().param("boundary").unwrap();
    let header = "Content-Type: text/plain; charset=\"utf-8\"\nContent-Transfer-Encoding: 7bit\n";
    let expected = format!(
        "Subject: hi\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"{boundary}\"\n\n\
         --{boundary}\n{header}\nheader\n\n--{boundary}\n\nHello\n\n--{boundary}--\n"
    );
    assert_eq!(mime.to_bytes(), expected);
}

#[test]
fn a_multipart_of_another_kind_stays_whole_in_a_new_one() {
    let signed =
        "Content-Type: multipart/signed; boundary=b; protocol=\"application/pkcs7-signature\"\r\n\r\n";
    let body = "--b\r\nContent-Type: text/plain\r\n\r\nsigned \r\n\r\n--b\r\n\
        Content-Type: application/pkcs7-signature; name=smime.p7s\r\nContent-Transfer-Encoding: base64\r\n\r\nMII=\r\n--b--\r\n";
    let mut mime = mime(format!("Subject: hi\r\n{signed}{body}"));
    mime.append_to(PartId::ROOT, text("no")).unwrap();
    assert_eq!(mime.root().children().count(), 3, "it is a multipart, so it gets a part");
    let mut mime = super::mime(format!("Subject: hi\r\n{signed}{body}"));
    mime.insert_after(PartId::ROOT, text("footer")).unwrap();
    let inner = mime.root().children().next().unwrap();
    assert_eq!(inner.raw(), format!("{signed}{body}"));
    assert_eq!(inner.children().count(), 2);
}

#[test]
fn a_nested_message_is_edited_where_it_is() {
    let nested = |text: &str| {
        let inner = format!(
            "Subject: in\r\nContent-Type: multipart/mixed; boundary=i\r\n\r\n--i\r\n\r\n{text}\r\n--i--\r\n"
        );
        format!("--b\r\nContent-Type: message/rfc822\r\n\r\n{inner}\r\n--b\r\n\r\ntwo\r\n--b--\r\n")
    };
    let mut mime = Mime::of_body([("Content-Type", "multipart/mixed; boundary=b")], nested("one")).unwrap();
    mime.replace(find(&mime, "one"), text("1")).unwrap();
    assert_eq!(mime.to_bytes(), nested("1"));
}

#[test]
fn a_nested_message_can_become_a_multipart() {
    let message = "Content-Type: message/rfc822\r\n\r\nSubject: in\r\nContent-Type: text/html\r\n\r\none";
    let mut mime = mime(message);
    let inner = mime.parts().last().unwrap().id();
    mime.insert_after(inner, text("two")).unwrap();
    assert_eq!(outline(&mime), "[(one two)]");
    assert_eq!(shape(&super::mime(mime.to_bytes())), shape(&mime));
    assert!(mime.changes().header.is_empty());
}

#[test]
fn an_encoded_message_is_encoded_anew_when_it_is_edited() {
    for (name, encoding) in
        [("base64", transfer::Encoding::Base64), ("quoted-printable", transfer::Encoding::QuotedPrintable)]
    {
        // Where lines are broken differently, that must not make a boundary.
        let long = format!("{}--b--", "x".repeat(69));
        let inner = format!(
            "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n--b\r\n\r\n{long}\r\n--b--\r\n"
        );
        let encoded = String::from_utf8(encoding.encode(inner.as_bytes())).unwrap();
        let header = format!("Content-Type: message/rfc822\r\nContent-Transfer-Encoding: {name}\r\n\r\n");
        let body = format!("--b\r\n{header}{encoded}\r\n--b\r\n\r\ntwo\r\n--b--\r\n");
        let mut mime = Mime::of_body([("Content-Type", "multipart/mixed; boundary=b")], body).unwrap();
        mime.replace(find(&mime, "one"), text("1")).unwrap();
        let again =
            Mime::of_body([("Content-Type", "multipart/mixed; boundary=b")], mime.to_bytes()).unwrap();
        assert_eq!(outline(&again), format!("([(1 {long})] two)"), "{name}");
        let message = again.parts().find(|part| part.is_message()).unwrap();
        assert_eq!(message.decoded(), inner.replace("one", "1"));
    }
}

#[test]
fn a_message_that_is_edited_no_longer_claims_to_be_encoded() {
    let header = "Content-Type: message/rfc822\r\n";
    let mut mime = mime(format!("{header}Content-Transfer-Encoding: base64\r\n\r\nSubject: in\r\n\r\none"));
    mime.set_header(mime.parts().last().unwrap().id(), "Subject", "new").unwrap();
    assert_eq!(mime.to_bytes(), format!("{header}\r\nSubject: new\r\n\r\none"));
}

#[test]
fn the_body_of_a_message_is_replaced_with_its_type() {
    let header = [("Subject", "hi"), ("Content-Type", "text/html"), ("Content-Transfer-Encoding", "base64")];
    let mut mime = Mime::of_body(header, "PGI+").unwrap();
    let id =
        mime.replace(PartId::ROOT, NewPart::raw("Content-Type: text/plain\r\nX: y\r\n\r\nnew\r\n")).unwrap();
    assert_eq!(id, PartId::ROOT);
    assert_eq!(mime.to_bytes(), "new\r\n");
    assert_eq!(mime.root().text().unwrap(), "new\r\n");
    let fields: Vec<_> = mime.root().headers().map(|field| format!("{field:?}")).collect();
    assert_eq!(fields, ["\"Subject:hi\"", "\"Content-Type: text/plain\"", "\"MIME-Version:1.0\""]);
}

#[test]
fn new_parts_with_parts_can_be_edited_further() {
    let mut mime = three();
    let parts = "Content-Type: multipart/mixed; boundary=n\r\n\r\n--n\r\n\r\na\r\n--n\r\n\r\nb\r\n--n--";
    let new = mime.replace(find(&mime, "two"), NewPart::raw(parts)).unwrap();
    assert_eq!(outline(&mime), "(one (a b) three)");
    mime.remove(find(&mime, "a")).unwrap();
    mime.append_to(new, NewPart::message("Subject: x\r\n\r\nc")).unwrap();
    assert_eq!(outline(&mime), "(one (b [c]) three)");
    assert_eq!(body(&mime).matches("--n--").count(), 1);
}

#[test]
fn text_that_has_a_boundary_in_it_is_encoded() {
    let mut mime = three();
    let new = mime.append_to(PartId::ROOT, NewPart::text("--b--\n")).unwrap();
    let part = mime.part(new).unwrap();
    assert_eq!(&part.header("Content-Transfer-Encoding").unwrap().value()[..], b"base64");
    assert_eq!(part.text().unwrap(), "--b--\r\n");
    let again = Mime::of_body([("Content-Type", "multipart/mixed; boundary=b")], mime.to_bytes()).unwrap();
    assert_eq!(shape(&again), shape(&mime));
}

#[test]
fn a_raw_part_that_has_a_boundary_in_it_is_refused() {
    let mut mime = three();
    let before = mime.to_bytes();
    for part in [
        "\r\n--b",
        "\r\nx\r\n--b--",
        "--bcc: x\r\n\r\n",
        "Content-Type: multipart/mixed; boundary=bb\r\n\r\n",
    ] {
        let error = mime.append_to(PartId::ROOT, NewPart::raw(part)).unwrap_err();
        assert!(matches!(error, MimeError::BoundaryInContent { part: PartId::ROOT }), "{part:?}: {error}");
    }
    assert!(!mime.is_modified());
    assert_eq!(mime.to_bytes(), before);
}

#[test]
fn a_new_part_must_be_within_the_limits() {
    let limits = MimeLimits::new().with_depth(1);
    let mut mime = Mime::of_body_with(
        [("Content-Type", "multipart/mixed; boundary=b")],
        "--b\r\n\r\none\r\n--b--",
        limits,
    )
    .unwrap();
    let error = mime.append_to(PartId::ROOT, NewPart::message("x: y\r\n\r\n")).unwrap_err();
    assert!(matches!(error, MimeError::TooDeep { limit: 1 }));
    assert!(!mime.is_modified());
}

#[test]
fn boundaries_that_cannot_be_told_apart_forbid_all_but_replacing() {
    let inner = "--x\r\nContent-Type: multipart/mixed; boundary=bb\r\n\r\n--bb\r\n\r\none\r\n--bb\r\n\r\ntwo\r\n--bb--\r\n--x--\r\n";
    let body = format!(
        "--b\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n{inner}--b\r\n\r\nthree\r\n--b--\r\n"
    );
    let mut mime = Mime::of_body([("Content-Type", "multipart/mixed; boundary=b")], body.clone()).unwrap();
    let two = find(&mime, "two");
    let error = mime.remove(two).unwrap_err();
    assert_eq!(
        error.to_string(),
        "boundaries within part 0 cannot be told apart: only replacing is possible in it"
    );
    assert!(mime.insert_before(two, text("x")).is_err());
    assert!(mime.insert_after(two, text("x")).is_err());
    assert!(mime.append_to(PartId::ROOT, text("x")).is_err());
    assert!(!mime.is_modified());
    mime.replace(two, text("2")).unwrap();
    assert_eq!(mime.to_bytes(), body.replace("two", "2"));
}

#[test]
fn what_is_gone_cannot_be_edited() {
    let mut mime = three();
    let inner = mime.replace(find(&mime, "two"), NewPart::message("A: b\r\n\r\nx")).unwrap();
    let nested = mime.part(inner).unwrap().children().next().unwrap().id();
    mime.remove(inner).unwrap();
    for id in [inner, nested, PartId(1000)] {
        assert!(mime.part(id).is_none());
        assert!(matches!(mime.remove(id), Err(MimeError::NoSuchPart { .. })));
        assert!(matches!(mime.replace(id, text("x")), Err(MimeError::NoSuchPart { .. })));
        assert!(matches!(mime.set_header(id, "X", "y"), Err(MimeError::NoSuchPart { .. })));
    }
    mime.replace(PartId::ROOT, NewPart::text("all")).unwrap();
    assert_eq!(mime.parts().count(), 1);
    assert!(mime.part(PartId(1)).is_none());
}

#[test]
fn a_leaf_gets_no_parts() {
    let mut mime = three();
    let one = find(&mime, "one");
    let error = mime.append_to(one, text("x")).unwrap_err();
    assert_eq!(error.to_string(), format!("part {one} is no multipart"));
}

#[test]
fn new_parts_are_what_they_were_made_of() {
    let mut mime = three();
    let html = mime.append_to(PartId::ROOT, NewPart::html("<p>Grüße</p>\n")).unwrap();
    let part = mime.part(html).unwrap();
    assert_eq!(
        (part.content_type().essence(), part.text().unwrap()),
        ("text/html", "<p>Grüße</p>\r\n".into())
    );
    let content: Vec<u8> = (0..=255).collect();
    let new = NewPart::attachment("Grüße \"x\".bin", "application/octet-stream", content.clone()).unwrap();
    let file = mime.append_to(PartId::ROOT, new).unwrap();
    let part = mime.part(file).unwrap();
    assert_eq!(part.file_names(), ["Grüße \"x\".bin"]);
    assert_eq!(part.decoded(), content);
    assert!(part.disposition().unwrap().is_attachment());
    assert!(NewPart::attachment("x", "text/plain\r\nBcc: x", "").is_err());
}

#[test]
fn eight_bit_and_broken_text_around_an_edit_stays() {
    let body = b"\xff\x00pre\r\n--b\r\nSubject: \xe9\xff\r\n\twrap\r\nnonsense\r\n\r\n\x00\xff\r\r\n--b\nX: y\n\nold\n--b--\xff\n\x80";
    let mut mime = Mime::of_body([("Content-Type", "multipart/mixed; boundary=b")], &body[..]).unwrap();
    mime.replace(find(&mime, "old"), text("new")).unwrap();
    let at = memchr::memmem::find(body, b"X: y").unwrap();
    assert!(mime.to_bytes().starts_with(&body[..at]));
    assert!(mime.to_bytes().ends_with(b"\r\nnew\n--b--\xff\n\x80"));
}

//! Messages made to break whoever reads them. Each is large enough that time in proportion to the square of its
//! length would be noticed.

use super::*;

/// As much text as the header of a part may have by default.
fn long(text: &str) -> String {
    text.repeat((256 << 10) / text.len())
}

fn limits() -> MimeLimits {
    MimeLimits::new().with_parts(1 << 20).with_header(1 << 20)
}

fn mixed(body: String) -> Mime {
    Mime::of_body_with([("Content-Type", "multipart/mixed; boundary=b")], body, limits()).unwrap()
}

#[test]
fn messages_within_messages_have_a_limit() {
    let message = "Content-Type: message/rfc822\r\n\r\n".repeat(200_000);
    let error = Mime::parse(message).unwrap_err();
    assert_eq!(error.to_string(), "more than 100 multiparts and messages are nested");
    let message = "Content-Type: message/rfc822\r\n\r\n".repeat(100);
    assert_eq!(mime(message + "\r\nx").parts().count(), 101);
}

#[test]
fn depth_is_no_danger_where_it_is_allowed() {
    let depth = 20_000;
    let message = "Content-Type: message/rfc822\r\n\r\n".repeat(depth) + "\r\nx";
    let mut mime = Mime::parse_with(message.clone(), limits().with_depth(depth)).unwrap();
    assert_eq!(mime.parts().count(), depth + 1);
    let innermost = mime.parts().last().unwrap().id();
    mime.replace(innermost, NewPart::raw("\r\ny")).unwrap();
    assert_eq!(mime.to_bytes(), message.replace("\r\nx", "\r\ny"));
}

#[test]
fn multiparts_within_multiparts_have_a_limit() {
    let part = |at| format!("Content-Type: multipart/mixed; boundary=b{at}-\r\n\r\n--b{at}-\r\n");
    let message = |depth| (0..depth).map(part).collect::<String>();
    assert_eq!(mime(message(100)).parts().count(), 101);
    assert!(matches!(Mime::parse(message(101)), Err(MimeError::TooDeep { limit: 100 })));
}

#[test]
fn parts_have_a_limit() {
    let body = "--b\n".repeat(100_001);
    let error = Mime::of_body([("Content-Type", "multipart/mixed; boundary=b")], body).unwrap_err();
    assert_eq!(error.to_string(), "the message has more than 100000 parts");
}

#[test]
fn headers_have_a_limit() {
    let message = format!("Content-Type: text/plain; {}\r\n\r\n", "a=b;".repeat(100_000));
    assert!(matches!(Mime::parse(message), Err(MimeError::HeaderTooLong { limit: 262_144 })));
}

#[test]
fn encoded_messages_have_a_limit() {
    let limits = MimeLimits::new().with_decoded(10);
    let message = |text: &str| {
        let header = "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n";
        format!("{header}{text}")
    };
    assert_eq!(Mime::parse_with(message("A:\r\n\r\n1234"), limits).unwrap().parts().count(), 2);
    let error = Mime::parse_with(message("A:\r\n\r\n12345"), limits).unwrap_err();
    assert_eq!(error.to_string(), "encoded nested messages exceed the limit of 10 bytes");
}

#[test]
fn many_parts_are_read_and_removed_one_by_one() {
    let count = 100_000;
    let mut mime = mixed("--b\r\n\r\nx\r\n".repeat(count) + "--b--\r\n");
    let parts: Vec<_> = mime.root().children().map(Part::id).collect();
    assert_eq!(parts.len(), count);
    for id in &parts[1..] {
        mime.remove(*id).unwrap();
    }
    assert_eq!(mime.to_bytes(), "--b\r\n\r\nx\r\n--b--\r\n");
}

#[test]
fn many_parts_are_replaced_and_inserted_one_by_one() {
    let count = 20_000;
    let mut mime = mixed("--b\r\n\r\nx\r\n".repeat(count) + "--b--\r\n");
    let parts: Vec<_> = mime.root().children().map(Part::id).collect();
    for id in parts {
        let new = mime.replace(id, NewPart::raw("\r\ny")).unwrap();
        mime.insert_after(new, NewPart::raw("\r\nz")).unwrap();
    }
    assert_eq!(mime.to_bytes(), "--b\r\n\r\ny\r\n--b\r\n\r\nz\r\n".repeat(count) + "--b--\r\n");
}

#[test]
fn multiparts_that_lack_their_boundary_do_not_make_reading_slow() {
    let part = |at| format!("--b\r\nContent-Type: multipart/mixed; boundary=x{at}-\r\n\r\nhi\r\n");
    let mime = mixed((0..30_000).map(part).collect());
    assert_eq!(mime.root().children().count(), 30_000);
}

#[test]
fn lines_that_almost_are_delimiters_do_not_make_reading_slow() {
    for line in ["--\n", "--a\n", "-", "--", "\n--", "--b", "--b ", " --b\n", "\n-", "--b--x", "\r", "\r\n\0"]
    {
        let body = long(line);
        assert_eq!(mixed(body.clone()).to_bytes(), body);
    }
    let part = |at| format!("Content-Type: multipart/mixed; boundary=aaaa{at}-\r\n\r\n--aaaa{at}-\r\n");
    let mime = mime((0..100).map(part).collect::<String>() + "\r\n" + &long("--aaaa1000\n"));
    assert_eq!(mime.parts().count(), 101);
}

#[test]
fn long_headers_do_not_make_reading_slow() {
    for text in [
        "a=b;",
        "name=x;",
        "name*1=x;",
        "name*0=x;",
        "name*=x;",
        "x\"",
        "\"",
        "\\\"",
        "(",
        ")",
        "()",
        ";",
        "=",
        "*",
        "=?",
        "=?a?q?",
        "=?utf-8?b?",
        "=?utf-8?q?a?= ",
        "=?=?=?",
        "%41",
        "'",
        "\r\n ",
        "\0",
        "name=\"=?x?q?",
        "name=(",
        "name*999=x;",
    ] {
        let value = long(text);
        let header = format!("Content-Type: x/y; {value}\r\nContent-Disposition: x; filename={value}\r\n");
        let mime = Mime::parse_with(format!("{header}Subject: {value}\r\n\r\n"), limits()).unwrap();
        mime.root().file_names();
        mime.root().content_type().param("charset");
        mime.root().header("Subject").unwrap().text();
    }
}

#[test]
fn long_bodies_do_not_make_decoding_slow() {
    for encoding in ["base64", "quoted-printable"] {
        for text in ["=", "= ", " ", "=3", "=\r", "\t\r", "A", "A=", "*", "\r\n"] {
            let header = format!("Content-Transfer-Encoding: {encoding}\r\n\r\n");
            mime(header + &long(text)).root().decoded();
        }
    }
}

#[test]
fn a_message_that_ends_anywhere_can_be_edited() {
    let message = "Subject: hi\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\nx\r\n--b\r\nContent-Type: message/rfc822\r\n\
        \r\nContent-Type: multipart/digest; boundary=c\r\n\r\n--c\r\n\r\nSubject: x\r\n\r\none\r\n--c--\r\n\r\n--b--\r\nend";
    for end in 0..message.len() {
        let mut mime = mime(&message[..end]);
        let last = mime.parts().last().unwrap().id();
        let before: Vec<_> = mime.parts().map(|part| (part.id(), part.raw())).collect();
        mime.insert_before(last, NewPart::text("new")).unwrap();
        assert!(
            before
                .iter()
                .all(|(id, raw)| mime.part(*id).is_none_or(|part| part.is_modified() || part.raw() == raw))
        );
        assert_eq!(shape(&super::mime(mime.to_bytes())), shape(&mime), "cut at {end}");
    }
}

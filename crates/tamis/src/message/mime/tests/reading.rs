//! Which parts there are in a message.

use super::*;

/// Reads a body with a type and says what is in it.
fn read(content_type: &str, body: &str) -> String {
    let mime = Mime::of_body([("Content-Type", content_type)], body.to_owned()).unwrap();
    assert_eq!(mime.to_bytes(), body);
    outline(&mime)
}

fn mixed(body: &str) -> String {
    read("multipart/mixed; boundary=b", body)
}

fn defects(mime: &Mime) -> Vec<Defect> {
    mime.parts().flat_map(|part| part.defects().collect::<Vec<_>>()).collect()
}

#[test]
fn a_message_without_a_type_is_one_text() {
    let mime = mime("Subject: hi\r\n\r\nHello\r\n");
    assert_eq!(outline(&mime), "Hello");
    assert_eq!(mime.root().content_type().essence(), "text/plain");
    assert_eq!(mime.root().text().unwrap(), "Hello\r\n");
    assert_eq!(mime.root().raw(), "Subject: hi\r\n\r\nHello\r\n");
}

#[test]
fn parts_are_between_delimiters_without_the_line_ends_of_these() {
    let mime = Mime::of_body(
        [("Content-Type", "multipart/mixed; boundary=b")],
        "preamble\r\n--b\r\nX: y\r\n\r\none\r\n\r\n--b \t\r\n\r\ntwo\r\n--b--\r\nepilogue\r\n",
    )
    .unwrap();
    let parts: Vec<_> = mime.root().children().collect();
    assert_eq!(parts[0].raw(), "X: y\r\n\r\none\r\n");
    assert_eq!(parts[0].body_raw(), "one\r\n");
    assert_eq!(parts[1].raw(), "\r\ntwo");
    assert_eq!(mime.root().preamble().unwrap(), "preamble");
    assert_eq!(defects(&mime), []);
}

#[test]
fn lines_may_end_with_lf_alone() {
    assert_eq!(mixed("--b\n\none\n--b\n\ntwo\n--b--\n"), "(one two)");
    assert_eq!(mixed("--b\n\r\none\r\n--b\r\n\ntwo\n--b--"), "(one two)");
}

#[test]
fn a_lone_carriage_return_ends_no_line() {
    assert_eq!(mixed("--b\r\n\r\none\r--b\r\n--b--"), "(one\r--b)");
}

#[test]
fn a_delimiter_needs_the_beginning_of_a_line() {
    assert_eq!(mixed("x--b\r\n--b\r\n\r\none --b\r\n --b\r\n--b--"), "(one --b\r\n --b)");
}

#[test]
fn what_follows_a_boundary_in_its_line_does_not_matter() {
    assert_eq!(mixed("--b\r\n\r\none\r\n--bx\r\n\r\ntwo\r\n--b--"), "(one two)");
}

#[test]
fn what_only_begins_as_the_closing_delimiter_hides_nothing() {
    assert_eq!(mixed("--b\r\n\r\none\r\n--b--x\r\n\r\ntwo\r\n--b--"), "(one two)");
}

#[test]
fn nothing_is_a_part_behind_the_closing_delimiter() {
    assert_eq!(mixed("--b\r\n\r\none\r\n--b--\r\n--b\r\n\r\ntwo\r\n"), "(one)");
}

#[test]
fn parts_without_a_closing_delimiter_go_on_to_the_end() {
    let mime = mime("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n--b\r\n\r\ntwo\r\n");
    assert_eq!(outline(&mime), "(one two)");
    assert_eq!(defects(&mime), [Defect::Unclosed]);
}

#[test]
fn the_delimiter_of_an_outer_multipart_closes_the_inner_ones() {
    let inner =
        "--b\r\nContent-Type: multipart/mixed; boundary=i\r\n\r\n--i\r\n\r\none\r\n--b\r\n\r\ntwo\r\n--b--";
    assert_eq!(mixed(inner), "((one) two)");
    let in_header = "--b\r\nContent-Type: multipart/mixed; boundary=i\r\nX: y\r\n--b\r\n\r\ntwo\r\n--b--";
    assert_eq!(mixed(in_header), "( two)");
}

#[test]
fn empty_parts_are_parts() {
    let mime =
        mime("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n--b\r\n\r\n--b\r\n\r\n\r\n--b--");
    assert_eq!(outline(&mime), "(  )");
    assert!(mime.root().children().all(|part| part.body_raw().is_empty()));
}

#[test]
fn a_boundary_that_begins_with_another_is_not_taken_for_it() {
    let parts = |outer: &str, inner: &str| {
        let inner_parts = format!("--{inner}\r\n\r\none\r\n--{inner}\r\n\r\ntwo\r\n--{inner}--\r\n");
        let inner = format!("Content-Type: multipart/mixed; boundary=\"{inner}\"\r\n\r\n{inner_parts}");
        let body = format!("--{outer}\r\n{inner}--{outer}\r\n\r\nthree\r\n--{outer}--\r\n");
        let message = format!("Content-Type: multipart/mixed; boundary=\"{outer}\"\r\n\r\n{body}");
        let mime = mime(message);
        assert!(defects(&mime).contains(&Defect::AmbiguousBoundary));
        outline(&mime)
    };
    assert_eq!(parts("b", "bb"), "((one two) three)");
    assert_eq!(parts("bb", "b"), "((one two) three)");
    assert_eq!(parts("b", "b"), "((one two) three)");
}

#[test]
fn a_multipart_without_a_boundary_is_a_leaf() {
    for content_type in
        ["multipart/mixed", "multipart/mixed; boundary=\"\"", "multipart/mixed; boundary=\" \""]
    {
        let mime = Mime::of_body([("Content-Type", content_type)], "--\r\n\r\none\r\n----\r\n").unwrap();
        assert!(!mime.root().is_multipart());
        assert_eq!(defects(&mime), [Defect::NoBoundary]);
    }
}

#[test]
fn a_multipart_without_its_delimiter_has_no_parts() {
    let mime = Mime::of_body([("Content-Type", "multipart/mixed; boundary=b")], "--a\r\n").unwrap();
    assert!(mime.root().is_multipart());
    assert_eq!(mime.root().children().count(), 0);
    assert_eq!(defects(&mime), [Defect::NoDelimiter]);
    assert_eq!(mime.root().decoded(), "--a\r\n");
}

#[test]
fn a_boundary_can_be_quoted_in_pieces_and_in_8_bit() {
    assert_eq!(read("multipart/mixed; boundary=\"a \\\"b\"", "--a \"b\r\n\r\none\r\n--a \"b--"), "(one)");
    assert_eq!(read("multipart/mixed; boundary*0=a; boundary*1=b", "--ab\r\n\r\none\r\n--ab--"), "(one)");
    assert_eq!(read("MultiPart/Mixed;BOUNDARY=\u{e9}", "--\u{e9}\r\n\r\none\r\n--\u{e9}--"), "(one)");
    assert_eq!(read("multipart / mixed (a) ; boundary = b", "--b\r\n\r\none\r\n--b--"), "(one)");
    assert_eq!(read("multipart/mixed boundary=b", "--b\r\n\r\none\r\n--b--"), "(one)");
    assert_eq!(read("multipart/mixed;\n\tboundary=\"b\"", "--b\r\n\r\none\r\n--b--"), "(one)");
}

#[test]
fn of_several_types_the_one_with_parts_counts() {
    let types = ["text/plain", "multipart/mixed; boundary=b", "text/html"];
    let body = "--b\r\n\r\none\r\n--b--";
    let mime = Mime::of_body(types.map(|value| ("Content-Type", value)), body).unwrap();
    assert_eq!(outline(&mime), "(one)");
    assert_eq!(mime.root().content_type().essence(), "multipart/mixed");
    assert_eq!(defects(&mime), [Defect::RepeatedField]);
}

#[test]
fn a_line_that_is_no_field_does_not_end_a_header() {
    let mime = mime("Subject: hi\r\nno field\r\nContent-Type: text/html\r\n\r\nbody");
    assert_eq!(mime.root().content_type().essence(), "text/html");
    assert_eq!(defects(&mime), [Defect::BrokenHeader]);
    assert_eq!(mime.root().headers().map(|field| field.name()).collect::<Vec<_>>()[1], b"");
}

#[test]
fn messages_within_messages_are_parts() {
    let inner =
        "Subject: inner\r\nContent-Type: multipart/mixed; boundary=i\r\n\r\n--i\r\n\r\none\r\n--i--\r\n";
    let body = format!("--b\r\nContent-Type: message/rfc822\r\n\r\n{inner}--b\r\n\r\ntwo\r\n--b--\r\n");
    let mime = Mime::of_body([("Content-Type", "multipart/mixed; boundary=b")], body).unwrap();
    assert_eq!(outline(&mime), "([(one)] two)");
    let nested = mime.parts().find(|part| part.is_message()).unwrap();
    let message = nested.children().next().unwrap();
    assert_eq!(message.header("subject").unwrap().text(), "inner");
    assert_eq!(nested.decoded(), inner.trim_end());
    assert_eq!(message.parent().unwrap().id(), nested.id());
}

#[test]
fn parts_of_a_digest_are_messages_unless_they_say_otherwise() {
    let body = "--b\r\n\r\nSubject: a\r\n\r\none\r\n--b\r\nContent-Type: text/plain\r\n\r\ntwo\r\n--b--";
    let mime = Mime::of_body([("Content-Type", "multipart/digest; boundary=b")], body).unwrap();
    assert_eq!(outline(&mime), "([one] two)");
    assert_eq!(mime.root().children().next().unwrap().content_type().essence(), "message/rfc822");
}

#[test]
fn encoded_messages_are_read_too() {
    let inner = "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n--b--\r\n";
    let base64 = String::from_utf8(transfer::Encoding::Base64.encode(inner.as_bytes())).unwrap();
    let quoted = inner.replace('=', "=3D").replace("multi", "mu=\r\nlti").replace("--b", "=2D-b");
    for (encoding, text) in [("base64", base64), ("quoted-printable", quoted)] {
        let header = format!("Content-Type: message/rfc822\r\nContent-Transfer-Encoding: {encoding}\r\n");
        // The same boundary outside: it ends nothing within.
        let body = format!("--b\r\n{header}\r\n{text}\r\n--b\r\n\r\ntwo\r\n--b--");
        let mime = Mime::of_body([("Content-Type", "multipart/mixed; boundary=b")], body.clone()).unwrap();
        assert_eq!(outline(&mime), "([(one)] two)", "{encoding}");
        assert_eq!(defects(&mime), [Defect::EncodedMessage]);
        assert_eq!(mime.to_bytes(), body);
        assert_eq!(mime.root().children().next().unwrap().decoded(), inner);
    }
}

#[test]
fn a_message_that_only_claims_to_be_encoded_is_read_as_it_is() {
    let body = "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n--b--\r\n";
    let header = [("Content-Type", "message/rfc822"), ("Content-Transfer-Encoding", "base64")];
    let mime = Mime::of_body(header, body).unwrap();
    assert_eq!(outline(&mime), "[(one)]");
    assert_eq!(defects(&mime), [Defect::EncodedMessage]);
}

#[test]
fn encoded_messages_nest() {
    let mut message = "Subject: 0\r\n\r\ninnermost".to_owned();
    for _ in 0..5 {
        let encoded = transfer::Encoding::Base64.encode(message.as_bytes());
        let encoded = String::from_utf8(encoded).unwrap();
        message =
            format!("Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n{encoded}");
    }
    assert_eq!(outline(&mime(message)), "[[[[[innermost]]]]]");
}

#[test]
fn a_header_without_a_body_is_a_message() {
    for message in ["", "Subject: hi", "Subject: hi\r\n", "\r\n", "\n", "--b", "Content-Type: message/rfc822"]
    {
        let mime = mime(message);
        assert_eq!(mime.parts().count(), 1, "{message:?}");
        assert_eq!(mime.to_bytes(), message);
        assert!(mime.root().body_raw().is_empty());
    }
}

#[test]
fn parts_know_their_place() {
    let body = "--b\r\nContent-Type: multipart/mixed; boundary=i\r\n\r\n--i\r\n\r\none\r\n--i\r\n\r\ntwo\r\n--i--\r\n\
        --b\r\n\r\nthree\r\n--b--";
    let mime = Mime::of_body([("Content-Type", "multipart/mixed; boundary=b")], body).unwrap();
    let parent = |part: Part<'_>| part.parent().map_or(-1, |part| i64::from(part.id().0));
    let parents: Vec<_> = mime.parts().map(parent).collect();
    assert_eq!(parents, [-1, 0, 1, 1, 0]);
    let inner = mime.root().children().next().unwrap();
    assert_eq!(inner.with_descendants().count(), 3);
    assert_eq!(format!("{:?}", mime.root()), "Part 0 multipart/mixed");
}

#[test]
fn a_tree_can_be_shared_between_threads() {
    fn is_shared<T: Send + Sync>(_: &T) {}
    is_shared(&mime(""));
}

use tamis_proto::edit::validate::{Invalid, Item};
use tamis_proto::frame::MAX_PAYLOAD;

use super::*;

const BOTH: Actions = Actions::ADD_HEADERS.union(Actions::CHANGE_HEADERS);

/// The fields of a text like `A: 1|B: 2`.
fn headers(text: &str) -> Headers {
    let mut headers = Headers::new();
    headers.allow(BOTH);
    push_all(&mut headers, text);
    headers
}

fn push_all(headers: &mut Headers, text: &str) {
    for line in text.split_terminator('|') {
        let (name, value) = line.split_once(": ").unwrap();
        let (name, value) = (name.to_owned().into(), value.to_owned().into());
        headers.push(command::Header { name, value, implied_space: true });
    }
}

fn text(headers: &Headers) -> String {
    headers.to_string().trim_end_matches('\n').replace('\n', "|")
}

fn id(headers: &Headers, name: &str) -> HeaderId {
    headers.first(name).unwrap().id()
}

#[test]
fn fields_are_found_in_any_case_and_keep_order_and_duplicates() {
    let headers = headers("Received: b|received: a|Subject: x|RECEIVED: c");
    assert_eq!(text(&headers), "Received: b|received: a|Subject: x|RECEIVED: c");
    assert_eq!(headers.first("received").unwrap().value(), "b");
    assert_eq!(headers.last(b"received").unwrap().value(), "c");
    let all: Vec<_> = headers.all("Received").map(|header| header.value().to_string()).collect();
    assert_eq!(all, ["b", "a", "c"]);
    assert!(headers.contains("SUBJECT") && !headers.contains("To") && headers.first("To").is_none());
    assert_eq!((headers.len(), headers.iter().len()), (4, 4));
    let names: Vec<_> = headers.iter().rev().map(|header| header.name().to_string()).collect();
    assert_eq!(names, ["RECEIVED", "Subject", "received", "Received"]);
    assert!(!headers.is_changed());
}

#[test]
fn iteration_from_both_ends_meets_once() {
    let mut headers = headers("A: 1|B: 2|C: 3|D: 4");
    headers.remove(id(&headers, "B")).unwrap();
    let mut iter = headers.iter();
    let mut next =
        |back: bool| if back { iter.next_back() } else { iter.next() }.map(|h| h.name().to_string());
    assert_eq!(next(true).as_deref(), Some("D"));
    assert_eq!(next(false).as_deref(), Some("A"));
    assert_eq!(next(true).as_deref(), Some("C"));
    assert_eq!((next(false), next(true)), (None, None));
}

#[test]
fn edits_show_at_once_and_what_came_stays_readable() {
    let mut headers = headers("A: 1|B: 2|C: 3");
    let b = id(&headers, "B");
    headers.insert_before(b, "X", "before").unwrap();
    headers.insert_after(b, "Y", "after").unwrap();
    headers.prepend("Top", "t").unwrap();
    headers.append("End", "e").unwrap();
    headers.replace(b, "two").unwrap();
    headers.remove(id(&headers, "C")).unwrap();
    assert_eq!(text(&headers), "Top: t|A: 1|X: before|B: two|Y: after|End: e");
    let received: Vec<_> = headers.received().map(|header| header.to_string()).collect();
    assert_eq!(received, ["A: 1", "B: 2", "C: 3"]);
    assert_eq!(headers.len(), 6);
    assert!(headers.is_changed());
    assert_eq!(headers.get(b).unwrap().value(), "two");
}

#[test]
fn fields_are_inserted_next_to_added_ones_too() {
    let mut headers = headers("A: 1");
    let end = headers.append("End", "").unwrap();
    let before = headers.insert_before(end, "X", "").unwrap();
    headers.insert_after(before, "Y", "").unwrap();
    headers.insert_after(end, "Z", "").unwrap();
    let top = headers.prepend("Top", "").unwrap();
    headers.insert_before(top, "W", "").unwrap();
    headers.replace(top, "new").unwrap();
    headers.remove(before).unwrap();
    assert_eq!(text(&headers), "W: |Top: new|A: 1|Y: |End: |Z: ");
}

#[test]
fn fields_that_come_after_an_edit_stand_between_top_and_end() {
    let mut headers = headers("");
    let end = headers.append("End", "").unwrap();
    headers.prepend("Top", "").unwrap();
    headers.insert_before(end, "Above-End", "").unwrap();
    push_all(&mut headers, "A: 1|B: 2");
    headers.insert_after(id(&headers, "B"), "Below-B", "").unwrap();
    push_all(&mut headers, "C: 3");
    assert_eq!(text(&headers), "Top: |A: 1|B: 2|Below-B: |C: 3|Above-End: |End: ");
}

#[test]
fn a_field_inserted_below_the_last_one_is_not_below_what_is_appended() {
    let mut headers = headers("A: 1");
    headers.insert_after(id(&headers, "A"), "X", "").unwrap();
    headers.append("End", "").unwrap();
    push_all(&mut headers, "B: 2");
    assert_eq!(text(&headers), "A: 1|X: |B: 2|End: ");
}

#[test]
fn set_replaces_the_first_or_appends() {
    let mut headers = headers("X: 1|A: a|X: 2");
    headers.set("x", "new").unwrap();
    let added = headers.set("Y", "y").unwrap();
    headers.set("y", "z").unwrap();
    assert_eq!(text(&headers), "X: new|A: a|X: 2|Y: z");
    assert_eq!(headers.get(added).unwrap().value(), "z");
}

#[test]
fn all_fields_of_a_name_go_at_once() {
    let mut headers = headers("X: 1|A: a|x: 2");
    headers.append("X", "3").unwrap();
    assert_eq!(headers.remove_all("X"), Ok(3));
    assert_eq!(headers.remove_all("X"), Ok(0));
    assert_eq!(text(&headers), "A: a");
}

#[test]
fn edits_that_come_to_nothing_are_no_change() {
    let mut headers = headers("A: 1|B: 2");
    let added = headers.append("X", "").unwrap();
    headers.remove(added).unwrap();
    headers.replace(id(&headers, "A"), "1").unwrap();
    assert!(!headers.is_changed());
    headers.replace(id(&headers, "A"), "2").unwrap();
    assert!(headers.is_changed());
}

#[test]
fn nothing_is_edited_that_was_not_negotiated() {
    let mut headers = headers("A: 1");
    let a = id(&headers, "A");
    headers.allow(Actions::ADD_HEADERS);
    let missing = HeaderError::NotNegotiated(Actions::CHANGE_HEADERS);
    assert_eq!(headers.replace(a, "2"), Err(missing));
    assert_eq!(headers.set("A", "2"), Err(missing));
    assert_eq!(headers.remove(a), Err(missing));
    assert_eq!(headers.remove_all("B"), Err(missing));
    assert_eq!(headers.insert_after(a.exactly(), "X", ""), Err(missing));
    headers.insert_after(a, "X", "").unwrap();
    headers.allow(Actions::CHANGE_HEADERS);
    let missing = HeaderError::NotNegotiated(Actions::ADD_HEADERS);
    assert_eq!(headers.append("X", ""), Err(missing));
    assert_eq!(headers.prepend("X", ""), Err(missing));
    assert_eq!(headers.insert_before(a, "X", ""), Err(missing));
    assert_eq!(
        missing.to_string(),
        "action add-headers was not negotiated, the filter has to declare it and the MTA to offer it"
    );
    assert_eq!(text(&headers), "A: 1|X: ");
}

#[test]
fn names_and_values_that_break_the_header_are_refused() {
    let mut headers = headers("A: 1");
    let a = id(&headers, "A");
    for name in ["", "X:", "X Y", "X\n", "Xé"] {
        assert!(matches!(headers.append(name, "v"), Err(HeaderError::Invalid(_))), "{name:?}");
    }
    for value in ["a\nBcc: x", "a\r b", "a\0", "a\n", "a\r\n \r\nbody"] {
        assert!(matches!(headers.append("X", value), Err(HeaderError::Invalid(_))), "{value:?}");
        assert!(matches!(headers.replace(a, value), Err(HeaderError::Invalid(_))), "{value:?}");
    }
    assert!(!headers.is_changed());
    headers.append("X", "one\r\n\ttwo").unwrap();
    assert_eq!(headers.first("X").unwrap().value(), "one\n\ttwo");
}

#[test]
fn a_change_to_white_space_is_refused_since_it_is_a_removal() {
    let mut headers = headers("A: 1|Empty: ");
    let a = id(&headers, "A");
    for blank in ["", " ", "\t"] {
        assert_eq!(headers.replace(a, blank), Err(HeaderError::Blank));
    }
    let empty = HeaderValue::from(headers.first("Empty").unwrap());
    assert_eq!(headers.replace(a, empty.clone()), Err(HeaderError::Blank));
    headers.append("X", empty).unwrap();
    headers.append("Y", "").unwrap();
    assert_eq!(text(&headers), "A: 1|Empty: |X: |Y: ");
}

#[test]
fn fields_are_at_most_as_long_as_a_packet() {
    let mut headers = headers("A: 1");
    headers.append("X", "v".repeat(10 * 1024)).unwrap();
    let fits = MAX_PAYLOAD - 1 - 7;
    headers.append("X", "v".repeat(fits)).unwrap();
    headers.replace(id(&headers, "A"), "v".repeat(fits)).unwrap();
    let too_long = HeaderError::TooLong { length: MAX_PAYLOAD + 1, limit: MAX_PAYLOAD };
    assert_eq!(headers.append("X", "v".repeat(fits + 1)), Err(too_long));
    assert_eq!(headers.replace(id(&headers, "A"), "v".repeat(fits + 1)), Err(too_long));
    assert_eq!(too_long.to_string(), "header field of 65536 bytes exceeds the limit of 65535");
}

#[test]
fn a_value_that_was_received_is_written_back_unchanged() {
    let mut headers = headers("A: 1");
    let odd = Bytes::from_static(b" a\rb\r\n\tc \xff\x01");
    headers.push(command::Header { name: "Odd".into(), value: odd.clone(), implied_space: true });
    headers.push(command::Header { name: "Tight".into(), value: odd.clone(), implied_space: false });
    for name in ["Odd", "Tight"] {
        let value = HeaderValue::from(headers.first(name).unwrap());
        let copy = headers.append("Copy", value.clone()).unwrap();
        headers.replace(id(&headers, "A"), value).unwrap();
        let spaced = headers.first(name).unwrap().spaced_value();
        assert_eq!(headers.get(copy).unwrap().spaced_value(), spaced);
        assert_eq!(headers.first("A").unwrap().spaced_value(), spaced);
        let text = headers.first(name).unwrap().value().clone();
        assert!(headers.append("Copy", text).is_err(), "as an author writes it");
    }
    headers.push(command::Header { name: "Nul".into(), value: "a\0".into(), implied_space: true });
    let nul = HeaderValue::from(headers.first("Nul").unwrap());
    let invalid = Invalid::Byte { item: Item::HeaderValue, byte: 0, at: 1 };
    assert_eq!(headers.append("X", nul), Err(HeaderError::Invalid(invalid)));
}

#[test]
fn fields_of_other_messages_and_removed_ones_are_told_apart() {
    let mut headers = headers("A: 1|B: 2");
    let mut other = super::tests::headers("A: 1|B: 2");
    let foreign = id(&other, "A");
    assert!(headers.get(foreign).is_none());
    assert_eq!(headers.remove(foreign), Err(HeaderError::OtherMessage));
    assert_eq!(headers.replace(foreign, "x"), Err(HeaderError::OtherMessage));
    assert_eq!(headers.insert_before(foreign, "X", ""), Err(HeaderError::OtherMessage));
    let removed = id(&headers, "A");
    headers.remove(removed).unwrap();
    assert!(headers.get(removed).is_none());
    assert_eq!(headers.remove(removed), Err(HeaderError::Removed));
    assert_eq!(headers.replace(removed, "x"), Err(HeaderError::Removed));
    assert_eq!(headers.insert_after(removed, "X", ""), Err(HeaderError::Removed));
    other.remove(foreign).unwrap();
    assert_eq!((text(&headers), text(&other)), ("B: 2".to_owned(), "B: 2".to_owned()));
}

#[test]
fn the_leading_space_is_the_authors_where_it_was_declared() {
    let mut headers = headers("");
    headers.own_leading_space(true);
    headers.push(command::Header { name: "A".into(), value: "tight".into(), implied_space: false });
    headers.append("X", " v").unwrap();
    headers.append("Y", "v").unwrap();
    assert_eq!(text(&headers), "A:tight|X: v|Y:v");
    assert_eq!(headers.first("X").unwrap().value(), " v");
    assert_eq!(headers.first("X").unwrap().unfolded(), "v");
}

#[test]
fn unfolded_values_are_one_line_without_white_space_around() {
    let mut headers = headers("A:  plain ");
    push_all(&mut headers, "B: one\n\ttwo\n  three");
    headers.push(command::Header { name: "C".into(), value: "one\r\n two".into(), implied_space: true });
    assert_eq!(headers.first("A").unwrap().unfolded(), "plain");
    assert_eq!(headers.first("B").unwrap().unfolded(), "one\ttwo  three");
    assert_eq!(headers.first("C").unwrap().unfolded(), "one two");
}

#[test]
fn collecting_takes_one_entry_for_each_field() {
    let name = Bytes::from(b"Name".to_vec());
    let mut headers = Headers::new();
    headers.push(command::Header { name: name.clone(), value: name.clone(), implied_space: true });
    assert!(headers.edits.is_none());
    let header = headers.first("name").unwrap();
    assert_eq!(
        (header.name().as_bytes().as_ptr(), header.value().as_bytes().as_ptr()),
        (name.as_ptr(), name.as_ptr())
    );
    assert!(size_of::<Field>() <= 72);
}

#[test]
fn edits_since_a_moment_are_taken_back() {
    let mut headers = headers("A: 1|B: 2|C: 3");
    let none = headers.save();
    let kept = headers.append("Kept", "k").unwrap();
    headers.replace(id(&headers, "B"), "two").unwrap();
    let some = headers.save();
    let now = text(&headers);
    let x = headers.insert_before(kept, "X", "").unwrap();
    headers.insert_after(x, "Y", "").unwrap();
    headers.replace(kept, "changed").unwrap();
    headers.replace(id(&headers, "B"), "zwei").unwrap();
    headers.replace(x, "x").unwrap();
    headers.remove(x).unwrap();
    headers.remove(kept).unwrap();
    headers.remove(id(&headers, "A")).unwrap();
    headers.remove_all("B").unwrap();
    assert_eq!(text(&headers), "C: 3|Y: ");
    push_all(&mut headers, "D: 4");
    headers.restore(some);
    assert_eq!(text(&headers), now.replace("Kept", "D: 4|Kept"));
    assert_eq!(headers.len(), 5);
    assert_eq!(headers.iter().rev().count(), 5);
    headers.append("Z", "").unwrap();
    headers.restore(none);
    assert_eq!(text(&headers), "A: 1|B: 2|C: 3|D: 4");
    assert!(!headers.is_changed());
}

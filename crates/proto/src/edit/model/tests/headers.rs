use super::*;

#[test]
fn insertion_counts_the_own_received() {
    for profile in BOTH {
        assert_eq!(header(profile, "A: 1\r\n", &[insert(0, "X", "")]), "X: |Received: own|A: 1");
        assert_eq!(header(profile, "A: 1\r\n", &[insert(1, "X", "")]), "Received: own|X: |A: 1");
        assert_eq!(header(profile, "A: 1\r\n", &[insert(2, "X", "")]), "Received: own|A: 1|X: ");
        assert_eq!(header(profile, "A: 1\r\n", &[insert(0x7fff_ffff, "X", "")]), "Received: own|A: 1|X: ");
        assert_eq!(
            header(profile, "A: 1\r\n", &[insert(0, "X", "0"), insert(1, "Y", "1")]),
            "X: 0|Y: 1|Received: own|A: 1"
        );
    }
}

#[test]
fn insertion_index_is_signed_for_sendmail() {
    assert_eq!(header(Postfix, "A: 1\r\n", &[insert(1 << 31, "X", "")]), "Received: own|A: 1|X: ");
    assert_eq!(header(Sendmail, "A: 1\r\n", &[insert(1 << 31, "X", "")]), "X: |Received: own|A: 1");
    assert_eq!(header(Sendmail, "A: 1\r\n", &[insert(u32::MAX, "X", "")]), "X: |Received: own|A: 1");
}

#[test]
fn change_counts_fields_of_the_name_without_the_own_one() {
    for profile in BOTH {
        let before = "Received: first\r\nX: 1\r\nX: 2\r\n";
        assert_eq!(
            header(
                profile,
                before,
                &[change(1, "Received", "new"), change(2, "X", "two"), change(0, "X", "one")]
            ),
            "Received: own|Received: new|X: one|X: two"
        );
        assert_eq!(header(profile, before, &[change(2, "x", "")]), "Received: own|Received: first|X: 1");
    }
}

#[test]
fn change_index_is_signed_for_sendmail() {
    assert_eq!(header(Postfix, "X: 1\r\n", &[change(1 << 31, "X", "new")]), "Received: own|X: 1|X: new");
    assert_eq!(header(Sendmail, "X: 1\r\n", &[change(1 << 31, "X", "new")]), "Received: own|X: new");
}

#[test]
fn change_writes_the_name_of_the_filter_or_the_original() {
    assert_eq!(header(Postfix, "Subject: a\r\n", &[change(1, "SUBJECT", "b")]), "Received: own|SUBJECT: b");
    assert_eq!(header(Sendmail, "Subject: a\r\n", &[change(1, "SUBJECT", "b")]), "Received: own|Subject: b");
}

#[test]
fn change_of_a_missing_field_adds_it() {
    for profile in BOTH {
        let mut model = model(profile, "A: 1\r\n");
        assert_eq!(model.apply(&change(1, "X", "new")), Ok(Applied::AddedInstead));
        assert_eq!(model.apply(&change(2, "X", "")), Ok(Applied::Ignored(Ignored::NotFound)));
        assert_eq!(header_of(&model.finish()), "Received: own|A: 1|X: new");
    }
}

#[test]
fn deletion_renumbers_in_postfix_and_can_be_undone_in_sendmail() {
    let edits = [change(1, "X-Dup", ""), change(1, "X-Dup", "second?")];
    let before = "X-Dup: 1\r\nX-Dup: 2\r\n";
    assert_eq!(header(Postfix, before, &edits), "Received: own|X-Dup: second?");
    assert_eq!(header(Sendmail, before, &edits), "Received: own|X-Dup: second?|X-Dup: 2");
}

#[test]
fn the_next_filter_counts_anew() {
    for profile in BOTH {
        let mut model = model(profile, "X-Dup: 1\r\nA: a\r\nX-Dup: 2\r\n");
        model.apply(&change(1, "X-Dup", "")).unwrap();
        model.next_filter(false);
        assert_eq!(shown(&model), ["A: a", "X-Dup: 2"]);
        model.apply(&change(1, "X-Dup", "new")).unwrap();
        assert_eq!(header_of(&model.finish()), "Received: own|A: a|X-Dup: new");
    }
}

#[test]
fn sendmail_fills_the_place_of_a_field_that_an_earlier_filter_deleted() {
    let mut model = model(Sendmail, "X: 1\r\nA: a\r\n");
    model.apply(&change(1, "X", "")).unwrap();
    model.next_filter(false);
    model.apply(&add("x", "new")).unwrap();
    assert_eq!(header_of(&model.finish()), "Received: own|X: new|A: a");
}

#[test]
fn added_fields_are_numbered_like_others() {
    for profile in BOTH {
        assert_eq!(
            header(profile, "A: 1\r\n", &[add("X", "1"), change(1, "X", "2")]),
            "Received: own|A: 1|X: 2"
        );
        assert_eq!(
            header(profile, "A: 1\r\n", &[insert(1, "X", "1"), change(1, "X", "2")]),
            "Received: own|X: 2|A: 1"
        );
    }
}

#[test]
fn own_fields_stay_hidden_wherever_they_are() {
    let edits = [insert(0, "X", "1"), change(1, "X", "2"), change(1, "Received", "")];
    assert_eq!(header(Postfix, "A: 1\r\n", &edits), "X: 2|Received: own|A: 1");
    assert_eq!(header(Sendmail, "A: 1\r\n", &edits), "X: 2|Received: own|A: 1");
    let mut model = model(Postfix, "A: 1\r\n");
    model.apply(&edits[0]).unwrap();
    model.next_filter(false);
    assert_eq!(shown(&model), ["X: 1", "A: 1"]);
}

#[test]
fn addition_goes_to_the_end_or_before_its_namesake() {
    let before = "X: 1\r\nA: a\r\nX: 2\r\n";
    assert_eq!(header(Postfix, before, &[add("x", "new")]), "Received: own|X: 1|A: a|X: 2|x: new");
    assert_eq!(header(Sendmail, before, &[add("x", "new")]), "Received: own|x: new|X: 1|A: a|X: 2");
    let after_deletion = [change(1, "X", ""), add("X", "new")];
    assert_eq!(header(Sendmail, before, &after_deletion), "Received: own|X: new|A: a|X: 2");
    assert_eq!(
        header(Sendmail, before, &[add("Received", "new")]),
        "Received: new|Received: own|X: 1|A: a|X: 2"
    );
}

#[test]
fn sendmail_replaces_fields_that_it_generated() {
    let message = Message::parse(b"Received: own\r\nDate: now\r\nFrom: a\r\n\r\n");
    let model = Model::new(Sendmail, message).own_fields(2);
    assert_eq!(shown(&model), ["From: a"]);
    assert_eq!(header_with(model.clone(), &[add("date", "new")]), "Received: own|Date: new|From: a");
    assert_eq!(header_with(model.clone(), &[change(1, "Date", "new")]), "Received: own|Date: new|From: a");
    assert_eq!(header_with(model, &[change(1, "Date", "")]), "Received: own|From: a");
}

#[test]
fn blank_defaults_of_sendmail_count_and_are_filled() {
    for (profile, position, filled) in [
        (Sendmail, "Received: own|X: |From: a", "Received: own|Full-Name: me|From: a"),
        (Postfix, "Received: own|From: a|X: ", "Received: own|From: a|Full-Name: me"),
    ] {
        let model = model(profile, "From: a\r\n").blank_defaults(["Return-Path", "Full-Name"]);
        assert_eq!(shown(&model), ["From: a"]);
        assert_eq!(header_with(model.clone(), &[insert(3, "X", "")]), position);
        assert_eq!(header_with(model, &[add("Full-Name", "me")]), filled);
    }
}

#[test]
fn generated_fields_of_sendmail_stand_among_its_templates() {
    let message = Message::parse(b"Received: own\r\nDate: now\r\nMessage-Id: <1@mta>\r\nA: 1\r\n\r\n");
    let model = Model::new(Sendmail, message).own_fields(3).blank_defaults([
        "Resent-Date",
        "Date",
        "Resent-From",
        "From",
        "Message-Id",
    ]);
    for (index, expected) in [
        (2, "Received: own|X: |Date: now|Message-Id: <1@mta>|A: 1"),
        (3, "Received: own|Date: now|X: |Message-Id: <1@mta>|A: 1"),
        (5, "Received: own|Date: now|X: |Message-Id: <1@mta>|A: 1"),
        (6, "Received: own|Date: now|Message-Id: <1@mta>|X: |A: 1"),
    ] {
        assert_eq!(header_with(model.clone(), &[insert(index, "X", "")]), expected);
    }
    let changed = "Received: own|Date: then|Message-Id: <1@mta>|A: 1";
    assert_eq!(header_with(model, &[change(1, "Date", "then")]), changed);
}

#[test]
fn an_unused_template_of_sendmail_is_written_when_there_is_something_in_it() {
    let model = model(Sendmail, "Date: then\r\n").blank_defaults(["Date"]);
    assert_eq!(header_with(model.clone(), &[add("Date", "")]), "Received: own|Date: |Date: then");
    let verbatim = model.leading_space(true);
    assert_eq!(header_with(verbatim.clone(), &[add("Date", "")]), "Received: own|Date: then");
    assert_eq!(header_with(verbatim, &[add("X", "")]), "Received: own|Date: then|X:");
    let message = Message::parse(b"Received: own\r\nDate: now\r\n\r\n");
    let generated = Model::new(Sendmail, message).own_fields(2).blank_defaults(["Date"]).leading_space(true);
    assert_eq!(header_with(generated, &[add("Date", "")]), "Received: own|Date:");
}

#[test]
fn leading_space() {
    let edits = [add("A", "v"), add("B", " v"), add("C", ""), insert(99, "D", "v"), change(1, "X", "v")];
    for profile in BOTH {
        assert_eq!(header(profile, "X:1\r\n", &edits), "Received: own|X: v|A: v|B:  v|C: |D: v");
        let verbatim = model(profile, "X:1\r\n").leading_space(true);
        assert_eq!(header_with(verbatim, &edits), "Received: own|X:v|A:v|B: v|C:|D:v");
    }
    assert_eq!(Field::new("X", "  v").wire_value(false), " v");
    assert_eq!(Field::new("X", "\tv").wire_value(false), "\tv");
    assert_eq!(Field::new("X", "v").wire_value(false), "v");
    assert_eq!(Field::new("X", "  v").wire_value(true), "  v");
    assert_eq!(Field::new("X", "").wire_value(false), "");
}

#[test]
fn line_feeds_in_values_never_end_the_field() {
    let edits = [add("X", "a\nEvil: b\n\nc\n")];
    assert_eq!(header(Postfix, "", &edits), "Received: own|X: a|\tEvil: b|\t|\tc|\t");
    assert_eq!(header(Sendmail, "", &edits), "Received: own|X: a| Evil: b| | c| ");
    for profile in BOTH {
        assert_eq!(header(profile, "", &[add("X", "one\r\n\ttwo")]), "Received: own|X: one\r|\ttwo");
    }
}

#[test]
fn empty_names() {
    let mut postfix = model(Postfix, "A: 1\r\n");
    assert_eq!(postfix.apply(&add("", "value")), Ok(Applied::Done));
    assert_eq!(postfix.apply(&change(1, "", "x")), Err(Refused::EmptyHeaderName));
    assert_eq!(header_of(&postfix.finish()), "Received: own|A: 1|: value");
    let mut sendmail = model(Sendmail, "A: 1\r\n");
    for edit in [add("", "value"), insert(0, "", "value"), change(1, "", "value")] {
        assert_eq!(sendmail.apply(&edit), Ok(Applied::Ignored(Ignored::Empty)));
    }
    assert_eq!(header_of(&sendmail.finish()), "Received: own|A: 1");
}

#[test]
fn a_name_with_a_space_is_written_as_it_is() {
    for profile in BOTH {
        assert_eq!(header(profile, "", &[add("X Y", "1")]), "Received: own|X Y: 1");
    }
    // Postfix takes it for the end of the header when it searches.
    let edits = [add("X Y", "1"), add("A", "1"), change(1, "A", "2"), insert(2, "B", "")];
    assert_eq!(header(Postfix, "", &edits), "Received: own|X Y: 1|A: 1|A: 2|B: ");
    assert_eq!(header(Sendmail, "", &edits), "Received: own|X Y: 1|B: |A: 2");
}

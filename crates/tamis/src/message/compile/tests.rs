use tamis_proto::command;

use super::*;
use crate::message::HeaderId;

const ALL: [Target; 3] = [Target::Postfix, Target::Sendmail, Target::Portable];

/// The fields of a text like `A: 1|B: 2`.
fn headers(text: &str) -> Headers {
    let mut headers = Headers::new();
    headers.allow(Actions::CURRENT);
    for line in text.split_terminator('|') {
        let (name, value) = line.split_once(": ").unwrap();
        let (name, value) = (name.to_owned().into(), value.to_owned().into());
        headers.push(command::Header { name, value, implied_space: true });
    }
    headers
}

fn id(headers: &Headers, name: &str) -> HeaderId {
    headers.first(name).unwrap().id()
}

fn mta(target: Target) -> Mta {
    Mta::new(target, Actions::CURRENT)
}

/// The edits in short, after the models agreed to them.
fn edits(wanted: &Wanted<'_>, target: Target) -> Vec<String> {
    let edits = compile(wanted, &mta(target)).unwrap();
    if let Err(mismatch) = check(&edits, wanted, &mta(target)) {
        panic!("{mismatch}");
    }
    edits.iter().map(short).collect()
}

fn header_edits(headers: &Headers, target: Target) -> Vec<String> {
    edits(&Wanted::new(headers), target)
}

fn short(edit: &Edit<Bytes>) -> String {
    let text = |bytes: &Bytes| bytes.escape_ascii().to_string();
    match edit {
        Edit::AddHeader { name, value } => format!("h {}={}", text(name), text(value)),
        Edit::InsertHeader { index, name, value } => format!("i {index} {}={}", text(name), text(value)),
        Edit::ChangeHeader { index, name, value } => format!("m {index} {}={}", text(name), text(value)),
        Edit::ChangeSender { address, args } => format!("e {} {:?}", text(address), args),
        Edit::AddRecipient { address } => format!("+ {}", text(address)),
        Edit::AddRecipientWithArgs { address, args } => format!("2 {} {:?}", text(address), args),
        Edit::DeleteRecipient { address } => format!("- {}", text(address)),
        Edit::ReplaceBody(piece) => format!("b {}", piece.len()),
        Edit::Quarantine { reason } => format!("q {}", text(reason)),
    }
}

fn error(headers: &Headers, mta: &Mta) -> String {
    compile(&Wanted::new(headers), mta).unwrap_err().to_string()
}

#[test]
fn no_edits_for_a_message_that_stays_as_it_is() {
    let mut headers = headers("A: 1|B: 2");
    for target in ALL {
        assert_eq!(header_edits(&headers, target), [""; 0]);
    }
    let x = headers.append("X", "").unwrap();
    headers.remove(x).unwrap();
    headers.replace(id(&headers, "A"), "1").unwrap();
    for target in ALL {
        assert_eq!(header_edits(&headers, target), [""; 0]);
    }
}

#[test]
fn fields_of_a_name_are_changed_and_deleted_from_the_last_to_the_first() {
    let mut headers = headers("X: 1|A: a|x: 2|X: 3|X: 4");
    let all: Vec<_> = headers.all("X").map(|header| header.id()).collect();
    headers.remove(all[0]).unwrap();
    headers.replace(all[1], "two").unwrap();
    headers.remove(all[3]).unwrap();
    headers.replace(id(&headers, "A"), "b").unwrap();
    for target in ALL {
        assert_eq!(header_edits(&headers, target), ["m 4 X=", "m 2 x=two", "m 1 A=b", "m 1 X="]);
    }
}

#[test]
fn top_and_end_are_the_same_for_every_mta() {
    let mut headers = headers("Received: client|A: 1");
    headers.prepend("T1", "1").unwrap();
    headers.prepend("T2", "2").unwrap();
    headers.append("E1", "1").unwrap();
    headers.append("E2", "").unwrap();
    for target in ALL {
        assert_eq!(header_edits(&headers, target), ["i 0 T1=1", "i 0 T2=2", "h E1=1", "h E2="]);
    }
}

#[test]
fn a_field_appended_beside_a_namesake_still_comes_last() {
    let mut headers = headers("X: 1|A: a");
    headers.append("x", "2").unwrap();
    headers.append("Y", "1").unwrap();
    headers.append("Y", "2").unwrap();
    headers.append("Received", "not the MTA's own").unwrap();
    assert_eq!(
        header_edits(&headers, Target::Postfix),
        ["h x=2", "h Y=1", "h Y=2", "h Received=not the MTA\\'s own"]
    );
    for target in [Target::Sendmail, Target::Portable] {
        assert_eq!(
            header_edits(&headers, target),
            ["i 1073741824 x=2", "h Y=1", "i 1073741824 Y=2", "i 1073741824 Received=not the MTA\\'s own"]
        );
    }
}

#[test]
fn a_place_among_the_received_fields_counts_what_the_mta_hides() {
    let mut headers = headers("A: 1|B: 2|C: 3|D: 4");
    headers.insert_before(id(&headers, "B"), "X", "x").unwrap();
    headers.insert_after(id(&headers, "C"), "Y", "y").unwrap();
    headers.remove(id(&headers, "A")).unwrap();
    headers.remove(id(&headers, "C")).unwrap();
    headers.insert_before(id(&headers, "D"), "Z", "z").unwrap();
    // With A gone X is at the top, and C still counts for Sendmail.
    let removed = ["m 1 C=", "m 1 A="];
    assert_eq!(
        header_edits(&headers, Target::Postfix),
        [&removed[..], &["i 2 Z=z", "i 2 Y=y", "i 0 X=x"]].concat()
    );
    assert_eq!(
        header_edits(&headers, Target::Sendmail),
        [&removed[..], &["i 11 Z=z", "i 11 Y=y", "i 0 X=x"]].concat()
    );
}

#[test]
fn a_near_place_is_top_or_end_where_the_mta_is_unknown() {
    let mut headers = headers("A: 1|B: 2|C: 3|D: 4|E: 5");
    headers.insert_after(id(&headers, "B"), "Near-Top", "").unwrap();
    headers.insert_after(id(&headers, "C"), "Near-End", "").unwrap();
    headers.prepend("Top", "").unwrap();
    headers.append("End", "").unwrap();
    assert_eq!(
        header_edits(&headers, Target::Portable),
        ["i 0 Top=", "i 0 Near-Top=", "h End=", "h Near-End="]
    );
}

#[test]
fn an_exact_place_rewrites_what_is_below_where_places_are_unknown() {
    let mut headers = headers("A: 1|B: 2|A: 3|C: 4");
    headers.insert_before(id(&headers, "B").exactly(), "X", "x").unwrap();
    headers.replace(id(&headers, "C"), "four").unwrap();
    headers.append("End", "e").unwrap();
    assert_eq!(header_edits(&headers, Target::Postfix), ["m 1 C=four", "i 2 X=x", "h End=e"]);
    for target in [Target::Sendmail, Target::Portable] {
        assert_eq!(
            header_edits(&headers, target),
            [
                "m 1 C=",
                "m 2 A=",
                "m 1 B=",
                "i 1073741824 X=x",
                "i 1073741824 B=2",
                "i 1073741824 A=3",
                "i 1073741824 C=four",
                "i 1073741824 End=e"
            ]
        );
    }
}

#[test]
fn an_exact_place_at_the_top_or_the_end_rewrites_nothing() {
    let mut headers = headers("A: 1|B: 2");
    headers.insert_before(id(&headers, "A").exactly(), "X", "x").unwrap();
    headers.insert_after(id(&headers, "B").exactly(), "Y", "y").unwrap();
    assert_eq!(header_edits(&headers, Target::Portable), ["i 0 X=x", "i 1073741824 Y=y"]);
}

#[test]
fn nothing_near_comes_between_a_field_and_its_exact_place() {
    let mut headers = headers("A: 1|B: 2|C: 3");
    headers.insert_before(id(&headers, "A").exactly(), "X", "").unwrap();
    headers.insert_after(id(&headers, "A"), "Near-Top", "").unwrap();
    headers.insert_after(id(&headers, "B"), "Near-End", "").unwrap();
    headers.insert_after(id(&headers, "C").exactly(), "Y", "").unwrap();
    assert_eq!(
        header_edits(&headers, Target::Portable),
        ["i 0 X=", "i 0 Near-Top=", "i 1073741824 Y=", "h Near-End="]
    );
}

#[test]
fn a_field_removed_beside_a_new_one_of_its_name_is_changed() {
    for (before, name, value, edits) in [
        (true, "X", "new", &["m 1 X=new"][..]),
        (false, "X", "new", &["m 1 X=new"]),
        // Another spelling, or a value that would be a removal.
        (false, "x", "new", &["m 1 X=", "i 2 x=new"]),
        (true, "X", "", &["m 1 X=", "i 2 X="]),
    ] {
        let mut headers = headers("A: 1|X: old|B: 2");
        let old = id(&headers, "X");
        if before {
            headers.insert_before(old, name, value).unwrap();
        } else {
            headers.insert_after(old, name, value).unwrap();
        }
        headers.remove(old).unwrap();
        assert_eq!(header_edits(&headers, Target::Postfix), edits);
    }
}

#[test]
fn a_field_put_on_top_is_above_the_mtas_own_though_the_first_of_its_name_was_removed() {
    let mut headers = headers("X: old|A: 1");
    headers.remove_all("X").unwrap();
    headers.prepend("X", "new").unwrap();
    assert_eq!(header_edits(&headers, Target::Postfix), ["m 1 X=", "i 0 X=new"]);
}

#[test]
fn a_field_that_sendmail_generates_is_replaced_not_doubled() {
    let mut appended = headers("Subject: x");
    appended.append("Message-ID", "<1@a>").unwrap();
    appended.append("Message-ID", "<2@a>").unwrap();
    let mut prepended = headers("Subject: x");
    prepended.prepend("Message-ID", "<1@a>").unwrap();
    let mut empty = headers("Subject: x");
    empty.append("Date", "").unwrap();
    let mut there = headers("Date: then|Subject: x");
    there.append("Date", "now").unwrap();
    for target in [Target::Sendmail, Target::Portable] {
        assert_eq!(header_edits(&appended, target), ["h Message-ID=<1@a>", "i 1073741824 Message-ID=<2@a>"]);
        assert_eq!(header_edits(&prepended, target), ["m 1 Message-Id=", "i 0 Message-ID=<1@a>"]);
        assert_eq!(header_edits(&empty, target), ["m 1 Date=", "i 1073741824 Date="]);
        assert_eq!(header_edits(&there, target), ["i 1073741824 Date=now"]);
    }
    assert_eq!(header_edits(&prepended, Target::Postfix), ["i 0 Message-ID=<1@a>"]);
    // Without the action to remove it, the place is given up.
    let only_add = Mta::new(Target::Sendmail, Actions::ADD_HEADERS);
    let wanted = Wanted::new(&prepended);
    let edits = compile(&wanted, &only_add).unwrap();
    assert_eq!(edits.iter().map(short).collect::<Vec<_>>(), ["h Message-ID=<1@a>"]);
    assert_eq!(check(&edits, &wanted, &only_add), Ok(()));
}

#[test]
fn a_generated_field_does_not_stay_between_a_field_and_its_exact_place() {
    let mut headers = headers("Subject: x");
    headers.insert_before(id(&headers, "Subject").exactly(), "X", "").unwrap();
    headers.append("Date", "now").unwrap();
    assert_eq!(header_edits(&headers, Target::Postfix), ["i 0 X=", "h Date=now"]);
    for target in [Target::Sendmail, Target::Portable] {
        assert_eq!(header_edits(&headers, target), ["m 1 Date=", "i 0 X=", "i 1073741824 Date=now"]);
    }
}

#[test]
fn values_are_sent_with_the_space_that_was_agreed_on() {
    let mut headers = headers("Copied: v|Changed: v");
    headers.own_leading_space(true);
    headers.push(command::Header { name: "Tight".into(), value: "v".into(), implied_space: false });
    headers.push(command::Header { name: "Wide".into(), value: "  v".into(), implied_space: false });
    let value = |name| crate::message::HeaderValue::from(headers.first(name).unwrap());
    let (copied, wide, tight) = (value("Copied"), value("Wide"), value("Tight"));
    headers.append("X", copied).unwrap();
    headers.append("Y", wide).unwrap();
    headers.append("Z", " own").unwrap();
    headers.replace(id(&headers, "Changed"), "new").unwrap();
    let mut agreed = mta(Target::Portable);
    agreed.leading_space = true;
    let wanted = Wanted::new(&headers);
    let edits = compile(&wanted, &agreed).unwrap();
    assert_eq!(
        edits.iter().map(short).collect::<Vec<_>>(),
        ["m 1 Changed=new", "h X= v", "h Y=  v", "h Z= own"]
    );
    assert_eq!(check(&edits, &wanted, &agreed), Ok(()));

    headers.replace(id(&headers, "Changed"), " new").unwrap();
    let edits = compile(&Wanted::new(&headers), &mta(Target::Portable)).unwrap();
    assert_eq!(
        edits.iter().map(short).collect::<Vec<_>>(),
        ["m 1 Changed=new", "h X=v", "h Y= v", "h Z=own"]
    );
    headers.append("T", tight).unwrap();
    assert_eq!(
        error(&headers, &mta(Target::Portable)),
        "the value of header field \"T\" has no space before it, which takes negotiated leading space"
    );
}

#[test]
fn what_was_not_negotiated_or_fits_no_packet_is_an_error() {
    let mut headers = headers("A: 1");
    headers.replace(id(&headers, "A"), "2").unwrap();
    headers.append("X", "v".repeat(100)).unwrap();
    assert_eq!(
        error(&headers, &Mta::new(Target::Postfix, Actions::ADD_HEADERS)),
        "change-header needs the action change-headers, which was not negotiated"
    );
    assert_eq!(
        error(&headers, &Mta::new(Target::Postfix, Actions::CHANGE_HEADERS)),
        "add-header needs the action add-headers, which was not negotiated"
    );
    let small = Mta { payload: 102, ..mta(Target::Postfix) };
    assert_eq!(error(&headers, &small), "add-header of 103 bytes exceeds the packet size of 102");
}

#[test]
fn a_field_that_no_mta_would_take_again_stays_where_it_is() {
    for (name, value) in [("Bad\u{e9}", "v"), ("Bad", "one\ntwo"), ("Bad", "one\n")] {
        let mut headers = headers("A: 1");
        headers.push(command::Header { name: name.into(), value: value.into(), implied_space: true });
        headers.insert_after(id(&headers, "A").exactly(), "X", "").unwrap();
        assert_eq!(header_edits(&headers, Target::Postfix), ["i 2 X="]);
        let refused = compile(&Wanted::new(&headers), &mta(Target::Sendmail)).unwrap_err();
        assert_eq!(refused, CompileError::CannotMove { name: Text::from(name) });
        let text = refused.to_string();
        let expected =
            format!("the exact place of a new header field takes writing the field {:?} ", Text::from(name));
        assert!(text.starts_with(&expected), "{text}");
    }
}

#[test]
fn odd_values_that_came_from_the_wire_are_moved_as_they_are() {
    let mut headers = headers("A: 1|Empty: ");
    let odd = Bytes::from_static(b" \xff\r\n\t\x01\r \n ");
    headers.push(command::Header { name: "Odd".into(), value: odd, implied_space: true });
    headers.insert_after(id(&headers, "A").exactly(), "X", "").unwrap();
    assert_eq!(
        header_edits(&headers, Target::Portable)[2..],
        ["i 1073741824 X=", "i 1073741824 Empty=", "i 1073741824 Odd= \\xff\\r\\n\\t\\x01\\r \\n "]
    );
}

#[test]
fn envelope_comes_first_and_the_body_last() {
    let mut headers = headers("A: 1");
    headers.append("X", "x").unwrap();
    let recipients = ["<old@a>", "<kept@a>", "back@a"].map(Bytes::from);
    let wanted = Wanted {
        quarantine: Some("held".into()),
        sender: Some(Path::with_args("<new@a>", ["RET=HDRS", "ENVID=1"])),
        recipients: &recipients,
        removed: vec!["<old@a>".into(), "back@a".into(), "<old@a>".into()],
        added: vec![
            Path::new("<more@a>"),
            Path::new("kept@a"),
            Path::new("back@a"),
            Path::with_args("dsn@a", ["NOTIFY=NEVER"]),
            Path::new("more@a"),
        ],
        body: Some(vec!["a\r\n".into(), Bytes::new(), "b\r\n".into()]),
        ..Wanted::new(&headers)
    };
    for target in ALL {
        assert_eq!(
            edits(&wanted, target),
            [
                "q held",
                "e <new@a> Some(b\"RET=HDRS ENVID=1\")",
                "- <old@a>",
                "- back@a",
                "+ <more@a>",
                "+ <back@a>",
                "2 <dsn@a> Some(b\"NOTIFY=NEVER\")",
                "h X=x",
                "b 3",
                "b 3"
            ]
        );
    }
}

#[test]
fn the_null_sender_has_brackets() {
    let headers = headers("");
    let wanted = Wanted { sender: Some(Path::new("")), ..Wanted::new(&headers) };
    assert_eq!(edits(&wanted, Target::Portable), ["e <> None"]);
}

#[test]
fn a_recipient_is_added_by_whichever_action_there_is() {
    let headers = headers("");
    let wanted = Wanted { added: vec![Path::new("a@b")], ..Wanted::new(&headers) };
    for (actions, edit) in [
        (Actions::ADD_RECIPIENTS, Ok("+ <a@b>")),
        (Actions::ADD_RECIPIENTS | Actions::ADD_RECIPIENTS_WITH_ARGS, Ok("+ <a@b>")),
        (Actions::ADD_RECIPIENTS_WITH_ARGS, Ok("2 <a@b> Some(b\"\")")),
        (Actions::empty(), Err("add-recipient needs the action add-recipients, which was not negotiated")),
    ] {
        let edits = compile(&wanted, &Mta::new(Target::Portable, actions));
        let short = edits.map(|edits| short(&edits[0])).map_err(|error| error.to_string());
        assert_eq!(short.as_deref().map_err(String::as_str), edit);
    }
}

#[test]
fn envelope_text_that_breaks_the_packet_is_refused() {
    let headers = headers("");
    let path = |address: &str| Path::new(address);
    let none = || Wanted::new(&headers);
    for (wanted, expected) in [
        (Wanted { quarantine: Some("".into()), ..none() }, "quarantine: quarantine reason is empty"),
        (Wanted { sender: Some(path("a\nb")), ..none() }, "change-sender: address has a line feed at byte 2"),
        (Wanted { added: vec![path("")], ..none() }, "add-recipient: recipient address is the null address"),
        (
            Wanted { added: vec![Path::with_args("a@b", ["X\r"])], ..none() },
            "add-recipient-with-args: parameter text has a carriage return at byte 1",
        ),
        (Wanted { removed: vec!["".into()], ..none() }, "delete-recipient: address is empty"),
    ] {
        let error = compile(&wanted, &mta(Target::Portable)).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn a_body_is_cut_into_packets() {
    let headers = headers("");
    let with = |pieces: Vec<Bytes>| Wanted { body: Some(pieces), ..Wanted::new(&headers) };
    assert_eq!(edits(&with(vec![]), Target::Portable), ["b 0"]);
    assert_eq!(edits(&with(vec![Bytes::new(), Bytes::new()]), Target::Portable), ["b 0"]);
    let large = Bytes::from(b"0123456789abc\r\n".repeat(10_000));
    let cut = edits(&with(vec![large.clone(), "end".into()]), Target::Portable);
    assert_eq!(cut, ["b 65535", "b 65535", "b 18930", "b 3"]);
    // Without a copy.
    let made = compile(&with(vec![large.clone()]), &mta(Target::Portable)).unwrap();
    assert!(matches!(&made[1], Edit::ReplaceBody(piece) if piece.as_ptr() == large[65_535..].as_ptr()));
}

#[test]
fn the_check_finds_every_part_that_differs() {
    let mut headers = headers("A: 1|B: 2");
    headers.insert_after(id(&headers, "A"), "X", "x").unwrap();
    let recipients = [Bytes::from("<old@a>")];
    let wanted = Wanted {
        quarantine: Some("held".into()),
        sender: Some(Path::new("new@a")),
        recipients: &recipients,
        removed: vec!["old@a".into()],
        body: Some(vec!["new".into()]),
        ..Wanted::new(&headers)
    };
    let mta = mta(Target::Postfix);
    let edits = compile(&wanted, &mta).unwrap();
    assert_eq!(check(&edits, &wanted, &mta), Ok(()));
    for (lost, part) in ["quarantine", "sender", "list of recipients", "header", "body"].iter().enumerate() {
        let mut edits = edits.clone();
        edits.remove(lost);
        let mismatch = check(&edits, &wanted, &mta).unwrap_err();
        assert!(
            mismatch.to_string().starts_with(&format!("Postfix would make another {part} of the edits\n")),
            "{mismatch}"
        );
    }
    let mut misplaced = edits.clone();
    misplaced[3] = Edit::InsertHeader { index: 1, name: "X".into(), value: "x".into() };
    assert_eq!(
        check(&misplaced, &wanted, &mta).unwrap_err().to_string(),
        "Postfix would make another header of the edits\n--- wanted\nA: 1\nX: x\nB: 2\n\n\
         +++ made\nReceived:\\x00\nX: x\nA: 1\nB: 2\n"
    );
    let mut scattered = edits;
    scattered.push(Edit::AddHeader { name: "Y".into(), value: "y".into() });
    scattered.push(Edit::ReplaceBody("more".into()));
    let mismatch = check(&scattered, &wanted, &mta).unwrap_err();
    assert!(mismatch.to_string().contains("replacement body is interrupted"), "{mismatch}");
}

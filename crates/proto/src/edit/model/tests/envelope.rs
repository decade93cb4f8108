use super::*;

fn envelope(profile: Profile, recipients: &[&str], edits: &[TestEdit]) -> (Message, Vec<Applied>) {
    let message = Message {
        sender: Path::with_args("<s@example.com>", ["SIZE=1", "RET=FULL"]),
        recipients: recipients.iter().map(Path::new).collect(),
        ..Message::default()
    };
    let mut model = Model::new(profile, message);
    let applied = edits.iter().map(|edit| model.apply(edit).unwrap()).collect();
    (model.finish(), applied)
}

#[test]
fn recipients_match_with_and_without_brackets_but_case_counts() {
    for profile in BOTH {
        let (message, applied) = envelope(
            profile,
            &["<del@x>", "<Keep@x>", "<gone@x>"],
            &[not_to("del@x"), not_to("keep@x"), not_to("<gone@x>")],
        );
        assert_eq!(applied, [Applied::Done, Applied::Ignored(Ignored::NotFound), Applied::Done]);
        assert_eq!(addresses(&message), [b"Keep@x"]);
    }
}

#[test]
fn all_recipients_may_go() {
    for profile in BOTH {
        let (message, _) = envelope(profile, &["a@x"], &[not_to("a@x")]);
        assert!(message.recipients.is_empty());
    }
}

#[test]
fn duplicates_are_suppressed_and_the_null_recipient_ignored() {
    for profile in BOTH {
        let (message, applied) = envelope(profile, &["a@x"], &[to("<b@x>"), to("b@x"), to("<>"), to("")]);
        let duplicate = Applied::Ignored(Ignored::Duplicate);
        let empty = Applied::Ignored(Ignored::Empty);
        assert_eq!(applied, [Applied::Done, duplicate, empty, empty]);
        assert_eq!(addresses(&message), [b"a@x", b"b@x"]);
    }
}

#[test]
fn a_recipient_of_the_client_that_is_added_comes_twice_in_postfix() {
    let (message, _) = envelope(Postfix, &["a@x"], &[to("a@x"), to("<A@x>")]);
    assert_eq!(addresses(&message), [b"a@x", b"a@x"]);
    // It has its own address for ORCPT.
    let (message, _) = envelope(Postfix, &["a@x"], &[to_with("a@x", "ORCPT=rfc822;a@x")]);
    assert_eq!(addresses(&message), [b"a@x"]);
    let (message, _) = envelope(Sendmail, &["a@x"], &[to("a@x")]);
    assert_eq!(addresses(&message), [b"a@x"]);
}

#[test]
fn a_deleted_recipient_can_come_back() {
    for profile in BOTH {
        let (message, _) = envelope(profile, &["a@x"], &[not_to("a@x"), to("a@x")]);
        assert_eq!(addresses(&message), [b"a@x"]);
    }
}

#[test]
fn recipient_arguments() {
    let good = "NOTIFY=SUCCESS,delay ORCPT=rfc822;a@x";
    for profile in BOTH {
        let (message, _) = envelope(profile, &[], &[to_with("<a@x>", good), to_with("b@x", "")]);
        assert_eq!(message.recipients[0].args, ["NOTIFY=SUCCESS,delay", "ORCPT=rfc822;a@x"]);
        assert!(message.recipients[1].args.is_empty());
    }
    let bad = [to_with("<a@x>", "NOTIFY=NEVER FOO=1 ORCPT=nothing"), to_with("<b@x>", "NOTIFY=NEVER,DELAY")];
    let (message, _) = envelope(Postfix, &[], &bad);
    assert_eq!(message.recipients, [Path::with_args("a@x", ["NOTIFY=NEVER"]), Path::new("b@x")]);
    let (message, applied) = envelope(Sendmail, &[], &bad);
    assert_eq!(applied, [Applied::Ignored(Ignored::BadArguments); 2]);
    assert!(message.recipients.is_empty());
}

#[test]
fn sendmail_takes_a_list_of_recipients() {
    let list = [to("a@x, <b@x>,\"c,d\"@x,,a@x")];
    let (message, _) = envelope(Sendmail, &[], &list);
    let expected: [&[u8]; 3] = [b"a@x", b"b@x", b"\"c,d\"@x"];
    assert_eq!(addresses(&message), expected);
    let (message, _) = envelope(Sendmail, &[], &[to("a@x b@x")]);
    assert_eq!(addresses(&message), [b"a@x", b"b@x"]);
}

#[test]
fn the_last_sender_wins() {
    for profile in BOTH {
        let (message, _) = envelope(profile, &[], &[from("<a@x>", None), from("b@x", None)]);
        assert_eq!(message.sender, Path::with_args("b@x", ["SIZE=1", "RET=FULL"]));
        let (message, _) = envelope(profile, &[], &[from("<>", Some("RET=HDRS"))]);
        assert_eq!(message.sender.address, "");
        assert_eq!(message.sender.arg("ret"), Some(&b"HDRS"[..]));
    }
    let (message, _) = envelope(Postfix, &[], &[from("a@x", Some("BODY=7BIT ENVID=1"))]);
    assert_eq!(message.sender.args, ["SIZE=1", "RET=FULL", "ENVID=1"]);
}

#[test]
fn quarantine_keeps_the_last_reason() {
    let long: &'static [u8] = &[b'r'; 150];
    for (profile, len) in [(Postfix, 100), (Sendmail, 150)] {
        let mut model = model(profile, "");
        model.apply(&Edit::Quarantine { reason: &b"first"[..] }).unwrap();
        model.apply(&Edit::Quarantine { reason: long }).unwrap();
        assert_eq!(model.finish().quarantine.unwrap().len(), len);
    }
}

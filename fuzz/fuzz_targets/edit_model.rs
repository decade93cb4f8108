//! Any message and any edits: no edit, no change; what our own side lets pass leaves a header that is read as it was
//! meant; and each edit touches its own part of the message only.
//!
//! Input: flags, the message behind its length, then steps, each a number and what belongs to it.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tamis_fuzz::Input;
use tamis_proto::Edit;
use tamis_proto::edit::model::{Applied, Message, Model, Path, Profile};
use tamis_proto::edit::validate::{header_name, header_value};

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let (flags, length) = (input.u8(), input.u16());
    let raw = input.take(length.into());
    let mut message = Message::parse(raw);
    assert_eq!(Message::from_bytes(&Bytes::copy_from_slice(raw)), message);
    assert_eq!(Message::parse(&message.to_bytes()), message, "read as it was written");
    message.sender = Path::new("sender@example.com");
    message.recipients = vec![Path::new("<a@example.com>"), Path::with_args("b", ["NOTIFY=NEVER"])];
    let profile = if flags & 1 == 0 { Profile::Postfix } else { Profile::Sendmail };
    let own = usize::from(flags >> 4 & 3);
    let mut model = Model::new(profile, message.clone()).own_fields(own).leading_space(flags & 2 != 0);
    assert_eq!(model.shown().count(), message.headers.len().saturating_sub(own));
    assert_eq!(model.clone().finish(), message, "no edits, no change");
    if flags & 4 != 0 {
        // Sendmail's own fields may get another order by this.
        model = model.blank_defaults(["Date", "From", "X"]);
        assert_eq!(
            model.clone().finish().headers.len(),
            message.headers.len(),
            "templates are no fields yet"
        );
    }
    let mut verbatim = flags & 2 != 0;
    let mut harmless = true;
    while !input.is_empty() {
        match input.u8() % 8 {
            0 => model.progress(),
            1 => {
                let before = model.clone().finish();
                verbatim = input.u8() & 1 != 0;
                model.next_filter(verbatim);
                assert_eq!(model.clone().finish(), before, "another filter's turn changes nothing");
            }
            _ => {
                let edit = input.edit();
                let before = model.clone();
                let as_it_is = is_harmless(&edit);
                harmless &= as_it_is;
                match model.apply(&edit) {
                    Ok(applied) => {
                        touches_its_part(&edit, before, &model, applied);
                        assert!(
                            !as_it_is || is_there(&edit, &model, verbatim),
                            "the field is not as it was given"
                        );
                    }
                    Err(refused) => {
                        assert_eq!(profile, Profile::Postfix, "{refused}");
                        return;
                    }
                }
            }
        }
        check(&model, harmless);
    }
});

/// Whether its header text is what an author may make, or an MTA takes.
fn is_harmless(edit: &Edit<Bytes>) -> bool {
    match edit {
        Edit::AddHeader { name, value }
        | Edit::InsertHeader { name, value, .. }
        | Edit::ChangeHeader { name, value, .. } => {
            header_name(name).is_ok() && header_value(value).is_ok_and(|wire| wire == &value[..])
        }
        _ => true,
    }
}

fn check(model: &Model, harmless: bool) {
    let message = model.clone().finish();
    let shown: Vec<_> = model.shown().collect();
    let mut rest = message.headers.iter();
    assert!(shown.iter().all(|field| rest.any(|other| other == *field)), "shown fields are fields, in order");
    for field in &message.headers {
        // Whatever the edits were: no line of a value is taken for a field, or for the end of the header.
        let mut folded = field.value.split(|byte| *byte == b'\n').skip(1);
        assert!(folded.all(|line| matches!(line, [b' ' | b'\t', ..])), "{field:?}");
    }
    let body = message.body.to_vec();
    assert!(
        !body.windows(2).any(|pair| pair[1] == b'\n' && pair[0] != b'\r') && body.first() != Some(&b'\n')
    );
    if harmless {
        let read = Message::parse(&message.to_bytes());
        assert_eq!((read.headers, read.body), (message.headers, message.body), "read as it was meant");
    }
}

/// Whether the field of an edit that makes one would be shown to a filter as it was given.
fn is_there(edit: &Edit<Bytes>, model: &Model, verbatim: bool) -> bool {
    match edit {
        // Nothing to see of a change that deletes, nor of a Sendmail template that gets an empty value.
        Edit::AddHeader { value, .. } | Edit::ChangeHeader { value, .. } if value.is_empty() => true,
        Edit::AddHeader { name, value }
        | Edit::InsertHeader { name, value, .. }
        | Edit::ChangeHeader { name, value, .. } => model
            .shown()
            .any(|field| field.name.eq_ignore_ascii_case(name) && field.wire_value(verbatim) == value),
        _ => true,
    }
}

fn touches_its_part(edit: &Edit<Bytes>, before: Model, after: &Model, applied: Applied) {
    let (old, new) = (before.clone().finish(), after.clone().finish());
    if matches!(applied, Applied::Ignored(_)) {
        assert_eq!(old, new, "ignored, and yet something changed");
    }
    let header =
        matches!(edit, Edit::AddHeader { .. } | Edit::InsertHeader { .. } | Edit::ChangeHeader { .. });
    let sender = matches!(edit, Edit::ChangeSender { .. });
    let recipients = matches!(
        edit,
        Edit::AddRecipient { .. } | Edit::AddRecipientWithArgs { .. } | Edit::DeleteRecipient { .. }
    );
    assert!(header || old.headers == new.headers);
    assert!(sender || old.sender == new.sender);
    assert!(recipients || old.recipients == new.recipients);
    assert!(matches!(edit, Edit::ReplaceBody(_)) || old.body == new.body);
    assert!(matches!(edit, Edit::Quarantine { .. }) || old.quarantine == new.quarantine);
    match edit {
        Edit::InsertHeader { .. } if applied == Applied::Done => {
            assert_eq!(new.headers.len(), old.headers.len() + 1);
        }
        Edit::ChangeHeader { value, .. } if value.is_empty() => {
            assert!((new.headers.len()..=new.headers.len() + 1).contains(&old.headers.len()));
        }
        Edit::AddHeader { .. } | Edit::InsertHeader { .. } | Edit::ChangeHeader { .. } => {
            assert!((old.headers.len()..=old.headers.len() + 1).contains(&new.headers.len()));
        }
        Edit::DeleteRecipient { .. } => assert!(new.recipients.len() <= old.recipients.len()),
        Edit::ReplaceBody(piece) => {
            // Where a body is cut does not matter.
            let mut cut = before;
            for part in [&piece[..piece.len() / 2], &piece[piece.len() / 2..]] {
                cut.apply(&Edit::ReplaceBody(part)).expect("pieces in a row");
            }
            assert_eq!(cut.finish(), new);
        }
        _ => {}
    }
}

use proptest::prelude::*;

use super::*;

fn field() -> impl Strategy<Value = Field> {
    ("[!-9;-~]{1,4}", "[ -~\\xA0-\\xFF]{0,9}(\n[ \t][!-~]{0,9}){0,2}")
        .prop_map(|(name, value)| Field::new(name, value))
}

fn any_message() -> impl Strategy<Value = Message> {
    (prop::collection::vec(field(), 0..6), "([ -~\r]{0,9}\r\n){0,4}[ -~]{0,5}").prop_map(|(headers, body)| {
        Message { headers, body: Body::from(body.into_bytes()), ..Message::default() }
    })
}

fn any_edit() -> impl Strategy<Value = Edit<Vec<u8>>> {
    let name = || prop_oneof!["[ab]", "[ -~]{0,3}"].prop_map(String::into_bytes);
    let value = || prop_oneof![Just(Vec::new()), prop::collection::vec(any::<u8>(), 0..6)];
    let index = || prop_oneof![0_u32..5, any::<u32>()];
    let address = || "[<]{0,1}[abAB\",\\\\ ]{0,3}[>]{0,1}".prop_map(String::into_bytes);
    let args =
        || prop::option::of("(NOTIFY=NEVER|RET=HDRS|[ A-C=]{0,4})").prop_map(|a| a.map(String::into_bytes));
    prop_oneof![
        (name(), value()).prop_map(|(name, value)| Edit::AddHeader { name, value }),
        (index(), name(), value()).prop_map(|(index, name, value)| Edit::InsertHeader { index, name, value }),
        (index(), name(), value()).prop_map(|(index, name, value)| Edit::ChangeHeader { index, name, value }),
        (address(), args()).prop_map(|(address, args)| Edit::ChangeSender { address, args }),
        (address(), args()).prop_map(|(address, args)| Edit::AddRecipientWithArgs { address, args }),
        address().prop_map(|address| Edit::AddRecipient { address }),
        address().prop_map(|address| Edit::DeleteRecipient { address }),
        value().prop_map(Edit::ReplaceBody),
        value().prop_map(|reason| Edit::Quarantine { reason }),
    ]
}

fn any_profile() -> impl Strategy<Value = Profile> {
    prop_oneof![Just(Postfix), Just(Sendmail)]
}

proptest! {
    #[test]
    fn no_edits_no_change(profile in any_profile(), message in any_message(), own in 0_usize..3) {
        let mut model = Model::new(profile, message.clone()).own_fields(own);
        prop_assert_eq!(model.shown().count(), message.headers.len().saturating_sub(own));
        model.progress();
        model.next_filter(true);
        prop_assert_eq!(model.finish(), message);
    }

    #[test]
    fn what_is_written_is_read_again(message in any_message()) {
        prop_assert_eq!(Message::parse(&message.to_bytes()), message);
    }

    #[test]
    fn anything_can_be_parsed_once(raw in prop::collection::vec(
        prop_oneof![Just(b'\r'), Just(b'\n'), Just(b':'), Just(b' '), Just(b'a'), any::<u8>()], 0..60,
    )) {
        let message = Message::parse(&raw);
        prop_assert_eq!(Message::parse(&message.to_bytes()).headers.len(), message.headers.len());
    }

    #[test]
    fn any_edits_give_a_message(
        profile in any_profile(),
        message in any_message(),
        own in 0_usize..3,
        edits in prop::collection::vec(any_edit(), 0..12),
    ) {
        let mut model = Model::new(profile, message).own_fields(own).blank_defaults(["a"]);
        for edit in &edits {
            if model.apply(edit).is_err() {
                prop_assert_eq!(profile, Postfix);
            }
        }
        model.next_filter(false);
        let shown = model.shown().count();
        let message = model.finish();
        prop_assert!(shown <= message.headers.len());
        // No value can get out of its field.
        let unfolded = |field: &Field| {
            let mut after = field.value.split(|byte| *byte == b'\n').skip(1);
            after.any(|line| !matches!(line.first(), Some(b' ' | b'\t')))
        };
        prop_assert!(!message.headers.iter().any(unfolded));
        prop_assert!(!message.body.to_vec().windows(2).any(|w| w[1] == b'\n' && w[0] != b'\r'));
    }

    #[test]
    fn cuts_of_a_body_do_not_matter(
        profile in any_profile(),
        text in prop::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'a')], 0..20),
        cut in 0_usize..20,
    ) {
        let (head, tail) = text.split_at(cut.min(text.len()));
        let mut whole = Model::new(profile, Message::default());
        whole.apply(&Edit::ReplaceBody(&text)).unwrap();
        let mut pieces = Model::new(profile, Message::default());
        pieces.apply(&Edit::ReplaceBody(head)).unwrap();
        pieces.apply(&Edit::ReplaceBody(tail)).unwrap();
        prop_assert_eq!(whole.finish(), pieces.finish());
    }
}

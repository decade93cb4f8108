//! Tests of [`Params`].

use proptest::prelude::*;

use super::*;

fn params(args: &[&str]) -> Params {
    args.iter().collect()
}

#[test]
fn order_duplicates_and_equal_signs_are_kept() {
    let params = params(&["SIZE=1", "X=a=b", "size=2", "SMTPUTF8", "Y=", "=z"]);
    let list: Vec<_> = params.iter().collect();
    assert_eq!(
        list,
        [
            (&b"SIZE"[..], Some(&b"1"[..])),
            (b"X", Some(b"a=b")),
            (b"size", Some(b"2")),
            (b"SMTPUTF8", None),
            (b"Y", Some(b"")),
            (b"", Some(b"z")),
        ]
    );
    assert_eq!((params.len(), params.is_empty()), (6, false));
    assert_eq!(params.get_all("Size").collect::<Vec<_>>(), [&b"1"[..], b"2"]);
    assert_eq!(
        (params.get("x"), params.get("smtputf8"), params.get("z")),
        (Some(&b"a=b"[..]), Some(&b""[..]), None)
    );
    assert_eq!(params.to_text(), "SIZE=1 X=a=b size=2 SMTPUTF8 Y= =z");
}

#[test]
fn the_map_has_the_values_of_a_name_in_order() {
    let params = params(&["NOTIFY=NEVER", "SMTPUTF8", "notify=DELAY", "Notify", "X=a=b"]);
    let map = params.to_map();
    assert_eq!(map.keys().collect::<Vec<_>>(), ["NOTIFY", "SMTPUTF8", "X"]);
    assert_eq!(map["NOTIFY"], [Some(&b"NEVER"[..]), Some(b"DELAY"), None]);
    assert_eq!((&map["SMTPUTF8"][..], &map["X"][..]), (&[None][..], &[Some(&b"a=b"[..])][..]));
}

#[test]
fn no_parameters_are_nothing() {
    let params = Params::default();
    assert!(params.is_empty() && params.to_map().is_empty() && params.to_text().is_empty());
    assert_eq!((params.len(), params.get("SIZE"), params.iter().next()), (0, None, None));
    assert_eq!((params.size(), params.body(), params.smtputf8(), params.auth()), (None, None, false, None));
}

#[test]
fn parameters_of_an_envelope_are_compared_without_its_address() {
    let of = |address, args: &[&str]| Params::from(Envelope::with_args(address, args).map(Bytes::from));
    assert_eq!(of(b"<a@b>", &["A=1", "B"]), params(&["A=1", "B"]));
    assert_ne!(of(b"<a@b>", &["A=1", "B"]), params(&["B", "A=1"]));
}

#[test]
fn sizes_are_digits_only() {
    assert_eq!(params(&["size=18446744073709551615"]).size(), Some(u64::MAX));
    for bad in ["SIZE=18446744073709551616", "SIZE=+1", "SIZE=-1", "SIZE= 1", "SIZE=", "SIZE", "SIZE=1k"] {
        let params = params(&[bad]);
        assert_eq!(params.size(), None, "{bad}");
        assert!(params.contains("SIZE"));
    }
}

#[test]
fn words_are_read_in_any_case() {
    let all = params(&["body=binarymime", "RET=hdrs"]);
    assert_eq!((all.body(), all.ret()), (Some(BodyType::BinaryMime), Some(Return::Headers)));
    let others = params(&["BODY=7bit", "RET=FULL"]);
    assert_eq!((others.body(), others.ret()), (Some(BodyType::SevenBit), Some(Return::Full)));
    let unknown = params(&["BODY=9BIT", "RET", "BODY=7BIT"]);
    assert_eq!((unknown.body(), unknown.ret()), (None, None));
    assert_eq!(unknown.get("BODY"), Some(&b"9BIT"[..]));
}

#[test]
fn notifications_are_never_or_a_list() {
    let notify = |value: &str| params(&[&format!("NOTIFY={value}")]).notify();
    assert!(notify("never").unwrap().is_never());
    assert_eq!(notify("SUCCESS,delay"), Some(Notify { success: true, failure: false, delay: true }));
    assert_eq!(notify("FAILURE"), Some(Notify { failure: true, ..Notify::default() }));
    for bad in ["", "NEVER,DELAY", "SUCCESS,", "ALWAYS"] {
        assert_eq!(notify(bad), None, "{bad}");
    }
}

#[test]
fn encoded_values_are_decoded_and_stay_reachable_where_they_cannot_be() {
    let good = params(&["ENVID=a+2Bb", "AUTH=<>", "ORCPT=rfc822;joe+2Bx@example.com"]);
    assert_eq!(good.envid().unwrap(), "a+b");
    assert!(good.auth().unwrap().is_null());
    let orcpt = good.orcpt().unwrap();
    assert_eq!((orcpt.kind, orcpt.address), ("rfc822".into(), "joe+x@example.com".into()));
    let orcpt = params(&[r"ORCPT=UTF-8;j\x{F6}rg@example.com"]).orcpt().unwrap();
    assert_eq!(orcpt.address, "jörg@example.com");

    let bad = params(&["ENVID=+", "AUTH", "ORCPT=joe@example.com"]);
    assert_eq!((bad.envid(), bad.auth(), bad.orcpt()), (None, None, None));
    assert_eq!((bad.get("ENVID"), bad.get("AUTH")), (Some(&b"+"[..]), Some(&b""[..])));
}

#[test]
fn bytes_that_are_no_text_can_be_shown() {
    let params: Params = [&b"X=\xe9"[..], b"Y"].into_iter().collect();
    assert_eq!(params.to_string(), "X=\u{fffd} Y");
    assert_eq!(params.to_text(), b"X=\xe9 Y");
    assert_eq!(format!("{params:?}"), r#"["X=\xe9", "Y"]"#);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn list_and_map_hold_what_came_in(args in proptest::collection::vec("[a-cA-C=]{0,4}", 0..8)) {
        let params: Params = args.iter().collect();
        let list: Vec<_> = params.iter().map(|(name, value)| match value {
            Some(value) => [name, b"=", value].concat(),
            None => name.to_vec(),
        }).collect();
        prop_assert_eq!(list, args.iter().map(|arg| arg.as_bytes().to_vec()).collect::<Vec<_>>());
        let map = params.to_map();
        prop_assert_eq!(map.values().map(Vec::len).sum::<usize>(), args.len());
        for (name, values) in map {
            prop_assert_eq!(params.get_all(&name).count(), values.len());
        }
    }

    #[test]
    fn no_value_makes_a_reader_panic(value in proptest::collection::vec(any::<u8>(), 0..12), name in 0_usize..8) {
        let name = ["SIZE", "BODY", "RET", "ENVID", "AUTH", "NOTIFY", "ORCPT", "ORCPT=utf-8;"][name];
        let params: Params = [[name.as_bytes(), b"=", &value].concat()].into_iter().collect();
        let _ = (params.size(), params.body(), params.ret(), params.envid());
        let _ = (params.auth(), params.notify(), params.orcpt(), params.smtputf8());
        prop_assert!(params.len() == 1);
    }
}

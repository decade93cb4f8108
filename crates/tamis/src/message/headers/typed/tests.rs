use proptest::prelude::*;
use tamis_proto::{Actions, command};

use super::*;

fn headers(fields: &[(&'static str, &'static [u8])]) -> Headers {
    let mut headers = Headers::new();
    headers.allow(Actions::CURRENT);
    for (name, value) in fields {
        let (name, value) = ((*name).into(), (*value).into());
        headers.push(command::Header { name, value, implied_space: true });
    }
    headers
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

#[test]
fn subjects_are_decoded() {
    for (value, text) in [
        (&b"hello"[..], "hello"),
        (b"", ""),
        (b" two  spaces", "two  spaces"),
        (b"one\n\ttwo", "one two"),
        (b"=?utf-8?q?caf=C3=A9?=", "café"),
        (b"=?ISO-8859-1?Q?a?= =?utf-8?b?w6k=?=\n =?utf-8?b?w6k=?= b", "aéé b"),
        (b"=?iso-2022-jp?b?GyRCRnxLXDhsGyhC?=", "日本語"),
        (b"caf\xc3\xa9 \xff", "café \u{fffd}"),
        (b"=?utf-8?x?no?= =?broken", "=?utf-8?x?no?= =?broken"),
    ] {
        assert_eq!(headers(&[("Subject", value)]).subject().as_deref(), Some(text), "{value:?}");
    }
    assert_eq!(headers(&[]).subject(), None);
}

#[test]
fn subjects_are_encoded_and_folded_where_it_takes_that() {
    let mut headers = headers(&[("subject", b"old")]);
    headers.set_subject("plain").unwrap();
    assert_eq!(headers.to_string(), "subject: plain\n");
    headers.set_subject("[Liste] Grüße").unwrap();
    assert!(headers.first("Subject").unwrap().value().as_bytes().is_ascii());
    assert_eq!(headers.subject().as_deref(), Some("[Liste] Grüße"));
    headers.set_subject(&"word ".repeat(50)).unwrap();
    let value = headers.first("Subject").unwrap().value().clone();
    assert!(value.to_str().unwrap().split('\n').all(|line| line.len() < 80), "{value}");
    assert!(!value.as_bytes().contains(&b'\r'));
}

#[test]
fn text_cannot_end_a_field_early() {
    for evil in ["a\r\nBcc: x@example.com", "a\nBcc: x", "a\r\n\r\nbody", "a\0b", "\r", "\n", "é\r\nX: y"] {
        let mut headers = headers(&[]);
        // Encoded or refused.
        if headers.set_subject(evil).is_ok() {
            let value = headers.first("Subject").unwrap().value().clone();
            assert!(validate::header_value(value.as_bytes()).is_ok(), "{value:?}");
        }
        if headers.set_addresses("To", [Mailbox::named(evil, "a@example.com")]).is_ok() {
            let value = headers.first("To").unwrap().value().clone();
            assert!(validate::header_value(value.as_bytes()).is_ok(), "{value:?}");
            assert_eq!(headers.addresses("To").len(), 1, "{value:?}");
        }
        assert!(headers.set_addresses("To", [Mailbox::new(evil)]).is_err(), "{evil:?}");
    }
}

#[test]
fn dates_are_read_and_written() {
    for (value, date) in [
        (&b"Fri, 20 Nov 2026 09:00:00 +0100"[..], Some(at(1_795_161_600))),
        (b"20 Nov 2026 08:00:00 GMT (a comment)", Some(at(1_795_161_600))),
        (b"Wed, 31 Dec 1969 23:59:59 +0000", Some(SystemTime::UNIX_EPOCH - Duration::from_secs(1))),
        (b"Fri, 99 Nov 2026 09:00:00 +0100", None),
        (b"yesterday", None),
        (b"", None),
    ] {
        assert_eq!(headers(&[("Date", value)]).date(), date, "{value:?}");
    }
    let mut headers = headers(&[("From", b"a")]);
    assert_eq!(headers.date(), None);
    headers.set_date(at(1_795_161_600)).unwrap();
    assert_eq!(headers.to_string(), "From: a\nDate: Fri, 20 Nov 2026 08:00:00 +0000\n");
    for date in [SystemTime::UNIX_EPOCH - Duration::from_hours(24), at(4_000_000_000)] {
        headers.set_date(date).unwrap();
        assert_eq!(headers.date(), Some(date));
    }
}

#[test]
fn addresses_of_all_fields_of_a_name_are_read() {
    let headers = headers(&[
        ("To", b"Alice <a@example.com>, \"Bob, B.\" <b@example.com>,\n c@example.com (Carol)"),
        ("Cc", b"cc@example.com"),
        ("to", b"=?utf-8?q?J=C3=BCrgen?= <j@example.com>, root"),
        ("To", b"Team: x@example.com, Y <y@example.com>; , z@example.com"),
        ("To", b"undisclosed-recipients:;"),
        ("To", b"<>, nobody at all, "),
    ]);
    assert_eq!(
        headers.addresses("To"),
        [
            Mailbox::named("Alice", "a@example.com"),
            Mailbox::named("Bob, B.", "b@example.com"),
            Mailbox::named("Carol", "c@example.com"),
            Mailbox::named("Jürgen", "j@example.com"),
            Mailbox::new("root"),
            Mailbox::new("x@example.com"),
            Mailbox::named("Y", "y@example.com"),
            Mailbox::new("z@example.com"),
        ]
    );
    assert_eq!(headers.addresses("Bcc"), []);
}

#[test]
fn addresses_are_written_as_one_field() {
    let mut headers = headers(&[("To", b"old@a"), ("Cc", b"c@a"), ("To", b"older@a"), ("X", b"x")]);
    let list = [
        Mailbox::named("Jürgen", "j@example.com"),
        Mailbox::named("B, \"b\"", "b@example.com"),
        Mailbox::new("c@x"),
    ];
    headers.set_addresses("To", list.clone()).unwrap();
    assert_eq!(headers.iter().map(|header| header.name().to_string()).collect::<Vec<_>>(), ["To", "Cc", "X"]);
    assert_eq!(headers.addresses("To"), list);
    assert!(headers.first("To").unwrap().value().as_bytes().is_ascii());
    headers.set_addresses("Bcc", list[2..].to_vec()).unwrap();
    assert_eq!(headers.last("bcc").unwrap().to_string(), "Bcc: <c@x>");
    headers.set_addresses("Cc", []).unwrap();
    assert!(!headers.contains("Cc"));
}

#[test]
fn addresses_that_are_none_are_refused() {
    let mut headers = headers(&[("To", b"old@a")]);
    for bad in ["", "<a@b>", "a@b>, <c@d", "a@b, c@d", "a b@c", "a@b\r\nX: y"] {
        let refused = headers.set_addresses("To", [Mailbox::new("good@a"), Mailbox::new(bad)]);
        assert!(matches!(refused, Err(HeaderError::Invalid(_))), "{bad:?}");
    }
    assert!(!headers.is_changed());
}

#[test]
fn meaning_is_written_with_a_space_whoever_deals_with_it() {
    let mut headers = headers(&[]);
    headers.own_leading_space(true);
    headers.set_subject("hello").unwrap();
    headers.set_addresses("To", [Mailbox::new("a@b")]).unwrap();
    assert_eq!(headers.to_string(), "Subject: hello\nTo: <a@b>\n");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_subject_is_read_as_it_was_written(text in "[^\\s\\p{C}]{1,30}( [^\\s\\p{C}]{1,30}){0,8}") {
        let mut headers = headers(&[]);
        headers.set_subject(&text).unwrap();
        prop_assert_eq!(headers.subject(), Some(text));
    }

    #[test]
    fn names_of_addresses_are_read_as_they_were_written(
        names in prop::collection::vec("[^\\s\\p{C}]{1,30}( [^\\s\\p{C}]{1,30}){0,3}", 1..4),
    ) {
        let mut headers = headers(&[]);
        let list: Vec<Mailbox> =
            names.iter().enumerate().map(|(at, name)| Mailbox::named(name, format!("a{at}@example.com"))).collect();
        headers.set_addresses("To", list.clone()).unwrap();
        prop_assert_eq!(headers.addresses("To"), list);
    }

    #[test]
    fn anything_can_be_read(value in prop::collection::vec(any::<u8>(), 0..80), odd in "[=?utf8qb<>\"(),:;@ \n\\\\]{0,80}") {
        for value in [value, odd.into_bytes()] {
            let mut headers = Headers::new();
            headers.push(command::Header { name: "X".into(), value: value.into(), implied_space: true });
            let header = headers.first("X").unwrap();
            let _ = (header.text(), header.date(), header.addresses());
        }
    }

    #[test]
    fn no_text_breaks_a_header(text in "\\PC{0,5}[\r\n\0\t =?\"\\\\]{0,4}\\PC{0,80}") {
        let mut headers = headers(&[]);
        let subject = headers.set_subject(&text).is_ok();
        let to = headers.set_addresses("To", [Mailbox::named(&text, "a@example.com")]).is_ok();
        prop_assert_eq!(headers.len(), usize::from(subject) + usize::from(to));
        for header in &headers {
            prop_assert!(validate::header_value(header.value().as_bytes()).is_ok());
        }
        if to {
            let addresses = headers.addresses("To");
            prop_assert_eq!(addresses.len(), 1);
            prop_assert_eq!(&addresses[0].address, "a@example.com");
        }
    }
}

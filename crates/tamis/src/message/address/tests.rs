//! Tests of [`Address`]: what the parts of real and hostile paths are.

use proptest::prelude::*;

use super::*;

/// The parts as text: local part, domain.
fn parts(raw: &'static str) -> (String, Option<String>) {
    let address = Address::parse(raw);
    (address.local_part().to_string(), address.domain().map(str::to_owned))
}

fn expect(raw: &'static str, local: &str, domain: impl Into<Option<&'static str>>) {
    assert_eq!(parts(raw), (local.to_owned(), domain.into().map(str::to_owned)), "{raw}");
}

#[test]
fn brackets_are_optional_and_so_is_white_space_around_them() {
    for raw in ["<Joe@Example.COM>", "Joe@Example.COM", " <Joe@Example.COM> ", "< Joe@Example.COM >"] {
        expect(raw, "Joe", "example.com");
        assert_eq!(Address::parse(raw).mailbox(), b"Joe@Example.COM");
        assert_eq!(Address::parse(raw).as_bytes(), raw.as_bytes());
    }
    expect("<joe@example.com", "joe", "example.com");
    expect("joe@example.com>", "joe", "example.com>");
}

#[test]
fn the_null_sender_has_no_parts() {
    for raw in ["<>", "", "< >", " <>"] {
        let address = Address::parse(raw);
        assert!(address.is_null(), "{raw}");
        assert_eq!(
            (address.local_part().as_bytes(), address.domain(), address.mailbox()),
            (&b""[..], None, &b""[..])
        );
    }
    for raw in ["<@>", "<\"\">", "<postmaster>", "<"] {
        assert_eq!(Address::parse(raw).is_null(), raw == "<", "{raw}");
    }
}

#[test]
fn addresses_without_a_domain_are_all_local_part() {
    expect("<postmaster>", "postmaster", None);
    expect("<Postmaster@>", "Postmaster", None);
    assert_eq!(Address::parse("<joe@>").domain_bytes(), None);
    assert_eq!(Address::parse("<joe@>").mailbox(), b"joe@");
    expect("<joe@.>", "joe", None);
}

#[test]
fn quotes_and_backslashes_are_taken_off_the_local_part() {
    expect(r#"<"a b\"c"@dom.example>"#, r#"a b"c"#, "dom.example");
    expect(r#"<"joe"@dom.example>"#, "joe", "dom.example");
    expect(r"<joe\ doe@dom.example>", "joe doe", "dom.example");
    expect(r#"<a."b@c".d@dom.example>"#, "a.b@c.d", "dom.example");
    expect(r#"<"a>b\\"@dom.example>"#, r"a>b\", "dom.example");
    expect(r#"<""@dom.example>"#, "", "dom.example");
    assert_eq!(Address::parse(r#"<"a b"@dom.example>"#).raw_local_part(), br#""a b""#);
}

#[test]
fn an_at_sign_that_is_quoted_separates_nothing() {
    expect(r#"<"joe@dom.example">"#, "joe@dom.example", None);
    expect(r"<joe\@dom.example>", "joe@dom.example", None);
    expect(r"<joe\@a.example@b.example>", "joe@a.example", "b.example");
    expect("<a@b@c.example>", "a@b", "c.example");
}

#[test]
fn a_quote_that_is_left_open_means_nothing() {
    expect("<\"joe@dom.example>", "\"joe", "dom.example");
    expect("<joe@dom\".example>", "joe", "dom\".example");
    expect("<\"\"\"@dom.example>", "\"\"\"", "dom.example");
    expect("<joe\\", "joe\\", None);
    expect(r"<joe\@dom.example\>", r"joe@dom.example\", None);
}

#[test]
fn source_routes_are_told_apart_and_otherwise_ignored() {
    let address = Address::parse("<@a.example,@b.example:joe@C.example>");
    assert_eq!(address.source_route(), Some(&b"@a.example,@b.example"[..]));
    assert_eq!((address.local_part().to_str(), address.domain()), (Ok("joe"), Some("c.example")));
    assert_eq!(address.mailbox(), b"joe@C.example");
    let address = Address::parse("<@[IPv6:::1]:joe@[IPv6:::2]>");
    assert_eq!(address.source_route(), Some(&b"@[IPv6:::1]"[..]));
    assert_eq!(address.domain(), Some("[ipv6:::2]"));
    expect("<@a.example:>", "", None);
    assert!(!Address::parse("<@a.example:>").is_null());
    expect("<@a.example:\"x:y\"@b.example>", "x:y", "b.example");
    for raw in
        ["<joe:x@b.example>", "<@a.example>", "<@\"a:b\"@c.example>", "<@[a:b@c.example>", "<joe@[IPv6:::1]>"]
    {
        assert_eq!(Address::parse(raw).source_route(), None, "{raw}");
    }
}

#[test]
fn address_literals_keep_their_brackets_and_are_understood() {
    let literal = |raw| {
        let address = Address::parse(raw);
        (address.is_literal(), address.literal().map(|ip| ip.to_string()))
    };
    assert_eq!(literal("<joe@[192.0.2.1]>"), (true, Some("192.0.2.1".into())));
    assert_eq!(literal("<joe@[IPV6:2001:DB8::1]>"), (true, Some("2001:db8::1".into())));
    assert_eq!(literal("<joe@[2001:db8::1]>"), (true, None));
    assert_eq!(literal("<joe@[x400:foo]>"), (true, None));
    assert_eq!(literal("<joe@192.0.2.1>"), (false, None));
    assert_eq!(literal("<joe@[>"), (false, None));
    assert_eq!(Address::parse("<joe@[192.0.2.1]>").domain_ascii(), None);
}

#[test]
fn bang_paths_and_percent_hacks_are_local_parts() {
    expect("<host!joe@b.example>", "host!joe", "b.example");
    expect("<host!joe>", "host!joe", None);
    expect("<joe%a.example@b.example>", "joe%a.example", "b.example");
}

#[test]
fn the_dot_of_the_root_is_no_part_of_the_domain() {
    expect("<joe@Example.com.>", "joe", "example.com");
    expect("<joe@example.com..>", "joe", "example.com.");
    assert_eq!(Address::parse("<joe@Example.com.>").domain_bytes(), Some(&b"Example.com."[..]));
    assert!(Address::parse("<joe@example.com.>").matches("joe@EXAMPLE.com"));
}

#[test]
fn utf8_is_kept_and_only_ascii_changes_case() {
    expect("<Jörg@BÜCHER.example>", "Jörg", "bÜcher.example");
    assert_eq!(Address::parse("<Jörg@BÜCHER.example>").to_string(), "<Jörg@BÜCHER.example>");
}

#[test]
fn a_domain_in_latin_1_is_only_there_as_bytes() {
    let address = Address::parse(&b"<j\xf6rg@b\xfccher.Example>"[..]);
    assert_eq!(address.domain(), None);
    assert_eq!(address.domain_bytes(), Some(&b"b\xfccher.Example"[..]));
    assert_eq!(address.local_part(), b"j\xf6rg");
    assert_eq!(address.to_string(), "<j\u{fffd}rg@b\u{fffd}cher.Example>");
    assert_eq!(format!("{address:?}"), r#""<j\xf6rg@b\xfccher.Example>""#);
    assert!(address.matches(b"j\xf6rg@B\xfcCHER.example"));
    assert!(!address.matches(b"j\xf6rg@b\xdccher.example"));
}

#[test]
fn what_follows_the_bracket_is_no_part_of_the_address() {
    let address = Address::parse("<joe@dom.example> SIZE=1000 BODY=8BITMIME");
    assert_eq!(
        (address.mailbox(), address.trailing()),
        (&b"joe@dom.example"[..], &b"SIZE=1000 BODY=8BITMIME"[..])
    );
    expect("<\"joe@dom.example> SIZE=1", "\"joe", "dom.example");
    assert_eq!(Address::parse("joe@dom.example").trailing(), b"");
}

#[test]
fn the_same_mailbox_can_be_written_in_several_ways() {
    let address = Address::parse("<\"joe\"@Example.com>");
    for same in ["joe@example.com", "<@relay.example:joe@EXAMPLE.COM>", "<j\\oe@example.com.>"] {
        assert!(address.matches(same), "{same}");
        assert_ne!(address, Address::parse(same));
    }
    for other in ["Joe@example.com", "joe", "joe@", "<>", "joe@example.org", "\"joe@example.com\""] {
        assert!(!address.matches(other), "{other}");
    }
    let null = Address::parse("<>");
    assert!(null.matches("") && null.matches(&null) && !null.matches("<@>") && !null.matches("<\"\">"));
}

#[test]
fn examples_of_rfc_5321() {
    expect("<Smith@bar.com>", "Smith", "bar.com");
    expect("<@foo.com:Jones@XYZ.COM>", "Jones", "xyz.com");
    expect("<@hosta.int,@jkl.org:userc@d.bar.org>", "userc", "d.bar.org");
    expect("<Postmaster>", "Postmaster", None);
    expect("<JQP@[123.255.37.2]>", "JQP", "[123.255.37.2]");
}

#[test]
fn examples_of_rfc_3696() {
    expect(r"<Abc\@def@example.com>", "Abc@def", "example.com");
    expect(r"<Fred\ Bloggs@example.com>", "Fred Bloggs", "example.com");
    expect(r"<Joe.\\Blow@example.com>", r"Joe.\Blow", "example.com");
    expect(r#"<"Abc@def"@example.com>"#, "Abc@def", "example.com");
    expect(r#"<"Fred Bloggs"@example.com>"#, "Fred Bloggs", "example.com");
    for local in ["customer/department=shipping", "$A12345", "!def!xyz%abc", "_somename"] {
        let address = Address::parse(format!("<{local}@example.com>"));
        assert_eq!((address.local_part(), address.domain()), (&Text::from(local), Some("example.com")));
    }
}

#[test]
fn plain_domains_have_both_forms_with_and_without_idn() {
    let address = Address::parse("<joe@Example.com.>");
    assert_eq!(address.domain_ascii().as_deref(), Some("example.com"));
    assert_eq!(address.domain_unicode().as_deref(), Some("example.com"));
    assert_eq!(Address::parse("<postmaster>").domain_ascii(), None);
    assert_eq!(
        Address::parse("<joe@xn--bcher-kva.example>").domain_ascii().as_deref(),
        Some("xn--bcher-kva.example")
    );
}

#[cfg(not(feature = "idn"))]
#[test]
fn without_idn_domains_beyond_ascii_have_no_other_form() {
    let address = Address::parse("<joe@bücher.example>");
    assert_eq!((address.domain_ascii(), address.domain_unicode()), (None, None));
    assert_eq!(Address::parse("<joe@xn--bcher-kva.example>").domain_unicode(), None);
}

#[cfg(feature = "idn")]
mod idn {
    use super::*;

    #[test]
    fn domains_have_a_labels_and_u_labels() {
        for raw in ["<joe@BÜCHER.example>", "<joe@bu\u{308}cher\u{3002}example>"] {
            let address = Address::parse(raw);
            assert_eq!(address.domain_ascii().as_deref(), Some("xn--bcher-kva.example"), "{raw}");
            assert_eq!(address.domain_unicode().as_deref(), Some("bücher.example"), "{raw}");
        }
        let address = Address::parse("<joe@XN--bcher-kva.example.>");
        assert_eq!(address.domain_unicode().as_deref(), Some("bücher.example"));
    }

    #[test]
    fn what_can_be_no_domain_has_no_other_form() {
        let long = format!("<joe@{}.example>", "ü".repeat(100));
        let longer = format!("<joe@{}example>", "ü.".repeat(30_000));
        for raw in ["<joe@a\u{ff20}b.example>", "<joe@ü..example>", "<joe@\u{200f}.example>"] {
            assert_eq!(Address::parse(raw).domain_ascii(), None, "{raw}");
        }
        for raw in [long, longer] {
            let address = Address::parse(raw);
            assert_eq!((address.domain_ascii(), address.domain_unicode()), (None, None));
        }
        assert_eq!(Address::parse("<joe@xn--\u{7f}.example>").domain_unicode(), None);
        assert_eq!(Address::parse("<joe@xn--zzzzzzzz99.example>").domain_unicode(), None);
    }
}

/// Each is as long as a packet; a step that looks back would take hours.
#[test]
fn hostile_paths_take_time_in_proportion_to_their_length() {
    for unit in
        ["@", "<", ">", "\"", "\\", "\\\"", ":", "@:", "@,", "[", "@[:", "\"@", "<@", ".", " ", "A", "\u{fc}"]
    {
        let raw = unit.repeat(65_536);
        for raw in
            [raw.clone(), format!("<{raw}"), format!("<{raw}>"), format!("<@a:{raw}@b>"), format!("\"{raw}")]
        {
            let address = Address::parse(raw);
            check(&address);
        }
    }
}

/// What holds for the parts of anything.
fn check(address: &Address) {
    let raw = address.as_bytes();
    let domain = address.spans.domain(raw);
    let at = if address.mailbox().len() > address.raw_local_part().len() { &b"@"[..] } else { b"" };
    assert_eq!(address.mailbox(), [address.raw_local_part(), at, domain].concat());
    let route = address.source_route().map_or(vec![], |route| [route, b":"].concat());
    let path = [&route[..], address.mailbox()].concat();
    assert_eq!(path, raw[address.spans.path.clone()]);
    let around = [&raw[..address.spans.path.start], &raw[address.spans.path.end..address.spans.end]].concat();
    assert!(around.iter().all(|byte| matches!(byte, b'<' | b'>') || byte.is_ascii_whitespace()));
    assert!(address.local_part().len() <= address.raw_local_part().len());
    assert!(
        address
            .domain()
            .is_none_or(|domain| !domain.is_empty() && !domain.bytes().any(|b| b.is_ascii_uppercase()))
    );
    assert_eq!(
        address.domain().is_some(),
        !without_root(domain).is_empty() && std::str::from_utf8(domain).is_ok()
    );
    assert!(address.matches(address), "{address:?}");
    let _ = (address.domain_ascii(), address.domain_unicode(), address.literal(), address.is_null());
}

/// Bytes that mean something, more often than others.
fn soup() -> impl Strategy<Value = Vec<u8>> {
    let byte =
        prop_oneof![3 => proptest::sample::select(&b"<>@\"\\:,[]. "[..]), 2 => b'a'..=b'c', 1 => any::<u8>()];
    proptest::collection::vec(byte, 0..40)
}

/// A local part as text and as one of the ways to write it.
fn local_part() -> impl Strategy<Value = (String, String)> {
    let quoted = "[ -~ü]{0,12}".prop_map(|text| {
        let written = text.replace('\\', "\\\\").replace('"', "\\\"");
        (text, format!("\"{written}\""))
    });
    prop_oneof!["[a-zA-Z0-9!#%+/=._-]{1,12}".prop_map(|text| (text.clone(), text)), quoted]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_bytes_have_parts_that_join_to_what_they_were(raw in soup()) {
        let address = Address::parse(raw.clone());
        prop_assert_eq!(address.as_bytes(), raw);
        check(&address);
    }

    #[test]
    fn what_was_written_is_what_is_read(
        (local, written) in local_part(),
        domain in "([a-zA-Z0-9-]{1,8}\\.){0,3}[a-zA-Zü]{1,8}|\\[IPv6:[0-9A-F:]{2,20}\\]",
        route in proptest::option::of("(@[a-z.]{1,8},){0,2}@[a-z.]{1,8}"),
        brackets in any::<bool>(),
    ) {
        let colon = route.as_ref().map_or("", |_| ":");
        let path = format!("{}{colon}{written}@{domain}", route.as_deref().unwrap_or_default());
        let address = Address::parse(if brackets { format!("<{path}>") } else { path });
        prop_assert_eq!(address.local_part(), &local);
        prop_assert_eq!(address.raw_local_part(), written.as_bytes());
        let lower = domain.to_ascii_lowercase();
        prop_assert_eq!(address.domain(), Some(&lower[..]));
        prop_assert_eq!(address.source_route(), route.as_ref().map(String::as_bytes));
        let shouted = format!("{written}@{}", domain.to_ascii_uppercase());
        prop_assert!(address.matches(shouted));
        check(&address);
    }
}

//! Tables of what is accepted, how it is shown, and what every error says.

use super::*;

fn parse(text: &str) -> SocketSpec {
    text.parse().unwrap_or_else(|error| panic!("{text:?}: {error}"))
}

fn complaint(text: &str) -> String {
    text.parse::<SocketSpec>().map_or_else(|error| error.to_string(), |spec| panic!("{text:?} gave {spec:?}"))
}

/// Written form, `Display`, `postfix()`, `sendmail()`.
const ACCEPTED: &[(&str, &str, &str, &str)] = &[
    ("unix:/run/f.sock", "unix:/run/f.sock", "unix:/run/f.sock", "unix:/run/f.sock"),
    ("local:/run/f.sock", "unix:/run/f.sock", "unix:/run/f.sock", "unix:/run/f.sock"),
    (":/run/f.sock", "unix:/run/f.sock", "unix:/run/f.sock", "unix:/run/f.sock"),
    ("/run/f.sock", "unix:/run/f.sock", "unix:/run/f.sock", "unix:/run/f.sock"),
    ("UNIX:/run/f.sock", "unix:/run/f.sock", "unix:/run/f.sock", "unix:/run/f.sock"),
    ("unix:/run/a:b@c", "unix:/run/a:b@c", "unix:/run/a:b@c", "unix:/run/a:b@c"),
    (":/run/a:b", "unix:/run/a:b", "unix:/run/a:b", "unix:/run/a:b"),
    ("unix:run/f.sock", "unix:run/f.sock", "unix:run/f.sock", "unix:run/f.sock"),
    ("inet:8899@127.0.0.1", "inet:8899@127.0.0.1", "inet:127.0.0.1:8899", "inet:8899@127.0.0.1"),
    ("Inet:8899@[1.2.3.4]", "inet:8899@1.2.3.4", "inet:1.2.3.4:8899", "inet:8899@1.2.3.4"),
    (
        "inet:8899@mx.example.com",
        "inet:8899@mx.example.com",
        "inet:mx.example.com:8899",
        "inet:8899@mx.example.com",
    ),
    ("inet:milter@localhost", "inet:milter@localhost", "inet:localhost:milter", "inet:milter@localhost"),
    ("inet:8899", "inet:8899", "inet:127.0.0.1:8899", "inet:8899@127.0.0.1"),
    ("inet:milter", "inet:milter", "inet:127.0.0.1:milter", "inet:milter@127.0.0.1"),
    ("inet6:8899", "inet6:8899", "inet:[::1]:8899", "inet6:8899@[::1]"),
    ("INET6:8899@[::1]", "inet6:8899@[::1]", "inet:[::1]:8899", "inet6:8899@[::1]"),
    ("inet6:8899@::1", "inet6:8899@[::1]", "inet:[::1]:8899", "inet6:8899@[::1]"),
    ("inet6:8899@[IPv6:::1]", "inet6:8899@[::1]", "inet:[::1]:8899", "inet6:8899@[::1]"),
    ("inet6:8899@[ipv6:0:0:0:0:0:0:0:1]", "inet6:8899@[::1]", "inet:[::1]:8899", "inet6:8899@[::1]"),
    (
        "inet6:8899@mx.example.com",
        "inet6:8899@mx.example.com",
        "inet:mx.example.com:8899",
        "inet6:8899@mx.example.com",
    ),
    ("inet:127.0.0.1:8899", "inet:8899@127.0.0.1", "inet:127.0.0.1:8899", "inet:8899@127.0.0.1"),
    ("inet:localhost:milter", "inet:milter@localhost", "inet:localhost:milter", "inet:milter@localhost"),
    (
        "inet:[2001:db8::1]:8899",
        "inet6:8899@[2001:db8::1]",
        "inet:[2001:db8::1]:8899",
        "inet6:8899@[2001:db8::1]",
    ),
    ("inet6:[::1]:8899", "inet6:8899@[::1]", "inet:[::1]:8899", "inet6:8899@[::1]"),
    ("inet6:localhost:8899", "inet6:8899@localhost", "inet:localhost:8899", "inet6:8899@localhost"),
    ("127.0.0.1:8899", "inet:8899@127.0.0.1", "inet:127.0.0.1:8899", "inet:8899@127.0.0.1"),
    ("[127.0.0.1]:8899", "inet:8899@127.0.0.1", "inet:127.0.0.1:8899", "inet:8899@127.0.0.1"),
    ("localhost:8899", "inet:8899@localhost", "inet:localhost:8899", "inet:8899@localhost"),
    ("[::1]:8899", "inet6:8899@[::1]", "inet:[::1]:8899", "inet6:8899@[::1]"),
    ("[IPv6:::1]:milter", "inet6:milter@[::1]", "inet:[::1]:milter", "inet6:milter@[::1]"),
    ("inet:0@localhost", "inet:0@localhost", "inet:localhost:0", "inet:0@localhost"),
    ("inet:65535@localhost", "inet:65535@localhost", "inet:localhost:65535", "inet:65535@localhost"),
    (
        "inet:08899@host_1.example.",
        "inet:8899@host_1.example.",
        "inet:host_1.example.:8899",
        "inet:8899@host_1.example.",
    ),
];

/// Written form, and the whole complaint.
const REFUSED: &[(&str, &str)] = &[
    (
        "",
        "socket specification is empty: write \"inet:port@host\", \"inet6:port@[address]\" or \"unix:/path\"",
    ),
    (
        "{ inet:localhost:8899, connect_timeout=10s, default_action=accept }",
        "braces with settings are Postfix's: write only the address, \"inet:localhost:8899\", and set timeouts and \
         the default action in the options of this filter",
    ),
    (
        "{}",
        "braces with settings are Postfix's: write only the address and set timeouts and the default action in the \
         options of this filter",
    ),
    ("8899", "socket specification \"8899\" has no protocol word: write \"inet:8899\""),
    (
        "localhost",
        "socket specification \"localhost\" has no protocol word: write \"unix:localhost\" for a path, \
         \"inet:port@localhost\" for a host",
    ),
    (
        "foo:bar",
        "unknown protocol word \"foo\": write \"inet:port@host\", \"inet6:port@[address]\" or \"unix:/path\"",
    ),
    (
        "tcp:localhost:8899",
        "unknown protocol word \"tcp\": write \"inet:port@host\", \"inet6:port@[address]\" or \"unix:/path\"",
    ),
    ("unix:", "path of the unix socket is empty: write \"unix:/path\""),
    (":", "path of the unix socket is empty: write \"unix:/path\""),
    ("unix:/a\0b", "path of the unix socket contains a NUL: write it without"),
    ("/a\0b", "path of the unix socket contains a NUL: write it without"),
    (
        ":run/f",
        "path \"run/f\" behind a bare colon is not absolute: write \":/path\", or \"unix:run/f\" if it is meant to \
         be relative",
    ),
    ("/run/a:b", "path \"/run/a:b\" contains a colon: write \"unix:/run/a:b\""),
    ("/run/a:25", "path \"/run/a:25\" contains a colon: write \"unix:/run/a:25\""),
    ("inet:", "port is missing: write \"inet:port@host\""),
    ("inet:@localhost", "port is missing: write \"inet:port@host\""),
    ("inet:localhost:", "port is missing: write \"inet:port@host\""),
    ("inet:127.0.0.1", "port is missing: write \"inet:port@host\""),
    ("[::1]", "port is missing: write \"inet6:port@[address]\""),
    ("inet:[::1]", "port is missing: write \"inet6:port@[address]\""),
    (
        "inet:8a@localhost",
        "port \"8a\" is neither a number nor a service name: write a number from 0 to 65535, as in \
         \"inet:8899@127.0.0.1\"",
    ),
    ("inet:65536@localhost", "port 65536 exceeds the limit of 65535: write a number from 0 to 65535"),
    ("localhost:99999", "port 99999 exceeds the limit of 65535: write a number from 0 to 65535"),
    ("inet:8899@", "host is missing: write \"inet:port@host\", or \"inet:port\" to listen on every address"),
    ("inet::8899", "host is missing: write \"inet:host:port\", or \"inet:port\" to listen on every address"),
    (
        "inet:8899@a b",
        "host \"a b\" is not a host name: write a name, an IPv4 address, or an IPv6 address in brackets",
    ),
    (
        "inet:8899@a..b",
        "host \"a..b\" is not a host name: write a name, an IPv4 address, or an IPv6 address in brackets",
    ),
    (
        "inet:8899@[::1",
        "host \"[::1\" is not a host name: write a name, an IPv4 address, or an IPv6 address in brackets",
    ),
    (
        "[::1]8899",
        "host \"[::1]8899\" is not a host name: write a name, an IPv4 address, or an IPv6 address in brackets",
    ),
    (
        "inet:8899@10.1",
        "host \"10.1\" is not an address: write one like \"127.0.0.1\" or \"[::1]\", or a name",
    ),
    (
        "inet:8899@[localhost]",
        "host \"localhost\" is not an address: write one like \"127.0.0.1\" or \"[::1]\", or a name",
    ),
    (
        "[IPv6:127.0.0.1]:25",
        "host \"IPv6:127.0.0.1\" is not an address: write one like \"127.0.0.1\" or \"[::1]\", or a name",
    ),
    (
        "inet6:8899@::g",
        "host \"::g\" is not an address: write one like \"127.0.0.1\" or \"[::1]\", or a name",
    ),
    (
        "inet:::1:8899",
        "\"::1:8899\" does not tell the IPv6 address from the port: write \"inet6:port@[address]\" or \
         \"[address]:port\"",
    ),
    (
        "fe80::1",
        "\"fe80::1\" does not tell the IPv6 address from the port: write \"inet6:port@[address]\" or \
         \"[address]:port\"",
    ),
    ("inet:8899@[::1]", "host [::1] is not of the family \"inet\": write \"inet6:8899@[::1]\""),
    ("inet6:8899@127.0.0.1", "host 127.0.0.1 is not of the family \"inet6\": write \"inet:8899@127.0.0.1\""),
    ("inet6:127.0.0.1:8899", "host 127.0.0.1 is not of the family \"inet6\": write \"inet:8899@127.0.0.1\""),
    ("inet:localhost@8899", "host and port are in the wrong order: write \"inet:8899@localhost\""),
    ("inet:8899:localhost", "host and port are in the wrong order: write \"inet:localhost:8899\""),
];

#[test]
fn every_form_is_understood_and_shown_in_three_ways() {
    for (written, shown, postfix, sendmail) in ACCEPTED {
        let spec = parse(written);
        assert_eq!(spec.to_string(), *shown, "{written:?} shown");
        assert_eq!(spec.postfix(), *postfix, "{written:?} for Postfix");
        assert_eq!(spec.sendmail(), *sendmail, "{written:?} for Sendmail");
    }
}

#[test]
fn the_parts_are_what_was_written() {
    let name = |text: &str| Host::Name(text.to_owned());
    assert_eq!(parse("unix:/a:b"), SocketSpec::Unix("/a:b".into()));
    assert_eq!(
        parse("inet:milter@localhost"),
        SocketSpec::Inet { host: name("localhost"), port: Port::Service("milter".to_owned()) }
    );
    assert_eq!(parse("inet6:25"), SocketSpec::Inet6 { host: Host::Any, port: Port::Number(25) });
    assert_eq!(
        parse("inet:[::1]:25"),
        SocketSpec::Inet6 { host: Host::Ip(Ipv6Addr::LOCALHOST.into()), port: Port::Number(25) }
    );
}

#[test]
fn what_is_shown_is_read_back_as_the_same() {
    for (written, ..) in ACCEPTED {
        let spec = parse(written);
        assert_eq!(parse(&spec.to_string()), spec, "{written:?}");
    }
}

#[test]
fn the_syntax_of_both_mtas_is_read_back_as_the_same() {
    for (written, ..) in ACCEPTED {
        let spec = parse(written);
        let any = matches!(
            spec,
            SocketSpec::Inet { host: Host::Any, .. } | SocketSpec::Inet6 { host: Host::Any, .. }
        );
        if !any {
            assert_eq!(parse(&spec.sendmail()), spec, "{written:?}");
        }
        // Postfix's `inet` does not say which family a name is to be looked up in.
        if !any && !matches!(spec, SocketSpec::Inet6 { host: Host::Name(_), .. }) {
            assert_eq!(parse(&spec.postfix()), spec, "{written:?}");
        }
    }
}

#[test]
fn every_error_names_the_part_and_says_what_to_write() {
    for (written, said) in REFUSED {
        assert_eq!(complaint(written), *said, "{written:?}");
    }
}

#[test]
fn complaints_begin_in_lower_case_and_give_advice() {
    for (written, _) in REFUSED {
        let said = complaint(written);
        assert!(!said.starts_with(|first: char| first.is_uppercase()), "{said}");
        assert!(said.contains(": write "), "{said}");
    }
}

#[test]
fn a_path_may_have_106_bytes_and_no_more() {
    let longest = format!("/{}", "p".repeat(MAX_PATH - 1));
    for prefix in ["unix:", "local:", ":", ""] {
        assert_eq!(parse(&format!("{prefix}{longest}")), SocketSpec::Unix(longest.clone().into()));
        assert_eq!(
            complaint(&format!("{prefix}{longest}p")),
            "path of the unix socket has 107 bytes and exceeds the limit of 106: write a shorter one"
        );
    }
}

#[test]
fn the_length_of_a_path_is_counted_in_bytes() {
    assert_eq!(
        complaint(&format!("unix:/{}", "é".repeat(53))),
        "path of the unix socket has 107 bytes and exceeds the limit of 106: write a shorter one"
    );
}

#[test]
fn a_host_name_has_a_bound() {
    let longest = "a.".repeat(126) + "a";
    assert_eq!(parse(&format!("inet:25@{longest}")).to_string(), format!("inet:25@{longest}"));
    assert!(complaint(&format!("inet:25@a{longest}")).contains("is not a host name"));
}

#[test]
fn no_text_makes_the_parser_panic() {
    let pieces =
        ["inet", "inet6", "unix", ":", "@", "[", "]", "::1", "IPv6:", "é", "25", "/", "\0", "{", " ", "a."];
    for a in pieces {
        for b in pieces {
            for c in pieces {
                for d in pieces {
                    let text = [a, b, c, d].concat();
                    if let Ok(spec) = text.parse::<SocketSpec>() {
                        assert_eq!(parse(&spec.to_string()), spec, "{text:?}");
                    }
                }
            }
        }
    }
}

//! Tests of [`Facts`], over macros as a session receives them.

use tamis_proto::{FilterSession, MacroStage, Stage, Verdict};

use super::*;

/// A session that receives packets of an MTA: each a letter and its strings.
struct Mta(FilterSession);

impl Mta {
    fn new() -> Self {
        let mut session = FilterSession::default();
        session.next(b"\0\0\0\x0dO\0\0\0\x06\0\0\x01\xff\0\x1f\xff\xff").unwrap();
        session.negotiate(&Needs::new().watch(Stage::ALL)).unwrap();
        Self(session)
    }

    fn send(&mut self, code: u8, payload: &[u8]) -> &mut Self {
        let length = u32::try_from(payload.len() + 1).unwrap().to_be_bytes();
        let frame = [&length[..], &[code], payload].concat();
        if self.0.next(&frame).unwrap().1.is_some_and(|event| event.stage().is_some()) {
            self.0.respond(Verdict::Continue).unwrap();
        }
        self
    }

    fn macros(&mut self, stage: u8, pairs: &[(&str, &str)]) -> &mut Self {
        let strings =
            pairs.iter().flat_map(|(name, value)| [name.as_bytes(), b"\0", value.as_bytes(), b"\0"]);
        self.send(b'D', &[&[stage], &strings.collect::<Vec<_>>().concat()[..]].concat())
    }

    fn facts(&self) -> Facts<'_> {
        Facts::new(self.0.macros())
    }
}

const CLIENT: &[u8] = b"localhost\x004\x30\x39127.0.0.1\0";

#[test]
fn one_letter_macros_are_found_with_and_without_braces() {
    let mut mta = Mta::new();
    mta.macros(b'C', &[("j", "mta.example"), ("{v}", "Postfix 3.7.11"), ("{x}", "any")]);
    let facts = mta.facts();
    assert_eq!((facts.get("j"), facts.get("{j}")), (Some(&b"mta.example"[..]), Some(&b"mta.example"[..])));
    assert_eq!((facts.mta_name(), facts.mta_version()), (Some("mta.example"), Some("Postfix 3.7.11")));
    assert_eq!((facts.get("x"), facts.get("y")), (Some(&b"any"[..]), None));
}

#[test]
fn each_macro_is_found_under_a_name_of_its_own() {
    let mut mta = Mta::new();
    let value = |fact: &Fact| match fact {
        Fact::DaemonAddr | Fact::InterfaceAddr | Fact::ClientAddr => format!("192.0.2.{}", *fact as u8),
        fact => (*fact as u8).to_string(),
    };
    let values: Vec<_> = Fact::ALL.iter().map(value).collect();
    let pairs: Vec<_> =
        Fact::ALL.iter().map(|fact| fact.macro_name()).zip(values.iter().map(String::as_str)).collect();
    mta.macros(b'C', &pairs);
    let facts = mta.facts();
    let text = |fact: Option<&str>| fact.unwrap().to_owned();
    let address = |fact: Option<IpAddr>| fact.unwrap().to_string();
    let number = |fact: Option<u32>| fact.unwrap().to_string();
    let found = [
        text(facts.queue_id()),
        text(facts.mta_name()),
        text(facts.mta_version()),
        text(facts.daemon_name()),
        address(facts.daemon_addr()),
        number(facts.daemon_port().map(u32::from)),
        text(facts.interface_name()),
        address(facts.interface_addr()),
        text(facts.client_description()),
        text(facts.client_name()),
        address(facts.client_addr()),
        number(facts.client_port().map(u32::from)),
        text(facts.client_ptr()),
        text(facts.client_resolve()),
        number(facts.client_connections()),
        text(facts.tls_version()),
        text(facts.cipher()),
        number(facts.cipher_bits()),
        text(facts.cert_subject()),
        text(facts.cert_issuer()),
        text(facts.tls_sni()),
        text(facts.tls_verify()),
        text(facts.auth_user()),
        text(facts.auth_type()),
        text(facts.auth_author()),
        number(facts.auth_ssf()),
        text(facts.mail_addr()),
        text(facts.mail_host()),
        text(facts.mail_mailer()),
        text(facts.rcpt_addr()),
        text(facts.rcpt_host()),
        text(facts.rcpt_mailer()),
        text(facts.message_id()),
        facts.message_size().unwrap().to_string(),
        number(facts.recipient_count()),
    ];
    assert_eq!(found, values[..]);
}

#[test]
fn nothing_is_known_without_macros() {
    let mta = Mta::new();
    let facts = mta.facts();
    assert!(!facts.is_tls() && !facts.is_authenticated());
    assert_eq!((facts.queue_id(), facts.client_name(), facts.client_addr()), (None, None, None));
    assert_eq!((facts.rejection(), facts.cipher_bits()), (None, None));
}

#[test]
fn what_postfix_sends_by_default() {
    let mut mta = Mta::new();
    let connect = [
        ("j", "mta.example"),
        ("{daemon_name}", "mta.example"),
        ("{daemon_addr}", "127.0.0.1"),
        ("_", "unknown [::1]"),
    ];
    mta.macros(b'C', &connect).send(b'C', CLIENT).macros(b'H', &[]).send(b'H', b"client\0");
    let mail = [("{mail_addr}", ""), ("{mail_host}", "[127.0.0.1]:26401"), ("{mail_mailer}", "smtp")];
    mta.macros(b'M', &mail).send(b'M', b"<>\0");
    let facts = mta.facts();
    assert_eq!(facts.daemon_addr(), Some("127.0.0.1".parse().unwrap()));
    assert_eq!((facts.client_name(), facts.client_addr()), (None, Some("::1".parse().unwrap())));
    assert_eq!(
        (facts.mail_addr(), facts.mail_host(), facts.mail_mailer()),
        (Some(""), Some("[127.0.0.1]:26401"), Some("smtp"))
    );
    assert_eq!((facts.queue_id(), facts.is_tls(), facts.is_authenticated()), (None, false, false));
    mta.macros(b'R', &[("i", "249D29921E1"), ("{rcpt_addr}", "a@b")]).send(b'R', b"<a@b>\0");
    assert_eq!((mta.facts().queue_id(), mta.facts().rcpt_addr()), (Some("249D29921E1"), Some("a@b")));
}

#[test]
fn what_sendmail_sends_by_default() {
    let mut mta = Mta::new();
    let connect = [
        ("_", "localhost [127.0.0.1]"),
        ("{daemon_name}", "MTA"),
        ("{if_name}", "eth0"),
        ("{if_addr}", "IPv6:2001:db8:0:0:0:0:0:1"),
    ];
    let tls =
        [("{tls_version}", "TLSv1.3"), ("{cipher}", "TLS_AES_256_GCM_SHA384"), ("{cipher_bits}", "256")];
    mta.macros(b'C', &connect).send(b'C', CLIENT).macros(b'H', &tls).send(b'H', b"client\0");
    let mail = [
        ("i", "6AKB8NSw031789"),
        ("{auth_type}", "PLAIN"),
        ("{auth_authen}", "joe"),
        ("{auth_ssf}", "0"),
        ("{mail_host}", "example.com."),
    ];
    mta.macros(b'M', &mail).send(b'M', b"<joe@example.com>\0");
    mta.macros(b'E', &[("{msg_id}", "<1@mta.example>"), ("{msg_size}", "1234"), ("{nrcpts}", "2")]);
    let facts = mta.facts();
    assert_eq!(
        (facts.client_name(), facts.client_addr()),
        (Some("localhost"), Some("127.0.0.1".parse().unwrap()))
    );
    assert_eq!(
        (facts.interface_name(), facts.interface_addr()),
        (Some("eth0"), Some("2001:db8::1".parse().unwrap()))
    );
    assert!(facts.is_tls() && facts.is_authenticated());
    assert_eq!((facts.tls_version(), facts.cipher_bits()), (Some("TLSv1.3"), Some(256)));
    assert_eq!(
        (facts.auth_user(), facts.auth_type(), facts.auth_ssf()),
        (Some("joe"), Some("PLAIN"), Some(0))
    );
    assert_eq!(
        (facts.message_id(), facts.message_size(), facts.recipient_count()),
        (Some("<1@mta.example>"), Some(1234), Some(2))
    );
}

#[test]
fn facts_of_a_message_vanish_with_it_and_those_of_the_connection_stay() {
    let mut mta = Mta::new();
    mta.macros(b'C', &[("j", "mta.example")]).send(b'C', CLIENT);
    mta.macros(b'M', &[("{auth_authen}", "joe")]).send(b'M', b"<a@b>\0");
    mta.macros(b'R', &[("i", "1")]).send(b'R', b"<a@b>\0").macros(b'T', &[("i", "1")]).send(b'T', b"");
    assert_eq!(mta.facts().queue_id(), Some("1"));
    mta.send(b'A', b"").macros(b'M', &[("{mail_addr}", "c@d")]).send(b'M', b"<c@d>\0");
    let facts = mta.facts();
    assert_eq!((facts.queue_id(), facts.auth_user(), facts.mail_addr()), (None, None, Some("c@d")));
    assert_eq!(facts.mta_name(), Some("mta.example"));
}

#[test]
fn the_name_of_a_client_is_one_that_was_verified() {
    let name = |description: &str| {
        let mut mta = Mta::new();
        mta.macros(b'C', &[("_", description)]);
        (mta.facts().client_name().map(str::to_owned), mta.facts().client_addr().map(|ip| ip.to_string()))
    };
    let found = |name: &str, ip: &str| (Some(name.to_owned()), Some(ip.to_owned()));
    assert_eq!(name("mx.example [192.0.2.1]"), found("mx.example", "192.0.2.1"));
    assert_eq!(name("IDENT:joe@mx.example [IPv6:2001:db8:0:0:0:0:0:1]"), found("mx.example", "2001:db8::1"));
    assert_eq!(name("mx.example [192.0.2.1] (may be forged)"), (None, Some("192.0.2.1".into())));
    assert_eq!(name("[192.0.2.1]"), (None, Some("192.0.2.1".into())));
    assert_eq!(name("unknown [unknown]"), (None, None));
    assert_eq!(name(""), (None, None));

    let mut mta = Mta::new();
    let asked = [
        ("_", "mx.example [192.0.2.1]"),
        ("{client_name}", "unknown"),
        ("{client_addr}", "unknown"),
        ("{client_ptr}", "unknown"),
        ("{client_port}", "0"),
    ];
    mta.macros(b'C', &asked);
    let facts = mta.facts();
    assert_eq!(
        (facts.client_name(), facts.client_addr(), facts.client_ptr(), facts.client_port()),
        (None, None, None, None)
    );
}

#[test]
fn a_user_whose_name_is_no_text_is_logged_in() {
    let mut mta = Mta::new();
    mta.send(b'D', b"M{auth_authen}\0j\xf6rg\0");
    let facts = mta.facts();
    assert_eq!((facts.auth_user(), facts.is_authenticated()), (None, true));
    assert_eq!(facts.get("auth_authen"), Some(&b"j\xf6rg"[..]));
    let mut mta = Mta::new();
    mta.macros(b'M', &[("{auth_authen}", ""), ("{auth_author}", "joe@example.com")]);
    assert!(!mta.facts().is_authenticated());
}

#[test]
fn rejected_recipients_are_told_with_their_reason() {
    let mut mta = Mta::new();
    mta.macros(
        b'R',
        &[("{rcpt_addr}", "no such user"), ("{rcpt_host}", "5.1.1"), ("{rcpt_mailer}", "error")],
    );
    let rejection = mta.facts().rejection().unwrap();
    assert_eq!((rejection.status, rejection.text), ("5.1.1".into(), "no such user".into()));
    mta.macros(b'R', &[("{rcpt_mailer}", "error")]);
    assert_eq!(mta.facts().rejection(), Some(Rejection::default()));
    mta.macros(b'R', &[("{rcpt_mailer}", "smtp")]);
    assert_eq!(mta.facts().rejection(), None);
}

#[test]
fn numbers_that_are_none_are_not_there() {
    let mut mta = Mta::new();
    mta.macros(b'H', &[("{cipher_bits}", "many"), ("{client_port}", "65536")]);
    assert_eq!((mta.facts().cipher_bits(), mta.facts().client_port()), (None, None));
}

#[test]
fn facts_are_asked_for_where_an_mta_knows_them() {
    let needs = Facts::ask(Needs::new(), [Fact::QueueId, Fact::AuthUser]);
    let by_hand = Needs::new()
        .macros(MacroStage::Mail, ["i", "auth_authen"])
        .macros(MacroStage::Rcpt, ["i"])
        .macros(MacroStage::Data, ["i"]);
    assert_eq!(needs, by_hand);
}

#[test]
fn every_fact_can_be_asked_for_at_once() {
    let mut session = FilterSession::default();
    session.next(b"\0\0\0\x0dO\0\0\0\x06\0\0\x01\xff\0\x1f\xff\xff").unwrap();
    session.negotiate(&Facts::ask(Needs::new(), Fact::ALL.iter().copied())).unwrap();
    let names = Fact::ALL.iter().map(|fact| fact.macro_name()).collect::<std::collections::BTreeSet<_>>();
    assert_eq!(names.len(), Fact::ALL.len());
}

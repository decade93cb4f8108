use tamis::Verdict;
use tamis::chain::{Chain, Member};
use tamis::testing::Mta;
use tamis::{Context, Event, Filter, Needs, Reply, Stage};

use super::*;
use crate::config::Weight;

/// Refuses all that it is asked about.
struct Refuse;

impl Filter for Refuse {
    type Message = ();

    fn needs(&self) -> Needs {
        Needs::new().answer([Stage::EndOfMessage])
    }

    async fn on(&mut self, _: &mut Context<'_, ()>, _: Event) -> Reply {
        Ok(Verdict::Reject)
    }
}

/// Says at MAIL that it has seen enough, or that something is broken.
struct Early(&'static str);

impl Filter for Early {
    type Message = ();

    fn needs(&self) -> Needs {
        Needs::new().answer([Stage::Mail])
    }

    async fn on(&mut self, _: &mut Context<'_, ()>, event: Event) -> Reply {
        match event {
            Event::Mail(_) if self.0 == "fails" => Err("it is broken".into()),
            Event::Mail(_) if self.0 == "accepts" => Ok(Verdict::Accept),
            _ => Ok(Verdict::Continue),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    when: When,
}

fn when(text: &str) -> When {
    toml::from_str::<Table>(&format!("when = {text}")).unwrap().when
}

fn mta() -> Mta {
    Mta::postfix()
        .client("host-192-0-2-7.dsl.isp.example", "192.0.2.7:4321".parse().unwrap())
        .macro_value("daemon_name", "submission")
        .helo("Client.Example")
        .from("<Joe@a.Example.com>")
        .to("<bob@example.org>")
        .to("<postmaster@example.net>")
}

/// Whether a filter with this condition is asked about the message.
fn is_asked(text: &str, mta: &Mta) -> bool {
    let mut build = Build::new("/nowhere");
    let condition = when(text).build(&mut build).unwrap();
    assert!(build.into_remarks().is_empty(), "{text}");
    let chain = Chain::pipeline()
        .member(Member::new("first", Early("accepts")))
        .member(Member::new("second", Early("fails")).on_failure(tamis::chain::OnFailure::Accept))
        .member(Member::new("third", Early("")))
        .member(Member::new("refuse", Refuse).condition(condition));
    let report = mta.clone().message("Subject: x\n\nx\n").run_blocking(|_| chain).unwrap();
    assert!(report.macros_not_asked_for().is_empty(), "{text}: {:?}", report.macros_not_asked_for());
    *report.verdict() == Verdict::Reject
}

#[test]
fn each_key_is_about_what_it_says() {
    let mta = mta();
    for (holds, does_not) in [
        ("{ client = ['192.0.2.0/24'] }", "{ client = ['192.0.3.0/24'] }"),
        ("{ client = '192.0.2.7' }", "{ client = '192.0.2.8' }"),
        ("{ client_name = '.isp.example' }", "{ client_name = 'isp.example' }"),
        ("{ dynamic_client = true }", "{ dynamic_client = false }"),
        ("{ helo = 'client.example' }", "{ helo = '.com' }"),
        ("{ authenticated = false }", "{ authenticated = true }"),
        ("{ tls = false }", "{ tls = true }"),
        ("{ daemon = ['smtpd', 'submission'] }", "{ daemon = 'smtpd' }"),
        ("{ sender = 'joe@a.example.com' }", "{ sender = ['<>', 'joe@example.com'] }"),
        ("{ sender_domain = '.example.com' }", "{ sender_domain = 'example.com' }"),
        ("{ recipient = ['postmaster@', 'abuse@'] }", "{ recipient = 'joe@' }"),
        ("{ recipient_domain = 'example.net' }", "{ recipient_domain = 'example.com' }"),
        ("{ accepted_by = 'first' }", "{ accepted_by = ['second', 'third'] }"),
        ("{ failed = ['second', 'third'] }", "{ failed = 'first' }"),
        ("{ not = { client = '192.0.2.8' } }", "{ not = { client = '192.0.2.7' } }"),
        (
            "{ any = [{ tls = true }, { helo = 'client.example' }] }",
            "{ any = [{ tls = true }, { helo = 'x' }] }",
        ),
        (
            "{ all = [{ tls = false }, { not = { helo = 'x' } }] }",
            "{ all = [{ tls = false }, { tls = true }] }",
        ),
    ] {
        assert!(is_asked(holds, &mta), "{holds}");
        assert!(!is_asked(does_not, &mta), "{does_not}");
    }
}

#[test]
fn all_keys_of_a_table_must_hold() {
    let mta = mta();
    assert!(is_asked("{ client = '192.0.2.7', tls = false, sender_domain = '.com' }", &mta));
    assert!(!is_asked("{ client = '192.0.2.7', tls = true, sender_domain = '.com' }", &mta));
    assert!(!is_asked("{ client = '192.0.2.7', tls = false, not = { sender_domain = '.com' } }", &mta));
}

#[test]
fn who_has_logged_in_may_matter() {
    let mta = mta().macro_value("auth_type", "PLAIN").macro_value("auth_authen", "Joe").starttls();
    let mta = mta.from("<joe@example.com>").to("<bob@example.org>");
    for (text, holds) in [
        ("{ authenticated = true }", true),
        ("{ authenticated = ['joe'] }", true),
        ("{ authenticated = 'j*' }", true),
        ("{ authenticated = ['bob', '/^web/'] }", false),
        ("{ not = { authenticated = 'bob' } }", true),
        ("{ tls = true }", true),
    ] {
        assert_eq!(is_asked(text, &mta), holds, "{text}");
    }
}

#[test]
fn the_null_sender_and_clients_without_a_name_are_in_no_list_of_names() {
    let mta = Mta::sendmail().unknown_client().from("<>").to("<bob@example.org>");
    assert!(is_asked("{ sender = '<>', not = { sender_domain = '*' } }", &mta));
    assert!(is_asked("{ not = { client_name = '*' }, dynamic_client = false }", &mta));
    assert!(!is_asked("{ client = ['0.0.0.0/0', '::/0'] }", &mta));
}

#[test]
fn a_filter_can_look_at_a_condition_itself() {
    let mut build = Build::default();
    let check = when("{ sender = '<>', tls = true, authenticated = 'joe' }")
        .check(Scope::Filter, &mut build)
        .unwrap();
    assert_eq!(check.facts().len(), 4);
    let macros = tamis::proto::MacroTable::default();
    assert!(!check.holds(&tamis::message::Envelope::default(), tamis::message::Facts::new(&macros)));

    assert!(when("{ any = [{ failed = 'x' }, { tls = true }] }").check(Scope::Filter, &mut build).is_none());
    let remarks = build.into_remarks();
    assert_eq!(remarks[0].path.to_string(), "any[0].failed");
    assert!(remarks[0].text.contains("put it into the `when` of the filter"), "{}", remarks[0].text);
}

#[test]
fn every_mistake_is_told_with_its_place() {
    let text =
        "{ client = ['x'], not = { any = [{ tls = true }, { helo = ['ok', 'a b'], sender = '/(/' }] } }";
    let mut build = Build::new("/nowhere");
    assert!(when(text).build(&mut build).is_none());
    let places: Vec<_> = build.into_remarks().iter().map(|remark| remark.path.to_string()).collect();
    assert_eq!(places, ["client[0]", "not.any[1].helo[1]", "not.any[1].sender"]);
}

#[test]
fn conditions_without_effect_are_warned_of() {
    for text in ["{}", "{ not = {} }", "{ any = [] }", "{ client = [] }", "{ failed = [] }"] {
        let mut build = Build::default();
        assert!(when(text).build(&mut build).is_some());
        let remarks = build.into_remarks();
        assert!(
            remarks.iter().all(|remark| remark.weight == Weight::Warning) && !remarks.is_empty(),
            "{text}"
        );
    }
}

#[test]
fn what_a_condition_needs_of_others_is_known_before_it_is_built() {
    let when =
        when("{ accepted_by = 'a', not = { any = [{ failed = ['b', 'c'], tls = true }] }, daemon = 'x' }");
    assert_eq!(when.names(), ["a", "b", "c"]);
    assert_eq!(when.macros(), ["{cipher}", "{daemon_name}", "{tls_version}"]);
}

#[test]
fn unknown_keys_and_wrong_types_are_refused() {
    for (text, said) in [
        ("{ clients = 'x' }", "unknown field `clients`"),
        ("{ authenticated = 7 }", "true, false, or a list of users"),
        ("{ client = true }", "a list, such as"),
    ] {
        let error = toml::from_str::<Table>(&format!("when = {text}")).err().unwrap().to_string();
        assert!(error.contains(said), "{error}");
    }
}

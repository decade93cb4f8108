use std::fs;
use std::path::Path;

use tamis::Stage;
use tamis::testing::{Mta, Report};

use crate::kind::Plan;
use crate::testing::{build, misread, plan, run, texts};

fn mta() -> Mta {
    Mta::postfix().client("mail.a.example.net", "192.0.2.7:4321".parse().unwrap()).helo("mail.a.example.net")
}

fn mail(plan: &Plan, mta: Mta, sender: &str, recipients: &[&str]) -> Report {
    let mta = recipients.iter().fold(mta.from(sender), Mta::to);
    run(plan, &mta.message("Subject: x\n\nx\n"))
}

/// What the client is told in the end.
fn reply(settings: &str, sender: &str) -> String {
    let reply = mail(&plan("policy", settings), mta(), sender, &["<bob@example.org>"]).reply();
    if reply.starts_with("250") { "250".to_owned() } else { reply }
}

#[test]
fn clients_are_looked_up_by_address_then_name_then_domains_above() {
    for (entries, expected) in [
        (
            "'192.0.2.7 REJECT address', '192.0.2.0/24 REJECT network', 'mail.a.example.net REJECT name'",
            "address",
        ),
        ("'192.0.0.0/16 REJECT wide', '192.0.2.0/24 REJECT network'", "network"),
        ("'192 REJECT one', '192.0.2 REJECT octets', '192.0 REJECT two'", "octets"),
        ("'10.0.0.0/8 REJECT other', 'mail.a.example.net REJECT name', '.example.net REJECT domain'", "name"),
        ("'.example.net REJECT domain', '.a.example.net REJECT nearer', '* REJECT any'", "nearer"),
        ("'*.mail.a.example.net REJECT below', 'a.example.net REJECT not me', '* REJECT any'", "any"),
        ("'::ffff:192.0.2.0/120 REJECT mapped'", "mapped"),
    ] {
        let reply = reply(&format!("client = [{entries}]"), "<joe@example.com>");
        assert_eq!(reply, format!("550 5.7.1 {expected}"), "{entries}");
    }
}

#[test]
fn clients_that_pass_are_asked_nothing_more() {
    let settings = "client = ['192.0.2.7 OK', '* REJECT']\nsender = '* REJECT'";
    assert_eq!(reply(settings, "<joe@example.com>"), "250");
    let settings = "client = ['192.0.2.7 continue', '192.0.2.0/24 REJECT']\nsender = 'joe@ REJECT sender'";
    assert_eq!(reply(settings, "<joe@example.com>"), "550 5.7.1 sender");
}

#[test]
fn senders_are_looked_up_by_address_then_domain_then_user() {
    let all = "sender = ['joe@a.example.com REJECT address', 'a.example.com REJECT domain', \
               '.example.com REJECT above', 'joe@ REJECT user', '* REJECT any', '<> REJECT null']";
    for (sender, expected) in [
        ("<Joe@A.Example.COM>", "address"),
        ("<joe+lists@a.example.com>", "address"),
        ("<bob@a.example.com>", "domain"),
        ("<joe@example.com>", "above"),
        ("<joe@b.c.example.com>", "above"),
        ("<joe+x@example.net>", "user"),
        ("<bob@example.net>", "any"),
        ("<>", "null"),
    ] {
        assert_eq!(reply(all, sender), format!("550 5.7.1 {expected}"), "{sender}");
    }
    assert_eq!(reply("sender = 'joe@example.com REJECT'\ndelimiter = ''", "<joe+x@example.com>"), "250");
    assert_eq!(
        reply("sender = 'joe@example.com REJECT'\ndelimiter = '-'", "<joe-x@example.com>"),
        "550 5.7.1 Access denied"
    );
}

#[test]
fn each_recipient_is_a_case_of_its_own() {
    let plan = plan(
        "policy",
        "recipient = ['old@example.org 550 5.1.6 has moved', 'bob@ OK', '.example.net 450 later']",
    );
    let to = ["<bob@example.org>", "<old@example.org>", "<carol@x.example.net>", "<dave@example.org>"];
    let report = mail(&plan, mta(), "<joe@example.com>", &to);
    assert_eq!(report.reply_to("<old@example.org>").unwrap(), "550 5.1.6 has moved");
    assert_eq!(report.reply_to("<carol@x.example.net>").unwrap(), "450 later");
    let delivered: Vec<_> =
        report.message().unwrap().recipients().iter().map(|to| to.address.clone()).collect();
    assert_eq!(delivered, [&b"bob@example.org"[..], b"dave@example.org"]);
}

#[test]
fn helo_names_are_looked_up_too() {
    let settings = "helo = ['.example.net 421 4.7.0 bye']";
    assert_eq!(reply(settings, "<joe@example.com>"), "421 4.7.0 bye");
    assert_eq!(reply("helo = ['localhost REJECT']", "<joe@example.com>"), "250");
}

#[test]
fn messages_of_a_client_can_be_thrown_away() {
    for settings in
        ["client = '192.0.2.7 DISCARD'", "helo = '.example.net DISCARD'", "sender = 'joe@ DISCARD'"]
    {
        let report = mail(&plan("policy", settings), mta(), "<joe@example.com>", &["<bob@example.org>"]);
        assert!(report.failures().is_empty() && report.message().is_none(), "{settings}: {report}");
        assert_eq!((report.verdict(), report.stage()), (&tamis::Verdict::Discard, Stage::Mail), "{settings}");
    }
}

#[test]
fn what_was_said_of_one_client_is_not_said_of_the_next() {
    let plan = plan("policy", "helo = 'evil.example DISCARD'");
    let mta = Mta::postfix().helo("evil.example").helo("good.example");
    let report = mail(&plan, mta, "<joe@example.com>", &["<bob@example.org>"]);
    assert!(report.message().is_some(), "the client has said another name: {report}");
}

#[test]
fn an_access_database_of_sendmail_can_be_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("access"),
        "# Sendmail's\n\
         Connect:192.0.2.99\tREJECT\n\
         From:spam@example.com\tERROR:5.7.1:550 no spam\n\
         To:old@example.org\tERROR:\"550 gone #5\"\n\
         example.edu\tREJECT\n\
         friend@example.edu\tOK\n\
         10\tRELAY\n",
    )
    .unwrap();
    let (plan, remarks) = build("policy", "access = 'file:access'", folder.path());
    assert!(remarks.is_empty(), "{remarks:?}");
    let plan = plan.unwrap();
    for (sender, to, expected) in [
        ("<spam@example.com>", "<bob@example.org>", "550 5.7.1 no spam"),
        ("<joe@example.edu>", "<bob@example.org>", "550 5.7.1 Access denied"),
        ("<friend@example.edu>", "<old@example.org>", "250"),
        ("<joe@example.com>", "<bob@example.org>", "250"),
    ] {
        let report = mail(&plan, mta(), sender, &[to]);
        assert!(report.reply().starts_with(expected), "{sender}: {}", report.reply());
    }
    let report = mail(&plan, mta(), "<joe@example.com>", &["<old@example.org>"]);
    assert_eq!(report.reply_to("<old@example.org>").unwrap(), "550 gone #5");
    let report = mail(
        &plan,
        mta().client("x.example.edu", "192.0.2.99:1".parse().unwrap()),
        "<a@b.example>",
        &["<c@d.example>"],
    );
    assert_eq!(report.verdict_at(Stage::Connect).unwrap().to_string(), "550 5.7.1 Access denied");
}

#[test]
fn the_own_entries_of_a_direction_count_before_the_shared_ones() {
    let settings = "sender = 'joe@example.com OK'\naccess = 'From:joe@example.com REJECT'";
    assert_eq!(reply(settings, "<joe@example.com>"), "250");
    // But a better key is a better key.
    let settings = "sender = 'example.com OK'\naccess = 'From:joe@example.com REJECT'";
    assert_eq!(reply(settings, "<joe@example.com>"), "550 5.7.1 Access denied");
}

#[test]
fn only_stages_with_entries_are_asked_for() {
    for (settings, expected) in [
        ("client = '192.0.2.9 REJECT'", vec![Stage::Connect]),
        ("client = '192.0.2.9 DISCARD'", vec![Stage::Connect, Stage::Mail]),
        ("sender = 'a@ REJECT'\nrecipient = 'b@ REJECT'", vec![Stage::Mail, Stage::Rcpt]),
        ("access = ['To:b@ REJECT']", vec![Stage::Rcpt]),
    ] {
        let report = mail(&plan("policy", settings), mta(), "<joe@example.com>", &["<bob@example.org>"]);
        let steps = report.agreement().unwrap().steps;
        let answered = [Stage::Connect, Stage::Helo, Stage::Mail, Stage::Rcpt, Stage::Data, Stage::Header];
        let answered: Vec<_> = answered.into_iter().filter(|stage| steps.sends(*stage)).collect();
        assert_eq!(answered, expected, "{settings}");
    }
}

#[test]
fn mistakes_say_what_to_write() {
    for (text, said) in [
        ("", ": no entries: give it some for `client`"),
        ("client = 'example.com'", "client: the key has no action: write OK"),
        ("client = ['a.example OK', 'b.example MAYBE']", "client[1]: \"MAYBE\" is no action: write OK"),
        ("client = ['192.0.2.1/24 OK']", "client[0]: \"192.0.2.1/24\" is an address inside of a network"),
        ("client = ['a..b OK']", "client[0]: \"a..b\" is no domain"),
        (
            "sender = ['joe@a.example OK', 'JOE@a.example REJECT']",
            "sender[1]: \"JOE@a.example\" was said before",
        ),
        ("access = ['From:a..b OK']", "access[0]: \"a..b\" is no domain"),
    ] {
        let remarks = texts(&build("policy", text, "/etc/tamis").1);
        assert!(remarks.len() == 1 && remarks[0].starts_with(said), "{text}: {remarks:?}");
    }
    assert!(misread("policy", "clients = 'x OK'").contains("unknown field `clients`"));
}

#[test]
fn a_dotted_name_and_the_plain_one_can_differ() {
    for entries in
        ["'.example.com REJECT above', 'example.com OK'", "'example.com OK', '.example.com REJECT above'"]
    {
        let settings = format!("sender = [{entries}]");
        assert_eq!(reply(&settings, "<joe@example.com>"), "250", "{entries}");
        assert_eq!(reply(&settings, "<joe@a.example.com>"), "550 5.7.1 above", "{entries}");
    }
}

#[test]
fn messages_are_held_whoever_is_the_reason() {
    for (settings, reason) in [
        ("client = '192.0.2.7 HOLD odd client'", "odd client"),
        ("helo = '.example.net HOLD odd name'", "odd name"),
        ("sender = 'joe@ HOLD odd sender'", "odd sender"),
        ("recipient = 'bob@ HOLD odd recipient'", "odd recipient"),
        ("client = '192.0.2.7 HOLD odd client'\nhelo = '.example.net OK'", "odd client"),
        ("sender = 'joe@ QUARANTINE:odd'\nrecipient = 'bob@ HOLD later'", "odd"),
        (
            "client = '192.0.2.7 HOLD'\nsender = 'joe@ OK'\nrecipient = 'bob@ REJECT'",
            "held by the access map",
        ),
    ] {
        let report = mail(&plan("policy", settings), mta(), "<joe@example.com>", &["<bob@example.org>"]);
        assert!(report.failures().is_empty(), "{settings}: {report}");
        assert_eq!(report.message().unwrap().quarantine().as_deref(), Some(reason), "{settings}");
    }
    // What is held may be refused too, and the next message is another.
    let plan = plan("policy", "sender = 'joe@ HOLD'\nrecipient = 'old@ REJECT gone'");
    let report = mail(&plan, mta(), "<joe@example.com>", &["<old@example.org>", "<bob@example.org>"]);
    assert_eq!(report.reply_to("<old@example.org>").unwrap(), "550 5.7.1 gone");
    assert!(report.message().unwrap().quarantine().is_some());
    let report = mail(&plan, mta(), "<ann@example.com>", &["<bob@example.org>"]);
    assert_eq!(report.message().unwrap().quarantine(), None);
}

#[test]
fn regular_expressions_are_tried_where_no_other_key_fits() {
    for (settings, expected) in [
        (r"client = ['/^mail\./ REJECT one', '/example/ REJECT two']", "one"),
        (r"client = ['/\.7$/ REJECT by address', '* REJECT any']", "by address"),
        (r"client = ['/example/ REJECT no', 'mail.a.example.net REJECT name']", "name"),
        (r"helo = '/^MAIL\.A/ REJECT helo'", "helo"),
        (r"sender = ['/^j[a-z]+@example\.com$/ REJECT sender', '* OK']", "sender"),
        (r"sender = ['/(?-i)^JOE/ REJECT no', '/e@.*\/?com/ REJECT with a slash']", "with a slash"),
        (r"access = 'From:/^joe (x)?|^joe@/ REJECT with a space'", "with a space"),
    ] {
        assert_eq!(reply(settings, "<joe@example.com>"), format!("550 5.7.1 {expected}"), "{settings}");
    }
}

#[test]
fn a_bad_regular_expression_is_told() {
    for (entry, said) in [
        ("/(/ REJECT", "is no regular expression: unclosed group"),
        ("/joe REJECT", "does not end with a slash"),
        ("/joe/i REJECT", "there are no flags behind a regular expression"),
        ("/joe/", "the key has no action"),
    ] {
        let (plan, remarks) = build("policy", &format!("sender = '{entry}'"), Path::new("."));
        let remarks = texts(&remarks);
        assert!(plan.is_none() && remarks.iter().any(|remark| remark.contains(said)), "{entry}: {remarks:?}");
    }
}

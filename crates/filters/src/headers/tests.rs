use tamis::testing::{Mta, Report};
use tamis::{Actions, Offer};

use crate::testing::{build, misread, plan, run, texts};

const MESSAGE: &str = "From: alice@example.net
Subject: [SPAM]  cheap
  watches
X-Spam-Level: ***
X-Spam-Flag: YES
Received: from a
Received: from b
To: bob@example.org

Hello.
";

fn mta(message: &str) -> [Mta; 2] {
    Mta::both().map(|mta| {
        mta.client("mail.example.net", "192.0.2.7:4321".parse().unwrap())
            .macro_value("j", "mx.example.org")
            .macro_value("i", "4711")
            .macro_value("daemon_name", "smtpd")
            .helo("mail.example.net")
            .from("<alice@example.net>")
            .to("<bob@example.org>")
            .to("<carol@example.org>")
            .message(message)
    })
}

/// The lines of the header as it is delivered; `*` is what the MTA adds itself.
fn header(report: &Report) -> Vec<String> {
    let bytes = report.message().expect("it is delivered").to_bytes();
    let text = String::from_utf8_lossy(&bytes).replace("\r\n", "\n");
    let (header, _) = text.split_once("\n\n").unwrap();
    let own = header.lines().position(|line| line.contains("mail.example.net (")).expect("there is a trace");
    let mut lines: Vec<String> = header.lines().map(str::to_owned).collect();
    while lines.get(own + 1).is_some_and(|line| line.starts_with('\t')) {
        lines.remove(own + 1);
    }
    lines[own] = "*".to_owned();
    lines
}

/// What Postfix delivers, where Sendmail delivers the same.
fn after(settings: &str, message: &str) -> Vec<String> {
    let plan = plan("headers", settings);
    let [postfix, sendmail] = mta(message).map(|mta| {
        let report = run(&plan, &mta);
        assert!(report.failures().is_empty() && report.macros_not_asked_for().is_empty(), "{report}");
        header(&report)
    });
    assert_eq!(postfix, sendmail);
    postfix
}

/// What is other than it was: lines that are gone after `-`, new ones after `+`.
fn changes(settings: &str) -> Vec<String> {
    let header = after(settings, MESSAGE);
    let (before, _) = MESSAGE.split_once("\n\n").unwrap();
    let gone =
        before.lines().filter(|line| !header.iter().any(|now| now == line)).map(|line| format!("-{line}"));
    let new = header.iter().filter(|line| *line != "*" && !before.lines().any(|was| was == *line));
    gone.chain(new.map(|line| format!("+{line}"))).collect()
}

#[test]
fn fields_are_added_at_the_end_and_inserted_where_they_are_wanted() {
    let header = after(
        "[[rules]]
         add = 'X-Last: last'
         [[rules]]
         insert = 'X-First: first'
         [[rules]]
         insert = 'X-Above: above'
         above = 'received'
         [[rules]]
         insert = 'X-Below: below'
         below = 'Rec*'
         [[rules]]
         insert = 'X-Nowhere: top'
         below = 'X-None'",
        "From: a\nReceived: one\nReceived: two\nTo: b\n\nx\n",
    );
    assert_eq!(
        header,
        [
            "X-Nowhere: top",
            "X-First: first",
            "*",
            "From: a",
            "X-Above: above",
            "Received: one",
            "Received: two",
            "X-Below: below",
            "To: b",
            "X-Last: last",
        ]
    );
}

#[test]
fn fields_are_removed_by_name_and_by_value() {
    assert_eq!(
        changes("rules = [{ header = 'x-spam-*', remove = true }]"),
        ["-X-Spam-Level: ***", "-X-Spam-Flag: YES"]
    );
    assert_eq!(
        changes("rules = [{ header = ['X-*', 'To'], matches = '^yes$', remove = true }]"),
        ["-X-Spam-Flag: YES"]
    );
    assert_eq!(changes("rules = [{ header = 'X-*', matches = '(?-i)^yes$', remove = true }]"), [""; 0]);
}

#[test]
fn values_are_replaced_with_what_was_found_in_them() {
    assert_eq!(
        changes(
            r"rules = [{ header = 'Subject', matches = '^\[spam\]\s*(?<rest>.*)', replace = '${rest} [$1$$]' }]"
        ),
        ["-Subject: [SPAM]  cheap", "-  watches", "+Subject: cheap  watches [cheap  watches$]"]
    );
    assert_eq!(
        changes("rules = [{ header = 'X-Spam-Level', matches = '(.)$', replace = '' }]"),
        ["-X-Spam-Level: ***"],
        "without a value there is no field"
    );
}

#[test]
fn new_fields_can_have_what_was_found_in_others_and_what_the_mta_says() {
    assert_eq!(
        changes(
            r"[[rules]]
              header = 'X-Spam-Level'
              matches = '^(\*+)'
              add = 'X-Stars: $1 {{of}} {queue_id}/{i}'
              [[rules]]
              header = 'X-None'
              add = 'X-Never: never'
              [[rules]]
              add = 'X-From: {client} [{client_ip}] {client_name} {helo} {sender} {sender_domain}'
              [[rules]]
              add = 'X-To: {recipients} ({recipient_count}) at {mta}, {daemon_name}'
              [[rules]]
              add = 'X-User: {user}{tls}{macro:none}'"
        ),
        [
            "+X-Stars: *** {of} 4711/4711",
            "+X-From: mail.example.net [192.0.2.7] [192.0.2.7] mail.example.net mail.example.net \
             alice@example.net example.net",
            "+X-To: bob@example.org, carol@example.org (2) at mx.example.org, smtpd",
        ],
        "fields without a value are not added"
    );
}

#[test]
fn rules_see_what_those_before_them_have_done() {
    assert_eq!(
        changes(
            "[[rules]]
             add = 'X-A: 1'
             [[rules]]
             absent = 'X-A'
             add = 'X-B: 2'
             [[rules]]
             absent = ['X-B', 'X-C']
             header = 'X-A'
             matches = '(.*)'
             replace = '${1}2'"
        ),
        ["+X-A: 12"]
    );
}

#[test]
fn rules_are_for_the_messages_that_they_say() {
    let rules = |when: &str| changes(&format!("rules = [{{ when = {when}, add = 'X-A: 1' }}]"));
    for when in [
        "{ client = '192.0.2.0/24' }",
        "{ authenticated = false, helo = 'mail.example.net' }",
        "{ recipient = 'carol@example.org' }",
        "{ not = { sender_domain = 'example.org' } }",
    ] {
        assert_eq!(rules(when), ["+X-A: 1"], "{when}");
    }
    for when in ["{ client = '192.0.3.0/24' }", "{ tls = true }", "{ recipient = 'dave@example.org' }"] {
        assert_eq!(rules(when), [""; 0], "{when}");
    }
}

#[test]
fn nobody_can_end_a_field_by_what_is_inserted_into_it() {
    let plan = plan(
        "headers",
        "rules = [{ add = 'X-Helo: {helo}' }, { header = 'X-A', matches = '(?s)(.*)', add = 'X-B: $1' }]",
    );
    let mta = Mta::postfix()
        .helo("evil\r\nBcc: joe@example.com")
        .from("<alice@example.net>")
        .to("<bob@example.org>")
        .message("X-A: a\n b\n\nx\n");
    let report = run(&plan, &mta);
    let message = report.message().unwrap();
    assert_eq!(message.header("X-Helo").unwrap(), "evil  Bcc: joe@example.com");
    assert!(message.header("Bcc").is_none());
    assert_eq!(message.header("X-B").unwrap(), "a b");
}

#[test]
fn what_is_too_long_for_a_field_is_left_as_it_is() {
    let plan = plan(
        "headers",
        "rules = [{ header = 'X-A', matches = '(.*)', replace = '$1 $1' }, { add = 'X-Done: yes' }]",
    );
    let value = "x".repeat(40_000);
    let report = run(&plan, &mta(&format!("X-A: {value}\n\nx\n"))[0]);
    let message = report.message().unwrap();
    assert_eq!((message.header("X-A").unwrap().len(), message.header("X-Done").is_some()), (40_000, true));
}

const RESULTS: &str = "From: alice@example.net
Authentication-Results: mx.example.org; spf=pass smtp.mailfrom=example.net
authentication-results: (hello)
\t\"MX.Example\\.ORG\" (there) 1; dkim=pass
Authentication-Results: mx.example.net; spf=fail
Authentication-Results: mx.example.org.; none
Authentication-Results: mx.example.org.example.net; none
ARC-Authentication-Results: i=1; mx.example.org; spf=pass
Authentication-Results: spf=pass smtp.mailfrom=example.net
Authentication-Results: a.mx.example.org; spf=pass

Hello.
";

/// What is left of the results, by their first words.
fn results(settings: &str) -> Vec<String> {
    let header = after(settings, RESULTS);
    header
        .iter()
        .filter_map(|line| line.strip_prefix("Authentication-Results: "))
        .map(str::to_owned)
        .collect()
}

#[test]
fn forged_results_of_our_own_are_removed_however_they_are_written() {
    assert_eq!(
        results("firewall = {}"),
        ["mx.example.net; spf=fail", "mx.example.org.example.net; none", "a.mx.example.org; spf=pass"]
    );
    let all = after("firewall = {}", RESULTS);
    assert!(all.iter().any(|line| line.starts_with("ARC-Authentication-Results: i=1")), "seals need these");
    assert!(!all.iter().any(|line| line.contains("Example\\.ORG")), "{all:?}");
}

#[test]
fn identifiers_can_be_patterns_and_malformed_fields_may_stay() {
    assert_eq!(
        results("firewall = { ids = ['*.example.org', '{j}'], malformed = false }"),
        [
            "mx.example.net; spf=fail",
            "mx.example.org.example.net; none",
            "spf=pass smtp.mailfrom=example.net"
        ]
    );
    assert_eq!(
        results("firewall = { ids = ['mx.example.net.'], malformed = false }").len(),
        5,
        "the dot of the root does not matter"
    );
}

#[test]
fn results_of_those_whom_we_believe_stay() {
    assert_eq!(results("firewall = { when = { not = { client = '192.0.2.0/24' } } }").len(), 6);
    assert_eq!(results("firewall = { when = { authenticated = false } }").len(), 3);
}

#[test]
fn the_firewall_comes_before_the_rules() {
    let header = after(
        "firewall = {}
         rules = [{ insert = 'Authentication-Results: mx.example.org; none' }]",
        RESULTS,
    );
    assert_eq!(header[0], "Authentication-Results: mx.example.org; none");
}

#[test]
fn only_what_is_needed_is_negotiated() {
    let needs = |settings: &str| {
        let report = run(&plan("headers", settings), &mta(MESSAGE)[0]);
        let agreement = report.agreement().unwrap();
        let sent = [tamis::Stage::Connect, tamis::Stage::Rcpt].map(|stage| agreement.steps.sends(stage));
        (agreement.actions & (Actions::ADD_HEADERS | Actions::CHANGE_HEADERS), sent)
    };
    assert_eq!(needs("rules = [{ add = 'X: y' }]"), (Actions::ADD_HEADERS, [false, false]));
    assert_eq!(needs("rules = [{ header = 'X', remove = true }]"), (Actions::CHANGE_HEADERS, [false, false]));
    assert_eq!(needs("firewall = {}"), (Actions::CHANGE_HEADERS, [false, false]));
    let both = Actions::ADD_HEADERS | Actions::CHANGE_HEADERS;
    assert_eq!(needs("firewall = {}\nrules = [{ add = 'X: {sender}' }]"), (both, [true, true]));
}

#[test]
fn what_the_filter_needs_of_the_mta_is_in_its_nature() {
    let nature =
        plan("headers", "firewall = {}\nrules = [{ when = { tls = true }, add = 'X: {client_ptr}' }]").nature;
    assert!(nature.edits_header && !nature.edits_body && !nature.signs);
    assert_eq!(nature.macros, ["j", "{cipher}", "{client_ptr}", "{tls_version}"]);
}

#[test]
fn mistakes_say_what_to_write() {
    for (text, said) in [
        ("", ": nothing to do: give it a `firewall`, or `rules`"),
        (
            "rules = [{ }]",
            "rules[0]: a rule does one of `add`, `insert`, `replace` and `remove`; this one does 0",
        ),
        ("rules = [{ add = 'A: b', insert = 'A: b' }]", "rules[0]: a rule does one of"),
        ("rules = [{ add = 'A b' }]", "rules[0].add: \"A b\" is no header field: write \"Name: value\""),
        ("rules = [{ add = 'A b: c' }]", "rules[0].add: \"A b\" is no name of a header field"),
        ("rules = [{ add = \"A: b\\nC: d\" }]", "rules[0].add: a value is one line"),
        (
            "rules = [{ add = 'A: {sendr}' }]",
            "rules[0].add: nothing is known as {sendr}: write a macro as {macro:NAME}",
        ),
        (
            "rules = [{ header = 'A', add = 'A: $1' }]",
            "rules[0].add: the regular expression has no group \"1\"",
        ),
        ("rules = [{ replace = 'x' }]", "rules[0].replace: it needs a `header`"),
        ("rules = [{ remove = true }]", "rules[0].remove: it needs a `header`"),
        ("rules = [{ header = 'A', remove = false }]", "rules[0].remove: write `remove = true`"),
        (
            "rules = [{ header = 'A:', remove = true }]",
            "rules[0].header[0]: \"A:\" is no name of a header field",
        ),
        ("rules = [{ header = [], remove = true }]", "rules[0].header: no name of a header field"),
        ("rules = [{ matches = 'x', add = 'A: b' }]", "rules[0].matches: it needs a `header`"),
        (
            "rules = [{ header = 'A', matches = '(', remove = true }]",
            "rules[0].matches: /(/ is no regular expression",
        ),
        ("rules = [{ add = 'A: b', above = 'B' }]", "rules[0].above: it is for `insert`"),
        (
            "rules = [{ insert = 'A: b', above = 'B', below = 'C' }]",
            "rules[0].below: there is an `above` as well",
        ),
        (
            "rules = [{ when = { failed = 'x' }, add = 'A: b' }]",
            "rules[0].when.failed: other filters are not known here",
        ),
        ("firewall = { ids = [''] }", "firewall.ids[0]: \"\" is no identifier"),
        ("firewall = { ids = ['{jj}'] }", "firewall.ids[0]: nothing is known as {jj}"),
        ("firewall = { ids = [] }", "firewall.ids: without an identifier only malformed fields are removed"),
    ] {
        let remarks = texts(&build("headers", text, "/etc/tamis").1);
        assert!(remarks.len() == 1 && remarks[0].starts_with(said), "{text}: {remarks:?}");
    }
    assert!(misread("headers", "rules = [{ ad = 'x' }]").contains("unknown field `ad`"));
}

#[test]
fn an_mta_that_cannot_change_headers_does_not_get_mail_past_the_filter() {
    let offer = Offer { actions: Actions::ADD_HEADERS, ..Offer::CURRENT };
    let mta = Mta::new(tamis::testing::MtaConfig::new(tamis::testing::Profile::Postfix).with_offer(offer));
    let report = run(
        &plan("headers", "firewall = {}"),
        &mta.from("<a@example.com>").to("<b@example.org>").message(RESULTS),
    );
    assert!(report.message().is_none() && report.reply().starts_with("451"), "{report}");
}

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use tamis::testing::{Mta, Report};
use tracing_subscriber::fmt::MakeWriter;

use crate::testing::{build, misread, plan, run, texts};

const MESSAGE: &str =
    "From: alice@example.net\nSubject: hello \n \"Bob\"\nsubject: second\nMessage-ID: <1@x>\n\nHello.\n";

fn mta() -> Mta {
    Mta::postfix()
        .client("mail.example.net", "192.0.2.7:4321".parse().unwrap())
        .macro_value("i", "4711")
        .helo("mail\x07\"x")
        .from("<Alice@Example.NET>")
        .to("<bob@example.org>")
        .to("<carol@example.org>")
}

/// What is written while something runs.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Written {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

fn logged(settings: &str, mta: &Mta) -> (String, Report) {
    let written = Written::default();
    let filter = tracing_subscriber::EnvFilter::new("off,tamis::message=info");
    let subscriber = tracing_subscriber::fmt()
        .with_writer(written.clone())
        .with_env_filter(filter)
        .without_time()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .finish();
    let plan = plan("log", settings);
    let report = tracing::subscriber::with_default(subscriber, || run(&plan, mta));
    assert!(report.failures().is_empty() && report.macros_not_asked_for().is_empty(), "{report}");
    (String::from_utf8(written.0.lock().unwrap().clone()).unwrap(), report)
}

/// The lines as they are written.
fn lines(settings: &str, mta: &Mta) -> Vec<String> {
    let (text, _) = logged(settings, mta);
    let message = |line: &str| {
        let object: serde_json::Value = serde_json::from_str(line).unwrap();
        object["message"].as_str().unwrap().to_owned()
    };
    text.lines().map(message).collect()
}

#[test]
fn a_line_has_the_chosen_fields_in_their_order() {
    let settings = "fields = ['sender', 'queue_id', 'i', 'client', 'client_ip', 'helo', 'user', 'recipients', \
                    'recipient_count', 'outcome', 'size', 'header:subject', 'header:X-None', 'sender_domain']";
    assert_eq!(
        lines(settings, &mta().message(MESSAGE)),
        [
            "sender=Alice@Example.NET queue_id=4711 i=4711 client=\"mail.example.net [192.0.2.7]\" client_ip=192.0.2.7 \
          helo=\"mail\\u{7}\\\"x\" user=- recipients=\"bob@example.org, carol@example.org\" recipient_count=2 \
          outcome=passed size=94 header:subject=\"hello  \\\"Bob\\\"\" header:X-None=- sender_domain=example.net"
        ]
    );
}

#[test]
fn the_size_is_that_of_header_and_body() {
    let message = MESSAGE.replace('\n', "\r\n");
    let expected = message.len() - "\r\n".len();
    assert_eq!(lines("fields = ['size']", &mta().message(MESSAGE)), [format!("size={expected}")]);
}

#[test]
fn json_has_the_fields_in_their_order_too() {
    let settings = "format = 'json'\nfields = ['size', 'recipients', 'helo', 'user', 'seconds']";
    assert_eq!(
        lines(settings, &mta().message("A: b\n\nx\n")),
        [
            r#"{"size":9,"recipients":["bob@example.org","carol@example.org"],"helo":"mail\u0007\"x","user":null,"seconds":0.000}"#
        ]
    );
}

#[test]
fn fields_can_be_fields_of_the_log() {
    let settings =
        "format = 'journald'\nfields = ['queue_id', 'size', 'client_ip', 'user', 'header:Subject', 'i']";
    let (text, _) = logged(settings, &mta().message(MESSAGE));
    let object: serde_json::Value = serde_json::from_str(&text).unwrap();
    let fields = object.as_object().unwrap();
    let of_event: serde_json::Map<_, _> = fields
        .iter()
        .filter(|(name, _)| !["level", "target"].contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let expected: serde_json::Value = serde_json::json!({
        "client_ip": "192.0.2.7",
        "message": "message passed",
        "more": "header:Subject=\"hello  \\\"Bob\\\"\" i=4711",
        "queue_id": "4711",
        "size": 94,
    });
    assert_eq!(Some(&of_event), expected.as_object());
    assert_eq!(fields["target"], "tamis::message");
}

#[test]
fn a_template_is_a_line_of_ones_own() {
    let settings = "template = '{queue_id}: from=<{sender}> {{{header:Subject}}} helo={helo} {user}.'";
    assert_eq!(
        lines(settings, &mta().message(MESSAGE)),
        ["4711: from=<Alice@Example.NET> {hello  \"Bob\"} helo=mail \"x ."]
    );
}

#[test]
fn every_message_has_one_line_also_if_it_is_given_up() {
    let mta = mta()
        .message(MESSAGE)
        .from("<>")
        .to("<dave@example.org>")
        .reset()
        .from("<eve@example.net>")
        .to("<dave@example.org>")
        .message("X: y\n\nx\n");
    let settings = "fields = ['outcome', 'sender', 'recipients', 'header:Message-ID']";
    assert_eq!(
        lines(settings, &mta),
        [
            "outcome=passed sender=Alice@Example.NET recipients=\"bob@example.org, carol@example.org\" header:Message-ID=<1@x>",
            "outcome=aborted sender=\"\" recipients=dave@example.org header:Message-ID=-",
            "outcome=passed sender=eve@example.net recipients=dave@example.org header:Message-ID=-",
        ]
    );
    assert_eq!(lines(&format!("{settings}\naborted = false"), &mta).len(), 2);
}

#[test]
fn long_values_are_cut_and_of_many_recipients_fifty_are_shown() {
    let mta = (0..60)
        .fold(Mta::postfix().from("<a@example.com>"), |mta, number| mta.to(format!("<r{number}@x.example>")));
    let mta = mta.message(format!("Subject: {}\n\nx\n", "é".repeat(600)));
    let lines = lines("fields = ['recipient_count', 'header:Subject', 'recipients']", &mta);
    assert!(lines[0].starts_with("recipient_count=60 header:Subject="), "{}", lines[0]);
    assert!(lines[0].contains(&format!("{}…", "é".repeat(500))) && !lines[0].contains(&"é".repeat(501)));
    assert!(lines[0].contains("r49@x.example") && !lines[0].contains("r50@x.example"), "{}", lines[0]);
}

#[test]
fn only_what_is_needed_is_negotiated_and_nothing_is_answered() {
    use tamis::Stage::{Body, Connect, Header, Mail, Rcpt};
    for (settings, expected) in [
        ("fields = ['queue_id', 'outcome']", vec![Mail]),
        ("fields = ['sender']", vec![Connect, Mail, Rcpt]),
        ("fields = ['header:Subject']", vec![Mail, Header]),
        ("template = '{size}'", vec![Mail, Header, Body]),
    ] {
        let (_, report) = logged(settings, &mta().message(MESSAGE));
        let steps = report.agreement().unwrap().steps;
        let sent: Vec<_> =
            [Connect, Mail, Rcpt, Header, Body].into_iter().filter(|stage| steps.sends(*stage)).collect();
        assert_eq!(sent, expected, "{settings}");
        assert!(sent.iter().all(|stage| !steps.answers(*stage)), "{settings}");
    }
}

#[test]
fn mistakes_say_what_to_write() {
    for (text, said) in [
        ("fields = []", "fields: a line without fields says nothing"),
        (
            "fields = ['sender', 'sendr']",
            "fields[1]: there is no field \"sendr\": write one of outcome, seconds, size, queue_id,",
        ),
        ("fields = ['header:']", "fields[0]: \"\" is no name of a header field"),
        ("template = '{sender'", "template: a \"{\" without a \"}\""),
        ("template = 'x'\nformat = 'json'", "template: a template is text"),
    ] {
        let remarks = texts(&build("log", text, "/etc/tamis").1);
        assert!(remarks.len() == 1 && remarks[0].starts_with(said), "{text}: {remarks:?}");
    }
    assert!(misread("log", "format = 'xml'").contains("unknown variant `xml`"));
}

//! Every example as a program of its own, behind a real Postfix.

use std::io::Write as _;
use std::time::Duration;

use tamis_interop::case::Config;
use tamis_interop::host::Listen;
use tamis_interop::program::Served;
use tamis_interop::site::Site;
use tamis_interop::smtp::Client;
use tamis_interop::text::escape;

const PATIENCE: Duration = Duration::from_secs(20);

const HELLO: &str = "From: alice@example.com\r\nSubject: hello\r\n\r\nHello.\r\n";

/// An example behind Postfix.
struct Running {
    site: Site,
    served: Served,
}

impl Running {
    fn start(example: &str, arguments: &[&str], settings: &[(&str, &str)]) -> Self {
        let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let site = Site::start(&Config { settings: settings.collect(), ..Config::default() });
        let Listen::Tcp(address) = site.listen else { panic!("a port was asked for") };
        let served = Served::start_example(example, address, arguments);
        Self { site, served }
    }

    /// Sends a message and returns what the client is told last.
    fn send(&self, sender: &str, message: &str) -> String {
        let mut client = Client::connect(self.site.mta.smtp()).unwrap();
        assert_eq!(client.reply().unwrap().code(), 220);
        assert_eq!(client.command("EHLO client.example").unwrap().code(), 250);
        let mut reply = client.command(&format!("MAIL FROM:<{sender}>")).unwrap();
        if reply.code() == 250 {
            assert_eq!(client.command("RCPT TO:<bob@example.org>").unwrap().code(), 250);
            assert_eq!(client.command("DATA").unwrap().code(), 354);
            client.message(message.as_bytes()).unwrap();
            reply = client.reply().unwrap();
        }
        assert_eq!(client.command("QUIT").unwrap().code(), 221);
        reply.to_string()
    }

    /// Sends a message that passes, ends the example, and returns what is delivered, escaped and without the MTA's
    /// own field.
    fn deliver(self, message: &str) -> String {
        let reply = self.send("alice@example.com", message);
        assert!(reply.starts_with("250 "), "{reply}");
        let delivered = self.site.sink.wait(1, PATIENCE);
        let message = escape(&delivered.first().expect("it is delivered").message);
        assert!(self.served.terminate().success());
        let own = message.find("Received: ").expect("Postfix adds it");
        let end = message[own..]
            .match_indices("\\r\\n")
            .find(|(at, _)| !message[own + at + 4..].starts_with("\\t"));
        let end = own + end.expect("it ends").0 + 4;
        [&message[..own], &message[end..]].concat()
    }
}

#[test]
fn trace_logs_what_postfix_tells() {
    let running = Running::start("trace", &[], &[]);
    assert!(running.send("alice@example.com", HELLO).starts_with("250 "));
    for line in [
        "negotiate: version 6, ",
        "connect: [127.0.0.1], port ",
        "helo: \"client.example\"",
        "{mail_addr} = alice@example.com",
        "rcpt: ",
        "header: \"Subject\": \"hello\"",
        "body: 8 bytes, \"Hello.\\r\\n\"",
        "end of message",
        "close",
    ] {
        running.served.wait_for_line(line);
    }
    assert!(escape(&running.site.sink.wait(1, PATIENCE)[0].message).ends_with(&escape(HELLO.as_bytes())));
}

#[test]
fn client_header_has_the_address() {
    let delivered = Running::start("client_header", &[], &[]).deliver(HELLO);
    assert!(delivered.starts_with("X-Client-Address: 127.0.0.1\\r\\n"), "{delivered}");
}

#[test]
fn footer_is_appended() {
    let delivered = Running::start("footer", &[], &[]).deliver(HELLO);
    let footer = "Hello.\\r\\n-- \\r\\nTo leave this list write to leave@lists.example.org\\r\\n";
    assert!(delivered.ends_with(footer), "{delivered}");
}

#[test]
fn tag_outside_tags_the_subject() {
    let delivered = Running::start("tag_outside", &["--inside", "192.0.2.0/24"], &[]).deliver(HELLO);
    assert!(delivered.contains("\\r\\nSubject: [outside] hello\\r\\n"), "{delivered}");
}

#[test]
fn tag_outside_leaves_mail_from_inside_as_it_is() {
    let delivered = Running::start("tag_outside", &[], &[]).deliver(HELLO);
    assert_eq!(delivered, escape(HELLO.as_bytes()));
}

#[test]
fn reject_sender_refuses_who_is_in_the_table() {
    let mut table = tempfile::NamedTempFile::new().unwrap();
    table.write_all(b"spam.example too much advertising\n").unwrap();
    let running = Running::start("reject_sender", &["--table", table.path().to_str().unwrap()], &[]);
    assert_eq!(running.send("joe@mail.spam.example", HELLO), "550 5.7.1 too much advertising");
    assert_eq!(running.deliver(HELLO), escape(HELLO.as_bytes()));
}

#[test]
fn slow_lookup_takes_longer_than_postfix_waits_without_progress() {
    let arguments = ["--lookup-time", "6", "--log-level", "tamis::wire=trace"];
    let running = Running::start("slow_lookup", &arguments, &[("milter_content_timeout", "3s")]);
    let reply = running.send("alice@example.com", HELLO);
    assert!(reply.starts_with("250 "), "{reply}");
    running.served.wait_for_line("< progress");
    let delivered = escape(&running.site.sink.wait(1, PATIENCE)[0].message);
    assert!(delivered.contains("\\r\\nX-Reputation: local\\r\\n"), "{delivered}");
}

#[test]
fn slow_lookup_is_given_up_at_the_deadline() {
    let running = Running::start("slow_lookup", &["--lookup-time", "60", "--deadline", "2"], &[]);
    let reply = running.send("alice@example.com", HELLO);
    assert_eq!(reply, "451 4.3.0 the lookup takes too long, try again later");
    running.served.wait_for_line("no verdict within 2s");
}

#[test]
fn strip_attachments_leaves_a_note() {
    let message = "Subject: two\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
        --b\r\n\r\nHello\r\n--b\r\nContent-Disposition: attachment; filename=a.exe\r\n\r\nMZ\r\n--b--\r\n";
    let delivered = Running::start("strip_attachments", &[], &[]).deliver(message);
    assert!(delivered.contains("\\r\\n\\r\\n--b\\r\\n\\r\\nHello\\r\\n--b\\r\\n"), "{delivered}");
    assert!(delivered.contains("a.exe") && delivered.contains(" was removed."), "{delivered}");
    assert!(!delivered.contains("MZ"), "{delivered}");
}

#[test]
fn linear_refuses_the_test_text_and_marks_what_passes() {
    let running = Running::start("linear", &[], &[]);
    let spam = "\r\nXJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X\r\n";
    assert_eq!(running.send("joe@example.net", spam), "550 5.7.1 this is spam");
    let delivered = running.deliver(HELLO);
    assert!(delivered.contains("\\r\\nX-Scanned: 8 bytes\\r\\n\\r\\n"), "{delivered}");
}

#[test]
fn negotiate_has_suspicious_mail_held_and_no_other() {
    let running = Running::start("negotiate", &[], &[]);
    let suspicious = format!("Reply-To: alice@example.net\r\n{HELLO}");
    assert!(running.send("alice@example.com", &suspicious).starts_with("250 "));
    let held = running.site.mta.held();
    assert_eq!(held.iter().map(|held| &*held.sender).collect::<Vec<_>>(), ["alice@example.com"]);
    assert_eq!(running.deliver(HELLO), escape(HELLO.as_bytes()));
}

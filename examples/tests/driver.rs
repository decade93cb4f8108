//! Every example, played by the test driver as both MTAs.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tamis::testing::{Mta, MtaConfig, Profile, Report};
use tamis::{Actions, Filter, Offer, Stage, Verdict};

// Nobody calls their `main` here.
#[allow(dead_code)]
#[path = "../src/bin/client_header.rs"]
mod client_header;
#[allow(dead_code)]
#[path = "../src/bin/footer.rs"]
mod footer;
#[allow(dead_code)]
#[path = "../src/bin/linear.rs"]
mod linear;
#[allow(dead_code)]
#[path = "../src/bin/negotiate.rs"]
mod negotiate;
#[allow(dead_code)]
#[path = "../src/bin/reject_sender.rs"]
mod reject_sender;
#[allow(dead_code)]
#[path = "../src/bin/slow_lookup.rs"]
mod slow_lookup;
#[allow(dead_code)]
#[path = "../src/bin/strip_attachments.rs"]
mod strip_attachments;
#[allow(dead_code)]
#[path = "../src/bin/tag_outside.rs"]
mod tag_outside;
#[allow(dead_code)]
#[path = "../src/bin/trace.rs"]
mod trace;

const HELLO: &str = "From: alice@example.net\nSubject: hello\n\nHi Bob!\n";

/// Runs a session that has no surprises.
fn run<F: Filter>(mta: &Mta, filter: F) -> Report {
    let report = mta.run_blocking(|_| filter).unwrap();
    assert_eq!(report.failures(), []);
    assert_eq!(report.macros_not_asked_for(), []);
    report
}

/// What is logged while a function runs.
fn log_of(run: impl FnOnce()) -> String {
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(text)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone());
    tracing::subscriber::with_default(subscriber.finish(), run);
    let text = log.0.lock().unwrap().clone();
    String::from_utf8(text).unwrap()
}

#[test]
fn trace_logs_every_stage_and_changes_nothing() {
    for mta in Mta::both() {
        let mta = mta.helo("mx.example.net").unknown("VRFY bob").from("<alice@example.net> SIZE=100");
        let mta = mta.to("<bob@example.org>").message(HELLO).from("<>").reset();
        let log = log_of(|| {
            let report = run(&mta, trace::Trace);
            assert_eq!(report.messages()[0].edits(), []);
            assert!(report.messages()[0].message().is_some());
        });
        let mut rest = &*log;
        for event in [
            "negotiate: version 6, ",
            "connect: [192.0.2.1], port 49152\n",
            "helo: \"mx.example.net\"\n",
            "unknown command: \"VRFY",
            "mail: ",
            "alice@example.net",
            "rcpt: ",
            "  {rcpt_addr} = bob@example.org\n",
            "data\n",
            "header: \"Subject\": \"hello\"\n",
            "end of headers\n",
            "body: 9 bytes, \"Hi Bob!\\r\\n\"\n",
            "end of message\n",
            "abort\n",
            "close\n",
        ] {
            let at = rest.find(event).unwrap_or_else(|| panic!("{event:?} is missing in\n{rest}"));
            rest = &rest[at + event.len()..];
        }
    }
}

#[test]
fn client_header_has_the_address_and_no_forged_one() {
    let forged = format!("X-Client-Address: 198.51.100.7\n{HELLO}");
    for mta in Mta::both() {
        let client = "[::ffff:192.0.2.7]:4321".parse().unwrap();
        let report = run(&mta.client_address(client).message(&forged), client_header::ClientHeader);
        let addresses: Vec<_> = report.message().unwrap().headers("X-Client-Address").collect();
        assert_eq!(addresses, ["192.0.2.7"]);
    }
}

#[test]
fn client_header_says_so_where_there_is_no_address() {
    for mta in Mta::both() {
        let report = run(&mta.unknown_client().message(HELLO), client_header::ClientHeader);
        let message = report.message().unwrap();
        assert_eq!(message.header("X-Client-Address").unwrap(), "unknown");
        assert_eq!(message.fields()[0].name, "X-Client-Address");
    }
}

#[test]
fn footer_is_appended_to_plain_text_on_a_line_of_its_own() {
    for mta in Mta::both() {
        let with_type = format!("Content-Type: text/plain; charset=us-ascii\n{HELLO}");
        for message in [HELLO, with_type.as_str(), with_type.trim_end()] {
            let report = run(&mta.clone().message(message), footer::Footer);
            let body = String::from_utf8(report.message().unwrap().body()).unwrap();
            assert_eq!(body, "Hi Bob!\r\n-- \r\nTo leave this list write to leave@lists.example.org\r\n");
        }
    }
}

#[test]
fn footer_leaves_alone_what_is_not_plain_text() {
    for field in ["Content-Type: text/html", "Content-Transfer-Encoding: base64"] {
        for mta in Mta::both() {
            let report = run(&mta.message(format!("{field}\n{HELLO}")), footer::Footer);
            assert_eq!(report.message().unwrap().body(), b"Hi Bob!\r\n");
        }
    }
}

#[test]
fn footer_replaces_a_body_that_is_too_long() {
    for mta in Mta::both() {
        let report = run(&mta.message(HELLO.to_owned() + &"0123456789\n".repeat(10_000)), footer::Footer);
        let body = String::from_utf8(report.message().unwrap().body()).unwrap();
        assert!(body.starts_with("(This message was too long for the list.)\r\n-- \r\n"), "{body}");
        assert_eq!(body.lines().count(), 3);
    }
}

fn tag_outside() -> tag_outside::TagOutside {
    let inside = vec!["192.0.2.0/24".parse().unwrap()];
    tag_outside::TagOutside::new(Arc::new(tag_outside::Settings { inside }))
}

#[test]
fn tag_outside_is_put_before_the_subject_once() {
    for (subject, expected) in [
        ("Subject: hello\n", "[outside] hello"),
        ("Subject: =?iso-8859-1?q?caf=E9?=\n", "=?utf-8?"),
        ("Subject: Re: [outside] hello\n", "Re: [outside] hello"),
        ("", "[outside]"),
    ] {
        for mta in Mta::both() {
            let client = mta.client_address("198.51.100.1:4321".parse().unwrap());
            let report = run(&client.message(format!("From: a@example.net\n{subject}\nHi\n")), tag_outside());
            let message = report.message().unwrap();
            let tagged: Vec<_> = message.headers("Subject").collect();
            assert!(tagged.len() == 1 && tagged[0].starts_with(expected), "{tagged:?}");
        }
    }
}

#[test]
fn tag_outside_is_not_for_our_networks_and_users() {
    for mta in Mta::both() {
        let user = mta.clone().client_address("198.51.100.1:4321".parse().unwrap());
        let user = user.macro_value("auth_authen", "alice").macro_value("auth_type", "PLAIN");
        for inside in [mta, user] {
            let report = run(&inside.message(HELLO), tag_outside());
            assert_eq!(report.message().unwrap().header("Subject").unwrap(), "hello");
        }
    }
}

#[test]
fn reject_sender_goes_by_address_domain_and_parent_domain() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let lines = "# comment\n\nSpam.example  too much advertising\nok@spam.example OK\nbob@example.net\n";
    file.write_all(lines.as_bytes()).unwrap();
    let table = Arc::new(reject_sender::read(file.path()).unwrap());
    for (sender, told) in [
        ("<joe@spam.example>", Some("too much advertising")),
        ("<joe@mail.Spam.Example>", Some("too much advertising")),
        ("<OK@spam.example>", None),
        ("<BOB@example.net>", Some("not allowed here")),
        ("<alice@example.net>", None),
        ("<joe@otherspam.example>", None),
        ("<>", None),
    ] {
        for mta in Mta::both() {
            let report = run(&mta.from(sender).message(HELLO), reject_sender::RejectSender(table.clone()));
            assert_eq!(report.message().is_none(), told.is_some(), "{sender}: {report}");
            if let Some(told) = told {
                assert_eq!(report.verdict_at(Stage::Mail), Some(&Verdict::reject("5.7.1", told)));
            }
        }
    }
}

#[test]
fn reject_sender_names_a_table_that_it_cannot_read() {
    let error = reject_sender::read("/nonexistent/table".as_ref()).unwrap_err();
    assert!(error.starts_with("cannot read the table /nonexistent/table: "), "{error}");
}

#[test]
fn slow_lookup_has_the_mta_wait_and_adds_the_answer() {
    let settings = slow_lookup::Settings { lookup_time: 20, deadline: 60 };
    for mta in Mta::both() {
        let report = run(&mta.options(settings.options()).message(HELLO), slow_lookup::SlowLookup(settings));
        assert_eq!(report.message().unwrap().header("X-Reputation").unwrap(), "unknown");
        assert_eq!(report.elapsed(), Duration::from_secs(20));
        assert_eq!(report.progress(), 19);
    }
}

#[test]
fn slow_lookup_is_given_up_at_the_deadline() {
    let settings = slow_lookup::Settings { lookup_time: 100, deadline: 60 };
    for mta in Mta::both() {
        let mta = mta.options(settings.options()).message(HELLO);
        let report = mta.run_blocking(|_| slow_lookup::SlowLookup(settings)).unwrap();
        assert_eq!(report.elapsed(), Duration::from_mins(1));
        assert_eq!(report.reply(), "451 4.3.0 the lookup takes too long, try again later");
        assert_eq!(report.failures().len(), 1);
    }
}

const MULTIPART: &str = "\
Content-Type: multipart/mixed; boundary=b

--b

Hello
--b
Content-Disposition: attachment;
 filename*0*=utf-8''invoice%2e; filename*1=EXE

MZ
--b
Content-Disposition: attachment; filename=notes.txt

kept
--b--
";

#[test]
fn strip_attachments_takes_out_programs_and_nothing_else() {
    for mta in Mta::both() {
        let report = run(&mta.message(MULTIPART), strip_attachments::StripAttachments);
        let body = String::from_utf8(report.message().unwrap().body()).unwrap();
        assert!(body.starts_with("--b\r\n\r\nHello\r\n--b\r\n"), "{body}");
        assert!(
            body.contains("The attachment \"invoice.EXE\" was removed.\r\n") && !body.contains("MZ"),
            "{body}"
        );
        assert!(
            body.ends_with(
                "--b\r\nContent-Disposition: attachment; filename=notes.txt\r\n\r\nkept\r\n--b--\r\n"
            ),
            "{body}"
        );
    }
}

#[test]
fn strip_attachments_takes_out_a_message_that_is_one_attachment() {
    let program = "Subject: program\nContent-Type: application/octet-stream; name=a.exe\n\
        Content-Disposition: attachment; filename=a.exe\nContent-Transfer-Encoding: base64\n\nTVo=\n";
    for mta in Mta::both() {
        let report = run(&mta.message(program), strip_attachments::StripAttachments);
        let message = report.message().unwrap();
        assert!(message.header("Content-Type").unwrap().starts_with("text/plain"), "{report}");
        assert!(message.header("Content-Disposition").is_none(), "{report}");
        assert_eq!(message.header("Subject").unwrap(), "program");
        assert!(String::from_utf8(message.body()).unwrap().contains("was removed"), "{report}");
    }
}

#[test]
fn strip_attachments_does_not_touch_harmless_mail() {
    for mta in Mta::both() {
        let harmless = MULTIPART.replace("invoice%2e", "invoice").replace("=EXE", "=.pdf");
        let report = run(&mta.message(harmless), strip_attachments::StripAttachments);
        assert_eq!(report.edits(), []);
        assert!(report.message().is_some());
    }
}

#[test]
fn linear_refuses_the_test_text_also_where_it_is_in_two_pieces() {
    const GTUBE: &str = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X";
    for filler in [0, 65_490, 65_530] {
        for mta in Mta::both() {
            let report = run(&mta.message(format!("\n{}{GTUBE}\n", "x".repeat(filler))), linear::linear());
            assert_eq!(report.reply(), "550 5.7.1 this is spam");
            assert!(report.message().is_none());
        }
    }
}

#[test]
fn linear_skips_the_rest_of_a_long_body() {
    for mta in Mta::both() {
        let report = run(&mta.message(HELLO.to_owned() + &"0123456789\n".repeat(100_000)), linear::linear());
        assert_eq!(report.verdict_at(Stage::Body), Some(&Verdict::Skip));
        let scanned = report.message().unwrap().header("X-Scanned").unwrap();
        let scanned: usize = scanned.strip_suffix(" bytes").unwrap().parse().unwrap();
        assert!((256 * 1024..1_000_000).contains(&scanned), "{scanned}");
    }
}

#[test]
fn linear_lets_a_bounce_have_one_recipient() {
    for mta in Mta::both() {
        let mta = mta.from("<>").to("<bob@example.org>").to("<carol@example.org>").message(HELLO);
        let report = run(&mta, linear::linear());
        assert!(report.reply_to("<carol@example.org>").unwrap().ends_with("a bounce has one recipient"));
        assert_eq!(report.message().unwrap().recipients().len(), 1);
    }
}

const SUSPICIOUS: &str =
    "From: Boss <boss@example.net>\nReply-To: boss@example.com\nSubject: urgent\n\nPay!\n";

#[test]
fn negotiate_holds_suspicious_mail_where_the_mta_can() {
    for mta in Mta::both() {
        for (message, reason) in [(SUSPICIOUS, Some("answers go to example.com")), (HELLO, None)] {
            let report = run(&mta.clone().message(message), negotiate::Hold::default());
            assert_eq!(report.message().unwrap().quarantine().as_deref(), reason);
            assert_eq!(report.agreement().unwrap().actions, Actions::QUARANTINE);
        }
    }
}

#[test]
fn negotiate_marks_suspicious_mail_where_the_mta_cannot_hold_it() {
    let offer = Offer { actions: Actions::CURRENT - Actions::QUARANTINE, ..Offer::CURRENT };
    for profile in [Profile::Postfix, Profile::Sendmail] {
        let mta = Mta::new(MtaConfig::new(profile).with_offer(offer));
        let report = run(&mta.message(SUSPICIOUS), negotiate::Hold::default());
        let message = report.message().unwrap();
        assert_eq!(message.header("X-Suspicious").unwrap(), "answers go to example.com");
        assert!(message.quarantine().is_none());
    }
}

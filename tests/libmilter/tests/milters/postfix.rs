//! Two of the milters behind a real Postfix: what it delivers is what was recorded with Sendmail's library.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use tamis_interop::compare::message_lines;
use tamis_interop::mta::Mta as _;
use tamis_interop::port;
use tamis_interop::postfix::{Builder, Postfix};
use tamis_interop::sink::Sink;
use tamis_interop::smtp::Client;
use tamis_interop::text::escape;
use tamis_libmilter_tests::library::Library;
use tamis_libmilter_tests::milter::{Milter, mask, python};

use crate::{opendkim, recorded};

const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn opendkim_signs_mail_that_passes_through_postfix() {
    recorded("postfix-opendkim", |library| {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        opendkim::make_key(folder.path());
        let site = Site::start();
        let socket = format!("inet:{}@{}", site.milter.port(), site.milter.ip());
        let mut milter = opendkim::start(library, folder.path(), opendkim::SIGNS, &socket);
        milter.listens(site.milter);
        let text = opendkim::volatile(&site.send(&["hello", "again"], "bob@example.org"));
        let text = mask(&text, "\\tb=", &['\n']);
        // The signature goes on in lines of its own.
        text.split_inclusive('\n').filter(|line| !line.starts_with("| \\t ")).collect()
    });
}

#[test]
fn a_filter_in_python_edits_mail_that_passes_through_postfix() {
    recorded("postfix-python", |library| {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let site = Site::start();
        let mut command = python("filter.py");
        command.arg(format!("inet:{}@{}", site.milter.port(), site.milter.ip()));
        let mut milter = Milter::start(library, command, folder.path());
        milter.listens(site.milter);
        let mut text =
            site.send(&["edit", "reply", "lines", "nothing", "tempfail", "accept"], "carol@example.org");
        text.push_str(&site.send(&["nothing"], "no@example.org"));
        if library == Library::Ours {
            assert!(milter.stop().success());
        }
        text
    });
}

/// Postfix between a milter's address and a sink.
struct Site {
    postfix: Postfix,
    sink: Sink,
    milter: SocketAddr,
}

impl Site {
    fn start() -> Self {
        let sink = Sink::start();
        let milter = port::free();
        let postfix = Builder::new(sink.address()).milter_tcp(milter).start();
        Self { postfix, sink, milter }
    }

    /// Sends messages in one SMTP session; returns what the client was told, and what was delivered.
    fn send(&self, subjects: &[&str], recipient: &str) -> String {
        let mut text = String::new();
        let mut client = Client::connect(self.postfix.smtp()).expect("Postfix listens");
        let mut accepted = 0;
        client.reply().expect("Postfix greets");
        client.command("EHLO client.example.com").expect("Postfix answers");
        for subject in subjects {
            let mut say = |client: &mut Client, line: &str| {
                let reply = client.command(line).expect("Postfix answers");
                let _ = writeln!(text, "{line}: {reply}");
                reply.code()
            };
            say(&mut client, "MAIL FROM:<alice@example.com>");
            if say(&mut client, &format!("RCPT TO:<{recipient}>")) != 250 {
                continue;
            }
            say(&mut client, "DATA");
            let message = format!(
                "From: alice@example.com\r\nTo: bob@example.org\r\nDate: Fri, 20 Nov 2026 08:00:00 +0000\r\n\
                 Subject: {subject}\r\nX-Old: one\r\nX-Old: two\r\n\r\nHello.\r\n"
            );
            client.message(message.as_bytes()).expect("Postfix takes it");
            let reply = client.reply().expect("Postfix answers");
            let _ = writeln!(text, "{subject}: {}", mask(&reply.to_string(), "queued as ", &[' ']));
            accepted += usize::from(reply.code() == 250);
            // One after the other, so that they arrive in this order.
            if reply.code() == 250 {
                self.sink.wait(accepted, PATIENCE);
            }
        }
        client.command("QUIT").expect("Postfix answers");
        for delivered in self.sink.wait(accepted, PATIENCE) {
            let _ = writeln!(text, "\ndelivered: MAIL {}", escape(&delivered.mail));
            for path in &delivered.rcpt {
                let _ = writeln!(text, "RCPT {}", escape(path));
            }
            for line in message_lines(&delivered.message) {
                let line = escape(&line);
                let shown =
                    if line.len() > 200 { format!("{} … {} bytes", &line[..20], line.len()) } else { line };
                let _ = writeln!(text, "| {shown}");
            }
        }
        self.sink.take();
        text
    }
}

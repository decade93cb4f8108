//! Debian's `opendkim` behind a real Postfix: asked by Postfix itself, and by a filter that consults it.

#[path = "common/opendkim.rs"]
mod opendkim;

use std::path::Path;
use std::time::Duration;

use opendkim::{OpenDkim, connected};
use tamis::client::Mail;
use tamis::proto::Profile;
use tamis::proto::edit::model::Message;
use tamis::remote::{BreakerState, Milter};
use tamis::{Server, Shutdown, SocketSpec};
use tamis_interop::mta::Mta as _;
use tamis_interop::port;
use tamis_interop::postfix::{Builder, Postfix};
use tamis_interop::sink::Sink;
use tamis_interop::smtp::Client;

const PATIENCE: Duration = Duration::from_mins(1);

/// Messages with something for each kind of canonicalization to stumble over.
fn messages() -> Vec<String> {
    let head = "From: alice@example.com\r\nTo: bob@example.org\r\nDate: Fri, 20 Nov 2026 08:00:00 +0000\r\n";
    [
        "Subject: hello\r\n\r\nHello.\r\n".to_owned(),
        "Subject:   many  spaces \r\n\t folded\r\n   twice\r\n\r\n.\r\n..\r\n trailing \t\r\n\r\n\r\n"
            .to_owned(),
        "Subject:none\r\n\r\n".to_owned(),
        format!("Subject: long\r\n\r\n{}", "0123456789abcdef 0123456789abcdef\r\n".repeat(6_000)),
        "Subject: f\u{fc}r\r\nContent-Transfer-Encoding: 8bit\r\n\r\nGr\u{fc}\u{df}e\r\n".to_owned(),
    ]
    .map(|rest| format!("{head}{rest}"))
    .into()
}

/// Sends everything over one connection; what is delivered, in that order.
fn deliver(postfix: &Postfix, sink: &Sink) -> Vec<Message> {
    let mut client = Client::connect(postfix.smtp()).unwrap();
    client.reply().unwrap();
    let mut say = |line: &str, code: u16| {
        let reply = client.command(line).unwrap();
        assert_eq!(reply.code(), code, "{line}: {reply}\n{}", postfix.log());
    };
    say("EHLO tester.example", 250);
    let mut delivered = Vec::new();
    for message in messages() {
        say("MAIL FROM:<alice@example.com>", 250);
        say("RCPT TO:<bob@example.org>", 250);
        say("DATA", 354);
        say(&format!("{}.", message.replace("\r\n.", "\r\n..")), 250);
        assert!(postfix.wait_until_idle(PATIENCE));
        delivered.extend(
            sink.take().iter().map(|delivered| Message::from_bytes(&delivered.message.clone().into())),
        );
    }
    say("QUIT", 221);
    delivered
}

/// What of a message does not change from one delivery to the next; its signature is cut where the time is.
fn lasting(message: &Message) -> (Vec<(String, String)>, Vec<u8>) {
    let fields = message.headers.iter().map(|field| {
        let value = String::from_utf8_lossy(&field.value).into_owned();
        let value = match &field.name[..] {
            b"Received" => String::new(),
            b"DKIM-Signature" => {
                let tags = value.split(';').map(str::trim);
                tags.filter(|tag| !tag.starts_with("t=") && !tag.starts_with("b="))
                    .collect::<Vec<_>>()
                    .join(";")
            }
            _ => value,
        };
        (String::from_utf8_lossy(&field.name).into_owned(), value)
    });
    (fields.collect(), message.body.to_vec())
}

/// What the verifier says of signatures.
async fn verified(folder: &Path, messages: &[Message]) -> Vec<String> {
    let socket = SocketSpec::Unix(folder.join("verify.sock"));
    let _opendkim = OpenDkim::verifier(folder, &socket);
    let mut client = connected(&socket, Profile::Postfix).await;
    let mut results = Vec::new();
    for message in messages {
        let mail = Mail::new("alice@example.com", ["bob@example.org"], message.to_bytes());
        let report = client.send(&mail).await.unwrap();
        let delivered = report.delivered.expect("a verifier refuses nothing");
        let result = delivered.headers.iter().find(|field| &field.name[..] == b"Authentication-Results");
        let result = String::from_utf8_lossy(&result.expect("it adds one").value).into_owned();
        results.push(result.split_whitespace().find(|word| word.starts_with("dkim=")).unwrap().to_owned());
    }
    client.quit().await.unwrap();
    results
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn signatures_are_as_valid_as_when_postfix_asks_opendkim_itself() {
    let folder = tempfile::tempdir().unwrap();
    let signer = port::free();
    let socket: SocketSpec = format!("inet:{signer}").parse().unwrap();
    let _opendkim = OpenDkim::signer(folder.path(), &socket, "127.0.0.1");
    connected(&socket, Profile::Postfix).await.quit().await.unwrap();
    let relay = port::free();
    let milter = Milter::new(socket);
    let shutdown = Shutdown::new();
    let listeners = tamis::bind(&[format!("inet:{relay}").parse().unwrap()]).unwrap();
    let consults = milter.clone();
    let server = Server::new(move |_: &tamis::Peer| consults.connection());
    let serving = tokio::spawn(server.serve(listeners, shutdown.clone()));

    let mut delivered = Vec::new();
    for filter in [signer, relay] {
        let messages = tokio::task::spawn_blocking(move || {
            let sink = Sink::start();
            let postfix = Builder::new(sink.address()).milter_tcp(filter).start();
            deliver(&postfix, &sink)
        });
        delivered.push(messages.await.unwrap());
    }
    assert_eq!(delivered[0].len(), messages().len());
    for (direct, consulted) in delivered[0].iter().zip(&delivered[1]) {
        assert_eq!(lasting(direct), lasting(consulted));
    }
    assert!(delivered[1].iter().all(|message| &message.headers[0].name[..] == b"DKIM-Signature"));
    for messages in &delivered {
        assert_eq!(verified(folder.path(), messages).await, vec!["dkim=pass"; messages.len()]);
    }
    let mut forged = delivered[1][0].clone();
    forged.body = b"Hello!\r\n".to_vec().into();
    assert_eq!(verified(folder.path(), &[forged]).await, ["dkim=fail"], "the verifier can tell");
    assert_eq!((milter.breaker().state(), milter.breaker().counts().failures), (BreakerState::Closed, 0));
    shutdown.drain();
    serving.await.unwrap().unwrap();
}

//! `tamis serve` as a stranger runs it, behind real MTAs.

use std::io::Write as _;

use tamis_interop::case::Config;
use tamis_interop::host::Listen;
use tamis_interop::mta::Kind;
use tamis_interop::program::Served;
use tamis_interop::site::Site;
use tamis_interop::smtp::Client;
use tamis_interop::text::escape;

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);

#[test]
fn mail_goes_through_postfix_with_a_header_and_a_text_and_a_line_in_the_log() {
    let queue_id = |reply: &str| reply.strip_prefix("250 2.0.0 Ok: queued as ").map(str::to_owned);
    mail_goes_through(Kind::Postfix, queue_id);
}

#[test]
fn mail_goes_through_sendmail_with_a_header_and_a_text_and_a_line_in_the_log() {
    let queue_id = |reply: &str| reply.split(' ').nth(2).map(str::to_owned);
    mail_goes_through(Kind::Sendmail, queue_id);
}

fn mail_goes_through(mta: Kind, queue_id: fn(&str) -> Option<String>) {
    let site = Site::start(&Config { mta, ..Config::default() });
    let Listen::Tcp(address) = site.listen else { panic!("a port was asked for") };
    let mut footer = tempfile::NamedTempFile::new().unwrap();
    footer.write_all(b"-- \nseen by tamis\n").unwrap();
    let served = Served::start(
        address,
        &["--add-header", "X-Tamis: {i} {client_addr}", "--append-text", footer.path().to_str().unwrap()],
    );

    let mut client = Client::connect(site.mta.smtp()).unwrap();
    assert_eq!(client.reply().unwrap().code(), 220);
    for line in ["EHLO client.example", "MAIL FROM:<alice@example.com>", "RCPT TO:<bob@example.org>"] {
        assert_eq!(client.command(line).unwrap().code(), 250);
    }
    assert_eq!(client.command("DATA").unwrap().code(), 354);
    client.message(b"Subject: hello\r\n\r\nHello.\r\n").unwrap();
    let reply = client.reply().unwrap().to_string();
    let queue_id = &*queue_id(&reply).expect("the message is accepted");

    let delivered = site.sink.wait(1, PATIENCE);
    let message = escape(&delivered[0].message);
    let added = format!("\\r\\nX-Tamis: {queue_id} 127.0.0.1\\r\\n");
    assert!(message.contains(&added), "{message}");
    assert!(message.ends_with("\\r\\n\\r\\nHello.\\r\\n-- \\r\\nseen by tamis\\r\\n"), "{message}");

    let line = served.wait_for(queue_id);
    assert_eq!(line["queue_id"], queue_id);
    assert_eq!(line["client"], "127.0.0.1");
    assert_eq!(line["helo"], "client.example");
    assert_eq!(line["sender"], "alice@example.com");
    assert_eq!(line["recipients"], serde_json::json!(["bob@example.org"]));
    assert_eq!(line["subject"], "hello");
    assert_eq!(line["verdict"], "accept");
    assert!(line["size"].is_u64() && line["ms"].is_u64(), "{line}");
    assert_eq!(client.command("QUIT").unwrap().code(), 221);
    assert!(served.terminate().success());
}

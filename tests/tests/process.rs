//! What real MTAs make of a filter that goes away: no mail is lost, and the next session is served.

mod common;

use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use tamis_interop::case::Config;
use tamis_interop::host::{FilterHost as _, Listen, RunningFilter};
use tamis_interop::mta::Kind;
use tamis_interop::script::Script;
use tamis_interop::site::Site;
use tamis_interop::smtp::Client;

const PATIENCE: Duration = Duration::from_secs(20);
const MESSAGE: &[u8] = b"Subject: hello\r\n\r\nHello.\r\n";

/// Each of these is a test behind each MTA.
macro_rules! behind_both {
    ($($name:ident),+ $(,)?) => {
        mod postfix {
            $(#[test]
            fn $name() {
                super::$name(super::Kind::Postfix);
            })+
        }

        mod sendmail {
            $(#[test]
            fn $name() {
                super::$name(super::Kind::Sendmail);
            })+
        }
    };
}

behind_both!(
    a_filter_killed_between_envelope_and_content,
    a_filter_killed_at_end_of_message,
    a_filter_shut_down_while_a_message_is_in_work,
    a_filter_restarted_between_two_sessions,
    without_a_filter_mail_passes_where_the_mta_is_told_so
);

fn a_filter_killed_between_envelope_and_content(mta: Kind) {
    let site = site(mta);
    let mut filter = start("on eom add-header X-Filtered yes", &site);
    let mut client = hello(&site);
    envelope(&mut client);
    assert!(filter.log().wait_for("rcpt", PATIENCE));
    filter.kill();
    expect(&mut client, "DATA", unavailable(mta));
    expect(&mut client, "RSET", "250 2.0.0 ");
    // The MTA does not come back to a filter within one session.
    filter.restart();
    expect(&mut client, "MAIL FROM:<alice@example.com>", unavailable(mta));
    expect(&mut client, "QUIT", "221 2.0.0 ");
    assert_eq!(delivered(&site), 0);

    deliver(&mut hello(&site));
    assert_filtered(&site, true);
}

fn a_filter_killed_at_end_of_message(mta: Kind) {
    let site = site(mta);
    let mut filter = start("on eom sleep 60s", &site);
    let mut client = hello(&site);
    envelope(&mut client);
    content(&mut client);
    assert!(filter.log().wait_for("eom", PATIENCE));
    filter.kill();
    assert_eq!(client.reply().unwrap().to_string(), unavailable(mta));
    drop(client);
    assert_eq!(delivered(&site), 0);
    drop(filter);

    // The client tries again, as the reply told it to.
    let _filter = start("on eom add-header X-Filtered yes", &site);
    deliver(&mut hello(&site));
    assert_filtered(&site, true);
}

fn a_filter_shut_down_while_a_message_is_in_work(mta: Kind) {
    let site = site(mta);
    let mut filter = start("on eom add-header X-Filtered yes", &site);
    let Listen::Tcp(address) = site.listen else { panic!("a port was asked for") };
    let mut client = hello(&site);
    envelope(&mut client);
    assert!(filter.log().wait_for("rcpt", PATIENCE));
    thread::scope(|scope| {
        let stopping = scope.spawn(|| filter.shutdown());
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(address).is_ok() {
            assert!(Instant::now() < deadline, "the filter still accepts connections");
            thread::yield_now();
        }
        assert!(!stopping.is_finished(), "the filter did not wait for the message");
        content(&mut client);
        assert!(client.reply().unwrap().to_string().starts_with("250 2.0.0 "));
        expect(&mut client, "QUIT", "221 2.0.0 ");
    });
    assert_filtered(&site, true);

    let mut client = hello(&site);
    expect(&mut client, "MAIL FROM:<alice@example.com>", unavailable(mta));
}

fn a_filter_restarted_between_two_sessions(mta: Kind) {
    let site = Site::start(&Config { mta, unix_socket: true, ..Config::default() });
    let mut filter = start("on eom add-header X-Filtered yes", &site);
    deliver(&mut hello(&site));
    assert_filtered(&site, true);
    filter.kill();
    expect(&mut hello(&site), "MAIL FROM:<alice@example.com>", unavailable(mta));
    filter.restart();
    deliver(&mut hello(&site));
    assert_filtered(&site, true);
}

fn without_a_filter_mail_passes_where_the_mta_is_told_so(mta: Kind) {
    let accept = match mta {
        Kind::Postfix => ("milter_default_action", "accept"),
        Kind::Sendmail => ("failure", "none"),
    };
    let settings = vec![(accept.0.to_owned(), accept.1.to_owned())];
    let site = Site::start(&Config { mta, settings, ..Config::default() });
    let mut filter = start("on eom add-header X-Filtered yes", &site);
    let mut client = hello(&site);
    envelope(&mut client);
    assert!(filter.log().wait_for("rcpt", PATIENCE));
    filter.kill();
    content(&mut client);
    assert!(client.reply().unwrap().to_string().starts_with("250 2.0.0 "));
    assert_filtered(&site, false);
}

fn site(mta: Kind) -> Site {
    Site::start(&Config { mta, ..Config::default() })
}

fn unavailable(mta: Kind) -> &'static str {
    match mta {
        Kind::Postfix => "451 4.7.1 Service unavailable - try again later",
        Kind::Sendmail => "451 4.3.2 Please try again later",
    }
}

fn start(script: &str, site: &Site) -> Box<dyn RunningFilter> {
    let script = Script::parse((1..).zip(script.lines())).unwrap();
    common::host().start(&script, &site.listen)
}

fn hello(site: &Site) -> Client {
    let mut client = Client::connect(site.mta.smtp()).unwrap();
    assert_eq!(client.reply().unwrap().code(), 220);
    assert_eq!(client.command("EHLO client.example").unwrap().code(), 250);
    client
}

fn envelope(client: &mut Client) {
    expect(client, "MAIL FROM:<alice@example.com>", "250 2.1.0 ");
    expect(client, "RCPT TO:<bob@example.org>", "250 2.1.5 ");
}

fn content(client: &mut Client) {
    expect(client, "DATA", "354 ");
    client.message(MESSAGE).unwrap();
}

fn deliver(client: &mut Client) {
    envelope(client);
    content(client);
    assert!(client.reply().unwrap().to_string().starts_with("250 2.0.0 "));
    expect(client, "QUIT", "221 2.0.0 ");
}

/// The words of the MTAs differ, and are compared by the cases.
fn expect(client: &mut Client, line: &str, start: &str) {
    let reply = client.command(line).unwrap().to_string();
    assert!(reply.starts_with(start), "{line}: {reply}");
}

/// How many messages have come through, once none is on its way.
fn delivered(site: &Site) -> usize {
    assert!(site.mta.wait_until_idle(PATIENCE), "{}", site.mta.log());
    assert!(site.mta.is_clear(), "{}", site.mta.log());
    site.sink.take().len()
}

#[track_caller]
fn assert_filtered(site: &Site, filtered: bool) {
    let messages = site.sink.wait(1, PATIENCE);
    let message =
        String::from_utf8_lossy(&messages.first().expect("a message is delivered").message).into_owned();
    assert_eq!(message.contains("\r\nX-Filtered: yes\r\n"), filtered, "{message}");
    assert!(message.ends_with("\r\n\r\nHello.\r\n"), "{message}");
    assert_eq!(delivered(site), 1);
}

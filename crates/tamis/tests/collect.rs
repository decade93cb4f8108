//! What is kept of a message besides what handlers are given, and edits of it.

mod common;

use std::sync::{Arc, Mutex};

use common::frames;
use common::{patient, serve};
use tamis::client::Outcome;
use tamis::filter::NotCollected;
use tamis::message::compile::Target;
use tamis::message::{BodyError, BodyOptions, Budget, Sender};
use tamis::testing::Mta;
use tamis::{BoxError, Context, Options, Stage, Verdict};

const MAIL: &str = "Received: from a by b\nSubject: hello\nX-Spam: 1\nX-Spam: 2\n\nHi Bob!\nBye.\n";

#[derive(Default)]
struct Everything;

#[tamis::filter(collect(envelope, headers, body), require(add_headers, change_headers, replace_body))]
impl Everything {
    fn rcpt(&mut self, recipient: &tamis::message::Recipient) -> Verdict {
        if recipient.local_part() == "carol" { Verdict::Reject } else { Verdict::Continue }
    }

    async fn end_of_message(&mut self, cx: &mut Context<'_, ()>) -> Result<Verdict, BoxError> {
        let envelope = cx.envelope()?;
        assert_eq!(envelope.client().unwrap().host(), "mail.example.net");
        assert_eq!(envelope.helo().unwrap(), "mail.example.net");
        assert_eq!(envelope.sender().map(Sender::domain), Some(Some("example.net")));
        let to: Vec<_> = envelope.recipients().map(ToString::to_string).collect();
        assert_eq!(to, ["<bob@example.org>"], "carol was refused");
        let body = cx.body()?.to_bytes(1 << 20).await?;
        assert_eq!(body, "Hi Bob!\r\nBye.\r\n");
        let headers = cx.headers_mut()?;
        assert_eq!(headers.len(), 4);
        assert_eq!(headers.remove_all("x-spam")?, 2);
        headers.set("Subject", "[list] hello")?;
        headers.prepend("X-To", to.join(", "))?;
        cx.set_body("Bye, Bob!\r\n")?;
        Ok(Verdict::Continue)
    }
}

fn mtas() -> [Mta; 2] {
    Mta::both().map(|mta| {
        mta.client("mail.example.net", "192.0.2.1:4321".parse().unwrap())
            .helo("mail.example.net")
            .from("<alice@example.net>")
            .to("<bob@example.org>")
            .to("<carol@example.org>")
    })
}

#[test]
fn the_whole_message_is_there_at_its_end_and_edits_of_it_take_place() {
    for mta in mtas() {
        let report = mta.message(MAIL).run_blocking(|_| Everything).unwrap();
        assert_eq!(report.failures(), []);
        let delivered = report.message().unwrap();
        assert_eq!(delivered.headers("X-Spam").count(), 0);
        assert_eq!(delivered.header("Subject").unwrap(), "[list] hello");
        assert_eq!(delivered.fields()[0].name, "X-To");
        assert_eq!(delivered.body(), b"Bye, Bob!\r\n");
    }
}

#[test]
fn one_message_leaves_nothing_to_the_next() {
    for mta in mtas() {
        let mta = mta.message(MAIL).from("<alice@example.net>").to("<bob@example.org>").message(MAIL);
        let report = mta.run_blocking(|_| Everything).unwrap();
        assert_eq!(report.failures(), []);
        for message in report.messages() {
            assert_eq!(message.message().unwrap().body(), b"Bye, Bob!\r\n");
        }
    }
}

/// Edits as soon as there is a message, and has no handler where they are sent.
#[derive(Default)]
struct Early;

#[tamis::filter(collect(headers), require(add_headers))]
impl Early {
    fn mail(&mut self, cx: &mut Context<'_, ()>) -> Result<(), BoxError> {
        cx.headers_mut()?.append("X-Seen", "yes")?;
        cx.add_header("X-Wire", "yes")?;
        Ok(())
    }
}

#[test]
fn edits_asked_for_early_are_sent_at_the_end_though_no_handler_is_there() {
    for mta in mtas() {
        let report = mta.message(MAIL).run_blocking(|_| Early).unwrap();
        assert_eq!(report.failures(), []);
        let names: Vec<_> =
            report.message().unwrap().fields().iter().rev().take(2).map(|field| field.name.clone()).collect();
        assert_eq!(names, ["X-Wire", "X-Seen"]);
    }
}

#[test]
fn stages_seen_only_to_be_kept_are_never_answered() {
    for mta in mtas() {
        let report = mta.message(MAIL).run_blocking(|_| Early).unwrap();
        let header = report.steps().find(|step| step.stage == Stage::Header).unwrap();
        assert_eq!(header.outcome, Outcome::NoReply);
    }
}

/// Asks for everything and declared nothing.
#[derive(Default)]
struct Undeclared;

#[tamis::filter]
impl Undeclared {
    fn end_of_message(&mut self, cx: &mut Context<'_, ()>) {
        assert_eq!(cx.envelope().unwrap_err(), NotCollected::Undeclared("envelope"));
        assert_eq!(cx.headers_mut().unwrap_err(), NotCollected::Undeclared("header"));
        assert_eq!(cx.body().unwrap_err(), NotCollected::Undeclared("body"));
        assert!(cx.set_body("").is_err() && cx.add_header("X", "1").is_err());
    }
}

#[test]
fn what_was_not_declared_is_a_typed_error_and_never_bytes_on_the_wire() {
    for mta in mtas() {
        let report = mta.message(MAIL).run_blocking(|_| Undeclared).unwrap();
        assert_eq!(report.failures(), []);
        assert_eq!(report.edits(), []);
    }
}

/// Fails after it edited.
#[derive(Default)]
struct Fails;

#[tamis::filter(collect(headers), require(add_headers, replace_body))]
impl Fails {
    fn data(&mut self, cx: &mut Context<'_, ()>) -> Result<(), BoxError> {
        cx.headers_mut()?.append("X-Before", "1")?;
        Ok(())
    }

    fn end_of_headers(&mut self, cx: &mut Context<'_, ()>) -> Result<(), BoxError> {
        cx.headers_mut()?.append("X-During", "1")?;
        cx.set_body("lost")?;
        Err("no luck".into())
    }
}

#[test]
fn a_step_that_fails_takes_its_edits_with_it_and_no_others() {
    for mta in mtas() {
        let mut options = Options::default();
        options.on_failure = Verdict::Continue;
        let report = mta.options(options).message(MAIL).run_blocking(|_| Fails).unwrap();
        assert_eq!(report.failures().len(), 1);
        let delivered = report.message().unwrap();
        assert_eq!(delivered.header("X-Before").unwrap(), "1");
        assert!(delivered.header("X-During").is_none());
        assert_eq!(delivered.body(), b"Hi Bob!\r\nBye.\r\n");
    }
}

/// Wants the whole body.
#[derive(Default)]
struct Body;

#[tamis::filter(collect(body))]
impl Body {
    fn end_of_message(&mut self, cx: &mut Context<'_, ()>) -> Result<(), BoxError> {
        assert!(!cx.body()?.is_empty());
        Ok(())
    }
}

#[test]
fn a_body_that_finds_no_room_is_a_failure_of_that_message_alone() {
    let mut options = Options::default();
    let mut body = BodyOptions::default();
    (body.memory, body.spool) = (20_000, 30_000);
    options.body = body;
    let large = format!("Subject: large\n\n{}", "0123456789abcdef\n".repeat(4_000));
    for mta in mtas() {
        let mta =
            mta.options(options.clone()).message(&large).from("<>").to("<bob@example.org>").message(MAIL);
        let report = mta.run_blocking(|_| Body).unwrap();
        assert_eq!(report.failures().len(), 1, "{report}");
        let too_long = BodyError::TooLong { limit: 30_000 }.to_string();
        assert!(report.failures()[0].to_string().contains(&too_long), "{} {too_long}", report.failures()[0]);
        assert!(report.messages()[0].message().is_none());
        assert!(report.messages()[1].message().is_some());
    }
}

#[test]
fn an_unknown_mta_gets_what_all_of_them_understand() {
    for mta in mtas() {
        let mut options = Options::default();
        options.mta = Some(Target::Portable);
        let report = mta.options(options).message(MAIL).run_blocking(|_| Everything).unwrap();
        assert_eq!(report.failures(), []);
        assert_eq!(report.message().unwrap().header("Subject").unwrap(), "[list] hello");
    }
}

/// Knows all that it wants at the first header field.
#[derive(Default)]
struct AtFirst;

#[tamis::filter(collect(headers), require(add_headers, change_headers))]
impl AtFirst {
    fn header(&mut self, cx: &mut Context<'_, ()>) -> Result<Verdict, BoxError> {
        let headers = cx.headers_mut()?;
        let first = headers.first("Received").unwrap().id();
        headers.insert_after(first.exactly(), "X-Second", "yes")?;
        Ok(Verdict::Accept)
    }
}

#[test]
fn the_header_goes_on_after_an_early_accept_and_edits_find_their_place_in_all_of_it() {
    for mta in mtas() {
        let report = mta.message(MAIL).run_blocking(|_| AtFirst).unwrap();
        assert_eq!(report.failures(), []);
        let fields = report.message().unwrap().fields().iter();
        // The MTA's own comes first.
        let names: Vec<_> = fields.skip(1).map(|field| String::from_utf8_lossy(&field.name)).collect();
        assert_eq!(names, ["Received", "X-Second", "Subject", "X-Spam", "X-Spam"]);
    }
}

/// Accepts a message of which it has a part of the body.
struct Enough(Arc<Mutex<Option<Budget>>>);

#[tamis::filter(collect(body), require(add_headers))]
impl Enough {
    fn body(&mut self, piece: &[u8], cx: &mut Context<'_, ()>) -> Result<Verdict, BoxError> {
        let budget = cx.allowance().budget().clone();
        *self.0.lock().unwrap() = Some(budget);
        if !piece.starts_with(b"last") {
            return Ok(Verdict::Continue);
        }
        cx.add_header("X-Seen", "a part")?;
        Ok(Verdict::Accept)
    }
}

#[tokio::test]
async fn what_was_collected_is_given_back_with_an_early_accept() {
    let budget = Arc::new(Mutex::new(None::<Budget>));
    let place = budget.clone();
    let server = serve(patient(), move |_| Enough(place.clone()));
    let used = || budget.lock().unwrap().as_ref().unwrap().usage().memory;
    let mut mta = server.mta().await;
    mta.go([frames::connect(), frames::helo("h"), frames::mail("<a@b>"), frames::rcpt("<c@d>")]).await;
    mta.go(vec![frames::body(&b"x".repeat(60_000)); 2]).await;
    assert!(used() > 60_000, "{}", used());
    assert_eq!(mta.ask(frames::body(b"last")).await.code, 's');
    assert_eq!(used(), 0);
    assert_eq!(mta.ask(frames::end_of_message()).await.code, 'h');
    assert_eq!(mta.reply().await.code, 'a');
    mta.quit().await;
    server.drain().await;
}

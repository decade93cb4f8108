//! How filter functions end, or are ended, and what waits in them meanwhile.

mod common;

use std::future::{pending, ready};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::frames::*;
use common::{patient, serve};
use tamis::linear::{Linear, Mail, Over, ReadBody};
use tamis::message::BodyError;
use tamis::testing::Mta;
use tamis::{Actions, BoxError, Options, Stage, Verdict};
use tokio::sync::{Notify, oneshot};

const MAIL: &str = "Subject: hello\nX-Spam: 1\n\nHi Bob!\n";

fn mtas() -> [Mta; 2] {
    Mta::both().map(|mta| mta.from("<alice@example.net>").to("<bob@example.org>").to("<carol@example.org>"))
}

/// Gives up waiting at once.
macro_rules! looks_once {
    ($wait:expr) => {
        tokio::select! { biased; came = $wait => Some(came), () = ready(()) => None }
    };
}

#[test]
fn a_recipient_is_refused_though_the_function_ends_there() {
    async fn no_bob(mut mail: Mail) -> Result<Verdict, BoxError> {
        mail.recipient().await?;
        mail.refuse(Verdict::reject("5.1.1", "no Bob here"))?;
        Ok(Verdict::Accept)
    }
    for mta in mtas() {
        let filter = Linear::new(no_bob).decides(Stage::Rcpt);
        let report = mta.message(MAIL).run_blocking(|_| filter).unwrap();
        assert_eq!(report.failures(), []);
        assert!(report.reply_to("<bob@example.org>").unwrap().ends_with("no Bob here"));
        assert_eq!(report.message().unwrap().recipients().len(), 1);
    }
}

#[test]
fn a_recipient_cannot_be_refused_when_the_next_one_was_asked_for() {
    async fn late(mut mail: Mail) -> Result<Verdict, BoxError> {
        mail.recipient().await?;
        // Until the connection has looked, asking can be taken back.
        assert!(looks_once!(mail.recipient()).is_none());
        tokio::task::yield_now().await;
        assert!(mail.refuse(Verdict::Reject).is_err());
        assert_eq!(mail.envelope().recipients().count(), 1, "it was not refused");
        Ok(Verdict::Continue)
    }
    for mta in mtas() {
        let filter = Linear::new(late).decides(Stage::Rcpt);
        let report = mta.message(MAIL).run_blocking(|_| filter).unwrap();
        assert_eq!(report.failures(), []);
        assert_eq!(report.message().unwrap().recipients().len(), 2);
    }
}

#[test]
fn nothing_is_lost_by_waiting_that_is_given_up() {
    async fn impatient(mut mail: Mail) -> Result<Verdict, BoxError> {
        let mut body = Vec::new();
        loop {
            // Each event comes to something that is given up.
            let waits = looks_once!(mail.body()).is_none();
            if !waits {
                break;
            }
            tokio::task::yield_now().await;
        }
        body.extend_from_slice(&mail.body().await?.to_bytes(1 << 20).await?);
        assert_eq!(body, b"0123456789abcde\r\n".repeat(10_000));
        assert_eq!((mail.envelope().recipients().count(), mail.headers().await?.len()), (2, 1));
        Ok(Verdict::tempfail("4.7.1", "all there"))
    }
    let mut options = Options::default();
    options.body.memory = 20_000;
    let large = format!("Subject: large\n\n{}", "0123456789abcde\n".repeat(10_000));
    for mta in mtas() {
        let filter = Linear::new(impatient).body(ReadBody::Collect);
        let report = mta.options(options.clone()).message(&large).run_blocking(|_| filter).unwrap();
        assert_eq!(report.failures(), []);
        assert_eq!(report.reply(), "451 4.7.1 all there");
    }
}

#[tokio::test(start_paused = true)]
async fn a_mail_that_outlives_its_function_learns_that_the_message_is_over() {
    for reset in [false, true] {
        for mta in mtas() {
            let (tell, told) = oneshot::channel();
            let tell = Arc::new(Mutex::new(Some(tell)));
            let filter = Linear::new(move |mut mail: Mail| {
                let tell = tell.lock().unwrap().take();
                async move {
                    tokio::spawn(async move {
                        let error = mail.end().await.unwrap_err();
                        let again = mail.recipient().await.unwrap_err();
                        let _ = tell.unwrap().send((error.is::<Over>(), again.is::<Over>()));
                    });
                    if reset {
                        pending::<()>().await;
                    }
                    Verdict::Continue
                }
            });
            let mta = if reset { mta.reset() } else { mta.message(MAIL) };
            let report = mta.run(|_| filter).await.unwrap();
            assert_eq!(report.failures(), []);
            assert_eq!(told.await, Ok((true, true)));
        }
    }
}

#[test]
fn a_function_that_takes_too_long_is_dropped_and_the_next_message_has_its_own() {
    async fn slow(mut mail: Mail) -> Result<Verdict, BoxError> {
        mail.headers_so_far()?.append("X-Seen", "1")?;
        mail.recipient().await?;
        if mail.sender().domain() == Some("example.net") {
            pending::<()>().await;
        }
        mail.end().await?;
        Ok(Verdict::Continue)
    }
    for policy in [Verdict::Continue, Verdict::Accept, Verdict::Tempfail] {
        for mta in mtas() {
            let mut options = Options::default();
            options.on_failure = policy.clone();
            let filter = Linear::new(slow).require(Actions::ADD_HEADERS);
            let mta = mta.options(options).message(MAIL);
            let mta = mta.from("<a@example.com>").to("<bob@example.org>").message(MAIL);
            let report = mta.run_blocking(|_| filter).unwrap();
            assert_eq!(report.failures().len(), 1, "{report}");
            let [first, second] = report.messages()[..] else { panic!("{report}") };
            assert_eq!(first.message().is_some(), policy != Verdict::Tempfail);
            assert!(first.edits().is_empty(), "what a function that failed asked for goes with it");
            assert_eq!(second.message().unwrap().header("X-Seen").unwrap(), "1");
        }
    }
}

#[test]
fn a_body_without_room_is_told_at_the_end_and_is_that_messages_alone() {
    async fn whole(mut mail: Mail) -> Result<Verdict, BoxError> {
        mail.body().await?;
        Ok(Verdict::Continue)
    }
    async fn without(mut mail: Mail) -> Result<Verdict, BoxError> {
        if let Err(error) = mail.body().await {
            assert!(error.is::<BodyError>());
            mail.end().await?;
            assert_eq!(mail.stage(), Stage::EndOfMessage);
            assert!(mail.body().await.unwrap_err().to_string().contains("could not be kept"));
        }
        Ok(Verdict::Continue)
    }
    let mut options = Options::default();
    (options.body.memory, options.body.spool) = (20_000, 30_000);
    let large = format!("Subject: large\n\n{}", "0123456789abcdef\n".repeat(4_000));
    for mta in mtas() {
        let mta = mta.options(options.clone()).message(&large);
        let mta = mta.from("<>").to("<bob@example.org>").message(MAIL);
        let report = mta.run_blocking(|_| Linear::new(whole).body(ReadBody::Collect)).unwrap();
        assert_eq!(report.failures().len(), 1, "{report}");
        assert_eq!(report.messages()[0].stage(), Stage::EndOfMessage);
        assert!(report.messages()[0].message().is_none() && report.messages()[1].message().is_some());

        let report = mta.run_blocking(|_| Linear::new(without).body(ReadBody::Collect)).unwrap();
        assert_eq!(report.failures(), []);
        assert!(report.messages().iter().all(|message| message.message().is_some()));
    }
}

#[test]
fn leaving_while_a_function_is_at_something_nobody_waits_for_is_no_loss() {
    async fn slow(mail: Mail) -> Verdict {
        tokio::time::sleep(Duration::from_secs(1)).await;
        drop(mail);
        Verdict::Continue
    }
    for mta in mtas() {
        let report = mta.reset().run_blocking(|_| Linear::new(slow)).unwrap();
        assert_eq!(report.lost(), None);
        assert_eq!(report.failures(), []);
    }
}

/// Notes who sends to whom, and how much of the body came.
async fn note(mut mail: Mail, notes: Arc<Mutex<Vec<String>>>) -> Result<Verdict, BoxError> {
    let mut read = 0;
    while let Some(chunk) = mail.chunk().await? {
        read += chunk.len();
    }
    let (helo, to) = (mail.envelope().helo().map(ToString::to_string), mail.envelope().recipients().count());
    notes.lock().unwrap().push(format!("{helo:?} {} {to} {read}", mail.sender()));
    Ok(Verdict::Continue)
}

#[tokio::test]
async fn a_last_piece_inside_the_end_of_message_is_read_like_others() {
    let notes = Arc::new(Mutex::new(Vec::new()));
    let all = notes.clone();
    let filter = Linear::new(move |mail| note(mail, all.clone())).body(ReadBody::Stream);
    let server = serve(patient(), move |_| filter.clone());
    let mut mta = server.mta().await;
    mta.write([connect(), helo("h"), mail("<a@b>"), rcpt("<c@d>")].concat()).await;
    mta.write(header("A", "b")).await;
    mta.go([body(b"First\n")]).await;
    assert_eq!(mta.ask(b"\0\0\0\x06ELast\n").await.code, 'c');
    assert_eq!(*notes.lock().unwrap(), ["Some(\"h\") <a@b> 1 11"]);
    mta.quit().await;
    server.drain().await;
}

#[tokio::test]
async fn one_client_leaves_nothing_to_the_next_on_the_same_connection() {
    let notes = Arc::new(Mutex::new(Vec::new()));
    let all = notes.clone();
    let filter = Linear::new(move |mail| note(mail, all.clone())).body(ReadBody::Stream);
    let server = serve(patient(), move |_| filter.clone());
    let mut mta = server.mta().await;
    mta.write([connect(), helo("first"), mail("<1@b>"), rcpt("<c@d>")].concat()).await;
    mta.write(quit_new_connection()).await;
    mta.write([connect(), mail("<2@b>"), rcpt("<c@d>"), header("A", "b")].concat()).await;
    assert_eq!(mta.ask(end_of_message()).await.code, 'c');
    assert_eq!(*notes.lock().unwrap(), ["None <2@b> 1 0"]);
    mta.quit().await;
    server.drain().await;
}

#[tokio::test]
async fn what_came_meanwhile_is_there_when_waiting_for_more_is_given_up() {
    let bell = Arc::new(Notify::new());
    let heard = bell.clone();
    let filter = Linear::new(move |mut mail: Mail| {
        let heard = heard.clone();
        async move {
            tokio::select! {
                biased;
                () = heard.notified() => {}
                end = mail.end() => { end?; return Ok(Verdict::Reject); }
            }
            // The third one has come, and nobody has asked for it.
            assert_eq!((mail.stage(), mail.envelope().recipients().count()), (Stage::Rcpt, 2));
            assert_eq!(mail.recipient().await?.expect("it has come").to_string(), "<3@b>");
            assert_eq!((mail.headers().await?.len(), mail.stage()), (2, Stage::EndOfMessage));
            Ok::<_, BoxError>(Verdict::Continue)
        }
    });
    let filter = filter.decides(Stage::Mail).decides(Stage::Rcpt);
    let server = serve(patient(), move |_| filter.clone());
    let mut mta = server.mta().await;
    mta.write([connect(), helo("h")].concat()).await;
    for _ in 0..3 {
        mta.go([mail("<a@b>"), rcpt("<1@b>"), rcpt("<2@b>")]).await;
        bell.notify_one();
        mta.go([rcpt("<3@b>")]).await;
        mta.write([header("A", "b"), header("C", "d")].concat()).await;
        assert_eq!(mta.ask(end_of_message()).await.code, 'c');
    }
    mta.quit().await;
    server.drain().await;
}

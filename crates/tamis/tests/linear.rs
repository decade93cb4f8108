//! Filters that are one function over a message.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tamis::client::Outcome;
use tamis::linear::{Linear, Mail, ReadBody};
use tamis::message::{BodyReader, BodyWriter, Replacement};
use tamis::testing::{Mta, Report};
use tamis::{Actions, BoxError, BoxFilter, Stage, Verdict};
use tokio::time::sleep;

const MAIL: &str = "Received: from a by b\nSubject: hello\nX-Spam: 1\nX-Spam: 2\n\nHi Bob!\nBye.\n";

/// Notes of what a function did, from inside of it.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Vec<String>>>);

impl Notes {
    fn add(&self, note: impl Into<String>) {
        self.0.lock().unwrap().push(note.into());
    }

    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

/// Notes when it is dropped.
struct Dropped(Notes);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.add("dropped");
    }
}

fn mtas() -> [Mta; 2] {
    Mta::both().map(|mta| {
        mta.client("mail.example.net", "192.0.2.1:4321".parse().unwrap())
            .helo("mail.example.net")
            .from("<alice@example.net> SIZE=1000")
            .to("<bob@example.org>")
            .to("<carol@example.org>")
    })
}

/// The stages that the filter was told of.
fn sent(report: &Report) -> impl Iterator<Item = Stage> {
    report.steps().filter(|step| step.outcome != Outcome::NotSent).map(|step| step.stage)
}

#[test]
fn the_stages_come_in_their_order_to_whoever_asks() {
    for mta in mtas() {
        let notes = Notes::default();
        let seen = notes.clone();
        let filter = Linear::new(move |mut mail: Mail| {
            let seen = seen.clone();
            async move {
                let envelope = mail.envelope();
                seen.add(format!("{} {}", envelope.client().unwrap().host(), envelope.helo().unwrap()));
                seen.add(format!("{} {:?}", mail.sender(), mail.sender().params().size()));
                while let Some(recipient) = mail.recipient().await? {
                    seen.add(recipient.to_string());
                }
                seen.add(mail.headers().await?.len().to_string());
                let mut body = Vec::new();
                while let Some(chunk) = mail.chunk().await? {
                    body.extend_from_slice(&chunk);
                }
                seen.add(String::from_utf8(body).unwrap());
                mail.end().await?;
                seen.add(mail.stage().name());
                assert!(mail.recipient().await?.is_none() && mail.chunk().await?.is_none());
                Ok::<_, BoxError>(Verdict::Continue)
            }
        });
        let filter = filter.body(ReadBody::Stream);
        let report = mta.message(MAIL).run_blocking(|_| filter).unwrap();
        assert_eq!(report.failures(), []);
        let expected = [
            "mail.example.net mail.example.net",
            "<alice@example.net> Some(1000)",
            "<bob@example.org>",
            "<carol@example.org>",
            "4",
            "Hi Bob!\r\nBye.\r\n",
            "end-of-message",
        ];
        assert_eq!(notes.all(), expected);
        assert!(report.message().is_some());
    }
}

#[test]
fn recipients_are_answered_one_by_one() {
    async fn no_carol(mut mail: Mail) -> Result<Verdict, BoxError> {
        while let Some(recipient) = mail.recipient().await? {
            if recipient.local_part() == "carol" {
                mail.refuse(Verdict::reject("5.1.1", "no Carol here"))?;
            }
        }
        assert_eq!(mail.envelope().recipients().count(), 1);
        Ok(Verdict::Continue)
    }
    for mta in mtas() {
        let filter = Linear::new(no_carol).decides(Stage::Rcpt);
        let report = mta.message(MAIL).run_blocking(|_| filter).unwrap();
        assert_eq!(report.failures(), []);
        assert!(report.reply_to("<carol@example.org>").unwrap().ends_with("no Carol here"));
        let delivered = report.message().unwrap();
        assert_eq!(delivered.recipients().len(), 1);
    }
}

#[test]
fn a_verdict_takes_effect_where_it_is_returned_or_at_the_next_answer() {
    let refuse = |_: Mail| async { Verdict::reject("5.7.1", "not you") };
    for (decides, at) in
        [(Some(Stage::Mail), Stage::Mail), (Some(Stage::Rcpt), Stage::Rcpt), (None, Stage::EndOfMessage)]
    {
        for mta in mtas() {
            let filter = Linear::new(refuse);
            let filter = match decides {
                Some(stage) => filter.decides(stage),
                None => filter,
            };
            let report = mta.message(MAIL).run_blocking(|_| filter).unwrap();
            assert_eq!(report.stage(), at);
            assert!(report.reply().ends_with("not you"), "{}", report.reply());
            assert!(report.message().is_none());
        }
    }
}

#[test]
fn edits_of_a_function_that_ends_early_are_sent_at_the_end() {
    async fn tag(mut mail: Mail) -> Result<Verdict, BoxError> {
        mail.headers_so_far()?.append("X-Seen", "early")?;
        mail.add_recipient("<dave@example.org>")?;
        mail.recipient().await?;
        Ok(Verdict::Accept)
    }
    for mta in mtas() {
        let filter =
            Linear::new(tag).decides(Stage::Rcpt).require(Actions::ADD_HEADERS | Actions::ADD_RECIPIENTS);
        let report = mta.message(MAIL).run_blocking(|_| filter).unwrap();
        assert_eq!(report.failures(), []);
        let delivered = report.message().unwrap();
        assert_eq!(delivered.fields().last().unwrap().name, "X-Seen");
        assert_eq!(delivered.recipients().len(), 3);
    }
}

#[test]
fn headers_are_edited_by_field_and_place() {
    async fn edit(mut mail: Mail) -> Result<Verdict, BoxError> {
        let headers = mail.headers().await?;
        headers.remove_all("X-Spam")?;
        let subject = headers.first("subject").unwrap();
        let (id, text) = (subject.id(), subject.unfolded());
        headers.replace(id, format!("[list] {text}"))?;
        headers.insert_after(id, "X-List", "yes")?;
        headers.prepend("X-First", "1")?;
        Ok(Verdict::Continue)
    }
    for mta in mtas() {
        let filter = Linear::new(edit).require(Actions::ADD_HEADERS | Actions::CHANGE_HEADERS);
        let report = mta.message(MAIL).run_blocking(|_| filter).unwrap();
        assert_eq!(report.failures(), []);
        let delivered = report.message().unwrap();
        assert_eq!(delivered.headers("X-Spam").count(), 0);
        assert_eq!(delivered.header("Subject").unwrap(), "[list] hello");
        assert_eq!(delivered.header("X-List").unwrap(), "yes");
        assert_eq!(delivered.fields()[0].name, "X-First");
    }
}

#[test]
fn a_body_is_collected_transformed_and_replaced() {
    async fn shout(mut mail: Mail) -> Result<Verdict, BoxError> {
        let body = mail.body().await?.clone();
        let loud = Replacement::transform(
            mail.allowance(),
            &body,
            async |mut from: BodyReader, to: &mut BodyWriter| {
                while let Some(chunk) = from.next_chunk().await {
                    to.push(chunk?.to_ascii_uppercase()).await?;
                }
                Ok(())
            },
        );
        let loud = loud.await?;
        mail.set_body(loud)?;
        Ok(Verdict::Continue)
    }
    for mta in mtas() {
        let filter = Linear::new(shout).body(ReadBody::Collect).require(Actions::REPLACE_BODY);
        let report = mta.message(MAIL).run_blocking(|_| filter).unwrap();
        assert_eq!(report.failures(), []);
        assert_eq!(report.message().unwrap().body(), b"HI BOB!\r\nBYE.\r\n");
    }
}

#[test]
fn a_body_larger_than_memory_is_replaced_by_one_of_its_size() {
    async fn same(mut mail: Mail) -> Result<Verdict, BoxError> {
        let body = mail.body().await?.clone();
        assert!(body.is_spooled());
        mail.set_body(body)?;
        Ok(Verdict::Continue)
    }
    let line = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde\n";
    let mail = format!("Subject: large\n\n{}", line.repeat(100_000));
    for mta in mtas() {
        let filter = Linear::new(same).body(ReadBody::Collect).require(Actions::REPLACE_BODY);
        let report = mta.message(&mail).run_blocking(|_| filter).unwrap();
        assert_eq!(report.failures(), []);
        assert_eq!(report.message().unwrap().body(), line.replace('\n', "\r\n").repeat(100_000).as_bytes());
    }
}

#[test]
fn a_body_that_is_left_early_is_skipped() {
    async fn one_chunk(mut mail: Mail) -> Result<Verdict, BoxError> {
        assert!(mail.chunk().await?.is_some());
        mail.end().await?;
        Ok(Verdict::Continue)
    }
    async fn none(mut mail: Mail) -> Result<Verdict, BoxError> {
        mail.chunk().await?;
        Ok(Verdict::Continue)
    }
    let mail = format!("Subject: large\n\n{}", "0123456789abcdef\n".repeat(50_000));
    for mta in mtas().into_iter().map(|mta| mta.message(&mail)) {
        let filters = [
            BoxFilter::new(Linear::new(one_chunk).body(ReadBody::Stream)),
            BoxFilter::new(Linear::new(none).body(ReadBody::Stream)),
        ];
        for filter in filters {
            let report = mta.run_blocking(|_| filter).unwrap();
            assert_eq!(report.failures(), []);
            assert_eq!(sent(&report).filter(|stage| *stage == Stage::Body).count(), 1);
            assert!(report.message().is_some());
        }
    }
}

#[test]
fn abort_cancels_the_function_where_it_waits() {
    for mta in Mta::both() {
        let notes = Notes::default();
        let seen = notes.clone();
        let filter = Linear::new(move |mut mail: Mail| {
            let seen = seen.clone();
            async move {
                let _dropped = Dropped(seen.clone());
                seen.add(mail.sender().to_string());
                mail.end().await?;
                seen.add("end");
                Ok::<_, BoxError>(Verdict::Continue)
            }
        });
        let mta = mta.from("<first@example.net>").to("<b@example.org>").reset();
        let report = mta.from("<second@example.net>").to("<b@example.org>").message(MAIL);
        let report = report.run_blocking(|_| filter).unwrap();
        assert_eq!(report.failures(), []);
        let expected = ["<first@example.net>", "dropped", "<second@example.net>", "end", "dropped"];
        assert_eq!(notes.all(), expected);
    }
}

#[test]
fn a_function_waits_for_other_things_between_events() {
    async fn slow(mut mail: Mail) -> Result<Verdict, BoxError> {
        // Begun at the sender, asked for at the end.
        let lookup = tokio::spawn(async { sleep(Duration::from_secs(20)).await });
        mail.headers().await?;
        mail.end().await?;
        lookup.await?;
        Ok(Verdict::tempfail("4.7.1", "looked up"))
    }
    for mta in mtas() {
        let report = mta.message(MAIL).run_blocking(|_| Linear::new(slow)).unwrap();
        assert_eq!(report.failures(), []);
        assert_eq!(report.reply(), "451 4.7.1 looked up");
        assert!(report.elapsed() >= Duration::from_secs(20));
        assert!(report.progress() >= 4);
    }
}

#[test]
fn a_mail_may_be_held_by_another_task() {
    async fn elsewhere(mut mail: Mail) -> Result<Verdict, BoxError> {
        tokio::spawn(async move {
            mail.headers().await?.append("X-Task", "other")?;
            Ok(Verdict::Continue)
        })
        .await?
    }
    for mta in mtas() {
        let filter = Linear::new(elsewhere).require(Actions::ADD_HEADERS);
        let report = mta.message(MAIL).run_blocking(|_| filter).unwrap();
        assert_eq!(report.failures(), []);
        assert_eq!(report.message().unwrap().header("X-Task").unwrap(), "other");
    }
}

#[test]
fn errors_and_panics_mean_the_failure_policy() {
    async fn fails(mut mail: Mail) -> Result<Verdict, BoxError> {
        mail.headers().await?;
        Err("no luck".into())
    }
    async fn panics(mut mail: Mail) -> Verdict {
        let _ = mail.recipient().await;
        panic!("bad luck")
    }
    for mta in mtas().into_iter().map(|mta| mta.message(MAIL)) {
        for (filter, text) in [
            (BoxFilter::new(Linear::new(fails)), "no luck"),
            (BoxFilter::new(Linear::new(panics)), "bad luck"),
        ] {
            let report = mta.run_blocking(|_| filter).unwrap();
            assert!(report.failures()[0].to_string().contains(text), "{:?}", report.failures());
            assert!(report.reply().starts_with("451 4.7.1"), "{}", report.reply());
            assert!(report.message().is_none());
        }
    }
}

#[test]
fn what_was_not_declared_is_an_error_at_the_call() {
    async fn greedy(mut mail: Mail) -> Result<Verdict, BoxError> {
        assert!(mail.add_recipient("<x@example.org>").is_err());
        assert!(mail.refuse(Verdict::Reject).is_err());
        assert!(mail.headers().await.is_err());
        assert!(mail.chunk().await.is_err());
        assert!(mail.body().await.is_err());
        Ok(Verdict::Continue)
    }
    for mta in mtas() {
        let report = mta.message(MAIL).run_blocking(|_| Linear::new(greedy).without_headers()).unwrap();
        assert_eq!(report.failures(), []);
        assert_eq!(report.edits(), []);
        assert!(report.message().is_some());
    }
}

#[test]
fn nothing_is_sent_that_is_not_asked_for() {
    let filter = Linear::new(|_: Mail| async { Verdict::Continue }).without_headers();
    let report = mtas()[0].clone().message(MAIL).run_blocking(|_| filter).unwrap();
    let stages: Vec<_> = sent(&report).filter(|stage| stage.in_message()).collect();
    assert_eq!(stages, [Stage::Mail, Stage::Rcpt, Stage::Rcpt, Stage::EndOfMessage]);
}

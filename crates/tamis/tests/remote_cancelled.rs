//! Steps that nobody waits for any more while the milter still works on them.

mod common;

use std::time::Duration;

use common::frames::*;
use common::milter::{Asked, FakeMilter, frame};
use common::{Captured, Mta, Running, patient, serve};
use tamis::remote::{Consultation, Milter, Remote, RemoteOptions};
use tamis::{BoxError, Context, Event, Filter, Needs, Offer, Reply, Verdict};

/// Has a say where the milter takes longer than a second, as another filter of a chain would.
struct Impatient(Remote);

impl Filter for Impatient {
    type Message = Consultation;

    fn needs(&self) -> Needs {
        self.0.needs()
    }

    async fn negotiate(&mut self, offer: &Offer) -> Result<Needs, BoxError> {
        self.0.negotiate(offer).await
    }

    async fn on(&mut self, cx: &mut Context<'_, Consultation>, event: Event) -> Reply {
        let time = Duration::from_secs(1);
        tokio::time::timeout(time, self.0.on(cx, event)).await.unwrap_or(Ok(Verdict::Reject))
    }
}

fn impatient(fake: &FakeMilter) -> Running {
    let milter = Milter::with_options("other", fake.spec(), RemoteOptions::new());
    serve(patient(), move |_| Impatient(milter.connection()))
}

async fn begun(server: &Running, fake: &FakeMilter, steps: u32) -> (Mta, Asked) {
    let mut mta = server.connect().await;
    let (mut asked, _) = tokio::join!(fake.negotiated(0x1, steps), mta.ask(offer()));
    tokio::join!(asked.goes("CH"), mta.go([connect(), helo("h")]));
    (mta, asked)
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_late_is_not_taken_for_the_next_and_then_the_message_is_aborted() {
    let fake = FakeMilter::unix();
    let server = impatient(&fake);
    let (mut mta, mut asked) = begun(&server, &fake, 0).await;
    // It would refuse, but that was said without it already.
    assert_eq!(mta.ask(mail("<a@b>")).await.code, 'r');
    let milter = async {
        asked.expect('M').await;
        asked.write(frame('t', b"")).await;
        asked.goes("MRTLNBE").await;
    };
    tokio::join!(milter, mta.go(message("<c@d>")));
    mta.quit().await;
    assert_eq!(asked.closed().await, "Q");
    server.drain().await;
}

#[tokio::test(start_paused = true)]
async fn a_message_that_was_given_up_while_the_milter_worked_is_aborted_when_it_has_answered() {
    let fake = FakeMilter::unix();
    let server = impatient(&fake);
    let (mut mta, mut asked) = begun(&server, &fake, 0).await;
    tokio::join!(asked.goes("M"), mta.go([mail("<a@b>")]));
    assert_eq!(mta.ask(rcpt("<c@d>")).await.code, 'r');
    mta.write(abort()).await;
    let milter = async {
        asked.expect('R').await;
        asked.go().await;
        asked.expect('A').await;
        asked.goes("MRTLNBE").await;
    };
    tokio::join!(milter, mta.go(message("<c@d>")));
    mta.quit().await;
    server.drain().await;
}

#[tokio::test(start_paused = true)]
async fn modifications_of_a_message_that_was_decided_without_it_are_dropped() {
    let fake = FakeMilter::unix();
    let server = impatient(&fake);
    let (mut mta, mut asked) = begun(&server, &fake, 0).await;
    let mut frames = message("<a@b>");
    let end = frames.pop().unwrap();
    tokio::join!(asked.goes("MRTLNB"), mta.go(frames));
    let milter = async {
        asked.expect('E').await;
        asked.write(frame('h', b"X-Late\0x\0")).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        asked.write([frame('h', b"X-Later\0x\0"), frame('c', b"")].concat()).await;
    };
    let ((), reply) = tokio::join!(milter, mta.ask(end));
    assert_eq!(reply.code, 'r');
    tokio::join!(asked.goes("MRTLNBE"), mta.go(message("<a@b>")));
    mta.quit().await;
    server.drain().await;
}

#[tokio::test(start_paused = true)]
async fn a_verdict_on_the_whole_message_counts_although_it_came_late() {
    let fake = FakeMilter::unix();
    let server = impatient(&fake);
    let (mut mta, mut asked) = begun(&server, &fake, 0).await;
    tokio::join!(asked.goes("MR"), mta.go([mail("<a@b>"), rcpt("<c@d>")]));
    // Somebody else refuses this recipient; the message goes on.
    assert_eq!(mta.ask(rcpt("<e@f>")).await.code, 'r');
    let milter = async {
        asked.expect('R').await;
        asked.write(frame('d', b"")).await;
    };
    let ((), reply) = tokio::join!(milter, mta.ask(data()));
    assert_eq!(reply.code, 'd');
    mta.write(abort()).await;
    // Nothing of that message is left for the next.
    let milter = async {
        asked.expect('A').await;
        asked.goes("MRTLNBE").await;
    };
    tokio::join!(milter, mta.go(message("<c@d>")));
    mta.quit().await;
    server.drain().await;
}

#[tokio::test(start_paused = true)]
async fn a_milter_that_still_does_not_answer_at_the_next_step_has_failed() {
    let log = Captured::new("error");
    let fake = FakeMilter::unix();
    let mut options = RemoteOptions::new();
    options.command_time = Duration::from_millis(1_500);
    let milter = Milter::with_options("other", fake.spec(), options);
    let server = serve(patient(), move |_| Impatient(milter.connection()));
    let (mut mta, mut asked) = begun(&server, &fake, 0).await;
    assert_eq!(mta.ask(mail("<a@b>")).await.code, 'r');
    assert_eq!(mta.ask(mail("<a@b>")).await.code, 'y');
    log.expect(&["filter failed: milter other at mail: no answer within 1.5s"]);
    assert_eq!(asked.closed().await, "M");
    drop(mta);
    server.drain().await;
}

#[tokio::test(start_paused = true)]
async fn a_milter_that_works_when_the_mta_leaves_is_left_too() {
    let fake = FakeMilter::unix();
    let server = impatient(&fake);
    let (mut mta, mut asked) = begun(&server, &fake, 0).await;
    assert_eq!(mta.ask(mail("<a@b>")).await.code, 'r');
    mta.quit().await;
    // No word gets between it and an answer that is due.
    assert_eq!(asked.closed().await, "M");
    server.drain().await;
}

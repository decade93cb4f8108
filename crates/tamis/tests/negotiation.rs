//! Negotiation over a connection: missing actions, custom answers, failures (N1–N14).

mod common;

use std::time::Duration;

use common::frames::*;
use common::{Act, Captured, Probe, go, patient, serve, serve_probe};
use tamis::proto::Steps;
use tamis::{Actions, BoxError, Context, Event, Filter, IfMissing, Needs, Offer, Reply, Stage, Verdict};

fn without(missing: Actions) -> Offer {
    let mut offer = Offer::CURRENT;
    offer.actions &= !missing;
    offer
}

/// Version, actions and steps of an answer.
fn words(payload: &[u8]) -> (u32, Actions, Steps) {
    let word = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().unwrap());
    (word(0), Actions::from_bits_retain(word(4)), Steps::from_bits_retain(word(8)))
}

#[tokio::test]
async fn answer_says_what_handlers_need_and_nothing_that_was_not_offered() {
    let needs = Needs::new().answer([Stage::Mail]).watch([Stage::Rcpt]).allow(Actions::CURRENT);
    let (probe, _notes) = Probe::new(needs, |_, _| go());
    let server = serve_probe(patient(), &probe);
    let mut mta = server.connect().await;
    let answer = mta.ask(offer_of(without(Actions::QUARANTINE))).await;
    let (version, actions, steps) = words(&answer.payload);
    assert_eq!((version, actions & Actions::QUARANTINE), (6, Actions::empty()));
    assert!(steps.contains(Steps::NO_HELO | Steps::NO_BODY | Steps::NO_REPLY_RCPT));
    assert!(!steps.intersects(Steps::NO_MAIL | Steps::NO_REPLY_MAIL | Steps::NO_RCPT));
    mta.quit().await;
    server.drain().await;
}

#[tokio::test]
async fn reply_that_the_mta_insists_on_is_given() {
    let (probe, _notes) = Probe::new(Needs::new().watch([Stage::Mail]), |_, _| go());
    let server = serve_probe(patient(), &probe);
    let mut mta = server.connect().await;
    let mut offer = Offer::CURRENT;
    offer.steps = Steps::NO_HELO;
    assert_eq!(words(&mta.ask(offer_of(offer)).await.payload).2, Steps::NO_HELO);
    mta.go([connect(), mail("<>"), rcpt("<a@b>"), data(), end_of_message()][..3].iter()).await;
    mta.quit().await;
    server.drain().await;
}

#[tokio::test]
async fn missing_action_closes_the_connection_and_is_explained() {
    let log = Captured::new("info");
    let needs = Needs::everything().require(Actions::ADD_HEADERS | Actions::QUARANTINE);
    let (probe, mut notes) = Probe::new(needs, |_, _| go());
    let server = serve_probe(patient(), &probe);
    let mut mta = server.connect().await;
    mta.write(offer_of(without(Actions::QUARANTINE))).await;
    mta.closed().await;
    notes.expect(&["close", "filter dropped after 1 events"]).await;
    log.expect(&["ERROR", "connection{id=1}", "quarantine", "milter_protocol = 6", "Sendmail"]);
    server.drain().await;
}

#[tokio::test]
async fn missing_action_may_refuse_mail_instead() {
    let needs = Needs::everything().require(Actions::QUARANTINE).if_missing(IfMissing::TempfailMail);
    let (probe, mut notes) = Probe::new(needs, |_, _| go());
    let server = serve_probe(patient(), &probe);
    let mut mta = server.connect().await;
    assert_eq!(mta.ask(offer_of(without(Actions::QUARANTINE))).await.code, 'O');
    for _ in 0..2 {
        assert_eq!(mta.ask(mail("<>")).await.code, 't');
        mta.write(abort()).await;
    }
    mta.quit().await;
    assert_eq!(notes.ended().await, ["close"]);
    server.drain().await;
}

#[tokio::test]
async fn filter_may_look_at_the_offer_first() {
    let (probe, mut notes) = Probe::new(Needs::everything(), |cx, event| match event {
        Event::EndOfMessage if cx.actions().contains(Actions::QUARANTINE) => {
            cx.quarantine("held").unwrap();
            go()
        }
        Event::EndOfMessage => Act::Say(Verdict::Reject),
        _ => go(),
    });
    let probe = probe.with_negotiate(|offer| {
        let needs = Needs::new().answer([Stage::EndOfMessage]);
        Ok(if offer.actions.contains(Actions::QUARANTINE) {
            needs.require(Actions::QUARANTINE)
        } else {
            needs
        })
    });
    let server = serve_probe(patient(), &probe);
    for (offer, codes) in [(Offer::CURRENT, "qc"), (without(Actions::QUARANTINE), "r")] {
        let mut mta = server.connect().await;
        assert_eq!(mta.ask(offer_of(offer)).await.code, 'O');
        mta.write(end_of_message()).await;
        assert_eq!(mta.codes(codes.len()).await, codes);
        mta.quit().await;
        let seen = notes.ended().await;
        assert_eq!(seen, ["end-of-message", "message dropped after end-of-message", "close"]);
    }
    server.drain().await;
}

/// Fails before there is anything to answer.
#[derive(Clone, Copy)]
enum Early {
    NeedsPanics,
    NegotiatePanics,
    NegotiateFails,
    NegotiateHangs,
}

impl Filter for Early {
    type Message = ();

    fn needs(&self) -> Needs {
        assert!(!matches!(self, Self::NeedsPanics), "no needs");
        Needs::new()
    }

    fn negotiate(&mut self, _: &Offer) -> impl Future<Output = Result<Needs, BoxError>> + Send {
        // Not in the future: what no `async fn` does when it is called.
        assert!(!matches!(self, Self::NegotiatePanics), "no deal");
        let (result, hangs) = match self {
            Self::NegotiateFails => (Err("no mood".into()), false),
            Self::NegotiateHangs => (Ok(Needs::new()), true),
            _ => (Ok(self.needs()), false),
        };
        async move { if hangs { std::future::pending().await } else { result } }
    }

    async fn on(&mut self, _: &mut Context<'_, ()>, _: Event) -> Reply {
        Ok(Verdict::Continue)
    }
}

#[tokio::test]
async fn failure_to_negotiate_closes_that_connection_and_says_why() {
    let cases = [
        (Early::NeedsPanics, "negotiation failed: the filter panicked: no needs"),
        (Early::NegotiatePanics, "negotiation failed: the filter panicked: no deal"),
        (Early::NegotiateFails, "negotiation failed: no mood"),
        (Early::NegotiateHangs, "negotiation failed: the filter took longer than 20ms"),
    ];
    for (early, text) in cases {
        let log = Captured::new("info");
        let mut options = patient();
        options.stage_time = Duration::from_millis(20);
        let server = serve(options, move |_| early);
        let mut other = server.connect().await;
        let mut mta = server.connect().await;
        mta.write(offer()).await;
        mta.closed().await;
        log.expect(&["ERROR", "connection{id=2}", text]);
        other.write(quit()).await;
        other.closed().await;
        assert_eq!(log.count("connection{"), 1, "{}", log.text());
        server.drain().await;
    }
}

#[tokio::test]
async fn default_negotiation_catches_a_panic_of_needs() {
    struct NoNeeds;
    impl Filter for NoNeeds {
        type Message = ();
        fn needs(&self) -> Needs {
            panic!("no needs")
        }
        async fn on(&mut self, _: &mut Context<'_, ()>, _: Event) -> Reply {
            Ok(Verdict::Continue)
        }
    }
    let log = Captured::new("info");
    let server = serve(patient(), |_| NoNeeds);
    let mut mta = server.connect().await;
    mta.write(offer()).await;
    mta.closed().await;
    log.expect(&["ERROR", "connection{id=1}", "negotiation failed: the filter panicked: no needs"]);
    server.drain().await;
}

#[tokio::test]
async fn mta_that_leaves_cancels_a_negotiation() {
    let server = serve(patient(), |_| Early::NegotiateHangs);
    let mut mta = server.connect().await;
    mta.write(offer()).await;
    common::until(|| server.counters.open() == 1).await;
    drop(mta);
    common::until(|| server.counters.open() == 0).await;
    server.drain().await;
}

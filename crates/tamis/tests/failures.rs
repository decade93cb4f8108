//! What the MTA and the log are told when a filter fails (S6, N6).

mod common;

use std::time::Duration;

use common::frames::*;
use common::{
    Act, Captured, Mta, Notes, Probe, Running, go, on_failure, patient, serve, serve_boxed, serve_probe,
};
use tamis::proto::command::Kind;
use tamis::{Actions, Event, Needs, Options, Stage, Verdict};

/// Fails at one stage in one way, unless the sender is the good one.
fn failing(needs: Needs, stage: Stage, act: Act) -> (Probe, Notes) {
    Probe::new(needs, move |cx, event| {
        let good = cx.macro_value("{mail_addr}") == Some(b"good");
        if event.stage() == Some(stage) && !good { act.clone() } else { go() }
    })
}

fn good_message() -> Vec<Vec<u8>> {
    let mut frames = message("<good@example.com>");
    frames[0] = [macros(Kind::Mail, &[("{mail_addr}", "good")]), frames[0].clone()].concat();
    frames
}

async fn greeted(server: &Running) -> Mta {
    let mut mta = server.mta().await;
    mta.go([connect(), helo("h")]).await;
    mta
}

fn ways() -> [(Act, &'static str); 6] {
    [
        (Act::Fail("disk is full"), "disk is full"),
        (Act::FailNow("disk is full"), "disk is full"),
        (Act::Panic("index out of range"), "panic: index out of range"),
        (Act::PanicNow("index out of range"), "panic: index out of range"),
        (Act::PanicLater("index out of range"), "panic: index out of range"),
        (Act::Hang, "no verdict within 20ms"),
    ]
}

fn short() -> Options {
    let mut options = patient();
    options.stage_time = Duration::from_millis(20);
    options.end_of_message_time = Duration::from_millis(20);
    options
}

#[tokio::test]
async fn every_failure_is_the_policy_on_the_wire_and_the_details_in_the_log() {
    for boxed in [false, true] {
        for (act, text) in ways() {
            for (at, stage) in
                [(0, Stage::Mail), (1, Stage::Rcpt), (3, Stage::Header), (6, Stage::EndOfMessage)]
            {
                let log = Captured::new("info");
                let (probe, _notes) = failing(Needs::everything(), stage, act.clone());
                let server = if boxed { serve_boxed(short(), &probe) } else { serve_probe(short(), &probe) };
                let mut mta = greeted(&server).await;
                let mut frames = message("<from@example.com>");
                frames[at] = [macros(Kind::Connect, &[("i", "4QUEUE1D")]), frames[at].clone()].concat();
                mta.go(&frames[..at]).await;
                let reply = mta.ask(&frames[at]).await;
                assert_eq!(
                    reply.payload, "451 4.7.1 Service unavailable - try again later\0",
                    "{act:?} {stage}"
                );
                log.expect(&["ERROR", "connection{id=1}", "filter failed", text, stage.name(), "4QUEUE1D"]);
                assert_eq!(log.count("ERROR"), 1, "{}", log.text());
                mta.write(abort()).await;
                // A panic is for ever, everything else for the message.
                let dead = text.starts_with("panic");
                let next = mta.ask(&good_message()[0]).await;
                assert_eq!(next.code, if dead { 'y' } else { 'c' }, "{act:?} {stage}");
                if !dead {
                    mta.go(&good_message()[1..]).await;
                }
                mta.quit().await;
                server.drain().await;
            }
        }
    }
}

#[tokio::test]
async fn failure_at_connect_and_helo_is_answered_there() {
    for (at, stage) in [(0, Stage::Connect), (1, Stage::Helo)] {
        let (probe, _notes) = failing(Needs::everything(), stage, Act::Fail("no"));
        let server = serve_probe(patient(), &probe);
        let mut mta = server.mta().await;
        let frames = [connect(), helo("h")];
        mta.go(&frames[..at]).await;
        assert_eq!(mta.ask(&frames[at]).await.code, 'y');
        mta.quit().await;
        server.drain().await;
    }
}

#[tokio::test]
async fn failure_at_a_watched_stage_is_told_at_the_next_answered_one() {
    for (act, text) in ways() {
        let log = Captured::new("info");
        let needs =
            Needs::new().watch([Stage::Mail, Stage::Header]).answer([Stage::Rcpt, Stage::EndOfHeaders]);
        let (probe, _notes) = failing(needs.clone(), Stage::Mail, act.clone());
        let server = serve_probe(short(), &probe);
        let mut mta = server.mta().await;
        mta.write([mail("<from@example.com>"), rcpt("<1@example.com>")].concat()).await;
        assert_eq!(mta.reply().await.code, 'y', "{act:?}");
        // No recipient gets through.
        assert_eq!(mta.ask(rcpt("<2@example.com>")).await.code, 'y');
        log.expect(&["filter failed", text, "stage=mail"]);
        mta.quit().await;
        server.drain().await;

        let (probe, _notes) = failing(needs, Stage::Header, act);
        let server = serve_probe(short(), &probe);
        let mut mta = server.mta().await;
        mta.write(mail("<from@example.com>")).await;
        mta.go([rcpt("<1@example.com>")]).await;
        mta.write([header("A", "1"), header("B", "2"), end_of_headers()].concat()).await;
        assert_eq!(mta.reply().await.code, 'y');
        mta.quit().await;
        server.drain().await;
    }
}

#[tokio::test]
async fn failure_at_a_watched_end_of_message_is_told_there_and_not_to_the_next_message() {
    for (act, _) in ways() {
        let needs = Needs::new().watch([Stage::Mail, Stage::EndOfMessage]);
        let (probe, _notes) = failing(needs, Stage::EndOfMessage, act.clone());
        let server = serve_probe(short(), &probe);
        let mut mta = server.mta().await;
        mta.write(mail("<from@example.com>")).await;
        assert_eq!(mta.ask(end_of_message()).await.code, 'y', "{act:?}");
        let dead = matches!(act, Act::Panic(_) | Act::PanicNow(_) | Act::PanicLater(_));
        mta.write(&good_message()[0]).await;
        assert_eq!(mta.ask(end_of_message()).await.code, if dead { 'y' } else { 'c' }, "{act:?}");
        mta.quit().await;
        server.drain().await;
    }
}

#[tokio::test]
async fn policy_may_be_any_verdict() {
    let policies = [
        (Verdict::Accept, 'a'),
        (Verdict::Reject, 'r'),
        (Verdict::Tempfail, 't'),
        (Verdict::Discard, 'd'),
        (Verdict::reject("5.3.0", "broken"), 'y'),
        (Verdict::shutdown("broken"), 'y'),
        (Verdict::Continue, 'c'),
        // Hardly a stage knows it.
        (Verdict::Skip, 'c'),
    ];
    for (policy, code) in policies {
        for (at, stage) in
            [(0, Stage::Mail), (1, Stage::Rcpt), (4, Stage::EndOfHeaders), (6, Stage::EndOfMessage)]
        {
            let (probe, _notes) = failing(Needs::everything(), stage, Act::Fail("no"));
            let server = serve_probe(on_failure(policy.clone()), &probe);
            let mut mta = greeted(&server).await;
            let frames = message("<from@example.com>");
            mta.go(&frames[..at]).await;
            assert_eq!(mta.ask(&frames[at]).await.code, code, "{policy} at {stage}");
            // As Sendmail does: no abort before the next message, where none is due.
            mta.go(good_message()).await;
            mta.quit().await;
            server.drain().await;
        }
    }
}

#[tokio::test]
async fn discard_for_a_failure_at_a_watched_stage_is_for_that_message_alone() {
    for policy in [Verdict::Discard, Verdict::Accept, Verdict::shutdown("broken")] {
        let needs = Needs::new().watch([Stage::Mail]).answer([Stage::Rcpt]);
        let (probe, _notes) = failing(needs, Stage::Mail, Act::Fail("no"));
        let server = serve_probe(on_failure(policy.clone()), &probe);
        let mut mta = server.mta().await;
        mta.write(mail("<from@example.com>")).await;
        assert_ne!(mta.ask(rcpt("<to@example.com>")).await.code, 'c');
        mta.write(&good_message()[0]).await;
        assert_eq!(mta.ask(rcpt("<to@example.com>")).await.code, 'c', "{policy}");
        mta.go([end_of_message()]).await;
        mta.quit().await;
        server.drain().await;
    }
}

#[tokio::test]
async fn continue_as_policy_keeps_what_other_steps_asked_for() {
    let needs = Needs::everything().require(Actions::ADD_HEADERS);
    for (act, kept) in [(Act::Fail("no"), true), (Act::Panic("no"), false)] {
        let (probe, _notes) = Probe::new(needs.clone(), move |cx, event| match event {
            Event::Mail(_) => {
                cx.add_header("X-Mail", "1").unwrap();
                go()
            }
            Event::Data => {
                cx.add_header("X-Data", "1").unwrap();
                act.clone()
            }
            _ => go(),
        });
        let server = serve_probe(on_failure(Verdict::Continue), &probe);
        let mut mta = greeted(&server).await;
        mta.go(&message("<>")[..6]).await;
        mta.write(end_of_message()).await;
        if kept {
            assert_eq!(mta.reply().await.payload, "X-Mail\x001\0");
        }
        assert_eq!(mta.reply().await.code, 'c');
        mta.quit().await;
        server.drain().await;
    }
}

#[tokio::test]
async fn verdict_at_a_watched_stage_is_a_failure_with_nothing_on_the_wire_there() {
    let watched = [Stage::Mail, Stage::Rcpt, Stage::Header, Stage::Body];
    for stage in watched {
        for verdict in [Verdict::Accept, Verdict::Reject, Verdict::Skip, Verdict::reject("5.7.1", "no")] {
            let log = Captured::new("info");
            let needs = Needs::new().watch(watched).answer([Stage::EndOfMessage]).allow(Actions::ADD_HEADERS);
            let act = Act::Say(verdict.clone());
            let (probe, _notes) = Probe::new(needs, move |cx, event| {
                if event.stage() == Some(stage) {
                    // With edits pending an accept would wait for the end.
                    cx.add_header("X", "1").unwrap();
                    act.clone()
                } else {
                    go()
                }
            });
            // The policy is the very verdict that must not be said.
            let policy = if verdict == Verdict::Reject { Verdict::Reject } else { Verdict::Tempfail };
            let server = serve_probe(on_failure(policy.clone()), &probe);
            let mut mta = server.mta().await;
            let frames = [mail("<>"), rcpt("<a@b>"), header("A", "b"), body(b"x"), end_of_message()];
            // The first reply to all of it is the one to the end of message.
            let reply = mta.ask(frames.concat()).await;
            assert_eq!(reply.code, if policy == Verdict::Reject { 'r' } else { 't' }, "{verdict} at {stage}");
            log.expect(&["ERROR", "never answered", stage.name()]);
            mta.quit().await;
            server.drain().await;
        }
    }
}

#[tokio::test]
async fn verdict_that_a_stage_does_not_know_is_a_failure() {
    let log = Captured::new("info");
    let needs = Needs::everything().allow(Actions::ADD_HEADERS);
    let (probe, _notes) = Probe::new(needs, |cx, event| {
        let _ = cx.add_header("X", "1");
        if matches!(event, Event::EndOfMessage) { Act::Say(Verdict::Skip) } else { go() }
    });
    let server = serve_probe(on_failure(Verdict::Accept), &probe);
    let mut mta = greeted(&server).await;
    mta.go(&message("<>")[..6]).await;
    assert_eq!(mta.ask(end_of_message()).await.code, 'a');
    log.expect(&["ERROR", "verdict skip does not exist at stage end-of-message"]);
    mta.quit().await;
    server.drain().await;
}

#[tokio::test]
async fn verdict_to_abort_and_close_is_logged_and_dropped() {
    let log = Captured::new("info");
    let (probe, _notes) = Probe::new(Needs::everything(), |_, event| match event {
        Event::Abort | Event::Close => Act::Say(Verdict::Reject),
        _ => go(),
    });
    let server = serve_probe(patient(), &probe);
    let mut mta = greeted(&server).await;
    mta.go([mail("<>")]).await;
    mta.quit().await;
    server.drain().await;
    log.expect(&["ERROR", "filter failed at abort", "reject"]);
    log.expect(&["ERROR", "filter failed at close", "reject"]);
}

#[tokio::test]
async fn panic_of_one_connection_is_not_that_of_another() {
    let (probe, _notes) = failing(Needs::everything(), Stage::Mail, Act::Panic("boom"));
    let server = serve_probe(patient(), &probe);
    let mut bad = greeted(&server).await;
    let mut good = greeted(&server).await;
    assert_eq!(bad.ask(mail("<>")).await.code, 'y');
    good.go(good_message()).await;
    bad.write(abort()).await;
    assert_eq!(bad.ask(&good_message()[0]).await.code, 'y');
    good.go(good_message()).await;
    bad.quit().await;
    good.quit().await;
    server.drain().await;
}

#[tokio::test]
async fn panic_of_the_factory_closes_that_connection_alone() {
    let log = Captured::new("info");
    let (probe, _notes) = Probe::quiet();
    let server = serve(patient(), move |peer| {
        assert!(peer.id != 1, "no filter today");
        probe.for_connection(peer.id)
    });
    server.connect().await.closed().await;
    let mut mta = greeted(&server).await;
    mta.go(message("<>")).await;
    mta.quit().await;
    assert_eq!(server.counters.accepted(), 2);
    common::until(|| server.counters.open() == 0).await;
    log.expect(&["ERROR", "connection{id=1}", "no filter today"]);
    server.drain().await;
}

//! However a connection ends, the filter hears of it exactly once (E11, B12).

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::frames::*;
use common::{Act, Captured, Mta, Notes, Probe, Running, go, patient, serve_probe, serve_tcp, within};
use tamis::{Event, Needs, Options, Stage, Verdict};
use tokio::sync::Semaphore;

/// How many notes of the connection were these, in the order in which they came.
async fn ends(notes: &mut Notes) -> Vec<String> {
    let ends = ["abort", "close", "cancelled"];
    notes.ended().await.into_iter().filter(|note| ends.contains(&note.as_str())).collect()
}

async fn in_message(running: &Running) -> Mta {
    let mut mta = running.mta().await;
    mta.go([connect(), helo("h"), mail("<from@example.com>"), rcpt("<to@example.com>")]).await;
    mta
}

/// A connection with a message open, and what the filter hears when that ends in some way.
async fn after<D: Future<Output = ()>>(
    options: Options,
    end: impl FnOnce(Mta, tamis::Shutdown) -> D,
) -> Vec<String> {
    let (probe, mut notes) = Probe::quiet();
    let server = serve_probe(options, &probe);
    let mta = in_message(&server).await;
    end(mta, server.shutdown.clone()).await;
    let heard = ends(&mut notes).await;
    server.drain().await;
    assert_eq!(notes.rest(), Vec::<String>::new());
    heard
}

#[tokio::test]
async fn quit_between_messages_is_a_close() {
    let (probe, mut notes) = Probe::quiet();
    let server = serve_probe(patient(), &probe);
    let mut mta = server.mta().await;
    mta.go([connect(), helo("h")]).await;
    mta.go(message("<>")).await;
    mta.quit().await;
    assert_eq!(ends(&mut notes).await, ["close"]);
    server.drain().await;
}

#[tokio::test]
async fn quit_in_a_message_is_abort_and_close() {
    assert_eq!(after(patient(), |mta, _| mta.quit()).await, ["abort", "close"]);
}

#[tokio::test]
async fn end_of_stream_between_messages_is_a_close_and_no_noise() {
    let log = Captured::new("info");
    let (probe, mut notes) = Probe::quiet();
    let server = serve_probe(patient(), &probe);
    let mut mta = server.mta().await;
    mta.go([connect(), helo("h")]).await;
    drop(mta);
    assert_eq!(ends(&mut notes).await, ["close"]);
    server.drain().await;
    assert_eq!(log.text(), "");
}

#[tokio::test]
async fn end_of_stream_in_a_message_is_abort_and_close() {
    let log = Captured::new("info");
    assert_eq!(after(patient(), |mta, _| async { drop(mta) }).await, ["abort", "close"]);
    log.expect(&["WARN", "connection{id=1}", "closed before the end"]);
}

#[tokio::test]
async fn end_of_stream_inside_a_frame_is_abort_and_close() {
    let end = |mut mta: Mta, _| async move { mta.write([0, 0, 0]).await };
    assert_eq!(after(patient(), end).await, ["abort", "close"]);
}

#[tokio::test]
async fn reset_in_a_message_is_abort_and_close() {
    let (probe, mut notes) = Probe::quiet();
    let (server, address) = serve_tcp(patient(), &probe);
    let mut mta = Mta::tcp(address).await;
    mta.negotiate().await;
    mta.go([connect(), helo("h"), mail("<>")]).await;
    mta.reset();
    assert_eq!(ends(&mut notes).await, ["abort", "close"]);
    server.drain().await;
}

#[tokio::test]
async fn reset_between_messages_is_a_close_and_no_noise() {
    let log = Captured::new("info");
    let (probe, mut notes) = Probe::quiet();
    let (server, address) = serve_tcp(patient(), &probe);
    let mut mta = Mta::tcp(address).await;
    mta.negotiate().await;
    mta.go([connect(), helo("h")]).await;
    mta.reset();
    assert_eq!(ends(&mut notes).await, ["close"]);
    server.drain().await;
    assert_eq!(log.text(), "");
}

#[tokio::test]
async fn protocol_errors_are_abort_and_close_without_an_answer() {
    let broken: [(&[u8], &str); 5] = [
        (&[0, 0, 0, 0], "frame of length 0"),
        (&[0xff, 0xff, 0xff, 0xff], "exceeds the limit"),
        (b"\0\0\0\x01Z", "no such code"),
        (b"\0\0\0\x02Hx", "without its final NUL"),
        (b"\0\0\0\x01C", "not allowed now"),
    ];
    for (bytes, text) in broken {
        let log = Captured::new("info");
        let end = |mut mta: Mta, _| async move {
            mta.write(bytes).await;
            mta.closed().await;
        };
        assert_eq!(after(patient(), end).await, ["abort", "close"], "{bytes:?}");
        log.expect(&["WARN", "connection{id=1}", text]);
        assert_eq!(log.count("connection{"), 1, "{}", log.text());
    }
}

#[tokio::test]
async fn replies_to_what_came_before_a_protocol_error_are_sent() {
    let (probe, mut notes) = Probe::quiet();
    let server = serve_probe(patient(), &probe);
    let mut mta = server.mta().await;
    mta.write([&connect()[..], &helo("h"), &[0, 0, 0, 0]].concat()).await;
    assert_eq!(mta.codes(2).await, "cc");
    mta.closed().await;
    assert_eq!(ends(&mut notes).await, ["close"]);
    server.drain().await;
}

fn idle(time: Duration) -> Options {
    let mut options = patient();
    options.idle_time = time;
    options
}

#[tokio::test]
async fn silence_in_a_message_is_abort_and_close() {
    let end = |mut mta: Mta, _| async move { mta.closed().await };
    assert_eq!(after(idle(Duration::from_millis(100)), end).await, ["abort", "close"]);
}

#[tokio::test]
async fn silence_between_messages_is_a_close() {
    let log = Captured::new("info");
    let (probe, mut notes) = Probe::quiet();
    let server = serve_probe(idle(Duration::from_millis(50)), &probe);
    let mut mta = server.mta().await;
    mta.closed().await;
    assert_eq!(ends(&mut notes).await, ["close"]);
    server.drain().await;
    log.expect(&["INFO", "nothing was heard from the MTA for 50ms"]);
}

#[tokio::test]
async fn drain_time_over_is_abort_and_close() {
    let mut options = patient();
    options.drain_time = Duration::from_millis(20);
    let end = |mut mta: Mta, shutdown: tamis::Shutdown| async move {
        shutdown.drain();
        mta.closed().await;
    };
    assert_eq!(after(options, end).await, ["abort", "close"]);
}

#[tokio::test]
async fn stop_is_abort_and_close() {
    let end = |mut mta: Mta, shutdown: tamis::Shutdown| async move {
        shutdown.stop();
        mta.closed().await;
    };
    assert_eq!(after(patient(), end).await, ["abort", "close"]);
}

#[tokio::test]
async fn connecting_and_leaving_is_a_close() {
    let (probe, mut notes) = Probe::quiet();
    let server = serve_probe(patient(), &probe);
    drop(server.connect().await);
    notes.expect(&["close", "filter dropped after 1 events"]).await;
    server.drain().await;
}

#[tokio::test]
async fn filter_that_panicked_is_not_called_again_but_dropped_once() {
    let (probe, mut notes) = Probe::new(Needs::everything(), |_, event| match event {
        Event::Rcpt(_) => Act::Panic("boom"),
        _ => go(),
    });
    let server = serve_probe(patient(), &probe);
    let mut mta = server.mta().await;
    mta.go([connect(), helo("h"), mail("<>")]).await;
    assert_eq!(mta.ask(rcpt("<a@b>")).await.code, 'y');
    mta.quit().await;
    notes.expect(&["connect", "helo", "mail", "rcpt", "message dropped after mail rcpt"]).await;
    notes.expect(&["filter dropped after 4 events"]).await;
    server.drain().await;
    assert_eq!(notes.rest(), Vec::<String>::new());
}

#[tokio::test]
async fn handlers_of_the_end_have_a_time_limit() {
    let log = Captured::new("info");
    let (probe, mut notes) = Probe::new(Needs::everything(), |_, event| match event {
        Event::Abort | Event::Close => Act::Hang,
        _ => go(),
    });
    let mut options = patient();
    options.stage_time = Duration::from_millis(20);
    let server = serve_probe(options, &probe);
    drop(in_message(&server).await);
    assert_eq!(ends(&mut notes).await, ["abort", "cancelled", "close", "cancelled"]);
    server.drain().await;
    log.expect(&["ERROR", "filter failed at abort: not done within 20ms"]);
    log.expect(&["ERROR", "filter failed at close: not done within 20ms"]);
}

#[tokio::test]
async fn handler_is_cancelled_when_its_mta_vanishes() {
    for stage in [Stage::Connect, Stage::Rcpt, Stage::EndOfMessage] {
        let (probe, mut notes) =
            Probe::new(
                Needs::everything(),
                move |_, event| {
                    if event.stage() == Some(stage) { Act::Hang } else { go() }
                },
            );
        for reset in [false, true] {
            let (server, address) = serve_tcp(patient(), &probe);
            let mut mta = Mta::tcp(address).await;
            mta.negotiate().await;
            let mut frames = vec![connect(), helo("h")];
            frames.extend(message("<>"));
            let at = [
                "connect",
                "helo",
                "mail",
                "rcpt",
                "data",
                "header",
                "end-of-headers",
                "body",
                "end-of-message",
            ]
            .iter()
            .position(|name| *name == stage.name())
            .unwrap();
            mta.go(&frames[..at]).await;
            mta.write(&frames[at]).await;
            notes.until(stage.name()).await;
            let gone = Instant::now();
            if reset {
                mta.reset();
            } else {
                drop(mta);
            }
            // All time limits of these settings are far longer than this.
            notes.expect(&["cancelled"]).await;
            assert!(gone.elapsed() < Duration::from_secs(2), "{:?}", gone.elapsed());
            let expected: &[&str] = if stage == Stage::Connect { &["close"] } else { &["abort", "close"] };
            assert_eq!(ends(&mut notes).await, expected, "{stage}, reset {reset}");
            server.drain().await;
        }
    }
}

#[tokio::test]
async fn handler_is_cancelled_though_the_mta_said_more_before_it_vanished() {
    let needs = Needs::everything();
    let (probe, mut notes) =
        Probe::new(needs, |_, event| if matches!(event, Event::Mail(_)) { Act::Hang } else { go() });
    let server = serve_probe(patient(), &probe);
    let mut mta = server.mta().await;
    mta.go([connect(), helo("h")]).await;
    mta.write([mail("<>"), abort(), quit()].concat()).await;
    notes.until("mail").await;
    drop(mta);
    notes.expect(&["cancelled", "abort", "message dropped after mail abort", "close"]).await;
    server.drain().await;
}

#[tokio::test]
async fn abort_behind_a_running_handler_waits_its_turn() {
    let gate = Arc::new(Semaphore::new(0));
    let held = gate.clone();
    let (probe, mut notes) = Probe::new(Needs::everything(), move |_, event| match event {
        Event::Mail(_) => Act::When(held.clone(), Verdict::Continue),
        _ => go(),
    });
    let server = serve_probe(patient(), &probe);
    let mut mta = server.mta().await;
    mta.go([connect(), helo("h")]).await;
    mta.write(mail("<>")).await;
    notes.until("mail").await;
    mta.write([abort(), quit()].concat()).await;
    // Another connection comes and goes: enough time for the abort to overtake, if it did.
    let mut other = server.mta().await;
    other.go([connect()]).await;
    other.quit().await;
    gate.add_permits(1);
    let seen = notes.until("abort").await;
    assert!(!seen.iter().any(|note| note == "cancelled"), "{seen:?}");
    assert_eq!(mta.reply().await.code, 'c');
    within(mta.closed()).await;
    server.drain().await;
}

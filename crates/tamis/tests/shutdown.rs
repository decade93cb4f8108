//! Ending a server gently and at once, and what it counts (D7, D8, D12, D13).

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::frames::*;
use common::{Act, Captured, Probe, go, patient, serve_probe, until, within};
use tamis::server::BindError;
use tamis::{Event, Needs, Shutdown, SocketSpec, Stage, Verdict};
use tokio::net::UnixStream;
use tokio::sync::Semaphore;

#[tokio::test]
async fn drain_closes_idle_connections_and_lets_a_message_finish() {
    let gate = Arc::new(Semaphore::new(0));
    let held = gate.clone();
    let (probe, mut notes) = Probe::new(Needs::everything(), move |_, event| match event {
        Event::EndOfMessage => Act::When(held.clone(), Verdict::Accept),
        _ => go(),
    });
    let server = serve_probe(patient(), &probe);
    let (mut fresh, mut idle, mut busy) = (server.connect().await, server.mta().await, server.mta().await);
    idle.go([connect(), helo("h")]).await;
    busy.go([connect(), helo("h")]).await;
    busy.go(&message("<>")[..6]).await;
    busy.write(end_of_message()).await;
    notes.until("end-of-message").await;

    server.shutdown.drain();
    fresh.closed().await;
    idle.closed().await;
    // No more connections, and no file that would make somebody try.
    until(|| !server.path.exists()).await;
    assert!(!server.task.is_finished());
    gate.add_permits(1);
    assert_eq!(busy.reply().await.code, 'a');
    busy.closed().await;
    server.ended().await;
}

#[tokio::test]
async fn a_server_that_retires_leaves_its_connections_to_their_mtas() {
    // What is ready first is left to chance, so that once is not enough.
    for _ in 0..20 {
        let (probe, _notes) = Probe::new(Needs::everything(), |_, _| go());
        let server = serve_probe(patient(), &probe);
        let (mut idle, mut busy) = (server.mta().await, server.mta().await);
        idle.go([connect(), helo("h")]).await;
        busy.go([connect(), helo("h")]).await;
        busy.go(&message("<>")[..6]).await;

        server.shutdown.retire();
        // No more connections.
        until(|| !server.path.exists()).await;
        busy.go([end_of_message()]).await;
        idle.go(message("<>")).await;
        drop(busy);
        assert!(!server.task.is_finished());
        drop(idle);
        server.ended().await;
    }
}

#[tokio::test]
async fn drain_closes_a_connection_whose_last_read_was_full() {
    // The reactor then believes that there is more to read.
    let (probe, mut notes) = Probe::new(Needs::new().watch([Stage::Unknown]), |_, _| go());
    let server = serve_probe(patient(), &probe);
    let mut mta = server.mta().await;
    let line = "x".repeat(8 * 1024 - 6);
    mta.write(unknown(&line)).await;
    notes.until("unknown").await;
    let mut other = server.mta().await;
    other.go([end_of_message()]).await;
    server.shutdown.drain();
    mta.closed().await;
    server.ended().await;
}

#[tokio::test]
async fn message_that_is_between_two_steps_may_finish() {
    let (probe, _notes) = Probe::quiet();
    let server = serve_probe(patient(), &probe);
    let mut mta = server.mta().await;
    mta.go([connect(), helo("h")]).await;
    let frames = message("<>");
    mta.go(&frames[..3]).await;
    server.shutdown.drain();
    mta.go(&frames[3..]).await;
    mta.closed().await;
    assert_eq!(server.counters.messages(), 1);
    server.ended().await;
}

#[tokio::test]
async fn drain_is_bounded_by_its_time() {
    let log = Captured::new("info");
    let (probe, mut notes) = Probe::new(Needs::everything(), |_, event| match event {
        Event::Mail(_) => Act::Hang,
        _ => go(),
    });
    let mut options = patient();
    options.drain_time = Duration::from_millis(100);
    let server = serve_probe(options, &probe);
    let mut mta = server.mta().await;
    mta.go([connect(), helo("h")]).await;
    mta.write(mail("<>")).await;
    notes.until("mail").await;
    let begin = Instant::now();
    server.shutdown.drain();
    notes.expect(&["cancelled", "abort", "message dropped after mail abort", "close"]).await;
    assert!(begin.elapsed() >= Duration::from_millis(100));
    server.ended().await;
    log.expect(&["WARN", "still in work after 100ms"]);
}

#[tokio::test]
async fn stop_while_draining_is_at_once() {
    let (probe, mut notes) = Probe::new(Needs::everything(), |_, event| match event {
        Event::Mail(_) => Act::Hang,
        _ => go(),
    });
    let server = serve_probe(patient(), &probe);
    let mut mta = server.mta().await;
    mta.go([connect(), helo("h")]).await;
    mta.write(mail("<>")).await;
    notes.until("mail").await;
    server.shutdown.drain();
    until(|| !server.path.exists()).await;
    assert!(!server.task.is_finished());
    server.shutdown.stop();
    notes.expect(&["cancelled", "abort", "message dropped after mail abort", "close"]).await;
    mta.closed().await;
    server.ended().await;
}

#[tokio::test]
async fn stop_does_not_wait_for_an_mta_that_does_not_read() {
    let (probe, mut notes) = Probe::quiet();
    let server = serve_probe(patient(), &probe);
    let mut mta = server.mta().await;
    mta.go([connect()]).await;
    // More replies than the socket takes.
    let helos = helo("h").repeat(10_000);
    let flooding = tokio::spawn(async move { while mta.write_slowly(&helos).await.is_ok() {} });
    // The server is stuck when the filter hears nothing more for a while.
    let mut quiet = 0;
    within(async {
        while quiet < 20 {
            tokio::time::sleep(Duration::from_millis(10)).await;
            quiet = if notes.rest().is_empty() { quiet + 1 } else { 0 };
        }
    })
    .await;
    server.shutdown.stop();
    server.ended().await;
    within(flooding).await.unwrap();
}

#[tokio::test]
async fn stop_cancels_a_custom_negotiation() {
    struct Slow;
    impl tamis::Filter for Slow {
        type Message = ();
        fn needs(&self) -> Needs {
            Needs::new()
        }
        async fn negotiate(&mut self, _: &tamis::Offer) -> Result<Needs, tamis::BoxError> {
            std::future::pending().await
        }
        async fn on(&mut self, _: &mut tamis::Context<'_, ()>, _: Event) -> tamis::Reply {
            Ok(Verdict::Continue)
        }
    }
    let server = common::serve(patient(), |_| Slow);
    let mut mta = server.connect().await;
    mta.write(offer()).await;
    until(|| server.counters.open() == 1).await;
    server.shutdown.stop();
    mta.closed().await;
    server.ended().await;
}

#[tokio::test]
async fn dropping_the_server_ends_its_connections() {
    let (probe, mut notes) = Probe::quiet();
    let server = serve_probe(patient(), &probe);
    let mut mta = server.mta().await;
    mta.go([connect(), helo("h"), mail("<>")]).await;
    server.task.abort();
    mta.closed().await;
    assert!(notes.ended().await.ends_with(&[
        "abort".into(),
        "message dropped after mail abort".into(),
        "close".into()
    ]));
    assert!(UnixStream::connect(&server.path).await.is_err());
}

#[tokio::test]
async fn counters_count() {
    let (probe, _notes) = Probe::new(Needs::everything(), |_, event| match event {
        Event::Mail(sender) if sender.address == "<bad@example.com>" => Act::Say(Verdict::Reject),
        _ => go(),
    });
    let server = serve_probe(patient(), &probe);
    let counters = server.counters.clone();
    let counts = || (counters.accepted(), counters.open(), counters.messages());
    let mut one = server.mta().await;
    let two = server.mta().await;
    assert_eq!(counts(), (2, 2, 0));
    one.go([connect(), helo("h")]).await;
    one.go(message("<>")).await;
    assert_eq!(counts(), (2, 2, 1));
    assert_eq!(one.ask(mail("<bad@example.com>")).await.code, 'r');
    assert_eq!(counts(), (2, 2, 2));
    // An aborted message has no verdict.
    one.go([mail("<>")]).await;
    one.write(abort()).await;
    one.quit().await;
    drop(two);
    until(|| counters.open() == 0).await;
    assert_eq!(counts(), (2, 0, 2));
    server.drain().await;
}

#[tokio::test]
async fn server_that_was_shut_down_before_serves_nobody() {
    let shutdown = Shutdown::new();
    shutdown.drain();
    assert!(shutdown.is_draining());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let listeners = tamis::bind(&[SocketSpec::Unix(path.clone())]).unwrap();
    let (probe, _notes) = Probe::quiet();
    within(tamis::serve(listeners, move |_| probe.clone(), shutdown)).await.unwrap();
    assert!(!path.exists());
}

#[tokio::test]
async fn failure_to_start_is_of_another_type_than_one_later() {
    // Peers that come and go do not end a server; only what its listeners do would be a `ServeError`.
    let started: Result<_, BindError> = tamis::bind(&["inet:0@192.0.2.1".parse().unwrap()]);
    let error = started.unwrap_err().to_string();
    assert!(error.starts_with("cannot listen on inet:0@192.0.2.1: bind: "), "{error}");
    let (probe, _notes) = Probe::quiet();
    let server = serve_probe(patient(), &probe);
    for _ in 0..200 {
        drop(server.connect().await);
    }
    until(|| server.counters.accepted() == 200).await;
    assert!(!server.task.is_finished());
    server.drain().await;
}

//! Bytes: the trace, what is copied, and peers that do not read (D11, W13).

mod common;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::frames::*;
use common::{Act, Captured, PATIENCE, Probe, go, patient, serve_probe, until};
use tamis::{Actions, Event, MacroStage, Needs, SmtpReply, Stage, Verdict};
use tokio::sync::Semaphore;

#[tokio::test]
async fn trace_shows_frames_of_both_directions_with_names() {
    let log = Captured::new("tamis::wire=trace");
    let needs = Needs::new()
        .answer([Stage::Helo, Stage::EndOfMessage])
        .watch([Stage::Mail])
        .require(Actions::ADD_HEADERS)
        .macros(MacroStage::Mail, ["i", "mail_addr"]);
    let (probe, _notes) = Probe::new(needs, |cx, event| match event {
        Event::EndOfMessage => {
            cx.add_header("X-Seen", "yes").unwrap();
            Act::After(Duration::from_millis(200), Verdict::reject("5.7.1", "no"))
        }
        _ => go(),
    });
    let mut options = patient();
    options.progress_every = Duration::from_millis(20);
    let server = serve_probe(options, &probe);
    let mut mta = server.mta().await;
    mta.go([helo("mail.example")]).await;
    mta.write([mail("<from@example.com>"), end_of_message()].concat()).await;
    assert_eq!(mta.reply().await.code, 'p');
    while mta.reply().await.code != 'y' {}
    mta.quit().await;
    for words in [
        &["> negotiate version=6 actions=add-headers|replace-body|", "steps=no-connect|no-helo|"][..],
        &[
            "< negotiate version=6 actions=add-headers|macro-lists",
            "no-body",
            "no-reply-mail",
            "macros-mail=\"i {mail_addr}\"",
        ],
        &["> helo \"mail.example\""],
        &["< continue"],
        &["> mail \"<from@example.com>\""],
        &["> end-of-message"],
        &["< progress"],
        &["< reply-code \"550 5.7.1 no\""],
        &["> quit"],
    ] {
        // With this target alone there is no span to name the connection.
        log.expect(&[&["TRACE tamis::wire:", "connection=1"][..], words].concat());
    }
    server.drain().await;
}

#[tokio::test]
async fn trace_has_replies_that_left_while_a_handler_worked() {
    let log = Captured::new("tamis::wire=trace");
    let gate = Arc::new(Semaphore::new(0));
    let held = gate.clone();
    let (probe, _notes) = Probe::new(Needs::everything(), move |_, event| match event {
        Event::Mail(_) => Act::When(held.clone(), Verdict::Accept),
        Event::Helo(_) => Act::Say(Verdict::Tempfail),
        _ => go(),
    });
    let server = serve_probe(patient(), &probe);
    let mut mta = server.mta().await;
    mta.write([connect(), helo("h"), mail("<>")].concat()).await;
    // They do not wait for the slow one.
    assert_eq!(mta.codes(2).await, "ct");
    gate.add_permits(1);
    assert_eq!(mta.reply().await.code, 'a');
    mta.quit().await;
    for (line, count) in [("< continue", 1), ("< tempfail", 1), ("< accept", 1)] {
        assert_eq!(log.count(line), count, "{line} in {}", log.text());
    }
    server.drain().await;
}

#[tokio::test]
async fn nothing_is_traced_unless_somebody_wants_it() {
    let log = Captured::new("tamis=debug");
    let (probe, _notes) = Probe::quiet();
    let server = serve_probe(patient(), &probe);
    let mut mta = server.mta().await;
    mta.go([connect(), helo("h")]).await;
    mta.quit().await;
    server.drain().await;
    log.expect(&["DEBUG", "connection{id=1}", "negotiated"]);
    log.expect(&["DEBUG", "connection{id=1}", "connection closed"]);
    assert_eq!(log.count("tamis::wire"), 0);
}

#[tokio::test]
async fn errors_name_their_connection_also_where_only_errors_are_logged() {
    let log = Captured::new("error");
    let (probe, _notes) = Probe::new(Needs::everything(), |_, _| Act::Fail("no"));
    let server = serve_probe(patient(), &probe);
    let mut mta = server.mta().await;
    assert_eq!(mta.ask(connect()).await.code, 'y');
    mta.quit().await;
    log.expect(&["ERROR connection{id=1}", "filter failed: no"]);
    server.drain().await;
}

#[tokio::test]
async fn pieces_of_a_burst_are_slices_of_what_was_read() {
    let places: Arc<Mutex<Vec<(usize, usize)>>> = Arc::default();
    let seen = places.clone();
    let (probe, mut notes) = Probe::new(Needs::new().watch([Stage::Body]), move |_, event| {
        if let Event::Body(piece) = event {
            seen.lock().unwrap().push((piece.as_ptr().addr(), piece.len()));
        }
        Act::SayNow(Verdict::Continue)
    });
    let server = serve_probe(patient(), &probe);
    let mut mta = server.mta().await;
    let burst: Vec<u8> = (1..=12).flat_map(|n| body(&vec![b'x'; n * 50])).collect();
    mta.write(burst).await;
    mta.go([end_of_message()]).await;
    mta.quit().await;
    notes.ended().await;
    let places = std::mem::take(&mut *places.lock().unwrap());
    assert_eq!(places.len(), 12);
    for pair in places.windows(2) {
        // Behind each piece there are a length and a letter, then the next piece.
        assert_eq!(pair[1].0, pair[0].0 + pair[0].1 + 5, "{places:?}");
    }
    server.drain().await;
}

#[tokio::test]
async fn mta_that_does_not_read_is_closed_after_the_write_time() {
    let log = Captured::new("info");
    let (probe, mut notes) = Probe::quiet();
    let mut options = patient();
    options.write_time = Duration::from_millis(50);
    let server = serve_probe(options, &probe);
    let mut mta = server.mta().await;
    mta.go([connect()]).await;
    let helos = helo("h").repeat(10_000);
    let begin = Instant::now();
    while mta.write_slowly(&helos).await.is_ok() {
        assert!(begin.elapsed() < PATIENCE, "it takes everything");
    }
    assert_eq!(notes.ended().await.pop().unwrap(), "close");
    log.expect(&["WARN", "connection{id=1}", "the MTA read nothing of a reply for 50ms"]);
    until(|| server.counters.open() == 0).await;
    server.drain().await;
}

#[tokio::test]
async fn replies_that_nobody_reads_are_bounded() {
    let long = SmtpReply::multiline(550, "5.7.1", vec![[b'x'; 900]; 30]).unwrap();
    let (probe, mut notes) = Probe::new(Needs::everything(), move |_, event| match event {
        Event::Rcpt(_) => Act::SayNow(long.clone().into()),
        _ => go(),
    });
    let mut options = patient();
    options.write_time = Duration::from_millis(100);
    let server = serve_probe(options, &probe);
    let mut mta = server.mta().await;
    mta.go([connect(), helo("h"), mail("<>")]).await;
    // 7 KiB of commands would be 16 MiB of replies.
    mta.write(rcpt("<a@b>").repeat(600)).await;
    let seen = notes.ended().await;
    let handled = seen.iter().filter(|note| *note == "rcpt").count();
    assert!((1..100).contains(&handled), "{handled} replies of 27 KiB");
    server.drain().await;
}

//! The end of message: modifications, progress, time limits (R7, R8, S12, A11, A12, N12, A15).

mod common;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::frames::*;
use common::{Act, Captured, Cx, Mta, Notes, PATIENCE, Probe, Running, go, on_failure, patient, serve_probe};
use tamis::proto::Misuse;
use tamis::{Actions, Event, Needs, Options, Stage, Verdict};
use tokio::sync::Semaphore;

async fn at_end(server: &Running) -> Mta {
    let mut mta = server.mta().await;
    mta.go([connect(), helo("h")]).await;
    mta.go(&message("<>")[..6]).await;
    mta
}

fn hanging_at(stage: Stage) -> (Probe, Notes) {
    Probe::new(
        Needs::everything(),
        move |_, event| if event.stage() == Some(stage) { Act::Hang } else { go() },
    )
}

fn ticking() -> Options {
    let mut options = patient();
    options.progress_every = Duration::from_millis(30);
    options
}

#[tokio::test]
async fn progress_comes_regularly_until_the_verdict_and_not_after_it() {
    let gate = Arc::new(Semaphore::new(0));
    let held = gate.clone();
    let (probe, _notes) = Probe::new(Needs::everything(), move |_, event| match event {
        Event::EndOfMessage => Act::When(held.clone(), Verdict::Accept),
        _ => go(),
    });
    let server = serve_probe(ticking(), &probe);
    let mut mta = at_end(&server).await;
    let begin = Instant::now();
    mta.write(end_of_message()).await;
    assert_eq!(mta.codes(5).await, "ppppp");
    assert!(begin.elapsed() >= Duration::from_millis(150), "{:?}", begin.elapsed());
    gate.add_permits(1);
    // One may be on its way already.
    let mut last = mta.reply().await;
    while last.code == 'p' {
        last = mta.reply().await;
    }
    assert_eq!(last.code, 'a');
    // Longer than the pause between two of them; what comes next is the end of the connection.
    tokio::time::sleep(Duration::from_millis(100)).await;
    mta.quit().await;
    server.drain().await;
}

#[tokio::test]
async fn progress_is_for_the_end_of_message_alone() {
    for stage in [Stage::Helo, Stage::Mail, Stage::Header, Stage::Body] {
        let (probe, _notes) = Probe::new(Needs::everything(), move |_, event| {
            let slow = Act::After(Duration::from_millis(100), Verdict::Continue);
            if event.stage() == Some(stage) { slow } else { go() }
        });
        let server = serve_probe(ticking(), &probe);
        // Every answer must be continue.
        let mut mta = at_end(&server).await;
        mta.go([end_of_message()]).await;
        mta.quit().await;
        server.drain().await;
    }
}

#[tokio::test]
async fn quick_end_of_message_has_no_progress() {
    let (probe, _notes) = Probe::quiet();
    let server = serve_probe(ticking(), &probe);
    let mut mta = at_end(&server).await;
    mta.go([end_of_message()]).await;
    mta.quit().await;
    server.drain().await;
}

#[tokio::test]
async fn time_limit_at_end_of_message_is_the_policy_behind_progress() {
    let (probe, mut notes) = hanging_at(Stage::EndOfMessage);
    let mut options = ticking();
    options.end_of_message_time = Duration::from_millis(250);
    options.on_failure = Verdict::Tempfail;
    let server = serve_probe(options, &probe);
    let mut mta = at_end(&server).await;
    let begin = Instant::now();
    mta.write(end_of_message()).await;
    let mut codes = String::new();
    while !codes.ends_with('t') {
        codes.push(mta.reply().await.code);
    }
    assert!((2..=9).contains(&codes.len()) && codes.starts_with('p'), "{codes}");
    assert!(begin.elapsed() >= Duration::from_millis(250));
    notes.until("cancelled").await;
    // Nobody calls an abort for a message that has its verdict.
    mta.write(abort()).await;
    mta.quit().await;
    assert_eq!(notes.ended().await.pop().unwrap(), "close");
    server.drain().await;
}

#[tokio::test]
async fn time_limit_of_other_stages_is_their_own() {
    for stage in [Stage::Connect, Stage::Rcpt, Stage::Body] {
        let (probe, _notes) = hanging_at(stage);
        let mut options = on_failure(Verdict::Tempfail);
        options.stage_time = Duration::from_millis(20);
        let server = serve_probe(options, &probe);
        let mut mta = server.mta().await;
        let mut frames = vec![connect(), helo("h")];
        frames.extend(message("<>"));
        let at = if stage == Stage::Connect {
            0
        } else if stage == Stage::Rcpt {
            3
        } else {
            7
        };
        mta.go(&frames[..at]).await;
        let begin = Instant::now();
        assert_eq!(mta.ask(&frames[at]).await.code, 't');
        assert!((Duration::from_millis(20)..PATIENCE).contains(&begin.elapsed()));
        mta.quit().await;
        server.drain().await;
    }
}

#[tokio::test]
async fn time_without_end_is_no_panic() {
    let gate = Arc::new(Semaphore::new(0));
    let held = gate.clone();
    let (probe, mut notes) = Probe::new(Needs::everything(), move |_, event| match event {
        Event::EndOfMessage => Act::When(held.clone(), Verdict::Continue),
        _ => go(),
    });
    let mut options = patient();
    (options.stage_time, options.end_of_message_time) = (Duration::MAX, Duration::MAX);
    (options.progress_every, options.idle_time) = (Duration::MAX, Duration::MAX);
    (options.write_time, options.drain_time) = (Duration::MAX, Duration::MAX);
    let server = serve_probe(options, &probe);
    let mut mta = at_end(&server).await;
    mta.write(end_of_message()).await;
    notes.until("end-of-message").await;
    gate.add_permits(1);
    assert_eq!(mta.reply().await.code, 'c');
    mta.quit().await;
    server.drain().await;
}

fn editing(stages: &'static [Stage]) -> (Probe, Notes) {
    let needs = Needs::everything().require(Actions::ADD_HEADERS | Actions::ADD_RECIPIENTS);
    Probe::new(needs, move |cx, event| {
        if event.stage().is_some_and(|stage| stages.contains(&stage)) {
            cx.add_header("X-Stage", event.name()).unwrap();
        }
        go()
    })
}

#[tokio::test]
async fn modifications_asked_for_early_leave_at_end_of_message_in_order() {
    let stages = &[Stage::Mail, Stage::Rcpt, Stage::Data, Stage::Header, Stage::EndOfHeaders, Stage::Body];
    let (probe, _notes) = editing(stages);
    let server = serve_probe(patient(), &probe);
    // Everything before the end is answered with continue, nothing else.
    let mut mta = at_end(&server).await;
    mta.write(end_of_message()).await;
    for stage in stages {
        let edit = mta.reply().await;
        assert_eq!((edit.code, edit.payload), ('h', format!("X-Stage\0{stage}\0").into()));
    }
    assert_eq!(mta.reply().await.code, 'c');
    mta.quit().await;
    server.drain().await;
}

#[tokio::test]
async fn modifications_go_nowhere_with_a_verdict_that_stops_the_message() {
    let needs = Needs::everything().require(Actions::ADD_HEADERS);
    for (verdict, code) in [(Verdict::Reject, 'r'), (Verdict::Tempfail, 't'), (Verdict::Discard, 'd')] {
        let (probe, _notes) = Probe::new(needs.clone(), move |cx, event| match event {
            Event::EndOfMessage => {
                cx.add_header("X", "1").unwrap();
                Act::Say(verdict.clone())
            }
            _ => go(),
        });
        let server = serve_probe(patient(), &probe);
        let mut mta = at_end(&server).await;
        assert_eq!(mta.ask(end_of_message()).await.code, code);
        mta.quit().await;
        server.drain().await;
    }
}

#[tokio::test]
async fn early_accept_with_modifications_waits_for_the_end() {
    for stage in [Stage::Mail, Stage::Rcpt, Stage::Header, Stage::Body] {
        let needs = Needs::everything().require(Actions::ADD_HEADERS);
        let (probe, mut notes) = Probe::new(needs, move |cx, event| {
            if event.stage() == Some(stage) {
                cx.add_header("X", "1").unwrap();
                Act::Say(Verdict::Accept)
            } else {
                go()
            }
        });
        let server = serve_probe(patient(), &probe);
        let mut mta = server.mta().await;
        mta.go([connect(), helo("h")]).await;
        let frames = message("<>");
        mta.go(&frames[..5]).await;
        // No more of the body is wanted, whether the filter saw a piece of it or not.
        assert_eq!(mta.ask(&frames[5]).await.code, 's', "{stage}");
        mta.write(&frames[6]).await;
        assert_eq!(mta.codes(2).await, "ha");
        mta.quit().await;
        let seen = notes.ended().await;
        let at = seen.iter().position(|note| note == stage.name()).unwrap();
        let after: Vec<_> =
            seen[at + 1..].iter().filter(|note| !note.starts_with("message dropped")).collect();
        assert_eq!(after, ["close"], "the filter is called no more, {stage}");
        server.drain().await;
    }
}

#[tokio::test]
async fn early_accept_without_modifications_is_said_at_once() {
    let (probe, _notes) = Probe::new(Needs::everything(), |_, event| match event {
        Event::Rcpt(_) => Act::Say(Verdict::Accept),
        _ => go(),
    });
    let server = serve_probe(patient(), &probe);
    let mut mta = server.mta().await;
    mta.go([connect(), helo("h"), mail("<>")]).await;
    assert_eq!(mta.ask(rcpt("<a@b>")).await.code, 'a');
    mta.quit().await;
    server.drain().await;
}

type Refusals = Arc<Mutex<Vec<(&'static str, Result<(), Misuse>)>>>;

/// What calls at some stage came to; the message is accepted.
async fn calls_at(
    stage: Stage,
    needs: Needs,
    calls: impl Fn(&mut Cx<'_>, &mut Vec<(&'static str, Result<(), Misuse>)>) + Send + Sync + 'static,
) -> Vec<(&'static str, Result<(), Misuse>)> {
    let results = Refusals::default();
    let kept = results.clone();
    let (probe, _notes) = Probe::new(needs, move |cx, event| {
        if event.stage() == Some(stage) {
            calls(cx, &mut kept.lock().unwrap());
        }
        go()
    });
    let server = serve_probe(patient(), &probe);
    let mut mta = at_end(&server).await;
    // Nothing but the verdict.
    mta.go([end_of_message()]).await;
    mta.quit().await;
    server.drain().await;
    std::mem::take(&mut *results.lock().unwrap())
}

#[tokio::test]
async fn modification_without_its_action_fails_at_the_call() {
    let needs = Needs::everything().require(Actions::REPLACE_BODY);
    let results = calls_at(Stage::EndOfMessage, needs, |cx, results| {
        results.push(("add", cx.add_header("X", "1")));
        results.push(("insert", cx.insert_header(0, "X", "1")));
        results.push(("change", cx.change_header(1, "X", "1")));
        results.push(("delete", cx.delete_header(1, "X")));
        results.push(("sender", cx.change_sender("<a@b>", None)));
        results.push(("recipient", cx.add_recipient("<a@b>")));
        results.push(("recipient args", cx.add_recipient_with_args("<a@b>", "NOTIFY=NEVER")));
        results.push(("no recipient", cx.delete_recipient("<a@b>")));
        results.push(("quarantine", cx.quarantine("why")));
        assert!(cx.edits().is_empty());
    })
    .await;
    assert_eq!(results.len(), 9);
    for (call, result) in results {
        assert!(matches!(result, Err(Misuse::DisabledAction(_))), "{call}: {result:?}");
    }
}

#[tokio::test]
async fn header_values_that_would_end_their_field_fail_at_the_call() {
    let needs = Needs::everything().require(Actions::ADD_HEADERS | Actions::CHANGE_HEADERS);
    let results = calls_at(Stage::Header, needs, |cx, results| {
        for value in ["a\nBcc: x@example.com", "a\r\nBcc: x", "a\r\n\r\nbody", "a\rb", "a\0b", "a\n \nb"] {
            results.push((value, cx.add_header("X", value)));
            results.push((value, cx.insert_header(0, "X", value)));
            results.push((value, cx.change_header(1, "X", value)));
        }
        for name in ["X: y", "X\n", "", "X Y", "Ä"] {
            results.push((name, cx.add_header(name, "value")));
        }
    })
    .await;
    assert_eq!(results.len(), 23);
    for (text, result) in results {
        assert!(matches!(result, Err(Misuse::Invalid(_))), "{text:?}: {result:?}");
    }
}

#[tokio::test]
async fn modification_without_a_message_fails_at_the_call() {
    for stage in [Stage::Connect, Stage::Helo] {
        let needs = Needs::everything().require(Actions::ADD_HEADERS);
        let results =
            calls_at(stage, needs, |cx, results| results.push(("add", cx.add_header("X", "1")))).await;
        assert_eq!(results, [("add", Err(Misuse::NotAtEndOfMessage))]);
    }
}

#[tokio::test]
async fn folded_value_of_an_author_leaves_in_wire_form() {
    let needs = Needs::everything().require(Actions::ADD_HEADERS);
    let (probe, _notes) = Probe::new(needs, |cx, event| {
        if matches!(event, Event::EndOfMessage) {
            cx.add_header("X", "one\r\n two").unwrap();
        }
        go()
    });
    let server = serve_probe(patient(), &probe);
    let mut mta = at_end(&server).await;
    assert_eq!(mta.ask(end_of_message()).await.payload, "X\0one\n two\0");
    assert_eq!(mta.reply().await.code, 'c');
    mta.quit().await;
    server.drain().await;
}

#[tokio::test]
async fn edits_of_a_step_that_failed_are_not_made() {
    let log = Captured::new("info");
    let needs = Needs::everything().require(Actions::ADD_HEADERS);
    let (probe, _notes) = Probe::new(needs, |cx, event| match event {
        Event::EndOfMessage => {
            cx.add_header("X", "half").unwrap();
            Act::Fail("the other half is missing")
        }
        _ => go(),
    });
    let server = serve_probe(on_failure(Verdict::Accept), &probe);
    let mut mta = at_end(&server).await;
    assert_eq!(mta.ask(end_of_message()).await.code, 'a');
    log.expect(&["ERROR", "the other half is missing"]);
    mta.quit().await;
    server.drain().await;
}

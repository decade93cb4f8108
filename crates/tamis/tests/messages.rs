//! Several messages on a connection, their states, and the order of everything (S1–S5, S8, W2–W4).

mod common;

use std::sync::{Arc, Mutex};

use common::frames::{self, *};
use common::{Act, Mta, Probe, go, patient, serve_boxed, serve_probe, within};
use tamis::{Actions, Event, Needs, Stage, Verdict};

const MESSAGE: &str = "message dropped after mail rcpt data header end-of-headers body end-of-message";

async fn greeted(mut mta: Mta) -> Mta {
    mta.go([connect(), helo("client.example")]).await;
    mta
}

#[tokio::test]
async fn three_messages_without_abort_have_a_clean_state_each() {
    for boxed in [false, true] {
        let (probe, mut notes) = Probe::quiet();
        let server = if boxed { serve_boxed(patient(), &probe) } else { serve_probe(patient(), &probe) };
        let mut mta = greeted(server.mta().await).await;
        notes.expect(&["connect", "helo"]).await;
        for sender in ["<1@example.com>", "<2@example.com>", "<3@example.com>"] {
            mta.go(message(sender)).await;
            notes.expect(&["mail", "rcpt", "data", "header", "end-of-headers", "body"]).await;
            notes.expect(&["end-of-message", MESSAGE]).await;
        }
        mta.quit().await;
        // One state for the connection: it counted everything.
        notes.expect(&["close", "filter dropped after 24 events"]).await;
        assert_eq!(server.counters.messages(), 3);
        server.drain().await;
    }
}

#[tokio::test]
async fn state_of_a_message_ends_with_an_early_verdict_though_no_stage_begins_the_next() {
    // No mail event tells this filter of a new message.
    for boxed in [false, true] {
        let needs = Needs::new().answer([Stage::Rcpt, Stage::Data]);
        let (probe, mut notes) = Probe::new(needs, |_, event| match event {
            Event::Data => Act::Say(Verdict::Reject),
            _ => go(),
        });
        let server = if boxed { serve_boxed(patient(), &probe) } else { serve_probe(patient(), &probe) };
        let mut mta = server.mta().await;
        for _ in 0..2 {
            mta.go([rcpt("<to@example.com>")]).await;
            assert_eq!(mta.ask(data()).await.code, 'r');
            notes.expect(&["rcpt", "data", "message dropped after rcpt data"]).await;
        }
        mta.quit().await;
        server.drain().await;
    }
}

#[tokio::test]
async fn abort_drops_pending_edits_and_state() {
    let needs = Needs::everything().require(Actions::ADD_HEADERS);
    let (probe, mut notes) = Probe::new(needs, |cx, event| {
        if let Event::Mail(sender) = event {
            cx.add_header("X-Sender", sender.address.clone()).unwrap();
        }
        go()
    });
    let server = serve_probe(patient(), &probe);
    let mut mta = greeted(server.mta().await).await;
    mta.go([mail("<1@example.com>"), rcpt("<to@example.com>")]).await;
    // As Postfix does: the end of one message and the begin of the next in one packet.
    mta.go([[abort(), mail("<2@example.com>")].concat()]).await;
    notes.until("abort").await;
    notes.expect(&["message dropped after mail rcpt abort", "mail"]).await;
    mta.go(message("<2@example.com>").drain(1..6)).await;
    let edit = mta.ask(end_of_message()).await;
    assert_eq!((edit.code, &edit.payload[..]), ('h', &b"X-Sender\0<2@example.com>\0"[..]));
    assert_eq!(mta.reply().await.code, 'c');
    mta.quit().await;
    server.drain().await;
}

#[tokio::test]
async fn rejecting_one_recipient_of_three_lets_the_message_go_on() {
    let (probe, _notes) = Probe::new(Needs::everything(), |_, event| match event {
        Event::Rcpt(recipient) if recipient.address == "<2@example.com>" => Act::Say(Verdict::Reject),
        _ => go(),
    });
    let server = serve_probe(patient(), &probe);
    let mut mta = greeted(server.mta().await).await;
    mta.go([mail("<from@example.com>"), rcpt("<1@example.com>")]).await;
    assert_eq!(mta.ask(rcpt("<2@example.com>")).await.code, 'r');
    mta.go([rcpt("<3@example.com>")]).await;
    mta.go(message("").drain(2..)).await;
    mta.quit().await;
    server.drain().await;
}

/// Answers with the number of the event, so that every reply can be told from the others.
fn numbering() -> (Probe, common::Notes) {
    let count = std::sync::atomic::AtomicU32::new(0);
    Probe::new(Needs::everything(), move |_, event| {
        let number = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let verdict = Verdict::tempfail("4.7.1", &number.to_string());
        match event {
            // Half of them need a future that is not ready at once.
            Event::Rcpt(_) if number.is_multiple_of(2) => Act::After(std::time::Duration::ZERO, verdict),
            Event::Rcpt(_) => Act::SayNow(verdict),
            _ => go(),
        }
    })
}

#[tokio::test]
async fn replies_keep_the_order_of_coalesced_frames() {
    let (probe, mut notes) = numbering();
    let server = serve_probe(patient(), &probe);
    let mut mta = server.mta().await;
    let mut burst = [connect(), helo("h"), mail("<>")].concat();
    (3..203).for_each(|n| burst.extend(rcpt(&format!("<{n}@example.com>"))));
    burst.extend(quit());
    mta.write(burst).await;
    assert_eq!(mta.codes(3).await, "ccc");
    for number in 3..203 {
        let reply = mta.reply().await;
        assert_eq!(reply.payload, format!("451 4.7.1 {number}\0"));
    }
    mta.closed().await;
    let seen = notes.ended().await;
    assert_eq!(seen.iter().filter(|note| *note == "rcpt").count(), 200);
    server.drain().await;
}

#[tokio::test]
async fn frames_of_one_byte_per_write_are_the_same_frames() {
    let (probe, mut notes) = Probe::quiet();
    let server = serve_probe(patient(), &probe);
    let mut mta = server.connect().await;
    let mut frames = vec![offer(), connect(), helo("h")];
    frames.extend(message("<from@example.com>"));
    for (at, frame) in frames.iter().enumerate() {
        for byte in frame {
            mta.write([*byte]).await;
            // The server gets to run, so that it reads this byte alone.
            tokio::task::yield_now().await;
        }
        assert_eq!(mta.reply().await.code, if at == 0 { 'O' } else { 'c' });
    }
    mta.quit().await;
    notes.expect(&["connect", "helo", "mail", "rcpt", "data", "header", "end-of-headers", "body"]).await;
    notes.expect(&["end-of-message", MESSAGE, "close"]).await;
    server.drain().await;
}

#[tokio::test]
async fn payloads_are_exact_when_packets_come_together() {
    let bodies = [b"one\r\n".to_vec(), b"\0two".to_vec(), vec![b'x'; 65_535]];
    let seen: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
    let keep = seen.clone();
    let (probe, _notes) = Probe::new(Needs::everything(), move |_, event| {
        let mut seen = keep.lock().unwrap();
        match event {
            Event::Header(field) => seen.extend([field.name.to_vec(), field.value.to_vec()]),
            Event::Body(piece) => seen.push(piece.to_vec()),
            _ => {}
        }
        go()
    });
    let server = serve_probe(patient(), &probe);
    let mut mta = server.mta().await;
    let mut burst = [connect(), helo("h"), mail("<>"), rcpt("<a@b>"), data(), header("N", "v")].concat();
    burst.extend(end_of_headers());
    for bytes in &bodies {
        burst.extend(body(bytes));
    }
    burst.extend(end_of_message());
    mta.write(burst).await;
    assert_eq!(mta.codes(11).await, "c".repeat(11));
    mta.quit().await;
    assert_eq!(*seen.lock().unwrap(), [&[b"N".to_vec(), b"v".to_vec()], &bodies[..]].concat());
    server.drain().await;
}

#[tokio::test]
async fn quit_new_connection_closes_and_begins_again_with_the_same_options() {
    let (probe, mut notes) = Probe::new(Needs::new().answer([Stage::Helo, Stage::Mail]), |_, _| go());
    let server = serve_probe(patient(), &probe);
    let mut mta = server.mta().await;
    mta.go([helo("one"), mail("<1@example.com>")]).await;
    notes.expect(&["helo", "mail"]).await;
    mta.write([quit_new_connection(), helo("two")].concat()).await;
    assert_eq!(mta.reply().await.code, 'c');
    notes.expect(&["abort", "message dropped after mail abort", "close", "helo"]).await;
    mta.go([mail("<2@example.com>")]).await;
    mta.write([abort(), quit()].concat()).await;
    mta.closed().await;
    notes.expect(&["mail", "abort", "message dropped after mail abort", "close"]).await;
    server.drain().await;
}

#[tokio::test]
async fn slow_handler_delays_no_other_connection() {
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let held = gate.clone();
    let (probe, mut notes) = Probe::new(Needs::everything(), move |_, event| match event {
        Event::Helo(name) if name == "slow" => Act::When(held.clone(), Verdict::Continue),
        _ => go(),
    });
    let server = serve_probe(patient(), &probe);
    let mut slow = server.mta().await;
    slow.go([connect()]).await;
    slow.write(helo("slow")).await;
    notes.expect(&["connect", "helo"]).await;
    let mut fast = greeted(server.mta().await).await;
    for _ in 0..10 {
        fast.go(message("<from@example.com>")).await;
    }
    fast.quit().await;
    // Only now the slow one is answered.
    gate.add_permits(1);
    assert_eq!(slow.reply().await.code, 'c');
    slow.quit().await;
    server.drain().await;
}

#[tokio::test]
async fn flooding_connection_delays_no_other_connection() {
    // One thread for all, and a peer that always has more to read than is read at once.
    let (probe, _notes) =
        Probe::new(Needs::new().watch([Stage::Body]), |_, _| Act::SayNow(Verdict::Continue));
    let server = serve_probe(patient(), &probe);
    let mut flood = server.mta().await;
    let flooding = tokio::spawn(async move {
        let piece = frames::body(&vec![b'x'; 65_000]);
        loop {
            flood.write(&piece).await;
        }
    });
    let mut mta = server.mta().await;
    for _ in 0..100 {
        mta.write(body(b"x")).await;
        mta.go([end_of_message()]).await;
    }
    mta.quit().await;
    assert!(!flooding.is_finished());
    flooding.abort();
    assert!(within(flooding).await.unwrap_err().is_cancelled());
    server.drain().await;
}

//! One bad filter among four, on many connections at once: what the other three say and edit is exactly right for every
//! message, the bad one costs its own policy, and nothing is left of anything. Alone in its process, whose memory and
//! panics it watches.
//!
//! `TAMIS_LOAD_MESSAGES` is the number of messages on each connection, 20 if it is not set.

#![allow(unreachable_pub)] // one binary, with parts

#[path = "../common/mod.rs"]
mod common;
mod filters;
mod model;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use common::frames::*;
use common::{Mta, patient, serve, until};
use tamis::chain::{Chain, Member, Record};
use tamis::proto::command::Kind;
use tokio::runtime::Handle;

use filters::{BOOM, Bad, Editor, Judge, Marker, alive};
use model::{BAD_TIME, CONNECTIONS, Letter, Setup, expected};

/// What observers were told of the bad filter, by the queue id of the message.
type Failures = Arc<Mutex<HashMap<String, Vec<Option<&'static str>>>>>;

fn chain(setup: Setup, connection: u64, failures: &Failures) -> Chain {
    let failures = failures.clone();
    let observer = move |record: &Record| {
        let id = record.queue_id.as_ref().expect("each message has one");
        let bad = record.filters.iter().find(|filter| &*filter.name == "bad").unwrap();
        let id = String::from_utf8_lossy(id).into_owned();
        let failed = bad.failure.as_ref().map(|(stage, _)| *stage);
        failures.lock().unwrap().entry(id).or_default().push(failed);
    };
    let bad = Bad::new(connection);
    let bad = Member::new("bad", bad).on_failure(model::policy(connection)).timeout(BAD_TIME);
    let (marks, judges) = (Member::new("marks", Marker::default()), Member::new("judges", Judge::default()));
    let (first, third) = if setup.edits_first { (marks, judges) } else { (judges, marks) };
    let chain = if setup.is_pipeline { Chain::pipeline() } else { Chain::parallel() };
    let chain = chain.member(first).member(bad).member(third).add("edits", Editor::default());
    chain.observer(Arc::new(observer))
}

#[test]
fn one_bad_filter_among_four_costs_its_policy_and_nothing_else_and_leaves_nothing_behind() {
    std::panic::set_hook(Box::new(|panic| {
        if panic.payload_as_str() != Some(BOOM) {
            eprintln!("{panic}");
        }
    }));
    let messages =
        std::env::var("TAMIS_LOAD_MESSAGES").map_or(20, |count| count.parse().expect("a number of messages"));
    for is_pipeline in [false, true] {
        for edits_first in [false, true] {
            let setup = Setup { is_pipeline, edits_first };
            // What is allocated once is allocated in the first of them. A thread's spare buffers may be there before a
            // load or only after it, so that one load alone says nothing; what leaks does so in each of them.
            let kept = [messages.min(12), messages, messages, messages].map(|messages| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                allocation_counter::measure(|| runtime.block_on(load(setup, messages))).bytes_current
            });
            assert!(
                kept[1..].iter().any(|kept| *kept < 1024),
                "{setup:?}: bytes are left each time: {kept:?}"
            );
        }
    }
}

async fn load(setup: Setup, messages: u32) {
    let failures = Failures::default();
    let seen = failures.clone();
    let server = serve(patient(), move |peer| chain(setup, peer.id, &seen));
    let mut clients = Vec::new();
    for connection in 1..=CONNECTIONS {
        // One after the other, so that the server numbers them alike.
        let mta = server.mta().await;
        clients.push(tokio::spawn(converse(mta, setup, connection, messages)));
    }
    for client in clients {
        client.await.expect("what it saw is what it expected");
    }
    let (counters, tasks) = (server.counters.clone(), Handle::current().metrics());
    until(|| counters.open() == 0 && alive() == 0).await;
    server.drain().await;
    until(|| tasks.num_alive_tasks() == 0).await;

    let mut failures = std::mem::take(&mut *failures.lock().unwrap());
    for connection in 1..=CONNECTIONS {
        let mut lost = None;
        for letter in Letter::all(connection, messages) {
            let failed = expected(&letter, setup, &mut lost).failed_at;
            assert_eq!(failures.remove(&letter.queue_id()), Some(vec![failed]), "{letter:?} {setup:?}");
        }
    }
    // Those that were left in the middle were told as given up.
    assert_eq!(failures.len() as u64, CONNECTIONS / 2, "{failures:?}");
}

/// Sends all letters of a connection, as an MTA does, and compares what comes back.
async fn converse(mut mta: Mta, setup: Setup, connection: u64, messages: u32) {
    mta.go([connect(), helo("client.example")]).await;
    let mut lost = None;
    for letter in Letter::all(connection, messages) {
        let expected = expected(&letter, setup, &mut lost).dialogue;
        let got = send(&mut mta, &letter).await;
        assert_eq!(got, expected, "{letter:?} {setup:?}");
    }
    if connection % 2 == 1 {
        return mta.quit().await;
    }
    // The MTA goes away in the middle of a message, whatever the filters are at.
    mta.write(macros(Kind::Mail, &[("i", &format!("left-{connection}"))])).await;
    mta.write(mail("<left@in.the.middle>")).await;
}

/// Sends a letter until it is refused; the stages with their answers, and what came of the message.
async fn send(mta: &mut Mta, letter: &Letter) -> Vec<String> {
    mta.write(macros(Kind::Mail, &[("i", &letter.queue_id())])).await;
    let mut dialogue = Vec::new();
    let mut accepted = 0;
    for (stage, frame) in letter.frames() {
        if stage == "data" && accepted == 0 {
            break;
        }
        mta.write(frame).await;
        loop {
            let reply = mta.reply().await;
            let text = String::from_utf8_lossy(&reply.payload).replace('\0', " ");
            dialogue.push(format!("{stage} {} {}", reply.code, text.trim_end()).trim_end().to_owned());
            match reply.code {
                'c' => accepted += usize::from(stage == "rcpt"),
                'y' if stage != "rcpt" => {
                    if stage != "end" {
                        mta.write(abort()).await;
                    }
                    return dialogue;
                }
                'y' => {}
                _ => continue,
            }
            break;
        }
    }
    if accepted == 0 {
        mta.write(abort()).await;
    }
    dialogue
}

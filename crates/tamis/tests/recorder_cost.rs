//! What the flight recorder costs: nothing where it is off, and no allocation for each message where it is on.
//!
//! `TAMIS_RECORDER_COST_MESSAGES=20000 cargo test --release -p tamis --test recorder_cost -- --nocapture` prints CPU time
//! for each message, with it and without. Fewer messages say nothing about time, but that each is answered.

mod common;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use common::frames::*;
use common::{Mta, patient, serve};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use tamis::{Context, Event, Filter, Needs, Now, Options, Reply, Server, Shutdown, SocketSpec, Verdict};

struct Quiet;

impl Filter for Quiet {
    type Message = ();

    fn needs(&self) -> Needs {
        Needs::everything()
    }

    fn now(&mut self, _: &mut Context<'_, ()>, _: Event) -> Now {
        Now::Done(Ok(Verdict::Continue))
    }

    async fn on(&mut self, _: &mut Context<'_, ()>, _: Event) -> Reply {
        unreachable!("everything is handled at once")
    }
}

fn options(bytes: usize) -> Options {
    let mut options = patient();
    options.flight_recorder = bytes;
    options
}

/// Allocations of server and MTA while some messages pass.
fn allocations(bytes: usize) -> u64 {
    async fn converse(mta: &mut Mta, messages: usize) {
        for _ in 0..messages {
            mta.go(message("<from@example.com>")).await;
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (server, mut mta) = runtime.block_on(async {
        let server = serve(options(bytes), |_| Quiet);
        let mut mta = server.mta().await;
        mta.go([connect(), helo("h")]).await;
        // Until it is full.
        converse(&mut mta, 50).await;
        (server, mta)
    });
    let counted = allocation_counter::measure(|| runtime.block_on(converse(&mut mta, 50)));
    runtime.block_on(async {
        mta.quit().await;
        server.drain().await;
    });
    counted.count_total
}

#[test]
fn a_full_recorder_adds_no_allocation() {
    let without = allocations(0);
    assert_eq!(allocations(4096), without);
}

/// A message as the usual one: 20 header fields, 10 KiB of body; all frames in one piece.
fn usual() -> Vec<u8> {
    let mut frames = vec![mail("<from@example.com>"), rcpt("<to@example.com>"), data()];
    for number in 0..20 {
        frames.push(header(&format!("X-Field-{number}"), &"value ".repeat(8)));
    }
    frames.extend([end_of_headers(), body(&[b'x'; 10_240]), end_of_message()]);
    frames.concat()
}

const REPLIES: usize = 3 + 20 + 3;

fn server_of(path: &Path, bytes: usize, shutdown: Shutdown, ready: &std::sync::mpsc::Sender<()>) -> i64 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let listeners = {
        let _entered = runtime.enter();
        tamis::bind(&[SocketSpec::Unix(path.to_owned())]).unwrap()
    };
    ready.send(()).unwrap();
    let server = Server::new(|_: &tamis::Peer| Quiet).options(options(bytes));
    runtime.block_on(server.serve(listeners, shutdown)).unwrap();
    let usage = getrusage(UsageWho::RUSAGE_THREAD).unwrap();
    (usage.user_time() + usage.system_time()).num_microseconds()
}

/// Microseconds of the server's thread for each message.
fn cost(bytes: usize, messages: u32) -> f64 {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("filter.sock");
    let (ready, started) = std::sync::mpsc::channel();
    let (shutdown, at) = (Shutdown::new(), path.clone());
    let stop = shutdown.clone();
    let server = std::thread::spawn(move || server_of(&at, bytes, stop, &ready));
    started.recv().unwrap();
    let mut mta = UnixStream::connect(&path).unwrap();
    let mut replies = vec![0; 5 * REPLIES];
    mta.write_all(&[offer(), connect(), helo("h")].concat()).unwrap();
    mta.read_exact(&mut replies[..17 + 5 + 5]).unwrap();
    let usual = usual();
    for _ in 0..messages {
        mta.write_all(&usual).unwrap();
        mta.read_exact(&mut replies).unwrap();
    }
    assert!(replies.chunks(5).all(|reply| reply[4] == b'c'));
    drop(mta);
    shutdown.drain();
    #[expect(clippy::cast_precision_loss, reason = "it is far below that")]
    let micros = server.join().unwrap() as f64;
    micros / f64::from(messages)
}

#[test]
fn every_message_is_answered_with_a_recorder_and_without() {
    let messages = std::env::var("TAMIS_RECORDER_COST_MESSAGES").map_or(200, |count| count.parse().unwrap());
    cost(0, messages / 10);
    for round in 1..=5 {
        let (off, on) = (cost(0, messages), cost(16 * 1024, messages));
        println!("round {round}: {off:.2} µs without, {on:.2} µs with 16 KiB, {:+.2} µs", on - off);
    }
}

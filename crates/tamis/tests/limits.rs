//! What an MTA may not do, each limit by itself: it ends that connection alone, with one line in the log and a count.

mod common;

use std::time::Duration;

use common::frames::*;
use common::{Act, Captured, Mta, Probe, Running, go, patient, serve_probe, serve_tcp, until};
use tamis::proto::command::Kind;
use tamis::proto::{Limits, Steps};
use tamis::server::Limit;
use tamis::{Event, Needs, Offer, Options, Stage, Verdict};

/// Quick enough to wait for, slow enough for a busy machine.
const SHORT: Duration = Duration::from_millis(200);

/// Serves with some settings, has an MTA do something for which it is closed, and checks what is said of that.
async fn ends<D: Future<Output = ()>>(
    set: impl FnOnce(&mut Options),
    misbehave: impl FnOnce(Mta) -> D,
    limit: Limit,
    said: &str,
) {
    let log = Captured::new("info");
    let (probe, _notes) = Probe::quiet();
    let mut options = patient();
    set(&mut options);
    let server = serve_probe(options, &probe);
    let mut good = server.mta().await;
    good.go([connect(), helo("h")]).await;
    misbehave(server.connect().await).await;
    until(|| server.counters.open() == 1).await;
    log.expect(&[
        "connection{id=2}",
        "connection ended: ",
        said,
        &format!("peer=unix:{} limit={limit}", server.path.display()),
    ]);
    assert_eq!(log.count(" WARN ") + log.count(" INFO "), 1, "{}", log.text());
    for each in Limit::ALL {
        assert_eq!(server.counters.exceeded(each), u64::from(each == limit), "{each}");
    }
    good.go(message("<>")).await;
    good.quit().await;
    server.drain().await;
}

#[tokio::test]
async fn mta_that_never_negotiates_is_closed() {
    let set = |options: &mut Options| options.handshake_time = SHORT;
    let said = "the MTA did not negotiate within 200ms";
    ends(set, |mut mta| async move { mta.closed().await }, Limit::HandshakeTime, said).await;
}

#[tokio::test]
async fn mta_that_says_much_but_never_negotiates_is_closed() {
    let set = |options: &mut Options| options.handshake_time = SHORT;
    let talk = |mut mta: Mta| async move {
        while mta.write_slowly(&macros(Kind::Connect, &[("j", "mta")])).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    ends(set, talk, Limit::HandshakeTime, "the MTA did not negotiate within 200ms").await;
}

#[tokio::test]
async fn offer_that_is_never_finished_is_not_waited_for() {
    let set = |options: &mut Options| options.handshake_time = SHORT;
    let trickle = |mut mta: Mta| async move {
        mta.write(&offer()[..9]).await;
        mta.closed().await;
    };
    ends(set, trickle, Limit::HandshakeTime, "the MTA did not negotiate within 200ms").await;
}

#[tokio::test]
async fn frame_that_trickles_is_not_waited_for() {
    let set = |options: &mut Options| options.frame_time = SHORT;
    let trickle = |mut mta: Mta| async move {
        mta.negotiate().await;
        for byte in helo(&"x".repeat(1_000)) {
            if mta.write_slowly(&[byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        panic!("it was waited for");
    };
    ends(set, trickle, Limit::FrameTime, "a frame that the MTA began was not finished within 200ms").await;
}

#[tokio::test]
async fn time_for_a_frame_is_that_of_each_frame() {
    let (probe, _notes) = Probe::quiet();
    let mut options = patient();
    options.frame_time = SHORT;
    let server = serve_probe(options, &probe);
    let mut mta = server.mta().await;
    mta.go([connect()]).await;
    // There always is a frame begun, for longer than that, but each is finished soon.
    mta.write(&helo("h")[..3]).await;
    let next = [&helo("h")[3..], &helo("h")[..3]].concat();
    for _ in 0..30 {
        tokio::time::sleep(SHORT / 10).await;
        mta.go([&next]).await;
    }
    mta.go([&helo("h")[3..]]).await;
    mta.quit().await;
    server.drain().await;
}

#[tokio::test]
async fn silent_mta_is_closed_after_the_idle_time() {
    let (probe, _notes) = Probe::quiet();
    let log = Captured::new("info");
    let mut options = patient();
    options.idle_time = SHORT;
    let server = serve_probe(options, &probe);
    let mut mta = server.mta().await;
    mta.closed().await;
    log.expect(&["INFO", "peer=unix:", "nothing was heard from the MTA for 200ms", "limit=idle-time"]);
    until(|| server.counters.exceeded(Limit::IdleTime) == 1).await;
    server.drain().await;
}

/// Sends what exceeds a limit and waits until it is closed.
async fn exceed(mut mta: Mta, frames: Vec<Vec<u8>>, last: Vec<u8>) {
    mta.negotiate().await;
    mta.go(frames).await;
    mta.write(last).await;
    mta.closed().await;
}

fn within_limits(limits: Limits) -> impl FnOnce(&mut Options) {
    move |options| options.limits = limits
}

#[tokio::test]
async fn header_fields_above_the_limit_end_the_connection() {
    let set = within_limits(Limits::new().with_headers(2));
    let frames =
        vec![connect(), helo("h"), mail("<>"), rcpt("<a>"), data(), header("A", "b"), header("A", "b")];
    let said = "message has more than 2 header fields";
    ends(set, |mta| exceed(mta, frames, header("A", "b")), Limit::Headers, said).await;
    let set = within_limits(Limits::new().with_header_bytes(100));
    let frames = vec![connect(), helo("h"), mail("<>"), rcpt("<a>"), data(), header("A", "b")];
    let said = "header fields of the message exceed the limit of 100 bytes";
    ends(set, |mta| exceed(mta, frames, header("A", &"b".repeat(100))), Limit::HeaderBytes, said).await;
}

#[tokio::test]
async fn recipients_above_the_limit_end_the_connection() {
    let set = within_limits(Limits::new().with_recipients(2));
    let frames = vec![connect(), helo("h"), mail("<>"), rcpt("<a>"), rcpt("<b>")];
    let said = "message has more than 2 recipients";
    ends(set, |mta| exceed(mta, frames, rcpt("<c>")), Limit::Recipients, said).await;
}

#[tokio::test]
async fn long_arguments_end_the_connection() {
    let set = within_limits(Limits::new().with_argument(100));
    let long = mail(&"x".repeat(100));
    let said = "argument of 101 bytes exceeds the limit of 100";
    ends(set, |mta| exceed(mta, vec![connect()], long), Limit::Argument, said).await;
}

#[tokio::test]
async fn long_frames_end_the_connection_before_they_came() {
    let set = within_limits(Limits::new());
    let frame = 0x0020_0000_u32.to_be_bytes().to_vec();
    let said = "frame of 2097151 bytes exceeds the limit of 1048575";
    ends(set, |mta| exceed(mta, vec![], frame), Limit::Payload, said).await;
}

#[tokio::test]
async fn long_macros_end_the_connection() {
    let set = within_limits(Limits::new().with_macro_bytes(100));
    let long = macros(Kind::Helo, &[("name", &"x".repeat(100))]);
    let said = "macros of 106 bytes exceed the limit of 100 at one stage";
    ends(set, |mta| exceed(mta, vec![], long), Limit::MacroBytes, said).await;
}

#[tokio::test]
async fn macros_above_their_number_are_dropped_and_logged_once() {
    let log = Captured::new("info");
    let (probe, mut notes) = Probe::new(Needs::new().answer([Stage::Helo]), |cx, event| {
        if matches!(event, Event::Helo(_)) {
            assert_eq!((cx.macro_value("a"), cx.macro_value("b")), (Some(&b"1"[..]), None));
        }
        go()
    });
    let mut options = patient();
    options.limits = Limits::new().with_macros(1);
    let server = serve_probe(options, &probe);
    let mut mta = server.mta().await;
    for _ in 0..50 {
        mta.go([[macros(Kind::Helo, &[("a", "1"), ("b", "2")]), helo("h")].concat()]).await;
    }
    mta.quit().await;
    notes.ended().await;
    assert_eq!(server.counters.exceeded(Limit::Macros), 50);
    assert_eq!(log.count("more than 1 macros at one stage"), 1, "{}", log.text());
    server.drain().await;
}

/// Whether a new connection is served; one that is refused is closed without a word.
async fn is_served(server: &Running) -> bool {
    let mut mta = server.connect().await;
    if mta.write_slowly(&offer()).await.is_err() {
        return false;
    }
    let answered = common::within(mta.next()).await.is_some();
    if answered {
        mta.quit().await;
    }
    answered
}

#[tokio::test]
async fn connections_above_the_limit_are_closed_at_once_and_logged_once_a_second() {
    let log = Captured::new("info");
    let (probe, _notes) = Probe::quiet();
    let mut options = patient();
    options.max_connections = 2;
    let server = serve_probe(options, &probe);
    let mut first = server.mta().await;
    let second = server.mta().await;
    let begin = std::time::Instant::now();
    for _ in 0..20 {
        assert!(!is_served(&server).await);
    }
    let seconds = usize::try_from(begin.elapsed().as_secs()).unwrap();
    assert_eq!(server.counters.exceeded(Limit::Connections), 20);
    assert_eq!((server.counters.accepted(), server.counters.open()), (2, 2));
    assert!((1..=1 + seconds).contains(&log.count("connection refused")), "{}", log.text());
    log.expect(&[
        "WARN",
        "peer=unix:",
        "connection refused: 2 connections are open, the limit (max-connections)",
    ]);
    // Those that were there do not notice, and a place that is free is taken.
    first.go([connect(), helo("h")]).await;
    first.go(message("<>")).await;
    second.quit().await;
    until(|| server.counters.open() == 1).await;
    assert!(is_served(&server).await);
    until(|| server.counters.open() == 1).await;
    tokio::time::sleep(Duration::from_millis(1_050)).await;
    let _second = server.mta().await;
    assert!(!is_served(&server).await);
    log.expect(&["connection refused", " more since the last line like this"]);
    first.quit().await;
    server.shutdown.stop();
    server.ended().await;
}

#[tokio::test]
async fn one_peer_does_not_take_all_connections() {
    let log = Captured::new("info");
    let (probe, _notes) = Probe::quiet();
    let mut options = patient();
    options.max_connections_per_peer = 2;
    let (server, address) = serve_tcp(options, &probe);
    let mut of_one = Vec::new();
    for _ in 0..2 {
        let mut mta = Mta::tcp(address).await;
        mta.negotiate().await;
        of_one.push(mta);
    }
    let mut refused = Mta::tcp(address).await;
    let _ = refused.write_slowly(&offer()).await;
    assert_eq!(common::within(refused.next()).await, None);
    log.expect(&[
        "peer=127.0.0.1:",
        "refused: 2 connections of this peer are open, the limit (max-connections-per-peer)",
    ]);
    assert_eq!(server.counters.exceeded(Limit::ConnectionsPerPeer), 1);
    // Another address of this host is another peer.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 2], 0).into()).unwrap();
    let mut other = Mta::of_tcp(socket.connect(address).await.unwrap());
    other.negotiate().await;
    other.quit().await;
    for mta in of_one {
        mta.quit().await;
    }
    until(|| server.counters.open() == 0).await;
    let mut again = Mta::tcp(address).await;
    again.negotiate().await;
    again.quit().await;
    server.drain().await;
}

#[tokio::test]
async fn buffers_of_all_connections_together_are_bounded() {
    let log = Captured::new("info");
    let (probe, _notes) = Probe::quiet();
    let mut options = patient();
    options.buffers = 3 << 20;
    let server = serve_probe(options, &probe);
    let mut small = server.mta().await;
    small.go([connect(), helo("h")]).await;
    let half = {
        let frame = [&1_048_576_u32.to_be_bytes()[..], b"L", &vec![b'x'; 900_000]].concat();
        move || frame.clone()
    };
    let mut begun = Vec::new();
    for _ in 0..12 {
        let mut mta = server.mta().await;
        let _ = mta.write_slowly(&half()).await;
        begun.push(mta);
    }
    until(|| server.counters.exceeded(Limit::Buffers) >= 6).await;
    log.expect(&["the buffers of all connections together exceed the limit of 3145728 bytes"]);
    // Mail of the usual size passes meanwhile, and large frames do afterwards.
    small.go(message("<>")).await;
    drop(begun);
    until(|| server.counters.open() == 1).await;
    small.go([mail("<>"), rcpt("<a>"), data(), header("X", &"x".repeat(900_000))]).await;
    small.go([end_of_headers(), body(b"x"), end_of_message()]).await;
    small.quit().await;
    server.drain().await;
}

#[tokio::test]
async fn replies_to_what_the_filter_is_not_asked_are_bounded_too() {
    // Each recipient of a sender that was refused is answered at length, 27 KiB for 12 bytes.
    let long = tamis::SmtpReply::multiline(550, "5.7.1", vec![[b'x'; 900]; 30]).unwrap();
    let act = Act::Say(Verdict::from(long));
    let (probe, _notes) = Probe::new(Needs::new().answer([Stage::Mail]), move |_, _| act.clone());
    let mut options = patient();
    options.write_time = SHORT;
    let server = serve_probe(options, &probe);
    let mut mta = server.connect().await;
    mta.ask(offer_of(Offer { steps: Steps::empty(), ..Offer::CURRENT })).await;
    mta.go([connect(), helo("h")]).await;
    let burst = [mail("<>"), rcpt("<a@b>").repeat(4_000)].concat();
    let before = resident();
    let _ = mta.write_slowly(&burst).await;
    until(|| server.counters.exceeded(Limit::WriteTime) == 1).await;
    // All of them would be 100 MiB.
    let more = peak().saturating_sub(before);
    assert!(more < 30 << 20, "{more} bytes");
    server.drain().await;
}

/// Resident memory of this process in bytes, now or at its highest.
fn memory(name: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

fn resident() -> usize {
    memory("VmRSS:")
}

fn peak() -> usize {
    memory("VmHWM:")
}

#[tokio::test]
async fn limits_are_on_what_servers_that_count_together_have_together() {
    let (probe, _notes) = Probe::quiet();
    let mut options = patient();
    options.max_connections = 2;
    let first = serve_probe(options.clone(), &probe);
    let (mut one, mut two) = (first.mta().await, first.mta().await);
    one.go([connect()]).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("second.sock");
    let listeners = tamis::bind(&[tamis::SocketSpec::Unix(path.clone())]).unwrap();
    let server = tamis::Server::new(move |peer: &tamis::Peer| probe.for_connection(peer.id)).options(options);
    let shutdown = tamis::Shutdown::new();
    let second = tokio::spawn(server.count_in(first.counters.clone()).serve(listeners, shutdown.clone()));
    first.shutdown.retire();
    Mta::unix(&path).await.closed().await;
    assert_eq!(first.counters.exceeded(Limit::Connections), 1);
    two.go([connect()]).await;
    two.quit().await;
    until(|| first.counters.open() == 1).await;
    let mut three = Mta::unix(&path).await;
    three.negotiate().await;
    three.quit().await;
    one.quit().await;
    first.drain().await;
    shutdown.drain();
    second.await.unwrap().unwrap();
}

#[tokio::test]
async fn bytes_in_buffers_are_told_while_they_are_there() {
    let (probe, _notes) = Probe::quiet();
    let mut options = patient();
    options.buffers = 3 << 20;
    let server = serve_probe(options, &probe);
    let mut mta = server.mta().await;
    assert_eq!(server.counters.buffered(), tamis::server::Buffered::default());
    assert_eq!(server.counters.most_buffered().received, 3 << 20);
    mta.go([connect(), helo("h"), mail("<>"), rcpt("<a>"), data(), end_of_headers()]).await;
    let whole = body(&vec![b'x'; 60_000]);
    mta.write(&whole[..50_000]).await;
    until(|| server.counters.buffered().received >= 50_000 - 16 * 1024).await;
    mta.go([&whole[50_000..]]).await;
    mta.go([end_of_message()]).await;
    until(|| server.counters.buffered().received == 0).await;
    mta.quit().await;
    server.drain().await;
}

//! What an idle connection costs. Alone in its process, whose memory it measures.

mod common;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use common::frames::*;
use tamis::proto::command::Kind;
use tamis::{Context, Event, Filter, Needs, Now, Reply, Server, Shutdown, SocketSpec, Verdict};

/// A filter whose handler needs much room while it runs.
struct Roomy;

impl Filter for Roomy {
    type Message = Vec<u8>;

    fn needs(&self) -> Needs {
        Needs::everything()
    }

    fn now(&mut self, _: &mut Context<'_, Vec<u8>>, event: Event) -> Now {
        Now::Later(event)
    }

    async fn on(&mut self, _: &mut Context<'_, Vec<u8>>, _: Event) -> Reply {
        let room = [1_u8; 16 * 1024];
        tokio::task::yield_now().await;
        Ok(if room.iter().all(|byte| *byte == 1) { Verdict::Continue } else { Verdict::Reject })
    }
}

/// A filter that wants to know with whom it has to do.
struct Curious;

#[tamis::filter(collect(envelope))]
impl Curious {
    fn connect(&mut self) -> Verdict {
        Verdict::Continue
    }
}

/// Resident memory of this process in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

/// A connection that has negotiated and connected, and says no more.
fn idle(path: &Path) -> UnixStream {
    let mut stream = UnixStream::connect(path).unwrap();
    let connect = [macros(Kind::Connect, &MACROS), connect()].concat();
    let mut reply = [0; 64];
    for frame in [offer(), connect] {
        stream.write_all(&frame).unwrap();
        assert!(stream.read(&mut reply).unwrap() >= 5);
    }
    stream
}

/// What Postfix sends with a connection.
const MACROS: [(&str, &str); 5] = [
    ("j", "mx.example.org"),
    ("{daemon_name}", "mx.example.org"),
    ("{daemon_addr}", "192.0.2.1"),
    ("v", "Postfix 3.7.11"),
    ("_", "client.example.com [198.51.100.7]"),
];

/// How many bytes each idle connection to such a filter adds.
fn bytes_for_each<F: Filter>(make: impl Fn() -> F + Send + Sync + 'static) -> usize {
    const CONNECTIONS: usize = 1_000;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("filter.sock");
    let spec = SocketSpec::Unix(path.clone());
    let shutdown = Shutdown::new();
    let stop = shutdown.clone();
    let (ready, started) = std::sync::mpsc::channel();
    let server = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listeners = tamis::bind(&[spec]).unwrap();
            let server = Server::new(move |_: &tamis::Peer| make());
            ready.send(server.counters()).unwrap();
            server.serve(listeners, stop).await.unwrap();
        });
    });
    let counters = started.recv().unwrap();
    // Whatever is needed once is there after these.
    let mut open: Vec<_> = (0..50).map(|_| idle(&path)).collect();
    let before = resident();
    open.extend((0..CONNECTIONS).map(|_| idle(&path)));
    assert_eq!(counters.open(), 50 + CONNECTIONS as u64);
    let each = resident().saturating_sub(before) / CONNECTIONS;
    shutdown.drain();
    server.join().unwrap();
    each
}

#[test]
fn idle_connection_is_small() {
    // The filter that keeps something of the client comes first: what others leave free, the next one would use.
    for (what, each, limit) in [
        ("that keeps an envelope", bytes_for_each(|| Curious), 2_560),
        ("with a large handler", bytes_for_each(|| Roomy), 2_048),
    ] {
        println!("{each} bytes resident for each idle connection to a filter {what}");
        assert!(each < limit, "{each} bytes for each idle connection to a filter {what}");
    }
}

//! What an idle connection costs. Alone in its process, whose memory it measures.

mod common;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use common::frames::*;
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

/// Resident memory of this process in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

/// A connection that has negotiated and connected, and says no more.
fn idle(path: &std::path::Path) -> UnixStream {
    let mut stream = UnixStream::connect(path).unwrap();
    let mut reply = [0; 64];
    for frame in [offer(), connect()] {
        stream.write_all(&frame).unwrap();
        assert!(stream.read(&mut reply).unwrap() >= 5);
    }
    assert_eq!(reply[4], b'c');
    stream
}

#[test]
fn idle_connection_is_small() {
    const CONNECTIONS: usize = 1_000;
    const LIMIT: usize = 4 * 1024;
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
            let server = Server::new(|_: &tamis::Peer| Roomy);
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
    println!("{each} bytes resident for each idle connection");
    assert!((1..LIMIT).contains(&each), "{each} bytes for each idle connection");
    shutdown.drain();
    server.join().unwrap();
    drop(open);
}

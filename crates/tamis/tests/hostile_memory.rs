//! What 2,000 hostile connections can take: no more than the formula of docs/limits.md says. Alone in its process,
//! whose memory it measures.

mod common;

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use common::frames::*;
use tamis::proto::command::Kind;
use tamis::server::Limit;
use tamis::{
    Context, Event, Filter, Needs, Options, Reply, Server, Shutdown, SmtpReply, SocketSpec, Verdict,
};

const HOSTILE: usize = 2_000;
/// How long each of the two crowds is at it.
const WAVE: Duration = Duration::from_secs(5);
/// Nothing takes that long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// Answers everything, unknown commands at length; keeps nothing.
struct Plain;

impl Filter for Plain {
    type Message = ();

    fn needs(&self) -> Needs {
        Needs::everything()
    }

    async fn on(&mut self, _: &mut Context<'_, ()>, event: Event) -> Reply {
        Ok(match event {
            Event::Unknown(_) => SmtpReply::multiline(550, "5.7.1", vec![[b'x'; 900]; 15])?.into(),
            _ => Verdict::Continue,
        })
    }
}

fn options() -> Options {
    let mut options = Options::default();
    options.buffers = 64 << 20;
    options.frame_time = Duration::from_secs(3);
    options.write_time = Duration::from_secs(3);
    options.handshake_time = Duration::from_secs(3);
    options
}

/// The formula: each connection's own part, and what they share. In debug builds futures are larger.
fn formula(options: &Options, connections: usize) -> usize {
    let idle = 4 << 10;
    let free = 16 << 10;
    let replies = 2 * options.limits.replies;
    connections * (idle + free + replies) + options.buffers
}

/// What may be resident: the allocator keeps holes between what grew and went, a quarter at most in practice.
fn with_holes(bytes: usize) -> usize {
    bytes + bytes / 4
}

/// Resident memory of this process in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

/// What a hostile connection says after the beginning: as much of it as the server takes.
fn mischief(number: usize) -> Vec<u8> {
    let greeting = [offer(), connect(), helo("h")].concat();
    let rest = match number % 5 {
        // Most of a frame of 1 MiB that never ends.
        0 => [&1_048_576_u32.to_be_bytes()[..], b"L", &vec![b'x'; 900_000]].concat(),
        // Macros for every stage, again and again.
        1 => (0..200)
            .map(|round| {
                let kind = [Kind::Connect, Kind::Helo, Kind::Mail, Kind::Rcpt, Kind::Data][round % 5];
                macros(kind, &[("x", &"y".repeat(60_000))])
            })
            .collect::<Vec<_>>()
            .concat(),
        // Header fields without end.
        2 => [mail("<>"), rcpt("<a>"), data(), header("X", &"y".repeat(1_000)).repeat(1_200)].concat(),
        // Commands whose replies nobody reads.
        3 => unknown("X").repeat(20_000),
        // Nothing but the beginning of an offer.
        _ => return offer()[..7].to_vec(),
    };
    [greeting, rest].concat()
}

/// Has a whole message judged; how long that took.
fn good_message(path: &Path) -> Duration {
    let begin = Instant::now();
    let mut mta = UnixStream::connect(path).unwrap();
    mta.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut reply = [0; 64];
    for frame in [vec![offer(), connect(), helo("h")], message("<>")].concat() {
        mta.write_all(&frame).unwrap();
        assert!(mta.read(&mut reply).unwrap() >= 5);
    }
    assert_eq!(reply[4], b'c');
    begin.elapsed()
}

/// Hostile connections, each with how far it is in what it says; `None` when it was closed.
struct Crowd<'a> {
    says: &'a [Vec<u8>],
    members: Vec<Option<(UnixStream, usize)>>,
}

impl<'a> Crowd<'a> {
    fn new(path: &Path, says: &'a [Vec<u8>]) -> Self {
        let member = |_| {
            let stream = UnixStream::connect(path).unwrap();
            stream.set_nonblocking(true).unwrap();
            Some((stream, 0))
        };
        Self { says, members: (0..HOSTILE).map(member).collect() }
    }

    /// Has everybody say a little more, if the server takes it.
    fn go_on(&mut self) {
        for (number, member) in self.members.iter_mut().enumerate() {
            let Some((stream, at)) = member else { continue };
            let rest = &self.says[number % self.says.len()][*at..];
            match stream.write(&rest[..rest.len().min(32 * 1024)]) {
                Ok(written) => *at += written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => *member = None,
            }
        }
    }
}

/// A file for each end of all connections.
fn allow_files() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    assert!(hard > 2 * HOSTILE as u64 + 100, "this test needs more open files than {hard}");
    setrlimit(Resource::RLIMIT_NOFILE, hard.min(8 * HOSTILE as u64), hard).unwrap();
}

/// Lets a crowd loose, has mail judged meanwhile; returns the most memory that was resident.
fn wave(path: &Path, says: &[Vec<u8>]) -> usize {
    let begin = Instant::now();
    let mut crowd = Crowd::new(path, says);
    let (mut peak, mut judged, mut slowest) = (0, 0, Duration::ZERO);
    while begin.elapsed() < WAVE {
        std::thread::scope(|scope| {
            scope.spawn(|| crowd.go_on());
            slowest = slowest.max(good_message(path));
            judged += 1;
        });
        peak = peak.max(resident());
    }
    println!("{judged} messages judged meanwhile, the slowest in {slowest:?}");
    peak
}

#[test]
fn hostile_connections_take_no_more_memory_than_the_formula_says() {
    allow_files();
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
            let server = Server::new(|_: &tamis::Peer| Plain).options(options());
            ready.send(server.counters()).unwrap();
            server.serve(listeners, stop).await.unwrap();
        });
    });
    let counters = started.recv().unwrap();
    let says: Vec<_> = (0..5).map(mischief).collect();
    good_message(&path);
    let before = resident();
    let allowed = with_holes(formula(&options(), HOSTILE));
    let mut peaks = Vec::new();
    for _ in 0..2 {
        let peak = wave(&path, &says).saturating_sub(before);
        assert!(peak < allowed, "{peak} bytes, {allowed} are allowed");
        peaks.push(peak);
        let gone = Instant::now();
        while counters.open() > 0 {
            assert!(gone.elapsed() < PATIENCE, "{} connections are still open", counters.open());
            std::thread::sleep(Duration::from_millis(5));
        }
        let kept = resident().saturating_sub(before);
        println!("{} KiB at most, {} KiB allowed, {} KiB afterwards", peak >> 10, allowed >> 10, kept >> 10);
    }
    // What the first crowd took is there for the second, if not for the system: see docs/limits.md.
    assert!(peaks[1] < peaks[0] * 3 / 2, "{peaks:?}");
    good_message(&path);
    for limit in [Limit::Buffers, Limit::Headers, Limit::HeaderBytes, Limit::WriteTime, Limit::HandshakeTime]
    {
        println!("{limit}: {} times", counters.exceeded(limit));
    }
    assert!(counters.exceeded(Limit::Buffers) > 0);
    assert!(counters.exceeded(Limit::HandshakeTime) > 0);
    shutdown.drain();
    server.join().unwrap();
}

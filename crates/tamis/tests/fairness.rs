//! An MTA that always has something to say shares the thread with others. The runtime has one thread, and what the
//! flooding connection gets done is counted in events of its filter: how long that takes does not matter.

mod common;

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use common::frames::*;
use common::{Act, Probe, Running, patient, serve_probe, until};
use tamis::proto::Limits;
use tamis::proto::command::Kind;
use tamis::{Event, Needs, Options, Shutdown, Stage, Verdict};

/// What a connection says without end.
struct Flood {
    /// What has to come before.
    begin: Vec<u8>,
    /// Again and again; nothing of it is answered.
    group: Vec<u8>,
    /// Events of the filter that come of a group.
    events: usize,
    /// At which of the events something happens.
    midst: usize,
    /// How many more there may be before all others had their turn.
    turn: usize,
}

fn floods() -> [Flood; 3] {
    [
        // Commands that are coalesced.
        Flood {
            begin: Vec::new(),
            group: [mail("<>"), rcpt("<a>"), rcpt("<b>"), abort()].concat(),
            events: 4,
            midst: 1_000,
            turn: 200,
        },
        // Header fields that need no answer.
        Flood {
            begin: [mail("<>"), rcpt("<a>"), data()].concat(),
            group: header("X", "y"),
            events: 1,
            midst: 1_000,
            turn: 200,
        },
        // Frames that the filter is not told of, 6 KiB of them for each message.
        Flood {
            begin: Vec::new(),
            group: [macros(Kind::Mail, &[]).repeat(1_000), mail("<>"), abort()].concat(),
            events: 2,
            midst: 10,
            turn: 128,
        },
    ]
}

/// What the filter of the flooding connection counts.
#[derive(Default)]
struct Counts {
    events: AtomicUsize,
    /// Since something happened, until somebody else had a turn.
    turn: AtomicUsize,
    others: AtomicBool,
}

/// The end of the connection that the flood is poured into.
#[derive(Clone, Default)]
struct Spring(Arc<Mutex<Option<Source>>>);

/// Where to, and what is left.
type Source = (UnixStream, VecDeque<u8>);

impl Spring {
    /// Begins a flood; returns how many events will come of it.
    fn open(&self, stream: &UnixStream, flood: &Flood) -> usize {
        let groups = (2 << 20) / flood.group.len();
        let bytes = [flood.begin.clone(), flood.group.repeat(groups)].concat();
        *self.0.lock().unwrap() = Some((stream.try_clone().unwrap(), bytes.into()));
        self.pour();
        groups * flood.events
    }

    /// Writes what there is room for. The filter itself does that, so that there always is something to read.
    fn pour(&self) {
        let mut spring = self.0.lock().unwrap();
        let (stream, bytes) = spring.as_mut().expect("it is open");
        while !bytes.is_empty() {
            match stream.write(bytes.as_slices().0) {
                Ok(count) => drop(bytes.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// Serves on this thread; the first connection is the one that floods, in whose midst something happens.
fn server(flood: &Flood, spring: &Spring, happens: impl FnOnce() + Send + 'static) -> (Running, Arc<Counts>) {
    let counts = Arc::new(Counts::default());
    let (midst, seen, spring) = (flood.midst, counts.clone(), spring.clone());
    let happens = Mutex::new(Some(happens));
    let needs = Needs::new().watch([Stage::Mail, Stage::Rcpt, Stage::Header]).answer([Stage::Helo]);
    let (probe, _notes) = Probe::new(needs, move |cx, event| {
        if cx.peer().id != 1 {
            seen.others.store(true, Relaxed);
            return Act::SayNow(Verdict::Continue);
        }
        spring.pour();
        let number = seen.events.fetch_add(1, Relaxed);
        if number == midst {
            (happens.lock().unwrap().take().unwrap())();
        // What the end of the connection brings is no part of the flood.
        } else if number > midst && *event != Event::Close && !seen.others.load(Relaxed) {
            seen.turn.fetch_add(1, Relaxed);
        }
        Act::SayNow(Verdict::Continue)
    });
    (serve_probe(options(), &probe), counts)
}

fn options() -> Options {
    let mut options = patient();
    options.limits = Limits::new().with_headers(usize::MAX).with_header_bytes(usize::MAX);
    options
}

/// A connection that has negotiated.
async fn negotiated(server: &Running) -> UnixStream {
    let mut stream = UnixStream::connect(&server.path).unwrap();
    stream.set_nonblocking(true).unwrap();
    stream.write_all(&offer()).unwrap();
    until(|| stream.read(&mut [0; 100]).is_ok()).await;
    stream
}

#[tokio::test(flavor = "current_thread")]
async fn flooding_connection_leaves_others_their_turn() {
    for flood in floods() {
        let honest: Arc<Mutex<Option<UnixStream>>> = Arc::default();
        let speaks = honest.clone();
        let speak = move || speaks.lock().unwrap().as_ref().unwrap().write_all(&helo("h")).unwrap();
        let spring = Spring::default();
        let (server, counts) = server(&flood, &spring, speak);
        let stream = negotiated(&server).await;
        *honest.lock().unwrap() = Some(negotiated(&server).await);
        let events = spring.open(&stream, &flood);
        until(|| counts.others.load(Relaxed)).await;
        let turn = counts.turn.load(Relaxed);
        assert!(turn <= flood.turn, "{turn} events of {events} before the other connection was served");
        // The flood was not over then, and all of it is served too.
        until(|| counts.events.load(Relaxed) >= events).await;
        server.shutdown.stop();
        server.ended().await;
    }
}

#[tokio::test(flavor = "current_thread")]
async fn flooding_connection_hears_that_the_server_stops() {
    for flood in floods() {
        let shutdown: Arc<Mutex<Option<Shutdown>>> = Arc::default();
        let stops = shutdown.clone();
        let stop = move || stops.lock().unwrap().as_ref().unwrap().stop();
        let spring = Spring::default();
        let (server, counts) = server(&flood, &spring, stop);
        *shutdown.lock().unwrap() = Some(server.shutdown.clone());
        let stream = negotiated(&server).await;
        let events = spring.open(&stream, &flood);
        server.ended().await;
        let turn = counts.turn.load(Relaxed);
        assert!(turn <= flood.turn, "{turn} events of {events} after the server was stopped");
    }
}

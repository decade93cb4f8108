//! The flight recorder: what makes a record, what is in it, and what never is (B6).

mod common;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::frames::*;
use common::{Act, Captured, Cx, Mta, PATIENCE, Probe, go, patient, within};
use tamis::chain::{Chain, Member, OnFailure};
use tamis::proto::Role;
use tamis::proto::command::Kind;
use tamis::recorder::{Cause, FlightRecord};
use tamis::{Actions, Event, Filter, Needs, Options, Peer, Server, Shutdown, SocketSpec, Verdict};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// A server with a flight recorder, and its records.
struct Recorded {
    path: std::path::PathBuf,
    records: mpsc::UnboundedReceiver<FlightRecord>,
    shutdown: Shutdown,
    task: JoinHandle<()>,
    _folder: TempDir,
}

const LIMIT: usize = 4096;

fn recorded<F: Filter>(options: Options, make: impl Fn(&Peer) -> F + Send + Sync + 'static) -> Recorded {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("filter.sock");
    let listeners = tamis::bind(&[SocketSpec::Unix(path.clone())]).unwrap();
    let (tell, records) = mpsc::unbounded_channel();
    let server = Server::new(make)
        .options(options)
        .flight_recorder(LIMIT)
        .on_flight_record(move |record| tell.send(record.clone()).unwrap());
    let shutdown = Shutdown::new();
    let stop = shutdown.clone();
    let task = tokio::spawn(async move { server.serve(listeners, stop).await.unwrap() });
    Recorded { path, records, shutdown, task, _folder: folder }
}

fn recorded_probe(options: Options, probe: Probe) -> Recorded {
    recorded(options, move |peer| probe.for_connection(peer.id))
}

impl Recorded {
    async fn mta(&self) -> Mta {
        let mut mta = Mta::unix(&self.path).await;
        mta.negotiate().await;
        mta
    }

    async fn next(&mut self) -> FlightRecord {
        // Longer than any time limit of a connection.
        tokio::time::timeout(PATIENCE * 12, self.records.recv()).await.unwrap().unwrap()
    }

    /// Ends the server; records that nobody looked at are one too many.
    async fn drain(mut self) {
        self.shutdown.drain();
        within(self.task).await.unwrap();
        assert!(self.records.try_recv().is_err(), "one more record");
    }
}

/// The frames by letter, those of the filter in angle brackets.
fn letters(record: &FlightRecord) -> String {
    let letter = |frame: &tamis::recorder::RecordedFrame| match (frame.is_broken, frame.from) {
        (true, _) => "?".to_owned(),
        (_, Role::Mta) => char::from(frame.code).to_string(),
        (_, Role::Filter) => format!("<{}>", char::from(frame.code)),
    };
    record.frames.iter().map(letter).collect()
}

fn at(event: &Event, name: &str) -> bool {
    event.name() == name
}

#[tokio::test(start_paused = true)]
async fn errors_panics_and_time_limits_of_a_filter_make_a_record_each() {
    for (act, cause, what) in [
        (Act::Fail("no such thing"), Cause::Error, "no such thing"),
        (Act::FailNow("at once"), Cause::Error, "at once"),
        (Act::Say(Verdict::Skip), Cause::Error, "verdict skip does not exist at stage rcpt"),
        (Act::Panic("oh no"), Cause::Panic, "panic: oh no"),
        (Act::PanicLater("later"), Cause::Panic, "panic: later"),
        (Act::PanicNow("now"), Cause::Panic, "panic: now"),
        (Act::Hang, Cause::Timeout, "no verdict within 8s"),
    ] {
        let (probe, _notes) =
            Probe::new(
                Needs::everything(),
                move |_, event| if at(event, "rcpt") { act.clone() } else { go() },
            );
        let mut server = recorded_probe(Options::default(), probe);
        let mut mta = server.mta().await;
        mta.go([connect(), helo("h"), mail("<a@b>")]).await;
        mta.write(macros(Kind::Rcpt, &[("i", "Q1")])).await;
        assert_eq!(mta.ask(rcpt("<c@d>")).await.code, 'y');
        let record = server.next().await;
        assert_eq!((record.connection, record.cause, record.place), (1, cause, "rcpt"));
        assert_eq!((&*record.what, record.lost), (what, 0));
        assert_eq!(letters(&record), "O<O>C<c>H<c>M<c>DR");
        let last = record.frames.last().unwrap();
        assert_eq!((&last.kept[..], last.length), (&b"<c@d>\0"[..], 6));
        assert!(record.elapsed >= last.at);
        // Each frame is in one record.
        if cause != Cause::Panic {
            mta.write(abort()).await;
            mta.go([mail("<e@f>")]).await;
            assert_eq!(mta.ask(rcpt("<g@h>")).await.code, 'y');
            assert_eq!(letters(&server.next().await), "<y>AM<c>R");
        }
        mta.quit().await;
        server.drain().await;
    }
}

#[tokio::test(start_paused = true)]
async fn failures_at_abort_close_and_at_the_end_of_a_message_make_a_record_too() {
    let (probe, _notes) = Probe::new(Needs::everything(), |cx, event| match event.name() {
        "abort" => Act::Fail("not now"),
        "close" => Act::Panic("at last"),
        "data" => {
            cx.message.panics_in_drop = true;
            go()
        }
        _ => go(),
    });
    let mut server = recorded_probe(patient(), probe);
    let mut mta = server.mta().await;
    mta.go([connect(), helo("h"), mail("<a@b>")]).await;
    mta.write(abort()).await;
    let record = server.next().await;
    assert_eq!((record.cause, record.place, &*record.what), (Cause::Error, "abort", "not now"));
    mta.quit().await;
    let record = server.next().await;
    assert_eq!((record.cause, record.place, &*record.what), (Cause::Panic, "close", "panic: at last"));
    let mut mta = server.mta().await;
    mta.go([mail("<a@b>"), rcpt("<c@d>"), data()]).await;
    mta.write(abort()).await;
    server.next().await;
    let record = server.next().await;
    assert_eq!((record.cause, record.place), (Cause::Panic, "the end of its message"));
    mta.quit().await;
    server.drain().await;
}

#[tokio::test]
async fn a_connection_that_breaks_makes_a_record_with_what_broke_it() {
    let (probe, _notes) = Probe::quiet();
    let mut server = recorded_probe(patient(), probe);
    for (bytes, expected, what) in [
        (&b"\0\0\0\x01Z"[..], "O<O>C<c>Z", "no such code"),
        (b"\xff\xff\xff\xffM<a", "O<O>C<c>?", "frame of 4294967294 bytes exceeds the limit"),
        (b"\0\0\0\x04Habc", "O<O>C<c>H", "string without its final NUL in helo"),
    ] {
        let mut mta = server.mta().await;
        mta.go([connect()]).await;
        mta.write(bytes).await;
        let record = server.next().await;
        assert_eq!((record.cause, record.place), (Cause::Connection, "connection"));
        assert!(record.what.contains(what), "{}", record.what);
        assert_eq!(letters(&record), expected);
    }
    // It leaves in the middle of a frame.
    let mut mta = server.mta().await;
    mta.write(b"\0\0\0\x09Mabc").await;
    drop(mta);
    let record = server.next().await;
    assert_eq!(letters(&record), "O<O>?");
    let broken = record.frames.last().unwrap();
    assert_eq!((&broken.kept[..], broken.length), (&b"\0\0\0\x09Mabc"[..], 8));
    assert!(record.to_string().ends_with(r#" > no frame "\x00\x00\x00\tMabc""#), "{record}");
    // Those that end as they should make none.
    server.mta().await.quit().await;
    drop(server.mta().await);
    server.drain().await;
}

#[tokio::test(start_paused = true)]
async fn an_mta_that_is_too_slow_makes_a_record_and_an_idle_one_does_not() {
    let (probe, _notes) = Probe::quiet();
    let mut server = recorded_probe(Options::default(), probe);
    let _silent = Mta::unix(&server.path).await;
    let record = server.next().await;
    assert_eq!((record.cause, record.frames.len()), (Cause::Timeout, 0));
    assert_eq!(record.what, "the MTA did not negotiate within 30s");
    let mut slow = server.mta().await;
    slow.write(b"\0\0\0\x09M").await;
    let record = server.next().await;
    assert_eq!((record.cause, &*letters(&record)), (Cause::Timeout, "O<O>?"));
    let mut idle = server.mta().await;
    tokio::time::timeout(Duration::from_secs(8_000), idle.next()).await.unwrap();
    server.drain().await;
}

#[tokio::test]
async fn a_negotiation_that_fails_makes_a_record() {
    let (probe, _notes) = Probe::quiet();
    let probe = probe.with_negotiate(|_| Err("not today".into()));
    let mut server = recorded_probe(patient(), probe);
    let mut mta = Mta::unix(&server.path).await;
    mta.write(offer()).await;
    mta.closed().await;
    let record = server.next().await;
    assert_eq!((record.cause, record.place), (Cause::Error, "negotiation"));
    assert_eq!((&*record.what, &*letters(&record)), ("negotiation failed: not today", "O"));
    server.drain().await;
}

#[tokio::test(start_paused = true)]
async fn a_filter_of_a_chain_that_fails_makes_a_record_although_the_chain_goes_on() {
    for (act, cause, what) in [
        (Act::FailNow("no"), Cause::Error, "filter bad: no"),
        (Act::Panic("oh"), Cause::Panic, "filter bad: panic: oh"),
        (Act::Hang, Cause::Timeout, "filter bad: no verdict within 2s"),
    ] {
        let (bad, _notes) =
            Probe::new(
                Needs::everything(),
                move |_, event| if at(event, "mail") { act.clone() } else { go() },
            );
        let mut server = recorded(patient(), move |peer| {
            let bad = Member::new("bad", bad.for_connection(peer.id)).on_failure(OnFailure::Accept);
            Chain::pipeline().add("good", Probe::quiet().0).member(bad.timeout(Duration::from_secs(2)))
        });
        let mut mta = server.mta().await;
        mta.go(message("<a@b>")).await;
        let record = server.next().await;
        assert_eq!((record.cause, record.place, &*record.what), (cause, "mail", what));
        assert_eq!(letters(&record), "O<O>M");
        mta.quit().await;
        server.drain().await;
    }
}

#[tokio::test]
async fn only_the_last_frames_are_kept_and_their_bytes_are_bounded() {
    let (probe, _notes) = Probe::new(Needs::everything(), |_, event| match event {
        Event::EndOfMessage => Act::Fail("at the end"),
        _ => go(),
    });
    let mut server = recorded_probe(patient(), probe);
    let mut mta = server.mta().await;
    mta.go([mail("<a@b>"), rcpt("<c@d>"), data()]).await;
    let long = "x".repeat(2_000);
    for number in 0..500 {
        let value = if number % 50 == 7 { &long } else { "short" };
        mta.go([header(&format!("X-{number}"), value)]).await;
    }
    mta.go([end_of_headers(), body(b"Hi!\r\n")]).await;
    assert_eq!(mta.ask(end_of_message()).await.code, 'y');
    let record = server.next().await;
    let kept: usize = record.frames.iter().map(|frame| frame.kept.len()).sum();
    assert!((LIMIT / 4..=LIMIT).contains(&kept), "{kept}");
    // An answer to each but the last.
    assert_eq!(record.frames.len() as u64 + record.lost, 2 * (1 + 3 + 500 + 2) + 1);
    assert!(letters(&record).ends_with("L<c>N<c>B<c>E"));
    let text = record.to_string();
    assert!(text.contains("frames before\n"), "{text}");
    assert!(text.contains(r#"> header "X-499" "short""#), "{text}");
    mta.quit().await;
    server.drain().await;
}

/// A body of which no more than the first bytes may be seen.
fn private(first: usize, length: usize) -> Vec<u8> {
    let mut body = vec![b'.'; first];
    body.extend(b"PRIVATE ".iter().cycle().take(length - first));
    body
}

/// Whether some byte of what is private is there, in any form.
fn is_told(record: &FlightRecord) -> bool {
    let text = format!("{record}{record:?}");
    record
        .frames
        .iter()
        .any(|frame| frame.kept.contains(&b'P') || frame.kept.windows(4).any(|some| some == b"VATE"))
        || text.contains("PRIV")
}

#[tokio::test]
async fn bytes_of_a_body_beyond_the_cut_are_never_in_a_record() {
    for cut in [0, 1, 64, 512] {
        let log = Captured::new("trace,tamis::wire=off");
        let all = Arc::new(Mutex::new(0));
        let counted = all.clone();
        let (probe, _notes) =
            Probe::new(Needs::everything().require(Actions::REPLACE_BODY), move |cx: &mut Cx<'_>, event| {
                match event {
                    // Once it is replaced, and once the message fails.
                    Event::EndOfMessage => {
                        cx.replace_body(private(cut, 60_000)).unwrap();
                        *counted.lock().unwrap() += 1;
                        if *counted.lock().unwrap() == 2 { Act::Fail("secretly") } else { go() }
                    }
                    _ => go(),
                }
            });
        let mut options = patient();
        options.flight_recorder_body = cut;
        let mut server = recorded_probe(options, probe);
        let mut mta = server.mta().await;
        let frames = [
            mail("<a@b>"),
            rcpt("<c@d>"),
            end_of_headers(),
            body(&private(cut, 700)),
            body(&private(cut, 60_000)),
        ];
        mta.go(frames.clone()).await;
        mta.write(end_of_message()).await;
        while mta.reply().await.code != 'c' {}
        mta.go(frames.clone()).await;
        assert_eq!(mta.ask(end_of_message()).await.code, 'y');
        let record = server.next().await;
        assert!(letters(&record).contains("E<b><c>M"), "{}", letters(&record));
        assert!(!is_told(&record), "{record}");
        let kept = record.frames.iter().filter(|frame| frame.code == b'B').map(|frame| frame.kept.len());
        assert_eq!(kept.collect::<Vec<_>>(), [cut; 4]);
        // The last piece inside of the end of message, and one that never becomes whole.
        mta.go(frames.clone()).await;
        let last = [&[0, 0, 2, 0xbd, b'E'][..], &private(cut, 700)].concat();
        mta.write([last, b"\0\xff\0\0B".to_vec(), private(cut, 900)].concat()).await;
        while mta.reply().await.code != 'c' {}
        drop(mta);
        let record = server.next().await;
        assert!(letters(&record).ends_with('?'), "{}", letters(&record));
        assert!(!is_told(&record), "{record}");
        assert!(!log.text().contains("PRIV"));
        server.drain().await;
    }
}

#[tokio::test]
async fn what_unknown_commands_say_is_never_in_a_record() {
    let (probe, _notes) = Probe::new(Needs::everything(), |_, event| match event {
        Event::Unknown(_) => Act::Fail("what was that"),
        _ => go(),
    });
    let mut server = recorded_probe(patient(), probe);
    let mut mta = server.mta().await;
    // Where AUTH was refused, a client may send its password all the same.
    mta.ask(unknown("c2VjcmV0")).await;
    let record = server.next().await;
    assert_eq!(letters(&record), "O<O>U");
    let last = record.frames.last().unwrap();
    assert_eq!((&last.kept[..], last.length), (&b""[..], 9));
    assert!(!format!("{record}").contains("c2V"), "{record}");
    // Nor where it never becomes whole.
    mta.write(&unknown("c2VjcmV0")[..10]).await;
    drop(mta);
    let record = server.next().await;
    assert_eq!(record.frames.last().unwrap().kept.len(), 5, "{record}");
    server.drain().await;
}

#[tokio::test]
async fn a_record_is_logged_as_one_event() {
    let log = Captured::new("tamis::recorder=error");
    let (probe, _notes) = Probe::new(Needs::everything(), |_, event| match event {
        Event::Mail(_) => Act::Fail("no \"such\" thing"),
        _ => go(),
    });
    let mut server = recorded_probe(patient(), probe);
    let mut mta = server.mta().await;
    mta.go([helo("two\nlines\x1b[0m")]).await;
    mta.ask(mail("<a@b>")).await;
    server.next().await;
    log.expect(&[
        "ERROR tamis::recorder: flight record: no \"such\" thing connection=1 peer=unix:",
        "cause=error place=\"mail\"",
        "lost=0 count=5 frames=[\"0.",
        r#"> helo \"two\\nlines\\x1b[0m\"", "0."#,
        r#"< continue", "0."#,
        r#"> mail \"<a@b>\""]"#,
    ]);
    assert_eq!(log.text().lines().count(), 1);
    mta.quit().await;
    server.drain().await;
}

#[tokio::test]
async fn nothing_is_kept_unless_it_is_wanted() {
    let log = Captured::new("trace,tamis::wire=off");
    let (probe, _notes) = Probe::new(Needs::everything(), |_, _| Act::Fail("no"));
    let server = common::serve_probe(patient(), &probe);
    let mut mta = server.mta().await;
    assert_eq!(mta.ask(mail("<a@b>")).await.code, 'y');
    mta.quit().await;
    server.drain().await;
    log.expect(&["filter failed: no"]);
    assert_eq!(log.count("flight record"), 0);
}

#[tokio::test]
async fn a_function_for_records_that_panics_costs_nothing_else() {
    let log = Captured::new("error");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("filter.sock");
    let listeners = tamis::bind(&[SocketSpec::Unix(path.clone())]).unwrap();
    let (probe, _notes) = Probe::new(Needs::everything(), |_, _| Act::Fail("no"));
    let server = Server::new(move |peer: &Peer| probe.for_connection(peer.id))
        .flight_recorder(LIMIT)
        .on_flight_record(|_| panic!("cannot write"));
    let shutdown = Shutdown::new();
    let task = tokio::spawn(server.serve(listeners, shutdown.clone()));
    let mut mta = Mta::unix(&path).await;
    mta.negotiate().await;
    for _ in 0..2 {
        assert_eq!(mta.ask(mail("<a@b>")).await.code, 'y');
    }
    mta.quit().await;
    log.expect(&["the function that flight records go to panicked: cannot write"]);
    shutdown.drain();
    tokio::time::timeout(PATIENCE, task).await.unwrap().unwrap().unwrap();
}

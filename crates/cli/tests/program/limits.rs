//! `tamis serve` and what MTAs may take of it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use tamis::proto::command::{Envelope, Header, Kind, Macros};
use tamis::proto::{Actions, Command, Offer, Steps};

use crate::common::{PATIENCE, Serve, tamis, through};

#[test]
fn connections_above_the_number_that_is_set_are_refused() {
    let mut serve = Serve::start(&["--max-connections=1"]);
    let _first = serve.connect();
    assert_eq!(serve.send(&[]).code, 1);
    serve.wait_for("connection refused: 1 connections are open, the limit (max-connections)");
}

fn frame(command: &Command<&[u8]>) -> Vec<u8> {
    let mut wire = Vec::new();
    command.encode(&mut wire);
    wire
}

/// An MTA that insists on an answer to everything.
fn offer() -> Vec<u8> {
    frame(&Command::Negotiate(Offer { actions: Actions::empty(), steps: Steps::empty(), ..Offer::CURRENT }))
}

fn mail() -> Vec<u8> {
    [offer(), frame(&Command::Helo(b"h")), frame(&Command::Mail(Envelope::new(b"<>")))].concat()
}

fn rcpt() -> Vec<u8> {
    frame(&Command::Rcpt(Envelope::new(b"<a@example.com>")))
}

fn header(value: &str) -> Vec<u8> {
    frame(&Command::Header(Header { name: b"X", value: value.as_bytes(), implied_space: true }))
}

fn macros(pairs: &[(&str, &str)]) -> Vec<u8> {
    let mut wire = Vec::new();
    Command::Macros(Macros::new(Kind::Helo, pairs.iter().copied())).encode(&mut wire);
    wire
}

/// Sends this again and again until the connection is closed, reading nothing.
fn never_read(mut mta: TcpStream, bytes: &[u8]) {
    while mta.write_all(bytes).is_ok() {}
}

/// Sends this and waits until the connection is closed.
fn is_closed_after(mut mta: TcpStream, bytes: &[u8]) {
    // It may be closed before all of it was sent; an end or a reset is an end.
    let _ = mta.write_all(bytes);
    let _ = mta.read_to_end(&mut Vec::new());
}

#[test]
fn what_goes_above_a_limit_ends_that_connection_and_is_logged_once_with_limit_and_peer() {
    let long = "x".repeat(200);
    let cases: &[(&str, Vec<u8>, &str)] = &[
        ("--handshake-time=1", Vec::new(), "the MTA did not negotiate within 1s"),
        ("--idle-time=1", offer(), "nothing was heard from the MTA for 1s"),
        (
            "--frame-time=1",
            [&offer(), &rcpt()[..4]].concat(),
            "a frame that the MTA began was not finished within 1s",
        ),
        (
            "--max-buffers=64K",
            [&offer()[..], &1_000_000_u32.to_be_bytes(), b"L", &vec![b'x'; 500_000]].concat(),
            "the buffers of all connections together exceed the limit of 65536 bytes",
        ),
        (
            "--max-payload=64K",
            [&offer()[..], &65_538_u32.to_be_bytes()].concat(),
            "frame of 65537 bytes exceeds the limit of 65536",
        ),
        (
            "--max-macro-bytes=100",
            [offer(), macros(&[("a", &long)])].concat(),
            "macros of 203 bytes exceed the limit of 100 at one stage",
        ),
        (
            "--max-headers=2",
            [mail(), rcpt(), header("a").repeat(3)].concat(),
            "message has more than 2 header fields",
        ),
        (
            "--max-header-bytes=100",
            [mail(), rcpt(), header(&long)].concat(),
            "header fields of the message exceed the limit of 100 bytes",
        ),
        ("--max-recipients=2", [mail(), rcpt().repeat(3)].concat(), "message has more than 2 recipients"),
        (
            "--max-argument=100",
            [offer(), frame(&Command::Helo(long.as_bytes()))].concat(),
            "argument of 201 bytes exceeds the limit of 100",
        ),
    ];
    // All at once, as some take a second.
    let running: Vec<_> = cases.iter().map(|(option, ..)| Serve::start(&[option])).collect();
    let mut peers = Vec::new();
    for ((_, bytes, _), serve) in cases.iter().zip(&running) {
        let mta = serve.connect();
        peers.push(mta.local_addr().unwrap());
        let bytes = bytes.clone();
        std::thread::spawn(move || is_closed_after(mta, &bytes));
    }
    for (((option, _, said), mut serve), peer) in cases.iter().zip(running).zip(peers) {
        let limit = option.trim_start_matches('-').split('=').next().unwrap();
        let line = serve.wait_for("connection ended: ");
        let who = format!(" peer={peer} limit={limit}");
        assert!(line.contains(said) && line.ends_with(&who), "{line} is not {said}{who}");
        let lines = serve.end();
        let count = lines.iter().filter(|line| line.contains(limit)).count();
        assert_eq!(count, 1, "{option}: {lines:#?}");
    }
}

#[test]
fn replies_that_nobody_reads_end_the_connection() {
    let mut serve = Serve::start(&["--write-time=1", "--max-replies=1K"]);
    let mut mta = serve.connect();
    let peer = mta.local_addr().unwrap();
    mta.write_all(&offer()).unwrap();
    std::thread::spawn(move || never_read(mta, &frame(&Command::Helo(b"h")).repeat(1_000)));
    let line = serve.wait_for("connection ended: ");
    let expected = format!("the MTA read nothing of a reply for 1s peer={peer} limit=write-time");
    assert!(line.ends_with(&expected), "{line}");
}

#[test]
fn macros_above_their_number_are_dropped_and_mail_passes() {
    let mut serve = Serve::start(&["--max-macros=1"]);
    let ran = serve.send(&["--macro=mail:{first}=1", "--macro=mail:{second}=2"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let line = serve.wait_for("more than 1 macros at one stage, those above were dropped");
    assert!(line.contains(" peer=127.0.0.1:") && line.ends_with(" limit=max-macros"), "{line}");
    let lines = serve.end();
    assert_eq!(lines.iter().filter(|line| line.contains("max-macros")).count(), 1, "{lines:#?}");
}

#[test]
fn limits_come_from_the_environment_too() {
    let mut command = tamis(["serve", "--listen", "inet:0@127.0.0.1"]);
    command.env("TAMIS_MAX_RECIPIENTS", "1");
    let mut serve = Serve::spawn(command);
    assert_eq!(serve.send(&["--rcpt=a@example.com"]).code, 0);
    assert_eq!(serve.send(&["--rcpt=a@example.com", "--rcpt=b@example.com"]).code, 1);
    serve.wait_for("message has more than 1 recipients");
}

/// Negotiates, which takes a server that serves this connection.
fn is_served(mut mta: &TcpStream) {
    mta.set_read_timeout(Some(PATIENCE)).unwrap();
    mta.write_all(&offer()).unwrap();
    let mut answer = [0; 5];
    mta.read_exact(&mut answer).unwrap();
    assert_eq!(answer[4], b'O');
}

#[test]
fn server_without_file_descriptors_waits_for_some_and_goes_on() {
    let limit = ["sh", "-c", "ulimit -n 40 && exec \"$0\" \"$@\""];
    let mut serve = Serve::spawn(through(limit, ["serve", "--listen", "inet:0@127.0.0.1"]));
    let warned = "the limit on open files lets 0 connections be open, fewer than --max-connections";
    assert!(serve.seen.iter().any(|line| line.ends_with(warned)), "{:#?}", serve.seen);
    let begin = Instant::now();
    let first = serve.connect();
    // Those that do not fit wait in the listener's queue.
    let mut others: Vec<_> = (0..40).map(|_| serve.connect()).collect();
    let refused = "cannot accept a connection on inet:0@127.0.0.1: Too many open files";
    assert!(serve.wait_for(refused).contains(" limit=open-files"));
    is_served(&first);
    for lines in 1..3 {
        let line = serve.wait_for(refused);
        assert!(begin.elapsed().as_secs() >= lines, "more than a line a second");
        // Held back are those of one second, and it waits for a tenth after each. On a machine that stood still
        // there are none.
        let more = line.split_once(" more since the last line like this");
        let count = more.and_then(|(line, _)| line.rsplit("; ").next()?.parse::<u32>().ok());
        assert!(count.is_none_or(|count| count <= 10) && count.is_some() == more.is_some(), "{line}");
    }
    let last = others.pop().unwrap();
    drop(others);
    is_served(&last);
    let ran = serve.send(&[]);
    assert_eq!(ran.code, 0, "{ran:?}");
    ends_in_order(&first);
}

/// Ends a session in order, with an answer before the end.
fn ends_in_order(mut mta: &TcpStream) {
    mta.write_all(&frame(&Command::Helo(b"h"))).unwrap();
    mta.write_all(&frame(&Command::Quit)).unwrap();
    let mut answer = Vec::new();
    mta.read_to_end(&mut answer).unwrap();
    assert!(answer.ends_with(b"\0\0\0\x01c"), "{answer:?}");
}

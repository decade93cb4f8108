//! The process: sockets, signals, timeouts, the end.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::UnixStream;
use std::time::Instant;

use super::common::{Filter, PATIENCE, Run, frame, usual};

#[test]
fn signals_end_smfi_main_in_good_order() {
    for signal in ["TERM", "HUP", "INT"] {
        let filter = Filter::new("");
        let mut mta = filter.connect();
        mta.run("CH");
        filter.signal(signal);
        mta.closed();
        let (log, code) = filter.end();
        assert_eq!(code, Some(0), "{signal}");
        assert_eq!(log[log.len() - 2..], ["close", "main 0"], "{signal}");
    }
}

#[test]
fn an_open_message_may_come_to_its_end() {
    let mut filter = Filter::new("rcpt|stop");
    let mut mta = filter.connect();
    assert_eq!(mta.run("CHMR"), "cccc");
    filter.wait_for("stop 0");
    assert_eq!(mta.run("TLNBE"), "ccccc");
    mta.closed();
    let (log, code) = filter.end();
    assert_eq!(code, Some(0));
    assert_eq!(log[log.len() - 3..], ["eom", "close", "main 0"]);
}

#[test]
fn an_interrupt_aborts_open_messages() {
    let filter = Filter::new("");
    let mut mta = filter.connect();
    mta.run("CHMR");
    filter.signal("INT");
    mta.closed();
    let (log, _) = filter.end();
    assert_eq!(log[log.len() - 3..], ["abort", "close", "main 0"]);
}

#[test]
fn an_open_message_that_does_not_end_is_aborted_in_the_end() {
    let filter = Filter::new("");
    let mut mta = filter.connect();
    mta.run("CHMR");
    filter.signal("TERM");
    mta.closed();
    let (log, code) = filter.end();
    assert_eq!(code, Some(0));
    assert_eq!(log[log.len() - 3..], ["abort", "close", "main 0"]);
}

#[test]
fn last_callbacks_come_to_their_end_before_main_returns() {
    // Longer than the second that is left once open messages are aborted.
    let filter = Filter::new("abort|usleep|2000000");
    let mut mta = filter.connect();
    mta.run("CHMR");
    filter.signal("TERM");
    mta.closed();
    let (log, code) = filter.end();
    assert_eq!(code, Some(0));
    assert_eq!(log[log.len() - 3..], ["abort", "close", "main 0"]);
}

#[test]
fn main_after_a_stop_fails_at_once() {
    let filter = Filter::spawn(&Run { script: "setup|stop\nend|main", ..Run::default() });
    assert_eq!(filter.end(), (["stop 0", "main -1", "main -1"].map(str::to_owned).to_vec(), Some(1)));
    let filter = Filter::new("end|main");
    let log = filter.stop();
    assert_eq!(log, ["main 0", "main -1"]);
}

#[test]
fn a_callback_that_does_not_end_does_not_keep_main_from_returning() {
    let mut filter = Filter::new("helo|say|busy\nhelo|usleep|30000000");
    let mut mta = filter.connect();
    mta.run("C");
    mta.send_frame(b'H', b"x\0");
    filter.wait_for("busy");
    filter.signal("TERM");
    let since = Instant::now();
    let (log, code) = filter.end();
    assert_eq!((log.last().map(String::as_str), code), (Some("main 0"), Some(0)));
    assert!(since.elapsed() < PATIENCE);
}

/// Waits until somebody answers on a stream: then signals are taken care of, too.
fn is_served(mut stream: impl Read + Write) {
    stream.write_all(&frame(b'O', b"\0\0\0\x06\0\0\x01\xff\0\x1f\xff\xff")).unwrap();
    stream.read_exact(&mut [0; 17]).unwrap();
}

#[test]
fn a_socket_that_is_there_is_removed_only_if_asked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stale");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let socket = format!("unix:{}", path.display());
    for script in ["setup|opensocket|0", ""] {
        let filter = Filter::spawn(&Run { script, socket: Some(&socket), ..Run::default() });
        let (log, code) = filter.end();
        assert_eq!((log.last().map(String::as_str), code), (Some("main -1"), Some(1)));
    }
    let mut filter = Filter::spawn(&Run {
        script: "setup|opensocket|1\nsetup|say|up",
        socket: Some(&socket),
        ..Run::default()
    });
    filter.wait_for("up");
    is_served(UnixStream::connect(&path).unwrap());
    filter.signal("TERM");
    assert_eq!(filter.end().1, Some(0));
}

#[test]
fn what_is_no_socket_is_never_removed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    std::fs::write(&path, "precious").unwrap();
    let socket = format!("local:{}", path.display());
    let filter =
        Filter::spawn(&Run { script: "setup|opensocket|1", socket: Some(&socket), ..Run::default() });
    let (log, code) = filter.end();
    assert_eq!((log[0].as_str(), code), ("opensocket -1", Some(1)));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn every_spelling_of_a_unix_socket_is_understood() {
    for word in ["unix:", "UNIX:", "local:", ":", ""] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(if word.is_empty() { "socket" } else { "sock:et" });
        let socket = format!("{word}{}", path.display());
        let mut filter = Filter::spawn(&Run {
            script: "setup|opensocket|0\nsetup|say|up",
            socket: Some(&socket),
            ..Run::default()
        });
        filter.wait_for("up");
        assert!(path.symlink_metadata().unwrap().file_type().is_socket(), "{socket}");
        is_served(UnixStream::connect(&path).unwrap());
        filter.signal("TERM");
        filter.end();
    }
}

#[test]
fn tcp_sockets_are_understood_in_both_families() {
    let free = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for (spec, address) in [
        ("inet:#@127.0.0.1", "127.0.0.1"),
        ("inet:#@[127.0.0.1]", "127.0.0.1"),
        ("inet6:#@[::1]", "::1"),
        ("INET:#@localhost", "127.0.0.1"),
        ("inet:#", "127.0.0.1"),
        ("inet6:#@[IPv6:::1]", "::1"),
    ] {
        let port = free();
        let socket = spec.replace('#', &port.to_string());
        let mut filter = Filter::spawn(&Run {
            script: "setup|opensocket|0\nsetup|say|up",
            socket: Some(&socket),
            ..Run::default()
        });
        filter.wait_for("up");
        is_served(TcpStream::connect((address, port)).unwrap_or_else(|error| panic!("{socket}: {error}")));
        filter.signal("TERM");
        assert_eq!(filter.end().1, Some(0), "{socket}");
    }
}

#[test]
fn specifications_that_are_none_are_refused_when_opened() {
    let endless = format!("unix:/{}", "x".repeat(106));
    for socket in [
        "inat:1@localhost",
        "inet:nosuchservice@localhost",
        "inet:1@[::1]",
        "inet6:1@[127.0.0.1]",
        "inet:70000",
        "inet:1@[127.0.0.1",
        "unix:",
        &endless,
    ] {
        let filter =
            Filter::spawn(&Run { script: "setup|opensocket|0", socket: Some(socket), ..Run::default() });
        let (log, code) = filter.end();
        assert_eq!((log[0].as_str(), code), ("opensocket -1", Some(1)), "{socket}");
    }
}

#[test]
fn a_program_may_become_a_daemon_once_its_socket_is_open() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let socket = format!("unix:{}", path.display());
    let mut filter = Filter::spawn(&Run {
        script: "setup|opensocket|1\nsetup|daemon",
        socket: Some(&socket),
        ..Run::default()
    });
    let daemon = filter.wait_for("daemon ");
    is_served(UnixStream::connect(&path).unwrap());
    let pid = daemon.strip_prefix("daemon ").unwrap();
    assert!(std::process::Command::new("kill").arg(pid).status().unwrap().success());
    let (log, code) = filter.end();
    assert_eq!((log.last().map(String::as_str), code), (Some("main 0"), Some(0)));
}

#[test]
fn callbacks_may_start_other_programs() {
    let filter = Filter::new("mail|system|exit 3");
    let mut mtas: Vec<_> = (0..8).map(|_| filter.connect()).collect();
    for mta in &mut mtas {
        mta.send_bytes(&[frame(b'C', usual(b'C')), frame(b'M', usual(b'M')), frame(b'A', b"")].concat());
    }
    for mta in &mut mtas {
        assert_eq!((mta.reply().0, mta.reply().0), (b'c', b'c'));
        assert_eq!(mta.run("MRTNEQ"), "ccccc");
        mta.closed();
    }
    let log = filter.stop();
    assert_eq!(log.iter().filter(|line| *line == "system 768").count(), 16, "{log:?}");
}

#[test]
fn a_connection_on_which_nothing_happens_is_ended() {
    let mut filter = Filter::new("setup|settimeout|1");
    let mut idle = filter.connect();
    idle.run("CHMR");
    idle.closed();
    filter.wait_for("close");
    let log = filter.stop();
    assert_eq!(log[log.len() - 3..], ["abort", "close", "main 0"]);
}

#[test]
fn a_connection_on_which_something_happens_is_not() {
    let filter = Filter::new("setup|settimeout|2");
    let mut busy = filter.connect();
    busy.run("CH");
    let since = Instant::now();
    while since.elapsed().as_secs() < 5 {
        assert_eq!(busy.run("U"), "c");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}

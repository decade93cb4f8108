//! What administrators can set by environment variables.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::time::Instant;

use super::common::{Filter, PATIENCE, Run};

fn run(script: &str, env: &[(&str, &str)]) -> Filter {
    Filter::run(&Run { script, env, ..Run::default() })
}

#[test]
fn every_frame_is_traced_to_a_file_for_its_owner_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trace");
    let filter =
        run("eom|addheader|X-A|b", &[("TAMIS_LIBMILTER_TRACE", &format!("file:{}", path.display()))]);
    let mut mta = filter.connect();
    mta.send_frame(b'D', b"Cj\0mta.example\0");
    mta.run("CHMRTLNB");
    mta.send_frame(b'E', b"");
    assert_eq!((mta.reply().0, mta.reply().0), (b'h', b'c'));
    mta.send_bytes(b"\0\0\0\x01Z");
    mta.closed();
    filter.stop();
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let trace = std::fs::read_to_string(path).unwrap();
    let mut lines = trace.lines().map(|line| line.split_once(" [1] ").unwrap().1);
    for want in [
        "- connection 1 opened",
        "> negotiate version=6 ",
        "< negotiate version=6 ",
        "> macros for connect j=\"mta.example\"",
        "> connect \"host.example\"",
        "< continue",
        "> helo \"helo.example\"",
        "< continue",
        "> mail \"<a@example.com>\"",
        "< continue",
        "> rcpt",
        "< continue",
        "> data",
        "< continue",
        "> header \"Subject\" \"Hello\"",
        "< continue",
        "> end-of-headers",
        "< continue",
        "> body (6 bytes)",
        "< continue",
        "> end-of-message",
        "< add-header \"X-A\" \"b\"",
        "< continue",
        "- MTA: no such code (code 0x5a), state ended",
        "- closed",
    ] {
        let line = lines.next().unwrap();
        assert!(line.starts_with(want), "{line:?} instead of {want:?} in {trace}");
    }
    assert_eq!(lines.next(), None);
}

#[test]
fn a_trace_file_that_is_moved_away_is_begun_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trace");
    let filter = run("", &[("TAMIS_LIBMILTER_TRACE", &format!("file:{}", path.display()))]);
    let mut mta = filter.connect();
    mta.run("C");
    std::fs::rename(&path, folder.path().join("old")).unwrap();
    let since = Instant::now();
    while !path.exists() {
        assert!(since.elapsed() < PATIENCE);
        mta.run("U");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    drop(mta);
    filter.stop();
    assert!(std::fs::read_to_string(path).unwrap().contains("unknown"));
}

#[test]
fn the_trace_goes_to_standard_output_for_a_program_that_asks_for_debugging() {
    let filter = Filter::new("setup|setdbg|1");
    let mut mta = filter.connect();
    mta.run("CHQ");
    mta.closed();
    let log = filter.stop();
    assert!(log.contains(&"[1] > helo \"helo.example\"".to_owned()), "{log:?}");
    assert!(log.contains(&"[1] < continue".to_owned()), "{log:?}");
}

fn value(text: &str, metric: &str) -> u64 {
    let line =
        text.lines().find(|line| line.starts_with(metric)).unwrap_or_else(|| panic!("{metric} in {text}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn metrics_are_written_to_a_file_and_are_whole_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("filter.prom");
    let filter = run(
        "eom|addheader|X-A|b\neom|return|3",
        &[("TAMIS_LIBMILTER_METRICS", &format!("file:{}", path.display()))],
    );
    let mut mta = filter.connect();
    assert!(std::fs::read_to_string(&path).unwrap().contains("tamis_libmilter_connections_total"));
    mta.run("CHMRRTLNB");
    mta.send_frame(b'E', b"");
    assert_eq!((mta.reply().0, mta.reply().0), (b'h', b'a'));
    mta.send_bytes(b"\0\0\0\x01Z");
    mta.closed();
    filter.stop();
    let text = std::fs::read_to_string(path).unwrap();
    for (metric, want) in [
        ("tamis_libmilter_connections_total", 1),
        ("tamis_libmilter_connections_open", 0),
        ("tamis_libmilter_connections_lost_total{filter=\"scripted\",reason=\"protocol\"}", 1),
        ("tamis_libmilter_edits_total{filter=\"scripted\",edit=\"add-header\"}", 1),
        ("tamis_libmilter_answers_total{filter=\"scripted\",callback=\"eom\",answer=\"accept\"}", 1),
        ("tamis_libmilter_answers_total{filter=\"scripted\",callback=\"envrcpt\",answer=\"continue\"}", 2),
        ("tamis_libmilter_callback_seconds_count{filter=\"scripted\",callback=\"close\"}", 1),
        ("tamis_libmilter_answers_total{filter=\"scripted\",callback=\"negotiate\",answer=\"all-opts\"}", 1),
        ("tamis_libmilter_callback_seconds_bucket{filter=\"scripted\",callback=\"envrcpt\",le=\"60\"}", 2),
        ("tamis_libmilter_threads_limit", 1024),
    ] {
        assert_eq!(value(&text, metric), want, "{metric}");
    }
    assert!(value(&text, "tamis_libmilter_received_bytes_total") > 150);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "and nothing else is left there");
}

#[test]
fn metrics_are_given_to_whoever_connects_to_a_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics");
    let filter = run("", &[("TAMIS_LIBMILTER_METRICS", &format!("unix:{}", path.display()))]);
    let mut mta = filter.connect();
    mta.run("CH");
    let ask = |request: &[u8]| {
        let mut client = UnixStream::connect(&path).unwrap();
        client.write_all(request).unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        let mut text = String::new();
        client.read_to_string(&mut text).unwrap();
        text
    };
    let text = ask(b"");
    assert_eq!(value(&text, "tamis_libmilter_connections_open"), 1);
    let http = ask(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    let (head, body) = http.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.0 200 OK") && head.contains(&format!("Content-Length: {}", body.len())));
    drop(mta);
    filter.stop();
    assert!(!path.exists());
}

#[test]
fn larger_frames_are_accepted_if_the_administrator_says_so() {
    let filter = run("", &[("TAMIS_LIBMILTER_FRAME", "200000")]);
    let mut mta = filter.connect();
    mta.run("CHMRT");
    let header = |size: usize| [&b"n\0"[..], &vec![b'v'; size - 3], b"\0"].concat();
    assert_eq!(mta.ask(b'L', &header(200_000)).0, b'c');
    mta.send_frame(b'L', &header(200_001));
    mta.closed();
}

#[test]
fn connections_beyond_the_bound_wait_until_another_one_ends() {
    let filter = run("", &[("TAMIS_LIBMILTER_CONNECTIONS", "2")]);
    let (mut one, mut two) = (filter.connect(), filter.connect());
    let mut three = filter.dial();
    three.send_frame(b'O', b"\0\0\0\x06\0\0\x01\xff\0\x1f\xff\xff");
    assert_eq!((one.run("CH"), two.run("CH")), ("cc".to_owned(), "cc".to_owned()));
    one.run("Q");
    one.closed();
    assert_eq!(three.reply().0, b'O');
    assert_eq!(three.run("CH"), "cc");
    assert_eq!(two.run("MRTN"), "cccc");
}

#[test]
fn the_administrator_s_timeout_stands_above_the_program_s() {
    let filter = run("setup|settimeout|7210", &[("TAMIS_LIBMILTER_TIMEOUT", "1")]);
    let mut mta = filter.connect();
    mta.run("C");
    mta.closed();
}

#[test]
fn bad_values_are_told_and_the_filter_runs_all_the_same() {
    let filter = run(
        "",
        &[
            ("TAMIS_LIBMILTER_THREADS", "none"),
            ("TAMIS_LIBMILTER_TRACE", "file:nowhere"),
            ("TAMIS_LIBMILTER_METRICS", "file:/nowhere/at/all"),
        ],
    );
    assert_eq!(filter.connect().run("CHMRTNE"), "ccccccc");
    filter.stop();
}

//! Threads: callbacks of several connections at the same time.

use super::common::{Filter, Run};

/// How many threads a process has.
fn threads(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().count()
}

#[test]
fn a_slow_callback_never_delays_another_connection() {
    let filter = Filter::new("helo|usleep|60000000");
    let slow: Vec<_> = (0..40)
        .map(|_| {
            let mut mta = filter.connect();
            mta.run("C");
            mta.send_frame(b'H', b"x\0");
            mta
        })
        .collect();
    // None of those has come back, or this would wait for it for a minute.
    let mut quick = filter.connect();
    assert_eq!(quick.run("CMRTLNBE"), "cccccccc");
    assert!(threads(filter.pid()) >= 41);
    drop(slow);
}

#[test]
fn beyond_the_bound_connections_wait_and_are_served_later() {
    let mut filter = Filter::run(&Run {
        script: "helo|say|in\nhelo|usleep|300000",
        env: &[("TAMIS_LIBMILTER_THREADS", "2")],
        ..Run::default()
    });
    let mut mtas: Vec<_> = (0..6).map(|_| filter.dial()).collect();
    for mta in &mut mtas {
        mta.send_frame(b'O', b"\0\0\0\x06\0\0\x01\xff\0\x1f\xff\xff");
        mta.send_frame(b'H', b"x\0");
    }
    for mta in &mut mtas {
        assert_eq!((mta.reply().0, mta.reply().0), (b'O', b'c'));
    }
    filter.wait_for("in");
    assert_eq!(threads(filter.pid()), 3, "two of the pool, and the program's own");
}

#[test]
fn idle_connections_hold_no_threads() {
    let filter = Filter::new("");
    let mut mtas: Vec<_> = (0..200).map(|_| filter.connect()).collect();
    for mta in &mut mtas {
        assert_eq!(mta.run("CH"), "cc");
    }
    assert!(threads(filter.pid()) < 20, "{} threads", threads(filter.pid()));
}

#[test]
fn callbacks_of_one_connection_never_overlap() {
    // Everything at once: each callback sleeps, and says when it begins and ends.
    let filter = Filter::new(
        "mail|usleep|2000\nmail|say|mail ends\nrcpt|usleep|2000\nrcpt|say|rcpt ends\ndata|usleep|2000\ndata|say|data ends",
    );
    let mut mta = filter.connect();
    mta.run("CH");
    let mut heap = Vec::new();
    for _ in 0..20 {
        for code in *b"MRRTA" {
            heap.extend(super::common::frame(code, super::common::usual(code)));
        }
    }
    mta.send_bytes(&heap);
    for _ in 0..80 {
        assert_eq!(mta.reply().0, b'c');
    }
    drop(mta);
    let log = filter.stop();
    let mut open: Option<&str> = None;
    for line in log.iter().filter(|line| ["mail", "rcpt", "data"].iter().any(|word| line.starts_with(word))) {
        match line.strip_suffix(" ends") {
            Some(name) => assert_eq!(open.take(), Some(name), "{log:?}"),
            None => assert_eq!(open.replace(line.split(' ').next().unwrap()), None, "{log:?}"),
        }
    }
}

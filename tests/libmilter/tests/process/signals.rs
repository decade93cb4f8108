//! Signals, timeouts and the socket file (specification §7.1, §7.5).

use std::fs;
use std::os::unix::net::UnixStream;
use std::thread;

use nix::sys::signal::Signal;
use tamis_libmilter_tests::library::Library;
use tamis_libmilter_tests::probe::Probe;
use tamis_libmilter_tests::script::Script;
use tamis_libmilter_tests::session::{Manner, Session, Setup, Turn};

/// Ends a probe that has served a connection; returns what `smfi_main` did, and whether the socket file is left.
fn ended_by(library: Library, signal: Signal) -> (String, bool, bool) {
    let mut probe = Probe::start(library, &Setup::default());
    let served = probe.run(&Session::new(Script::default().with_everything()).letters("OCHMRTLNBEQ"));
    assert_eq!(served.trouble, Vec::<String>::new());
    let socket = probe.socket();
    // A connection on which nothing happens does not keep it.
    let idle = UnixStream::connect(&socket).expect("it still listens");
    let (returned, status, folder) = probe.stop(signal).expect("smfi_main returns");
    drop(idle);
    let left = socket.exists();
    drop(folder);
    (returned, status.success(), left)
}

#[test]
fn each_signal_ends_smfi_main_in_the_same_way() {
    // The stock library takes up to 5 seconds for each.
    let running = [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT]
        .map(|signal| (signal, Library::ALL.map(|library| thread::spawn(move || ended_by(library, signal)))));
    for (signal, libraries) in running {
        let [stock, ours] = libraries.map(|ended| ended.join().expect("smfi_main returns"));
        assert_eq!(stock, ours, "{signal}");
    }
}

#[test]
fn a_command_that_does_not_come_to_its_end_ends_the_connection() {
    let mut session = Session::new(Script::default().with_everything()).letters("OCHMR");
    session.turns.push(Turn { bytes: vec![0, 0, 0, 9, b'L', b'S'], answered: false });
    session.manner = Manner::PourAndStay;
    let [stock, ours] = Library::ALL
        .map(|library| Probe::start(library, &Setup::default().option("timeout=1")).run(&session));
    assert_eq!(ours.trouble, Vec::<String>::new());
    assert_eq!(stock, ours);
}

/// What a probe writes to standard output at a level of debugging.
fn output(library: Library, level: u32) -> Vec<u8> {
    let mut probe = Probe::start(library, &Setup::default().option(format!("debug={level}")));
    probe.run(&Session::new(Script::default().with_everything()).letters("OCHMRTLNBEQ"));
    let output = probe.output_path();
    let (_, _, folder) = probe.stop(Signal::SIGTERM).expect("smfi_main returns");
    let text = fs::read(output).expect("the file is there as long as its folder");
    drop(folder);
    text
}

#[test]
fn debug_output_is_there_when_asked_for_only() {
    let running =
        Library::ALL.map(|library| [0, 6].map(|level| thread::spawn(move || output(library, level))));
    for outputs in running {
        let [none, much] = outputs.map(|output| output.join().expect("smfi_main returns"));
        assert_eq!(none, b"");
        assert_ne!(much, b"");
    }
}

//! Memory: valgrind finds no error and no leak, and a process that serves many connections does not grow.

use std::env;
use std::fs;

use nix::sys::signal::Signal;
use tamis_libmilter_tests::dice::Dice;
use tamis_libmilter_tests::generate::{batch, legal, mutated, wild};
use tamis_libmilter_tests::library::Library;
use tamis_libmilter_tests::probe::Probe;
use tamis_libmilter_tests::session::{Session, Setup};

const VALGRIND: [&str; 7] = [
    "valgrind",
    "--quiet",
    "--error-exitcode=99",
    "--leak-check=full",
    "--show-leak-kinds=definite",
    "--errors-for-leak-kinds=definite",
    // Otherwise it lets one thread run on while others are ready, and time passes.
    "--fair-sched=yes",
];

/// Sessions for each setup.
const UNDER_VALGRIND: u64 = 30;
/// Sessions until memory has the size that it keeps.
const UNTIL_FLAT: u64 = 1000;
/// Sessions after that; `TAMIS_SESSIONS` is another number.
const WHILE_FLAT: u64 = 2000;
/// Bytes by which it may grow: what the allocator does with its pages is its own affair.
const SLACK: u64 = 512 * 1024;

/// Sessions of every kind for one process.
fn sessions(first: u64, count: u64) -> (Setup, impl Iterator<Item = Session>) {
    let batch = batch(&mut Dice::new(first));
    let setup = batch.setup.clone();
    let kinds = [legal, wild, mutated];
    let all = (first..first + count).map(move |seed| {
        let kind = kinds[usize::try_from(seed % 3).expect("it is below 3")];
        kind(&mut Dice::new(seed ^ 0x5eed), &batch)
    });
    (setup, all)
}

#[test]
fn valgrind_finds_no_error_and_no_leak() {
    // Setups with and without a negotiate callback.
    for first in [1, 51, 201] {
        let (setup, sessions) = sessions(first, UNDER_VALGRIND);
        let mut probe = Probe::start_under(&VALGRIND, Library::Ours, &setup);
        for session in sessions {
            let transcript = probe.run(&session);
            assert_eq!(transcript.trouble, Vec::<String>::new(), "{session}{transcript}");
        }
        let errors = probe.errors_path();
        let (returned, status, folder) = probe.stop(Signal::SIGTERM).expect("smfi_main returns");
        let text = fs::read_to_string(errors).expect("the file is there as long as its folder");
        drop(folder);
        assert_eq!(returned, "main 0\n", "{text}");
        assert!(status.success(), "{status}\n{text}");
    }
}

#[test]
fn a_process_that_serves_many_connections_does_not_grow() {
    let more = env::var("TAMIS_SESSIONS")
        .map_or(WHILE_FLAT, |text| text.parse().expect("TAMIS_SESSIONS is a number"));
    let (setup, sessions) = sessions(1, UNTIL_FLAT + more);
    let mut probe = Probe::start(Library::Ours, &setup);
    let mut before = 0;
    for (number, session) in (0..).zip(sessions) {
        if number == UNTIL_FLAT {
            before = resident(probe.id());
        }
        let transcript = probe.run(&session);
        assert_eq!(transcript.trouble, Vec::<String>::new(), "{session}");
    }
    let after = resident(probe.id());
    assert!(after <= before + SLACK, "{before} bytes after {UNTIL_FLAT} sessions, {after} after {more} more");
    println!("{before} bytes after {UNTIL_FLAT} sessions, {after} after {more} more");
}

/// Bytes of memory that a process has.
fn resident(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("the process is running");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("every process has memory");
    let kilobytes = line.trim().trim_end_matches(" kB");
    kilobytes.parse::<u64>().expect("it is a number of kB") * 1024
}

//! What the functions return that come before `smfi_main`, and which sockets are opened.

use std::process::{Command, Stdio};

use tamis_interop::port;
use tamis_libmilter_tests::library::Library;
use tamis_libmilter_tests::probe::compile;

/// Lines that differ: what the stock library says, what ours says.
const ACCEPTED: [(&str, &str); 7] = [
    // An empty path would be an address that the kernel makes up, and nobody can connect to (§7.4).
    ("opensocket local: 0: 0 0 0 0 unix() reuse=0 cloexec=1", "opensocket local: 0: 0 0 -1 -1"),
    ("opensocket unix: 0: 0 0 0 0 unix() reuse=0 cloexec=1", "opensocket unix: 0: 0 0 -1 -1"),
    ("opensocket : 0: 0 0 0 0 unix() reuse=0 cloexec=1", "opensocket : 0: 0 0 -1 -1"),
    // What was refused once is not taken for a path the second time (§7.4).
    (
        "opensocket inet4:%s@127.0.0.1 0: 0 0 -1 0 unix(inet4) reuse=0 cloexec=1",
        "opensocket inet4:%s@127.0.0.1 0: 0 0 -1 -1",
    ),
    (
        "opensocket tcp:%s@127.0.0.1 0: 0 0 -1 0 unix(tcp) reuse=0 cloexec=1",
        "opensocket tcp:%s@127.0.0.1 0: 0 0 -1 -1",
    ),
    ("opensocket x:y 0: 0 0 -1 0 unix(x) reuse=0 cloexec=1", "opensocket x:y 0: 0 0 -1 -1"),
    // A link is no socket, whatever it leads to, and is not removed (§12.4).
    ("opensocket local:link 1: 0 0 0 0 unix(link) reuse=0 cloexec=1", "opensocket local:link 1: 0 0 -1 -1"),
];

#[test]
fn functions_before_main_return_the_same_and_open_the_same_sockets() {
    let program = compile("globals.c");
    let port = port::free().port().to_string();
    let [stock, ours] = Library::ALL.map(|library| {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let mut command = Command::new(&program);
        command.arg(folder.path()).arg(&port).stderr(Stdio::null());
        let output = library.give_to(&mut command).output().expect("it was just compiled");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("it prints ASCII")
    });
    let differences: Vec<(&str, &str)> =
        stock.lines().zip(ours.lines()).filter(|(stock, ours)| stock != ours).collect();
    // Where the link stays, so does what it leads to, in the same way.
    assert_eq!(differences, ACCEPTED, "\nstock:\n{stock}\nours:\n{ours}");
    assert_eq!(stock.lines().count(), ours.lines().count());
}

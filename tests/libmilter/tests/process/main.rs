//! The library around connections: what comes before `smfi_main`, signals, timeouts, many connections at a time.

mod globals;
mod parallel;
mod signals;

use std::process::Command;

use tamis_libmilter_tests::library::Library;

/// The functions of the interface that a library exports.
fn exports(library: Library) -> Vec<String> {
    let output = Command::new("nm").args(["--dynamic", "--defined-only"]).arg(library.file()).output();
    let output =
        output.unwrap_or_else(|error| panic!("nm cannot be run ({error}): it comes with a C compiler"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let names = text.lines().filter_map(|line| line.split_ascii_whitespace().last());
    names.filter(|name| name.starts_with("smfi_")).map(str::to_owned).collect()
}

#[test]
fn the_same_functions_are_exported() {
    let [mut stock, mut ours] = Library::ALL.map(exports);
    // The stock library exports some of its own besides.
    stock.retain(|name| !name.starts_with("smfi_str"));
    stock.sort();
    ours.sort();
    assert_eq!(stock, ours);
}

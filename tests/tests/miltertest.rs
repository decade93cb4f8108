//! Debian's `miltertest` against the built `tamis serve`: an MTA side that nobody here has written.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tamis_interop::port;
use tamis_interop::program::Served;

#[test]
fn every_script() {
    let version = Command::new("miltertest").arg("-V").output();
    assert!(
        version.is_ok(),
        "miltertest is not installed, and this test is about it: apt-get install miltertest"
    );
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("miltertest");
    let mut scripts: Vec<PathBuf> =
        fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    scripts.retain(|path| {
        path.extension().is_some_and(|extension| extension == "lua") && !path.ends_with("run.lua")
    });
    scripts.sort();
    assert!(!scripts.is_empty(), "no scripts in {}", folder.display());

    // One program for all scripts: what one of them leaves behind, another may stumble over.
    let address = port::free();
    let _program = Served::start(address, &["--add-header", "X-Tamis: {i}"]);
    let mut failures = String::new();
    for script in scripts {
        let name = script.file_stem().unwrap().to_str().unwrap();
        let output = Command::new("miltertest")
            .arg("-D")
            .arg(format!("port={}", address.port()))
            .arg("-D")
            .arg(format!("folder={}", folder.display()))
            .arg("-D")
            .arg(format!("script={name}"))
            .arg("-s")
            .arg(folder.join("run.lua"))
            .output()
            .unwrap();
        if !output.status.success() {
            let said = [output.stdout, output.stderr].concat();
            writeln!(failures, "{name}.lua: {}\n{}", output.status, String::from_utf8_lossy(&said)).unwrap();
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

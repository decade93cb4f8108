//! Every attack against the `tamis serve` of this workspace.

use std::env;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;
use tamis_hostile::{attack, campaign, process};

#[test]
fn a_server_survives_every_attack_and_is_as_before() {
    process::raise_open_files().unwrap();
    let survived = campaign::run(&build(), &attack::all(), |outcome| {
        let (before, after) = (outcome.usage.0.resident >> 10, outcome.usage.1.resident >> 10);
        eprintln!("{}: {:.1} s, memory {before} -> {after} KiB", outcome.name, outcome.time.as_secs_f64());
        if let Err(error) = &outcome.result {
            eprintln!("  FAILED: {error:#}");
        }
    });
    assert!(survived.unwrap(), "the attacks that failed are above");
}

/// Builds the program as it is now: cargo builds no other package's program for a test.
fn build() -> PathBuf {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let options = "build --quiet --package tamis-cli --bin tamis --message-format=json-render-diagnostics";
    let mut command = Command::new(cargo);
    command.args(options.split(' ')).current_dir(env!("CARGO_MANIFEST_DIR")).stderr(Stdio::inherit());
    let output = command.output().expect("cargo runs this test, so it can be run");
    assert!(output.status.success(), "the tamis program does not build");
    let messages = output.stdout.split(|byte| *byte == b'\n');
    let mut messages = messages.filter_map(|line| serde_json::from_slice::<Value>(line).ok());
    messages
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .expect("cargo names the program")
}

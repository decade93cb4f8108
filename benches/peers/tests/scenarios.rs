//! Every peer that needs nothing but this workspace does what each scenario says.

use std::process::{Child, Command};

use tamis_peers::Scenario;
use tamis_peers::check::check;
use tempfile::TempDir;

#[tokio::test]
async fn floor_does_every_scenario() {
    does_every_scenario(env!("CARGO_BIN_EXE_floor")).await;
}

#[tokio::test]
async fn floor_on_tokio_does_every_scenario() {
    does_every_scenario(env!("CARGO_BIN_EXE_floor-tokio")).await;
}

#[tokio::test]
async fn filter_of_handlers_does_every_scenario() {
    does_every_scenario(env!("CARGO_BIN_EXE_tamis-handlers")).await;
}

#[tokio::test]
async fn filter_function_does_every_scenario() {
    does_every_scenario(env!("CARGO_BIN_EXE_tamis-linear")).await;
}

#[tokio::test]
async fn chains_do_what_one_filter_does_in_each_way_to_run_them() {
    for (scenario, word) in [(Scenario::Answered, "answered"), (Scenario::NoReply, "no-reply")] {
        for way in ["", ":parallel", ":pipeline", ":parallel:async", ":pipeline:async"] {
            for count in ["1", "5"] {
                let peer = Peer::run(env!("CARGO_BIN_EXE_tamis-chain"), &[count], &format!("{word}{way}"));
                if let Err(error) = check(&peer.socket, scenario).await {
                    panic!("{count} filters, {word}{way}: {error}");
                }
            }
        }
    }
}

#[cfg(feature = "others")]
#[tokio::test]
async fn miltr_does_the_scenarios_it_can() {
    for scenario in Scenario::ALL {
        if !matches!(scenario, Scenario::NoReply | Scenario::Replace25Spool) {
            does(env!("CARGO_BIN_EXE_miltr"), scenario).await;
        }
    }
}

/// The check itself can fail.
#[tokio::test]
async fn peer_of_another_scenario_is_noticed() {
    for (served, checked) in [
        (Scenario::Answered, Scenario::NoReply),
        (Scenario::NoReply, Scenario::Answered),
        (Scenario::Answered, Scenario::Header),
        (Scenario::Answered, Scenario::Footer),
        (Scenario::Answered, Scenario::Wait50),
        (Scenario::Header, Scenario::Look),
        (Scenario::Footer, Scenario::Answered),
    ] {
        let peer = Peer::start(env!("CARGO_BIN_EXE_floor"), served);
        let checked_as = check(&peer.socket, checked).await;
        assert!(checked_as.is_err(), "{} passed for {}", served.name(), checked.name());
    }
}

async fn does_every_scenario(program: &str) {
    for scenario in Scenario::ALL {
        does(program, scenario).await;
    }
}

async fn does(program: &str, scenario: Scenario) {
    let peer = Peer::start(program, scenario);
    if let Err(error) = check(&peer.socket, scenario).await {
        panic!("{program} {}: {error}", scenario.name());
    }
}

/// A peer that runs; ended when dropped.
struct Peer {
    child: Child,
    socket: String,
    _folder: TempDir,
}

impl Peer {
    fn start(program: &str, scenario: Scenario) -> Self {
        Self::run(program, &[], scenario.name())
    }

    fn run(program: &str, first: &[&str], task: &str) -> Self {
        let folder = tempfile::tempdir().expect("there is room for a socket");
        let socket = folder.path().join("s").to_str().expect("the folder's name is text").to_owned();
        let child = Command::new(program).args(first).args([&socket, task]).spawn().expect("it was built");
        Self { child, socket, _folder: folder }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

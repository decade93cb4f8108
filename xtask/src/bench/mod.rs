//! `cargo xtask bench-peers`: Tamis side by side with other milter libraries and with the least there is to do.
//!
//! A server has one CPU and the load generator another. Peers take turns, A B C A B C, each time started anew, and
//! checked with a few messages before they are measured. What is printed are medians and ratios of one run: another
//! machine, or another hour, has other times.

mod budget;
mod count;
mod growth;
mod machine;
mod peer;
mod run;
mod scenario;
mod table;

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Result, bail};
use clap::Args;

use crate::packages;
use count::Counts;
use peer::{Built, Peer};
use run::{Bench, Sample};
use scenario::{Load, Scenario, Unit};
use table::{Row, Table};

#[derive(Args)]
pub(crate) struct Options {
    /// Run this scenario only (may be repeated).
    #[arg(long, value_name = "NAME")]
    scenario: Vec<String>,

    /// Run this peer only, beside the floors (may be repeated).
    #[arg(long, value_name = "NAME")]
    peer: Vec<String>,

    /// How often each peer is measured in each scenario.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,

    /// Measures briefly and once, and counts nothing: a look, no result.
    #[arg(long, conflicts_with = "repeat")]
    quick: bool,

    /// Measures how cost grows, instead of the scenarios: with connections, body, header fields, recipients.
    #[arg(long, conflicts_with = "scenario")]
    growth: bool,
}

/// Describes peers and scenarios for `--help`.
pub(crate) fn help() -> String {
    let mut text = String::from("Peers:\n");
    // Writing to a string cannot fail.
    for peer in &peer::ALL {
        let _ = writeln!(text, "  {:<21} {}", peer.name, peer.about);
    }
    text.push_str("\nScenarios:\n");
    for scenario in &scenario::ALL {
        let _ = writeln!(text, "  {:<21} {}", scenario.name, scenario.title);
    }
    text.push_str(
        "
On Debian and its relatives, as root, it installs what is missing of gcc, libmilter-dev and python3-milter; where that
cannot be, the peers that need them are left out. Tables go to standard output as Markdown, progress to standard error.
What the numbers mean, and what came of it: docs/performance.md.

Examples:
  cargo xtask bench-peers
  cargo xtask bench-peers --scenario answered --scenario no-reply --repeat 5
  cargo xtask bench-peers --peer tamis-handlers --quick
  cargo xtask bench-peers --growth",
    );
    text
}

/// Builds, measures and prints.
pub(crate) fn run(root: &Path, options: &Options) -> Result<()> {
    let scenarios = options.scenarios()?;
    options.check_peers()?;
    packages::setup_peers()?;
    let (built, there) = Built::all(root)?;
    let peers: Vec<_> = there.into_iter().filter(|peer| options.wants(peer)).collect();
    let bench = Bench::new(root, built)?;
    println!("{}\n", machine::line(root));
    if options.growth {
        return growth::run(&bench, &peers, options.rounds());
    }
    let mut tables = Vec::new();
    for scenario in scenarios {
        let takes_part = |peer: &&Peer| scenario.task(peer).is_some();
        let peers: Vec<_> = peers.iter().copied().filter(takes_part).collect();
        if !scenario.is_about(&peers) {
            continue;
        }
        let table = measure(&bench, scenario, &peers, options)?;
        println!("{}", table.markdown());
        tables.push(table);
    }
    if let Some(report) = budget::report(&tables) {
        println!("{report}");
    }
    Ok(())
}

/// Measures a scenario, all peers in turn, and counts in the end.
fn measure(
    bench: &Bench,
    scenario: &'static Scenario,
    peers: &[&'static Peer],
    options: &Options,
) -> Result<Table> {
    let load = if options.quick { scenario.load.brief() } else { scenario.load };
    let task = |peer: &Peer| scenario.task(peer).expect("peers were chosen by this");
    let samples = interleaved(bench, scenario.name, options.rounds(), peers, |peer| (task(peer), load))?;
    let mut rows = Vec::new();
    for (&peer, sample) in peers.iter().zip(samples) {
        let counts = if options.quick || scenario.unit == Unit::IdleConnection {
            Counts::default()
        } else {
            eprintln!("    {}: counting, {}", scenario.name, peer.name);
            Counts::of(bench, peer, task(peer), &load)?
        };
        rows.push(Row { peer, sample, counts });
    }
    Ok(Table { scenario, rows })
}

/// Measures peers in turn, and returns the medians.
fn interleaved(
    bench: &Bench,
    name: &str,
    rounds: u32,
    peers: &[&'static Peer],
    what: impl Fn(&'static Peer) -> (&'static str, Load),
) -> Result<Vec<Sample>> {
    let mut samples = vec![Vec::new(); peers.len()];
    for round in 1..=rounds {
        for (&peer, samples) in peers.iter().zip(&mut samples) {
            let (task, load) = what(peer);
            let sample = bench.start(peer, task, &[])?.measure(&load)?;
            eprintln!("    {name} {round}/{rounds}: {} {} µs/message", peer.name, table::number(sample.cpu));
            samples.push(sample);
        }
    }
    Ok(samples.iter().map(|samples| Sample::median(samples)).collect())
}

impl Options {
    fn rounds(&self) -> u32 {
        if self.quick { 1 } else { self.repeat }
    }

    fn scenarios(&self) -> Result<Vec<&'static Scenario>> {
        let known = |name: &String| scenario::ALL.iter().any(|scenario| scenario.name == name);
        if let Some(unknown) = self.scenario.iter().find(|name| !known(name)) {
            let names = scenario::ALL.map(|scenario| scenario.name).join(", ");
            bail!("there is no scenario {unknown:?}; there are {names}");
        }
        let wanted = |scenario: &&Scenario| {
            self.scenario.is_empty() || self.scenario.iter().any(|name| name == scenario.name)
        };
        Ok(scenario::ALL.iter().filter(wanted).collect())
    }

    fn check_peers(&self) -> Result<()> {
        let known = |name: &String| peer::ALL.iter().any(|peer| peer.name == name);
        if let Some(unknown) = self.peer.iter().find(|name| !known(name)) {
            let names = peer::ALL.map(|peer| peer.name).join(", ");
            bail!("there is no peer {unknown:?}; there are {names}");
        }
        Ok(())
    }

    /// Ratios need the floors.
    fn wants(&self, peer: &Peer) -> bool {
        self.peer.is_empty() || peer.is_floor() || self.peer.iter().any(|name| name == peer.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(scenario: &[&str], peer: &[&str]) -> Options {
        let owned = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        Options { scenario: owned(scenario), peer: owned(peer), repeat: 3, quick: false, growth: false }
    }

    #[test]
    fn only_known_scenarios_and_peers_can_be_chosen() {
        assert_eq!(options(&[], &[]).scenarios().unwrap().len(), scenario::ALL.len());
        assert_eq!(options(&["look"], &[]).scenarios().unwrap()[0].name, "look");
        let error = options(&["lok"], &[]).scenarios().unwrap_err().to_string();
        assert!(error.starts_with("there is no scenario \"lok\"; there are answered, "), "{error}");
        let error = options(&[], &["flor"]).check_peers().unwrap_err().to_string();
        assert!(error.starts_with("there is no peer \"flor\"; there are floor, "), "{error}");
    }

    #[test]
    fn floors_always_run() {
        let options = options(&[], &["miltr"]);
        let names = peer::ALL.iter().filter(|peer| options.wants(peer)).map(|peer| peer.name);
        assert_eq!(names.collect::<Vec<_>>(), [peer::FLOOR, peer::FLOOR_TOKIO, peer::MILTR]);
    }

    #[test]
    fn help_names_every_peer_and_scenario() {
        let help = help();
        let names =
            peer::ALL.iter().map(|peer| peer.name).chain(scenario::ALL.iter().map(|scenario| scenario.name));
        for name in names {
            assert!(help.contains(&format!("\n  {name} ")), "{name}");
        }
    }
}

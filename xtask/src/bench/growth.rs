//! How cost grows with connections, body, header fields and recipients: linear is what is wanted, or better.

use anyhow::Result;

use super::interleaved;
use super::peer::{FLOOR, HANDLERS, LIBMILTER, LINEAR, MILTR, Peer};
use super::run::{Bench, Sample};
use super::scenario::{Growth, growth};
use super::table::{markdown, megabytes_per_cpu_second, number};

/// Whom it is shown for.
const SHOWN: [&str; 5] = [FLOOR, HANDLERS, LINEAR, MILTR, LIBMILTER];

/// Measures and prints a table for each.
pub(crate) fn run(bench: &Bench, peers: &[&'static Peer], rounds: u32) -> Result<()> {
    let peers: Vec<_> = peers.iter().copied().filter(|peer| SHOWN.contains(&peer.name)).collect();
    for growth in growth() {
        let mut rows = Vec::new();
        for (step, load) in &growth.steps {
            let name = format!("{} {step}", growth.name);
            let samples = interleaved(bench, &name, rounds, &peers, |_| (growth.task, *load))?;
            let cells = samples.iter().map(|sample| growth.cell(sample));
            rows.push(std::iter::once((*step).to_owned()).chain(cells).collect());
        }
        let names = peers.iter().map(|peer| peer.name.to_owned());
        let head: Vec<_> = std::iter::once(growth.name.to_owned()).chain(names).collect();
        println!("### {}\n\n{}", growth.heading(), markdown(1.., &head, rows));
    }
    Ok(())
}

impl Growth {
    fn heading(&self) -> String {
        format!("{}, CPU µs/message", self.title)
    }

    fn cell(&self, sample: &Sample) -> String {
        let cpu = number(sample.cpu);
        if self.name == "body" {
            return format!("{cpu} ({} MB/s)", number(megabytes_per_cpu_second(sample)));
        }
        cpu
    }
}

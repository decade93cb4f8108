//! The report for people.

use std::fmt::Write;

use super::Results;
use crate::bench::Args;

pub(in crate::bench) fn report(args: &Args, results: &Results) -> String {
    let mut text = String::new();
    let tally = &results.tally;
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<12} {value}");
    };
    line("filter", format!("{}: {}", args.to, results.negotiated));
    line(
        "messages",
        format!(
            "{} in {:.2} s: {:.0}/s, {:.1} MB/s",
            tally.messages,
            results.elapsed.as_secs_f64(),
            results.messages_per_second(),
            results.megabytes_per_second()
        ),
    );
    let quantiles = [("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99), ("p99.9", 0.999)];
    let mut latency = String::new();
    for (name, share) in quantiles {
        let _ = write!(latency, "{name} {:.0}  ", results.quantile(share));
    }
    line("latency µs", format!("{latency}max {:.0}", tally.latency.max() as f64 / 1e3));
    let list = |counts: &[(&str, u64)]| {
        let words: Vec<_> = counts.iter().map(|(name, count)| format!("{count} {name}")).collect();
        if words.is_empty() { "none".to_owned() } else { words.join(", ") }
    };
    line("verdicts", list(tally.verdicts()));
    line("edits", list(tally.edits()));
    let errors: Vec<_> =
        tally.errors.iter().map(|(kind, failures)| (kind.as_str(), failures.count)).collect();
    line("errors", list(&errors));
    for (kind, failures) in &tally.errors {
        line("", format!("first {kind}: {}", failures.first));
    }
    line("client CPU", format!("{:.1} µs for each message", results.per_message(results.client.all())));
    if let Some(server) = &results.server {
        line(
            "filter CPU",
            format!(
                "{:.1} µs for each message ({:.1} user, {:.1} system)",
                results.per_message(server.spent.all()),
                results.per_message(server.spent.user),
                results.per_message(server.spent.system)
            ),
        );
        line(
            "filter",
            format!(
                "{} threads, {} KiB resident, {} KiB at most",
                server.usage.threads, server.usage.resident_kib, server.usage.peak_resident_kib
            ),
        );
        if let Some(idle) = server.idle {
            line("idle", format!("{} connections, {idle:.0} bytes resident each", args.idle));
        }
    }
    text
}

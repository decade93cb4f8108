//! The report for people.

use super::{Ending, Results, Server};
use crate::bench::Args;

pub(in crate::bench) fn report(args: &Args, results: &Results) -> String {
    let mut report = Report(String::new());
    let (agreed, tally) = (&results.agreement, &results.tally);
    report.line("filter", &format!("{}, as {}: version {}", args.to, args.mta.name(), agreed.version));
    report.line("", &format!("steps {}", agreed.steps));
    report.line("messages", &amount(results));
    if results.missed > 0 {
        let missed = format!("{} more were due while all connections were busy", results.missed);
        report.line("", &missed);
    }
    report.line("latency", &latency(results));
    report.line("verdicts", &list(tally.verdicts()));
    if tally.refused_recipients > 0 {
        report.line("", &format!("{} recipients refused", tally.refused_recipients));
    }
    report.line("edits", &list(tally.edits()));
    if let Some((compared, mismatches)) = results.check {
        report.line("check", &format!("{compared} messages compared with the first, {mismatches} differ"));
    }
    let errors: Vec<_> = tally.errors.iter().map(|(kind, failures)| (&**kind, failures.count)).collect();
    report.line("errors", &list(&errors));
    for (kind, failures) in &tally.errors {
        report.line("", &format!("{kind}: {}", failures.first));
    }
    report.line(
        "client",
        &format!("{:.1} µs of CPU for each message", results.per_message(results.client.all())),
    );
    if let Some(server) = &results.server {
        process(&mut report, args, results, server);
    }
    match results.ending {
        Ending::Done => {}
        Ending::Interrupted => report.line("interrupted", "this is what was measured until then"),
        Ending::GivenUp => report.line("given up", "there were failures and no message between them"),
    }
    report.0
}

fn process(report: &mut Report, args: &Args, results: &Results, server: &Server) {
    let each = |microseconds| results.per_message(microseconds);
    let spent = server.spent;
    report.line(
        "server",
        &format!(
            "{:.1} µs of CPU for each message: {:.1} user, {:.1} system",
            each(spent.all()),
            each(spent.user),
            each(spent.system)
        ),
    );
    let usage = &server.usage;
    let (resident, peak) = (mib(usage.resident_kib), mib(usage.peak_resident_kib));
    report.line("", &format!("{} threads, {resident} resident, {peak} at most", usage.threads));
    if let Some(idle) = server.idle {
        report
            .line("", &format!("{idle:.0} bytes resident for each of {} idle connections", args.amount.idle));
    }
}

fn amount(results: &Results) -> String {
    format!(
        "{} in {:.2} s over {} connections: {:.0}/s, {:.1} MB/s",
        results.tally.messages,
        results.elapsed.as_secs_f64(),
        results.tally.connections,
        results.messages_per_second(),
        results.megabytes_per_second()
    )
}

fn latency(results: &Results) -> String {
    let all = &results.tally.latency;
    if all.is_empty() {
        return "none".to_owned();
    }
    let quantiles = [("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99), ("p99.9", 0.999)];
    let mut words: Vec<_> =
        quantiles.iter().map(|(name, share)| format!("{name} {}", time(results.quantile(*share)))).collect();
    words.push(format!("max {}", time(all.max() as f64 / 1e3)));
    words.join(", ")
}

/// Microseconds with a unit that suits.
fn time(microseconds: f64) -> String {
    match microseconds {
        us if us < 1_000.0 => format!("{us:.0} µs"),
        us if us < 100_000.0 => format!("{:.1} ms", us / 1e3),
        us if us < 1_000_000.0 => format!("{:.0} ms", us / 1e3),
        us => format!("{:.2} s", us / 1e6),
    }
}

fn mib(kib: u64) -> String {
    format!("{:.1} MiB", kib as f64 / 1024.0)
}

fn list(counts: &[(&str, u64)]) -> String {
    let words: Vec<_> = counts.iter().map(|(name, count)| format!("{count} {name}")).collect();
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}

/// Lines with a name in front.
struct Report(String);

impl Report {
    fn line(&mut self, name: &str, text: &str) {
        use std::fmt::Write;
        let _ = writeln!(self.0, "{name:<10} {text}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_unit_that_suits() {
        let times = [0.4, 712.2, 1_234.0, 99_940.0, 123_456.0, 12_345_678.0].map(time);
        assert_eq!(times, ["0 µs", "712 µs", "1.2 ms", "99.9 ms", "123 ms", "12.35 s"]);
    }
}

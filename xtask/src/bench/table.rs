//! What was measured, as Markdown.

use std::fmt::Write as _;
use std::ops::RangeBounds;

use super::count::Counts;
use super::peer::{FLOOR, FLOOR_TOKIO, HANDLERS, Peer};
use super::run::Sample;
use super::scenario::{Scenario, Unit};

/// A peer in a scenario: medians.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) peer: &'static Peer,
    pub(crate) sample: Sample,
    pub(crate) counts: Counts,
}

/// A scenario, with every peer that took part.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) scenario: &'static Scenario,
    pub(crate) rows: Vec<Row>,
}

impl Table {
    pub(crate) fn row(&self, peer: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.peer.name == peer)
    }

    pub(crate) fn markdown(&self) -> String {
        let body = match self.scenario.unit {
            Unit::Message => self.of_messages(),
            Unit::Body => self.of_bodies(),
            Unit::IdleConnection => self.of_idle_connections(),
            Unit::AddedFilter => self.of_chains(),
        };
        format!("### {}\n\n{body}", self.scenario.title)
    }

    fn of_messages(&self) -> String {
        let head = [
            "`{name}`",
            "CPU µs/message",
            "in user space",
            "× floor",
            "× floor-tokio",
            "messages/s",
            "p50 ms",
            "p99 ms",
            "resident MiB",
            "system calls",
            "allocations",
        ];
        let rows = self.rows.iter().map(|row| {
            let Row { sample, counts, .. } = row;
            vec![
                number(sample.cpu),
                number(sample.user),
                self.times(row, FLOOR),
                self.times(row, FLOOR_TOKIO),
                number(sample.rate),
                number(sample.p50 / 1e3),
                number(sample.p99 / 1e3),
                number(sample.resident / 1024.0),
                optional(counts.system_calls),
                optional(counts.allocations),
            ]
        });
        self.with_names(&head, rows)
    }

    fn of_bodies(&self) -> String {
        let head = [
            "`{name}`",
            "CPU ms/message",
            "in user space",
            "× floor",
            "MB per CPU second",
            "MB/s",
            "resident MiB",
            "system calls",
            "allocations",
        ];
        let rows = self.rows.iter().map(|row| {
            let Row { sample, counts, .. } = row;
            vec![
                number(sample.cpu / 1e3),
                number(sample.user / 1e3),
                self.times(row, FLOOR),
                number(megabytes_per_cpu_second(sample)),
                number(sample.megabytes),
                number(sample.resident / 1024.0),
                optional(counts.system_calls),
                optional(counts.allocations),
            ]
        });
        self.with_names(&head, rows)
    }

    fn of_idle_connections(&self) -> String {
        let head = [
            "`{name}`",
            "KiB per idle connection",
            "resident MiB",
            "CPU µs/message of 10 busy ones",
            "× floor",
        ];
        let rows = self.rows.iter().map(|row| {
            vec![
                optional(row.sample.idle.map(|bytes| bytes / 1024.0)),
                number(row.sample.resident / 1024.0),
                number(row.sample.cpu),
                self.times(row, FLOOR),
            ]
        });
        self.with_names(&head, rows)
    }

    fn of_chains(&self) -> String {
        let head = [
            "`{name}`",
            "CPU µs/message",
            "in user space",
            "× tamis-handlers",
            "each filter more, µs",
            "in % of tamis-handlers",
            "messages/s",
            "p99 ms",
            "system calls",
            "allocations",
        ];
        let rows = self.rows.iter().map(|row| {
            let Row { sample, counts, .. } = row;
            let more = self.added_filter(row);
            let one = self.row(HANDLERS).map(|one| one.sample.cpu);
            vec![
                number(sample.cpu),
                number(sample.user),
                self.times(row, HANDLERS),
                optional(more),
                optional(more.zip(one).map(|(more, one)| more / one * 100.0)),
                number(sample.rate),
                number(sample.p99 / 1e3),
                optional(counts.system_calls),
                optional(counts.allocations),
            ]
        });
        self.with_names(&head, rows)
    }

    /// CPU time of each filter that a chain has more than the shortest one.
    pub(crate) fn added_filter(&self, row: &Row) -> Option<f64> {
        let chains = self.rows.iter().filter_map(|row| Some((row.peer.filters()?, row.sample.cpu)));
        let (fewest, least) = chains.min_by(|a, b| a.0.total_cmp(&b.0))?;
        let more = row.peer.filters()? - fewest;
        (more > 0.0).then(|| (row.sample.cpu - least) / more)
    }

    /// CPU time compared with that of another.
    fn times(&self, row: &Row, other: &str) -> String {
        optional(self.row(other).map(|other| row.sample.cpu / other.sample.cpu))
    }

    fn with_names(&self, head: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
        let head = head.iter().map(|cell| cell.replace("`{name}`", self.scenario.name));
        let rows =
            self.rows.iter().zip(rows).map(|(row, cells)| {
                std::iter::once(row.peer.name.to_owned()).chain(cells).collect::<Vec<_>>()
            });
        markdown(1.., &head.collect::<Vec<_>>(), rows)
    }
}

/// Megabytes, with those of the header, that go through in a second of CPU time.
pub(crate) fn megabytes_per_cpu_second(sample: &Sample) -> f64 {
    sample.megabytes / sample.rate / sample.cpu * 1e6
}

/// A table whose columns in a range hold numbers, and text everywhere else.
pub(crate) fn markdown(
    numbers: impl RangeBounds<usize>,
    head: &[String],
    rows: impl IntoIterator<Item = Vec<String>>,
) -> String {
    let mut text = String::new();
    let mut line = |cells: &[String]| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    };
    line(head);
    let align = |at| if numbers.contains(&at) { "---:" } else { "---" }.to_owned();
    line(&(0..head.len()).map(align).collect::<Vec<_>>());
    rows.into_iter().for_each(|row| line(&row));
    text
}

/// Shows three digits that mean something.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        size if !size.is_finite() => "–".into(),
        size if size < 9.995 => format!("{value:.2}"),
        size if size < 99.95 => format!("{value:.1}"),
        _ => grouped(value),
    }
}

fn optional(value: Option<f64>) -> String {
    value.map_or_else(|| "–".into(), number)
}

/// Whole numbers with a comma before each three digits.
fn grouped(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::from(if value < 0.0 { "-" } else { "" });
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_or_all_before_the_point() {
        let shown = [0.5, 9.994, 9.996, 99.94, 99.96, 1_234.4, 1_234_567.0].map(number);
        assert_eq!(shown, ["0.50", "9.99", "10.0", "99.9", "100", "1,234", "1,234,567"]);
        assert_eq!(number(f64::NAN), "–");
    }

    #[test]
    fn chains_are_compared_with_the_shortest_one_and_with_a_filter_alone() {
        let row = |name: &str, cpu| Row {
            peer: super::super::peer::ALL.iter().find(|peer| peer.name == name).unwrap(),
            sample: Sample { cpu, ..Sample::default() },
            counts: Counts::default(),
        };
        let scenario = &super::super::scenario::ALL;
        let scenario = scenario.iter().find(|scenario| scenario.unit == Unit::AddedFilter).unwrap();
        let rows = vec![row(HANDLERS, 50.0), row("tamis-chain-1", 60.0), row("tamis-chain-5", 68.0)];
        let table = Table { scenario, rows }.markdown();
        assert!(table.contains("| tamis-chain-1 | 60.0 | 0.00 | 1.20 | – | – |"), "{table}");
        assert!(table.contains("| tamis-chain-5 | 68.0 | 0.00 | 1.36 | 2.00 | 4.00 |"), "{table}");
    }

    #[test]
    fn numbers_are_aligned_to_the_right() {
        let text = markdown(1.., &["peer".into(), "µs".into()], [vec!["floor".into(), "52.1".into()]]);
        assert_eq!(text, "| peer | µs |\n| --- | ---: |\n| floor | 52.1 |\n");
    }
}

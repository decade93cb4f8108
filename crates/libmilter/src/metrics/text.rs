//! Figures as Prometheus reads them.

use std::fmt::{self, Write};

use super::{ANSWERS, BUCKETS, CALLBACKS, Callback, Counter, EDITS, Metrics, Reason};

/// What is not counted but looked up.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Gauges {
    pub(crate) threads: usize,
    pub(crate) threads_busy: usize,
    pub(crate) threads_bound: usize,
}

impl Metrics {
    /// Writes everything out, for the filter of this name.
    pub(super) fn text(&self, filter: &str, gauges: Gauges) -> String {
        let mut out = String::new();
        self.write(&mut out, &label(filter), gauges).expect("a string takes everything");
        out
    }

    fn write(&self, out: &mut String, filter: &str, gauges: Gauges) -> fmt::Result {
        let mut one = |name: &str, kind: &str, help: &str, value: u64| {
            head(out, name, kind, help)?;
            writeln!(out, "tamis_libmilter_{name}{{filter=\"{filter}\"}} {value}")
        };
        let (opened, closed) = (self.connections.get(), self.connections_closed.get());
        one("connections_total", "counter", "Connections of MTAs.", opened)?;
        one("connections_open", "gauge", "Connections that are open.", opened.saturating_sub(closed))?;
        one("received_bytes_total", "counter", "Bytes from MTAs.", self.bytes_received.get())?;
        one("sent_bytes_total", "counter", "Bytes to MTAs.", self.bytes_sent.get())?;
        one("threads", "gauge", "Threads of the pool.", gauges.threads as u64)?;
        one("threads_busy", "gauge", "Threads that have a connection.", gauges.threads_busy as u64)?;
        one("threads_limit", "gauge", "Most threads there may be.", gauges.threads_bound as u64)?;
        head(out, "connections_lost_total", "counter", "Connections that ended otherwise than by the MTA.")?;
        for (reason, counter) in Reason::ALL.into_iter().zip(&self.lost) {
            let (name, value) = (reason.name(), counter.get());
            writeln!(
                out,
                "tamis_libmilter_connections_lost_total{{filter=\"{filter}\",reason=\"{name}\"}} {value}"
            )?;
        }
        head(out, "edits_total", "counter", "Modifications that the filter asked for.")?;
        for (name, counter) in EDITS.iter().zip(&self.edits) {
            let value = counter.get();
            writeln!(out, "tamis_libmilter_edits_total{{filter=\"{filter}\",edit=\"{name}\"}} {value}")?;
        }
        self.write_answers(out, filter)?;
        self.write_durations(out, filter)
    }

    fn write_answers(&self, out: &mut String, filter: &str) -> fmt::Result {
        head(out, "answers_total", "counter", "What callbacks returned.")?;
        for (name, callback) in CALLBACKS.iter().zip(&self.callbacks) {
            for (answer, counter) in ANSWERS.iter().zip(&callback.answers) {
                let value = counter.get();
                if value > 0 {
                    writeln!(
                        out,
                        "tamis_libmilter_answers_total{{filter=\"{filter}\",callback=\"{name}\",answer=\"{answer}\"}} \
                         {value}"
                    )?;
                }
            }
        }
        Ok(())
    }

    fn write_durations(&self, out: &mut String, filter: &str) -> fmt::Result {
        head(out, "callback_seconds", "histogram", "How long callbacks took.")?;
        let called = |callback: &Callback| callback.durations.iter().any(|counter| counter.get() > 0);
        for (name, callback) in CALLBACKS.iter().zip(&self.callbacks).filter(|(_, callback)| called(callback))
        {
            let labels = format!("filter=\"{filter}\",callback=\"{name}\"");
            let mut sum = 0;
            for (bound, counter) in BUCKETS.iter().zip(&callback.durations) {
                sum += counter.get();
                writeln!(
                    out,
                    "tamis_libmilter_callback_seconds_bucket{{{labels},le=\"{}\"}} {sum}",
                    Seconds(bound * 1000)
                )?;
            }
            sum += callback.durations.last().map_or(0, Counter::get);
            writeln!(out, "tamis_libmilter_callback_seconds_bucket{{{labels},le=\"+Inf\"}} {sum}")?;
            let seconds = Seconds(callback.nanoseconds.get());
            writeln!(out, "tamis_libmilter_callback_seconds_sum{{{labels}}} {seconds}")?;
            writeln!(out, "tamis_libmilter_callback_seconds_count{{{labels}}} {sum}")?;
        }
        Ok(())
    }
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) -> fmt::Result {
    writeln!(out, "# HELP tamis_libmilter_{name} {help}\n# TYPE tamis_libmilter_{name} {kind}")
}

/// Escapes a label's value.
fn label(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Nanoseconds as seconds.
struct Seconds(u64);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}.{:09}", self.0 / 1_000_000_000, self.0 % 1_000_000_000);
        f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn buckets_add_up_and_labels_are_escaped() {
        let metrics = Metrics::default();
        metrics.connections.add(3);
        metrics.connections_closed.add(1);
        for micros in [50, 700, 70_000_000] {
            metrics.call("xxfi_eom", 4, Duration::from_micros(micros));
        }
        let text = metrics.text("a\"b", Gauges { threads: 2, threads_busy: 1, threads_bound: 1024 });
        for line in [
            "tamis_libmilter_connections_total{filter=\"a\\\"b\"} 3",
            "tamis_libmilter_connections_open{filter=\"a\\\"b\"} 2",
            "tamis_libmilter_threads_limit{filter=\"a\\\"b\"} 1024",
            "tamis_libmilter_answers_total{filter=\"a\\\"b\",callback=\"eom\",answer=\"tempfail\"} 3",
            "tamis_libmilter_callback_seconds_bucket{filter=\"a\\\"b\",callback=\"eom\",le=\"0.0001\"} 1",
            "tamis_libmilter_callback_seconds_bucket{filter=\"a\\\"b\",callback=\"eom\",le=\"0.001\"} 2",
            "tamis_libmilter_callback_seconds_bucket{filter=\"a\\\"b\",callback=\"eom\",le=\"60\"} 2",
            "tamis_libmilter_callback_seconds_bucket{filter=\"a\\\"b\",callback=\"eom\",le=\"+Inf\"} 3",
            "tamis_libmilter_callback_seconds_sum{filter=\"a\\\"b\",callback=\"eom\"} 70.00075",
        ] {
            assert!(text.lines().any(|one| one == line), "{line}\n{text}");
        }
        assert!(!text.contains("envfrom"), "what was never called is left out: {text}");
    }

    #[test]
    fn every_family_is_described_before_its_first_value() {
        let text = Metrics::default().text("f", Gauges::default());
        let mut known = Vec::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                known.push(rest.split(' ').next().unwrap().to_owned());
            } else if !line.starts_with('#') {
                let name = line.split('{').next().unwrap();
                assert!(known.iter().any(|family| name.starts_with(family.as_str())), "{line}");
            }
        }
    }
}

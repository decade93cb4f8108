//! The report for programs.

use serde_json::{Map, Value, json};

use super::Results;
use crate::bench::Args;

pub(in crate::bench) fn report(args: &Args, results: &Results) -> Vec<u8> {
    let tally = &results.tally;
    let latency = &tally.latency;
    let counts = |counts: &[(&'static str, u64)]| -> Map<String, Value> {
        counts.iter().map(|(name, count)| ((*name).to_owned(), json!(count))).collect()
    };
    let mut object = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "settings": args.settings(),
        "negotiated": results.negotiated,
        "messages": tally.messages,
        "seconds": rounded(results.elapsed.as_secs_f64(), 6),
        "messages_per_second": rounded(results.messages_per_second(), 1),
        "megabytes_per_second": rounded(results.megabytes_per_second(), 3),
        "latency_us": {
            "min": rounded(latency.min() as f64 / 1e3, 1),
            "p50": rounded(results.quantile(0.5), 1),
            "p90": rounded(results.quantile(0.9), 1),
            "p95": rounded(results.quantile(0.95), 1),
            "p99": rounded(results.quantile(0.99), 1),
            "p99_9": rounded(results.quantile(0.999), 1),
            "max": rounded(latency.max() as f64 / 1e3, 1),
            "mean": rounded(latency.mean() / 1e3, 1),
        },
        "verdicts": counts(tally.verdicts()),
        "edits": counts(tally.edits()),
        "refused_recipients": tally.refused_recipients,
        "connections": tally.connections,
        "errors": tally.errors.iter().map(|(kind, failures)| (kind.clone(), json!(failures.count))).collect::<Map<_, _>>(),
        "first_errors": tally.errors.iter().map(|(kind, failures)| (kind.clone(), json!(failures.first))).collect::<Map<_, _>>(),
        "client_cpu_us_per_message": rounded(results.per_message(results.client.all()), 3),
    });
    if let Some(server) = &results.server {
        object["server"] = json!({
            "pid": server.pid,
            "cpu_us_per_message": rounded(results.per_message(server.spent.all()), 3),
            "user_us_per_message": rounded(results.per_message(server.spent.user), 3),
            "system_us_per_message": rounded(results.per_message(server.spent.system), 3),
            "threads": server.usage.threads,
            "resident_kib": server.usage.resident_kib,
            "peak_resident_kib": server.usage.peak_resident_kib,
        });
        if let Some(idle) = server.idle {
            object["server"]["idle_bytes_per_connection"] = json!(rounded(idle, 1));
        }
    }
    line(&object)
}

pub(in crate::bench) fn error(text: &str) -> Vec<u8> {
    line(&json!({ "result": "failed", "exit_code": crate::exit::FAILED, "error": text }))
}

fn line(object: &Value) -> Vec<u8> {
    let mut line = serde_json::to_vec_pretty(object).expect("keys are strings");
    line.push(b'\n');
    line
}

fn rounded(number: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    (number * scale).round() / scale
}

//! The report for programs. Times are in microseconds but for `seconds`.

use serde_json::{Map, Value, json};

use super::{Results, Server};
use crate::bench::Args;
use crate::bench::tally::Failures;

pub(in crate::bench) fn report(args: &Args, results: &Results) -> Vec<u8> {
    let tally = &results.tally;
    let mut object = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "settings": settings(args),
        "ending": results.ending.name(),
        "agreement": {
            "version": results.agreement.version,
            "actions": results.agreement.actions.to_string(),
            "steps": results.agreement.steps.to_string(),
        },
        "messages": tally.messages,
        "connections": tally.connections,
        "seconds": rounded(results.elapsed.as_secs_f64(), 6),
        "messages_per_second": rounded(results.messages_per_second(), 1),
        "megabytes_per_second": rounded(results.megabytes_per_second(), 3),
        "latency_us": latency(results),
        "verdicts": counts(tally.verdicts()),
        "refused_recipients": tally.refused_recipients,
        "edits": counts(tally.edits()),
        "progress": tally.progress,
        "errors": by_kind(results, |failures| json!(failures.count)),
        "first_errors": by_kind(results, |failures| json!(failures.first)),
        "client_cpu_us_per_message": rounded(results.per_message(results.client.all()), 3),
        "client_user_us_per_message": rounded(results.per_message(results.client.user), 3),
        "server": results.server.as_ref().map(|server| self::server(results, server)),
    });
    if args.amount.rate.is_some() {
        object["missed"] = json!(results.missed);
    }
    if let Some((compared, mismatches)) = results.check {
        object["check"] = json!({ "messages": compared, "mismatches": mismatches });
    }
    line(&object)
}

pub(in crate::bench) fn error(text: &str, code: u8) -> Vec<u8> {
    line(&json!({ "result": "failed", "exit_code": code, "error": text }))
}

fn settings(args: &Args) -> Value {
    let (amount, message) = (&args.amount, &args.message);
    json!({
        "to": args.to.to_string(),
        "as": args.mta.name(),
        "connections": amount.connections,
        "messages": amount.messages,
        "seconds": amount.seconds.map(|time| time.as_secs_f64()),
        "per_connection": amount.per_connection,
        "rate": amount.rate,
        "idle": amount.idle,
        "warmup": amount.warm_up_messages(),
        "recipients": message.recipients,
        "headers": message.headers,
        "body": message.body,
        "check": args.check,
    })
}

fn latency(results: &Results) -> Value {
    let all = &results.tally.latency;
    let quantile = |share| rounded(results.quantile(share), 1);
    json!({
        "min": rounded(all.min() as f64 / 1e3, 1),
        "p50": quantile(0.5),
        "p90": quantile(0.9),
        "p95": quantile(0.95),
        "p99": quantile(0.99),
        "p99_9": quantile(0.999),
        "max": rounded(all.max() as f64 / 1e3, 1),
        "mean": rounded(all.mean() / 1e3, 1),
    })
}

fn server(results: &Results, server: &Server) -> Value {
    let each = |microseconds| rounded(results.per_message(microseconds), 3);
    let mut object = json!({
        "pid": server.pid,
        "cpu_us_per_message": each(server.spent.all()),
        "user_us_per_message": each(server.spent.user),
        "system_us_per_message": each(server.spent.system),
        "threads": server.usage.threads,
        "resident_kib": server.usage.resident_kib,
        "peak_resident_kib": server.usage.peak_resident_kib,
    });
    if let Some(idle) = server.idle {
        object["idle_bytes_per_connection"] = json!(rounded(idle, 1));
    }
    object
}

fn counts(counts: &[(&'static str, u64)]) -> Map<String, Value> {
    counts.iter().map(|(name, count)| ((*name).to_owned(), json!(count))).collect()
}

fn by_kind(results: &Results, show: impl Fn(&Failures) -> Value) -> Map<String, Value> {
    results.tally.errors.iter().map(|(kind, failures)| (kind.clone(), show(failures))).collect()
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

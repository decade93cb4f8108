//! What Prometheus reads.

use std::sync::Arc;
use std::time::Duration;

use tamis::chain::{Observer, OnFailure};
use tamis::remote::{Milter, RemoteOptions};
use tamis::testing::Mta;
use tamis::{Edit, Stage, Verdict};

use super::openmetrics::{Family, parse};
use super::{Configured, State, eventful, filter, member, members, passed, record, state};
use crate::admin::metrics::page;

/// The page, which must be as the format wants it.
fn read(state: &Arc<State>) -> (String, Vec<Family>) {
    let text = page(state);
    let families = parse(&text);
    (text, families)
}

/// Asserts that the page has these lines.
fn shows(state: &Arc<State>, lines: &str) {
    let (text, _) = read(state);
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        assert!(text.lines().any(|other| other == line), "{line}\n\n{text}");
    }
}

#[test]
fn a_daemon_that_has_done_nothing_has_a_page_that_can_be_read() {
    let state = Arc::new(State::new(10));
    shows(
        &state,
        r#"
        tamis_ready 0
        tamis_messages_total 0
        tamis_connections_open 0
        tamis_connections_total{result="accepted"} 0
        tamis_config_reloads_total{result="failed"} 0
        tamis_limits_exceeded_total{limit="idle-time"} 0
    "#,
    );
    shows(&state, concat!("tamis_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"));
    let (_, families) = read(&state);
    let start = families.iter().find(|family| family.name == "process_start_time_seconds").unwrap();
    assert!(start.value("", &[]).unwrap() > 1.7e9);
}

#[test]
fn verdicts_times_edits_and_failures_are_counted_by_filter() {
    let state = state(members());
    (0..3).for_each(|_| state.message(&passed("a")));
    state.message(&eventful());
    state.message(&record("b", None, vec![filter("access")]));
    shows(
        &state,
        r#"
        tamis_verdicts_total{stage="end-of-message",verdict="continue"} 3
        tamis_verdicts_total{stage="end-of-message",verdict="reject"} 1
        tamis_messages_given_up_total 1
        tamis_edit_conflicts_total 1
        tamis_history_records 5
        tamis_filter_verdicts_total{filter="access",dry_run="false",stage="end-of-message",verdict="reject"} 1
        tamis_filter_verdicts_total{filter="access",dry_run="false",stage="all",verdict="continue"} 4
        tamis_filter_verdicts_total{filter="trial",dry_run="true",stage="mail",verdict="discard"} 1
        tamis_filter_failures_total{filter="scan",dry_run="false"} 1
        tamis_filter_failures_total{filter="access",dry_run="false"} 0
        tamis_filter_edits_total{filter="access",dry_run="false",edit="change-header"} 1
        tamis_filter_edits_total{filter="trial",dry_run="true",edit="replace-body"} 1
        tamis_filter_duration_seconds_count{filter="access",dry_run="false"} 5
        tamis_filter_info{filter="scan",dry_run="false",type="milter",on_failure="accept"} 1
    "#,
    );
    // 12 µs, and once 1.5 ms.
    shows(
        &state,
        r#"
        tamis_filter_duration_seconds_bucket{le="0.00001",filter="access",dry_run="false"} 0
        tamis_filter_duration_seconds_bucket{le="0.000025",filter="access",dry_run="false"} 4
        tamis_filter_duration_seconds_bucket{le="0.001",filter="access",dry_run="false"} 4
        tamis_filter_duration_seconds_bucket{le="0.0025",filter="access",dry_run="false"} 5
        tamis_filter_duration_seconds_bucket{le="300.0",filter="access",dry_run="false"} 5
    "#,
    );
}

#[test]
fn every_metric_is_in_the_documentation() {
    let documentation = include_str!("../../../../../docs/monitoring.md");
    let state = state(members());
    let milters = vec![("scan".to_owned(), Milter::new("unix:/no/such/socket".parse().unwrap()))];
    state.configured(Configured { generation: 1, history: 100, filters: members(), milters });
    state.message(&eventful());
    for Family { name, kind, .. } in read(&state).1 {
        let suffix = match &*kind {
            "counter" => "_total",
            "info" => "_info",
            _ => "",
        };
        assert!(documentation.contains(&format!("`{name}{suffix}`")), "{name}{suffix}");
    }
}

#[test]
fn filters_that_were_not_asked_have_taken_no_time() {
    let state = state(members());
    let mut idle = filter("access");
    (idle.calls, idle.time) = (0, Duration::ZERO);
    state.message(&record("a", None, vec![idle]));
    shows(
        &state,
        r#"
        tamis_filter_duration_seconds_count{filter="access",dry_run="false"} 0
        tamis_filter_verdicts_total{filter="access",dry_run="false",stage="all",verdict="continue"} 0
    "#,
    );
}

#[test]
fn what_somebody_sends_makes_no_new_metrics() {
    let state = state(members());
    state.message(&passed("a"));
    state.message(&eventful());
    let samples = || read(&state).1.iter().map(|family| family.samples.len()).sum::<usize>();
    let before = samples();
    for number in 0..500 {
        let text = format!("x{number}");
        let mut other = filter(&text);
        other.failure = Some(("mail", text.clone()));
        let mut access = filter("access");
        access.verdict = Some((Stage::EndOfMessage, Verdict::reject("5.7.1", &text)));
        access.edits = vec![Edit::AddHeader { name: text.clone().into(), value: text.clone().into() }];
        state.message(&record(&text, access.verdict.clone(), vec![access, other]));
    }
    assert_eq!(samples(), before);
}

#[test]
fn names_with_quotes_and_backslashes_stay_what_they_are() {
    let name = "a \"quoted\\name\" ü{}";
    let state = state(vec![member(name, "policy", OnFailure::Tempfail)]);
    let (_, families) = read(&state);
    let failures = families.iter().find(|family| family.name == "tamis_filter_failures").unwrap();
    assert_eq!(failures.value("_total", &[("filter", name), ("dry_run", "false")]), Some(0.0));
}

#[test]
fn filters_that_stay_keep_their_counts_over_reloads() {
    let state = state(members());
    state.message(&passed("a"));
    state.reload_failed();
    shows(
        &state,
        r#"
        tamis_config_reloads_total{result="failed"} 1
        tamis_config_last_reload_successful 0
        tamis_config_generation 1
    "#,
    );
    // One is gone, one is new, one is in another place and one counts from now on.
    let mut filters = vec![member("new", "log", OnFailure::Accept)];
    filters.extend(members().into_iter().skip(1).map(|member| super::Member { dry_run: false, ..member }));
    state.configured(Configured { generation: 2, history: 100, filters, milters: Vec::new() });
    shows(
        &state,
        r#"
        tamis_config_reloads_total{result="ok"} 1
        tamis_config_last_reload_successful 1
        tamis_config_generation 2
        tamis_filter_duration_seconds_count{filter="scan",dry_run="false"} 1
        tamis_filter_duration_seconds_count{filter="trial",dry_run="false"} 0
        tamis_filter_duration_seconds_count{filter="new",dry_run="false"} 0
    "#,
    );
    assert!(!page(&state).contains("filter=\"access\""));
    // A connection that still has the old configuration.
    state.message(&passed("b"));
    shows(
        &state,
        r#"
        tamis_filter_duration_seconds_count{filter="scan",dry_run="false"} 2
        tamis_filter_duration_seconds_count{filter="trial",dry_run="false"} 0
    "#,
    );
}

#[test]
fn circuit_breakers_are_shown_by_milter() {
    let mut options = RemoteOptions::default();
    options.breaker.failures = 1;
    let milter = Milter::with_options("scan", "unix:/no/such/socket".parse().unwrap(), options);
    let state = Arc::new(State::new(10));
    let milters = vec![("scan".to_owned(), milter.clone())];
    state.configured(Configured { milters, ..Configured::default() });
    shows(
        &state,
        r#"
        tamis_breaker_state{milter="scan",state="closed"} 1
        tamis_breaker_state{milter="scan",state="open"} 0
        tamis_breaker_attempts_total{milter="scan"} 0
    "#,
    );
    // Whatever became of these messages: their milter is not there.
    for _ in 0..2 {
        let _ = Mta::postfix().message("\nHi!\n").run_blocking(|_: &_| milter.connection());
    }
    shows(
        &state,
        r#"
        tamis_breaker_state{milter="scan",state="closed"} 0
        tamis_breaker_state{milter="scan",state="open"} 1
        tamis_breaker_state{milter="scan",state="half-open"} 0
        tamis_breaker_failures_in_a_row{milter="scan"} 1
        tamis_breaker_attempts_total{milter="scan"} 1
        tamis_breaker_failures_total{milter="scan"} 1
        tamis_breaker_refused_total{milter="scan"} 1
        tamis_breaker_opened_total{milter="scan"} 1
    "#,
    );
}

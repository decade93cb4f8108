//! A state that is told of messages as chains tell it, and what it shows of them.

mod http;
mod metrics;
mod openmetrics;
mod records;

use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use tamis::chain::{Chain, Conflict, FilterRecord, Observer, OnFailure, Parties, Record};
use tamis::linear::{Linear, Mail};
use tamis::testing::Mta;
use tamis::{Actions, BoxError, Edit, Peer, Stage, Verdict};

use super::generation::Member;
use super::{Configured, State};

/// A filter that is asked once and has nothing to say.
fn filter(name: &str) -> FilterRecord {
    let mut filter = FilterRecord::default();
    filter.name = name.into();
    filter.calls = 1;
    filter.time = Duration::from_micros(12);
    filter.slowest = Some((Stage::Mail, filter.time));
    filter
}

fn record(id: &str, verdict: Option<(Stage, Verdict)>, filters: Vec<FilterRecord>) -> Record {
    let mut record = Record::default();
    record.queue_id = (!id.is_empty()).then(|| id.to_owned().into());
    record.verdict = verdict;
    record.filters = filters;
    record
}

fn member(name: &str, kind: &str, on_failure: OnFailure) -> Member {
    Member { name: name.to_owned(), kind: kind.to_owned(), dry_run: false, on_failure }
}

/// Two filters that count, and one that is tried out.
fn members() -> Vec<Member> {
    let trial = Member { dry_run: true, ..member("trial", "policy", OnFailure::Reject) };
    vec![member("access", "policy", OnFailure::Tempfail), trial, member("scan", "milter", OnFailure::Accept)]
}

fn state(filters: Vec<Member>) -> Arc<State> {
    let state = State::new(100);
    state.configured(Configured { generation: 1, history: 100, filters, milters: Vec::new() });
    Arc::new(state)
}

fn passed(id: &str) -> Record {
    let mut trial = filter("trial");
    trial.dry_run = true;
    let end = Some((Stage::EndOfMessage, Verdict::Continue));
    record(id, end, vec![filter("access"), trial, filter("scan")])
}

/// The message of `tests/program/records.json`: everything that there is to tell.
fn eventful() -> Record {
    let refusal = Verdict::reject("5.7.1", "not allowed here");
    let text = |text: &'static str| bytes::Bytes::from_static(text.as_bytes());
    let mut access = filter("access");
    access.calls = 3;
    access.time = Duration::from_micros(1_500);
    access.slowest = Some((Stage::EndOfMessage, Duration::from_micros(1_250)));
    access.verdict = Some((Stage::EndOfMessage, refusal.clone()));
    access.edits = vec![
        Edit::AddHeader { name: text("X-Access"), value: text("checked") },
        Edit::ChangeHeader { index: 2, name: text("Received"), value: text("") },
    ];
    let mut trial = filter("trial");
    trial.dry_run = true;
    trial.verdict = Some((Stage::Mail, Verdict::Discard));
    trial.new_body = true;
    let mut scan = filter("scan");
    scan.verdict = None;
    scan.failure = Some(("end-of-headers", "no verdict within 10s".to_owned()));
    let mut record = record("4Rx8Kq0Lz9z1", Some((Stage::EndOfMessage, refusal)), vec![access, trial, scan]);
    record.conflicts = vec![conflict()];
    record.began = Some(UNIX_EPOCH + Duration::from_secs(1_795_288_134));
    record.parties = parties();
    record
}

/// Who sends it to whom: through a chain, as only chains can tell.
fn parties() -> Parties {
    let seen = Arc::new(Mutex::new(None));
    let observer = {
        let seen = seen.clone();
        Arc::new(move |record: &Record| *seen.lock().unwrap() = Some(record.parties.clone()))
    };
    let pass = |mail: Mail| async move {
        drop(mail);
        Ok::<_, BoxError>(Verdict::Continue)
    };
    let mta = Mta::postfix().client("mail.example.com", "192.0.2.7:4321".parse().unwrap());
    let mta = mta.helo("helo.example.com").macro_value("{auth_authen}", "joe").from("<joe@example.com>");
    let mta = mta.to("<jane@example.org>").to("<bob@example.org>").message("Subject: hello\n\nHi!\n");
    let chain = Chain::pipeline().add("access", Linear::new(pass)).observer(observer);
    mta.run_blocking(|_| chain).unwrap();
    let mut parties: Parties = seen.lock().unwrap().take().unwrap();
    parties.recipients[1].refused = true;
    parties.more_recipients = 12;
    parties
}

/// What a chain tells when two of its filters change the same field.
fn conflict() -> Conflict {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let observer = {
        let seen = seen.clone();
        Arc::new(move |record: &Record| seen.lock().unwrap().extend(record.conflicts.clone()))
    };
    let change = |value: &'static str| {
        let change = move |mut mail: Mail| async move {
            let headers = mail.headers().await?;
            if let Some(subject) = headers.first("Subject") {
                headers.replace(subject.id(), value)?;
            }
            Ok::<_, BoxError>(Verdict::Continue)
        };
        Linear::new(change).require(Actions::CHANGE_HEADERS)
    };
    let chain = |_: &Peer| {
        let chain = Chain::parallel().add("access", change("one")).add("scan", change("two"));
        chain.observer(observer.clone())
    };
    Mta::postfix().message("Subject: hello\n\nHi!\n").run_blocking(chain).unwrap();
    let mut seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 1, "{seen:?}");
    seen.remove(0)
}

#[test]
fn readiness_has_its_reason() {
    let state = State::new(1);
    assert!(state.readiness().unwrap_err().contains("no configuration yet"));
    state.set_ready(false);
    state.configured(Configured::default());
    assert!(state.readiness().unwrap_err().contains("nothing is listened on yet"));
    state.set_ready(true);
    assert_eq!(state.readiness(), Ok(()));
    state.reload_failed();
    assert_eq!(state.readiness(), Ok(()), "the old configuration serves");
    state.set_ready(false);
    assert!(state.readiness().unwrap_err().contains("draining"));
}

#[test]
fn nothing_is_kept_where_nothing_is_to_be_kept() {
    let state = State::new(0);
    state.message(&passed("a"));
    assert_eq!(state.kept(), (0, 0));
}

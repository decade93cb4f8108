//! Records as they are shown.

use tamis::chain::{Chain, Member, Observer, OnFailure};
use tamis::linear::{Linear, Mail};
use tamis::testing::Mta;
use tamis::{Actions, BoxError, Context, Edit, Event, Filter, Needs, Peer, Reply, Stage, Verdict};

use super::{Configured, State, conflict, eventful, filter, members, passed, record, state};
use crate::admin::record::{self, About, Kind, Record, Records, Why};
use crate::admin::ring::Wanted;
use crate::admin::search::Search;

/// What programs of users rely on, and what `tamis explain` is shown by its own tests.
const EXAMPLE: &str = include_str!("../../../tests/program/records.json");

fn only(state: &State) -> Record {
    let mut records = state.find(Wanted::Last(10, &Search::default())).records;
    assert_eq!(records.len(), 1, "{records:#?}");
    records.remove(0)
}

fn shown(record: &tamis::chain::Record) -> Record {
    let state = state(members());
    state.message(record);
    only(&state)
}

#[test]
fn the_json_of_a_record_has_the_names_that_it_always_had() {
    let state = state(members());
    state.message(&passed(""));
    state.message(&eventful());
    let mut records = state.find(Wanted::Last(10, &Search::default()));
    let finished = "2026-11-21T19:08:55.123456Z".parse().unwrap();
    records.since = Some(finished);
    records.records.iter_mut().for_each(|record| record.finished = finished);
    let shown = serde_json::to_string_pretty(&records).unwrap();
    assert_eq!(format!("{shown}\n"), EXAMPLE, "{shown}");
    assert_eq!(serde_json::from_str::<Records>(EXAMPLE).unwrap(), records);
}

#[test]
fn who_decided_is_the_filter_whose_verdict_was_told() {
    let refusal = Verdict::reject("5.7.1", "no");
    let says = |name, stage, verdict: &Verdict| {
        let mut filter = filter(name);
        filter.verdict = Some((stage, verdict.clone()));
        filter
    };
    let end = Some((Stage::EndOfMessage, refusal.clone()));
    let decision = |verdict, filters| {
        let record::Decision { why, filter } = shown(&record("a", verdict, filters)).decision;
        (why, filter)
    };
    let of = |name: &str| Some(name.to_owned());
    // One that refused a recipient in the same words is not the one that refused the message.
    let filters = vec![says("access", Stage::Rcpt, &refusal), says("scan", Stage::EndOfMessage, &refusal)];
    assert_eq!(decision(end.clone(), filters), (Why::Refused, of("scan")));
    // What was said at a stage that is not answered is told later.
    assert_eq!(
        decision(end.clone(), vec![says("access", Stage::Header, &refusal)]),
        (Why::Refused, of("access"))
    );
    let mut trial = says("trial", Stage::EndOfMessage, &refusal);
    trial.dry_run = true;
    assert_eq!(decision(end.clone(), vec![trial]), (Why::Earlier, None));
    let mut broken = filter("access");
    broken.failure = Some(("mail", "no".to_owned()));
    let mut harmless = filter("scan");
    harmless.failure = broken.failure.clone();
    assert_eq!(decision(end.clone(), vec![harmless.clone(), broken]), (Why::Failed, of("access")));
    assert_eq!(decision(end, vec![harmless]), (Why::Earlier, None), "its on_failure is accept");
    assert_eq!(decision(Some((Stage::Mail, Verdict::Accept)), vec![]), (Why::Accepted, None));
    assert_eq!(decision(Some((Stage::EndOfMessage, Verdict::Continue)), vec![]), (Why::Passed, None));
    assert_eq!(decision(None, vec![]), (Why::GivenUp, None));
}

#[test]
fn a_reply_is_what_its_code_says() {
    let kind = |verdict| shown(&record("a", Some((Stage::Mail, verdict)), vec![])).verdict.unwrap().verdict;
    assert_eq!(kind(Verdict::reject("5.7.1", "no")), Kind::Reject);
    assert_eq!(kind(Verdict::tempfail("4.7.1", "no")), Kind::Tempfail);
    assert_eq!(kind(Verdict::shutdown("no")), Kind::Tempfail);
}

#[test]
fn what_is_kept_of_one_message_is_bounded() {
    let mut access = filter("access");
    let text = bytes::Bytes::from(vec![b'x'; 60_000]);
    access.edits = vec![Edit::AddHeader { name: "X".into(), value: text.clone() }; 5_000];
    access.new_body = true;
    access.failure = Some(("mail", "ü".repeat(60_000)));
    let mut record = record("a", None, vec![access]);
    record.queue_id = Some(text.clone());
    record.conflicts = vec![conflict(); 3_000];
    record.parties = super::parties();
    record.parties.sender = Some(text.clone());
    record.parties.recipients = vec![record.parties.recipients[0].clone(); 5_000];
    record.parties.recipients[100].address = text;
    let state = state(members());
    state.message(&record);
    assert!(state.kept().1 < 64 * 1024, "{:?}", state.kept());
    let shown = only(&state);
    let filter = &shown.filters[0];
    assert_eq!(filter.edits.len() + filter.edits_left_out, 5_001);
    assert!(filter.edits.len() > 50);
    assert_eq!(shown.conflicts.len() + shown.conflicts_left_out, 3_000);
    let failure = filter.failure.as_ref().unwrap();
    assert!(failure.error.ends_with('…') && failure.error.len() < 600);
    assert_eq!(shown.recipients.len() + shown.recipients_left_out, 5_012);
    assert!(shown.recipients.len() > 100 && shown.recipients[100].address.len() < 600);
}

#[test]
fn filters_that_the_configuration_has_no_more_are_shown_without_their_type() {
    let state = state(members());
    state.configured(Configured { history: 100, ..Configured::default() });
    state.message(&passed("a"));
    assert_eq!(only(&state).filters[0].kind, None);
}

/// From a chain at work to what is shown of it.
#[test]
fn a_chain_at_work_is_written_down() {
    async fn tag(mut mail: Mail) -> Result<Verdict, BoxError> {
        let headers = mail.headers().await?;
        headers.append("X-Seen", "yes")?;
        Ok(Verdict::Continue)
    }
    async fn refuse(mut mail: Mail) -> Result<Verdict, BoxError> {
        mail.headers().await?;
        Ok(Verdict::reject("5.7.1", "no"))
    }
    async fn fail(_: Mail) -> Result<Verdict, BoxError> {
        Err("it broke".into())
    }
    let state = state(vec![
        super::member("tag", "headers", OnFailure::Tempfail),
        super::Member { dry_run: true, ..super::member("trial", "policy", OnFailure::Tempfail) },
        super::member("scan", "milter", OnFailure::Accept),
    ]);
    let chain = |_: &Peer| {
        Chain::pipeline()
            .add("tag", Linear::new(tag).require(Actions::ADD_HEADERS))
            .member(Member::new("trial", Linear::new(refuse)).dry_run())
            .member(Member::new("scan", Linear::new(fail)).on_failure(OnFailure::Accept))
            .observer(state.clone())
    };
    let report = Mta::postfix().message("Subject: hello\n\nHi!\n").run_blocking(chain).unwrap();
    assert_eq!(report.message().unwrap().header("X-Seen").unwrap(), "yes");
    let record = only(&state);
    assert_eq!((record.decision.why, record.decision.filter.as_deref()), (Why::Passed, None));
    let [tag, trial, scan] = &record.filters[..] else { panic!("{record:#?}") };
    let expected = record::Edit::AddHeader { name: "X-Seen".to_owned(), value: "yes".to_owned() };
    assert_eq!((tag.kind.as_deref(), &tag.edits[..]), (Some("headers"), &[expected][..]));
    assert!(trial.dry_run && trial.verdict.as_ref().unwrap().reply.as_deref() == Some("550 5.7.1 no"));
    let failure = scan.failure.as_ref().unwrap();
    assert_eq!((&*failure.error, failure.policy.as_deref()), ("it broke", Some("accept")));
}

#[test]
fn a_client_that_is_refused_leaves_a_record_without_a_message() {
    let state = state(vec![super::member("access", "policy", OnFailure::Tempfail)]);
    let chain = |_: &Peer| Chain::pipeline().add("access", RefusesClients).observer(state.clone());
    let mta = Mta::postfix().client("mail.example.com", "192.0.2.7:4321".parse().unwrap()).lenient();
    mta.run_blocking(chain).unwrap();
    let record = only(&state);
    assert_eq!((record.about, record.queue_id.as_deref()), (About::Client, None));
    assert_eq!((record.decision.why, record.decision.filter.as_deref()), (Why::Refused, Some("access")));
    assert_eq!(record.client.address, Some("192.0.2.7".parse().unwrap()));
    let verdict = record.verdict.unwrap();
    assert_eq!((&*verdict.stage, verdict.reply.as_deref()), ("connect", Some("550 5.7.1 go away")));
}

struct RefusesClients;

impl Filter for RefusesClients {
    type Message = ();

    fn needs(&self) -> Needs {
        Needs::new().answer([Stage::Connect])
    }

    async fn on(&mut self, _: &mut Context<'_, ()>, event: Event) -> Reply {
        let is_client = event.stage() == Some(Stage::Connect);
        Ok(if is_client { Verdict::reject("5.7.1", "go away") } else { Verdict::Continue })
    }
}

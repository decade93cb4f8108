//! Each cell of the table of verdicts, in both modes: what one of three filters says at a stage, what the MTA is told,
//! and what each of the filters gets to see from then on.

use tamis::testing::{Mta, Report};
use tamis::{Actions, Event, Needs, SmtpReply, Stage, Verdict};

use crate::common::{Act, Notes, Probe};
use crate::support::{ALL, Mode, events, mail, play};

/// What came of a filter's verdict.
struct Ran {
    mode: Mode,
    report: Report,
    /// What the filters saw: the one before, the one with the verdict, the one after.
    before: Vec<String>,
    filter: Vec<String>,
    after: Vec<String>,
}

/// Every filter asks for a recipient of its own when it sees the sender.
fn probe(name: &'static str, stage: Option<Stage>, verdict: Verdict) -> (Probe, Notes) {
    let needs = Needs::everything().require(Actions::ADD_RECIPIENTS | Actions::QUARANTINE);
    Probe::new(needs, move |cx, event| {
        if matches!(event, Event::Mail(_)) {
            cx.add_recipient(format!("<{name}@example.com>")).unwrap();
        }
        Act::SayNow(if event.stage().is_some() && event.stage() == stage {
            verdict.clone()
        } else {
            Verdict::Continue
        })
    })
}

fn run(mode: Mode, stage: Stage, verdict: Verdict) -> Ran {
    let (one, mut before) = probe("before", None, Verdict::Continue);
    let (two, mut filter) = probe("filter", Some(stage), verdict);
    let (three, mut after) = probe("after", None, Verdict::Continue);
    let chain = mode.chain().add("before", one).add("filter", two).add("after", three);
    let mta = Mta::postfix();
    let mta = if stage == Stage::Unknown {
        mta.from("<a@example.net>")
            .to("<b@example.org>")
            .unknown("FOO")
            .to("<c@example.org>")
            .message("Subject: hello\nX-Two: 2\n\nHi!\n")
    } else {
        mail(mta)
    };
    let report = play(&mta, chain);
    let (before, filter, after) = (events(&mut before), events(&mut filter), events(&mut after));
    Ran { mode, report, before, filter, after }
}

/// All events up to the first of a stage.
fn until(stage: Stage) -> Vec<&'static str> {
    let mut events = Vec::new();
    for event in ALL {
        events.push(event);
        if event == stage.name() {
            return events;
        }
    }
    unreachable!("it is one of the stages")
}

/// All events but those of the stage and all behind.
fn before(stage: Stage) -> Vec<&'static str> {
    let mut events = until(stage);
    events.pop();
    events
}

fn and(mut events: Vec<&'static str>, more: &[&'static str]) -> Vec<&'static str> {
    events.extend(more);
    events
}

impl Ran {
    #[track_caller]
    fn told(&self, stage: Stage, verdict: &Verdict) {
        assert_eq!(self.report.verdict_at(stage), Some(verdict), "{}", self.report);
        assert!(self.report.failures().is_empty(), "{}", self.report);
    }

    #[track_caller]
    fn delivered_to(&self, names: &[&str]) {
        let message = self.report.message().expect("it is delivered");
        let added = message.recipients().iter().filter(|to| to.address.ends_with(b"@example.com"));
        let added: Vec<String> =
            added.map(|to| String::from_utf8_lossy(&to.address).replace("@example.com", "")).collect();
        assert_eq!(added, names, "{}", self.report);
    }

    #[track_caller]
    fn not_delivered(&self) {
        assert!(self.report.message().is_none(), "{}", self.report);
    }

    /// What the filter behind the one with the verdict saw of the step: nothing in a pipeline.
    fn seen_after(&self, stage: Stage) -> Vec<&'static str> {
        match self.mode {
            Mode::Parallel => until(stage),
            Mode::Pipeline => before(stage),
        }
    }
}

fn continue_goes_on(mode: Mode, stage: Stage) {
    let ran = run(mode, stage, Verdict::Continue);
    ran.told(stage, &Verdict::Continue);
    if stage != Stage::Unknown {
        assert_eq!(
            (&ran.before[..], &ran.filter[..], &ran.after[..]),
            (&strings(&ALL)[..], &strings(&ALL)[..], &strings(&ALL)[..])
        );
    }
    ran.delivered_to(&["before", "filter", "after"]);
}

fn accept_takes_the_filter_out_of_the_connection(mode: Mode, stage: Stage) {
    let ran = run(mode, stage, Verdict::Accept);
    ran.told(stage, &Verdict::Continue);
    assert_eq!(ran.filter, and(until(stage), &["close"]));
    assert_eq!((ran.before.as_slice(), ran.after.as_slice()), (&strings(&ALL)[..], &strings(&ALL)[..]));
    ran.delivered_to(&["before", "after"]);
}

fn accept_takes_the_filter_out_of_the_message_and_keeps_its_edits(mode: Mode, stage: Stage) {
    let ran = run(mode, stage, Verdict::Accept);
    ran.told(stage, &Verdict::Continue);
    assert_eq!(ran.filter, and(until(stage), &["close"]));
    assert_eq!((ran.before.as_slice(), ran.after.as_slice()), (&strings(&ALL)[..], &strings(&ALL)[..]));
    ran.delivered_to(&["before", "filter", "after"]);
}

fn a_refusal_ends_the_connection(mode: Mode, stage: Stage, verdict: &Verdict) {
    let ran = run(mode, stage, verdict.clone());
    ran.told(stage, verdict);
    assert_eq!(ran.filter, and(until(stage), &["close"]));
    assert_eq!(ran.before, and(until(stage), &["close"]));
    assert_eq!(ran.after, and(ran.seen_after(stage), &["close"]));
    ran.not_delivered();
}

fn a_refusal_ends_the_message(mode: Mode, stage: Stage, verdict: &Verdict) {
    let ran = run(mode, stage, verdict.clone());
    ran.told(stage, verdict);
    assert_eq!(ran.filter, and(until(stage), &["close"]));
    let rest: &[&str] = match stage {
        // The last word of that one was said.
        Stage::EndOfMessage => &["close"],
        _ => &["abort", "close"],
    };
    assert_eq!(ran.before, and(until(stage), rest));
    let rest: &[&str] = match (ran.mode, stage) {
        (Mode::Parallel, Stage::EndOfMessage) | (Mode::Pipeline, Stage::Mail) => &["close"],
        _ => &["abort", "close"],
    };
    assert_eq!(ran.after, and(ran.seen_after(stage), rest));
    ran.not_delivered();
}

fn a_refusal_ends_the_recipient(mode: Mode, verdict: &Verdict) {
    let ran = run(mode, Stage::Rcpt, verdict.clone());
    ran.told(Stage::Rcpt, verdict);
    assert!(ran.report.reply_to("<b@example.org>").unwrap().starts_with(['4', '5']), "{}", ran.report);
    // Each recipient is refused, so there is no text.
    assert_eq!(ran.before, ["connect", "helo", "mail", "rcpt", "rcpt", "abort", "close"]);
    assert_eq!(ran.filter, ["connect", "helo", "mail", "rcpt", "rcpt", "abort", "close"]);
    match mode {
        Mode::Parallel => assert_eq!(ran.after, ran.before),
        Mode::Pipeline => assert_eq!(ran.after, ["connect", "helo", "mail", "abort", "close"]),
    }
    ran.not_delivered();
}

fn a_refusal_of_an_unknown_command_is_all(mode: Mode, verdict: &Verdict) {
    let ran = run(mode, Stage::Unknown, verdict.clone());
    ran.told(Stage::Unknown, verdict);
    assert!(ran.before.iter().chain(&ran.filter).chain(&ran.after).all(|event| event != "abort"));
    assert_eq!(ran.filter.len(), ALL.len() + 1);
    ran.delivered_to(&["before", "filter", "after"]);
}

fn counts_as_continue(mode: Mode, stage: Stage) {
    let ran = run(mode, stage, Verdict::Discard);
    ran.told(stage, &Verdict::Continue);
    let (before, filter) = (ran.before.clone(), ran.filter.clone());
    assert_eq!((before.len(), filter), (ALL.len() + usize::from(stage == Stage::Unknown), before));
    ran.delivered_to(&["before", "filter", "after"]);
}

fn accept_of_an_unknown_command_takes_the_filter_out_of_the_message(mode: Mode) {
    let ran = run(mode, Stage::Unknown, Verdict::Accept);
    ran.told(Stage::Unknown, &Verdict::Continue);
    assert_eq!(ran.filter, ["connect", "helo", "mail", "rcpt", "unknown", "close"]);
    assert_eq!(ran.before.len(), ALL.len() + 1);
    ran.delivered_to(&["before", "filter", "after"]);
}

fn a_421_ends_everything(mode: Mode, stage: Stage) {
    let bye = Verdict::shutdown("bye");
    let ran = run(mode, stage, bye.clone());
    ran.told(stage, &bye);
    for seen in [&ran.before, &ran.filter, &ran.after] {
        assert!(seen.iter().filter(|event| *event == "close").count() == 1, "{seen:?}");
        assert!(seen.iter().filter(|event| *event == "abort").count() <= 1, "{seen:?}");
    }
    let in_message = stage.in_message() && stage != Stage::EndOfMessage || stage == Stage::Unknown;
    assert_eq!(ran.before.contains(&"abort".to_owned()), in_message, "{:?}", ran.before);
    ran.not_delivered();
}

fn skip_spares_the_filter_the_body(mode: Mode) {
    let ran = run(mode, Stage::Body, Verdict::Skip);
    ran.told(Stage::Body, &Verdict::Continue);
    ran.delivered_to(&["before", "filter", "after"]);
}

fn strings(events: &[&str]) -> Vec<String> {
    events.iter().map(ToString::to_string).collect()
}

fn reply(code: u16) -> Verdict {
    let enhanced = if code >= 500 { "5.7.1" } else { "4.7.1" };
    SmtpReply::new(code, enhanced, "not like this").unwrap().into()
}

macro_rules! cells {
    ($($name:ident: $check:ident($($argument:expr),*);)*) => {
        mod parallel {
            use super::*;
            $(#[test] fn $name() { $check(Mode::Parallel, $($argument),*); })*
        }
        mod pipeline {
            use super::*;
            $(#[test] fn $name() { $check(Mode::Pipeline, $($argument),*); })*
        }
    };
}

cells! {
    continue_at_connect: continue_goes_on(Stage::Connect);
    continue_at_helo: continue_goes_on(Stage::Helo);
    continue_at_mail: continue_goes_on(Stage::Mail);
    continue_at_rcpt: continue_goes_on(Stage::Rcpt);
    continue_at_data: continue_goes_on(Stage::Data);
    continue_at_header: continue_goes_on(Stage::Header);
    continue_at_end_of_headers: continue_goes_on(Stage::EndOfHeaders);
    continue_at_body: continue_goes_on(Stage::Body);
    continue_at_end_of_message: continue_goes_on(Stage::EndOfMessage);
    continue_at_unknown: continue_goes_on(Stage::Unknown);

    accept_at_connect: accept_takes_the_filter_out_of_the_connection(Stage::Connect);
    accept_at_helo: accept_takes_the_filter_out_of_the_connection(Stage::Helo);
    accept_at_mail: accept_takes_the_filter_out_of_the_message_and_keeps_its_edits(Stage::Mail);
    accept_at_rcpt: accept_takes_the_filter_out_of_the_message_and_keeps_its_edits(Stage::Rcpt);
    accept_at_data: accept_takes_the_filter_out_of_the_message_and_keeps_its_edits(Stage::Data);
    accept_at_header: accept_takes_the_filter_out_of_the_message_and_keeps_its_edits(Stage::Header);
    accept_at_end_of_headers:
        accept_takes_the_filter_out_of_the_message_and_keeps_its_edits(Stage::EndOfHeaders);
    accept_at_body: accept_takes_the_filter_out_of_the_message_and_keeps_its_edits(Stage::Body);
    accept_at_end_of_message:
        accept_takes_the_filter_out_of_the_message_and_keeps_its_edits(Stage::EndOfMessage);
    accept_at_unknown: accept_of_an_unknown_command_takes_the_filter_out_of_the_message();

    reject_at_connect: a_refusal_ends_the_connection(Stage::Connect, &Verdict::Reject);
    reject_at_helo: a_refusal_ends_the_connection(Stage::Helo, &Verdict::Reject);
    reject_at_mail: a_refusal_ends_the_message(Stage::Mail, &Verdict::Reject);
    reject_at_rcpt: a_refusal_ends_the_recipient(&Verdict::Reject);
    reject_at_data: a_refusal_ends_the_message(Stage::Data, &Verdict::Reject);
    reject_at_header: a_refusal_ends_the_message(Stage::Header, &Verdict::Reject);
    reject_at_end_of_headers: a_refusal_ends_the_message(Stage::EndOfHeaders, &Verdict::Reject);
    reject_at_body: a_refusal_ends_the_message(Stage::Body, &Verdict::Reject);
    reject_at_end_of_message: a_refusal_ends_the_message(Stage::EndOfMessage, &Verdict::Reject);
    reject_at_unknown: a_refusal_of_an_unknown_command_is_all(&Verdict::Reject);

    tempfail_at_connect: a_refusal_ends_the_connection(Stage::Connect, &Verdict::Tempfail);
    tempfail_at_helo: a_refusal_ends_the_connection(Stage::Helo, &Verdict::Tempfail);
    tempfail_at_mail: a_refusal_ends_the_message(Stage::Mail, &Verdict::Tempfail);
    tempfail_at_rcpt: a_refusal_ends_the_recipient(&Verdict::Tempfail);
    tempfail_at_data: a_refusal_ends_the_message(Stage::Data, &Verdict::Tempfail);
    tempfail_at_header: a_refusal_ends_the_message(Stage::Header, &Verdict::Tempfail);
    tempfail_at_end_of_headers: a_refusal_ends_the_message(Stage::EndOfHeaders, &Verdict::Tempfail);
    tempfail_at_body: a_refusal_ends_the_message(Stage::Body, &Verdict::Tempfail);
    tempfail_at_end_of_message: a_refusal_ends_the_message(Stage::EndOfMessage, &Verdict::Tempfail);
    tempfail_at_unknown: a_refusal_of_an_unknown_command_is_all(&Verdict::Tempfail);

    reply_at_connect: a_refusal_ends_the_connection(Stage::Connect, &reply(554));
    reply_at_helo: a_refusal_ends_the_connection(Stage::Helo, &reply(450));
    reply_at_mail: a_refusal_ends_the_message(Stage::Mail, &reply(550));
    reply_at_rcpt: a_refusal_ends_the_recipient(&reply(450));
    reply_at_data: a_refusal_ends_the_message(Stage::Data, &reply(450));
    reply_at_header: a_refusal_ends_the_message(Stage::Header, &reply(550));
    reply_at_end_of_headers: a_refusal_ends_the_message(Stage::EndOfHeaders, &reply(450));
    reply_at_body: a_refusal_ends_the_message(Stage::Body, &reply(550));
    reply_at_end_of_message: a_refusal_ends_the_message(Stage::EndOfMessage, &reply(550));
    reply_at_unknown: a_refusal_of_an_unknown_command_is_all(&reply(450));

    reply_421_at_connect: a_421_ends_everything(Stage::Connect);
    reply_421_at_helo: a_421_ends_everything(Stage::Helo);
    reply_421_at_mail: a_421_ends_everything(Stage::Mail);
    reply_421_at_rcpt: a_421_ends_everything(Stage::Rcpt);
    reply_421_at_data: a_421_ends_everything(Stage::Data);
    reply_421_at_header: a_421_ends_everything(Stage::Header);
    reply_421_at_end_of_headers: a_421_ends_everything(Stage::EndOfHeaders);
    reply_421_at_body: a_421_ends_everything(Stage::Body);
    reply_421_at_end_of_message: a_421_ends_everything(Stage::EndOfMessage);
    reply_421_at_unknown: a_421_ends_everything(Stage::Unknown);

    discard_at_connect: counts_as_continue(Stage::Connect);
    discard_at_helo: counts_as_continue(Stage::Helo);
    discard_at_mail: a_refusal_ends_the_message(Stage::Mail, &Verdict::Discard);
    discard_at_rcpt: a_refusal_ends_the_message(Stage::Rcpt, &Verdict::Discard);
    discard_at_data: a_refusal_ends_the_message(Stage::Data, &Verdict::Discard);
    discard_at_header: a_refusal_ends_the_message(Stage::Header, &Verdict::Discard);
    discard_at_end_of_headers: a_refusal_ends_the_message(Stage::EndOfHeaders, &Verdict::Discard);
    discard_at_body: a_refusal_ends_the_message(Stage::Body, &Verdict::Discard);
    discard_at_end_of_message: a_refusal_ends_the_message(Stage::EndOfMessage, &Verdict::Discard);
    discard_at_unknown: counts_as_continue(Stage::Unknown);

    skip_at_body: skip_spares_the_filter_the_body();
}

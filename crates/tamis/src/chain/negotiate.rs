//! Negotiation: what all filters need together, and what is made up for to each.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use tamis_proto::{Actions, Agreement, DataSize, MacroLists, MacroStage, Needs, Offer, Refusal, See, Stage};
use tokio::time::{Instant, sleep_until};

use super::Mode;
use super::failure::Failure;
use super::member::{Seat, Terms};
use crate::filter::{BoxError, Called, Collect};
use crate::server::call::{self, Ended};

/// How long filters may take to negotiate, all at the same time.
const TIME: Duration = Duration::from_secs(5);

/// Most names in a list of macros; Sendmail cuts longer ones.
const MOST_NAMES: usize = 50;

/// Edits of what filters further down a pipeline are shown.
pub(super) const CONTENT: Actions =
    Actions::ADD_HEADERS.union(Actions::CHANGE_HEADERS).union(Actions::REPLACE_BODY);

/// Where a message's envelope is told.
const ENVELOPE: [Stage; 4] = [Stage::Connect, Stage::Helo, Stage::Mail, Stage::Rcpt];

const HEADERS: Actions = Actions::ADD_HEADERS.union(Actions::CHANGE_HEADERS);

/// Edits of the recipients.
const RECIPIENTS: Actions =
    Actions::ADD_RECIPIENTS.union(Actions::ADD_RECIPIENTS_WITH_ARGS).union(Actions::DELETE_RECIPIENTS);

/// What was negotiated for all filters together, and what follows from it.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "they say different things")]
pub(super) struct Plan {
    /// What the MTA is asked for.
    pub(super) needs: Needs,
    /// The filters that are called at a stage, or keep what it brings.
    by_stage: [Vec<usize>; Stage::COUNT],
    pub(super) actions: Actions,
    /// Header values come with the space after the colon.
    pub(super) spaced: bool,
    /// Some filter deals with that space itself, so that edits have it.
    pub(super) own_space: bool,
    /// Some filters are not to see the recipients that the MTA rejects, which others asked for.
    pub(super) hides_rejected: bool,
    /// The header is kept by the chain: edits of several filters may meet.
    pub(super) keeps_headers: bool,
    /// The body is kept by the chain, for filters that want it whole or later.
    pub(super) keeps_body: bool,
    /// So are the recipients.
    pub(super) keeps_recipients: bool,
    /// Some filters are not asked about all messages.
    pub(super) has_conditions: bool,
    /// Bytes of a packet that all filters take.
    pub(super) payload: usize,
}

impl Plan {
    pub(super) fn answers(&self, stage: Stage) -> bool {
        self.needs.sees(stage) == See::Answer
    }

    pub(super) fn at(&self, stage: Stage) -> &[usize] {
        &self.by_stage[stage as usize]
    }

    /// Asks for what tells who sends a message to whom, without an answer.
    pub(super) fn watch_parties(&mut self) {
        let needs = std::mem::take(&mut self.needs);
        self.needs = needs.watch(ENVELOPE);
    }

    pub(super) fn can_hold(&self) -> bool {
        self.actions.contains(Actions::QUARANTINE)
    }
}

/// Has all filters answer the offer, at the same time, and merges what they say. A filter that cannot has failed; it
/// costs its policy when there is mail.
pub(super) async fn negotiate(mode: Mode, seats: &mut [Seat], offer: Offer) -> Plan {
    let answers = ask(seats, offer).await;
    let mut asked = Vec::with_capacity(seats.len());
    for (seat, answer) in seats.iter_mut().zip(answers) {
        asked.push(match answer.and_then(|needs| accept(seat, &needs, offer).map(|()| needs)) {
            Ok(needs) => needs,
            Err(failure) => {
                failure.log(&seat.name, "negotiation", seat.on_failure.name());
                seat.fail_to_negotiate(&failure);
                Needs::default()
            }
        });
    }
    let plan = merge(mode, seats, &asked, offer);
    if let Ok(agreement) = plan.needs.agree(offer) {
        restrict_to_defaults(seats, &asked, &agreement.macros);
    }
    plan
}

/// What filters declare that were not asked yet.
pub(super) fn declared(seats: &[Seat]) -> Needs {
    let mut all = Needs::new().answer([Stage::EndOfMessage]);
    for needs in seats.iter().map(Seat::needs) {
        for stage in Stage::ALL {
            all = match needs.sees(stage) {
                See::Nothing => all,
                See::Watch => all.watch([stage]),
                See::Answer => all.answer([stage]),
            };
        }
        all = all.require(needs.required()).allow(needs.actions());
    }
    all
}

type Asked<'a> = Pin<Box<dyn Future<Output = Result<Needs, BoxError>> + Send + 'a>>;

async fn ask(seats: &mut [Seat], offer: Offer) -> Vec<Result<Needs, Failure>> {
    let offer = &offer;
    let began = Instant::now();
    let mut answers: Vec<Option<Result<Needs, Failure>>> = Vec::new();
    let mut open: Vec<(usize, Duration, Asked<'_>)> = Vec::new();
    for (at, seat) in seats.iter_mut().enumerate() {
        let time = seat.timeout.map_or(TIME, |time| time.min(TIME));
        match call::guard(|| seat.filter().negotiate(offer)) {
            Ok(future) => {
                answers.push(None);
                open.push((at, time, future));
            }
            Err(text) => answers.push(Some(Err(Failure::Panicked(text)))),
        }
    }
    while let Some(time) = open.iter().map(|(_, time, _)| *time).min() {
        let mut deadline = pin!(sleep_until(began + time));
        let in_time = poll_fn(|task| {
            let before = open.len();
            open.retain_mut(|(at, _, future)| match call::poll(future.as_mut(), task) {
                Poll::Pending => true,
                Poll::Ready(ended) => {
                    answers[*at] = Some(match ended {
                        Ended::Done(answer) => answer.map_err(Failure::Error),
                        Ended::Panicked(text) => Err(Failure::Panicked(text)),
                        Ended::TimedOut(_) | Ended::Lost(_) => unreachable!("it is only polled"),
                    });
                    false
                }
            });
            if open.len() < before { Poll::Ready(true) } else { deadline.as_mut().poll(task).map(|()| false) }
        });
        if !in_time.await {
            for (at, _, future) in open.extract_if(.., |(_, its, _)| *its <= time) {
                answers[at] = Some(Err(match call::guard(|| drop(future)) {
                    Ok(()) => Failure::TimedOut(time),
                    Err(text) => Failure::Panicked(text),
                }));
            }
        }
    }
    let done = |answer: Option<_>| answer.expect("each filter has answered, failed or run out of time");
    answers.into_iter().map(done).collect()
}

/// Takes down what was agreed on for one filter, as if it were alone.
fn accept(seat: &mut Seat, needs: &Needs, offer: Offer) -> Result<(), Failure> {
    let refused = |refusal: Refusal| Failure::Error(refusal.to_string().into());
    let agreement = needs.agree(offer).map_err(refused)?;
    seat.terms = terms(needs, &agreement, seat.collect());
    Ok(())
}

fn terms(needs: &Needs, agreement: &Agreement, collect: Collect) -> Terms {
    let lists = (!agreement.macros.is_empty()).then(|| Box::new(agreement.macros.clone()));
    let mut see = [See::Nothing; Stage::COUNT];
    for stage in Stage::ALL {
        see[stage as usize] = needs.sees(stage);
    }
    Terms {
        see,
        called: Called::by(needs),
        collect,
        rules: agreement.edit_rules(),
        lists,
        own_space: needs.keeps_leading_space(),
        rejected_recipients: needs.sees_rejected_recipients(),
        payload: agreement.data_size.bytes(),
    }
}

fn merge(mode: Mode, seats: &[Seat], asked: &[Needs], offer: Offer) -> Plan {
    let live = || seats.iter().zip(asked).enumerate().filter(|(_, (seat, _))| seat.is_in());
    let mut plan = Plan::default();
    let mut needs = Needs::new().skip(live().any(|(_, (_, needs))| needs.skips()));

    // Behind the first that may edit content, it is shown at the end of the message, where verdicts on it come out.
    let edits_content = |seat: &Seat| !seat.dry_run && seat.terms.rules.actions().intersects(CONTENT);
    let editors = live().filter(|(_, (seat, _))| edits_content(seat)).count();
    let spool = (mode == Mode::Pipeline)
        .then(|| live().find(|(_, (seat, _))| edits_content(seat)).map(|(at, _)| at))
        .flatten();
    let is_behind = |at: usize| spool.is_some_and(|spool| at > spool);
    for stage in Stage::ALL {
        let content = matches!(stage, Stage::Header | Stage::EndOfHeaders | Stage::Body);
        for (at, (seat, asked)) in live() {
            needs = match asked.sees(stage) {
                See::Answer if !(seat.dry_run || content && is_behind(at)) => needs.answer([stage]),
                See::Nothing => needs,
                _ => needs.watch([stage]),
            };
            let keeps = stage == Stage::Header && seat.terms.collect.headers;
            if seat.terms.called.at(stage) || keeps || seat.gate.is_some() {
                plan.by_stage[stage as usize].push(at);
            }
        }
    }
    let collects = |what: fn(&Collect) -> bool| live().any(|(_, (seat, _))| what(&seat.terms.collect));
    if collects(|collect| collect.envelope) {
        needs = needs.watch(ENVELOPE);
    }
    let sees_late = |stage: Stage| live().any(|(at, (seat, _))| is_behind(at) && seat.terms.called.at(stage));
    let header_late =
        sees_late(Stage::Header) || live().any(|(at, (seat, _))| is_behind(at) && seat.terms.collect.headers);
    plan.keeps_headers = editors > 1 || header_late;
    plan.keeps_body = collects(|collect| collect.body) || sees_late(Stage::Body);
    if plan.keeps_headers || collects(|collect| collect.headers) {
        needs = needs.watch([Stage::Header]);
    }
    if plan.keeps_body {
        needs = needs.watch([Stage::Body]);
    }
    let edits_recipients = |seat: &Seat| !seat.dry_run && seat.terms.rules.actions().intersects(RECIPIENTS);
    plan.keeps_recipients = live().filter(|(_, (seat, _))| edits_recipients(seat)).count() > 1;
    if plan.keeps_recipients {
        needs = needs.watch([Stage::Rcpt]);
    }
    plan.has_conditions = live().any(|(_, (seat, _))| seat.gate.is_some());
    for (_, (seat, asked)) in live() {
        let Some(gate) = &seat.gate else { continue };
        needs = conditional(needs, gate.condition().latest(), asked, seat.dry_run);
    }
    // A filter that could not negotiate is answered for at the first message.
    if seats.iter().any(|seat| seat.failed.is_some() && !seat.dry_run) {
        needs = needs.answer([Stage::Mail]);
    }
    // Edits leave there, and failures are told at the latest.
    needs = needs.answer([Stage::EndOfMessage]);

    for (_, (seat, asked)) in live().filter(|(_, (seat, _))| !seat.dry_run) {
        needs = needs.require(asked.required()).allow(asked.actions());
        // Changes of fields that are not there are additions, and all edits together are one change.
        if editors > 1 && asked.actions().intersects(HEADERS) {
            needs = needs.allow(HEADERS);
        }
        if seat.on_failure == super::OnFailure::Quarantine {
            needs = needs.allow(Actions::QUARANTINE);
        }
    }
    for seat in seats.iter().filter(|seat| !seat.is_in() && !seat.dry_run) {
        if seat.on_failure == super::OnFailure::Quarantine {
            needs = needs.allow(Actions::QUARANTINE);
        }
    }
    if live().any(|(_, (_, needs))| needs.keeps_leading_space()) {
        needs = needs.leading_space();
        plan.own_space = true;
    }
    let rejected = live().filter(|(_, (_, needs))| needs.sees_rejected_recipients()).count();
    plan.hides_rejected = rejected > 0 && rejected < live().count();
    if rejected > 0 {
        needs = needs.rejected_recipients();
    }
    let packets = live().map(|(_, (_, needs))| needs.packets()).max().unwrap_or_default();
    needs = needs.data_size(packets);
    plan.payload = live().map(|(_, (seat, _))| seat.terms.payload).min().unwrap_or(DataSize::K64.bytes());
    needs = lists(needs, seats, asked, plan.hides_rejected);

    if let Ok(agreement) = needs.agree(offer) {
        plan.actions = agreement.actions;
        plan.spaced = agreement.leading_space();
    }
    plan.needs = needs;
    plan
}

/// Adds what a condition has to see, and the stages at which what was held back may be answered.
fn conditional(needs: Needs, latest: Stage, asked: &Needs, dry_run: bool) -> Needs {
    let needs = needs.watch([Stage::Connect, Stage::Helo, Stage::Mail, Stage::Rcpt, Stage::Data]);
    let answers =
        |until: Stage| Stage::ALL.into_iter().any(|stage| stage < until && asked.sees(stage) == See::Answer);
    match latest {
        _ if dry_run || !answers(latest) => needs,
        Stage::Mail => needs.answer([Stage::Mail]),
        Stage::Data => needs.answer([Stage::Rcpt, Stage::Data]),
        _ => needs,
    }
}

/// Adds the macros that all ask for: at a stage where some filter has a list, those of the others are what MTAs send
/// by default.
fn lists(mut needs: Needs, seats: &[Seat], asked: &[Needs], hides_rejected: bool) -> Needs {
    let live = || seats.iter().zip(asked).filter(|(seat, _)| seat.is_in());
    let mut conditions = MacroLists::default();
    for gate in live().filter_map(|(seat, _)| seat.gate.as_ref()) {
        gate.condition().ask(&mut conditions);
    }
    for stage in MacroStage::ALL {
        let own: &[&str] = match stage {
            // Which MTA it is: edits depend on that.
            MacroStage::Connect => &["v"],
            // What tells recipients that the MTA rejects.
            MacroStage::Rcpt if hides_rejected => &["{rcpt_mailer}", "{rcpt_host}", "{rcpt_addr}"],
            _ => &[],
        };
        // With one list, those of both ends are sent: Sendmail takes one for the other.
        let paired = matches!(stage, MacroStage::EndOfHeaders | MacroStage::EndOfMessage);
        let listed = live().any(|(_, needs)| needs.macro_lists().get(stage).is_some());
        let facts = conditions.get(stage).unwrap_or_default();
        if own.is_empty() && facts.is_empty() && !paired && !listed {
            continue;
        }
        let mut list = MacroLists::default();
        list.want(stage, own);
        list.want(stage, facts);
        for (seat, needs) in live() {
            let mut names = MacroLists::default();
            match needs.macro_lists().get(stage) {
                Some(listed) => names.want(stage, listed),
                None => names.want(stage, default_list(stage)),
            }
            let known = list.get(stage).unwrap_or_default();
            let mut new = names.get(stage).unwrap_or_default().to_vec();
            new.retain(|name| !known.contains(name));
            if new.len() > MOST_NAMES - known.len() {
                new.truncate(MOST_NAMES - known.len());
                tracing::warn!(
                    filter = &*seat.name,
                    stage = %stage.stage(),
                    "not all of its macros can be asked for: all filters together name more than {MOST_NAMES}"
                );
            }
            list.want(stage, new);
        }
        if list.get(stage).is_none_or(<[String]>::is_empty) {
            // Postfix takes an empty list for its own one.
            list.want(stage, &default_list(stage)[..1]);
        }
        needs = needs.macros(stage, list.get(stage).unwrap_or_default());
    }
    needs
}

/// Has filters without a list see what MTAs send by default, at stages where others asked for more.
fn restrict_to_defaults(seats: &mut [Seat], asked: &[Needs], sent: &MacroLists) {
    for (seat, needs) in seats.iter_mut().zip(asked).filter(|(seat, _)| seat.is_in()) {
        for stage in MacroStage::ALL {
            let own = default_list(stage);
            let all = sent.get(stage).unwrap_or_default();
            let is_more = all.iter().any(|name| !own.contains(&name.as_str()));
            if needs.macro_lists().get(stage).is_none() && is_more {
                seat.terms.lists.get_or_insert_default().want(stage, own);
            }
        }
    }
}

/// What Postfix and Sendmail send unless they are configured otherwise (spec §8.1).
fn default_list(stage: MacroStage) -> &'static [&'static str] {
    match stage {
        MacroStage::Connect => &["j", "_", "{daemon_name}", "{daemon_addr}", "{if_name}", "{if_addr}", "v"],
        MacroStage::Helo => {
            &["{tls_version}", "{cipher}", "{cipher_bits}", "{cert_subject}", "{cert_issuer}"]
        }
        MacroStage::Mail => &[
            "i",
            "{auth_type}",
            "{auth_authen}",
            "{auth_ssf}",
            "{auth_author}",
            "{mail_mailer}",
            "{mail_host}",
            "{mail_addr}",
        ],
        MacroStage::Rcpt => &["i", "{rcpt_mailer}", "{rcpt_host}", "{rcpt_addr}"],
        MacroStage::Data | MacroStage::EndOfHeaders => &["i"],
        MacroStage::EndOfMessage => &["i", "{msg_id}"],
    }
}

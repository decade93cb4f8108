//! Random filters behind a real Postfix: separately and as a chain they must be the same for the client, for the next
//! hop and for each other.
//!
//! `TAMIS_CHAIN_SESSIONS=500 cargo test -p tamis-interop --test chain_random` tries more of them, `TAMIS_CHAIN_SEED=7`
//! others.

#[path = "common/edits.rs"]
mod edits;
#[path = "common/filters.rs"]
mod filters;
#[path = "common/log.rs"]
mod log;
#[path = "common/random.rs"]
mod random;
#[path = "common/shrink.rs"]
mod shrink;

use std::env;
use std::str::FromStr;

use tamis_interop::case::{Config, Member};
use tamis_interop::chain::{ChainSite, Letter, Session};
use tamis_interop::script::{Action, Edit, Matcher, Rule, Script, Stage, Verdict};

use crate::random::Random;

const DEFAULT_SESSIONS: usize = 12;
/// Differences that are shown, each made small first.
const SHOWN: usize = 3;

#[test]
fn random_filters_are_the_same_separately_and_as_a_chain() {
    let site = start();
    let mut random = Random::new(number("TAMIS_CHAIN_SEED", 20_261_121));
    let count = number("TAMIS_CHAIN_SESSIONS", DEFAULT_SESSIONS);
    let differ = |session: &Session| !session.differences(&site).is_empty();
    let mut wrong = Vec::new();
    for number in 0..count {
        let session = filters::random_session(&mut random);
        if differ(&session) {
            let least = shrink::shrink(session, &differ);
            let differences = least.differences(&site).join("\n");
            wrong.push(format!("== session {number}\n{}\n{differences}", shrink::as_case(&least)));
            if wrong.len() == SHOWN {
                break;
            }
        }
    }
    assert!(wrong.is_empty(), "sessions differ:\n\n{}", wrong.join("\n\n"));
}

/// Of three filters, in each place, without one that edits and with one in the middle.
#[test]
fn every_verdict_of_every_filter_at_every_stage_of_a_message_is_the_same() {
    let site = start();
    let mut wrong = Vec::new();
    for editor in [None, Some(1)] {
        let mut session = three_filters(editor);
        for at in 0..session.filters.len() {
            // Refusals of the connection end a chain at once (tamis::chain §Verdicts): cases show them.
            for stage in &Stage::ALL[2..] {
                for verdict in verdicts(*stage) {
                    let mut letter = plain_letter(session.letters.len());
                    // Of a discarded message the whole chain hears nothing more.
                    letter.unknown = verdict != Verdict::Discard;
                    session.filters[at].script.rules.push(only_from(&letter, *stage, verdict));
                    session.letters.push(letter);
                }
            }
        }
        wrong.extend(session.differences(&site).iter().map(|what| format!("editor {editor:?}: {what}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_end_of_the_connection_is_the_same_at_every_stage() {
    let site = start();
    let mut wrong = Vec::new();
    for at in 0..3 {
        for stage in &Stage::ALL[2..] {
            let mut session = three_filters(Some(1));
            session.letters = (0..3).map(plain_letter).collect();
            let goodbye = Verdict::Reply {
                code: 421,
                status: Some("4.7.20".to_owned()),
                lines: vec![b"enough for today".to_vec()],
            };
            let rule = only_from(&session.letters[1], *stage, goodbye);
            session.filters[at].script.rules.push(rule);
            let differences = session.differences(&site);
            wrong.extend(differences.iter().map(|what| format!("421 of {at} at {stage:?}: {what}")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn start() -> ChainSite {
    log::show();
    let access = format!("check_recipient_access inline:{{{{{} = REJECT}}}}", filters::NOBODY);
    let restrictions = format!("{access}, permit_mynetworks, reject");
    let settings = vec![("smtpd_recipient_restrictions".to_owned(), restrictions)];
    ChainSite::start(&Config { settings, ..Config::default() })
}

fn number<T: FromStr>(variable: &str, default: T) -> T {
    env::var(variable).ok().map_or(default, |text| {
        text.parse().unwrap_or_else(|_| panic!("{variable} is `{text}`, which is not a number"))
    })
}

fn three_filters(editor: Option<usize>) -> Session {
    let filter = |at| {
        let edit = Edit::AddHeader { name: b"X-Edited".to_vec(), value: b"yes".to_vec() };
        let edits = Rule {
            stage: Stage::EndOfMessage,
            matcher: Matcher::default(),
            actions: vec![Action::Edit(edit)],
        };
        let rules = if editor == Some(at) { vec![edits] } else { Vec::new() };
        let name = ["first", "second", "third"][at].to_owned();
        Member { name, script: Script { rules, ..Script::default() }, events: Vec::new() }
    };
    Session { filters: (0..3).map(filter).collect(), memory: None, letters: Vec::new() }
}

fn plain_letter(number: usize) -> Letter {
    Letter {
        sender: format!("<sender{number}@example.com>"),
        unknown: true,
        recipients: vec!["<bob@example.org>".to_owned(), "<carol@example.org>".to_owned()],
        message: b"From: alice@example.com\r\nSubject: hello\r\n\r\nHello.\r\n".to_vec(),
    }
}

fn only_from(letter: &Letter, stage: Stage, verdict: Verdict) -> Rule {
    // Of two recipients it is about the first.
    let argument = (stage == Stage::Rcpt).then(|| letter.recipients[0].clone().into_bytes());
    let sender = Some(letter.sender.clone().into_bytes());
    let matcher = Matcher { sender, argument, ..Matcher::default() };
    Rule { stage, matcher, actions: vec![Action::Verdict(verdict)] }
}

fn verdicts(stage: Stage) -> Vec<Verdict> {
    let lines = vec![b"no 100% way".to_vec(), b"not at all".to_vec()];
    let reply = Verdict::Reply { code: 550, status: Some("5.7.1".to_owned()), lines };
    let later = vec![b"later".to_vec()];
    let temporary = Verdict::Reply { code: 452, status: Some("4.2.2".to_owned()), lines: later };
    let all = [Verdict::Continue, Verdict::Reject, Verdict::Tempfail, reply, temporary];
    let own = match stage {
        Stage::Unknown => Vec::new(),
        Stage::Body => vec![Verdict::Accept, Verdict::Discard, Verdict::Skip],
        _ => vec![Verdict::Accept, Verdict::Discard],
    };
    all.into_iter().chain(own).collect()
}

//! Random filters, and sessions through them.

use std::mem::{Discriminant, discriminant};

use tamis_interop::case::Member;
use tamis_interop::chain::{Letter, Session};
use tamis_interop::mta::Kind;
use tamis_interop::script::{
    Action, Attention, Edit, KeptEdit, Matcher, Needs, Rule, Script, Stage, Verdict,
};
use tamis_interop::text::filler_body;

use crate::edits::{MESSAGES, random_edit};
use crate::random::Random;

/// Messages of one connection.
const LETTERS: usize = 12;

/// The user that Postfix refuses itself.
pub(crate) const NOBODY: &str = "nobody@lab.test";

/// Two or three filters, and messages that each of them edits or refuses now and then.
pub(crate) fn random_session(random: &mut Random) -> Session {
    let count = 2 + random.below(2);
    let styles: Vec<Style> = (0..count).map(|_| random_style(random)).collect();
    let filters = styles.iter().enumerate().map(|(at, style)| random_filter(random, at, style));
    let mut filters: Vec<Member> = filters.collect();
    let letters = (0..LETTERS).map(|number| {
        let mut letter = random_letter(random, number);
        for (at, filter) in filters.iter_mut().enumerate() {
            let rules = random_rules(random, &letter, &filter.script.needs, &styles[at], at + 1 == count);
            letter.unknown &= !rules.iter().any(discards);
            filter.script.rules.extend(rules);
        }
        letter
    });
    let letters = letters.collect();
    let memory = (random.below(2) == 0).then_some(64);
    Session { filters, memory, letters }
}

fn random_filter(random: &mut Random, at: usize, style: &Style) -> Member {
    let mut needs = Needs {
        rejected_recipients: random.below(3) == 0,
        leading_space: random.below(2) == 0,
        function: matches!(style, Style::Function),
        ..Needs::default()
    };
    for stage in Stage::ALL.into_iter().filter(|stage| *stage != Stage::EndOfMessage) {
        // A session is told apart by the sender of its messages.
        let off = if stage == Stage::Mail { Attention::Watch } else { Attention::Off };
        match random.below(8) {
            _ if needs.function => {}
            0 => drop(needs.stages.insert(stage, Attention::Watch)),
            1 => drop(needs.stages.insert(stage, off)),
            _ => {}
        }
    }
    let name = ["first", "second", "third"][at].to_owned();
    Member { name, script: Script { needs, rules: Vec::new() }, events: Vec::new() }
}

fn random_letter(random: &mut Random, number: usize) -> Letter {
    let mut message = random.pick(&MESSAGES).as_bytes().to_vec();
    match random.below(12) {
        0 => message.extend(filler_body(70_000)),
        1 => message.truncate(message.windows(4).position(|end| end == b"\r\n\r\n").expect("a header") + 4),
        _ => {}
    }
    let all = ["<bob@example.org>", "<carol@example.org>", "<Dave@example.org>", "<nobody@lab.test>"];
    let recipients =
        all.iter().filter(|_| random.below(4) != 0).map(|address| (*address).to_owned()).collect();
    let unknown = random.below(6) == 0;
    Letter { sender: format!("<sender{number}@example.com>"), unknown, recipients, message }
}

/// Postfix tells a filter that discards a message nothing more of it, and so neither the chain that it is in; the
/// other ones on connections of their own are still told of unknown commands.
fn discards(rule: &Rule) -> bool {
    rule.actions.contains(&Action::Verdict(Verdict::Discard))
}

/// How a filter edits.
enum Style {
    /// As it comes on the wire, anything.
    Anything,
    /// As it comes on the wire, always the same kind of edit, so that only its action is asked for.
    Kind(Discriminant<Edit>),
    /// What the library keeps.
    Kept,
    /// As a function over the message.
    Function,
    Nothing,
}

fn random_style(random: &mut Random) -> Style {
    match random.below(10) {
        0..3 => Style::Anything,
        3..5 => Style::Kind(discriminant(&random_edit(random, Kind::Postfix))),
        5..7 => Style::Kept,
        7..9 => Style::Function,
        _ => Style::Nothing,
    }
}

fn random_edits(random: &mut Random, style: &Style) -> Vec<Action> {
    let most = random.below(6);
    let edits = |random: &mut Random| -> Vec<Edit> {
        (0..most).map(|_| random_edit(random, Kind::Postfix)).collect()
    };
    match style {
        Style::Anything => edits(random).into_iter().map(Action::Edit).collect(),
        Style::Kind(kind) => {
            let of_kind = |_| {
                std::iter::repeat_with(|| random_edit(random, Kind::Postfix))
                    .find(|edit| discriminant(edit) == *kind)
            };
            (0..most).filter_map(of_kind).map(Action::Edit).collect()
        }
        Style::Kept => (0..most).map(|_| Action::Kept(random_kept_edit(random))).collect(),
        Style::Function if random.below(2) == 0 => edits(random).into_iter().map(Action::Edit).collect(),
        Style::Function => (0..most).map(|_| Action::Kept(random_kept_edit(random))).collect(),
        Style::Nothing => Vec::new(),
    }
}

fn random_kept_edit(random: &mut Random) -> KeptEdit {
    let name = random.pick(&["Subject", "X-Dup", "x-dup", "X-New", "X-Other", "Received", "To"]).into();
    // An empty one takes no field's place.
    let value = random.pick(&["changed", " lead", "fold\r\n\tone\n two", "100% caf\u{e9}", "tab\tin"]).into();
    let field = 1 + random.below(15);
    match random.below(9) {
        0 => KeptEdit::Append { name, value },
        1 => KeptEdit::Prepend { name, value },
        2 => KeptEdit::Set { name, value },
        3 => KeptEdit::RemoveAll { name },
        4 => KeptEdit::InsertBefore { field, name, value },
        5 => KeptEdit::InsertAfter { field, name, value },
        6 => KeptEdit::Replace { field, value },
        7 => KeptEdit::Remove { field },
        _ => KeptEdit::ExtendBody(random.pick(&[&b"and more\r\n"[..], b"no end", b"\r\n\n", b""]).into()),
    }
}

/// What a filter does with a letter: edits at its end, and a verdict somewhere.
fn random_rules(
    random: &mut Random,
    letter: &Letter,
    needs: &Needs,
    style: &Style,
    is_last: bool,
) -> Vec<Rule> {
    let rule = |stage, actions| Rule {
        stage,
        matcher: Matcher { sender: Some(letter.sender.clone().into()), ..Matcher::default() },
        actions,
    };
    let mut actions: Vec<Action> = Vec::new();
    if random.below(4) != 0 {
        actions = random_edits(random, style);
    }
    if matches!(style, Style::Anything) && random.below(5) == 0 {
        actions.push(Action::Edit(Edit::AppendBody(
            random.pick(&[&b"more\r\n"[..], b"no end", b"\r\n\n"]).into(),
        )));
    }
    // After an earlier one Postfix asks no other filter.
    if is_last && random.below(8) == 0 {
        actions.push(Action::Edit(Edit::Quarantine { reason: b"odd".to_vec() }));
    }
    // A function may ask for edits of the header as soon as it has seen it.
    let of_body = |action: &Action| matches!(action, Action::Kept(KeptEdit::ExtendBody(_)));
    let early = needs.function && random.below(3) == 0 && !actions.iter().any(of_body);
    let mut rules = vec![rule(if early { Stage::EndOfHeaders } else { Stage::EndOfMessage }, actions)];
    if random.below(6) == 0 {
        // A refused connection or greeting is no message, and a verdict where no reply was agreed is a failure.
        let of_function = [Stage::Mail, Stage::Rcpt, Stage::EndOfHeaders, Stage::EndOfMessage];
        let answered = |stage: &&Stage| {
            !needs.stages.contains_key(*stage) && (!needs.function || of_function.contains(*stage))
        };
        let stages: Vec<Stage> = Stage::ALL[2..].iter().filter(answered).copied().collect();
        let stage = random.pick(&stages);
        let verdict = match style {
            // In a chain the library keeps all of a body that another filter wants more of.
            Style::Kept if stage == Stage::Body => Verdict::Accept,
            _ if stage == Stage::Body && random.below(2) == 0 => Verdict::Skip,
            // A recipient is all that a function can refuse there.
            Style::Function if stage == Stage::Rcpt && random.below(2) == 0 => Verdict::Reject,
            Style::Function if stage == Stage::Rcpt => Verdict::Tempfail,
            _ => random_verdict(random, stage),
        };
        let verdict = Action::Verdict(verdict);
        match rules.iter_mut().find(|rule| rule.stage == stage) {
            Some(rule) => rule.actions.push(verdict),
            None => rules.push(rule(stage, vec![verdict])),
        }
    }
    rules
}

fn random_verdict(random: &mut Random, stage: Stage) -> Verdict {
    let reply = |code, status: &str, lines: &[&str]| Verdict::Reply {
        code,
        status: Some(status.to_owned()),
        lines: lines.iter().map(|line| line.as_bytes().to_vec()).collect(),
    };
    match random.below(if stage == Stage::Unknown { 4 } else { 7 }) {
        0 => Verdict::Reject,
        1 => Verdict::Tempfail,
        2 => reply(550, "5.7.1", &["no 100% way", "not at all"]),
        3 => reply(451, "4.7.1", &["later"]),
        4 => Verdict::Discard,
        _ => Verdict::Accept,
    }
}

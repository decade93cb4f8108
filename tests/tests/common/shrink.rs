//! Makes a session smaller that fails, for a person to read.

use std::fmt::Write as _;

use tamis_interop::chain::Session;
use tamis_interop::script::{Action, Attention, Needs};
use tamis_interop::text::escape;

/// Leaves out whatever the session fails without.
pub(crate) fn shrink(mut session: Session, fails: &dyn Fn(&Session) -> bool) -> Session {
    loop {
        let before = size(&session);
        for at in (0..session.letters.len()).rev() {
            let mut less = session.clone();
            let letter = less.letters.remove(at);
            for filter in &mut less.filters {
                filter
                    .script
                    .rules
                    .retain(|rule| rule.matcher.sender.as_deref() != Some(letter.sender.as_bytes()));
            }
            keep(&mut session, less, fails);
        }
        for filter in (0..session.filters.len()).rev() {
            if session.filters.len() > 2 {
                let mut less = session.clone();
                less.filters.remove(filter);
                if keep(&mut session, less, fails) {
                    continue;
                }
            }
            shrink_filter(&mut session, filter, fails);
        }
        for letter in 0..session.letters.len() {
            for recipient in (0..session.letters[letter].recipients.len()).rev() {
                let mut less = session.clone();
                less.letters[letter].recipients.remove(recipient);
                keep(&mut session, less, fails);
            }
        }
        if size(&session) == before {
            return session;
        }
    }
}

fn shrink_filter(session: &mut Session, filter: usize, fails: &dyn Fn(&Session) -> bool) {
    let mut less = session.clone();
    less.filters[filter].script.needs = Needs::default();
    keep(session, less, fails);
    for stage in session.filters[filter].script.needs.stages.clone().into_keys() {
        let mut less = session.clone();
        less.filters[filter].script.needs.stages.remove(&stage);
        keep(session, less, fails);
    }
    for rule in (0..session.filters[filter].script.rules.len()).rev() {
        for action in (0..session.filters[filter].script.rules[rule].actions.len()).rev() {
            let mut less = session.clone();
            less.filters[filter].script.rules[rule].actions.remove(action);
            keep(session, less, fails);
        }
    }
}

fn keep(session: &mut Session, less: Session, fails: &dyn Fn(&Session) -> bool) -> bool {
    let smaller = size(&less) < size(session) && fails(&less);
    if smaller {
        *session = less;
    }
    smaller
}

fn size(session: &Session) -> usize {
    let of_filter = |filter: &tamis_interop::case::Member| {
        let needs = &filter.script.needs;
        let flags = [needs.leading_space, needs.rejected_recipients, needs.function];
        let flags = flags.into_iter().filter(|flag| *flag).count();
        1 + flags + needs.stages.len() + filter.script.all_actions().count()
    };
    let letters = session.letters.iter().map(|letter| 1 + letter.recipients.len());
    session.filters.iter().map(of_filter).sum::<usize>() + letters.sum::<usize>()
}

/// A session in the words of a case file.
pub(crate) fn as_case(session: &Session) -> String {
    let mut text = String::new();
    if let Some(memory) = session.memory {
        let _ = write!(text, "[chain]\nmemory = {memory}\n\n");
    }
    for filter in &session.filters {
        let needs = &filter.script.needs;
        let _ = writeln!(text, "[filter {}]", filter.name);
        for (stage, attention) in &needs.stages {
            let attention = match attention {
                Attention::Answer => "answer",
                Attention::Watch => "watch",
                Attention::Off => "off",
            };
            let _ = writeln!(text, "needs {} {attention}", stage.word());
        }
        if needs.function {
            text.push_str("needs to-be-a-function\n");
        }
        if needs.leading_space {
            text.push_str("needs leading-space\n");
        }
        if needs.rejected_recipients {
            text.push_str("needs rejected-recipients\n");
        }
        for rule in &filter.script.rules {
            let from = rule.matcher.sender.as_ref().map(|sender| format!(" from {}", escape(sender)));
            for action in &rule.actions {
                let _ = writeln!(
                    text,
                    "on {}{} {}",
                    rule.stage.word(),
                    from.as_deref().unwrap_or_default(),
                    action_words(action)
                );
            }
        }
        text.push('\n');
    }
    for letter in &session.letters {
        let unknown = if letter.unknown { " (with unknown commands)" } else { "" };
        let _ = writeln!(text, "{} to {}{unknown}", letter.sender, letter.recipients.join(" "));
        for line in letter.message.split_inclusive(|byte| *byte == b'\n').take(20) {
            let _ = writeln!(text, "| {}", escape(line));
        }
    }
    text
}

fn action_words(action: &Action) -> String {
    match action {
        Action::Edit(edit) => crate::edits::words(edit),
        Action::Kept(edit) => format!("{edit:?}"),
        Action::Verdict(verdict) => format!("{verdict:?}"),
        Action::Macro(name) => format!("macro {name}"),
        Action::Sleep(time) => format!("sleep {time:?}"),
    }
}

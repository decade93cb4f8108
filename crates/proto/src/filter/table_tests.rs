//! Walks every state, command and set of switched-off stages, against libmilter's table as the specification has
//! it (§6.2–6.4), and writes `docs/session-table.md`.

use std::fmt::Write;

use super::*;

/// libmilter's states by number, each with the letters that may follow directly (spec §6.2) and the step that
/// switches the state off (spec §6.3).
const LIBMILTER: [(&str, &str, Steps); 15] = [
    ("INIT", "O", Steps::empty()),
    ("OPTS", "CU", Steps::empty()),
    ("CONN", "HMU", Steps::NO_CONNECT),
    ("HELO", "HMU", Steps::NO_HELO),
    ("MAIL", "RAU", Steps::NO_MAIL),
    ("RCPT", "RTLNBEAU", Steps::NO_RCPT),
    ("DATA", "LNA", Steps::NO_DATA),
    ("HDRS", "LNA", Steps::NO_HEADER),
    ("EOHS", "BEA", Steps::NO_END_OF_HEADERS),
    ("BODY", "BEA", Steps::NO_BODY),
    ("ENDM", "MUQK", Steps::empty()),
    ("QUIT", "", Steps::empty()),
    ("ABRT", "", Steps::empty()),
    ("UNKN", "HMRTBAUQK", Steps::NO_UNKNOWN),
    ("Q_NC", "CU", Steps::empty()),
];

const HELO: usize = 3;

/// What libmilter makes of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Libmilter {
    Executes { aborts: bool },
    Ignores { aborts: bool },
}

fn direct(mut state: usize, letter: char, steps: Steps) -> bool {
    loop {
        if LIBMILTER[state].1.contains(letter) {
            return true;
        }
        match LIBMILTER.get(state + 1) {
            Some((_, _, off)) if !off.is_empty() && steps.contains(*off) => state += 1,
            _ => return false,
        }
    }
}

fn libmilter(state: usize, letter: char, steps: Steps) -> Libmilter {
    let aborts = (4..=9).contains(&state);
    if letter == 'D' || direct(state, letter, steps) {
        Libmilter::Executes { aborts: false }
    } else if letter == 'Q' || direct(HELO, letter, steps) {
        Libmilter::Executes { aborts }
    } else {
        Libmilter::Ignores { aborts }
    }
}

/// The state of libmilter's that one of ours stands for. UNKN and `Q_NC` have none: unknown commands do not change
/// our state, and a new connection begins where the negotiation ended.
fn libmilter_state(state: State) -> Option<usize> {
    let name = match state {
        State::Fresh => "INIT",
        State::Negotiated => "OPTS",
        State::Connected => "CONN",
        // Where a verdict that ends the message leads libmilter (spec §6.6).
        State::Greeted | State::Settled => "HELO",
        State::Mail => "MAIL",
        State::Rcpt => "RCPT",
        State::Data => "DATA",
        State::Headers => "HDRS",
        State::EndOfHeaders => "EOHS",
        State::Body => "BODY",
        State::Ended => "ENDM",
        State::Closed => return None,
    };
    LIBMILTER.iter().position(|row| row.0 == name)
}

/// Where Tamis differs on purpose, by number from 1.
const REASONS: [&str; 8] = [
    "Before the negotiation only macros and the end may come (§12.2); libmilter ignores most commands there, and \
     executes helo, mail and unknown.",
    "An unknown command never changes the state (§6.4 b). libmilter aborts the message in these states and executes \
     it; where it is legal, libmilter goes to a state of its own, forgets the message without an abort, and leaves a \
     header that follows without an answer.",
    "Quit-new-connection is legal everywhere (§2.13). libmilter ignores it, and then the connect that follows.",
    "An abort outside a message is nothing (§2.12). With no-mail, libmilter tells of it each time (§6.3).",
    "A second negotiation ends the session (§12.2); libmilter leaves it unanswered.",
    "The message was decided before its end and the MTA goes on all the same: the answer is repeated, and accept is \
     said as continue before the end of message. libmilter leaves the MTA without an answer (§6.6).",
    "Out of order: the session ends, with the abort of an open message (§6.4). libmilter leaves the MTA without an \
     answer.",
    "A message may have no header fields (§6.5): where the end of headers is switched off, the body or the end of \
     message follows data. libmilter leaves the MTA without an answer.",
];

/// What Tamis should do, given what libmilter does, and the number of the reason if that differs.
fn intended(state: State, kind: Kind, steps: Steps) -> (Step, Option<usize>) {
    let number = libmilter_state(state).expect("the closed state is not compared");
    let libmilter = libmilter(number, char::from(kind.code()), steps);
    let ignored = matches!(libmilter, Libmilter::Ignores { .. });
    let abort_first = if state.in_message() { Step::AbortFirst } else { Step::Go };
    let of_message = kind.stage().is_some_and(Stage::in_message);
    match kind {
        Kind::Negotiate if ignored => (Step::Refuse, Some(5)),
        _ if state == State::Fresh && !matches!(kind, Kind::Negotiate | Kind::Macros | Kind::Quit) => {
            (Step::Refuse, Some(1))
        }
        Kind::Unknown => (Step::Go, (libmilter != Libmilter::Executes { aborts: false }).then_some(2)),
        Kind::QuitNewConnection => (abort_first, ignored.then_some(3)),
        Kind::Body | Kind::EndOfMessage
            if state == State::Data && steps.contains(Steps::NO_END_OF_HEADERS) =>
        {
            (Step::Go, (libmilter != Libmilter::Executes { aborts: false }).then_some(8))
        }
        Kind::Abort if !state.in_message() => (Step::Ignore, (!ignored).then_some(4)),
        _ if ignored && state == State::Settled && of_message => (Step::Repeat, Some(6)),
        _ if ignored => (Step::Refuse, Some(7)),
        _ if libmilter == (Libmilter::Executes { aborts: true }) => (Step::AbortFirst, None),
        _ => (Step::Go, None),
    }
}

/// Every set of stages that can be switched off.
fn switched_off() -> impl Iterator<Item = Steps> {
    let bits: Vec<Steps> = Steps::NO_STAGES.iter().collect();
    assert_eq!(bits.len(), 9);
    (0..1 << bits.len()).map(move |set: u32| {
        bits.iter().enumerate().filter(|(at, _)| set >> at & 1 == 1).map(|(_, bit)| *bit).collect()
    })
}

#[test]
fn every_command_in_every_state_does_what_libmilter_does_but_where_a_reason_says_otherwise() {
    let mut used = [false; REASONS.len()];
    for state in State::ALL {
        for kind in Kind::ALL {
            for steps in switched_off() {
                if state == State::Closed {
                    assert_eq!(state.step(kind, steps), Step::Refuse, "{kind} when closed");
                    continue;
                }
                let (ours, reason) = intended(state, kind, steps);
                assert_eq!(state.step(kind, steps), ours, "{kind} in state {}, steps {steps}", state.name());
                if let Some(reason) = reason {
                    used[reason - 1] = true;
                }
            }
        }
    }
    assert_eq!(used, [true; REASONS.len()], "a reason that explains nothing");
}

#[test]
fn bits_that_are_not_about_stages_change_nothing() {
    let others = !Steps::NO_STAGES;
    for state in State::ALL {
        for kind in Kind::ALL {
            for steps in switched_off() {
                assert_eq!(state.step(kind, steps | others), state.step(kind, steps));
            }
        }
    }
}

#[test]
fn no_command_that_is_answered_is_ignored() {
    for state in State::ALL {
        for kind in Kind::ALL.into_iter().filter(|kind| kind.stage().is_some()) {
            for steps in switched_off() {
                assert_ne!(state.step(kind, steps), Step::Ignore, "{kind} in state {}", state.name());
            }
        }
    }
}

/// The smallest sets of bits that are members of an upward closed family.
fn minimal(members: &[Steps]) -> Vec<Steps> {
    let smaller = |set: &&Steps| !members.iter().any(|other| *other != **set && set.contains(*other));
    members.iter().filter(smaller).copied().collect()
}

fn condition(sets: &[Steps]) -> String {
    let set = |set: &Steps| set.to_string().replace('|', " and ");
    sets.iter().map(set).collect::<Vec<_>>().join(", or ")
}

/// One cell of the committed table.
fn cell(state: State, kind: Kind) -> String {
    let outcomes: Vec<_> = switched_off().map(|steps| (steps, state.step(kind, steps))).collect();
    let of = |wanted: &[Step]| -> Vec<Steps> {
        outcomes.iter().filter(|(_, step)| wanted.contains(step)).map(|(steps, _)| *steps).collect()
    };
    let go = minimal(&of(&[Step::Go]));
    let mut abort = minimal(&of(&[Step::Go, Step::AbortFirst]));
    abort.retain(|set| state.step(kind, *set) == Step::AbortFirst);
    let mut rest: Vec<Step> = outcomes.iter().map(|(_, step)| *step).collect();
    rest.retain(|step| !matches!(step, Step::Go | Step::AbortFirst));
    rest.dedup();
    assert!(rest.len() <= 1, "{kind} in state {} has no simple rule", state.name());
    // What the cell says must be the whole truth.
    for (steps, step) in &outcomes {
        let said = if go.iter().any(|set| steps.contains(*set)) {
            Step::Go
        } else if abort.iter().any(|set| steps.contains(*set)) {
            Step::AbortFirst
        } else {
            rest[0]
        };
        assert_eq!(said, *step, "{kind} in state {} with {steps}", state.name());
    }
    let mut parts = Vec::new();
    for (what, sets) in [("go", &go), ("abort, then go", &abort)] {
        match sets.as_slice() {
            [] => {}
            [set] if set.is_empty() => parts.push(what.to_owned()),
            sets => parts.push(format!("{what} if {}", condition(sets))),
        }
    }
    if let Some(rest) = rest.first() {
        let otherwise = if parts.is_empty() { "" } else { "else " };
        let what = match rest {
            Step::Ignore => "ignored",
            Step::Repeat => "repeated",
            Step::Refuse => "refused",
            Step::Go | Step::AbortFirst => unreachable!("filtered above"),
        };
        parts.push(format!("{otherwise}{what}"));
    }
    let mut reasons: Vec<usize> = switched_off().filter_map(|steps| intended(state, kind, steps).1).collect();
    reasons.sort_unstable();
    reasons.dedup();
    let mut out = parts.join("; ");
    for number in reasons {
        write!(out, " [{number}]").expect("strings take everything");
    }
    out
}

fn table(kinds: &[Kind]) -> String {
    let mut out = "| state |".to_owned();
    for kind in kinds {
        write!(out, " `{}` {kind} |", char::from(kind.code())).expect("strings take everything");
    }
    out += "\n|";
    out += &" --- |".repeat(kinds.len() + 1);
    out += "\n";
    for state in State::ALL.into_iter().filter(|state| *state != State::Closed) {
        write!(out, "| {} |", state.name()).expect("strings take everything");
        for kind in kinds {
            write!(out, " {} |", cell(state, *kind)).expect("strings take everything");
        }
        out += "\n";
    }
    out
}

fn document() -> String {
    use Kind::{
        Abort, Body, Connect, Data, EndOfHeaders, EndOfMessage, Header, Helo, Macros, Mail, Negotiate, Quit,
        QuitNewConnection, Rcpt, Unknown,
    };
    let mut out = "\
# What a filter's session does with each command

Generated from `crates/proto/src/filter/table.rs`, checked by a test; after a change of the rules:

```sh
TAMIS_BLESS=1 cargo test -p tamis-proto session_table
```

- **go**: the command is handled.
- **abort, then go**: the open message ends as aborted, then the command is handled.
- **ignored**: nothing happens; the command is one that is never answered.
- **repeated**: the verdict that ended the message is said again.
- **refused**: the MTA broke the protocol; the session ends, with the abort of an open message.

`if no-mail` means: if that step was agreed on. Everything else that is agreed on changes nothing here. A verdict
that ends a message before its end leads to *settled*. Once a session is closed, everything is refused. Numbers say
why Tamis does something else than libmilter, below; sections are those of [protocol.md](protocol.md).

## Commands of the session

"
    .to_owned();
    out += &table(&[Negotiate, Connect, Helo, Unknown, Macros, Abort, Quit, QuitNewConnection]);
    out += "\n## Commands of a message\n\n";
    out += &table(&[Mail, Rcpt, Data, Header, EndOfHeaders, Body, EndOfMessage]);
    out += "\n## Where it is not what libmilter does\n\n";
    for (number, reason) in REASONS.iter().enumerate() {
        writeln!(out, "{}. {reason}", number + 1).expect("strings take everything");
    }
    out += "\nlibmilter also keeps one table for all sessions of a process, so that what one filter switches off \
            loosens the\nrules of all others (§6.3). Here each session has its own.\n";
    out
}

#[test]
fn session_table_in_the_documentation_is_up_to_date() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/session-table.md");
    let now = document();
    if std::env::var_os("TAMIS_BLESS").is_some() {
        std::fs::write(&path, now).expect("docs can be written");
        return;
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    let mut changes = String::new();
    for (old, new) in committed.lines().zip(now.lines()).filter(|(old, new)| old != new).take(5) {
        write!(changes, "- {old}\n+ {new}\n").expect("strings take everything");
    }
    assert!(
        committed == now,
        "docs/session-table.md is stale ({} lines, should be {}):\n{changes}run TAMIS_BLESS=1 cargo test -p tamis-proto \
         session_table",
        committed.lines().count(),
        now.lines().count(),
    );
}

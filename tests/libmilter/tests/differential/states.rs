//! The state machine: which command is executed where (specification §6.2–§6.5).

use tamis_libmilter_tests::rules::Rule;
use tamis_libmilter_tests::script::{Callback, Script};
use tamis_libmilter_tests::session::{Session, Setup};
use tamis_libmilter_tests::stock::bits;

use crate::judged;

const COMMANDS: &str = "OCHMRTLNBEAUQKD";

/// Ways into every state.
const WAYS: [&str; 17] = [
    "",
    "O",
    "OC",
    "OCH",
    "OCHM",
    "OCHMR",
    "OCHMRT",
    "OCHMRTL",
    "OCHMRTLN",
    "OCHMRTLNB",
    "OCHMRTLNBE",
    "OCHMRA",
    "OCU",
    "OCHMRU",
    "OCHMRTLU",
    "OCHMRTLNBEU",
    "OCHMRTLNBEK",
];

fn everything() -> Session {
    Session::new(Script::default().with_everything())
}

#[test]
fn every_pair_of_commands_in_every_state() {
    let pairs = COMMANDS.chars().flat_map(|one| COMMANDS.chars().map(move |two| [one, two]));
    let sessions = WAYS.iter().flat_map(|way| {
        pairs.clone().map(move |pair| everything().letters(way).letters(&pair.iter().collect::<String>()))
    });
    judged(&Setup::default(), sessions);
}

#[test]
fn every_command_in_every_state_with_any_step_switched_off() {
    let all = [
        bits::NO_CONNECT,
        bits::NO_HELO,
        bits::NO_MAIL,
        bits::NO_RCPT,
        bits::NO_DATA,
        bits::NO_HEADERS,
        bits::NO_EOH,
        bits::NO_BODY,
        bits::NO_UNKNOWN,
        bits::NO_EOH | bits::NO_BODY,
        bits::NO_MAIL | bits::NO_RCPT | bits::NO_DATA,
        bits::NO_CONNECT | bits::NO_HELO | bits::NO_MAIL,
        bits::NO_HEADERS | bits::NO_EOH,
        bits::NO_ANYTHING,
    ];
    for off in all {
        let script = Script::default().calls(Callback::Negotiate, 0, format!("out 1 {off:#x}"));
        let sessions = WAYS.iter().flat_map(|way| {
            let session = Session::new(script.clone()).letters(way);
            COMMANDS.chars().map(move |command| session.clone().letters(&command.to_string()).letters("ME"))
        });
        judged(&Setup::default(), sessions);
    }
}

/// The table of §6.4, with what ours does otherwise.
#[test]
fn the_documented_sequences_do_what_is_documented() {
    let table: [(&str, Option<Rule>); 22] = [
        ("OCHL", Some(Rule::OutOfOrder)),
        ("OCHR", Some(Rule::OutOfOrder)),
        ("OCC", Some(Rule::OutOfOrder)),
        ("OCO", Some(Rule::OutOfOrder)),
        ("OH", None),
        ("OCHMM", None),
        ("OCHMRH", None),
        ("OCHMRAM", None),
        ("OCHA", None),
        ("OCHMRTLNBEAM", None),
        ("OCHMRTLNBEH", None),
        ("OCHMRBE", None),
        ("OCHMRE", None),
        ("OCHMRTB", Some(Rule::OutOfOrder)),
        ("OCHMRTLB", Some(Rule::OutOfOrder)),
        ("OCHME", Some(Rule::OutOfOrder)),
        ("OCHMRUL", Some(Rule::UnknownKeepsMessage)),
        ("OCHMRUTL", None),
        ("OUC", Some(Rule::UnknownKeepsState)),
        ("OCHMRQ", None),
        ("OCHMRTLNBEKCHM", None),
        ("OCHKC", Some(Rule::AnyNewConnection)),
    ];
    for (letters, rule) in table {
        // Something behind it shows whether it was the end.
        let counts = judged(&Setup::default(), [everything().letters(letters).letters("MR")]);
        assert_eq!(counts.into_keys().collect::<Vec<_>>(), Vec::from_iter(rule), "{letters}");
    }
}

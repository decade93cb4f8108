//! Messages that go through a filter with edits and a real MTA, compared with what the edit model foretells.
//!
//! `TAMIS_MODEL_CASES=2000` tries more of them, `TAMIS_MODEL_SEED` others.

use std::env;
use std::time::Duration;

use tamis::proto::Edit as WireEdit;
use tamis::proto::edit::model::{Message, Model, Path, Profile};
use tamis_interop::case::Config;
use tamis_interop::host::FilterHost as _;
use tamis_interop::mta::{HOST_NAME, Kind};
use tamis_interop::script::{Action, Edit, Matcher, Rule, Script, Stage};
use tamis_interop::site::Site;
use tamis_interop::smtp::Client;
use tamis_interop::text::escape;

use crate::common;
use crate::edits::words;
use crate::random::Random;

const PATIENCE: Duration = Duration::from_mins(1);
const DEFAULT_CASES: usize = 120;
/// Messages of one connection.
const BATCH: usize = 30;

pub(crate) const RECIPIENTS: [&str; 3] = ["bob@example.org", "carol@example.org", "Dave@example.org"];

/// Fields that Sendmail's usual configuration has a template for, in its order, below its `Received`.
const TEMPLATES: [&str; 7] =
    ["Resent-Date", "Date", "Resent-From", "From", "Full-Name", "Resent-Message-Id", "Message-Id"];

/// A message, what is done to it, and what is to be delivered.
pub(crate) struct Case {
    pub(crate) message: String,
    pub(crate) edits: Vec<Edit>,
    pub(crate) foretold: String,
}

/// Sends messages through a filter with edits, and compares what is delivered with what was foretold. Whoever makes
/// the cases is told whether the filter deals with the leading space of values.
pub(crate) fn check(mta: Kind, mut make: impl FnMut(&mut Random, bool) -> Case) {
    let count = env::var("TAMIS_MODEL_CASES").map_or(DEFAULT_CASES, |text| text.parse().expect("a number"));
    let seed = env::var("TAMIS_MODEL_SEED").map_or(20_261_120, |text| text.parse().expect("a number"));
    let mut random = Random::new(seed);

    // Over TCP both MTAs wait at each step until what they wrote last is acknowledged, which takes 40 ms.
    let site = Site::start(&Config { unix_socket: true, ..config(mta) });
    let mut wrong = Vec::new();
    // A connection has many messages, each with edits of its own.
    for (number, first) in (0..count).step_by(BATCH).enumerate() {
        let leading_space = number % 2 == 1;
        let cases: Vec<Case> =
            (first..count.min(first + BATCH)).map(|_| make(&mut random, leading_space)).collect();
        let rules = cases.iter().zip(1..).map(|(case, number)| rule(Some(number), &case.edits));
        let mut script = Script { rules: rules.collect(), ..Script::default() };
        script.needs.leading_space = leading_space;
        let filter = common::host().start(&script, &site.listen);
        let mut client = hello(&site);
        for Case { message, edits, foretold } in &cases {
            deliver(&mut client, message);
            let got = delivered(&site);
            if got != *foretold {
                wrong.push(format!("{}\n--- foretold\n{foretold}\n+++ delivered\n{got}", shown(edits)));
            }
        }
        say(&mut client, "QUIT", 221);
        drop(filter);
    }
    let total = wrong.len();
    wrong.truncate(5);
    assert!(total == 0, "{total} of {count} messages are not as foretold\n\n{}", wrong.join("\n\n"));
}

pub(crate) fn config(mta: Kind) -> Config {
    let settings = match mta {
        Kind::Postfix => Vec::new(),
        // As it comes, with a Date and a Message-Id where there is none.
        Kind::Sendmail => vec![("generate".to_owned(), "yes".to_owned())],
    };
    Config { mta, settings, ..Config::default() }
}

pub(crate) fn rule(message: Option<u32>, edits: &[Edit]) -> Rule {
    Rule {
        stage: Stage::EndOfMessage,
        matcher: Matcher { message, ..Matcher::default() },
        actions: edits.iter().cloned().map(Action::Edit).collect(),
    }
}

pub(crate) fn hello(site: &Site) -> Client {
    let mut client = Client::connect(site.mta.smtp()).unwrap();
    client.reply().unwrap();
    say(&mut client, "EHLO tester.example", 250);
    client
}

pub(crate) fn deliver(client: &mut Client, message: &str) {
    say(client, "MAIL FROM:<alice@example.com>", 250);
    for recipient in RECIPIENTS {
        say(client, &format!("RCPT TO:<{recipient}>"), 250);
    }
    say(client, "DATA", 354);
    client.message(message.as_bytes()).unwrap();
    let reply = client.reply().unwrap();
    assert_eq!(reply.code(), 250, "{reply}");
}

pub(crate) fn say(client: &mut Client, line: &str, code: u16) {
    let reply = client.command(line).unwrap();
    assert_eq!(reply.code(), code, "{line}: {reply}");
}

/// What was delivered, as text that compares.
fn delivered(site: &Site) -> String {
    assert!(site.mta.wait_until_idle(PATIENCE), "messages are still on their way");
    let mut parts = site.sink.take();
    // Recipients with different parameters can leave in transactions of their own.
    let Some(first) = parts.pop() else { return "nothing".to_owned() };
    assert!(parts.iter().all(|part| part.message == first.message && part.mail == first.mail));
    let recipients = parts.iter().flat_map(|part| &part.rcpt).chain(&first.rcpt);
    text(&path(&first.mail), recipients.map(|rcpt| path(rcpt)), &with_known_fields(&first.message))
}

/// An address and its arguments as they came, but for those that the MTA adds.
fn path(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let (address, arguments) = text.rsplit_once('>').expect("an MTA writes brackets");
    let address = address.trim_start_matches('<');
    let original = format!("ORCPT=rfc822;{}", address.replace(' ', "+20"));
    let added = |argument: &str| argument.starts_with("BODY=") || argument == original;
    let given = arguments.split_whitespace().filter(|argument| !added(argument));
    path_text(address, given.map(str::to_owned))
}

fn path_text(address: &str, arguments: impl Iterator<Item = String>) -> String {
    let mut arguments: Vec<String> = arguments.collect();
    arguments.sort();
    format!("<{address}> {}", arguments.join(" ")).trim_end().to_owned()
}

/// Puts lines of known text where the MTA's own fields are.
fn with_known_fields(message: &[u8]) -> Vec<u8> {
    let lines: Vec<&[u8]> = message.split_inclusive(|byte| *byte == b'\n').collect();
    let mut out = Vec::new();
    let mut at = 0;
    while at < lines.len() && lines[at] != b"\r\n" {
        let length = 1 + lines[at + 1..].iter().take_while(|line| matches!(line[0], b' ' | b'\t')).count();
        let field = lines[at..at + length].concat();
        match own_field(&String::from_utf8_lossy(&field)) {
            Some(known) => out.extend_from_slice(format!("{known}\r\n").as_bytes()),
            None => out.extend_from_slice(&field),
        }
        at += length;
    }
    out.extend(lines[at..].concat());
    out
}

fn own_field(field: &str) -> Option<&'static str> {
    let name = field.split(':').next().unwrap_or_default();
    match name {
        "Received" if field.contains(&format!("by {HOST_NAME} (")) => Some(OWN_RECEIVED),
        "Date" if field.ends_with(" GMT\r\n") || (field.contains("202") && !field.contains("08:00:00")) => {
            Some(OWN_DATE)
        }
        "Message-Id" if field.contains(HOST_NAME) => Some(OWN_ID),
        _ => None,
    }
}

const OWN_RECEIVED: &str = "Received: the MTA's own";
const OWN_DATE: &str = "Date: the MTA's own";
const OWN_FROM: &str = "From: alice@example.com";
const OWN_ID: &str = "Message-Id: the MTA's own";

/// What the model says, as text that compares.
pub(crate) fn foretold(mta: Kind, message: &str, edits: &[Edit], leading_space: bool) -> String {
    let mut model = model(mta, message).leading_space(leading_space);
    apply(&mut model, edits);
    let message = model.finish();
    if message.recipients.is_empty() {
        return "nothing".to_owned();
    }
    let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let path =
        |path: &Path| path_text(&lossy(&path.address), path.args.iter().map(|argument| lossy(argument)));
    text(&path(&message.sender), message.recipients.iter().map(path), &message.to_bytes())
}

pub(crate) fn apply(model: &mut Model, edits: &[Edit]) {
    // A replaced body leaves the filter last, whenever it was asked for.
    let (body, others): (Vec<_>, Vec<_>) =
        edits.iter().partition(|edit| matches!(edit, Edit::ReplaceBody(_)));
    for edit in others.into_iter().chain(body) {
        model.apply(&wire(edit)).expect("no edit of these is refused");
    }
}

/// The message as the MTA has it when the filter is asked.
pub(crate) fn model(mta: Kind, message: &str) -> Model {
    let client = Message::parse(message.as_bytes());
    let missing =
        |name: &str| !client.headers.iter().any(|field| field.name.eq_ignore_ascii_case(name.as_bytes()));
    let generated = [("Date", OWN_DATE), ("From", OWN_FROM), ("Message-Id", OWN_ID)];
    let generated = generated.iter().filter(|(name, _)| mta == Kind::Sendmail && missing(name));
    let own: Vec<&str> = std::iter::once(OWN_RECEIVED).chain(generated.map(|(_, field)| *field)).collect();
    let mut parsed = Message::parse(format!("{}\r\n{message}", own.join("\r\n")).as_bytes());
    parsed.sender = Path::new("alice@example.com");
    parsed.recipients = RECIPIENTS.iter().map(Path::new).collect();
    match mta {
        Kind::Postfix => Model::new(Profile::Postfix, parsed).own_fields(own.len()),
        Kind::Sendmail => {
            Model::new(Profile::Sendmail, parsed).own_fields(own.len()).blank_defaults(TEMPLATES)
        }
    }
}

fn wire(edit: &Edit) -> WireEdit<&[u8]> {
    match edit {
        Edit::AddHeader { name, value } => WireEdit::AddHeader { name, value },
        Edit::InsertHeader { index, name, value } => WireEdit::InsertHeader { index: *index, name, value },
        Edit::ChangeHeader { index, name, value } => WireEdit::ChangeHeader { index: *index, name, value },
        Edit::AddRecipient { path, arguments } if arguments.is_empty() => {
            WireEdit::AddRecipient { address: path }
        }
        Edit::AddRecipient { path, arguments } => {
            WireEdit::AddRecipientWithArgs { address: path, args: Some(arguments) }
        }
        Edit::DeleteRecipient { path } => WireEdit::DeleteRecipient { address: path },
        Edit::ChangeSender { path, arguments } => {
            let args = (!arguments.is_empty()).then_some(arguments.as_slice());
            WireEdit::ChangeSender { address: path, args }
        }
        Edit::ReplaceBody(body) => WireEdit::ReplaceBody(body),
        Edit::AppendBody(_) | Edit::Quarantine { .. } => unreachable!("not among the random edits"),
    }
}

fn text(sender: &str, recipients: impl Iterator<Item = String>, message: &[u8]) -> String {
    let mut recipients: Vec<String> = recipients.collect();
    recipients.sort();
    let lines = message.split_inclusive(|byte| *byte == b'\n').map(escape).collect::<Vec<_>>();
    format!("{sender} -> {}\n{}", recipients.join(" "), lines.join("\n"))
}

fn shown(edits: &[Edit]) -> String {
    edits.iter().map(words).collect::<Vec<_>>().join("\n")
}

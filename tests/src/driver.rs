//! Plays cases with [`tamis::testing`] in place of an MTA. What a real one does with a case, the driver must do too.

use std::sync::Arc;

use tamis::testing::{Delivered, Mta, Path, Report};

use crate::case::{Case, Config, Expected, Step, message_bytes};
use crate::compare;
use crate::filter::{Configured, ScriptFilter, keep_lines};
use crate::host::EventLog;
use crate::mta::{HOST_NAME, Kind};
use crate::runner::{Got, check_events, check_messages};
use crate::text::Pattern;

/// Whether the driver can play a case.
pub fn can_play(case: &Case) -> bool {
    let configured = case.config != Config { mta: case.config.mta, ..Config::default() };
    // Postfix opens another connection to the filter for the client that XCLIENT tells of.
    let is_xclient = |line: &Vec<u8>| line.starts_with(b"XCLIENT");
    let other_client = case.dialogue.iter().any(|step| match step {
        Step::Send(lines) => lines.iter().any(is_xclient),
        _ => false,
    });
    // Longer than any packet, of which each MTA makes something else.
    // Nor is a milter behind a socket anything for a clock that is virtual.
    let asks_milter = case.configuration.is_some() && !case.script.rules.is_empty();
    !configured && !other_client && !asks_milter && case.name() != "header-90k"
}

/// Plays a case; the error says what went otherwise than behind an MTA.
pub fn play(case: &Case) -> Result<(), String> {
    let log = EventLog::default();
    let script = Arc::new(case.script.clone());
    let (mut delivered, mut held, mut problems) = (Vec::new(), Vec::new(), Vec::new());
    let mut transcripts = String::new();
    let configured = case.configuration.as_ref().map(Configured::build).transpose()?;
    let _lines = keep_lines(&log);
    for session in case.dialogue.split(|step| *step == Step::Connect) {
        let mta = dialogue(case, session);
        let report = match &configured {
            Some(configured) => mta.run_blocking(|_| configured.chain()),
            None => mta.run_blocking(|_| ScriptFilter::new(script.clone(), log.clone())),
        };
        let report = report.map_err(|error| error.to_string())?;
        transcripts.push_str(&report.to_string());
        for message in report.messages() {
            let Some(got) = message.message() else { continue };
            let is_held = got.quarantine().is_some();
            let got = Got {
                mail: path(got.sender()),
                rcpt: got.recipients().iter().map(path).collect(),
                message: marked(got, message.original()),
            };
            if is_held { held.push(got) } else { delivered.push(got) }
        }
        problems.extend(check_replies(session, &report));
    }
    problems.extend(check_messages("delivered", &without_parameters(&case.delivered), delivered));
    problems.extend(check_messages("held", &without_parameters(&case.held), held));
    problems.extend(check_events(&case.events, &log, std::time::Duration::ZERO));
    if problems.is_empty() { Ok(()) } else { Err(format!("{}\n\n{transcripts}", problems.join("\n"))) }
}

/// The client's part of a session.
fn dialogue(case: &Case, session: &[Step]) -> Mta {
    let address = "127.0.0.1:4321".parse().expect("an address");
    let mut mta = match case.config.mta {
        Kind::Postfix => Mta::postfix().client_address(address),
        Kind::Sendmail => Mta::sendmail().client("localhost", address),
    };
    mta = mta.no_helo().lenient().macro_value("j", HOST_NAME);
    mta = match case.config.mta {
        Kind::Postfix => mta.macro_value("daemon_name", HOST_NAME),
        Kind::Sendmail => mta.macro_value("rcpt_mailer", "relay"),
    };
    let bare = |line: &Vec<u8>| line.starts_with(b"MAIL FROM:") && !line.contains(&b'<');
    if session.iter().any(|step| matches!(step, Step::Send(lines) if lines.iter().any(bare))) {
        mta = mta.without_brackets();
    }
    if let Some(every) = case.script.needs.progress {
        let mut options = tamis::Options::default();
        options.progress_every = every;
        mta = mta.options(options);
    }
    for (number, step) in session.iter().enumerate() {
        match step {
            Step::Send(lines) => {
                let rest = &session[number + 1..];
                mta = lines.iter().fold(mta, |mta, line| command(mta, line, rest));
            }
            Step::Message(parts) => mta = mta.message(message_bytes(parts)),
            Step::Expect(_) | Step::Closed | Step::Connect => {}
        }
    }
    mta
}

/// One line of the client's, with what comes behind it.
fn command(mta: Mta, line: &[u8], rest: &[Step]) -> Mta {
    let verb = line.split(|byte| *byte == b' ').next().unwrap_or_default().to_ascii_uppercase();
    let argument = |start: &str| line.get(start.len()..).unwrap_or_default().trim_ascii();
    match verb.as_slice() {
        b"EHLO" => mta.helo(argument("EHLO")),
        b"HELO" => mta.helo(argument("HELO")),
        b"MAIL" => mta.from(argument("MAIL FROM:")),
        b"RCPT" => mta.to(argument("RCPT TO:")),
        b"RSET" => mta.reset(),
        // Where it is refused, no message follows.
        b"DATA" => match rest.iter().find(|step| !matches!(step, Step::Expect(_))) {
            Some(Step::Message(_)) => mta,
            _ => mta.data(),
        },
        _ => mta.unknown(line),
    }
}

/// Checks what the client is told last about each message that it sent or that was refused.
fn check_replies(session: &[Step], report: &Report) -> Vec<String> {
    let mut last: Vec<(bool, &[Pattern])> = Vec::new();
    for step in session {
        match step {
            Step::Send(lines) => {
                let begins = |line: &&Vec<u8>| line.to_ascii_uppercase().starts_with(b"MAIL ");
                last.extend(lines.iter().filter(begins).map(|_| (false, &[][..])));
                let resets =
                    lines.iter().any(|line| matches!(&line.to_ascii_uppercase()[..4], b"RSET" | b"EHLO"));
                if let Some((over, _)) = last.last_mut() {
                    *over |= resets;
                }
            }
            Step::Expect(reply) => {
                // A refused sender may be followed by commands that have no place then.
                let misplaced = reply.iter().any(|line| line.source().starts_with("503 "));
                if let Some((false, last)) = last.last_mut().filter(|_| !misplaced) {
                    *last = reply;
                }
            }
            _ => {}
        }
    }
    let mut problems = Vec::new();
    let told = report.messages().into_iter().map(tamis::testing::MessageReport::reply);
    for (told, (_, expected)) in told.zip(last) {
        let lines: Vec<_> = told.split(" / ").collect();
        if let Some(difference) = compare::lines(expected, &lines) {
            problems.push(format!("told in the end:\n{difference}"));
        }
    }
    problems
}

/// A path as it stands behind MAIL FROM. Parameters are the delivering MTA's choice.
fn path(path: &Path) -> Vec<u8> {
    [b"<", &path.address[..], b">"].concat()
}

fn without_parameters(expected: &[Expected]) -> Vec<Expected> {
    let bare = |pattern: &Pattern| {
        let source = pattern.source();
        let end = source.find("> ").map_or(source.len(), |at| at + 1);
        Pattern::parse(&source[..end]).expect("it was read before")
    };
    let bare = |expected: &Expected| Expected {
        mail: bare(&expected.mail),
        rcpt: expected.rcpt.iter().map(bare).collect(),
        message: expected.message.clone(),
    };
    expected.iter().map(bare).collect()
}

/// The message's bytes, with the field that the MTA adds written as cases write it.
fn marked(message: Delivered<'_>, original: Delivered<'_>) -> Vec<u8> {
    let mut marked = message.as_model().clone();
    if let Some(own) = marked.headers.iter().position(|field| *field == original.fields()[0]) {
        let mut head = marked.clone();
        head.headers.truncate(own);
        head.body = Vec::new().into();
        marked.headers.drain(..=own);
        let head = head.to_bytes();
        return [&head[..head.len() - 2], b"{received}\r\n", &marked.to_bytes()].concat();
    }
    marked.to_bytes()
}

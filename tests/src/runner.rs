//! Runs cases, and tells what went otherwise than expected.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::Duration;

use crate::case::{Case, Expected, ExpectedEvent, Step, message_bytes, message_patterns};
use crate::compare;
use crate::host::{EventLog, FilterHost};
use crate::mta::Mta;
use crate::sink::Sink;
use crate::site::Site;
use crate::smtp::{Client, Reply};
use crate::text::{Pattern, escape, unescape};

const PATIENCE: Duration = Duration::from_mins(1);

/// A case that did not go as its file says.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The case's file.
    pub path: PathBuf,
    /// What differs, each a few lines of text.
    pub problems: Vec<String>,
    /// What the filter saw.
    pub events: Vec<String>,
    /// What the MTA logged meanwhile.
    pub log: String,
}

/// Runs one case on an instance with its configuration.
pub fn run_case(case: &Case, site: &Site, host: &dyn FilterHost) -> Result<(), Failure> {
    let log_before = site.mta.log().len();
    let mut events = Vec::new();
    // A panicking host is that case's failure, not the end of all.
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let filter = host.start(&case.script, &site.listen);
        let mut problems = Vec::new();
        if let Err(problem) = converse(&case.dialogue, site.mta.smtp(), &mut Vec::new(), &|| ()) {
            problems.push(problem);
        }
        match take_delivered(&*site.mta, &site.sink) {
            Ok(got) => problems.extend(check_messages("delivered", &case.delivered, got)),
            Err(problem) => problems.push(problem),
        }
        match take_held(&*site.mta) {
            Ok(got) => problems.extend(check_messages("held", &case.held, got)),
            Err(problem) => problems.push(problem),
        }
        // Where something is wrong already, late events are not waited for.
        let patience = if problems.is_empty() { Duration::from_secs(5) } else { Duration::ZERO };
        problems.extend(check_events(&case.events, filter.log(), patience));
        events = filter.log().all();
        problems
    }));
    let problems = outcome.unwrap_or_else(|_| vec!["the filter could not be started (see above)".to_owned()]);
    if problems.is_empty() {
        return Ok(());
    }
    let log = site.mta.log().get(log_before..).unwrap_or_default().to_owned();
    Err(Failure { path: case.path.clone(), problems, events, log })
}

/// Plays the client's part, and keeps the replies; the error says where they were not the expected ones. Between two
/// sessions it calls `ended`.
pub(crate) fn converse(
    dialogue: &[Step],
    smtp: SocketAddr,
    replies: &mut Vec<Reply>,
    ended: &dyn Fn(),
) -> Result<(), String> {
    let connect = || Client::connect(smtp).map_err(|error| format!("the MTA: {error}"));
    let mut client = Some(connect()?);
    let mut last_sent = "the connection was made".to_owned();
    for step in dialogue {
        if *step == Step::Connect {
            client.as_mut().map_or(Ok(()), quit)?;
            ended();
            client = Some(connect()?);
            continue;
        }
        let open = client.as_mut().ok_or("the case goes on after `closed` without `connect`")?;
        match step {
            Step::Send(lines) => {
                last_sent = lines.iter().map(|line| escape(line)).collect::<Vec<_>>().join(" / ");
                let bytes =
                    lines.iter().flat_map(|line| [line.as_slice(), b"\r\n"].concat()).collect::<Vec<u8>>();
                open.send(&bytes).map_err(|error| format!("sending {last_sent}: {error}"))?;
            }
            Step::Message(parts) => {
                "the message".clone_into(&mut last_sent);
                open.message(&message_bytes(parts))
                    .map_err(|error| format!("sending {last_sent}: {error}"))?;
            }
            Step::Expect(expected) => {
                let got = open.reply().map_err(|error| format!("no reply after {last_sent}: {error}"))?;
                replies.push(got.clone());
                if let Some(diff) = compare::reply(expected, &got) {
                    return Err(format!("reply after {last_sent}:\n{diff}"));
                }
            }
            Step::Closed => {
                expect_closed(open, &last_sent)?;
                client = None;
            }
            Step::Connect => unreachable!("it needs no open connection, and was handled above"),
        }
    }
    client.as_mut().map_or(Ok(()), quit)
}

fn expect_closed(client: &mut Client, last_sent: &str) -> Result<(), String> {
    match client.reply() {
        Err(error)
            if matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) =>
        {
            Ok(())
        }
        Err(error) => Err(format!("closed connection expected after {last_sent}: {error}")),
        Ok(got) => Err(format!("closed connection expected after {last_sent}, got:\n{got}")),
    }
}

/// Shows that client and server are still in step.
fn quit(client: &mut Client) -> Result<(), String> {
    let got = client.command("QUIT").map_err(|error| format!("no reply to QUIT: {error}"))?;
    if got.code() == 221 { Ok(()) } else { Err(format!("reply to QUIT: 221 expected, got:\n{got}")) }
}

/// Takes what was delivered, once no more can come.
pub(crate) fn take_delivered(mta: &dyn Mta, sink: &Sink) -> Result<Vec<Got>, String> {
    // A message is accepted before it is replied to, and counted by the sink before it leaves the queue: an idle
    // queue means that no other message will come.
    if !mta.wait_until_idle(PATIENCE) {
        return Err("messages are still on their way".to_owned());
    }
    let got = sink.take().into_iter().map(|message| Got {
        mail: message.mail,
        rcpt: message.rcpt,
        message: message.message,
    });
    Ok(got.collect())
}

/// Takes what is held in the queue; it is an error if something is deferred.
pub(crate) fn take_held(mta: &dyn Mta) -> Result<Vec<Got>, String> {
    // Asking takes two processes: most cases need not.
    if mta.is_clear() {
        return Ok(Vec::new());
    }
    let bracketed = |address: &String| format!("<{address}>").into_bytes();
    let got = mta.held().into_iter().map(|held| Got {
        mail: bracketed(&held.sender),
        rcpt: held.recipients.iter().map(bracketed).collect(),
        message: held.message,
    });
    let got = got.collect();
    let deferred = mta.deferred();
    mta.clear();
    if deferred.is_empty() { Ok(got) } else { Err(format!("deferred: {}", deferred.join("\n"))) }
}

/// A message that came out somewhere.
pub(crate) struct Got {
    pub(crate) mail: Vec<u8>,
    pub(crate) rcpt: Vec<Vec<u8>>,
    pub(crate) message: Vec<u8>,
}

pub(crate) fn check_messages(place: &str, expected: &[Expected], mut got: Vec<Got>) -> Vec<String> {
    let (mut pairs, mut unmatched) = (Vec::new(), Vec::new());
    for expected in expected {
        match got.iter().position(|got| expected.mail.matches(&got.mail)) {
            Some(found) => pairs.push((expected, got.remove(found))),
            None => unmatched.push(expected),
        }
    }
    let mut problems = Vec::new();
    for expected in unmatched {
        // Another sender than expected is a difference like others.
        if got.is_empty() {
            problems.push(format!("not {place}: the message from {}", expected.mail.source()));
        } else {
            pairs.push((expected, got.remove(0)));
        }
    }
    for (expected, got) in pairs {
        if let Some(diff) = compare::lines(&expected_lines(expected), &got_lines(&got)) {
            problems.push(format!("{place}:\n{diff}"));
        }
    }
    for got in got {
        let lines: Vec<String> = got_lines(&got).iter().take(30).map(|line| escape(line)).collect();
        problems.push(format!("{place}, and not expected:\n{}", lines.join("\n")));
    }
    problems
}

fn expected_lines(expected: &Expected) -> Vec<Pattern> {
    let labelled = |label: &str, pattern: &Pattern| {
        Pattern::parse(&format!("{label} {}", pattern.source())).expect("it was read before")
    };
    let mut rcpt: Vec<Pattern> = expected.rcpt.iter().map(|pattern| labelled("RCPT", pattern)).collect();
    rcpt.sort_by(|a, b| a.source().cmp(b.source()));
    let mut lines = vec![labelled("MAIL", &expected.mail)];
    lines.append(&mut rcpt);
    lines.append(&mut message_patterns(&expected.message));
    lines
}

/// A message as lines that compare.
pub(crate) fn got_lines(got: &Got) -> Vec<Vec<u8>> {
    let mut rcpt: Vec<Vec<u8>> = got.rcpt.iter().map(|path| [b"RCPT ", path.as_slice()].concat()).collect();
    rcpt.sort();
    let mut lines = vec![[b"MAIL ", got.mail.as_slice()].concat()];
    lines.append(&mut rcpt);
    lines.append(&mut compare::message_lines(&got.message));
    lines
}

pub(crate) fn check_events(expected: &[ExpectedEvent], log: &EventLog, patience: Duration) -> Vec<String> {
    let seen = seen_ones(expected);
    // The last ones come after the client has gone.
    log.wait(patience, |lines| missing(&seen, lines).is_none());
    check_lines(expected, &log.all())
}

/// Compares what a filter saw with what was expected of it.
pub(crate) fn check_lines(expected: &[ExpectedEvent], lines: &[String]) -> Vec<String> {
    let mut problems = Vec::new();
    if let Some(missing) = missing(&seen_ones(expected), lines) {
        problems.push(format!("the filter did not see, in this order: {}", missing.source()));
    }
    problems.extend(expected.iter().filter_map(|event| match event {
        ExpectedEvent::Never(pattern) if lines.iter().any(|line| event_matches(pattern, line)) => {
            Some(format!("the filter saw, and should not have: {}", pattern.source()))
        }
        _ => None,
    }));
    problems
}

fn seen_ones(expected: &[ExpectedEvent]) -> Vec<&Pattern> {
    let seen = expected.iter().filter_map(|event| match event {
        ExpectedEvent::Seen(pattern) => Some(pattern),
        ExpectedEvent::Never(_) => None,
    });
    seen.collect()
}

/// Finds the first expected event that does not come behind those before it.
fn missing<'a>(expected: &[&'a Pattern], lines: &[String]) -> Option<&'a Pattern> {
    let mut lines = lines.iter();
    expected.iter().find(|pattern| !lines.any(|line| event_matches(pattern, line))).copied()
}

fn event_matches(pattern: &Pattern, line: &str) -> bool {
    pattern.matches(&unescape(line).expect("event lines are escaped"))
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "== {}", self.path.display())?;
        for problem in &self.problems {
            writeln!(f, "{problem}")?;
        }
        writeln!(f, "-- the filter saw")?;
        for event in &self.events {
            writeln!(f, "{}", event.chars().take(200).collect::<String>())?;
        }
        writeln!(f, "-- the MTA logged\n{}", self.log.trim_end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(lines: &[&str]) -> Vec<Pattern> {
        lines.iter().map(|line| Pattern::parse(line).unwrap()).collect()
    }

    #[test]
    fn events_count_in_their_order() {
        let log = ["connect", "mail <a>", "eom"].map(str::to_owned);
        let missing = |lines: &[&str]| {
            let patterns = patterns(lines);
            missing(&patterns.iter().collect::<Vec<_>>(), &log).map(|pattern| pattern.source().to_owned())
        };
        assert_eq!(missing(&["connect", "mail ...", "eom"]), None);
        assert_eq!(missing(&["mail ...", "connect"]), Some("connect".to_owned()));
        assert_eq!(missing(&["eom", "eom"]), Some("eom".to_owned()));
    }

    #[test]
    fn messages_are_matched_by_sender_and_none_may_be_left() {
        let expected = |mail: &str| Expected {
            mail: Pattern::parse(mail).unwrap(),
            rcpt: patterns(&["<b>", "<a>"]),
            message: Vec::new(),
        };
        let got = |mail: &str| Got {
            mail: mail.as_bytes().to_vec(),
            rcpt: vec![b"<a>".to_vec(), b"<b>".to_vec()],
            message: Vec::new(),
        };
        let check = |got| check_messages("delivered", &[expected("<one>"), expected("<two>")], got);
        assert_eq!(check(vec![got("<two>"), got("<one>")]), [""; 0]);
        assert_eq!(check(vec![got("<two>")]), ["not delivered: the message from <one>"]);
        let extra = check(vec![got("<two>"), got("<one>"), got("<three>")]);
        assert_eq!(extra, ["delivered, and not expected:\nMAIL <three>\nRCPT <a>\nRCPT <b>"]);
        let wrong = check(vec![got("<one>"), got("<2>")]);
        assert!(wrong[0].contains("-MAIL <two>\n+MAIL <2>\n RCPT <a>"), "{}", wrong[0]);
    }
}

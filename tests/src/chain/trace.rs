//! All that can be seen of several filters at work, in a form in which equal things are equal.

use std::fmt::Write as _;
use std::time::Duration;

use similar::TextDiff;

use crate::host::EventLog;
use crate::runner::{Got, got_lines};
use crate::smtp::Reply;
use crate::text::escape;

const LINES_SHOWN: usize = 60;
const WIDTH_SHOWN: usize = 200;

/// What the client heard, what was delivered and held, and what each filter saw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    /// The section of a case file that is about it.
    section: String,
    lines: Vec<String>,
}

impl Trace {
    /// Adds what the client heard.
    pub(crate) fn replies(&mut self, replies: &[Reply]) {
        let lines = replies.iter().flat_map(|reply| &reply.lines);
        self.part("smtp", lines.map(|line| reply_line(line)).collect());
    }

    /// Adds messages that came out somewhere, in an order of their own.
    pub(crate) fn messages(&mut self, section: &str, messages: &[Got]) {
        let mut messages: Vec<Vec<String>> = messages
            .iter()
            .map(|message| got_lines(message).iter().map(|line| escape(line)).collect())
            .collect();
        messages.sort();
        self.part(section, messages.concat());
    }

    /// Adds what a filter saw, and returns it.
    pub(crate) fn events(&mut self, filter: &str, log: &EventLog) -> Vec<String> {
        let lines = comparable(&log.all(), &log.bodies());
        self.part(&format!("events {filter}"), lines.clone());
        lines
    }

    fn part(&mut self, section: &str, lines: Vec<String>) {
        self.parts.push(Part { section: section.to_owned(), lines });
    }

    /// Tells where this one, of separate filters, and that of the chain are not equal, except for these sections.
    pub fn differences(&self, chain: &Self, except: &[String]) -> Vec<String> {
        let pairs = self.parts.iter().zip(&chain.parts);
        let pairs = pairs.filter(|(one, other)| one != other && !except.contains(&one.section));
        pairs.map(|(one, other)| format!("[{}]\n{}", one.section, diff(&one.lines, &other.lines))).collect()
    }
}

/// Shows the first lines that differ.
pub(super) fn diff(separate: &[String], chain: &[String]) -> String {
    let diff = TextDiff::configure()
        .timeout(Duration::from_secs(2))
        .diff_lines(separate.join("\n") + "\n", chain.join("\n") + "\n");
    let all = diff.unified_diff().context_radius(3).header("separate", "chain").to_string();
    let mut shown = String::new();
    for line in all.lines().take(LINES_SHOWN) {
        writeln!(shown, "{}", line.chars().take(WIDTH_SHOWN).collect::<String>()).expect("a string takes it");
    }
    if all.lines().count() > LINES_SHOWN {
        shown.push_str("(and more)\n");
    }
    shown
}

/// A line of a reply, without the name that Postfix gave to the message.
pub(super) fn reply_line(line: &[u8]) -> String {
    let line = escape(line);
    match line.split_once("queued as ") {
        Some((before, _)) => format!("{before}queued as ..."),
        None => line,
    }
}

/// Events without what may differ: where the body is cut into packets, and sessions that were over before they began
/// for the filter. Bodies are there with their lines.
fn comparable(events: &[String], mut bodies: &[u8]) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut size = 0;
    for event in events.iter().map(Some).chain([None]) {
        if let Some(more) = event.and_then(|event| event.strip_prefix("body ")) {
            size += more.parse::<usize>().expect("a size is a number");
            continue;
        }
        if size > 0 {
            let (body, rest) = bodies.split_at(size);
            lines.push(format!("body {size}"));
            lines.extend(
                body.split_inclusive(|byte| *byte == b'\n').map(|line| format!("> {}", escape(line))),
            );
            (bodies, size) = (rest, 0);
        }
        if let Some(event) = event
            && (event != "close" || lines.last().is_some_and(|last| last != "close"))
        {
            lines.push(without_own_values(event));
        }
    }
    lines
}

/// An event without values that are of this message or connection only.
fn without_own_values(line: &str) -> String {
    const OWN: [&str; 3] = ["macro i=", "macro {client_port}=", "macro {daemon_port}="];
    OWN.iter().find(|start| line.starts_with(**start)).map_or(line.to_owned(), |start| format!("{start}..."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(chunks: &[&[u8]]) -> Trace {
        let log = EventLog::default();
        log.plain("eoh");
        log.macro_value("i", Some(b"4F"));
        for chunk in chunks {
            log.body(chunk);
        }
        log.plain("eom");
        let mut trace = Trace::default();
        trace.events("a", &log);
        trace
    }

    #[test]
    fn bodies_are_equal_however_they_are_cut() {
        let whole = seen(&[b"one\r\ntwo\r\n"]);
        assert_eq!(whole.differences(&seen(&[b"one\r", b"\ntwo\r\n"]), &[]), [""; 0]);
        let other = whole.differences(&seen(&[b"one\r\ntwi\r\n"]), &[]);
        assert!(other[0].contains("-> two\\r\\n\n+> twi\\r\\n"), "{other:?}");
    }

    #[test]
    fn a_section_that_says_so_may_differ() {
        let mut one = Trace::default();
        one.replies(&[Reply { lines: vec![b"250 2.0.0 Ok: queued as 4F".to_vec()] }]);
        let mut same = Trace::default();
        same.replies(&[Reply { lines: vec![b"250 2.0.0 Ok: queued as 50".to_vec()] }]);
        let mut other = Trace::default();
        other.replies(&[Reply { lines: vec![b"550 5.7.1 No".to_vec()] }]);
        assert_eq!(one.differences(&same, &[]), [""; 0]);
        assert_eq!(one.differences(&other, &[]).len(), 1);
        assert_eq!(one.differences(&other, &["smtp".to_owned()]), [""; 0]);
    }
}

//! Reads case files.

use std::path::Path;

use super::sections::{File, Line, Section, Tags, sections};
use super::{Case, Config, Expected, ExpectedEvent, Part, Step};
use crate::mta::{HOST_NAME, Kind};
use crate::script::Script;
use crate::text::{self, Pattern};
use crate::wording::{self, Pending};

/// An error with the number of its line.
pub(super) type Result<T> = std::result::Result<T, (usize, String)>;

const MTAS: [&str; 2] = ["postfix", "sendmail"];

pub(super) fn case(path: &Path, text: &str, mta: Kind) -> Result<Case> {
    let tags = Tags { all: MTAS, mine: mta.name(), labelled: &["file"] };
    let File { only, sections, .. } = sections(text, &tags)?;
    let mut case = Case {
        path: path.to_owned(),
        only: only.and_then(Kind::named),
        config: Config { mta, ..Config::default() },
        script: Script::default(),
        configuration: None,
        dialogue: Vec::new(),
        delivered: Vec::new(),
        held: Vec::new(),
        events: Vec::new(),
    };
    for section in &sections {
        let lines = || section.lines.iter().map(|line| (line.number, line.text));
        match section.name {
            "mta" | "postfix" | "sendmail" => {
                if section.name == "mta" || section.name == mta.name() {
                    for (number, line) in lines() {
                        at(number, config(&mut case.config, section.name, line))?;
                    }
                }
            }
            "filter" => case.script = Script::parse(lines())?,
            "configuration" => case.configuration.get_or_insert_default().text = verbatim(section)?,
            "file" => {
                let file = (section.label.to_owned(), verbatim(section)?);
                case.configuration.get_or_insert_default().files.push(file);
            }
            "smtp" => case.dialogue = dialogue(&section.lines, mta)?,
            // Nothing is expected where for the other MTA there is something.
            "delivered" | "held" if section.own && section.lines.is_empty() => {}
            "delivered" => case.delivered.push(expected(section, mta)?),
            "held" => case.held.push(expected(section, mta)?),
            "events" => {
                case.events = lines().map(|(number, line)| at(number, event(line))).collect::<Result<_>>()?;
            }
            other => return Err((section.number, format!("unknown section [{other}]"))),
        }
    }
    if case.dialogue.is_empty() {
        return Err((text.lines().count(), "no [smtp] section with a dialogue".to_owned()));
    }
    Ok(case)
}

/// The lines behind `| `.
fn verbatim(section: &Section<'_>) -> Result<String> {
    let mut text = String::new();
    for line in &section.lines {
        let rest = marked(line.text, "|");
        text.push_str(rest.ok_or_else(|| (line.number, format!("`| ` expected, found `{}`", line.text)))?);
        text.push('\n');
    }
    Ok(text)
}

pub(super) fn at<T>(number: usize, result: std::result::Result<T, String>) -> Result<T> {
    result.map_err(|error| (number, error))
}

pub(super) fn config(config: &mut Config, section: &str, line: &str) -> std::result::Result<(), String> {
    let (name, value) = line.split_once('=').ok_or("`name = value` expected")?;
    match (section, name.trim(), value.trim()) {
        ("mta", "socket", "unix") => config.unix_socket = true,
        ("postfix", "chroot", "yes") => config.chroot = true,
        ("mta", name, value) | (_, name @ "chroot", value) => {
            return Err(format!("`{name} = {value}` is nothing for [{section}]"));
        }
        (_, name, value) => config.settings.push((name.to_owned(), value.to_owned())),
    }
    Ok(())
}

pub(super) fn dialogue(lines: &[Line<'_>], mta: Kind) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    let mut pending = Pending::default();
    for &Line { number, text: line, own } in lines {
        if let Some(sent) = marked(line, "C:") {
            pending.sent(sent);
            let sent = at(number, text::unescape(sent))?;
            match steps.last_mut() {
                Some(Step::Send(lines)) => lines.push(sent),
                _ => steps.push(Step::Send(vec![sent])),
            }
        } else if let Some(heard) = marked(line, "S:") {
            let translated = mta == Kind::Sendmail && !own;
            let last = !starts_more(heard);
            let heard = if translated { pending.sendmail(heard) } else { heard.to_owned() };
            if last {
                pending.replied();
            }
            let heard = at(number, Pattern::parse(&heard))?;
            match steps.last_mut() {
                Some(Step::Expect(reply)) if reply.last().is_some_and(goes_on) => reply.push(heard),
                _ => steps.push(Step::Expect(vec![heard])),
            }
        } else if let Some(part) = part(line, 'D', text::unescape) {
            let part = at(number, part)?;
            if let Some(Step::Message(parts)) = steps.last_mut() {
                parts.push(part);
            } else {
                pending.message();
                steps.push(Step::Message(vec![part]));
            }
        } else {
            pending.connected();
            at(number, word(&mut steps, line, mta))?;
        }
    }
    Ok(steps)
}

fn word(steps: &mut Vec<Step>, line: &str, mta: Kind) -> std::result::Result<(), String> {
    match line.split_once(' ').unwrap_or((line, "")) {
        ("hello", name) if !name.is_empty() => {
            let (greeting, hello) = match mta {
                Kind::Postfix => ("Postfix", ""),
                Kind::Sendmail => ("Sendmail ...", " Hello ..., pleased to meet you"),
            };
            steps.extend([
                Step::Expect(vec![Pattern::parse(&format!("220 {HOST_NAME} ESMTP {greeting}"))?]),
                Step::Send(vec![text::unescape(&format!("EHLO {name}"))?]),
                Step::Expect(vec![
                    Pattern::parse(&format!("250-{HOST_NAME}{hello}"))?,
                    Pattern::parse("...")?,
                ]),
            ]);
        }
        ("closed", "") => steps.push(Step::Closed),
        ("connect", "") => steps.push(Step::Connect),
        _ => {
            return Err(format!(
                "`C: `, `S: `, `D: `, `hello NAME`, `closed` or `connect` expected, found `{line}`"
            ));
        }
    }
    Ok(())
}

/// Whether more lines of the same reply follow this one.
fn goes_on(line: &Pattern) -> bool {
    starts_more(line.source())
}

fn starts_more(line: &str) -> bool {
    line.as_bytes().get(3) == Some(&b'-')
}

/// What follows a mark and one space; a mark alone stands for an empty line.
fn marked<'a>(line: &'a str, mark: &str) -> Option<&'a str> {
    let rest = line.strip_prefix(mark)?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix(' ') }
}

/// A line of a message: `D: text` (or `| text`), `D* body SIZE`, `D* header NAME SIZE`; the latter also with `first LINES`.
pub(super) fn part<T>(
    line: &str,
    mark: char,
    text_of: impl Fn(&str) -> std::result::Result<T, String>,
) -> Option<std::result::Result<Part<T>, String>> {
    let rest = line.strip_prefix(mark)?;
    if let Some(filler) = rest.strip_prefix('*') {
        let words: Vec<&str> = filler.split_whitespace().collect();
        let header = |name: &str, size: &str, lines: &str| {
            let lines = lines.parse().map_err(|_| format!("`{lines}` is not a number of lines"))?;
            Ok(Part::Header { name: name.to_owned(), size: text::size(size)?, lines })
        };
        return Some(match words.as_slice() {
            ["body", size] => text::size(size).map(Part::Body),
            ["header", name, size] => header(name, size, &usize::MAX.to_string()),
            ["header", name, size, "first", lines] => header(name, size, lines),
            _ => Err("`body SIZE` or `header NAME SIZE` expected".to_owned()),
        });
    }
    let text = if mark == 'D' { marked(rest, ":")? } else { marked(line, "|")? };
    Some(text_of(text).map(Part::Line))
}

/// A session with one message that all goes well for, as the lines of `[message]` say it.
pub(super) fn plain_dialogue(section: &Section<'_>) -> Result<Vec<Step>> {
    let mut message = Vec::new();
    for line in &section.lines {
        let part = part(line.text, '|', text::unescape)
            .ok_or_else(|| (line.number, format!("`| ` expected, found `{}`", line.text)))?;
        message.push(at(line.number, part)?);
    }
    let conversation = [
        "hello client.example",
        "C: MAIL FROM:<alice@example.com>",
        "S: 250 2.1.0 Ok",
        "C: RCPT TO:<bob@example.org>",
        "S: 250 2.1.5 Ok",
        "C: DATA",
        "S: 354 End data with <CR><LF>.<CR><LF>",
        "S: 250 2.0.0 Ok: queued as ...",
    ];
    let lines = conversation.map(|text| Line { number: section.number, text, own: false });
    let mut steps = dialogue(&lines, Kind::Postfix)?;
    steps.insert(steps.len() - 1, Step::Message(message));
    Ok(steps)
}

pub(super) fn expected(section: &Section<'_>, mta: Kind) -> Result<Expected> {
    let (mut mail, mut rcpt, mut message) = (None, Vec::new(), Vec::new());
    for &Line { number, text: line, own } in &section.lines {
        if let Some(sender) = line.strip_prefix("MAIL ") {
            mail = Some(at(number, Pattern::parse(sender))?);
        } else if let Some(recipient) = line.strip_prefix("RCPT ") {
            let pattern = at(number, Pattern::parse(recipient))?;
            let translated = mta == Kind::Sendmail && !own;
            rcpt.push(if translated { wording::recipient(pattern) } else { pattern });
        } else if let Some(part) = part(line, '|', Pattern::parse) {
            message.push(at(number, part)?);
        } else {
            return Err((number, format!("`MAIL `, `RCPT ` or `| ` expected, found `{line}`")));
        }
    }
    let mail = mail.ok_or((section.number, format!("no MAIL line in [{}]", section.name)))?;
    Ok(Expected { mail, rcpt, message })
}

pub(super) fn event(line: &str) -> std::result::Result<ExpectedEvent, String> {
    Ok(match line.strip_prefix("never ") {
        Some(never) => ExpectedEvent::Never(Pattern::parse(never)?),
        None => ExpectedEvent::Seen(Pattern::parse(line)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = r"# A case with everything.

[mta]
socket = unix

[postfix]
milter_default_action = accept

[filter]
on mail <a@x> reject

[smtp]
hello me
C: MAIL FROM:<a@x>
C: DATA
S: 250-one
S: 250 two
S: 354...
D: Subject: \xe9
D:
D:  .
D* body 1K
S: 250 ...
closed

[delivered]
MAIL <a@x>
RCPT <b@x> ...
| {received}
|* header X-Big 1K
|
|  .

[events]
helo me
never mail ...
";

    fn error(text: &str) -> String {
        Case::parse(Path::new("bad.case"), text, Kind::Postfix).unwrap_err()
    }

    #[test]
    fn a_whole_case() {
        let case = Case::parse(Path::new("whole.case"), WHOLE, Kind::Postfix).unwrap();
        assert_eq!(case.name(), "whole");
        assert!(case.config.unix_socket);
        assert_eq!(case.config.settings, [("milter_default_action".to_owned(), "accept".to_owned())]);
        let [.., send, first, second, Step::Message(message), last, Step::Closed] = case.dialogue.as_slice()
        else {
            panic!("{:?}", case.dialogue)
        };
        assert_eq!(send, &Step::Send(vec![b"MAIL FROM:<a@x>".to_vec(), b"DATA".to_vec()]));
        assert!(matches!(first, Step::Expect(lines) if lines.len() == 2));
        assert!(matches!(second, Step::Expect(lines) if lines[0].source() == "354..."));
        assert!(matches!(last, Step::Expect(lines) if lines[0].source() == "250 ..."));
        let bytes = super::super::message_bytes(message);
        assert!(bytes.starts_with(b"Subject: \xe9\r\n\r\n .\r\n0000000000 xx"));
        assert_eq!(case.delivered[0].rcpt.len(), 1);
        assert_eq!(case.delivered[0].message.len(), 4);
        assert!(matches!(&case.events[1], ExpectedEvent::Never(pattern) if pattern.is_wild()));
    }

    #[test]
    fn errors_name_file_and_line() {
        assert_eq!(error("x"), "bad.case:1: a section such as [filter] must come first");
        assert_eq!(error("[what]"), "bad.case:1: unknown section [what]");
        assert_eq!(error("\n[filter]\non mail nothing"), "bad.case:3: unknown action `nothing`");
        assert_eq!(error("[filter]\n"), "bad.case:1: no [smtp] section with a dialogue");
        assert_eq!(error("[postfix]\nchroot = no"), "bad.case:2: `chroot = no` is nothing for [postfix]");
        assert_eq!(error("[smtp]\nhello me\nC: \\q"), "bad.case:3: unknown escape \\q");
        assert_eq!(
            error("[smtp]\nhello me\nD* mail 1"),
            "bad.case:3: `body SIZE` or `header NAME SIZE` expected"
        );
        assert_eq!(error("[smtp]\nhello me\n[held]\n| x"), "bad.case:3: no MAIL line in [held]");
        assert!(error("[smtp]\nEHLO me").starts_with("bad.case:2: `C: `, `S: `"));
    }

    #[test]
    fn each_mta_has_its_own_lines_and_sections() {
        let text = "[smtp]\nhello me\nC: MAIL FROM:<a@x>\n# Other words (§1).\n@postfix S: 1\n@sendmail S: 2\n\
                    C: RCPT TO:<b@x>\nS: 250 2.1.5 Ok\n\n[events]\none\n\n# Nothing (§2).\n[events sendmail]\ntwo\n";
        let case = |mta| Case::parse(Path::new("both.case"), text, mta).unwrap();
        let heard = |case: &Case| {
            let replies = case.dialogue.iter().filter_map(|step| match step {
                Step::Expect(lines) => Some(lines[0].source().to_owned()),
                _ => None,
            });
            replies.skip(2).collect::<Vec<_>>()
        };
        let event = |name: &str| [ExpectedEvent::Seen(Pattern::parse(name).unwrap())];
        let (postfix, sendmail) = (case(Kind::Postfix), case(Kind::Sendmail));
        assert_eq!(heard(&postfix), ["1", "250 2.1.5 Ok"]);
        assert_eq!(heard(&sendmail), ["2", r"250 2.1.5 <b@x>\.\.\. Recipient ok"]);
        assert_eq!(postfix.events, event("one"));
        assert_eq!(sendmail.events, event("two"));
    }

    #[test]
    fn a_difference_cites_the_specification() {
        let uncited = "a difference needs a comment before it that cites the specification (§)";
        for text in ["only postfix: why\n", "[smtp]\n@sendmail S: 1\n", "# §1\n\n[smtp sendmail]\n"] {
            assert!(error(text).ends_with(uncited), "{text}");
        }
        let only = "# What.\nonly sendmail: it is so (§1)\n\n[smtp]\nhello me\n";
        let case = Case::parse(Path::new("only.case"), only, Kind::Postfix).unwrap();
        assert_eq!(case.only, Some(Kind::Sendmail));
    }

    #[test]
    fn the_example_of_the_readme_is_a_case() {
        let readme = include_str!("../../README.md");
        let example = readme.split("```text\n").nth(1).unwrap().split("```").next().unwrap();
        let case = Case::parse(Path::new("README.md"), example, Kind::Postfix).unwrap();
        assert_eq!((case.script.rules.len(), case.delivered.len(), case.events.len()), (2, 1, 3));
    }
}

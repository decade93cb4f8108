//! Compares what was expected with what came, and says what differs so that a person sees it at once.

use std::borrow::Cow;
use std::time::Duration;

use similar::TextDiff;

use crate::mta::HOST_NAME;
use crate::smtp::Reply;
use crate::text::{Pattern, escape};

/// More than this many lines of difference help nobody.
const LINES_SHOWN: usize = 60;
const WIDTH_SHOWN: usize = 200;

/// Compares lines; `Some` is the difference.
pub fn lines(expected: &[Pattern], got: &[impl AsRef<[u8]>]) -> Option<String> {
    let wild: Vec<&Pattern> = expected.iter().filter(|pattern| pattern.is_wild()).collect();
    let as_expected = |line: &[u8]| match wild.iter().find(|pattern| pattern.matches(line)) {
        Some(pattern) => pattern.source().to_owned(),
        None => escape(line),
    };
    let expected: Vec<Cow<'_, str>> = expected.iter().map(canonical).collect();
    let got: Vec<String> = got.iter().map(|line| as_expected(line.as_ref())).collect();
    if expected.iter().eq(got.iter()) {
        return None;
    }
    let diff = TextDiff::configure()
        .timeout(Duration::from_secs(2))
        .diff_lines(expected.join("\n") + "\n", got.join("\n") + "\n");
    let shown = diff.unified_diff().context_radius(3).header("expected", "got").to_string();
    let mut shown: Vec<String> = shown.lines().map(|line| line.chars().take(WIDTH_SHOWN).collect()).collect();
    if shown.len() > LINES_SHOWN {
        shown.truncate(LINES_SHOWN);
        shown.push("(and more)".to_owned());
    }
    Some(shown.join("\n"))
}

/// Compares an SMTP reply; a last line `...` stands for all lines that are left.
pub fn reply(expected: &[Pattern], got: &Reply) -> Option<String> {
    match expected {
        [first @ .., rest] if rest.source() == "..." && !first.is_empty() => {
            lines(first, &got.lines[..first.len().min(got.lines.len())])
        }
        all => lines(all, &got.lines),
    }
}

/// Splits a message at its line ends, with the `Received` field that the MTA adds written as `{received}`.
pub fn message_lines(message: &[u8]) -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> =
        message.split_inclusive(|byte| *byte == b'\n').map(|line| without_end(line).to_vec()).collect();
    let header = all.iter().position(Vec::is_empty).unwrap_or(all.len());
    let marks = ["Postfix)", "8."].map(|start| format!("by {HOST_NAME} ({start}"));
    let mut start = 0;
    while start < header {
        let folded =
            all[start + 1..header].iter().take_while(|line| line[0] == b' ' || line[0] == b'\t').count();
        let field = start..=start + folded;
        let text = String::from_utf8_lossy(&all[field.clone()].concat()).into_owned();
        if text.starts_with("Received: from ") && marks.iter().any(|mark| text.contains(mark)) {
            all.splice(field, [b"{received}".to_vec()]);
            return all;
        }
        start += folded + 1;
    }
    all
}

fn canonical(pattern: &Pattern) -> Cow<'_, str> {
    match pattern.bytes() {
        Some(bytes) => Cow::Owned(escape(bytes)),
        None => Cow::Borrowed(pattern.source()),
    }
}

/// A line whose end is not CRLF keeps it, and so is seen.
fn without_end(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r\n").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(lines: &[&str]) -> Vec<Pattern> {
        lines.iter().map(|line| Pattern::parse(line).unwrap()).collect()
    }

    #[test]
    fn only_real_differences_are_shown() {
        let expected = patterns(&["id ...", "caf\\xe9", "\\x41", "end"]);
        assert_eq!(lines(&expected, &[b"id 4F".as_slice(), b"caf\xe9", b"A", b"end"]), None);
        let diff = lines(&expected, &[b"id 4F".as_slice(), b"cafe", b"A", b"end"]).unwrap();
        assert!(diff.contains("\n id ...\n-caf\\xe9\n+cafe\n A\n end"), "{diff}");
    }

    #[test]
    fn three_dots_end_a_reply() {
        let got = Reply { lines: vec![b"250-mx".to_vec(), b"250-A".to_vec(), b"250 B".to_vec()] };
        assert_eq!(reply(&patterns(&["250-mx", "..."]), &got), None);
        assert!(reply(&patterns(&["250-my", "..."]), &got).is_some());
        assert!(reply(&patterns(&["250-mx"]), &got).is_some());
    }

    #[test]
    fn only_the_own_received_is_replaced() {
        let message = b"Received: from x by y\r\nReceived: from a (b [1])\r\n\tby mx.tamis.test (Postfix) with\r\n\tESMTP\r\nA: b\r\n\r\nc\n";
        let lines = message_lines(message);
        let expected: [&[u8]; 5] = [b"Received: from x by y", b"{received}", b"A: b", b"", b"c\n"];
        assert_eq!(lines, expected);
    }
}

//! The difference that a filter made.

use std::fmt::Write;
use std::time::Duration;

use similar::TextDiff;
use tamis::client::Report;

/// How long to look for a small difference before taking any.
const PATIENCE: Duration = Duration::from_secs(2);

/// A unified diff of the message before and after, safe to show on a terminal; empty if there is none.
pub(super) fn between(report: &Report) -> String {
    let Some(delivered) = &report.delivered else { return String::new() };
    let (before, after) = (readable(&report.original.to_bytes()), readable(&delivered.to_bytes()));
    let diff = TextDiff::configure().timeout(PATIENCE).diff_lines(before.as_str(), after.as_str());
    diff.unified_diff().header("before", "after").to_string()
}

/// Lines that end in LF, with everything escaped that is not text.
fn readable(message: &[u8]) -> String {
    let mut text = String::with_capacity(message.len());
    for line in message.split_inclusive(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        escape(&mut text, line.strip_suffix(b"\r").unwrap_or(line));
        text.push('\n');
    }
    text
}

/// Appends bytes as text. Unlike in quotes, a backslash stays as it is.
pub(super) fn escape(text: &mut String, bytes: &[u8]) {
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c == '\t' || c == '\\' || c == '"' || c == '\'' {
                text.push(c);
            } else {
                text.extend(c.escape_debug());
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_is_shown() {
        let text = readable(b"a\x1b[2J\tb\xff\\\r\nc\rd\xe2\x80\xae\xc2\x9b");
        assert_eq!(text, "a\\u{1b}[2J\tb\\xff\\\nc\\rd\\u{202e}\\u{9b}\n");
    }
}

//! What is found in a configuration: what is wrong, where, and what to write instead.

use std::fmt::{self, Display, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::{fs, io};

use tamis_filters::config::{Build, Weight};

use super::place::{self, Table};

/// The text of a configuration, and where it came from.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// As the administrator named it.
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

/// Something about a place in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) weight: Weight,
    /// Bytes of the text.
    pub(crate) span: Range<usize>,
    pub(crate) text: String,
}

/// All that was found, by place.
#[derive(Debug, Default)]
pub(crate) struct Findings(Vec<Finding>);

impl Source {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or is no text.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let why = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => {
                format!(
                    "cannot read {}: {error}; `tamis config example` writes one to begin with",
                    path.display()
                )
            }
            _ => format!("cannot read {}: {error}", path.display()),
        };
        let bytes = fs::read(path).map_err(why)?;
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Self { path: path.to_owned(), text }),
            Err(error) => {
                let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
                let line = before.split(|byte| *byte == b'\n').count();
                Err(format!("{}:{line}: the file is not UTF-8 from here on", path.display()))
            }
        }
    }

    /// The folder that relative paths in it begin at.
    pub(crate) fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new(""))
    }

    /// Line and column of a byte, from 1; columns are characters.
    fn position(&self, at: usize) -> (usize, usize) {
        let before = &self.text[..self.text.floor_char_boundary(at)];
        let line_start = before.rfind('\n').map_or(0, |end| end + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }
}

impl Findings {
    pub(crate) fn add(&mut self, weight: Weight, span: Range<usize>, text: impl Display) {
        let finding = Finding { weight, span, text: text.to_string() };
        if !self.0.contains(&finding) {
            self.0.push(finding);
        }
    }

    pub(crate) fn mistake(&mut self, span: Range<usize>, text: impl Display) {
        self.add(Weight::Mistake, span, text);
    }

    /// Takes over what was remarked about a table.
    pub(super) fn take(&mut self, build: Build, table: &Table<'_>) {
        for remark in build.into_remarks() {
            self.add(remark.weight, place::locate(table, &remark.path), remark.text);
        }
    }

    /// How many of a weight there are.
    pub(crate) fn count(&self, weight: Weight) -> usize {
        self.0.iter().filter(|finding| finding.weight == weight).count()
    }

    /// Whether the configuration can be run.
    pub(crate) fn is_sound(&self) -> bool {
        self.count(Weight::Mistake) == 0
    }

    /// All of them, for people, in the order of the text.
    pub(crate) fn report(&self, source: &Source) -> String {
        let mut report = String::new();
        for finding in self.sorted() {
            // A string takes all.
            let _ = writeln!(report, "{}", Shown { finding, source });
        }
        report
    }

    /// A line each, for logs.
    pub(crate) fn lines(&self, source: &Source) -> Vec<String> {
        self.sorted().into_iter().map(|finding| Line { finding, source }.to_string()).collect()
    }

    fn sorted(&self) -> Vec<&Finding> {
        let mut sorted: Vec<_> = self.0.iter().collect();
        sorted.sort_by_key(|finding| (finding.span.start, finding.span.end));
        sorted
    }
}

/// `FILE:LINE:COLUMN: error: …`.
struct Line<'a> {
    finding: &'a Finding,
    source: &'a Source,
}

impl Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { finding, source } = self;
        let (line, column) = source.position(finding.span.start);
        let weight = match finding.weight {
            Weight::Mistake => "error",
            Weight::Warning => "warning",
        };
        write!(f, "{}:{line}:{column}: {weight}: {}", source.path.display(), finding.text)
    }
}

/// The same, and the line with a caret below the place.
struct Shown<'a> {
    finding: &'a Finding,
    source: &'a Source,
}

impl Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { finding, source } = *self;
        writeln!(f, "{}", Line { finding, source })?;
        let (line, column) = source.position(finding.span.start);
        let Some(text) = source.text.lines().nth(line - 1) else { return Ok(()) };
        let number = line.to_string();
        let margin = " ".repeat(number.len());
        let room = text.chars().count().saturating_sub(column - 1).max(1);
        let end = source.text.floor_char_boundary(finding.span.end.min(source.text.len()));
        let start = source.text.floor_char_boundary(finding.span.start).min(end);
        let carets = source.text[start..end].chars().count().clamp(1, room);
        // Tabs stay what they are, so that the caret is below its place on any terminal.
        let indent: String =
            text.chars().take(column - 1).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        writeln!(f, " {margin} |\n {number} | {text}\n {margin} | {indent}{}", "^".repeat(carets))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_shown_with_its_line_and_a_caret() {
        let source = Source { path: "tamis.toml".into(), text: "a = 1\n\tö = \"x\" # y\n".to_owned() };
        let mut findings = Findings::default();
        let at = source.text.find("\"x\"").unwrap();
        findings.add(Weight::Warning, at..at + 3, "x is unusual");
        findings.mistake(0..1, "there is no a");
        let expected = "tamis.toml:1:1: error: there is no a\n   |\n 1 | a = 1\n   | ^\n\n\
                        tamis.toml:2:6: warning: x is unusual\n   |\n 2 | \tö = \"x\" # y\n   | \t    ^^^\n\n";
        assert_eq!(findings.report(&source), expected);
        assert!(!findings.is_sound());
    }

    #[test]
    fn places_at_and_beyond_the_end_are_shown_too() {
        let source = Source { path: "t".into(), text: "a = ".to_owned() };
        let mut findings = Findings::default();
        findings.mistake(4..4, "something is missing");
        findings.mistake(90..99, "nowhere");
        assert!(findings.report(&source).contains("t:1:5: error: something is missing"));
    }
}

//! The sections of a case file, as they are for one of the two things that the case is about.

use super::parse::{Result, at};

/// What lines and sections may be marked with: the two MTAs, or the two ways to run several filters.
pub(super) struct Tags {
    pub(super) all: [&'static str; 2],
    /// The one that the file is read for.
    pub(super) mine: &'static str,
    /// The sections of which there is one for each filter, with its name behind.
    pub(super) labelled: &'static [&'static str],
}

/// What a file has for one of the two.
pub(super) struct File<'a> {
    /// The only one that the case is about, if it says so.
    pub(super) only: Option<&'static str>,
    pub(super) sections: Vec<Section<'a>>,
    /// Name and filter of the sections that are not the same for both.
    pub(super) differing: Vec<(&'a str, &'a str)>,
}

pub(super) struct Section<'a> {
    pub(super) number: usize,
    pub(super) name: &'a str,
    /// The name of the filter that it is about, if it is about one.
    pub(super) label: &'a str,
    /// Whether it is there for this one, in place of those that are for both.
    pub(super) own: bool,
    /// Without blank lines and comments.
    pub(super) lines: Vec<Line<'a>>,
}

pub(super) struct Line<'a> {
    pub(super) number: usize,
    pub(super) text: &'a str,
    /// Whether it is for this one only, and so in its words.
    pub(super) own: bool,
}

/// Reads the sections as they are for one.
pub(super) fn sections<'a>(text: &'a str, tags: &Tags) -> Result<File<'a>> {
    let mut only = None;
    let mut differing = Vec::new();
    let mut all: Vec<(Option<&str>, Section<'_>)> = Vec::new();
    // Whether the comment before this line, or before the others of its kind, cites the specification.
    let mut cited = false;
    for (number, line) in (1..).zip(text.lines()) {
        if line.is_empty() || line.starts_with('#') {
            cited = line.contains('§') || (cited && !line.is_empty());
            continue;
        }
        let difference = |cited: bool| {
            let wanting = "a difference needs a comment before it that cites the specification (§)";
            if cited { Ok(()) } else { Err((number, wanting.to_owned())) }
        };
        if let Some(head) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            let (name, label, of) = at(number, tags.head(head))?;
            if of.is_some() {
                difference(cited)?;
                differing.push((name, label));
            }
            let own = of == Some(tags.mine);
            all.push((of, Section { number, name, label, own, lines: Vec::new() }));
        } else if let Some((_, section)) = all.last_mut() {
            let (of, text) =
                match line.strip_prefix('@').map(|rest| rest.split_once(' ').unwrap_or((rest, ""))) {
                    Some((name, text)) => (Some(at(number, tags.named(name))?), text),
                    None => (None, line),
                };
            if of.is_none_or(|of| of == tags.mine) {
                section.lines.push(Line { number, text, own: of.is_some() || section.own });
            }
            if of.is_some() {
                difference(cited)?;
                differing.push((section.name, section.label));
                continue;
            }
        } else if let Some(of) = line.strip_prefix("only ") {
            let (name, reason) =
                of.split_once(": ").ok_or((number, format!("`only {}: REASON` expected", tags.all[0])))?;
            only = Some(at(number, tags.named(name))?);
            difference(reason.contains('§') || cited)?;
        } else {
            return Err((number, "a section such as [filter] must come first".to_owned()));
        }
        cited = false;
    }
    let key = |section: &Section<'a>| (section.name, section.label);
    let replaced: Vec<_> =
        all.iter().filter(|(_, section)| section.own).map(|(_, section)| key(section)).collect();
    all.retain(|(of, section)| section.own || (of.is_none() && !replaced.contains(&key(section))));
    let sections = all.into_iter().map(|(_, section)| section).collect();
    Ok(File { only, sections, differing })
}

impl Tags {
    /// Splits what is between the brackets: the section's name, whose it is, and for which of the two.
    fn head<'a>(
        &self,
        head: &'a str,
    ) -> std::result::Result<(&'a str, &'a str, Option<&'static str>), String> {
        let (name, mut rest) = head.split_once(' ').unwrap_or((head, ""));
        let mut label = "";
        if self.labelled.contains(&name) {
            (label, rest) = rest.split_once(' ').unwrap_or((rest, ""));
            if label.is_empty() {
                return Err(format!("[{name}] needs the name of a filter"));
            }
        }
        let of = if rest.is_empty() { None } else { Some(self.named(rest)?) };
        Ok((name, label, of))
    }

    fn named(&self, name: &str) -> std::result::Result<&'static str, String> {
        let [one, other] = self.all;
        self.all
            .into_iter()
            .find(|tag| *tag == name)
            .ok_or_else(|| format!("`{one}` or `{other}` expected, found `{name}`"))
    }
}

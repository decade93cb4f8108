//! Cases of several filters: what they do on connections of their own, they must do as a chain on one.

use std::path::Path;

use super::parse::{Result, at, config, dialogue, event, expected, plain_dialogue};
use super::sections::{File, Section, Tags, sections};
use super::{Arrangement, ChainCase, Config, Member, Mode};
use crate::mta::Kind;
use crate::script::Script;
use crate::text;

pub(super) fn case(path: &Path, text: &str, arrangement: Arrangement) -> Result<ChainCase> {
    let tags = Tags {
        all: Arrangement::ALL.map(Arrangement::name),
        mine: arrangement.name(),
        labelled: &["filter", "events"],
    };
    let File { only, sections, differing } = sections(text, &tags)?;
    let end = text.lines().count();
    if only.is_some() {
        return Err((1, "a case of several filters is for both ways, or has `mode = parallel`".to_owned()));
    }
    let mut case = ChainCase {
        path: path.to_owned(),
        mode: Mode::Pipeline,
        memory: None,
        config: Config { mta: Kind::Postfix, ..Config::default() },
        filters: Vec::new(),
        dialogue: Vec::new(),
        delivered: Vec::new(),
        held: Vec::new(),
        differing: differing
            .into_iter()
            .map(|(name, filter)| format!("{name} {filter}").trim_end().to_owned())
            .collect(),
    };
    for section in &sections {
        read(&mut case, section)?;
    }
    if case.dialogue.is_empty() {
        return Err((end, "no [smtp] and no [message] section".to_owned()));
    }
    if !(2..=MOST_FILTERS).contains(&case.filters.len()) {
        return Err((end, format!("{} filters, not 2 to {MOST_FILTERS}", case.filters.len())));
    }
    Ok(case)
}

/// As many as there are SMTP servers for.
const MOST_FILTERS: usize = 4;

fn read(case: &mut ChainCase, section: &Section<'_>) -> Result<()> {
    let lines = || section.lines.iter().map(|line| (line.number, line.text));
    match section.name {
        "chain" => {
            for (number, line) in lines() {
                at(number, setting(case, line))?;
            }
        }
        "postfix" => {
            for (number, line) in lines() {
                at(number, config(&mut case.config, section.name, line))?;
            }
        }
        "filter" => {
            let (name, script) = (section.label.to_owned(), Script::parse(lines())?);
            case.filters.push(Member { name, script, events: Vec::new() });
        }
        "events" => {
            let unknown = || (section.number, format!("no filter `{}` before this", section.label));
            let filter = case.filters.iter_mut().find(|filter| filter.name == section.label);
            filter.ok_or_else(unknown)?.events =
                lines().map(|(number, line)| at(number, event(line))).collect::<Result<_>>()?;
        }
        "smtp" => case.dialogue = dialogue(&section.lines, Kind::Postfix)?,
        "message" => case.dialogue = plain_dialogue(section)?,
        // Nothing is expected where for the other way there is something.
        "delivered" | "held" if section.own && section.lines.is_empty() => {}
        "delivered" => case.delivered.push(expected(section, Kind::Postfix)?),
        "held" => case.held.push(expected(section, Kind::Postfix)?),
        other => return Err((section.number, format!("unknown section [{other}]"))),
    }
    Ok(())
}

fn setting(case: &mut ChainCase, line: &str) -> std::result::Result<(), String> {
    let (name, value) = line.split_once('=').ok_or("`name = value` expected")?;
    match (name.trim(), value.trim()) {
        ("mode", "parallel") => case.mode = Mode::Parallel,
        ("mode", "parallel, decide all") => case.mode = Mode::ParallelAll,
        ("memory", size) => case.memory = Some(text::size(size)?),
        (name, value) => return Err(format!("`{name} = {value}` is nothing for [chain]")),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "# Two.\n\n[chain]\nmemory = 4K\n\n[filter one]\non eom add-header A b\n\n\
        [filter two]\non eom quarantine x\n\n[message]\n| From: a\n|\n| b\n\n[held]\nMAIL <a@x>\n\n\
        # Why (§1).\n[held chain]\n\n[events one]\neom\n# Why (§2).\n@chain abort\n";

    fn parse(text: &str, arrangement: Arrangement) -> std::result::Result<ChainCase, String> {
        ChainCase::parse(Path::new("bad.case"), text, arrangement)
    }

    #[test]
    fn a_case_is_read_for_each_way() {
        let separate = parse(WHOLE, Arrangement::Separate).unwrap();
        let chain = parse(WHOLE, Arrangement::Chain).unwrap();
        let names: Vec<&str> = chain.filters.iter().map(|filter| filter.name.as_str()).collect();
        assert_eq!((names.as_slice(), chain.memory), (["one", "two"].as_slice(), Some(4096)));
        assert_eq!((separate.held.len(), chain.held.len()), (1, 0));
        assert_eq!((separate.filters[0].events.len(), chain.filters[0].events.len()), (1, 2));
        assert_eq!(chain.differing, ["held", "events one"]);
        assert_eq!(separate.differing, chain.differing);
        assert_eq!(chain.dialogue, separate.dialogue);
    }

    #[test]
    fn the_example_of_the_readme_is_a_case() {
        let readme = include_str!("../../README.md");
        let section = readme.split("## Several filters\n").nth(1).unwrap();
        let example = section.split("```text\n").nth(1).unwrap().split("```").next().unwrap();
        let case = parse(example, Arrangement::Chain).unwrap();
        assert_eq!((case.filters.len(), case.delivered.len(), case.filters[1].events.len()), (2, 1, 2));
    }

    #[test]
    fn errors_name_the_line_and_what_is_wrong() {
        let error = |text| parse(text, Arrangement::Chain).unwrap_err();
        assert_eq!(error("[filter]\n"), "bad.case:1: [filter] needs the name of a filter");
        assert_eq!(error("[message]\n| a\n"), "bad.case:2: 0 filters, not 2 to 4");
        assert_eq!(error("[filter a]\n[filter b]\n"), "bad.case:2: no [smtp] and no [message] section");
        assert_eq!(error("[events a]\n"), "bad.case:1: no filter `a` before this");
        assert_eq!(error("[message]\na\n"), "bad.case:2: `| ` expected, found `a`");
        assert_eq!(error("[chain]\nmode = any\n"), "bad.case:2: `mode = any` is nothing for [chain]");
        assert_eq!(
            error("# §1\n[held postfix]\n"),
            "bad.case:2: `separate` or `chain` expected, found `postfix`"
        );
    }
}

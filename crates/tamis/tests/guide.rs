//! The guide says what is so: every page is in the book and tested, and its table of replies is what the MTAs say.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use tamis::testing::Mta;
use tamis::{Context, Event, Filter, Needs, Reply, Stage, Verdict};

const GUIDE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/guide/src");

#[test]
fn every_page_is_in_the_summary_and_tested() {
    let summary = read("SUMMARY.md");
    let tested = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/guide.rs")).unwrap();
    let pages = pages();
    assert!(pages.len() > 10, "{pages:?}");
    for page in &pages {
        assert!(summary.contains(&format!("({page})")), "{page} is not in SUMMARY.md");
        let include = format!("include_str!(\"../../../docs/guide/src/{page}\")");
        assert!(tested.contains(&include), "{page} is not in crates/tamis/src/guide.rs");
    }
    let listed = summary.matches("](").count();
    assert_eq!(listed, pages.len(), "SUMMARY.md names a page that is not there");
}

#[test]
fn links_between_pages_lead_somewhere() {
    for page in pages() {
        let text = read(&page);
        let folder = Path::new(GUIDE).join(&page).parent().unwrap().to_owned();
        let links = text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link);
        for link in links.filter(|link| !link.starts_with("http") && !link.starts_with('#')) {
            let file = link.split('#').next().unwrap();
            assert!(folder.join(file).is_file(), "{page} links to {link}");
        }
    }
}

#[test]
fn rust_blocks_are_all_run() {
    for page in pages() {
        for (number, line) in read(&page).lines().enumerate().filter(|(_, line)| line.starts_with("```rust"))
        {
            assert_eq!(line, "```rust", "{page}:{}: this block is not compiled and run", number + 1);
        }
    }
}

#[test]
fn replies_in_the_guide_are_those_of_the_mtas() {
    let page = read("verdicts.md");
    let table = table_of_replies();
    assert!(page.contains(&table), "the table in docs/guide/src/verdicts.md should be\n\n{table}");
}

/// The cases are what real MTAs said.
#[test]
fn replies_in_the_guide_are_those_of_the_cases() {
    const STAGES: [(&str, Stage); 9] = [
        ("connect", Stage::Connect),
        ("helo", Stage::Helo),
        ("mail", Stage::Mail),
        ("rcpt", Stage::Rcpt),
        ("data", Stage::Data),
        ("header", Stage::Header),
        ("eoh", Stage::EndOfHeaders),
        ("body", Stage::Body),
        ("eom", Stage::EndOfMessage),
    ];
    let verdicts = [
        ("reject", Verdict::Reject),
        ("tempfail", Verdict::Tempfail),
        ("reply-5xx", Verdict::reject("5.7.20", "not 100% welcome")),
    ];
    for (at, stage) in STAGES {
        for (name, verdict) in &verdicts {
            let file = format!("{}/../../tests/cases/verdict-{at}-{name}.case", env!("CARGO_MANIFEST_DIR"));
            let case = fs::read_to_string(&file).unwrap().replace("\\.", ".");
            for mta in Mta::both() {
                let reply = told(&mta, stage, verdict);
                let reply =
                    reply.replace("a@example.net", "alice@example.com").replace("b@example", "bob@example");
                assert!(case.contains(&format!("S: {reply}\n")), "{file} has no {reply:?}");
            }
        }
    }
}

/// Neither blank nor a comment, nor hidden in the book.
#[test]
fn lines_of_examples_are_counted() {
    for (page, lines) in [("pymilter", 24), ("purepythonmilter", 7), ("kilter", 10), ("go-milter", 25)] {
        let text = read(&format!("coming-from/{page}.md"));
        let (_, rest) =
            text.split_once("## Its first example").or(text.split_once("## A filter like")).unwrap();
        let (_, block) = rest.split_once("```rust\n").unwrap();
        let (block, _) = block.split_once("\n```").unwrap();
        let is_hidden = |line: &str| line == "#" || line.starts_with("# ");
        let counts = |line: &&str| !line.is_empty() && !line.trim().starts_with("//") && !is_hidden(line);
        assert_eq!(block.lines().filter(counts).count(), lines, "{page}");
        assert!(text.contains(&format!("Lines that are neither blank nor comments: {lines}")), "{page}");
    }
}

/// The paths of all pages, below the folder of sources.
fn pages() -> Vec<String> {
    let mut pages = Vec::new();
    let mut folders = vec![PathBuf::from(GUIDE)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == "md")
                && path.file_name().unwrap() != "SUMMARY.md"
            {
                pages.push(path.strip_prefix(GUIDE).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    pages
}

fn read(page: &str) -> String {
    fs::read_to_string(Path::new(GUIDE).join(page)).unwrap()
}

/// Says one verdict at one stage.
#[derive(Clone)]
struct Says(Stage, Verdict);

impl Filter for Says {
    type Message = ();

    fn needs(&self) -> Needs {
        Needs::new().answer([self.0])
    }

    async fn on(&mut self, _: &mut Context<'_, ()>, event: Event) -> Reply {
        Ok(if event.stage() == Some(self.0) { self.1.clone() } else { Verdict::Continue })
    }
}

/// The rows of the guide's table: for each stage and verdict what each MTA tells the client.
fn table_of_replies() -> String {
    const STAGES: [(&str, &[Stage]); 6] = [
        ("connect", &[Stage::Connect]),
        ("HELO", &[Stage::Helo]),
        ("MAIL", &[Stage::Mail]),
        ("RCPT", &[Stage::Rcpt]),
        ("DATA", &[Stage::Data]),
        (
            "header field, end of header, body, end of message",
            &[Stage::Header, Stage::EndOfHeaders, Stage::Body, Stage::EndOfMessage],
        ),
    ];
    let verdicts = [
        ("`Reject`", Verdict::Reject),
        ("`Tempfail`", Verdict::Tempfail),
        ("`reject(\"5.7.20\", \"no\")`", Verdict::reject("5.7.20", "no")),
        ("`tempfail(\"4.7.20\", \"later\")`", Verdict::tempfail("4.7.20", "later")),
        ("`shutdown(\"enough\")`", Verdict::shutdown("enough")),
    ];
    let mut table = String::from("| stage | verdict | Postfix | Sendmail |\n| --- | --- | --- | --- |\n");
    for (name, stages) in STAGES {
        for (index, (verdict_name, verdict)) in verdicts.iter().enumerate() {
            let [postfix, sendmail] = Mta::both().map(|mta| {
                let mut replies: Vec<_> = stages.iter().map(|stage| told(&mta, *stage, verdict)).collect();
                replies.dedup();
                assert_eq!(replies.len(), 1, "{stages:?} are not alike: {replies:?}");
                replies.remove(0)
            });
            let name = if index == 0 { name } else { "" };
            writeln!(table, "| {name} | {verdict_name} | `{postfix}` | `{sendmail}` |").unwrap();
        }
    }
    table
}

/// What the client is told in the end.
fn told(mta: &Mta, stage: Stage, verdict: &Verdict) -> String {
    let mta = mta.clone().from("<a@example.net>").to("<b@example.org>").message("Subject: hello\n\nHello.\n");
    let report = mta.run_blocking(|_| Says(stage, verdict.clone())).unwrap();
    assert_eq!(report.verdict_at(stage), Some(verdict), "{report}");
    assert!(report.message().is_none(), "{report}");
    match stage {
        Stage::Rcpt => report.reply_to("<b@example.org>").unwrap(),
        _ => report.reply(),
    }
}

//! `tamis config`: all that is wrong, where, and what may be said.

use std::fs;

use crate::common::{Ran, file, run};

fn check(text: &str) -> Ran {
    let config = file(text.as_bytes());
    let mut ran = run(["config", "check", "--config", config.name()]);
    ran.stderr = ran.stderr.replace(config.name(), "tamis.toml");
    ran.stdout = ran.stdout.replace(config.name(), "tamis.toml");
    ran
}

/// The first lines of the findings.
fn findings(ran: &Ran) -> Vec<&str> {
    ran.stderr.lines().filter_map(|line| line.strip_prefix("tamis.toml:")).collect()
}

#[test]
fn every_mistake_is_named_with_its_place_and_what_to_write_instead() {
    let ran = check(
        "[[listener]]
sockt = \"inet:8899\"

[[listener]]
socket = \"unix:/run/tamis/s\"
mode = \"0999\"
group = \"nobodyhere\"

[[listener]]
socket = \"unix:/run/tamis/s\"

[chain]
mode = \"pipelin\"
colour = 3

[limits]
idle_time = \"never\"
max_headers = \"many\"
max_payload = 12

[log]
level = 5

[[filter]]
type = \"mliter\"

[[filter]]
name = 3

[[filters]]
type = \"x\"
",
    );
    assert_eq!(ran.code, 1);
    let expected = [
        "1:1: error: the key `socket` is missing",
        "2:1: error: there is no key `sockt`: `socket` is probably meant",
        "6:8: error: a mode is three octal digits, such as 0660",
        "7:9: error: there is no group \"nobodyhere\"",
        "10:10: error: \"unix:/run/tamis/s\" is listened on already, further up",
        "13:8: error: there is no value `pipelin`: `pipeline` is probably meant",
        "14:1: error: there is no key `colour`: there are `mode`, `decide`, `on_failure`",
        "17:13: error: \"never\" is no time: write a number with ms, s, m, h or d behind it, such as \"10s\"",
        "18:15: error: a whole number is expected here, not the text \"many\"",
        "19:15: error: every MTA may send frames of 65535 bytes, so that is the least",
        "22:9: error: a string is expected here, not the number `5`",
        "25:8: error: there is no type of filter `mliter`: `milter` is probably meant",
        "27:1: error: the key `type` is missing",
        "28:8: error: a string is expected here, not the number `3`",
        "30:3: error: there is no key `filters`: `filter` is probably meant",
    ];
    assert_eq!(findings(&ran), expected);
    assert!(
        ran.stderr.contains("\n 17 | idle_time = \"never\"\n    |             ^^^^^^^\n"),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.ends_with("tamis: tamis.toml: 15 mistakes and 0 warnings\n"), "{}", ran.stderr);
}

#[test]
fn text_that_is_no_toml_is_shown_at_every_place() {
    let ran = check("[chain\nmode = \"pipeline\"\n[log]\nlevel = info\n");
    assert_eq!(ran.code, 1);
    let places: Vec<_> =
        findings(&ran).iter().map(|line| line.split(": ").next().unwrap().to_owned()).collect();
    assert_eq!(places, ["1:7", "4:9"], "{}", ran.stderr);
}

#[test]
fn what_is_legal_and_probably_not_meant_is_a_warning() {
    let ran = check(
        "[limits]
stage_time = \"20s\"
end_of_message_time = \"10m\"

[chain]
decide = \"all\"

[[listener]]
socket = \"inet:8899@127.0.0.1\"
group = \"root\"
allow_users = [\"root\"]
",
    );
    assert_eq!(ran.code, 0, "{ran:?}");
    let places: Vec<_> =
        findings(&ran).iter().map(|line| line.split(": ").take(2).collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(
        places,
        ["2:14 warning", "3:23 warning", "6:10 warning", "10:9 warning", "11:15 warning"],
        "{}",
        ran.stderr
    );
    assert_eq!(ran.stdout, "tamis.toml: sound, with 0 filters and 5 warnings\n");
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let ran = run(["config", "check", "--config", "/no/such/tamis.toml"]);
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.starts_with("tamis: cannot read /no/such/tamis.toml: No such file"), "{}", ran.stderr);
    assert!(ran.stderr.contains("tamis config example"), "{}", ran.stderr);
    let binary = file(b"[log]\nlevel = \"\xff\"\n");
    let ran = run(["config", "check", "--config", binary.name()]);
    assert_eq!(
        (ran.code, ran.stderr.contains(":2: the file is not UTF-8 from here on")),
        (1, true),
        "{ran:?}"
    );
}

#[test]
fn the_example_is_sound_with_and_without_its_comment_marks() {
    let example = run(["config", "example"]).stdout;
    assert_eq!(check(&example).code, 0);
    // Every default is what may be written; filters have keys without one.
    let sections = example.split("# The filters, in the order").next().unwrap();
    let written: String = sections
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(rest) if !rest.starts_with(' ') && !rest.contains("# no default") => format!("{rest}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let written = written.replace("[[listener]]\n", "[[listener]]\nsocket = \"inet:8899@127.0.0.1\"\n");
    let ran = check(&written);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{written}");
}

#[test]
fn every_key_has_help_in_the_schema_and_in_the_reference() {
    let schema: serde_json::Value = serde_json::from_str(&run(["config", "schema"]).stdout).unwrap();
    let reference = run(["config", "reference"]).stdout;
    let mut keys = 0;
    visit(&schema, &mut |key, value| {
        keys += 1;
        let help = value["description"].as_str().unwrap_or_default();
        assert!(help.len() > 10, "{key} has no help: {value}");
        assert!(reference.contains(key), "{key} is not in the reference");
    });
    assert!(keys > 40, "{keys}");
}

#[test]
fn each_type_of_filter_has_an_example_in_the_reference_that_is_sound() {
    let reference = run(["config", "reference"]).stdout;
    for kind in tamis_filters::kind::ALL {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tamis.toml");
        fs::write(folder.path().join("access.sender"), "joe@example.net REJECT\n").unwrap();
        let (_, section) = reference.split_once(&format!("\n## `type = \"{}\"`\n", kind.name)).unwrap();
        let (_, example) = section.split_once("\n```toml\n").unwrap();
        let (example, _) = example.split_once("```\n").unwrap();
        assert_eq!(example, kind.example, "{}", kind.name);
        let remembered = folder.path().join("correspondents").display().to_string();
        fs::write(&file, example.replace("/var/lib/tamis/correspondents", &remembered)).unwrap();
        let ran = run(["config", "check", "--config", file.to_str().unwrap()]);
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{}: {ran:?}", kind.name);
    }
}

fn visit(schema: &serde_json::Value, see: &mut impl FnMut(&str, &serde_json::Value)) {
    for (key, value) in schema["properties"].as_object().into_iter().flatten() {
        see(key, value);
        visit(value, see);
    }
    if let Some(items) = schema.get("items") {
        visit(items, see);
    }
    for one in schema["oneOf"].as_array().into_iter().flatten() {
        visit(one, see);
    }
}

#[test]
fn the_page_in_the_documentation_is_the_one_that_is_printed() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
    let written = fs::read_to_string(page).unwrap();
    let printed = run(["config", "reference"]).stdout;
    assert!(written == printed, "write it again: tamis config reference > docs/configuration.md");
}

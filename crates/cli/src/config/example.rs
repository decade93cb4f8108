//! `tamis config example`: every key with its help and its default, as comments.

use std::fmt::Write;

use serde_json::Value;
use tamis_filters::kind;

use super::filters::KEY;
use super::schema::{self, description, properties};

/// Columns of a line.
const WIDTH: usize = 100;

const HEAD: &str = "\
# The configuration of `tamis serve`: /etc/tamis/tamis.toml, or what --config names.
#
# Every key is here with its default, as a comment: take the `#` away to say something else.
# Times are written \"250ms\", \"10s\", \"5m\", \"2h\" or \"30d\", sizes \"64K\", \"32M\" or \"1G\".
#
#   tamis config check      is everything right?
#   tamis reload            read the file again; on a mistake, everything stays as it is
";

/// The whole of it.
pub(super) fn whole() -> String {
    let mut text = HEAD.to_owned();
    let whole = schema::whole();
    for (key, section) in properties(&whole) {
        if key == KEY {
            continue;
        }
        text.push('\n');
        comment(&mut text, "", description(section));
        if section["items"].is_object() {
            let _ = writeln!(text, "#\n#[[{key}]]");
            keys(&mut text, "#", &section["items"]);
        } else {
            let _ = writeln!(text, "[{key}]");
            keys(&mut text, "#", section);
        }
    }
    text.push('\n');
    comment(&mut text, "", "The filters, in the order in which they are asked.");
    let mut generator = schema::generator();
    for entry in kind::ALL {
        let filter = schema::filter(entry, &mut generator);
        let _ = writeln!(text, "\n# {}: {}\n#", entry.name, entry.summary);
        let _ = writeln!(text, "#[[{KEY}]]");
        keys(&mut text, "#", &filter);
    }
    text
}

fn keys(text: &mut String, mark: &str, object: &Value) {
    for (key, value) in properties(object) {
        text.push('\n');
        comment(text, "", description(value));
        let shown = match value.get("const").or(value.get("default")).filter(|it| !it.is_null()) {
            Some(default) => toml(default),
            None => format!("{}    # no default", sample(value)),
        };
        let _ = writeln!(text, "{mark}{key} = {shown}");
    }
}

/// A value that says of which kind one may be.
fn sample(schema: &Value) -> String {
    if let Some(example) = schema["examples"].get(0) {
        return toml(example);
    }
    let first = |list: &Value| list.get(0).map(sample);
    if let Some(sample) = first(&schema["anyOf"]).or_else(|| first(&schema["oneOf"])) {
        return sample;
    }
    let kind = schema["type"].as_str().or_else(|| schema["type"].get(0)?.as_str());
    match kind {
        Some("integer" | "number") => "0",
        Some("boolean") => "false",
        Some("array") => "[]",
        Some("object") => "{}",
        _ => "\"\"",
    }
    .to_owned()
}

/// JSON as TOML on one line.
pub(super) fn toml(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(toml).collect::<Vec<_>>().join(", ")),
        Value::Object(map) => {
            let items: Vec<_> = map.iter().map(|(key, value)| format!("{key} = {}", toml(value))).collect();
            format!("{{ {} }}", items.join(", "))
        }
        other => other.to_string(),
    }
}

/// Text as comment lines; paragraphs stay, code blocks keep their lines.
fn comment(text: &mut String, indent: &str, help: &str) {
    let mut code = false;
    for paragraph in paragraphs(help) {
        match paragraph {
            Piece::Fence => code = !code,
            Piece::Line(line) => {
                let _ = writeln!(text, "{}", format!("{indent}#     {line}").trim_end());
            }
            Piece::Blank => {
                let _ = writeln!(text, "{indent}#");
            }
            Piece::Paragraph(words) => wrap(text, &format!("{indent}# "), &words),
        }
    }
}

enum Piece {
    Fence,
    Line(String),
    Blank,
    Paragraph(String),
}

/// Lines of one paragraph belong together; those between fences do not.
fn paragraphs(help: &str) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    let mut code = false;
    for line in help.lines() {
        if line.trim_start().starts_with("```") {
            code = !code;
            pieces.push(Piece::Fence);
        } else if code {
            pieces.push(Piece::Line(line.to_owned()));
        } else if line.trim().is_empty() {
            pieces.push(Piece::Blank);
        } else if let Some(Piece::Paragraph(words)) = pieces.last_mut()
            && !line.trim_start().starts_with("- ")
        {
            words.push(' ');
            words.push_str(line.trim());
        } else {
            pieces.push(Piece::Paragraph(line.trim().to_owned()));
        }
    }
    pieces
}

fn wrap(text: &mut String, begin: &str, words: &str) {
    let mut line = begin.to_owned();
    for word in words.split(' ') {
        if line.len() > begin.len() && line.chars().count() + word.chars().count() > WIDTH {
            let _ = writeln!(text, "{}", line.trim_end());
            begin.clone_into(&mut line);
        }
        line.push_str(word);
        line.push(' ');
    }
    let _ = writeln!(text, "{}", line.trim_end());
}

//! The reference page of the configuration, as Markdown.

use std::fmt::Write;

use serde_json::Value;
use tamis_filters::kind;

use super::example::toml;
use super::filters::KEY;
use super::schema::{self, description, is_required, properties};

/// The whole page.
pub(super) fn whole() -> String {
    let mut page =
        "# Configuration\n\nThe keys of `tamis.toml`. The page is made by `tamis config reference`.\n"
            .to_owned();
    let whole = schema::whole();
    for (key, section) in properties(&whole) {
        if key == KEY {
            continue;
        }
        let (title, object) = match section["items"].as_object() {
            Some(_) => (format!("[[{key}]]"), &section["items"]),
            None => (format!("[{key}]"), section),
        };
        // A string takes all.
        let _ = writeln!(page, "\n## `{title}`\n\n{}\n", description(section));
        table(&mut page, object, "###", "");
    }
    let mut generator = schema::generator();
    let _ = writeln!(
        page,
        "\n## `[[{KEY}]]`\n\nThe filters, in the order in which they are asked. All have these keys:\n"
    );
    table(&mut page, &schema::common(&mut generator), "###", "");
    for entry in kind::ALL {
        let filter = entry.schema(&mut generator).to_value();
        let _ = writeln!(page, "\n## `type = \"{}\"`\n\n{}\n", entry.name, description(&filter));
        let _ = writeln!(page, "```toml\n{}\n```\n", entry.example.trim_end());
        table(&mut page, &filter, "###", "");
    }
    page
}

/// The keys of an object, and then those of the objects in it.
fn table(page: &mut String, object: &Value, level: &str, within: &str) {
    if properties(object).next().is_none() {
        page.push_str("No keys of its own.\n");
        return;
    }
    page.push_str("| key | default | |\n| --- | --- | --- |\n");
    for (key, value) in properties(object) {
        let default = match value.get("default").filter(|it| !it.is_null()) {
            Some(default) => format!("`{}`", toml(default)),
            None if is_required(object, key) => "must be there".to_owned(),
            None => String::new(),
        };
        let help = description(value).replace('\n', " ").replace('|', "\\|");
        let _ = writeln!(page, "| `{key}` | {default} | {help} |");
    }
    for (key, value) in properties(object) {
        // Conditions are the same everywhere, and shown once.
        let shown = key == "when" && !within.is_empty() || ["not", "all", "any"].contains(&key.as_str());
        if let Some(inner) = schema::object(value).filter(|_| !shown) {
            let path = format!("{within}{key}");
            let _ = writeln!(page, "\n{level} `{path}`\n\n{}\n", description(inner));
            table(page, inner, level, &format!("{path}."));
        }
    }
}

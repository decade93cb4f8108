//! Logs: what is logged, how it looks, where it goes (stderr, always).

mod json;

use std::io::{self, IsTerminal};
use std::str::FromStr;

use clap::ValueEnum;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::JsonFields;

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Which log lines are wanted: `debug`, `tamis::wire=trace`, or several of these with commas between them.
#[derive(Clone, Debug)]
pub(crate) struct Directives(String);

impl FromStr for Directives {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        for directive in text.split(',').map(str::trim).filter(|directive| !directive.is_empty()) {
            // The syntax takes any word for the name of a module, misspelt levels too.
            let is_word = directive.bytes().all(|byte| byte.is_ascii_alphanumeric());
            if is_word && directive != "tamis" && directive.parse::<LevelFilter>().is_err() {
                return Err(format!(
                    "{directive:?} is not a level; say error, warn, info, debug, trace, off or MODULE=LEVEL"
                ));
            }
        }
        match EnvFilter::try_new(text) {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// Starts logging; `base` is the level of everything that the directives do not mention.
pub(crate) fn start(base: &str, directives: &Directives, format: Format) {
    let filter = EnvFilter::new(format!("{base},{}", directives.0));
    let colours = io::stderr().is_terminal() && colours_allowed();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match format {
        Format::Text => builder.with_ansi(colours).init(),
        Format::Json => builder.fmt_fields(JsonFields::new()).event_format(json::Json).init(),
    }
}

/// Whether the user lets programs use colours (<https://no-color.org>).
pub(crate) fn colours_allowed() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// A list of texts as the value of a field: shown as JSON, which the JSON format takes over as a list.
pub(crate) struct List<'a>(pub(crate) &'a [String]);

impl std::fmt::Debug for List<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = serde_json::to_string(self.0).map_err(|_| std::fmt::Error)?;
        json::without_controls(f, &text)
    }
}

//! Logs: what is logged, how it looks, where it goes (stderr, always).

mod json;

use std::io::{self, IsTerminal};
use std::os::unix::fs::MetadataExt;
use std::str::FromStr;

use anyhow::{Context, Result};
use clap::ValueEnum;
use tracing::level_filters::LevelFilter;
use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::fmt::format::JsonFields;
use tracing_subscriber::layer::{Layered, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

use crate::config::LogFormat;

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
    /// Fields for systemd's journal.
    Journald,
}

impl From<LogFormat> for Format {
    fn from(format: LogFormat) -> Self {
        match format {
            LogFormat::Auto if stderr_is_the_journal() => Self::Journald,
            LogFormat::Auto | LogFormat::Text => Self::Text,
            LogFormat::Json => Self::Json,
            LogFormat::Journald => Self::Journald,
        }
    }
}

/// Whether systemd has connected stderr to the journal
/// (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL/#automatic-protocol-upgrading>). What a service starts has the variable
/// too, wherever its stderr goes.
fn stderr_is_the_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    let stderr = std::fs::metadata("/proc/self/fd/2");
    stderr.is_ok_and(|stderr| stream == format!("{}:{}", stderr.dev(), stderr.ino()))
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

/// Changes what is logged while the program runs.
pub(crate) struct Levels {
    base: &'static str,
    handle: reload::Handle<EnvFilter, Registry>,
}

impl Levels {
    /// Logs by these directives from now on.
    pub(crate) fn set(&self, directives: &Directives) {
        // The registry lives as long as the program.
        let _ = self.handle.reload(directives.filter(self.base));
    }
}

impl Directives {
    fn filter(&self, base: &str) -> EnvFilter {
        EnvFilter::new(format!("{base},{}", self.0))
    }
}

/// Starts logging; `base` is the level of everything that the directives do not mention.
///
/// # Errors
///
/// When there is no journal.
pub(crate) fn start(base: &'static str, directives: &Directives, format: Format) -> Result<Levels> {
    let (filter, handle) = reload::Layer::new(directives.filter(base));
    let colours = io::stderr().is_terminal() && colours_allowed();
    let lines = || tracing_subscriber::fmt::layer().with_writer(io::stderr);
    let layer: Box<dyn Layer<Layered<reload::Layer<EnvFilter, Registry>, Registry>> + Send + Sync> =
        match format {
            Format::Text => lines().with_ansi(colours).boxed(),
            Format::Json => lines().fmt_fields(JsonFields::new()).event_format(json::Json).boxed(),
            Format::Journald => tracing_journald::layer()
                .context(
                    "cannot log to systemd's journal: is there one? (`--log-format text` logs to stderr)",
                )?
                .with_syslog_identifier("tamis".to_owned())
                // `journalctl QUEUE_ID=…`, as other programs name their fields.
                .with_field_prefix(None)
                .with_priority_mappings(PriorityMappings {
                    info: Priority::Informational,
                    debug: Priority::Debug,
                    ..PriorityMappings::new()
                })
                .boxed(),
        };
    tracing_subscriber::registry().with(filter).with(layer).init();
    Ok(Levels { base, handle })
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

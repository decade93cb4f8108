//! The log, on stderr.

use std::io::{self, IsTerminal};
use std::str::FromStr;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;

/// Which log lines are wanted: `debug`, `tamis::wire=trace`, or several of these with commas between them.
#[derive(Clone, Debug)]
pub(crate) struct Directives(String);

impl FromStr for Directives {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            // The syntax takes any word for the name of a module, misspelt levels too.
            let is_word = word.bytes().all(|byte| byte.is_ascii_alphanumeric());
            if is_word && word.parse::<LevelFilter>().is_err() {
                return Err(format!(
                    "{word:?} is not a level; say error, warn, info, debug, trace, off or MODULE=LEVEL"
                ));
            }
        }
        match EnvFilter::try_new(text) {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// Starts logging; what the directives do not mention is logged from level info on.
pub(crate) fn start(directives: &Directives) {
    let filter = EnvFilter::new(format!("info,{}", directives.0));
    let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(colours).init();
}

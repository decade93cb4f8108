//! `milter`: another milter in the chain, which is asked over its socket as the MTA would.
//!
//! # Example
//!
//! `opendkim`, which may be down without mail being refused for it:
//!
//! ```toml
#![doc = include_str!("example.toml")]
//! ```
//!
//! What it asks for is asked of the MTA, and what it says and edits counts as in any other filter. A milter that fails
//! again and again is left alone for a while, and its `on_failure` applies at once; [`Plan::milter`] has the state of
//! that for metrics.

#[cfg(test)]
mod tests;

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tamis::SocketSpec;
use tamis::proto::MacroStage;
use tamis::proto::address::Host;
use tamis::remote::{BreakerOptions, Milter, RemoteOptions};

use crate::config::{Build, Size, Time};
use crate::kind::{Kind, Nature, Plan};

/// Another milter, which is asked over its socket as the MTA would.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Milter")]
pub struct Settings {
    /// Where it listens, in the notation of Postfix or of Sendmail. A path that does not begin with a slash is in the
    /// folder of this file.
    #[schemars(extend("examples" = ["inet:127.0.0.1:8891", "unix:/run/opendkim/opendkim.sock"]))]
    pub socket: String,

    /// How long it may take to connect, as `milter_connect_timeout` of Postfix.
    #[serde(default = "connect_timeout")]
    #[schemars(extend("examples" = ["30s"]))]
    pub connect_timeout: Time,

    /// How long it may take to connect and to negotiate together. The MTA waits meanwhile, Sendmail for 10 s.
    #[serde(default = "negotiation_timeout")]
    #[schemars(extend("examples" = ["5s"]))]
    pub negotiation_timeout: Time,

    /// How long it may take to answer a step up to DATA, as `milter_command_timeout` of Postfix. It never gets more than
    /// the `timeout` of the filter and the time that the stage has.
    #[serde(default = "command_timeout")]
    #[schemars(extend("examples" = ["30s"]))]
    pub command_timeout: Time,

    /// How long it may take to answer a step from the header on, at the end of the message from one sign of life to the
    /// next; as `milter_content_timeout` of Postfix. It never gets more than the `timeout` of the filter and the time
    /// that the stage has.
    #[serde(default = "content_timeout")]
    #[schemars(extend("examples" = ["5m"]))]
    pub content_timeout: Time,

    /// Most bytes of changes that it may ask for in one message, a new body not counted.
    #[serde(default = "max_edits")]
    #[schemars(extend("examples" = ["4M"]))]
    pub max_edits: Size,

    /// When it is left alone because it fails.
    #[serde(default)]
    #[schemars(extend("examples" = [{ "failures": 3, "back_off": "10s" }]))]
    pub breaker: Breaker,

    /// Macros that it is given if it does not name any itself: in place of those that the MTA sends by default.
    #[serde(default)]
    #[schemars(extend("examples" = [{ "mail": ["i", "{auth_authen}"] }]))]
    pub macros: Macros,

    /// Whether it signs messages, as `opendkim` does: then filters behind it that change what is signed are warned of.
    #[serde(default)]
    #[schemars(extend("examples" = [true]))]
    pub signs: bool,

    /// Whether it may replace the body, as a virus scanner that disarms attachments does: then filters before it that
    /// sign are warned of.
    #[serde(default)]
    #[schemars(extend("examples" = [true]))]
    pub edits_body: bool,
}

/// When a milter is left alone because it fails.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Breaker {
    /// After how many failures in a row; 0 is never.
    #[schemars(extend("examples" = [5]))]
    pub failures: u32,

    /// For how long the first time. Doubled each time that it fails again at once.
    #[schemars(extend("examples" = ["1s"]))]
    pub back_off: Time,

    /// For how long at most.
    #[schemars(extend("examples" = ["1m"]))]
    pub max_back_off: Time,
}

/// Macros of each stage.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Macros {
    /// When the client connects, as `milter_connect_macros` of Postfix.
    #[schemars(extend("examples" = [["j", "{daemon_name}", "{client_addr}"]]))]
    pub connect: Vec<String>,

    /// At HELO, as `milter_helo_macros` of Postfix.
    #[schemars(extend("examples" = [["{tls_version}", "{cipher}"]]))]
    pub helo: Vec<String>,

    /// At MAIL, as `milter_mail_macros` of Postfix.
    #[schemars(extend("examples" = [["i", "{auth_authen}", "{mail_addr}"]]))]
    pub mail: Vec<String>,

    /// At RCPT, as `milter_rcpt_macros` of Postfix.
    #[schemars(extend("examples" = [["{rcpt_addr}"]]))]
    pub rcpt: Vec<String>,

    /// At DATA, as `milter_data_macros` of Postfix.
    #[schemars(extend("examples" = [["i"]]))]
    pub data: Vec<String>,

    /// At the end of the header, as `milter_end_of_header_macros` of Postfix.
    #[schemars(extend("examples" = [["i"]]))]
    pub end_of_headers: Vec<String>,

    /// At the end of the message, as `milter_end_of_data_macros` of Postfix.
    #[schemars(extend("examples" = [["i"]]))]
    pub end_of_message: Vec<String>,
}

const fn connect_timeout() -> Time {
    Time::seconds(30)
}

const fn negotiation_timeout() -> Time {
    Time::seconds(5)
}

const fn command_timeout() -> Time {
    Time::seconds(30)
}

const fn content_timeout() -> Time {
    Time::seconds(300)
}

const fn max_edits() -> Size {
    Size(4 << 20)
}

impl Default for Breaker {
    fn default() -> Self {
        let BreakerOptions { failures, back_off, max_back_off, .. } = BreakerOptions::default();
        Self { failures, back_off: Time(back_off), max_back_off: Time(max_back_off) }
    }
}

impl Kind for Settings {
    const NAME: &'static str = "milter";
    const SUMMARY: &'static str = "another milter, asked over its socket as the MTA would";
    const EXAMPLE: &str = include_str!("example.toml");

    fn plan(self, build: &mut Build) -> Option<Plan> {
        let socket = build.within("socket", |build| socket(&self.socket, build));
        if self.negotiation_timeout >= SENDMAIL_WAITS {
            build.within("negotiation_timeout", |build| {
                build.warning("Sendmail gives up after 10 s: write less, such as \"5s\"");
            });
        }
        let mut options = RemoteOptions::new();
        options.connect_time = self.connect_timeout.0;
        options.negotiation_time = self.negotiation_timeout.0;
        options.command_time = self.command_timeout.0;
        options.content_time = self.content_timeout.0;
        options.edits = usize::try_from(self.max_edits.0).unwrap_or(usize::MAX);
        options.breaker.failures = self.breaker.failures;
        options.breaker.back_off = self.breaker.back_off.0;
        options.breaker.max_back_off = self.breaker.max_back_off.0;
        for (stage, key, names) in self.macros.stages() {
            let place = |build: &mut Build| {
                build.within("macros", |build| build.within(key, |build| check(names, build)))
            };
            if place(build) && !names.is_empty() {
                options = options.macros(stage, names);
            }
        }
        let nature = Nature {
            edits_body: self.edits_body,
            edits_header: true,
            signs: self.signs,
            ..Nature::default()
        };
        let socket = socket?;
        if !build.is_sound() {
            return None;
        }
        Some(Plan::remote(nature, Milter::with_options(socket.to_string(), socket, options)))
    }
}

/// Sendmail waits that long for every answer, the one to the negotiation included.
const SENDMAIL_WAITS: Time = Time::seconds(10);

/// Sendmail sends no more macros at a stage.
const MOST_MACROS: usize = 50;

impl Macros {
    fn stages(&self) -> [(MacroStage, &'static str, &[String]); 7] {
        [
            (MacroStage::Connect, "connect", &self.connect),
            (MacroStage::Helo, "helo", &self.helo),
            (MacroStage::Mail, "mail", &self.mail),
            (MacroStage::Rcpt, "rcpt", &self.rcpt),
            (MacroStage::Data, "data", &self.data),
            (MacroStage::EndOfHeaders, "end_of_headers", &self.end_of_headers),
            (MacroStage::EndOfMessage, "end_of_message", &self.end_of_message),
        ]
    }
}

/// Whether names of macros can be asked for.
fn check(names: &[String], build: &mut Build) -> bool {
    let mut good = names.len() <= MOST_MACROS;
    if !good {
        build.mistake(format!("{} macros, more than {MOST_MACROS} at one stage are not sent", names.len()));
    }
    for (index, name) in names.iter().enumerate() {
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',') {
            good = false;
            build.within(index, |build| {
                build.mistake(format!("{name:?} is no name of a macro: write \"i\" or \"{{auth_authen}}\""));
            });
        }
    }
    good
}

/// A socket to connect to.
fn socket(text: &str, build: &mut Build) -> Option<SocketSpec> {
    let socket = build.ok(text.parse::<SocketSpec>())?;
    match &socket {
        SocketSpec::Unix(path) if path == Path::new("") => {
            build.mistake("a unix socket needs a path, such as unix:/run/filter.sock");
            None
        }
        SocketSpec::Unix(path) => Some(SocketSpec::Unix(build.file(path))),
        SocketSpec::Inet { host: Host::Any, .. } | SocketSpec::Inet6 { host: Host::Any, .. } => {
            build.mistake(format!(
                "{text:?} says no host to connect to: write it, such as inet:8891@127.0.0.1"
            ));
            None
        }
        _ => Some(socket),
    }
}

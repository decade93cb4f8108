//! The sections of the configuration, but for the filters.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tamis::{Options, Verdict};
use tamis_filters::config::{Build, Size, Time};

use super::filters::OnFailure;
use super::listener::{Listener, group, user};

/// The configuration of `tamis serve`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Sections {
    /// Where MTAs connect: one table for each socket. Without any, `inet:8899@127.0.0.1`.
    pub(crate) listener: Vec<Listener>,
    /// How the filters run, all of them together.
    pub(crate) chain: Chain,
    /// What is logged, and how.
    pub(crate) log: Log,
    /// What the daemon shows of itself: metrics, health, and what became of recent messages.
    pub(crate) admin: Admin,
    /// Whom the process runs as.
    pub(crate) process: Process,
    /// How much of the machine MTAs may take.
    pub(crate) limits: Limits,
}

/// How the filters run, all of them together.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Chain {
    /// `pipeline`: one filter after the other, each with the message as those before it left it, as an MTA with several
    /// milters does. `parallel`: all at the same time, about the message as it came.
    pub(crate) mode: Mode,
    /// For `parallel`: whether the first filter that refuses decides (`first`), or all are waited for and the severest
    /// verdict counts (`all`).
    pub(crate) decide: Decide,
    /// What the MTA is told where the chain itself fails: `tempfail`, `reject` or `accept`. Each filter has an
    /// `on_failure` of its own.
    pub(crate) on_failure: OnFailure,
}

/// How a chain runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Mode {
    #[default]
    Pipeline,
    Parallel,
}

/// When a parallel chain decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Decide {
    #[default]
    First,
    All,
}

/// What is logged, and how.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Log {
    /// `error`, `warn`, `info`, `debug`, `trace` or `off`, for all or as MODULE=LEVEL, with commas between several. The
    /// conversation with the MTA, frame by frame: `info,tamis::wire=trace`.
    pub(crate) level: String,
    /// `text` and `json` are lines on stderr; `journald` hands fields to systemd's journal. `auto` is `journald` where
    /// systemd has connected stderr to the journal, and `text` elsewhere.
    pub(crate) format: LogFormat,
}

/// How log lines look, and where they go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum LogFormat {
    #[default]
    Auto,
    Text,
    Json,
    Journald,
}

/// What the daemon shows of itself.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Admin {
    /// The unix socket of `tamis reload` and `tamis explain`; an empty text is none. Who can write to it can see what
    /// became of recent messages, with who sent them to whom, replies and changed header fields, so it is for the user of
    /// the process alone.
    pub(crate) socket: String,
    /// Where `/metrics` (Prometheus), `/healthz` and `/readyz` are served over HTTP, such as `inet:9899@127.0.0.1`; an
    /// empty text is nowhere. They tell nothing about single messages.
    pub(crate) metrics: String,
    /// For how many messages the record is kept in memory, for `tamis explain`; and for as many clients that were refused
    /// before they had one.
    pub(crate) history: u32,
}

/// Whom the process runs as.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Process {
    /// The user, by name or number, that the process becomes once its sockets are open; only for a process that root
    /// starts. An empty text leaves it as it is, for systemd has its own `User=`.
    pub(crate) user: String,
    /// The group, likewise; the user's own if it is empty.
    pub(crate) group: String,
}

/// How much of the machine MTAs may take.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Limits {
    /// Connections that may be open; one more is closed at once.
    pub(crate) max_connections: u32,
    /// Connections of one address that may be open; all of unix sockets count as one address.
    pub(crate) max_connections_per_peer: u32,
    /// How long all filters together may take at any stage but the end of message. Sendmail waits 10 s for every reply,
    /// Postfix 30 s.
    pub(crate) stage_time: Time,
    /// How long they may take at the end of message, while the MTA is told that they are at work; both MTAs wait 300 s.
    pub(crate) end_of_message_time: Time,
    /// How often the MTA is told so.
    pub(crate) progress_every: Time,
    /// How long messages in work may go on after SIGTERM.
    pub(crate) drain_time: Time,
    /// How long the negotiation may take, from the connection on.
    pub(crate) handshake_time: Time,
    /// How long an MTA may be silent; it is while its SMTP client is.
    pub(crate) idle_time: Time,
    /// How long an MTA may take to finish a frame that it began.
    pub(crate) frame_time: Time,
    /// How long an MTA may read nothing of a reply.
    pub(crate) write_time: Time,
    /// Memory for the bodies of one message; what is more goes to a file.
    pub(crate) body_memory: Size,
    /// Memory for the bodies of all messages together.
    pub(crate) total_body_memory: Size,
    /// Room in files for the bodies of one message; one that needs more fails.
    pub(crate) body_files: Size,
    /// Room in files for the bodies of all messages together; one that needs more waits a little, then fails.
    pub(crate) total_body_files: Size,
    /// The folder of these files. They have no names, and are gone when the process ends.
    pub(crate) body_folder: PathBuf,
    /// Bytes kept of each connection's last frames, for a record in the log when something goes wrong; `0` is none.
    pub(crate) flight_recorder: u32,
    /// Receive buffers and macros of all connections together, without 16K that each may have anyway.
    pub(crate) max_buffers: Size,
    /// How much is read ahead while a message is worked on; an MTA that sends more waits.
    pub(crate) read_ahead: Size,
    /// Replies that may wait until the MTA reads them; no further command is taken meanwhile.
    pub(crate) max_replies: Size,
    /// What a frame may carry; 65535 at the least, which every MTA may send.
    pub(crate) max_payload: Size,
    /// Macros at one stage; those above are dropped.
    pub(crate) max_macros: u32,
    /// Names and values of macros at one stage.
    pub(crate) max_macro_bytes: Size,
    /// Header fields of a message.
    pub(crate) max_headers: u32,
    /// Names and values of all header fields of a message.
    pub(crate) max_header_bytes: Size,
    /// Recipients of a message, refused ones included.
    pub(crate) max_recipients: u32,
    /// A sender or recipient with its parameters, a HELO name, a client's name, an unknown command.
    pub(crate) max_argument: Size,
}

impl Default for Log {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: LogFormat::Auto }
    }
}

impl Default for Admin {
    fn default() -> Self {
        Self { socket: "/run/tamis/admin.sock".to_owned(), metrics: String::new(), history: 1000 }
    }
}

impl Default for Limits {
    /// Those of the library.
    fn default() -> Self {
        let Options { limits, body, .. } = Options::default();
        let options = Options::default();
        let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let size = |bytes: usize| Size(bytes as u64);
        Self {
            max_connections: number(options.max_connections),
            max_connections_per_peer: number(options.max_connections_per_peer),
            stage_time: Time(options.stage_time),
            end_of_message_time: Time(options.end_of_message_time),
            progress_every: Time(options.progress_every),
            drain_time: Time(options.drain_time),
            handshake_time: Time(options.handshake_time),
            idle_time: Time(options.idle_time),
            frame_time: Time(options.frame_time),
            write_time: Time(options.write_time),
            body_memory: size(body.memory),
            total_body_memory: size(body.total_memory),
            body_files: Size(body.spool),
            total_body_files: Size(body.total_spool),
            body_folder: body.folder,
            flight_recorder: number(options.flight_recorder),
            max_buffers: size(options.buffers),
            read_ahead: size(options.read_ahead),
            max_replies: size(limits.replies),
            max_payload: size(limits.payload),
            max_macros: number(limits.macros),
            max_macro_bytes: size(limits.macro_bytes),
            max_headers: number(limits.headers),
            max_header_bytes: size(limits.header_bytes),
            max_recipients: number(limits.recipients),
            max_argument: size(limits.argument),
        }
    }
}

impl Limits {
    /// Writes them into the server's settings.
    pub(crate) fn set(&self, options: &mut Options) {
        let number = |number: u32| number as usize;
        let size = |Size(bytes): Size| usize::try_from(bytes).unwrap_or(usize::MAX);
        options.max_connections = number(self.max_connections);
        options.max_connections_per_peer = number(self.max_connections_per_peer);
        options.stage_time = self.stage_time.0;
        options.end_of_message_time = self.end_of_message_time.0;
        options.progress_every = self.progress_every.0;
        options.drain_time = self.drain_time.0;
        options.handshake_time = self.handshake_time.0;
        options.idle_time = self.idle_time.0;
        options.frame_time = self.frame_time.0;
        options.write_time = self.write_time.0;
        options.body.memory = size(self.body_memory);
        options.body.total_memory = size(self.total_body_memory);
        options.body.spool = self.body_files.0;
        options.body.total_spool = self.total_body_files.0;
        options.body.folder.clone_from(&self.body_folder);
        options.flight_recorder = number(self.flight_recorder);
        options.buffers = size(self.max_buffers);
        options.read_ahead = size(self.read_ahead);
        options.limits = tamis::proto::Limits::new()
            .with_replies(size(self.max_replies))
            .with_payload(size(self.max_payload))
            .with_macros(number(self.max_macros))
            .with_macro_bytes(size(self.max_macro_bytes))
            .with_headers(number(self.max_headers))
            .with_header_bytes(size(self.max_header_bytes))
            .with_recipients(number(self.max_recipients))
            .with_argument(size(self.max_argument));
    }

    fn check(&self, build: &mut Build) {
        let numbers = [
            ("max_connections", self.max_connections),
            ("max_connections_per_peer", self.max_connections_per_peer),
            ("max_macros", self.max_macros),
            ("max_headers", self.max_headers),
            ("max_recipients", self.max_recipients),
        ];
        for (name, number) in numbers {
            if number == 0 {
                build.within(name, |build| {
                    build.mistake("none would be a filter that serves nobody: 1 at the least");
                });
            }
        }
        if self.max_payload.0 < 65_535 {
            build.within("max_payload", |build| {
                build.mistake("every MTA may send frames of 65535 bytes, so that is the least");
            });
        }
        for (name, time, most, whose) in [
            (
                "stage_time",
                self.stage_time,
                Time::seconds(10),
                "Sendmail waits 10s, Postfix 30s, and then gives up on the filter",
            ),
            (
                "end_of_message_time",
                self.end_of_message_time,
                Time::seconds(300),
                "both MTAs wait 300s, and then give up on the filter",
            ),
        ] {
            if time >= most {
                build.within(name, |build| {
                    build.warning(format_args!("{time} is no shorter than the MTA's patience: {whose}"));
                });
            }
        }
        if !self.body_folder.is_dir() {
            let folder = self.body_folder.display();
            build.within("body_folder", |build| build.mistake(format_args!("there is no folder {folder}")));
        }
    }
}

impl Mode {
    /// As it is written.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pipeline => "pipeline",
            Self::Parallel => "parallel",
        }
    }
}

impl Sections {
    /// Says what is wrong although it can be read.
    pub(super) fn check(&self, build: &mut Build) {
        build.within("listener", |build| {
            for (place, listener) in self.listener.iter().enumerate() {
                build.within(place, |build| listener.check(&self.listener[..place], build));
            }
        });
        build.within("chain", |build| {
            if self.chain.mode == Mode::Pipeline && self.chain.decide == Decide::All {
                build.within("decide", |build| {
                    build.warning(
                        "a pipeline asks one filter after the other: this is for `mode = \"parallel\"`",
                    );
                });
            }
            if self.chain.on_failure == OnFailure::Quarantine {
                build.within("on_failure", |build| {
                    build.mistake("only a filter can have messages held: `tempfail`, `reject` or `accept`");
                });
            }
        });
        build.within("log", |build| {
            build.within("level", |build| build.ok(self.log.level.parse::<crate::log::Directives>()));
        });
        build.within("admin", |build| self.admin.check(build));
        build.within("process", |build| {
            build.within("user", |build| {
                if !self.process.user.is_empty() {
                    build.ok(user(&self.process.user));
                }
            });
            build.within("group", |build| {
                if !self.process.group.is_empty() {
                    build.ok(group(&self.process.group));
                }
            });
        });
        build.within("limits", |build| self.limits.check(build));
    }

    /// What the server is run with.
    pub(crate) fn options(&self) -> Options {
        let mut options = Options::default();
        self.limits.set(&mut options);
        options.on_failure = match self.chain.on_failure {
            OnFailure::Reject => Verdict::Reject,
            OnFailure::Accept => Verdict::Accept,
            OnFailure::Tempfail | OnFailure::Quarantine => options.on_failure,
        };
        options
    }
}

impl Admin {
    fn check(&self, build: &mut Build) {
        build.within("metrics", |build| {
            if self.metrics.is_empty() {
                return;
            }
            build.ok(self.metrics.parse::<tamis::SocketSpec>());
        });
        build.within("history", |build| {
            if self.history > 1_000_000 {
                build.mistake("records are kept in memory: 1000000 at most");
            }
        });
    }
}

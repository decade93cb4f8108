//! The configuration of the daemon: one TOML file.
//!
//! ```text
//!   text ── read ──▶ sections, filters ── plan ──▶ what `serve` runs
//!             │                             │
//!             └───────── findings ──────────┴────▶ report: FILE:LINE:COLUMN
//! ```
//!
//! The doc comment of a field is its help: the commented example, the reference and the JSON schema are made of it.

mod against;
mod command;
mod example;
mod filters;
mod finding;
mod listener;
mod place;
mod read;
mod reference;
mod schema;
mod sections;

pub(crate) use command::{Args, run};
pub(crate) use filters::{Enforce, Member};
pub(crate) use finding::Source;
pub(crate) use listener::{Listener, Place, group, mode, network, user};
pub(crate) use read::{Config, read};
pub(crate) use sections::{Admin, Decide, Log, LogFormat, Mode, Process, Sections};

/// Where the configuration is, unless something else is said.
pub(crate) const PATH: &str = "/etc/tamis/tamis.toml";

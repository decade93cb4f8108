//! Filters for the program `tamis`.
//!
//! Each is a folder: its configuration, with the documentation of every field, the filter, and its tests. To add one is
//! to add a folder and a line in [`ALL`](kind::ALL).
//!
//! | room | what lives there |
//! | --- | --- |
//! | [`kind`] | what a folder has to offer, and the list of them |
//! | [`config`] | what configurations are made of: times, sizes, and where a mistake is told |
//! | [`condition`] | for which messages a filter is asked, as a configuration says it |
//! | [`lists`] | networks, domains, addresses, words: in the configuration or in files that are read again when they change |

#![forbid(unsafe_code)]

pub mod condition;
pub mod config;
pub mod headers;
pub mod kind;
pub mod lists;
pub mod log;
pub mod milter;
pub mod policy;
pub mod remember;
mod template;
#[cfg(test)]
mod testing;
mod values;

pub use config::{Build, Key, Path, Remark};
pub use kind::{Kind, Nature, Plan};

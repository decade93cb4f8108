//! Filters for the program `tamis`.
//!
//! Each is a folder: its configuration, with the documentation of every field, the filter, and its tests. To add one is
//! to add a folder and a line in [`ALL`](kind::ALL).
//!
//! | room | what lives there |
//! | --- | --- |
//! | [`kind`] | what a folder has to offer, and the list of them |
//! | [`config`] | what configurations are made of: times, sizes, and where a mistake is told |

#![forbid(unsafe_code)]

pub mod config;
pub mod kind;

pub use config::{Build, Key, Path, Remark};
pub use kind::{Kind, Nature, Plan};

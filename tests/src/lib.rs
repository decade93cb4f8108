//! Runs filters behind real MTAs and compares what the MTA delivers, byte for byte.
//!
//! The cases are small text files in `cases/`; `README.md` beside this package says how to read and write them.
//! Around them stand a private instance of [`postfix`] or [`sendmail`], a [`sink`] that keeps what is delivered, an [`smtp`] client
//! and a [`runner`] that puts them together. What a filter does in a case is a [`script`], plain data, which a
//! [`host::FilterHost`] turns into a running filter.

#![forbid(unsafe_code)]

pub mod case;
pub mod chain;
pub mod compare;
pub mod driver;
pub mod filter;
pub mod host;
pub mod mta;
pub mod port;
pub mod postfix;
pub mod program;
pub mod queue;
pub mod runner;
pub mod script;
pub mod sendmail;
pub mod sink;
pub mod site;
pub mod smtp;
pub mod text;
mod wording;

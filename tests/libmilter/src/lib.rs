//! Runs one C filter on two libmilters, Sendmail's and Tamis', and compares all that can be seen of them.
//!
//! `README.md` beside this package explains the parts: the [`probe`] and its [`script`], [`session`]s and where
//! they come from, and what may differ.

#![forbid(unsafe_code)]

mod accept;
pub mod dice;
pub mod generate;
pub mod judge;
pub mod library;
pub mod milter;
pub mod play;
pub mod probe;
pub mod rewrite;
pub mod rules;
pub mod script;
pub mod session;
pub mod stock;
pub mod walk;

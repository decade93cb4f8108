//! Sendmail's libmilter, as a drop-in: the C interface over [`tamis_proto`].
//!
//! For programs in C, Perl, Python and whatever else was built on `libmilter.so.1.0.1`; they run unchanged. How to
//! install it, and what can be set: `docs/libmilter.md` in the repository. Nothing in here is for Rust programs; they
//! depend on `tamis`.
//!
//! The functions are in `ffi`. A program's contexts are numbers (`context`), never followed. `engine` has the threads:
//! whoever reads a command runs its callback (`callback`) and says what it answered (`answer`), by the rules of
//! [`FilterSession`](tamis_proto::FilterSession) with [`Rules::libmilter`](tamis_proto::Rules::libmilter). This is the
//! only crate of the project with `unsafe` code, for the system's calls (`sys`) and for C.
//!
//! # Where it is not what libmilter does
//!
#![doc = include_str!("../DIFFERENCES.md")]
#![cfg(target_os = "linux")]

mod answer;
mod callback;
mod connection;
mod context;
mod descr;
mod engine;
mod ffi;
mod listen;
mod log;
mod metrics;
mod negotiate;
mod process;
mod reply;
mod settings;
mod symbols;
mod sys;
mod trace;

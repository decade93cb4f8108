//! Sendmail's libmilter, as a drop-in: the C interface over [`tamis_proto`].
//!
//! For programs in C, Perl, Python and whatever else was built on `libmilter.so.1.0.1`; they run unchanged.
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
mod negotiate;
mod process;
mod reply;
mod settings;
mod symbols;
mod sys;

//! C programs on the library, with the tests as their MTA.
#![cfg(target_os = "linux")]

mod abi;
mod common;
mod edits;
mod hostile;
mod macros;
mod memcheck;
mod negotiation;
mod process;
mod random;
mod replies;
mod session;
mod settings;
mod threads;

//! Every case of `cases`, against a real Postfix: a test for each, named as its file.
//!
//! `cargo test -p tamis-interop --test postfix -- rcpt` runs those with `rcpt` in their name.

#[path = "common/cases.rs"]
mod cases;
mod common;

use std::process::ExitCode;

use tamis_interop::mta::Kind;

fn main() -> ExitCode {
    cases::run(Kind::Postfix)
}

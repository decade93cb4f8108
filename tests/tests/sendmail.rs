//! Every case of `cases`, against a real Sendmail: a test for each, named as its file.
//!
//! `cargo test -p tamis-interop --test sendmail -- rcpt` runs those with `rcpt` in their name.

#[path = "common/cases.rs"]
mod cases;
mod common;

use std::process::ExitCode;

use tamis_interop::mta::Kind;
use tamis_interop::sendmail;

fn main() -> ExitCode {
    // Once, and not for every case.
    if let Err(error) = sendmail::check() {
        eprintln!("{error}");
        return ExitCode::FAILURE;
    }
    cases::run(Kind::Sendmail)
}

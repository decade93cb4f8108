//! Unmodified milters from Debian on both libraries: what they say to an MTA is what was recorded from Sendmail's.
//!
//! `TAMIS_RECORD=1` records it anew, from the stock library.

mod clamav;
mod opendkim;
mod opendmarc;
mod perl;
mod postfix;
mod python;
mod spamass;

use std::fs;
use std::path::{Path, PathBuf};

use similar::TextDiff;
use tamis_libmilter_tests::library::Library;
use tamis_libmilter_tests::milter::Message;

/// Compares a conversation on each library with the recorded one.
fn recorded(name: &str, converse: impl Fn(Library) -> String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("expect").join(format!("{name}.txt"));
    if std::env::var_os("TAMIS_RECORD").is_some() {
        fs::write(&path, converse(Library::Stock)).expect("the repository can be written to");
        return;
    }
    let expected = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    for library in Library::ALL {
        let got = converse(library);
        let diff = TextDiff::from_lines(&expected, &got);
        let shown = diff.unified_diff().context_radius(5).header("recorded", "got").to_string();
        assert!(shown.is_empty(), "{name} on {library:?} differs\n{shown}");
    }
}

/// A folder with room for the name of a socket.
fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let socket = folder.path().join("milter");
    (folder, socket)
}

/// A message of no importance.
const PLAIN: Message<'static> = Message {
    sender: &["<alice@example.com>", "SIZE=500"],
    recipients: &["<bob@example.org>", "<carol@example.org>"],
    header: &[
        ("From", "Alice <alice@example.com>"),
        ("To", "bob@example.org,\n\tcarol@example.org"),
        ("Date", "Fri, 20 Nov 2026 08:00:00 +0000"),
        ("Message-Id", "<1@example.com>"),
        ("Subject", "hello"),
    ],
    body: &[b"Hello.\r\n", b"Bye.\r\n"],
};

//! A filter in Python, on pymilter.

use tamis_libmilter_tests::library::Library;
use tamis_libmilter_tests::milter::{Message, Milter, Mta, python};

use crate::{PLAIN, folder, recorded};

#[test]
fn a_filter_in_python_does_what_it_did_before() {
    recorded("python", |library| conversation(library, "filter.py"));
}

fn conversation(library: Library, program: &str) -> String {
    let (folder, socket) = folder();
    let mut command = python(program);
    command.arg(&socket);
    let mut milter = Milter::start(library, command, folder.path());
    let text = converse(&mut milter, &socket);
    let output = milter.output();
    if library == Library::Ours {
        assert!(milter.stop().success(), "{output}");
    }
    format!("{text}{output}")
}

/// The same messages for filters in any language: each asks for something else by its subject.
pub(crate) fn converse(milter: &mut Milter, socket: &std::path::Path) -> String {
    let mut text = String::new();
    for _ in 0..2 {
        let mut mta = Mta::negotiate(milter.connect(socket));
        mta.hello("client.example.com", "192.0.2.1");
        for subject in ["edit", "reply", "lines", "discard", "quarantine", "accept", "tempfail", "nothing"] {
            let header =
                [("From", "alice@example.com"), ("Subject", subject), ("X-Old", "one"), ("X-Old", "two")];
            mta.message(&Message { header: &header, ..PLAIN });
        }
        mta.message(&Message { recipients: &["<no@example.org>", "<bob@example.org>"], ..PLAIN });
        mta.message(&Message { sender: &["<>"], ..PLAIN });
        mta.message(&Message {
            header: &[("Subject", "\u{e9}\u{20ac}")],
            body: &[b"\x00\xff\x80\r\n"],
            ..PLAIN
        });
        mta.unknown("FOOBAR arg");
        text.push_str(&mta.quit());
    }
    let mut mta = Mta::negotiate(milter.connect(socket));
    mta.hello("bad.example.com", "2001:db8::1");
    text.push_str(&mta.quit());
    text
}

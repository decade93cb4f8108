//! `OpenDKIM` signs, and verifies what it signed.

use std::fs;
use std::path::Path;
use std::process::Command;

use tamis_libmilter_tests::library::Library;
use tamis_libmilter_tests::milter::{Message, Milter, Mta, mask};

use crate::{PLAIN, folder, recorded};

#[test]
fn opendkim_signs_what_it_did_before() {
    recorded("opendkim-sign", |library| signed(library).0);
}

#[test]
fn opendkim_verifies_as_it_did_before() {
    recorded("opendkim-verify", verified);
}

/// Signs three messages on two connections; returns what was said, and the last signature.
fn signed(library: Library) -> (String, String) {
    let (folder, socket) = folder();
    make_key(folder.path());
    let mut milter = start(library, folder.path(), SIGNS, &local(&socket));
    let mut mta = Mta::negotiate(milter.connect(&socket));
    mta.hello("client.example.com", "192.0.2.1");
    mta.message(&PLAIN);
    let others = [("From", "mallory@example.net"), ("Subject", "not ours")];
    mta.message(&Message { sender: &["<mallory@example.net>"], header: &others, ..PLAIN });
    let mut text = mta.quit();
    let mut mta = Mta::negotiate(milter.connect(&socket));
    mta.hello("[2001:db8::1]", "2001:db8::1");
    mta.message(&Message { body: &[], ..PLAIN });
    mta.message(&PLAIN);
    text.push_str(&mta.quit());
    let signature = text.rsplit_once("\"DKIM-Signature\" \"").expect("it signs").1;
    let signature = signature.split('"').next().expect("there is always a first part");
    let signature = signature.replace("\\x0a", "\n").replace("\\x09", "\t");
    if library == Library::Ours {
        assert!(milter.stop().success());
    }
    (volatile(&text), signature)
}

/// Verifies messages: without a signature, with a good one, and with one that does not fit.
fn verified(library: Library) -> String {
    let (_, signature) = signed(library);
    let (folder, socket) = folder();
    let mut milter = start(library, folder.path(), "Mode v\nAlwaysAddARHeader yes\n", &local(&socket));
    // The key is the one of this signature.
    let key = KEYS.with(|keys| keys.borrow().clone());
    fs::write(folder.path().join("keys"), key).expect("the folder is ours");
    let header = |subject: &'static str| {
        let mut header = vec![("DKIM-Signature", signature.as_str())];
        header.extend(PLAIN.header.iter().copied().filter(|(name, _)| *name != "Subject"));
        header.push(("Subject", subject));
        header
    };
    let mut mta = Mta::negotiate(milter.connect(&socket));
    mta.hello("client.example.com", "192.0.2.1");
    mta.message(&PLAIN);
    mta.message(&Message { header: &header("hello"), ..PLAIN });
    mta.message(&Message { header: &header("changed"), ..PLAIN });
    mta.message(&Message { header: &header("hello"), body: &[b"Changed.\r\n"], ..PLAIN });
    let text = mta.quit();
    if library == Library::Ours {
        assert!(milter.stop().success());
    }
    volatile(&text)
}

fn local(socket: &Path) -> String {
    format!("local:{}", socket.display())
}

pub(crate) fn volatile(text: &str) -> String {
    let text =
        ["\\x09t=", "\\tt=", " t="].iter().fold(text.to_owned(), |text, time| mask(&text, time, &[';']));
    // The signature itself, and the eight letters of it that stand for it in results.
    let text = mask(&text, "\\x09b=", &['"']);
    mask(&text, "header.b=", &['"', ' ', ';', '\\'])
}

/// What is configured for signing.
pub(crate) const SIGNS: &str = "Mode s\nDomain example.com\nSelector test\nKeyFile KEY\n";

std::thread_local! {
    /// What a name server would say of the key that this test made last.
    static KEYS: std::cell::RefCell<String> = const { std::cell::RefCell::new(String::new()) };
}

pub(crate) fn make_key(folder: &Path) {
    let made = Command::new("opendkim-genkey")
        .args(["--bits=1024", "--selector=test", "--domain=example.com", "--directory"])
        .arg(folder)
        .status()
        .unwrap_or_else(|error| panic!("opendkim-genkey cannot be run ({error}): cargo xtask setup"));
    assert!(made.success());
    let record = fs::read_to_string(folder.join("test.txt")).expect("it writes the record beside the key");
    let parts: String = record.split('"').skip(1).step_by(2).collect();
    KEYS.with(|keys| *keys.borrow_mut() = format!("test._domainkey.example.com {parts}\n"));
}

pub(crate) fn start(library: Library, folder: &Path, mode: &str, socket: &str) -> Milter {
    let config = folder.join("opendkim.conf");
    let at = |name: &str| folder.join(name).display().to_string();
    let mode = mode.replace("KEY", &at("test.private"));
    let lines = format!(
        "{mode}TestPublicKeys {}\nSocket {socket}\nSyslog no\n\
         InternalHosts 127.0.0.1, 192.0.2.0/24, 2001:db8::/32\nRequireSafeKeys no\nAuthservID mta.example.net\n",
        at("keys"),
    );
    fs::write(&config, lines).expect("the folder is ours");
    let mut command = Command::new("opendkim");
    command.args(["-f", "-x"]).arg(config);
    Milter::start(library, command, folder)
}

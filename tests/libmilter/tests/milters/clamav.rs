//! clamav-milter, with a stand-in for clamd.

use std::fs;
use std::path::Path;
use std::time::Instant;

use tamis_libmilter_tests::library::Library;
use tamis_libmilter_tests::milter::{Clamd, Message, Milter, Mta, mask, unpacked};
use tamis_libmilter_tests::play::patience;

use crate::{PLAIN, folder, recorded};

const EICAR: &[&[u8]] = &[b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$", b"EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*\r\n"];

#[test]
fn clamav_milter_rejects_what_it_did_before() {
    recorded("clamav-reject", |library| {
        conversation(library, "OnInfected Reject\nRejectMsg Rejected: %v found\n")
    });
}

#[test]
fn clamav_milter_holds_what_it_did_before() {
    recorded("clamav-quarantine", |library| conversation(library, "OnInfected Quarantine\n"));
}

fn conversation(library: Library, action: &str) -> String {
    let (folder, socket) = folder();
    let clamd = Clamd::listen();
    let config = folder.path().join("clamav-milter.conf");
    let lines = format!(
        "MilterSocket unix:{}\nClamdSocket tcp:{}\nForeground yes\nAddHeader Replace\n{action}",
        socket.display(),
        clamd.address(),
    );
    fs::write(&config, lines).expect("the folder is ours");
    let mut command = unpacked("usr/sbin/clamav-milter");
    command.arg("-c").arg(&config);
    let mut milter = Milter::start(library, command, folder.path());
    clamd.wait_until_known();
    wait_until_it_scans(&mut milter, &socket, &clamd);
    let mut mta = Mta::negotiate(milter.connect(&socket));
    mta.hello("client.example.com", "192.0.2.1");
    let forged = [("From", "alice@example.com"), ("X-Virus-Scanned", "forged"), ("X-Virus-Status", "Clean")];
    let messages = [
        PLAIN,
        Message { body: EICAR, ..PLAIN },
        Message { header: &forged, ..PLAIN },
        Message { body: &[], ..PLAIN },
    ];
    for message in messages {
        mta.message(&message);
        clamd.asked().iter().for_each(|asked| mta.note(&format!("clamd scanned {asked}")));
    }
    let text = mta.quit();
    if library == Library::Ours {
        assert!(milter.stop().success());
    }
    mask(&text, "\"clamav-milter ", &['"'])
}

/// Sends messages until one is scanned: a moment passes between the milter's first question to clamd and its belief in
/// the answer.
fn wait_until_it_scans(milter: &mut Milter, socket: &Path, clamd: &Clamd) {
    let since = Instant::now();
    while clamd.asked().is_empty() {
        assert!(since.elapsed() < patience(), "clamav-milter scans nothing");
        let mut mta = Mta::negotiate(milter.connect(socket));
        mta.hello("client.example.com", "192.0.2.1");
        mta.message(&PLAIN);
        mta.quit();
    }
}

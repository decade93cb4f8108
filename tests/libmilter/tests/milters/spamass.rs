//! spamass-milter, with a stand-in for spamd behind spamc.

use tamis_libmilter_tests::library::Library;
use tamis_libmilter_tests::milter::{Message, Milter, Mta, Spamd, mask, unpacked};

use crate::{PLAIN, folder, recorded};

const GTUBE: &[&[u8]] = &[b"XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X\r\n"];

#[test]
fn spamass_milter_marks_what_it_did_before() {
    recorded("spamass-mark", |library| conversation(library, &[]));
}

#[test]
fn spamass_milter_rejects_what_it_did_before() {
    recorded("spamass-reject", |library| conversation(library, &["-r", "15", "-m"]));
}

fn conversation(library: Library, options: &[&str]) -> String {
    let (folder, socket) = folder();
    let spamd = Spamd::listen(&folder.path().join("spamd"));
    let mut command = unpacked("usr/sbin/spamass-milter");
    command.arg("-p").arg(&socket).args(options);
    command.arg("--").arg("-U").arg(folder.path().join("spamd"));
    let mut milter = Milter::start(library, command, folder.path());
    let mut mta = Mta::negotiate(milter.connect(&socket));
    mta.hello("client.example.com", "192.0.2.1");
    let forged = [("From", "alice@example.com"), ("X-Spam-Status", "No, really"), ("Subject", "hello")];
    for message in [PLAIN, Message { body: GTUBE, ..PLAIN }, Message { header: &forged, ..PLAIN }] {
        mta.message(&message);
        spamd.asked().iter().for_each(|asked| mta.note(&format!("spamd was asked {asked}")));
    }
    let text = mta.quit();
    if library == Library::Ours {
        assert!(milter.stop().success());
    }
    // The date in the field that it makes up, and whoever runs this.
    let text = mask(&text, " id 4D2A17\\x0d\\x0a\\x09", &['\\']);
    let text = mask(&text, "Content-length: ", &['\\']);
    mask(&text, "User: ", &['\\'])
}

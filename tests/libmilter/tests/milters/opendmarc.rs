//! `OpenDMARC` judges by policies that it reads from a file instead of asking for them.

use std::fs;

use tamis_libmilter_tests::library::Library;
use tamis_libmilter_tests::milter::{Message, Milter, Mta, mask, unpacked};

use crate::{PLAIN, folder, recorded};

#[test]
fn opendmarc_rejects_what_it_did_before() {
    recorded("opendmarc", conversation);
}

fn conversation(library: Library) -> String {
    let (folder, socket) = folder();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let policies = "_dmarc.example.com v=DMARC1; p=reject\n_dmarc.example.net v=DMARC1; p=quarantine\n\
                    _dmarc.example.org v=DMARC1; p=none\n";
    fs::write(at("policies"), policies).expect("the folder is ours");
    let lines = format!(
        "AuthservID mta.example.net\nTrustedAuthservIDs mta.example.net\nRejectFailures true\n\
         HoldQuarantinedMessages true\nSocket local:{}\nSyslog false\nTestDNSData {}\n",
        at("milter"),
        at("policies"),
    );
    fs::write(at("opendmarc.conf"), lines).expect("the folder is ours");
    let mut command = unpacked("usr/sbin/opendmarc");
    command.args(["-f", "-c", &at("opendmarc.conf")]);
    let mut milter = Milter::start(library, command, folder.path());

    let mut mta = Mta::negotiate(milter.connect(&socket));
    mta.hello("client.example.com", "192.0.2.1");
    let result = |results: &'static str| ("Authentication-Results", results);
    let domains = [("alice@example.com", "com"), ("alice@example.net", "net"), ("alice@example.org", "org")];
    for (from, top) in domains {
        let (good, bad) = match top {
            "com" => (
                "mta.example.net; dkim=pass header.d=example.com",
                "mta.example.net; dkim=fail header.d=example.com",
            ),
            "net" => (
                "mta.example.net; dkim=pass header.d=example.net",
                "mta.example.net; dkim=fail header.d=example.net",
            ),
            _ => (
                "mta.example.net; dkim=pass header.d=example.org",
                "mta.example.net; dkim=fail header.d=example.org",
            ),
        };
        for results in [good, bad] {
            let spf = result("mta.example.net; spf=fail smtp.mailfrom=mallory@example.edu");
            let header = [("From", from), ("To", "bob@example.org"), result(results), spf];
            mta.message(&Message { header: &header, ..PLAIN });
        }
    }
    // What somebody else says of a message counts for nothing.
    let forged = [("From", "alice@example.com"), result("mx.example.edu; dkim=pass header.d=example.com")];
    mta.message(&Message { header: &forged, ..PLAIN });
    let text = mta.quit();
    if library == Library::Ours {
        assert!(milter.stop().success());
    }
    mask(&text, "OpenDMARC Filter v", &['"'])
}

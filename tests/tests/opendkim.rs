//! The MTA-side client against a real milter on Sendmail's libmilter: Debian's `opendkim` signs what it is shown.

#[path = "common/opendkim.rs"]
mod opendkim;

use opendkim::{OpenDkim, connected};
use tamis::client::Mail;
use tamis::proto::{Profile, Stage};
use tamis::{Edit, Verdict};
use tamis_interop::port;

const MESSAGE: &str = "From: alice@example.com\r\n\
    To: bob@example.org\r\n\
    Date: Fri, 20 Nov 2026 08:00:00 +0000\r\n\
    Subject: hello\r\n\
    \r\n\
    Hello.\r\n";

#[tokio::test]
async fn opendkim_signs_for_both_profiles_several_messages_on_a_connection() {
    let folder = tempfile::tempdir().unwrap();
    let address = port::free();
    let filter = format!("inet:{address}").parse().unwrap();
    let _opendkim = OpenDkim::signer(folder.path(), &filter, "192.0.2.1");
    for profile in [Profile::Postfix, Profile::Sendmail] {
        let mut client = connected(&filter, profile).await;
        for count in 1..=3 {
            let mail = Mail::new("alice@example.com", ["bob@example.org"], MESSAGE);
            let report = client.send(&mail).await.unwrap();
            assert_eq!((&report.verdict, report.stage), (&Verdict::Accept, Stage::EndOfMessage));
            let [(Edit::InsertHeader { index: 0, name, .. }, _)] = &report.edits[..] else {
                panic!("{profile:?}, message {count}: {:?}", report.edits);
            };
            assert_eq!(name, "DKIM-Signature");
            let delivered = report.delivered.unwrap();
            let signature = String::from_utf8_lossy(&delivered.headers[0].value).into_owned();
            assert!(signature.starts_with(" v=1; a=rsa-sha256;"), "{signature:?}");
            assert!(signature.contains(" d=example.com;"), "{signature:?}");
            assert_eq!(delivered.headers[1..], report.original.headers);
        }
        // Mail of others passes without a signature.
        let mail = Mail::new("mallory@example.net", ["bob@example.org"], MESSAGE.replace(".com", ".net"));
        let report = client.send(&mail).await.unwrap();
        assert!(!report.verdict.stops() && report.edits.is_empty(), "{report:?}");
        client.quit().await.unwrap();
    }
}

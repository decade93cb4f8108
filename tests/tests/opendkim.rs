//! The MTA-side client against a real milter on Sendmail's libmilter: Debian's `opendkim` signs what it is shown.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tamis::client::{Client, ClientError, Mail};
use tamis::proto::{MtaConfig, Profile, Stage};
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
    let _opendkim = OpenDkim::start(folder.path(), &format!("inet:{}@{}", address.port(), address.ip()));
    let filter = format!("inet:{address}").parse().unwrap();
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

/// Connects as soon as the milter listens.
async fn connected(filter: &tamis::SocketSpec, profile: Profile) -> Client {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        match Client::connect(filter, MtaConfig::new(profile)).await {
            Err(ClientError::Connect { .. }) if Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            result => return result.unwrap(),
        }
    }
}

/// A private `opendkim` in the foreground, ended when dropped.
struct OpenDkim(Child);

impl OpenDkim {
    fn start(folder: &Path, socket: &str) -> Self {
        let install = "apt-get install opendkim opendkim-tools";
        let made = Command::new("opendkim-genkey")
            .args(["--bits=1024", "--selector=test", "--domain=example.com", "--directory"])
            .arg(folder)
            .status()
            .unwrap_or_else(|error| panic!("opendkim-genkey cannot be run ({error}): {install}"));
        assert!(made.success());
        let key = folder.join("test.private");
        let config = folder.join("opendkim.conf");
        let lines = format!(
            "Domain example.com\nSelector test\nKeyFile {}\nSocket {socket}\nMode s\nSyslog no\n\
             InternalHosts 192.0.2.1\nRequireSafeKeys no\n",
            key.display()
        );
        fs::write(&config, lines).unwrap();
        let child = Command::new("opendkim")
            .arg("-f")
            .arg("-x")
            .arg(config)
            .stdin(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("opendkim cannot be run ({error}): {install}"));
        Self(child)
    }
}

impl Drop for OpenDkim {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

//! Debian's `opendkim`, as a signer and as a verifier.
#![allow(dead_code)] // each test file uses its own part

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tamis::SocketSpec;
use tamis::client::{Client, ClientError};
use tamis::proto::{MtaConfig, Profile};

const INSTALL: &str = "apt-get install opendkim opendkim-tools";

/// A private `opendkim` in the foreground, ended when dropped.
pub(crate) struct OpenDkim(Child);

impl OpenDkim {
    /// Signs mail of `example.com` that this client hands in, with a key made in the folder.
    pub(crate) fn signer(folder: &Path, socket: &SocketSpec, client: &str) -> Self {
        let made = Command::new("opendkim-genkey")
            .args(["--bits=1024", "--selector=test", "--domain=example.com", "--directory"])
            .arg(folder)
            .status()
            .unwrap_or_else(|error| panic!("opendkim-genkey cannot be run ({error}): {INSTALL}"));
        assert!(made.success());
        let key = folder.join("test.private");
        let lines = format!(
            "Domain example.com\nSelector test\nKeyFile {}\nMode s\nInternalHosts {client}\n\
             RequireSafeKeys no\n",
            key.display()
        );
        Self::start(&folder.join("sign.conf"), socket, &lines)
    }

    /// Verifies signatures by the key that a signer made in the same folder.
    pub(crate) fn verifier(folder: &Path, socket: &SocketSpec) -> Self {
        let record = fs::read_to_string(folder.join("test.txt")).unwrap();
        // A zone file has the record in parts, each in quotes.
        let record: String = record.split('"').skip(1).step_by(2).collect();
        let keys = folder.join("keys");
        fs::write(&keys, format!("test._domainkey.example.com {record}\n")).unwrap();
        let lines = format!(
            "Mode v\nAuthservID verifier\nAlwaysAddARHeader yes\nInternalHosts 203.0.113.1\nTestPublicKeys {}\n",
            keys.display()
        );
        Self::start(&folder.join("verify.conf"), socket, &lines)
    }

    fn start(config: &Path, socket: &SocketSpec, lines: &str) -> Self {
        fs::write(config, format!("Socket {socket}\nSyslog no\n{lines}")).unwrap();
        let child = Command::new("opendkim")
            .arg("-f")
            .arg("-x")
            .arg(config)
            .stdin(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("opendkim cannot be run ({error}): {INSTALL}"));
        Self(child)
    }
}

impl Drop for OpenDkim {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Connects as soon as the milter listens.
pub(crate) async fn connected(filter: &SocketSpec, profile: Profile) -> Client {
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

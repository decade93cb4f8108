//! `tamis bench` on a milter that uses Sendmail's libmilter: Debian's `opendkim`.

#[path = "common/opendkim.rs"]
mod opendkim;

use std::process::Command;

use opendkim::{OpenDkim, connected};
use serde_json::{Value, json};
use tamis::SocketSpec;
use tamis::proto::Profile;
use tamis_interop::port;
use tamis_interop::program::tamis_binary;

/// The report on 60 messages, none of which may be an error.
fn report(filter: &SocketSpec, args: &[&str]) -> Value {
    let output = Command::new(tamis_binary())
        .args(["bench", "--json", "--messages=60", "--warmup=6", "--connections=4", "--per-connection=7"])
        .args(["--to", &filter.to_string()])
        .args(args)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said} {}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&report["messages"], &report["errors"]), (&json!(60), &json!({})));
    report
}

#[tokio::test]
async fn opendkim_treats_all_messages_of_both_profiles_alike() {
    let folder = tempfile::tempdir().unwrap();
    let listen = || format!("inet:{}", port::free()).parse().unwrap();
    let (signs, verifies) = (listen(), listen());
    let _signer = OpenDkim::signer(folder.path(), &signs, "192.0.2.1");
    let _verifier = OpenDkim::verifier(folder.path(), &verifies);
    for filter in [&signs, &verifies] {
        connected(filter, Profile::Postfix).await.quit().await.unwrap();
    }
    for mta in ["--as=postfix", "--as=sendmail"] {
        // Signatures have the time in them, results of verification have not.
        let signed = report(&signs, &[mta, "--body=200KiB"]);
        assert_eq!(signed["edits"], json!({ "insert-header": 60 }));
        assert_eq!(signed["verdicts"], json!({ "accept": 60 }));
        let judged = report(&verifies, &[mta, "--check", "--expect=header"]);
        assert_eq!(judged["edits"], json!({ "insert-header": 60 }));
        assert_eq!(judged["check"], json!({ "messages": 60, "mismatches": 0 }));
    }
}

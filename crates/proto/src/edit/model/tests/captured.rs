//! The whole list of spec §11.5, and what both MTAs made of it.
use super::*;

const CLIENT: &str = "Received: from a\r\n by b\r\nFrom: basic@example.com\r\nSubject:  two  spaces\r\n\
    X-Remove: gone\r\nX-Zero: nospace\r\nX-Fold: a\r\n\tb\r\nX-Empty:\r\nTo : x\r\n";

fn run(profile: Profile, own: &str) -> Message {
    let text = format!("{own}{CLIENT}\r\nbody1\r\n");
    let mut message = Message::parse(text.as_bytes());
    message.sender = Path::with_args("<basic@example.com>", ["SIZE=1000", "BODY=8BITMIME"]);
    message.recipients = vec![Path::new("<keep@example.com>"), Path::new("<del@example.com>")];
    let own = own.lines().count();
    let mut model = Model::new(profile, message).own_fields(own);
    for edit in [
        add("X-Added", "one\n\ttwo"),
        insert(0, "X-Ins0", "0"),
        insert(1, "X-Ins1", "1"),
        insert(100, "X-Ins100", "100"),
        change(1, "subject", "changed"),
        change(1, "X-Remove", ""),
        change(5, "X-New", "new"),
        change(0, "X-Zero", "zeroed"),
        from("<new@example.org>", Some("RET=HDRS ENVID=abc")),
        to("<extra@example.org>"),
        to_with("<par@example.org>", "NOTIFY=NEVER"),
        not_to("<del@example.com>"),
    ] {
        model.apply(&edit).unwrap();
    }
    model.progress();
    model.apply(&body("New body line\r\nbare\nlf\rcr")).unwrap();
    model.apply(&body("\r\nlast no eol")).unwrap();
    let message = model.finish();
    assert_eq!(message.sender.address, "new@example.org");
    assert_eq!(message.sender.arg("RET"), Some(&b"HDRS"[..]));
    assert_eq!(message.sender.arg("ENVID"), Some(&b"abc"[..]));
    let rcpts: [&[u8]; 3] = [b"keep@example.com", b"extra@example.org", b"par@example.org"];
    assert_eq!(addresses(&message), rcpts);
    assert_eq!(message.recipients[2].args, ["NOTIFY=NEVER"]);
    message
}

#[test]
fn postfix() {
    let message = run(Postfix, "Received: own\r\n");
    assert_eq!(
        header_of(&message),
        "X-Ins0: 0|X-Ins1: 1|Received: own|Received: from a| by b|From: basic@example.com|subject: changed|\
         X-Zero: zeroed|X-Fold: a|\tb|X-Empty:|To: x|X-Added: one|\ttwo|X-Ins100: 100|X-New: new"
    );
    assert_eq!(message.body.to_vec(), b"New body line\r\nbare\r\nlf\rcr\r\nlast no eol\r\n");
    assert_eq!(message.sender.args, ["SIZE=1000", "BODY=8BITMIME", "RET=HDRS", "ENVID=abc"]);
}

#[test]
fn sendmail() {
    let message = run(Sendmail, "Received: own\r\nDate: now\r\nMessage-Id: <1@mta>\r\n");
    assert_eq!(
        header_of(&message),
        "X-Ins0: 0|X-Ins1: 1|Received: own|Date: now|Message-Id: <1@mta>|Received: from a| by b|\
         From: basic@example.com|Subject: changed|X-Zero: zeroed|X-Fold: a|\tb|X-Empty:|To: x|\
         X-Added: one|\ttwo|X-Ins100: 100|X-New: new"
    );
    assert_eq!(message.body.to_vec(), b"New body line\r\nbare\r\nlf\rcr\r\nlast no eol\r\n");
    assert_eq!(message.sender.args, ["RET=HDRS", "ENVID=abc"]);
}

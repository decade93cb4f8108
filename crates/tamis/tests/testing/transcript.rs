//! Reports as snapshots.

use std::time::Duration;

use tamis::testing::Mta;
use tamis::{Actions, Event, MacroStage, Needs, Stage, Verdict};

use crate::filter::Then::{After, Fail, Say};
use crate::filter::{GO, does};

#[test]
fn report_displays_as_a_transcript() {
    let needs = Needs::new()
        .answer([Stage::Rcpt, Stage::EndOfMessage])
        .watch([Stage::Mail])
        .require(Actions::ADD_HEADERS | Actions::CHANGE_HEADERS)
        .macros(MacroStage::Rcpt, ["i"]);
    let filter = does(needs, |cx, event| match event {
        Event::Rcpt(recipient) if recipient.address == "<no@b>" => Say(Verdict::reject("5.1.1", "nobody")),
        Event::EndOfMessage => {
            cx.macro_value("auth_author");
            cx.macro_value("client_ptr");
            cx.delete_header(1, "X-Old").unwrap();
            cx.add_header("X-New", "a\n b\x7f").unwrap();
            After(Duration::from_millis(9500), Verdict::Continue)
        }
        Event::Close => Fail("closed too late"),
        _ => GO,
    });
    let report = Mta::sendmail()
        .from("<> SIZE=1")
        .to("<no@b>")
        .to("<yes@b> NOTIFY=NEVER")
        .message(b"Subject: h\xe9\nX-Old: 1\n\n.\x1b\n")
        .run_blocking(|_| filter)
        .unwrap();
    let expected = r#"Sendmail, 9.5 s
actions: add-headers|change-headers|macro-lists
steps: ...
macros at rcpt: i

mail            no reply
rcpt            "no@b" reply 550 5.1.1 nobody
rcpt            "yes@b" continue
end-of-message  continue, progress 2 times, 9.5 s
edit            change-header 1 "X-Old" ""
edit            add-header "X-New" "a\n b\x7f"
reply           250 2.0.0 4TAMIS0SEND Message accepted for delivery

from <> SIZE=1
to <yes@b> NOTIFY=NEVER

| Received: from client.example (unknown [192.0.2.1])
| 	by mta.example (8.17.1.9/8.17.1.9) with ESMTP
| Subject: h\xe9
| X-New: a
|  b\u{7f}
| 
| .\u{1b}

filter failed at close: closed too late
macro {client_ptr} was looked for at end-of-message, but nobody asked the MTA for it
"#;
    let got = report.to_string();
    let got: Vec<_> =
        got.lines().map(|line| if line.starts_with("steps: ") { "steps: ..." } else { line }).collect();
    assert_eq!(got.join("\n") + "\n", expected);
}

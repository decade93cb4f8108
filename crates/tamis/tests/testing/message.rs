//! Verdicts, modifications and the resulting message, with the indexes of each MTA (T2).

use tamis::testing::{Applied, Ignored, Mta, Path, Profile, RunError};
use tamis::{Event, Needs, Stage, Verdict};

use crate::MESSAGE;
use crate::filter::Then::Say;
use crate::filter::{GO, does, edits, says};

#[test]
fn modifications_make_the_message_that_each_mta_would_deliver() {
    for mta in Mta::both() {
        let filter = edits(|cx| {
            cx.insert_header(1, "X-Below-Received", "yes")?;
            cx.change_header(2, "X-Twice", "changed")?;
            cx.add_header("X-Twice", "three\n of them")?;
            cx.change_sender("<new@example.com>", None)?;
            cx.delete_recipient("<1@example.com>")?;
            cx.add_recipient("<3@example.com>")?;
            cx.replace_body("new\r\n")
        });
        let message = "X-Twice: one\nSubject: hello\nX-Twice: two\n\nold\n";
        let mta = mta.to("<1@example.com>").to("<2@example.com>").message(message);
        let report = mta.run_blocking(|_| filter).unwrap();
        assert!(report.edits().iter().all(|(_, applied)| *applied == Applied::Done));
        let delivered = report.message().unwrap();
        let values: Vec<_> = delivered.headers("x-twice").collect();
        // Sendmail puts a new field beside those of its name.
        match report.profile() {
            Profile::Postfix => assert_eq!(values, ["one", "changed", "three of them"]),
            Profile::Sendmail => assert_eq!(values, ["three of them", "one", "changed"]),
        }
        assert_eq!(delivered.body(), b"new\r\n");
        assert_eq!(delivered.sender().address, "new@example.com");
        assert_eq!(delivered.recipients(), [Path::new("2@example.com"), Path::new("3@example.com")]);
        assert_eq!(report.messages()[0].original().body(), b"old\r\n");
        let names: Vec<_> = delivered.fields()[..2].iter().map(|field| &field.name[..]).collect();
        assert_eq!(names, [&b"Received"[..], b"X-Below-Received"]);
    }
}

#[test]
fn modification_without_effect_fails_the_run() {
    let mta = Mta::postfix().message(MESSAGE);
    let filter = || edits(|cx| cx.delete_header(2, "Subject"));
    let error = mta.run_blocking(|_| filter()).unwrap_err();
    let RunError::Ineffective { edits, .. } = &error else { panic!("{error}") };
    assert_eq!(*edits, [r#"change-header 2 "Subject" "": there is no such header field or recipient"#]);
    let report = mta.lenient().run_blocking(|_| filter()).unwrap();
    assert_eq!(report.edits()[0].1, Applied::Ignored(Ignored::NotFound));
}

#[test]
fn change_of_a_header_that_is_not_there_adds_it() {
    let filter = edits(|cx| cx.change_header(1, "X-New", "yes"));
    let report = Mta::postfix().message(MESSAGE).run_blocking(|_| filter).unwrap();
    assert_eq!(report.edits()[0].1, Applied::AddedInstead);
}

#[test]
fn quarantined_message_is_delivered_and_held() {
    let filter = edits(|cx| cx.quarantine("odd"));
    let report = Mta::sendmail().message(MESSAGE).run_blocking(|_| filter).unwrap();
    assert_eq!(report.message().unwrap().quarantine().as_deref(), Some("odd"));
}

#[test]
fn client_is_told_what_each_mta_would_say() {
    use Stage::{Body, Connect, Data, EndOfMessage, Header, Helo, Mail, Rcpt};
    let refused = |mta: Mta, at, verdict: Verdict| {
        let report =
            mta.from("<a@b>").to("<c@d>").message(MESSAGE).run_blocking(|_| says(at, verdict)).unwrap();
        assert!(report.message().is_none());
        assert_eq!(report.stage(), at);
        report.reply()
    };
    let both = |at, verdict: Verdict| Mta::both().map(|mta| refused(mta, at, verdict.clone()));
    let postfix = "550 5.7.1 Command rejected";
    assert_eq!(both(Connect, Verdict::Reject), [postfix, "550 5.0.0 Command rejected"]);
    assert_eq!(both(Helo, Verdict::Reject), [postfix, "550 5.0.0 Command rejected"]);
    assert_eq!(both(Mail, Verdict::Reject), [postfix, "550 5.7.1 <a@b>... Command rejected"]);
    assert_eq!(both(Rcpt, Verdict::Reject), [postfix, "550 5.7.1 <c@d>... Command rejected"]);
    assert_eq!(both(Data, Verdict::Reject), [postfix, postfix]);
    assert_eq!(both(Header, Verdict::Reject), [postfix, "554 5.7.1 Command rejected"]);
    assert_eq!(both(EndOfMessage, Verdict::Reject), [postfix, "554 5.7.1 Command rejected"]);
    let later = ["451 4.7.1 Service unavailable - try again later", "451 4.3.2 Please try again later"];
    assert_eq!(both(Body, Verdict::Tempfail), later);
    let text = Verdict::reject("5.7.9", "100% no");
    assert_eq!(both(Helo, text.clone()), ["550 5.7.9 100% no"; 2]);
    assert_eq!(both(Connect, text.clone()), ["550 5.7.9 100% no", "550 5.0.0 Command rejected"]);
    assert_eq!(both(Mail, text.clone()), ["550 5.7.9 100% no", "550 5.7.9 <a@b>... 100% no"]);
    let queued =
        ["250 2.0.0 Ok: queued as 4TAMIS0SEND", "250 2.0.0 4TAMIS0SEND Message accepted for delivery"];
    assert_eq!(both(Mail, Verdict::Discard), queued);
    let lines = Verdict::reject("5.7.1", "one\ntwo");
    assert_eq!(both(Rcpt, lines)[1], "550-5.7.1 <c@d>... one / 550 5.7.1 two");
}

#[test]
fn refused_recipient_is_told_so_and_the_others_get_the_message() {
    for mta in Mta::both() {
        let filter = does(Needs::new().answer([Stage::Rcpt]), |_, event| match event {
            Event::Rcpt(recipient) if recipient.address == "<no@b>" => {
                Say(Verdict::reject("5.1.1", "nobody"))
            }
            _ => GO,
        });
        let report =
            mta.from("<>").to("<no@b>").to("<yes@b>").message(MESSAGE).run_blocking(|_| filter).unwrap();
        assert_eq!(report.verdict_at(Stage::Rcpt), Some(&Verdict::reject("5.1.1", "nobody")));
        assert!(report.reply_to("<no@b>").unwrap().starts_with("550 5.1.1 "));
        assert!(report.reply_to("yes@b").unwrap().starts_with("250 2.1.5 "));
        assert_eq!(report.reply_to("<other@b>"), None);
        assert_eq!(report.message().unwrap().recipients(), [Path::new("yes@b")]);
        assert_eq!(*report.verdict(), Verdict::Continue);
    }
}

#[test]
fn accepted_message_is_delivered_as_it_is() {
    for mta in Mta::both() {
        let report = mta.message(MESSAGE).run_blocking(|_| says(Stage::Mail, Verdict::Accept)).unwrap();
        assert_eq!((report.verdict(), report.stage()), (&Verdict::Accept, Stage::Mail));
        assert!(report.message().is_some());
        assert!(report.reply().starts_with("250 2.0.0 "), "{}", report.reply());
        assert_eq!(
            report.steps().map(|step| step.stage).collect::<Vec<_>>(),
            [Stage::Connect, Stage::Helo, Stage::Mail]
        );
    }
}

//! The driver for tests of filters, with filters that do as they are told.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tamis::proto::Misuse;
use tamis::testing::{Applied, Ignored, Mta, MtaConfig, Outcome, Path, Profile, Report, RunError};
use tamis::{
    Actions, BoxError, Context, Event, Filter, IfMissing, MacroStage, Needs, Offer, Options, Reply, Stage,
    Verdict,
};
use tokio::time::sleep;

type Cx<'a> = Context<'a, Vec<&'static str>>;

/// A filter made of a closure, which says at once what is to come of an event.
struct Does<S> {
    needs: Needs,
    script: S,
    seen: Arc<Mutex<Vec<&'static str>>>,
}

/// What is to come of it.
enum Then {
    Say(Verdict),
    After(Duration, Verdict),
    Fail(&'static str),
    Panic(&'static str),
}

use Then::{After, Fail, Say};

const GO: Then = Say(Verdict::Continue);
const MESSAGE: &str = "Subject: hello\nTo: you\n\nHi!\n";

fn does<S>(needs: Needs, script: S) -> Does<S>
where
    S: FnMut(&mut Cx<'_>, &Event) -> Then + Send + 'static,
{
    Does { needs, script, seen: Arc::default() }
}

/// Sees everything and says one thing at one stage.
fn says(at: Stage, verdict: Verdict) -> Does<impl FnMut(&mut Cx<'_>, &Event) -> Then + Send + 'static> {
    does(Needs::everything(), move |_, event| {
        Say(if event.stage() == Some(at) { verdict.clone() } else { Verdict::Continue })
    })
}

/// Edits at end of message.
fn edits(
    mut edit: impl FnMut(&mut Cx<'_>) -> Result<(), Misuse> + Send + 'static,
) -> Does<impl FnMut(&mut Cx<'_>, &Event) -> Then + Send + 'static> {
    let needs = Needs::new().answer([Stage::EndOfMessage]).require(Actions::CURRENT & !Actions::MACRO_LISTS);
    does(needs, move |cx, event| {
        if *event == Event::EndOfMessage {
            edit(cx).unwrap();
        }
        GO
    })
}

impl<S: FnMut(&mut Cx<'_>, &Event) -> Then + Send + 'static> Filter for Does<S> {
    type Message = Vec<&'static str>;

    fn needs(&self) -> Needs {
        self.needs.clone()
    }

    fn on(&mut self, cx: &mut Cx<'_>, event: Event) -> impl Future<Output = Reply> + Send {
        self.seen.lock().unwrap().push(event.name());
        cx.message.push(event.name());
        let then = (self.script)(cx, &event);
        async move {
            match then {
                Say(verdict) => Ok(verdict),
                After(time, verdict) => {
                    sleep(time).await;
                    Ok(verdict)
                }
                Fail(text) => Err(BoxError::from(text)),
                Then::Panic(text) => panic!("{text}"),
            }
        }
    }
}

fn stages(report: &Report) -> Vec<Stage> {
    report.steps().map(|step| step.stage).collect()
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

// T1: a message file in process, in the MTA's order.

#[test]
fn filter_sees_a_message_file_in_the_order_of_the_mta() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), MESSAGE).unwrap();
    for mta in Mta::both() {
        let filter = does(Needs::everything(), |_, _| GO);
        let seen = filter.seen.clone();
        let report = mta
            .to("<1@example.com>")
            .to("<2@example.com>")
            .message_file(file.path())
            .run_blocking(|_| filter);
        let report = report.unwrap();
        let mut expected = vec!["connect", "helo", "mail", "rcpt", "rcpt", "data", "header", "header"];
        expected.extend(["end-of-headers", "body", "end-of-message", "close"]);
        assert_eq!(*seen.lock().unwrap(), expected);
        assert_eq!(report.message().unwrap().to_bytes(), report.messages()[0].original().to_bytes());
        assert_eq!(report.message().unwrap().header("subject").as_deref(), Some("hello"));
    }
}

#[test]
fn message_file_that_is_not_there_is_an_error() {
    let error =
        Mta::postfix().message_file("/nowhere/at/all").run_blocking(|_| says(Stage::Mail, Verdict::Reject));
    let error = error.unwrap_err();
    assert!(matches!(error, RunError::File { .. }));
    assert!(error.to_string().starts_with("cannot read the message /nowhere/at/all: "), "{error}");
    assert_eq!(format!("{error:?}"), error.to_string(), "what a test shows that returns it");
}

#[test]
fn stages_that_are_not_asked_for_are_not_shown() {
    let needs = Needs::new().answer([Stage::Rcpt]).watch([Stage::Mail]);
    let report = Mta::postfix().message(MESSAGE).run_blocking(|_| does(needs, |_, _| GO)).unwrap();
    let outcome = |stage| &report.steps().find(|step| step.stage == stage).unwrap().outcome;
    assert_eq!(*outcome(Stage::Connect), Outcome::NotSent);
    assert_eq!(*outcome(Stage::Mail), Outcome::NoReply);
    assert_eq!(report.verdict_at(Stage::Mail), None);
    assert_eq!(report.verdict_at(Stage::Rcpt), Some(&Verdict::Continue));
}

#[test]
fn client_and_envelope_are_those_of_the_test() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    for mta in Mta::both() {
        let notes = seen.clone();
        let filter = does(Needs::everything(), move |_, event| {
            let note = |text: String| notes.lock().unwrap().push(text);
            match event {
                Event::Connect(connect) => {
                    note(format!("{} {:?}", connect.host.escape_ascii(), connect.client()));
                }
                Event::Helo(name) => note(name.escape_ascii().to_string()),
                Event::Mail(path) | Event::Rcpt(path) => {
                    note(path.address.escape_ascii().to_string());
                    path.args().for_each(|arg| note(arg.escape_ascii().to_string()));
                }
                _ => {}
            }
            GO
        });
        mta.client("mail.example.net", "192.0.2.9:4321".parse().unwrap())
            .helo("me")
            .from("<alice@example.org> SIZE=10 BODY=8BITMIME")
            .to("<bob@example.com> NOTIFY=NEVER")
            .message(MESSAGE)
            .run_blocking(|_| filter)
            .unwrap();
        let expected = [
            "mail.example.net Inet(192.0.2.9:4321)",
            "me",
            "<alice@example.org>",
            "SIZE=10",
            "BODY=8BITMIME",
            "<bob@example.com>",
            "NOTIFY=NEVER",
        ];
        assert_eq!(std::mem::take(&mut *seen.lock().unwrap()), expected);
    }
}

#[test]
fn factory_is_told_who_the_mta_is() {
    let address = tamis::PeerAddress::Unix("/run/postfix.sock".into());
    let mta = Mta::postfix().peer(address.clone()).message(MESSAGE);
    let mut told = None;
    mta.run_blocking(|peer| {
        told = Some((peer.id, peer.address.clone()));
        says(Stage::Mail, Verdict::Continue)
    })
    .unwrap();
    assert_eq!(told, Some((1, address)));
}

// T2: verdicts, modifications and the resulting message; indexes are those of the MTA.

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
        assert_eq!(stages(&report), [Stage::Connect, Stage::Helo, Stage::Mail]);
    }
}

// T3: what an MTA would refuse.

#[test]
fn modification_before_there_is_a_message_is_an_error_at_the_call() {
    let needs = Needs::everything().require(Actions::ADD_HEADERS);
    for at in [Stage::Connect, Stage::Helo] {
        let filter = does(needs.clone(), move |cx, event| {
            if event.stage() == Some(at) {
                assert_eq!(cx.add_header("X-Early", "yes"), Err(Misuse::NotAtEndOfMessage));
            }
            GO
        });
        let report = Mta::postfix().message(MESSAGE).run_blocking(|_| filter).unwrap();
        assert!(report.failures().is_empty() && report.edits().is_empty(), "{report}");
    }
}

#[test]
fn modification_that_was_not_declared_is_an_error_at_the_call() {
    let filter = does(Needs::everything().require(Actions::ADD_HEADERS), |cx, event| {
        if *event == Event::EndOfMessage {
            let refused = cx.replace_body("new");
            assert_eq!(refused, Err(Misuse::DisabledAction(Actions::REPLACE_BODY)));
        }
        GO
    });
    let report = Mta::postfix().message(MESSAGE).run_blocking(|_| filter).unwrap();
    assert!(report.failures().is_empty() && report.edits().is_empty(), "{report}");
}

#[test]
fn macros_are_shown_only_where_they_are_asked_for() {
    let values = Arc::new(Mutex::new(Vec::new()));
    for mta in Mta::both() {
        for (needs, expected) in [
            (Needs::everything(), [Some("alice"), None]),
            (Needs::everything().macros(MacroStage::Mail, ["x_custom"]), [None, Some("1")]),
        ] {
            let notes = values.clone();
            let filter = does(needs, move |cx, event| {
                if event.stage() == Some(Stage::Mail) {
                    let value =
                        |name| cx.macro_value(name).map(|value| String::from_utf8(value.to_vec()).unwrap());
                    *notes.lock().unwrap() = vec![value("auth_authen"), value("{x_custom}")];
                }
                GO
            });
            let mta = mta.clone().macro_value("auth_authen", "alice").macro_value("x_custom", "1");
            let report = mta.message(MESSAGE).run_blocking(|_| filter).unwrap();
            assert_eq!(*values.lock().unwrap(), expected.map(|value| value.map(str::to_owned)));
            let missing: Vec<_> =
                report.macros_not_asked_for().iter().map(|missing| &missing.name[..]).collect();
            let expected = if expected[0].is_none() { "{auth_authen}" } else { "{x_custom}" };
            assert_eq!(missing, [expected]);
            assert_eq!(report.macros_not_asked_for()[0].stage, Some(Stage::Mail));
        }
    }
}

#[test]
fn macro_without_a_value_is_not_one_that_nobody_asked_for() {
    let needs = Needs::everything().macros(MacroStage::Connect, ["client_ptr"]);
    let filter = does(needs, |cx, event| {
        if event.stage() == Some(Stage::Rcpt) {
            assert_eq!(cx.macro_value("client_ptr"), Some(&b"unknown"[..]));
            assert_eq!(cx.macro_value("auth_type"), None);
            assert_eq!(cx.macro_value("{tls_version}"), None);
        }
        GO
    });
    let report = Mta::postfix().message(MESSAGE).run_blocking(|_| filter).unwrap();
    assert_eq!(report.macros_not_asked_for(), []);
}

#[test]
fn macro_that_the_administrator_added_comes_unless_the_filter_has_a_list() {
    for (list, expected) in [(None, true), (Some("i"), false)] {
        let found = Arc::new(Mutex::new(false));
        let note = found.clone();
        let mut needs = Needs::everything();
        if let Some(name) = list {
            needs = needs.macros(MacroStage::Rcpt, [name]);
        }
        let filter = does(needs, move |cx, event| {
            if event.stage() == Some(Stage::Rcpt) {
                *note.lock().unwrap() = cx.macro_value("x_site").is_some();
            }
            GO
        });
        let mta =
            Mta::postfix().sends_macro(Stage::Rcpt, "x_site").macro_value("x_site", "1").message(MESSAGE);
        mta.run_blocking(|_| filter).unwrap();
        assert_eq!(*found.lock().unwrap(), expected);
    }
}

#[test]
fn filter_that_needs_what_the_mta_does_not_offer_is_told_so() {
    let offer = Offer { actions: Actions::ADD_HEADERS, ..Offer::CURRENT };
    let mta = Mta::new(MtaConfig::new(Profile::Postfix).with_offer(offer)).message(MESSAGE);
    let filter = || edits(|cx| cx.replace_body("new"));
    let error = mta.run_blocking(|_| filter()).unwrap_err();
    let RunError::Lost { why, .. } = &error else { panic!("{error}") };
    assert!(why.starts_with("negotiation failed: "), "{why}");
    let report = mta.clone().lenient().run_blocking(|_| filter()).unwrap();
    assert_eq!((report.verdict(), report.agreement()), (&Verdict::Tempfail, None));
    assert_eq!(report.reply(), "451 4.7.1 Service unavailable - try again later");

    let refuses = does(filter().needs.if_missing(IfMissing::TempfailMail), |_, _| GO);
    let report = mta.run_blocking(|_| refuses).unwrap();
    assert_eq!(report.stage(), Stage::Mail);
    assert!(report.verdict().stops());
}

// A12: modifications reach the wire at end of message only.

#[test]
fn modification_asked_for_early_is_sent_at_end_of_message() {
    let needs = Needs::everything().require(Actions::ADD_HEADERS);
    for mta in Mta::both() {
        let filter = does(needs.clone(), |cx, event| {
            if event.stage() == Some(Stage::Rcpt) {
                cx.add_header("X-Early", "yes").unwrap();
            }
            GO
        });
        // An MTA that is strict ends the session at a modification that comes early.
        let report = mta.message(MESSAGE).run_blocking(|_| filter).unwrap();
        assert_eq!(report.edits().len(), 1);
        assert_eq!(report.message().unwrap().header("x-early").as_deref(), Some("yes"));
    }
}

// S6: errors and panics become the verdict of the policy.

#[test]
fn error_of_a_handler_becomes_the_verdict_of_the_policy_and_its_text_is_told() {
    let mut reject = Options::default();
    reject.on_failure = Verdict::reject("5.3.0", "broken");
    let mut accept = Options::default();
    accept.on_failure = Verdict::Accept;
    for (options, reply) in [
        (Options::default(), "451 4.7.1 Service unavailable - try again later"),
        (reject, "550 5.3.0 broken"),
        (accept, "250 2.0.0 Ok: queued as 4TAMIS0SEND"),
    ] {
        let filter = does(Needs::everything(), |_, event| match event {
            Event::Data => Fail("no database"),
            _ => GO,
        });
        let report = Mta::postfix().options(options).message(MESSAGE).run_blocking(|_| filter).unwrap();
        assert_eq!(report.reply(), reply);
        assert_eq!(report.stage(), Stage::Data);
        assert_eq!(report.failures().len(), 1);
        assert_eq!(report.failures()[0].to_string(), "filter failed at data: no database");
        assert_eq!(report.macros_not_asked_for(), []);
    }
}

#[test]
fn panic_of_a_handler_is_told() {
    let filter = does(Needs::everything(), |_, event| match event {
        Event::EndOfHeaders => Then::Panic("oops"),
        _ => GO,
    });
    let report = Mta::sendmail().message(MESSAGE).run_blocking(|_| filter).unwrap();
    assert_eq!(report.verdict_at(Stage::EndOfHeaders), Some(report.verdict()));
    assert_eq!(report.failures()[0].text, "panic: oops");
    assert!(report.message().is_none());
}

#[test]
fn failure_at_the_end_of_the_connection_is_told() {
    let filter = does(Needs::everything(), |_, event| match event {
        Event::Close => Fail("too late"),
        _ => GO,
    });
    let report = Mta::postfix().message(MESSAGE).run_blocking(|_| filter).unwrap();
    assert_eq!(report.failures()[0].to_string(), "filter failed at close: too late");
    assert!(report.message().is_some());
}

// S12: time limits, in virtual time.

#[test]
fn slow_handler_at_end_of_message_takes_no_time_and_its_progress_is_counted() {
    for mta in Mta::both() {
        let needs = Needs::new().answer([Stage::EndOfMessage]);
        let filter = does(needs, |_, event| match event {
            Event::EndOfMessage => After(seconds(20), Verdict::Continue),
            _ => GO,
        });
        let start = std::time::Instant::now();
        let report = mta.message(MESSAGE).run_blocking(|_| filter).unwrap();
        assert!(start.elapsed() < seconds(10), "the clock is virtual");
        assert_eq!((report.elapsed(), report.progress()), (seconds(20), 4));
        let last = report.steps().next_back().unwrap();
        assert_eq!((last.elapsed, last.progress), (seconds(20), 4));
        assert!(report.steps().rev().skip(1).all(|step| step.elapsed.is_zero()));
    }
}

#[test]
fn handler_that_takes_longer_than_its_limit_is_cancelled_at_the_limit() {
    let mut short = Options::default();
    short.stage_time = seconds(2);
    for (options, limit) in [(Options::default(), 8), (short, 2)] {
        let filter = does(Needs::everything(), |_, event| match event {
            Event::Mail(_) => After(seconds(9), Verdict::Continue),
            _ => GO,
        });
        let report = Mta::sendmail().options(options).message(MESSAGE).run_blocking(|_| filter).unwrap();
        assert_eq!(report.elapsed(), seconds(limit));
        assert_eq!(report.failures()[0].text, format!("no verdict within {limit}s"));
        assert_eq!(report.reply(), "451 4.7.1 <sender@example.net>... Service unavailable - try again later");
    }
}

#[test]
fn mta_gives_a_filter_up_that_is_allowed_more_time_than_the_mta_has() {
    let mut patient = Options::default();
    patient.stage_time = seconds(100);
    let mta = Mta::postfix().options(patient).message(MESSAGE);
    let filter = || {
        does(Needs::everything(), |_, event| match event {
            Event::Rcpt(_) => After(seconds(60), Verdict::Continue),
            _ => GO,
        })
    };
    let error = mta.run_blocking(|_| filter()).unwrap_err();
    assert!(matches!(error, RunError::Lost { .. }), "{error}");
    let report = mta.lenient().run_blocking(|_| filter()).unwrap();
    assert_eq!((report.elapsed(), report.stage()), (seconds(30), Stage::Rcpt));
    assert_eq!(*report.verdict(), Verdict::Tempfail);
    assert!(report.message().is_none());
}

#[tokio::test(start_paused = true)]
async fn sessions_run_in_the_time_of_their_runtime() {
    let filter = || says(Stage::Mail, Verdict::Continue);
    let mta = Mta::postfix().message(MESSAGE);
    let report = mta.run(|_| filter()).await.unwrap();
    assert_eq!(report.elapsed(), Duration::ZERO);
    assert!(matches!(mta.run_blocking(|_| filter()), Err(RunError::Nested)));
}

#[test]
fn blocking_work_holds_the_virtual_clock() {
    struct Blocks;
    impl Filter for Blocks {
        type Message = ();

        fn needs(&self) -> Needs {
            Needs::new().answer([Stage::EndOfMessage])
        }

        async fn on(&mut self, _: &mut Context<'_, ()>, event: Event) -> Reply {
            if event == Event::EndOfMessage {
                let file = tempfile::tempfile()?;
                let work = move || {
                    let mut file = file;
                    (0..2_000).try_for_each(|_| std::io::Write::write_all(&mut file, &[0; 4096]))
                };
                tokio::task::spawn_blocking(work).await??;
            }
            Ok(Verdict::Continue)
        }
    }
    let report = Mta::postfix().message(MESSAGE).run_blocking(|_| Blocks).unwrap();
    assert_eq!((report.elapsed(), report.progress()), (Duration::ZERO, 0));
    assert_eq!(report.failures(), []);
}

// Sessions beyond one message.

#[test]
fn several_messages_go_over_one_connection_each_with_its_state() {
    for mta in Mta::both() {
        let filter = does(Needs::everything().require(Actions::ADD_HEADERS), |cx, event| match event {
            Event::Mail(sender) if sender.address == "<bad@b>" => Say(Verdict::Reject),
            Event::EndOfMessage => {
                cx.add_header("X-Seen", cx.message.join(" ")).unwrap();
                GO
            }
            _ => GO,
        });
        let report = mta
            .from("<1@b>")
            .message(MESSAGE)
            .from("<bad@b>")
            .message(MESSAGE)
            .from("<2@b>")
            .message("A: b\n\n")
            .run_blocking(|_| filter)
            .unwrap();
        let seen: Vec<_> = report
            .messages()
            .iter()
            .map(|message| message.message().and_then(|message| message.header("x-seen")).map(String::from))
            .collect();
        let first = "mail rcpt data header header end-of-headers body end-of-message";
        let third = "mail rcpt data header end-of-headers end-of-message";
        assert_eq!(seen, [Some(first.to_owned()), None, Some(third.to_owned())]);
        assert_eq!(*report.messages()[1].verdict(), Verdict::Reject);
        assert_eq!(report.verdict_at(Stage::Connect), Some(&Verdict::Continue));
        assert_eq!(report.messages()[2].verdict_at(Stage::Connect), None);
    }
}

#[test]
fn client_that_gives_up_in_the_middle_of_a_message_aborts_it() {
    for mta in Mta::both() {
        let filter = does(Needs::everything(), |_, _| GO);
        let seen = filter.seen.clone();
        let report = mta.from("<1@b>").reset().from("<2@b>").to("<3@b>").run_blocking(|_| filter).unwrap();
        let expected = ["connect", "helo", "mail", "abort", "mail", "rcpt", "abort", "close"];
        assert_eq!(*seen.lock().unwrap(), expected);
        assert!(report.messages().iter().all(|message| message.message().is_none()));
        assert_eq!(report.messages().len(), 2);
    }
}

#[test]
fn helo_in_the_middle_of_a_message_ends_it() {
    for mta in Mta::both() {
        let filter = does(Needs::everything(), |_, _| GO);
        let seen = filter.seen.clone();
        mta.from("<1@b>").helo("again").message(MESSAGE).run_blocking(|_| filter).unwrap();
        let seen = seen.lock().unwrap();
        assert_eq!(seen[..6], ["connect", "helo", "mail", "abort", "helo", "mail"]);
    }
}

#[test]
fn macros_tell_of_tls_after_the_second_helo() {
    for mta in Mta::both() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let notes = seen.clone();
        let filter = does(Needs::everything(), move |cx, event| {
            if let Some(stage @ (Stage::Helo | Stage::Mail)) = event.stage() {
                notes.lock().unwrap().push((stage, cx.macro_value("tls_version").map(<[u8]>::to_vec)));
            }
            GO
        });
        mta.starttls().message(MESSAGE).run_blocking(|_| filter).unwrap();
        let tls = Some(b"TLSv1.3".to_vec());
        let expected = [(Stage::Helo, None), (Stage::Helo, tls.clone()), (Stage::Mail, tls)];
        assert_eq!(*seen.lock().unwrap(), expected);
    }
}

#[test]
fn refusal_of_an_unknown_command_touches_no_message() {
    for mta in Mta::both() {
        let report = mta
            .unknown("HOKUS POKUS")
            .from("<1@b>")
            .unknown("FIDIBUS")
            .to("<2@b>")
            .message(MESSAGE)
            .run_blocking(|_| says(Stage::Unknown, Verdict::Reject))
            .unwrap();
        assert_eq!(report.verdict_at(Stage::Unknown), Some(&Verdict::Reject));
        assert_eq!(stages(&report).iter().filter(|stage| **stage == Stage::Unknown).count(), 2);
        assert!(report.message().is_some());
    }
}

#[test]
fn refused_client_gets_no_mail_through() {
    for at in [Stage::Connect, Stage::Helo] {
        for mta in Mta::both() {
            let mta = mta.from("<1@b>").message(MESSAGE).from("<2@b>").message(MESSAGE);
            let report = mta.run_blocking(|_| says(at, Verdict::reject("5.7.1", "not you"))).unwrap();
            assert_eq!(report.steps().next_back().unwrap().stage, at);
            for message in report.messages() {
                assert_eq!((message.stage(), message.message().is_some()), (at, false));
            }
        }
    }
}

#[test]
fn reply_421_ends_the_session_wherever_it_comes() {
    for at in [Stage::Connect, Stage::Helo, Stage::Mail, Stage::Rcpt, Stage::Unknown, Stage::Body] {
        for mta in Mta::both() {
            let mta = mta.unknown("WHAT").from("<1@b>").message(MESSAGE).from("<2@b>").message(MESSAGE);
            let report = mta.run_blocking(|_| says(at, Verdict::shutdown("enough"))).unwrap();
            assert_eq!(report.steps().next_back().unwrap().stage, at);
            assert!(report.messages().iter().all(|message| message.message().is_none()), "{report}");
        }
    }
}

#[test]
fn connection_can_be_tested_without_a_message() {
    for mta in Mta::both() {
        let filter = does(Needs::everything(), |_, event| match event {
            Event::Connect(connect) if connect.host == "bad.example" => Say(Verdict::reject("5.7.1", "no")),
            _ => GO,
        });
        let report =
            mta.client("bad.example", "198.51.100.1:25".parse().unwrap()).run_blocking(|_| filter).unwrap();
        assert_eq!(report.verdict_at(Stage::Connect), Some(&Verdict::reject("5.7.1", "no")));
        assert_eq!(report.verdict_at(Stage::Helo), None);
        assert!(report.messages().is_empty() && report.message().is_none());
    }
}

#[test]
fn accepted_client_is_not_asked_again() {
    for mta in Mta::both() {
        let filter = says(Stage::Connect, Verdict::Accept);
        let seen = filter.seen.clone();
        let report = mta.message(MESSAGE).message(MESSAGE).run_blocking(|_| filter).unwrap();
        assert_eq!(*seen.lock().unwrap(), ["connect", "close"]);
        assert!(report.messages().iter().all(|message| message.message().is_some()));
    }
}

#[test]
fn mta_that_dies_cancels_the_handler() {
    struct Noted(Arc<Mutex<Vec<&'static str>>>);
    impl Drop for Noted {
        fn drop(&mut self) {
            self.0.lock().unwrap().push("cancelled");
        }
    }
    struct Slow(Arc<Mutex<Vec<&'static str>>>);
    impl Filter for Slow {
        type Message = ();

        fn needs(&self) -> Needs {
            Needs::everything()
        }

        async fn on(&mut self, _: &mut Context<'_, ()>, event: Event) -> Reply {
            self.0.lock().unwrap().push(event.name());
            if event == Event::EndOfMessage {
                let noted = Noted(self.0.clone());
                sleep(seconds(100)).await;
                std::mem::forget(noted);
            }
            Ok(Verdict::Continue)
        }
    }
    let seen = Arc::new(Mutex::new(Vec::new()));
    let mta = Mta::postfix().message(MESSAGE).vanishes_after(seconds(5));
    let report = mta.run_blocking(|_| Slow(seen.clone())).unwrap();
    assert_eq!(seen.lock().unwrap()[9..], ["end-of-message", "cancelled", "abort", "close"]);
    assert_eq!((report.elapsed(), report.lost()), (seconds(5), None));
    assert!(report.message().is_none());
}

// Snapshots.

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

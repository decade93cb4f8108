//! Who is asked when, who is cancelled, and who is told about ends.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tamis::chain::{Chain, Decide};
use tamis::linear::{Linear, Mail};
use tamis::testing::Mta;
use tamis::{Actions, BoxError, Collect, Event, Needs, Stage, Verdict};

use crate::common::{Act, Notes, Probe};
use crate::support::{ALL, BOTH, Mode, events, mail, play, postfix, quiet, says};

const SECOND: Duration = Duration::from_secs(1);

/// Does something at a stage, and says continue everywhere else.
fn at(stage: Stage, act: Act) -> (Probe, Notes) {
    Probe::new(Needs::everything(), move |_, event| {
        if event.stage() == Some(stage) { act.clone() } else { Act::SayNow(Verdict::Continue) }
    })
}

fn tempfail() -> Verdict {
    Verdict::tempfail("4.7.1", "later")
}

fn reject() -> Verdict {
    Verdict::reject("5.7.1", "never")
}

#[test]
fn filters_of_a_parallel_chain_work_at_the_same_time_and_those_of_a_pipeline_do_not() {
    for (mode, time) in [(Mode::Parallel, 3 * SECOND), (Mode::Pipeline, 5 * SECOND)] {
        let one = at(Stage::Mail, Act::After(3 * SECOND, Verdict::Continue)).0;
        let two = at(Stage::Mail, Act::After(2 * SECOND, Verdict::Continue)).0;
        let report = postfix(mode.chain().add("one", one).add("two", two));
        assert_eq!(report.elapsed(), time);
        assert!(report.message().is_some());
    }
}

#[test]
fn the_first_verdict_that_refuses_cancels_the_filters_that_are_still_at_work() {
    for stage in [Stage::Mail, Stage::Data, Stage::Header, Stage::Body, Stage::EndOfMessage] {
        let (slow, mut seen_by_slow) = at(stage, Act::Hang);
        let (quick, _) = at(stage, Act::After(SECOND, reject()));
        let report = postfix(Chain::parallel().add("slow", slow).add("quick", quick));
        assert_eq!(report.verdict_at(stage), Some(&reject()), "{report}");
        assert_eq!(report.elapsed(), SECOND);
        let seen = events(&mut seen_by_slow);
        assert_eq!(seen[seen.len() - 4..], [stage.name(), "cancelled", "abort", "close"]);
    }
}

#[test]
fn a_refused_client_cancels_and_nobody_is_told_of_a_message() {
    let (slow, mut seen_by_slow) = at(Stage::Connect, Act::Hang);
    let (quick, _) = at(Stage::Connect, Act::After(SECOND, reject()));
    postfix(Chain::parallel().add("slow", slow).add("quick", quick));
    assert_eq!(events(&mut seen_by_slow), ["connect", "cancelled", "close"]);
}

#[test]
fn a_refused_recipient_cancels_its_step_and_leaves_the_message_to_the_others() {
    let (slow, mut seen_by_slow) = Probe::new(Needs::everything(), |_, event| match event {
        Event::Rcpt(to) if to.address == "<b@example.org>" => Act::Hang,
        _ => Act::SayNow(Verdict::Continue),
    });
    let (quick, _) = Probe::new(Needs::everything(), |_, event| match event {
        Event::Rcpt(to) if to.address == "<b@example.org>" => Act::After(SECOND, reject()),
        _ => Act::SayNow(Verdict::Continue),
    });
    let report = postfix(Chain::parallel().add("slow", slow).add("quick", quick));
    assert_eq!(report.reply_to("<b@example.org>").unwrap(), "550 5.7.1 never");
    assert_eq!(report.message().unwrap().recipients().len(), 1);
    let mut expected = ALL.map(str::to_owned).to_vec();
    expected.insert(4, "cancelled".to_owned());
    assert_eq!(events(&mut seen_by_slow), expected);
}

#[test]
fn a_filter_function_that_is_cancelled_at_a_recipient_goes_on_with_its_message() {
    async fn slow(mut mail: Mail) -> Result<Verdict, BoxError> {
        let mut recipients = 0;
        while let Some(recipient) = mail.recipient().await? {
            recipients += 1;
            if recipient.local_part() == "b" {
                tokio::time::sleep(2 * SECOND).await;
            }
        }
        let left: Vec<_> = mail.envelope().recipients().map(ToString::to_string).collect();
        assert_eq!(left, ["<c@example.org>"]);
        mail.end().await?;
        Ok(Verdict::reject("5.7.1", &format!("{recipients} recipients")))
    }
    let (quick, _) = Probe::new(Needs::everything(), |_, event| match event {
        Event::Rcpt(to) if to.address == "<b@example.org>" => Act::After(SECOND, reject()),
        _ => Act::SayNow(Verdict::Continue),
    });
    let linear = Linear::new(slow).decides(Stage::Rcpt);
    let report = postfix(Chain::parallel().add("slow", linear).add("quick", quick));
    assert!(report.failures().is_empty(), "{report}");
    assert_eq!(report.reply(), "550 5.7.1 2 recipients");
}

#[test]
fn of_verdicts_that_are_there_at_the_same_moment_the_severest_counts_then_the_earlier_filter() {
    let five = |text: &str| Verdict::reject("5.7.1", text);
    let four = |text: &str| Verdict::tempfail("4.7.1", text);
    let bye = || Verdict::shutdown("bye");
    let cases = [
        (four("one"), five("two"), five("two")),
        (five("one"), four("two"), five("one")),
        (bye(), five("two"), five("two")),
        (four("one"), bye(), bye()),
        (Verdict::Discard, four("two"), four("two")),
        (Verdict::Discard, Verdict::Tempfail, Verdict::Tempfail),
        (five("one"), Verdict::Reject, five("one")),
        (four("one"), four("two"), four("one")),
    ];
    for (one, two, wins) in cases {
        for now in [true, false] {
            let act = |verdict: &Verdict| {
                if now { Act::SayNow(verdict.clone()) } else { Act::Say(verdict.clone()) }
            };
            let later = |verdict: &Verdict| {
                if now { Act::Say(verdict.clone()) } else { Act::SayNow(verdict.clone()) }
            };
            for (first, second) in [
                (act(&one), act(&two)),
                (act(&one), later(&two)),
                (Act::After(SECOND, one.clone()), Act::After(SECOND, two.clone())),
            ] {
                let chain = Chain::parallel()
                    .add("one", at(Stage::Data, first).0)
                    .add("two", at(Stage::Data, second).0);
                let report = postfix(chain);
                assert_eq!(report.verdict_at(Stage::Data), Some(&wins), "{one} {two}");
            }
        }
    }
}

#[test]
fn a_chain_that_waits_for_all_says_the_severest_whoever_is_faster() {
    for (quick, slow, wins) in [(tempfail(), reject(), reject()), (reject(), tempfail(), reject())] {
        let (one, mut seen_by_one) = at(Stage::Mail, Act::After(2 * SECOND, slow.clone()));
        let two = at(Stage::Mail, Act::SayNow(quick.clone())).0;
        let chain = Chain::parallel().decide(Decide::All).add("one", one).add("two", two);
        let report = postfix(chain);
        assert_eq!(report.verdict_at(Stage::Mail), Some(&wins));
        assert_eq!(report.elapsed(), 2 * SECOND);
        assert_eq!(events(&mut seen_by_one), ["connect", "helo", "mail", "close"], "nobody was cancelled");
    }
}

#[test]
fn no_filter_sees_a_step_before_it_is_done_with_the_one_before() {
    for mode in BOTH {
        let (slow, mut notes) = Probe::new(Needs::everything(), |_, event| match event.stage() {
            Some(_) => Act::After(SECOND, Verdict::Continue),
            None => Act::SayNow(Verdict::Continue),
        });
        let quick = quiet().0;
        postfix(mode.chain().add("slow", slow).add("quick", quick));
        assert_eq!(events(&mut notes), ALL);
    }
}

#[test]
fn the_mta_is_told_accept_when_all_filters_have_accepted() {
    for mode in BOTH {
        for stage in [Stage::Connect, Stage::Helo, Stage::Mail, Stage::Rcpt, Stage::Header, Stage::Body] {
            let (one, mut seen_by_one) = says(stage, Verdict::Accept);
            let (two, mut seen_by_two) = says(stage, Verdict::Accept);
            let report = postfix(mode.chain().add("one", one).add("two", two));
            assert_eq!(report.verdict_at(stage), Some(&Verdict::Accept), "{stage} {report}");
            let seen = events(&mut seen_by_one);
            assert_eq!(seen, events(&mut seen_by_two));
            assert_eq!(seen[seen.len() - 2..], [stage.name(), "close"]);
            // One of them earlier than the other.
            if stage == Stage::Body {
                let (early, late) = (says(Stage::Mail, Verdict::Accept).0, says(stage, Verdict::Accept).0);
                let report = postfix(mode.chain().add("early", early).add("late", late));
                assert_eq!(report.verdict_at(Stage::Mail), Some(&Verdict::Continue));
                assert_eq!(report.verdict_at(stage), Some(&Verdict::Accept));
            }
        }
    }
}

#[test]
fn a_message_that_is_given_up_is_told_to_those_who_have_a_say_in_it_and_the_next_one_to_all() {
    for mode in BOTH {
        let (accepts, mut seen_by_accepts) = says(Stage::Mail, Verdict::Accept);
        let (other, mut seen_by_other) = quiet();
        let mta = Mta::postfix().from("<a@example.net>").to("<b@example.org>").reset();
        let report = play(&mail(mta), mode.chain().add("accepts", accepts).add("other", other));
        assert!(report.messages()[1].message().is_some());
        assert_eq!(events(&mut seen_by_accepts), ["connect", "helo", "mail", "mail", "close"]);
        let mut expected = vec!["connect", "helo", "mail", "rcpt", "abort"];
        expected.extend(&ALL[2..]);
        assert_eq!(events(&mut seen_by_other), expected);
    }
}

/// Takes its time to hear of an end.
struct Slow(&'static str, Arc<Mutex<Vec<String>>>);
impl tamis::Filter for Slow {
    type Message = ();
    fn needs(&self) -> Needs {
        Needs::everything()
    }
    async fn on(&mut self, _: &mut tamis::Context<'_, ()>, event: Event) -> tamis::Reply {
        if event.stage().is_none() {
            tokio::time::sleep(SECOND).await;
            self.1.lock().unwrap().push(format!("{} {}", self.0, event.name()));
        }
        Ok(Verdict::Continue)
    }
}

#[test]
fn abort_and_close_that_need_time_are_waited_for() {
    for mode in BOTH {
        let ends = Arc::new(Mutex::new(Vec::new()));
        let filter = |name: &'static str| {
            let ends = ends.clone();
            Slow(name, ends)
        };
        let chain = mode
            .chain()
            .add("one", filter("one"))
            .add("rejects", says(Stage::Data, reject()).0)
            .add("two", filter("two"));
        let report = postfix(chain);
        assert_eq!(report.verdict_at(Stage::Data), Some(&reject()));
        let ends = ends.lock().unwrap().clone();
        assert_eq!(ends, ["one abort", "two abort", "one close", "two close"]);
    }
}

#[test]
fn an_empty_chain_lets_mail_pass() {
    for mode in BOTH {
        let report = postfix(mode.chain());
        assert!(report.message().is_some() && report.failures().is_empty(), "{report}");
    }
}

#[test]
fn chains_stand_in_chains() {
    for outer in BOTH {
        for inner in BOTH {
            let (one, mut seen_by_one) = quiet();
            let (two, mut seen_by_two) = says(Stage::Rcpt, Verdict::Accept);
            let (three, mut seen_by_three) = quiet();
            let (four, mut seen_by_four) = quiet();
            let chain = outer
                .chain()
                .add("one", one)
                .add("inner", inner.chain().add("two", two).add("three", three))
                .add("four", four);
            let report = postfix(chain);
            assert!(report.message().is_some() && report.failures().is_empty(), "{report}");
            for seen in [&mut seen_by_one, &mut seen_by_three, &mut seen_by_four] {
                assert_eq!(events(seen), ALL);
            }
            assert_eq!(events(&mut seen_by_two), ["connect", "helo", "mail", "rcpt", "close"]);

            // A refusal inside is one outside.
            let (one, mut seen_by_one) = quiet();
            let (three, mut seen_by_three) = quiet();
            let chain = outer
                .chain()
                .add("one", one)
                .add("inner", inner.chain().add("two", says(Stage::Body, reject()).0).add("three", three));
            let report = postfix(chain);
            assert_eq!(report.verdict_at(Stage::Body), Some(&reject()));
            assert_eq!(events(&mut seen_by_one).iter().filter(|event| *event == "abort").count(), 1);
            assert_eq!(events(&mut seen_by_three).iter().filter(|event| *event == "abort").count(), 1);
        }
    }
}

#[test]
fn a_client_that_leaves_cancels_the_filters_at_work() {
    for mode in BOTH {
        let (one, mut seen) = at(Stage::Mail, Act::Hang);
        let mta = mail(Mta::postfix()).vanishes_after(SECOND);
        let _ = mta.run_blocking(|_| mode.chain().add("one", one).add("two", quiet().0));
        assert_eq!(events(&mut seen), ["connect", "helo", "mail", "cancelled", "abort", "close"]);
    }
}

#[test]
fn filters_share_the_bytes_of_a_body_that_nobody_edits() {
    for mode in BOTH {
        let pieces = Arc::new(Mutex::new(Vec::new()));
        let looks = || {
            let pieces = pieces.clone();
            Probe::new(Needs::everything(), move |_, event| {
                if let Event::Body(piece) = event {
                    pieces.lock().unwrap().push(piece.as_ptr().addr());
                }
                Act::SayNow(Verdict::Continue)
            })
            .0
        };
        postfix(mode.chain().add("one", looks()).add("two", looks()).add("three", looks()));
        let pieces = pieces.lock().unwrap().clone();
        assert!(pieces.len() == 3 && pieces.iter().all(|piece| *piece == pieces[0]), "{pieces:?}");
    }
}

/// A sender that hides one field among thousands of a name costs no more than its bytes.
#[test]
fn thousands_of_fields_that_one_filter_removes_are_not_shown_to_the_next() {
    struct Removes;
    impl tamis::Filter for Removes {
        type Message = ();
        fn needs(&self) -> Needs {
            Needs::new().answer([Stage::EndOfMessage]).require(Actions::CHANGE_HEADERS)
        }
        fn collect(&self) -> Collect {
            Collect::nothing().headers()
        }
        async fn on(&mut self, cx: &mut tamis::Context<'_, ()>, event: Event) -> tamis::Reply {
            if event == Event::EndOfMessage {
                assert_eq!(cx.headers_mut()?.remove_all("X-Spam")?, 1_500);
            }
            Ok(Verdict::Continue)
        }
    }
    let fields = Arc::new(Mutex::new(Vec::new()));
    let seen = fields.clone();
    let (looks, _) = Probe::new(Needs::everything().require(Actions::ADD_HEADERS), move |cx, event| {
        match event {
            Event::Header(header) => seen.lock().unwrap().push(header.name.clone()),
            Event::EndOfMessage => cx.add_header("X-Looked", "1").unwrap(),
            _ => {}
        }
        Act::SayNow(Verdict::Continue)
    });
    let text = format!("From: me\n{}Subject: hello\n\nHi!\n", "X-Spam: 1\n".repeat(1_500));
    let mut options = tamis::Options::default();
    // It would be compared field by field.
    options.strict = false;
    let report = play(
        &Mta::postfix().options(options).message(text),
        Chain::pipeline().add("removes", Removes).add("looks", looks),
    );
    assert_eq!(fields.lock().unwrap().clone(), ["From", "Subject"]);
    assert_eq!(report.message().unwrap().headers("X-Spam").count(), 0);
    assert_eq!(report.message().unwrap().headers("X-Looked").count(), 1);
}

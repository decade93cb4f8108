//! Filters that fail cost their own policy and nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tamis::chain::{Chain, Member, OnFailure};
use tamis::testing::{Mta, Report};
use tamis::{Actions, Event, Needs, Stage, Verdict};

use crate::common::frames::message;
use crate::common::{Act, Notes, Probe, patient, serve};
use crate::support::{ALL, BOTH, Mode, events, mail, play, postfix, quiet};

const SECOND: Duration = Duration::from_secs(1);

const POLICIES: [OnFailure; 4] =
    [OnFailure::Tempfail, OnFailure::Accept, OnFailure::Reject, OnFailure::Quarantine];

fn acts() -> [(&'static str, Act); 8] {
    [
        ("an error", Act::Fail("broken")),
        ("an error at once", Act::FailNow("broken")),
        ("a panic", Act::Panic("boom")),
        ("a panic at once", Act::PanicNow("boom")),
        ("a late panic", Act::PanicLater("boom")),
        ("no end", Act::Hang),
        ("no end and a panic when cancelled", Act::HangAndPanic("boom")),
        ("a verdict of another stage", Act::SayNow(Verdict::Skip)),
    ]
}

/// Fails at a stage of the first message.
fn bad(stage: Stage, act: Act) -> (Probe, Notes) {
    let needs = Needs::everything().require(Actions::ADD_RECIPIENTS);
    let failed = AtomicUsize::new(0);
    Probe::new(needs, move |cx, event| {
        if matches!(event, Event::Mail(_)) {
            cx.add_recipient("<bad@example.com>").unwrap();
        }
        let first = event.stage() == Some(stage) && failed.fetch_add(1, Ordering::Relaxed) == 0;
        if first { act.clone() } else { Act::SayNow(Verdict::Continue) }
    })
}

fn good() -> (Probe, Notes) {
    let needs = Needs::everything().require(Actions::ADD_RECIPIENTS);
    Probe::new(needs, |cx, event| {
        if matches!(event, Event::EndOfMessage) {
            cx.add_recipient("<good@example.com>").unwrap();
        }
        Act::SayNow(Verdict::Continue)
    })
}

/// Two messages with one bad filter among three others.
fn run(mode: Mode, policy: OnFailure, stage: Stage, act: Act) -> (Report, [Vec<String>; 4]) {
    let (one, mut by_one) = good();
    let (two, mut by_bad) = bad(stage, act);
    let (three, mut by_three) = good();
    let (four, mut by_four) = good();
    let chain = mode
        .chain()
        .add("one", one)
        .member(Member::new("bad", two).on_failure(policy))
        .add("three", three)
        .add("four", four);
    let report = play(&mail(mail(Mta::postfix())), chain);
    let seen = [events(&mut by_one), events(&mut by_bad), events(&mut by_three), events(&mut by_four)];
    (report, seen)
}

#[test]
fn a_failure_costs_what_the_policy_says_at_its_stage() {
    let stages = [
        Stage::Connect,
        Stage::Helo,
        Stage::Mail,
        Stage::Rcpt,
        Stage::Data,
        Stage::Header,
        Stage::EndOfHeaders,
        Stage::Body,
        Stage::EndOfMessage,
    ];
    for mode in BOTH {
        for policy in POLICIES {
            for stage in stages {
                for (what, act) in acts() {
                    if stage == Stage::Body && matches!(act, Act::SayNow(Verdict::Skip)) {
                        continue;
                    }
                    let case = format!("{what} at {stage} with {policy} in {mode:?}");
                    let (report, [one, bad, three, four]) = run(mode, policy, stage, act.clone());
                    assert!(report.failures().is_empty(), "{case}: it is not the chain's\n{report}");
                    let messages = report.messages();
                    let refused = match policy {
                        OnFailure::Tempfail => Some('4'),
                        OnFailure::Reject => Some('5'),
                        OnFailure::Accept | OnFailure::Quarantine => None,
                    };
                    if let Some(code) = refused {
                        assert_eq!(messages[0].stage(), stage, "{case}\n{report}");
                        assert!(messages[0].reply().starts_with(code), "{case}\n{report}");
                        assert!(messages[0].message().is_none(), "{case}\n{report}");
                    } else {
                        let message = messages[0].message().unwrap_or_else(|| panic!("{case}\n{report}"));
                        assert_eq!(message.quarantine().is_some(), policy == OnFailure::Quarantine, "{case}");
                        let to = |name: &str| {
                            message.recipients().iter().any(|to| to.address.starts_with(name.as_bytes()))
                        };
                        assert!(to("good@") && !to("bad@"), "{case}: edits of the failed filter are dropped");
                        for seen in [&one, &three, &four] {
                            assert_eq!(seen[..ALL.len() - 1], ALL[..ALL.len() - 1], "{case}");
                        }
                    }
                    for seen in [&one, &bad, &three, &four] {
                        assert!(
                            seen.iter().filter(|event| *event == "close").count() <= 1,
                            "{case} {seen:?}"
                        );
                        let begun = seen.iter().filter(|event| *event == "mail").count();
                        let aborted = seen.iter().filter(|event| *event == "abort").count();
                        assert!(aborted <= begun, "{case} {seen:?}");
                    }
                    let died = what.contains("panic");
                    assert_eq!(bad.contains(&"close".to_owned()), !died, "{case} {bad:?}");
                    // The second message.
                    if stage.in_message() {
                        let again = bad.iter().filter(|event| *event == "mail").count() == 2;
                        assert_eq!(again, !died, "{case} {bad:?}");
                        let passes = refused.is_none() || !died;
                        assert_eq!(messages[1].message().is_some(), passes, "{case}\n{report}");
                        if died && refused.is_some() {
                            assert_eq!(messages[1].stage(), Stage::Mail, "{case}\n{report}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn a_failure_that_is_not_answered_is_told_at_the_next_stage_that_is() {
    for mode in BOTH {
        for (policy, code) in [(OnFailure::Tempfail, "451"), (OnFailure::Reject, "550")] {
            let needs = Needs::new().watch([Stage::Mail, Stage::Rcpt, Stage::Data, Stage::Header]);
            let (bad, _) = Probe::new(needs, |_, event| {
                if matches!(event, Event::Mail(_)) {
                    Act::FailNow("broken")
                } else {
                    Act::SayNow(Verdict::Continue)
                }
            });
            let (other, mut seen) =
                Probe::new(Needs::new().answer([Stage::Rcpt]), |_, _| Act::SayNow(Verdict::Continue));
            let chain = mode.chain().member(Member::new("bad", bad).on_failure(policy)).add("other", other);
            let report = postfix(chain);
            for to in ["<b@example.org>", "<c@example.org>"] {
                assert!(report.reply_to(to).unwrap().starts_with(code), "{report}");
            }
            assert_eq!(events(&mut seen), ["close"]);

            // Nobody answers anything.
            let needs = Needs::new().watch([Stage::Mail, Stage::Rcpt, Stage::Data, Stage::Header]);
            let (bad, _) = Probe::new(needs, |_, event| {
                if matches!(event, Event::Header(_)) {
                    Act::FailNow("broken")
                } else {
                    Act::SayNow(Verdict::Continue)
                }
            });
            let report = postfix(mode.chain().member(Member::new("bad", bad).on_failure(policy)));
            assert_eq!(report.stage(), Stage::EndOfMessage);
            assert!(report.reply().starts_with(code), "{report}");
        }
    }
}

#[test]
fn a_filter_is_not_told_to_give_up_a_message_that_its_own_error_ended() {
    for mode in BOTH {
        for (stage, policy) in [
            (Stage::Mail, OnFailure::Tempfail),
            (Stage::Header, OnFailure::Reject),
            (Stage::EndOfMessage, OnFailure::Tempfail),
            (Stage::EndOfMessage, OnFailure::Accept),
        ] {
            let (_, [_, bad, ..]) = run(mode, policy, stage, Act::Fail("broken"));
            assert!(!bad.contains(&"abort".to_owned()), "{policy} at {stage} in {mode:?}: {bad:?}");
        }
        let (_, [_, bad, ..]) = run(mode, OnFailure::Accept, Stage::Data, Act::Fail("broken"));
        assert_eq!(bad.iter().filter(|event| *event == "abort").count(), 1, "it goes on without it: {bad:?}");
        let (_, [_, bad, ..]) = run(mode, OnFailure::Accept, Stage::EndOfMessage, Act::Hang);
        assert_eq!(bad.iter().filter(|event| *event == "abort").count(), 1, "it was at work: {bad:?}");
    }
}

#[test]
fn at_rcpt_a_failure_refuses_this_and_all_later_recipients_and_then_the_message() {
    for mode in BOTH {
        let (bad, _) = Probe::new(Needs::everything(), |_, event| match event {
            Event::Rcpt(to) if to.address == "<c@example.org>" => Act::FailNow("broken"),
            _ => Act::SayNow(Verdict::Continue),
        });
        let mta = Mta::postfix()
            .to("<b@example.org>")
            .to("<c@example.org>")
            .to("<d@example.org>")
            .message("Subject: hello\n\n");
        let report = play(&mta, mode.chain().add("bad", bad).add("good", quiet().0));
        assert!(report.reply_to("<b@example.org>").unwrap().starts_with("250"), "{report}");
        assert!(report.reply_to("<c@example.org>").unwrap().starts_with("451"), "{report}");
        assert!(report.reply_to("<d@example.org>").unwrap().starts_with("451"), "{report}");
        assert_eq!((report.stage(), report.reply().starts_with("451")), (Stage::Data, true), "{report}");
    }
}

#[test]
fn all_filters_share_the_time_of_a_step_and_each_has_a_limit_of_its_own() {
    for mode in BOTH {
        let slow = |seconds: u32| {
            Probe::new(Needs::everything(), move |_, event| {
                if event.stage() == Some(Stage::Mail) {
                    Act::After(SECOND * seconds, Verdict::Continue)
                } else {
                    Act::SayNow(Verdict::Continue)
                }
            })
        };
        let bounded = Member::new("bounded", slow(60).0).timeout(2 * SECOND).on_failure(OnFailure::Accept);
        let report = postfix(mode.chain().member(bounded).add("other", slow(1).0));
        assert!(report.message().is_some(), "{report}");
        let time = if mode == Mode::Parallel { 2 * SECOND } else { 3 * SECOND };
        assert_eq!(report.elapsed(), time);

        // The MTA would wait 10 s; it is told in time.
        let hangs = Member::new("hangs", slow(60).0);
        let report = play(&mail(Mta::sendmail()), mode.chain().add("other", slow(3).0).member(hangs));
        assert!(report.reply().starts_with("451"), "{report}");
        assert!(report.failures().is_empty(), "{report}");
        assert_eq!(report.elapsed(), 8 * SECOND, "{mode:?}");
    }
}

#[test]
fn a_filter_that_cannot_negotiate_in_time_costs_its_policy_when_there_is_mail() {
    struct Slow(Duration);
    impl tamis::Filter for Slow {
        type Message = ();
        fn needs(&self) -> Needs {
            Needs::everything()
        }
        async fn negotiate(&mut self, _: &tamis::Offer) -> Result<Needs, tamis::BoxError> {
            tokio::time::sleep(self.0).await;
            Ok(Needs::everything())
        }
        async fn on(&mut self, _: &mut tamis::Context<'_, ()>, _: Event) -> tamis::Reply {
            Ok(Verdict::Continue)
        }
    }
    for mode in BOTH {
        let report =
            postfix(mode.chain().add("slow", Slow(Duration::from_secs(100))).add("slower", Slow(4 * SECOND)));
        assert_eq!((report.stage(), report.elapsed()), (Stage::Mail, 5 * SECOND), "{report}");
        assert!(report.reply().starts_with("451"));
        let report = postfix(mode.chain().add("slow", Slow(4 * SECOND)).add("other", Slow(3 * SECOND)));
        assert!(report.message().is_some());
        assert_eq!(report.elapsed(), 4 * SECOND, "all at the same time");
    }
}

#[test]
fn what_is_said_where_no_answer_was_declared_is_a_failure() {
    for mode in BOTH {
        let (bad, _) = Probe::new(Needs::new().watch([Stage::Mail]), |_, event| {
            Act::SayNow(if event.stage().is_some() { Verdict::Reject } else { Verdict::Continue })
        });
        let chain =
            mode.chain().member(Member::new("bad", bad).on_failure(OnFailure::Accept)).add("good", quiet().0);
        assert!(postfix(chain).message().is_some());
    }
}

/// A bad filter among four on many connections at once: all mail passes, with the edits of the others.
#[tokio::test]
async fn under_load_one_bad_filter_among_four_costs_nothing_but_itself() {
    for mode in BOTH {
        let turn = Arc::new(AtomicUsize::new(0));
        let make = move || -> Chain {
            let turn = turn.clone();
            let (bad, _) = Probe::new(Needs::everything(), move |_, event| {
                if event.stage().is_none() {
                    return Act::SayNow(Verdict::Continue);
                }
                match turn.fetch_add(1, Ordering::Relaxed) % 11 {
                    0 => Act::FailNow("broken"),
                    1 => Act::Fail("broken"),
                    2 => Act::PanicNow("boom"),
                    3 => Act::PanicLater("boom"),
                    4 => Act::Hang,
                    5 => Act::SayNow(Verdict::Skip),
                    _ => Act::SayNow(Verdict::Continue),
                }
            });
            let bad = Member::new("bad", bad).on_failure(OnFailure::Accept).timeout(Duration::from_millis(5));
            mode.chain().add("one", good().0).member(bad).add("three", good().0).add("four", good().0)
        };
        let running = serve(patient(), move |_| make());
        let mut clients = Vec::new();
        for _ in 0..20 {
            let mut mta = running.mta().await;
            clients.push(tokio::spawn(async move {
                for _ in 0..10 {
                    for frame in message("<a@example.net>") {
                        let is_end = frame == crate::common::frames::end_of_message();
                        let reply = mta.ask(frame).await;
                        assert_eq!(reply.code, if is_end { '+' } else { 'c' });
                        if is_end {
                            // The three others add the same recipient.
                            assert_eq!(mta.codes(1).await, "c");
                        }
                    }
                }
                mta.quit().await;
            }));
        }
        for client in clients {
            client.await.unwrap();
        }
        running.drain().await;
    }
}

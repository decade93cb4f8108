//! Each row of the table of negotiation: two filters that disagree, in both modes.

use std::sync::{Arc, Mutex};

use tamis::chain::{Chain, Member, OnFailure};
use tamis::proto::command::Kind;
use tamis::proto::{Agreement, Misuse, Steps};
use tamis::testing::{Mta, MtaConfig, Profile, Report};
use tamis::{Actions, Collect, DataSize, Edit, Event, MacroStage, Needs, Offer, Stage, Verdict};

use crate::common::frames::{body, end_of_message, macros, mail as mail_from, offer_of, rcpt};
use crate::common::{Act, Cx, patient, serve};
use crate::support::{BOTH, Mode, events, mail, play, postfix, probe};

/// A chain of two filters that only have needs, and what came of a session.
#[track_caller]
fn two(mode: Mode, one: Needs, two: Needs) -> Report {
    let go = |_: &mut Cx<'_>, _: &Event| Act::SayNow(Verdict::Continue);
    postfix(mode.chain().add("one", probe(one, go).0).add("two", probe(two, go).0))
}

fn agreed(report: &Report) -> &Agreement {
    report.agreement().expect("both sides agreed")
}

type Seen = Arc<Mutex<Vec<String>>>;

/// A filter that writes down something at each event.
fn notes(
    needs: Needs,
    look: impl Fn(&mut Cx<'_>, &Event) -> Option<String> + Send + Sync + 'static,
) -> (crate::common::Probe, Seen) {
    let seen = Seen::default();
    let notes = seen.clone();
    let (probe, _) = probe(needs, move |cx, event| {
        notes.lock().unwrap().extend(look(cx, event));
        Act::SayNow(Verdict::Continue)
    });
    (probe, seen)
}

fn take(seen: &Seen) -> Vec<String> {
    std::mem::take(&mut seen.lock().unwrap())
}

#[test]
fn version_is_that_of_an_older_mta() {
    for mode in BOTH {
        for (offered, agreed_on) in [(2, 2), (4, 4), (6, 6)] {
            let config = MtaConfig::new(Profile::Postfix).with_offer(Offer::of_version(offered));
            let go = |_: &mut Cx<'_>, _: &Event| Act::SayNow(Verdict::Continue);
            let chain = mode
                .chain()
                .add("one", probe(Needs::everything(), go).0)
                .add("two", probe(Needs::new().answer([Stage::Mail]), go).0);
            let report = play(&mail(Mta::new(config)), chain);
            assert_eq!(agreed(&report).version, agreed_on);
            assert!(report.message().is_some(), "{report}");
        }
    }
}

#[test]
fn actions_are_those_of_all_filters_and_each_may_use_its_own_alone() {
    for mode in BOTH {
        let adds = |needs: Needs, name: &'static str| {
            notes(needs.answer([Stage::EndOfMessage]), move |cx, event| {
                matches!(event, Event::EndOfMessage).then(|| {
                    let header = cx.add_header(format!("X-{name}"), "1");
                    let recipient = cx.add_recipient(format!("<{name}@example.com>"));
                    format!("{header:?} {recipient:?} {}", cx.actions())
                })
            })
        };
        let (one, seen_by_one) = adds(Needs::new().require(Actions::ADD_HEADERS), "one");
        let (two, seen_by_two) = adds(Needs::new().allow(Actions::ADD_RECIPIENTS), "other");
        let report = postfix(mode.chain().add("one", one).add("other", two));
        assert_eq!(
            agreed(&report).actions & !Actions::MACRO_LISTS,
            Actions::ADD_HEADERS | Actions::ADD_RECIPIENTS
        );
        let refused = |action| format!("Err({:?})", Misuse::DisabledAction(action));
        let actions = |action: Actions| (action).to_string();
        assert_eq!(
            take(&seen_by_one),
            [format!("Ok(()) {} {}", refused(Actions::ADD_RECIPIENTS), actions(Actions::ADD_HEADERS))]
        );
        assert_eq!(
            take(&seen_by_two),
            [format!("{} Ok(()) {}", refused(Actions::ADD_HEADERS), actions(Actions::ADD_RECIPIENTS))]
        );
        let message = report.message().unwrap();
        assert_eq!(message.headers("X-one").count() + message.headers("X-other").count(), 1, "{report}");
        assert_eq!(message.recipients().len(), 3);
    }
}

#[test]
fn actions_of_a_filter_that_is_tried_out_are_not_asked_for() {
    for mode in BOTH {
        let go = |_: &mut Cx<'_>, _: &Event| Act::SayNow(Verdict::Continue);
        let needs = |action| Needs::everything().require(action);
        let chain = mode
            .chain()
            .add("one", probe(needs(Actions::ADD_HEADERS), go).0)
            .member(Member::new("two", probe(needs(Actions::REPLACE_BODY), go).0).dry_run());
        let report = postfix(chain);
        assert_eq!(agreed(&report).actions & !Actions::MACRO_LISTS, Actions::ADD_HEADERS);
    }
}

#[test]
fn quarantine_is_asked_for_where_a_policy_needs_it() {
    for mode in BOTH {
        let go = |_: &mut Cx<'_>, _: &Event| Act::SayNow(Verdict::Continue);
        let one = Member::new("one", probe(Needs::everything(), go).0).on_failure(OnFailure::Quarantine);
        let report = postfix(mode.chain().member(one).add("two", probe(Needs::everything(), go).0));
        assert!(agreed(&report).actions.contains(Actions::QUARANTINE));
    }
}

#[test]
fn a_filter_that_needs_what_the_mta_lacks_costs_its_policy_at_mail_and_not_at_connect() {
    for mode in BOTH {
        for (policy, told) in [
            (OnFailure::Tempfail, Some("451")),
            (OnFailure::Reject, Some("550")),
            (OnFailure::Accept, None),
            // Such an MTA holds nothing either.
            (OnFailure::Quarantine, Some("451")),
        ] {
            let offer = Offer { actions: Actions::ADD_HEADERS, ..Offer::CURRENT };
            let config = MtaConfig::new(Profile::Postfix).with_offer(offer);
            let needs = Needs::new().answer([Stage::Connect]).require(Actions::REPLACE_BODY);
            let go = |_: &mut Cx<'_>, _: &Event| Act::SayNow(Verdict::Continue);
            let (bad, mut seen_by_bad) = probe(needs, go);
            let (good, mut seen_by_good) = probe(Needs::everything(), go);
            let chain = mode.chain().member(Member::new("bad", bad).on_failure(policy)).add("good", good);
            let report = play(&mail(Mta::new(config)), chain);
            assert_eq!(report.verdict_at(Stage::Connect), Some(&Verdict::Continue));
            assert_eq!(events(&mut seen_by_bad), ["close"]);
            match told {
                Some(code) => {
                    assert_eq!(report.stage(), Stage::Mail);
                    assert!(report.reply().starts_with(code), "{report}");
                    assert_eq!(events(&mut seen_by_good), ["connect", "helo", "close"]);
                }
                None => assert!(report.message().is_some(), "{report}"),
            }
        }
    }
}

#[test]
fn a_stage_is_switched_off_if_no_filter_sees_it() {
    for mode in BOTH {
        let report =
            two(mode, Needs::new().answer([Stage::Mail]), Needs::new().answer([Stage::Rcpt, Stage::Mail]));
        let steps = agreed(&report).steps;
        for stage in
            [Stage::Connect, Stage::Helo, Stage::Data, Stage::Header, Stage::EndOfHeaders, Stage::Body]
        {
            assert!(!steps.sends(stage), "{stage}");
        }
        assert!(steps.sends(Stage::Mail) && steps.sends(Stage::Rcpt));
    }
}

#[test]
fn a_filter_never_sees_a_stage_that_another_one_asked_for() {
    for mode in BOTH {
        let go = |_: &mut Cx<'_>, _: &Event| Act::SayNow(Verdict::Continue);
        let (one, mut seen_by_one) = probe(Needs::new().answer([Stage::Mail, Stage::Body]), go);
        let (two, mut seen_by_two) = probe(Needs::new().watch([Stage::Rcpt, Stage::Header]), go);
        postfix(mode.chain().add("one", one).add("two", two));
        assert_eq!(events(&mut seen_by_one), ["mail", "body", "close"]);
        assert_eq!(events(&mut seen_by_two), ["rcpt", "rcpt", "header", "header", "close"]);
    }
}

#[test]
fn a_stage_goes_unanswered_if_no_filter_answers_it() {
    for mode in BOTH {
        let report = two(
            mode,
            Needs::new().watch([Stage::Mail, Stage::Rcpt]),
            Needs::new().watch([Stage::Mail]).answer([Stage::Rcpt]),
        );
        let steps = agreed(&report).steps;
        assert!(steps.sends(Stage::Mail) && !steps.answers(Stage::Mail));
        assert!(steps.answers(Stage::Rcpt));
    }
}

#[test]
fn content_goes_unanswered_where_those_who_answer_it_are_shown_it_later() {
    let content = [Stage::Header, Stage::EndOfHeaders, Stage::Body];
    let editor = Needs::new().watch(content).require(Actions::ADD_HEADERS);
    let answers = Needs::new().answer(content);
    for (mode, answered) in [(Mode::Pipeline, false), (Mode::Parallel, true)] {
        let report = two(mode, editor.clone(), answers.clone());
        let steps = agreed(&report).steps;
        assert!(
            content.iter().all(|stage| steps.sends(*stage) && steps.answers(*stage) == answered),
            "{mode:?}"
        );
        // In front of the editor it is answered.
        let report = two(mode, answers.clone(), editor.clone());
        assert!(content.iter().all(|stage| agreed(&report).steps.answers(*stage)), "{mode:?}");
    }
}

#[test]
fn the_steps_of_a_filter_that_is_tried_out_go_unanswered() {
    for mode in BOTH {
        let go = |_: &mut Cx<'_>, _: &Event| Act::SayNow(Verdict::Continue);
        let (tried, mut seen) = probe(Needs::everything(), go);
        let chain = mode
            .chain()
            .member(Member::new("tried", tried).dry_run())
            .add("other", probe(Needs::new().answer([Stage::Rcpt]), go).0);
        let report = postfix(chain);
        let steps = agreed(&report).steps;
        assert!(steps.sends(Stage::Mail) && !steps.answers(Stage::Mail) && steps.answers(Stage::Rcpt));
        assert_eq!(events(&mut seen), crate::support::ALL);
    }
}

#[test]
fn skip_is_agreed_on_if_one_filter_wants_it_and_used_when_none_wants_more() {
    let body = "0123456789012345678901234567890123456789012345678901234567890123456789\n".repeat(4000);
    for mode in BOTH {
        let skipper = |skip: bool| {
            let needs = Needs::new().answer([Stage::Body]).skip(skip);
            probe(needs, move |_, event| {
                Act::SayNow(if matches!(event, Event::Body(_)) { Verdict::Skip } else { Verdict::Continue })
            })
        };
        let third = probe(Needs::new().answer([Stage::Body]), |_, _| Act::SayNow(Verdict::Continue));
        let message = format!("A: b\n\n{body}");
        let ((one, mut seen_by_one), (two, mut seen_by_two)) = (skipper(true), skipper(false));
        let report = play(&Mta::postfix().message(&message), mode.chain().add("one", one).add("two", two));
        assert!(agreed(&report).steps.contains(Steps::SKIP));
        assert_eq!(report.verdict_at(Stage::Body), Some(&Verdict::Skip));
        assert_eq!(events(&mut seen_by_one), ["body", "close"]);
        assert_eq!(events(&mut seen_by_two), ["body", "close"]);

        let ((one, mut seen_by_one), (three, mut seen_by_three)) = (skipper(true), third);
        let report =
            play(&Mta::postfix().message(&message), mode.chain().add("one", one).add("three", three));
        assert_eq!(events(&mut seen_by_one), ["body", "close"]);
        assert_eq!(events(&mut seen_by_three), ["body", "body", "body", "body", "body", "close"]);
        assert_eq!(report.verdict_at(Stage::Body), Some(&Verdict::Continue));

        let report = two_without_skip(mode);
        assert!(!agreed(&report).steps.contains(Steps::SKIP));
    }
}

fn two_without_skip(mode: Mode) -> Report {
    let needs = || Needs::new().answer([Stage::Body]).skip(false);
    two(mode, needs(), needs())
}

/// Bits of the steps in an answer to an offer.
fn steps(answer: &[u8]) -> Steps {
    Steps::from_bits_retain(u32::from_be_bytes(answer[8..12].try_into().unwrap()))
}

/// An MTA that tells of a recipient that it rejects itself between two others.
async fn session_with_a_rejected_recipient(mode: Mode, make: impl Fn() -> Chain + Send + Sync + 'static) {
    let running = serve(patient(), move |_| make());
    let mut mta = running.connect().await;
    let answer = mta.negotiate().await;
    assert!(steps(&answer).contains(Steps::REJECTED_RECIPIENTS), "{mode:?}");
    let mut ask = Vec::new();
    for (mailer, host, address) in
        [("smtp", "x", "b@example.org"), ("error", "5.1.1", "nobody"), ("smtp", "x", "c@example.org")]
    {
        let about = [("{rcpt_mailer}", mailer), ("{rcpt_host}", host), ("{rcpt_addr}", address)];
        let name =
            if address.contains('@') { format!("<{address}>") } else { format!("<{address}@example.org>") };
        ask.push([macros(Kind::Rcpt, &about), rcpt(&name)].concat());
    }
    mta.go([mail_from("<a@example.net>")]).await;
    mta.go(ask).await;
    mta.go([end_of_message()]).await;
    mta.quit().await;
    running.drain().await;
}

#[tokio::test]
async fn rejected_recipients_are_shown_to_the_filter_that_asked_for_them_alone() {
    for mode in BOTH {
        let look = |cx: &mut Cx<'_>, event: &Event| match event {
            Event::Rcpt(_) => {
                Some(String::from_utf8_lossy(cx.macro_value("{rcpt_addr}").unwrap_or(b"-")).into_owned())
            }
            _ => None,
        };
        let needs = || Needs::new().answer([Stage::Mail, Stage::Rcpt, Stage::EndOfMessage]);
        let (one, seen_by_one) = notes(needs().rejected_recipients(), look);
        let (two, seen_by_two) = notes(needs(), look);
        session_with_a_rejected_recipient(mode, move || {
            mode.chain().add("one", one.clone()).add("two", two.clone())
        })
        .await;
        assert_eq!(take(&seen_by_one), ["b@example.org", "nobody", "c@example.org"]);
        assert_eq!(take(&seen_by_two), ["b@example.org", "c@example.org"]);
    }
}

#[tokio::test]
async fn envelopes_have_rejected_recipients_for_filters_that_asked_for_them_alone() {
    struct Envelopes(Seen, bool);
    impl tamis::Filter for Envelopes {
        type Message = ();
        fn needs(&self) -> Needs {
            let needs = Needs::new().answer([Stage::Mail, Stage::Rcpt, Stage::EndOfMessage]);
            if self.1 { needs.rejected_recipients() } else { needs }
        }
        fn collect(&self) -> Collect {
            Collect::nothing().envelope()
        }
        async fn on(&mut self, cx: &mut tamis::Context<'_, ()>, event: Event) -> tamis::Reply {
            if event == Event::EndOfMessage {
                let all = cx.envelope()?.all_recipients().iter().map(ToString::to_string);
                self.0.lock().unwrap().extend(all);
            }
            Ok(Verdict::Continue)
        }
    }
    for mode in BOTH {
        let (one, two) = (Seen::default(), Seen::default());
        let (for_one, for_two) = (one.clone(), two.clone());
        session_with_a_rejected_recipient(mode, move || {
            mode.chain()
                .add("one", Envelopes(for_one.clone(), true))
                .add("two", Envelopes(for_two.clone(), false))
        })
        .await;
        assert_eq!(take(&one), ["<b@example.org>", "<nobody@example.org>", "<c@example.org>"]);
        assert_eq!(take(&two), ["<b@example.org>", "<c@example.org>"]);
    }
}

#[test]
fn leading_space_is_stripped_and_put_back_for_filters_that_do_not_deal_with_it() {
    for mode in BOTH {
        for offers_it in [true, false] {
            let look = |value: &'static str, name: &'static str| {
                move |cx: &mut Cx<'_>, event: &Event| match event {
                    Event::Header(header) => Some(String::from_utf8_lossy(&header.value).into_owned()),
                    Event::EndOfMessage => {
                        cx.add_header(name, value).unwrap();
                        cx.change_header(1, name.replace("New", "Old"), value).unwrap();
                        None
                    }
                    _ => None,
                }
            };
            let needs = || Needs::everything().require(Actions::ADD_HEADERS | Actions::CHANGE_HEADERS);
            let (one, seen_by_one) = notes(needs().leading_space(), look("  two", "X-New-One"));
            let (two, seen_by_two) = notes(needs(), look("none", "X-New-Two"));
            let steps = if offers_it { Steps::CURRENT } else { Steps::CURRENT & !Steps::LEADING_SPACE };
            let config = MtaConfig::new(Profile::Postfix).with_offer(Offer { steps, ..Offer::CURRENT });
            let mta = Mta::new(config).message("X-Old-One: 1\nX-Old-Two: 2\nTight:3\n\n\n");
            let report = play(&mta, mode.chain().add("one", one).add("two", two));
            assert_eq!(agreed(&report).leading_space(), offers_it);
            let mut by_one = take(&seen_by_one);
            let mut by_two = take(&seen_by_two);
            by_one.truncate(3);
            // In a pipeline it sees what the first one did.
            match mode {
                Mode::Parallel => assert_eq!(by_two, ["1", "2", "3"]),
                Mode::Pipeline => assert_eq!(by_two, [" two", "2", "3", " two"]),
            }
            by_two.clear();
            let spaced = if offers_it { [" 1", " 2", "3"] } else { ["1", "2", "3"] };
            assert_eq!(by_one, spaced);
            let message = report.message().unwrap();
            let value = |name: &str| {
                let field =
                    message.fields().iter().find(|field| field.name.eq_ignore_ascii_case(name.as_bytes()));
                String::from_utf8_lossy(&field.unwrap().value).into_owned()
            };
            assert_eq!(value("X-New-One"), "  two");
            assert_eq!(value("X-Old-One"), "  two");
            assert_eq!(value("X-New-Two"), " none");
            assert_eq!(value("X-Old-Two"), " none");
            assert_eq!(value("Tight"), "3");
        }
    }
}

#[tokio::test]
async fn the_largest_packets_are_agreed_on_and_cut_for_filters_that_do_not_take_them() {
    for mode in BOTH {
        let sizes = |needs: Needs| {
            notes(
                needs.answer([Stage::Mail, Stage::Body, Stage::EndOfMessage]).require(Actions::ADD_HEADERS),
                |cx, event| match event {
                    Event::Body(piece) => Some(piece.len().to_string()),
                    Event::EndOfMessage => {
                        let long = cx.add_header("X-Long", "x".repeat(100_000));
                        Some(format!("{}", long.is_ok()))
                    }
                    _ => None,
                },
            )
        };
        let (one, seen_by_one) = sizes(Needs::new().data_size(DataSize::M1));
        let (two, seen_by_two) = sizes(Needs::new());
        let running = serve(patient(), move |_| mode.chain().add("one", one.clone()).add("two", two.clone()));
        let mut mta = running.connect().await;
        let offer = Offer { steps: Steps::CURRENT | Steps::PAYLOAD_SIZES, ..Offer::CURRENT };
        let answer = mta.ask(offer_of(offer)).await.payload;
        assert!(steps(&answer).contains(Steps::PAYLOAD_1M));
        mta.go([mail_from("<a@example.net>")]).await;
        mta.go([body(&vec![b'x'; 100_000])]).await;
        let edit = mta.ask(end_of_message()).await;
        assert!(
            edit.code == 'h' && edit.payload.len() > 100_000,
            "the edit of the filter that asked for it is sent"
        );
        assert_eq!(mta.reply().await.code, 'c');
        let pieces = |mut seen: Vec<String>| {
            let may = seen.pop().unwrap();
            (seen.iter().map(|size| size.parse::<usize>().unwrap()).sum::<usize>(), seen, may)
        };
        let (sum, _, may) = pieces(take(&seen_by_one));
        assert_eq!((sum, may.as_str()), (100_000, "true"));
        let (sum, parts, may) = pieces(take(&seen_by_two));
        assert_eq!((sum, may.as_str()), (100_000, "false"), "its own packets are small");
        assert!(parts.iter().all(|size| size.parse::<usize>().unwrap() <= 65_535), "{parts:?}");
        mta.quit().await;
        running.drain().await;
    }
}

#[test]
fn macro_lists_are_joined_in_the_order_of_the_chain_and_each_filter_sees_its_own() {
    for mode in BOTH {
        let look = |cx: &mut Cx<'_>, event: &Event| {
            let names = ["i", "mail_addr", "client_ptr", "auth_authen", "j"];
            let has = |name: &&str| cx.macros().get(name).is_some();
            matches!(event, Event::EndOfMessage)
                .then(|| names.into_iter().filter(|name| has(name)).collect::<Vec<_>>().join(" "))
        };
        let needs = || Needs::new().answer([Stage::Mail, Stage::EndOfMessage]);
        let (one, seen_by_one) = notes(needs().macros(MacroStage::Mail, ["client_ptr", "mail_addr"]), look);
        let (two, seen_by_two) = notes(needs().macros(MacroStage::Mail, ["auth_authen", "client_ptr"]), look);
        let (three, seen_by_three) = notes(needs(), look);
        let (four, seen_by_four) = notes(needs().macros(MacroStage::Helo, ["tls_version"]), look);
        let mta =
            mail(Mta::postfix().macro_value("client_ptr", "ptr.example").macro_value("auth_authen", "me"));
        let chain = mode.chain().add("one", one).add("two", two).add("three", three).add("four", four);
        let report = play(&mta, chain);
        let lists = &agreed(&report).macros;
        let at_mail = lists.get(MacroStage::Mail).unwrap();
        assert_eq!(at_mail[..3], ["{client_ptr}", "{mail_addr}", "{auth_authen}"]);
        assert!(
            at_mail[3..].contains(&"i".to_owned()),
            "what the third one would get by default: {at_mail:?}"
        );
        assert_eq!(take(&seen_by_one), ["i mail_addr client_ptr j"]);
        assert_eq!(take(&seen_by_two), ["i client_ptr auth_authen j"]);
        for defaults in [&seen_by_three, &seen_by_four] {
            assert_eq!(take(defaults), ["i mail_addr auth_authen j"], "not what others asked for");
        }
    }
}

#[test]
fn the_lists_of_both_ends_are_sent_and_none_is_empty_and_the_version_is_asked_for() {
    for mode in BOTH {
        let one = Needs::new().answer([Stage::Mail]).macros(MacroStage::Helo, [""; 0]);
        let report = two(mode, one.clone(), Needs::new());
        let lists = &agreed(&report).macros;
        for stage in [MacroStage::EndOfHeaders, MacroStage::EndOfMessage, MacroStage::Helo] {
            assert!(lists.get(stage).is_some_and(|list| !list.is_empty()), "{stage:?}");
        }
        assert!(lists.get(MacroStage::Connect).unwrap().contains(&"v".to_owned()));
        assert_eq!(lists.get(MacroStage::Rcpt), None, "nobody has a list there");
    }
}

#[test]
fn a_list_of_all_filters_is_cut_where_mtas_would_cut_it() {
    for mode in BOTH {
        let list = |prefix: &str| {
            let names: Vec<String> = (0..40).map(|n| format!("{prefix}{n}")).collect();
            Needs::new().answer([Stage::Mail]).macros(MacroStage::Mail, names)
        };
        let report = two(mode, list("one"), list("two"));
        let names = agreed(&report).macros.get(MacroStage::Mail).unwrap();
        assert_eq!(names.len(), 50);
        assert_eq!((names[39].as_str(), names[49].as_str()), ("{one39}", "{two9}"));
    }
}

#[test]
fn what_nobody_asked_for_is_not_sent() {
    for mode in BOTH {
        let (bad, _) = probe(Needs::new().answer([Stage::EndOfMessage]), |cx, event| {
            if matches!(event, Event::EndOfMessage) {
                let edit = Edit::ReplaceBody("new".into());
                assert_eq!(cx.edit(edit), Err(Misuse::DisabledAction(Actions::REPLACE_BODY)));
            }
            Act::SayNow(Verdict::Continue)
        });
        let good = probe(Needs::new().allow(Actions::REPLACE_BODY), |_, _| Act::SayNow(Verdict::Continue)).0;
        let report = postfix(mode.chain().add("bad", bad).add("good", good));
        assert!(report.edits().is_empty());
        assert!(report.failures().is_empty(), "{report}");
    }
}

//! Sessions beyond one message.

use std::sync::{Arc, Mutex};

use tamis::testing::Mta;
use tamis::{Actions, Context, Event, Filter, Needs, Reply, Stage, Verdict};
use tokio::time::sleep;

use crate::MESSAGE;
use crate::filter::Then::Say;
use crate::filter::{GO, does, edits, says, seconds};

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
fn client_that_is_lost_after_data_has_sent_no_message() {
    for mta in Mta::both() {
        let filter = does(Needs::everything(), |_, _| GO);
        let seen = filter.seen.clone();
        let report = mta.to("<1@b>").data().run_blocking(|_| filter).unwrap();
        assert_eq!(seen.lock().unwrap()[2..], ["mail", "rcpt", "data", "abort", "close"]);
        assert!(report.message().is_none());
        assert!(report.reply().starts_with("354 "), "{}", report.reply());
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
        assert_eq!(report.steps().filter(|step| step.stage == Stage::Unknown).count(), 2);
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
fn paths_come_without_brackets_from_a_client_that_writes_none() {
    for mta in Mta::both() {
        let filter = does(Needs::everything(), |_, event| {
            if let Event::Mail(path) | Event::Rcpt(path) = event {
                assert!(path.address == "a@b" || path.address == "c@d", "{:?}", path.address);
            }
            GO
        });
        let report =
            mta.without_brackets().from("<a@b>").to("c@d").message(MESSAGE).run_blocking(|_| filter).unwrap();
        assert_eq!(report.failures(), []);
    }
}

#[test]
fn message_whose_recipients_are_all_deleted_is_delivered_to_nobody() {
    for mta in Mta::both() {
        let filter = edits(|cx| cx.delete_recipient("<1@b>"));
        let report = mta.to("<1@b>").message(MESSAGE).run_blocking(|_| filter).unwrap();
        assert_eq!((report.verdict(), report.message().is_none()), (&Verdict::Continue, true));
        assert!(report.to_string().ends_with("\ndelivered to nobody\n"), "{report}");
    }
}

#[test]
fn values_of_macros_win_over_those_that_the_mta_would_have() {
    for mta in Mta::both() {
        let filter = does(Needs::everything(), |cx, event| {
            if event.stage() == Some(Stage::Rcpt) {
                assert_eq!(cx.macro_value("rcpt_mailer"), Some(&b"local"[..]));
                assert_eq!(cx.macro_value("rcpt_addr"), Some(&b"1@b"[..]));
            }
            GO
        });
        let report =
            mta.macro_value("{rcpt_mailer}", "local").to("<1@b>").message(MESSAGE).run_blocking(|_| filter);
        assert_eq!(report.unwrap().failures(), []);
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

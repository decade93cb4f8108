//! Time limits, in virtual time (S12).

use std::time::Duration;

use tamis::testing::{Mta, Profile, RunError};
use tamis::{Context, Event, Filter, Needs, Options, Reply, Stage, Verdict};

use crate::MESSAGE;
use crate::filter::Then::After;
use crate::filter::{GO, does, says, seconds};

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

#[test]
fn sendmail_gives_a_filter_up_that_says_nothing_of_its_progress_for_too_long() {
    let mut lazy = Options::default();
    lazy.progress_every = seconds(15);
    for mta in Mta::both() {
        let filter = does(Needs::new().answer([Stage::EndOfMessage]), |_, event| match event {
            Event::EndOfMessage => After(seconds(20), Verdict::Continue),
            _ => GO,
        });
        let report = mta.options(lazy.clone()).message(MESSAGE).lenient().run_blocking(|_| filter).unwrap();
        match report.profile() {
            Profile::Postfix => assert_eq!((report.lost(), report.progress()), (None, 1)),
            Profile::Sendmail => assert_eq!((report.lost().is_some(), report.elapsed()), (true, seconds(10))),
        }
        assert_eq!(report.message().is_some(), report.lost().is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_can_be_tasks_in_real_time() {
    let mta = Mta::sendmail().message(MESSAGE);
    let task = tokio::spawn(async move { mta.run(|_| says(Stage::Data, Verdict::Reject)).await });
    assert_eq!(task.await.unwrap().unwrap().reply(), "550 5.7.1 Command rejected");
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

//! Errors and panics become the verdict of the policy (S6).

use tamis::testing::Mta;
use tamis::{Event, Needs, Options, Stage, Verdict};

use crate::MESSAGE;
use crate::filter::Then::Fail;
use crate::filter::{GO, Then, does};

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

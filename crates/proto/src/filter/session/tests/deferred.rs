//! Verdicts that wait for a stage at which an answer is due.

use super::*;

/// Watches the sender, sees the other stages of a message and answers them.
fn needs() -> Needs {
    Needs::new().watch([Stage::Mail]).answer([Stage::Rcpt, Stage::Data, Stage::EndOfMessage])
}

/// A session whose filter made up its mind at the watched sender.
fn decided(verdict: Verdict) -> Filter {
    let mut filter = Filter::new(&needs());
    filter.reach("CHM");
    assert!(!filter.session.takes_verdict());
    filter.session.respond(Verdict::Continue).unwrap();
    filter.session.defer(verdict);
    filter.sent();
    filter
}

#[test]
fn a_deferred_verdict_is_said_at_the_next_answered_stage_without_asking() {
    let mut filter = decided(Verdict::Discard);
    // What follows of the message gets the same answer, and the next message is asked about again.
    assert_eq!(filter.run("RTA"), "d d");
    assert_eq!(filter.run("MRA"), "=mail =rcpt c =abort");
}

#[test]
fn a_deferred_refusal_is_said_to_every_recipient_and_to_the_message() {
    let mut filter = decided(Verdict::Tempfail);
    assert_eq!(filter.run("RRTA"), "t t t");
    assert_eq!(filter.run("MRTA"), "=mail =rcpt c =data c =abort");
}

#[test]
fn a_deferred_verdict_dies_with_its_message() {
    for end in ["A", "M"] {
        let mut filter = decided(Verdict::Reject);
        filter.run(end);
        filter.run("A");
        assert_eq!(filter.run("MRA"), "=mail =rcpt c =abort", "ended by {end}");
    }
    let mut filter = Filter::new(&needs());
    filter.reach("CHMRTLNE");
    filter.session.defer(Verdict::Reject);
    filter.session.respond(Verdict::Continue).unwrap();
    filter.sent();
    assert_eq!(filter.run("MRA"), "=mail =rcpt c =abort", "ended by its own verdict");
}

#[test]
fn an_unknown_command_is_not_told_a_deferred_verdict() {
    let mut filter = decided(Verdict::Reject);
    filter.session.see[Stage::Unknown.index()] = See::Nothing;
    filter.session.steps.remove(Steps::NO_UNKNOWN);
    assert_eq!(filter.run("UR"), "c r");
}

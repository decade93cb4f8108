//! Chains of probes in sessions that a test writes.

use tamis::chain::Chain;
use tamis::testing::{Mta, Report};
use tamis::{Event, Needs, Stage, Verdict};

use crate::common::{Act, Cx, Notes, Probe};

/// How a chain runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Parallel,
    Pipeline,
}

pub const BOTH: [Mode; 2] = [Mode::Parallel, Mode::Pipeline];

impl Mode {
    pub fn chain(self) -> Chain {
        match self {
            Self::Parallel => Chain::parallel(),
            Self::Pipeline => Chain::pipeline(),
        }
    }
}

/// A filter that does as it is told.
pub fn probe(
    needs: Needs,
    script: impl Fn(&mut Cx<'_>, &Event) -> Act + Send + Sync + 'static,
) -> (Probe, Notes) {
    Probe::new(needs, script)
}

/// A filter that sees and answers everything.
pub fn quiet() -> (Probe, Notes) {
    Probe::new(Needs::everything(), |_, _| Act::SayNow(Verdict::Continue))
}

/// A filter that says something at a stage, and continue everywhere else.
pub fn says(stage: Stage, verdict: Verdict) -> (Probe, Notes) {
    Probe::new(Needs::everything(), move |_, event| {
        Act::SayNow(if event.stage() == Some(stage) { verdict.clone() } else { Verdict::Continue })
    })
}

/// The session that most tests play.
pub fn mail(mta: Mta) -> Mta {
    mta.from("<a@example.net>")
        .to("<b@example.org>")
        .to("<c@example.org>")
        .message("Subject: hello\nX-Two: 2\n\nHi!\n")
}

/// Plays a session to a chain.
#[track_caller]
pub fn play(mta: &Mta, chain: Chain) -> Report {
    match mta.run_blocking(|_| chain) {
        Ok(report) => report,
        Err(error) => panic!("{error}"),
    }
}

/// Plays the usual session to a chain, as Postfix.
#[track_caller]
pub fn postfix(chain: Chain) -> Report {
    play(&mail(Mta::postfix()), chain)
}

/// What happens in the usual session, in order.
pub const ALL: [&str; 12] = [
    "connect",
    "helo",
    "mail",
    "rcpt",
    "rcpt",
    "data",
    "header",
    "header",
    "end-of-headers",
    "body",
    "end-of-message",
    "close",
];

/// What a probe was called for.
pub fn events(notes: &mut Notes) -> Vec<String> {
    notes.rest().into_iter().filter(|note| !note.starts_with("message dropped")).collect()
}

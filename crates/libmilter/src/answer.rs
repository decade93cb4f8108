//! From what a callback returned to what the MTA is told (spec §6.6).

use tamis_proto::{Offer, Refusal, Stage, Verdict};

use crate::callback::Call;
use crate::connection::Connection;
use crate::descr::{Filter, Status, status};
use crate::{log, negotiate};

/// Why there is no agreement with an MTA.
#[derive(Debug)]
pub(crate) enum Refused {
    /// The negotiation callback said so.
    ByFilter,
    ByOffer(Refusal),
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::ByFilter => f.write_str("the filter's negotiation callback refuses the connection"),
            Self::ByOffer(refusal) => refusal.fmt(f),
        }
    }
}

/// Notes that an event is about to be given to the program.
pub(crate) fn begin(connection: &mut Connection, call: &Call) {
    // Macros of the message before are gone.
    if matches!(call, Call::Connect { .. } | Call::Mail | Call::Close) {
        connection.symbols.take_if(|symbols| symbols.tidy(connection.session.macros()));
    }
}

/// Answers an MTA's offer.
pub(crate) fn negotiation(
    filter: &Filter,
    connection: &mut Connection,
    offer: Offer,
    outcome: Option<negotiate::Outcome>,
) -> Result<(), Refused> {
    let answer =
        negotiate::answer(filter, offer, outcome, connection.lists.as_deref()).ok_or(Refused::ByFilter)?;
    connection.session.negotiate_bits(&answer).map_err(Refused::ByOffer)
}

/// Answers a command with what the callback returned.
///
/// libmilter leaves the MTA without an answer where a callback returns what it should not; here each command that is to
/// be answered is, and none that is not.
pub(crate) fn verdict(connection: &mut Connection, stage: Stage, callback: &'static str, status: Status) {
    let takes_verdict = connection.session.takes_verdict();
    let verdict = match status {
        _ if !takes_verdict => {
            if status != status::NOREPLY {
                complain(connection, callback, status, "but negotiated not to answer: nothing is said");
            }
            Verdict::Continue
        }
        status::CONTINUE => Verdict::Continue,
        status::REJECT => Verdict::Reject,
        status::DISCARD => Verdict::Discard,
        status::ACCEPT => Verdict::Accept,
        status::TEMPFAIL => Verdict::Tempfail,
        status::SKIP => Verdict::Skip,
        status::NOREPLY => {
            complain(
                connection,
                callback,
                status,
                "but did not negotiate to say nothing: answered with continue",
            );
            Verdict::Continue
        }
        _ => {
            complain(connection, callback, status, "which is no answer: answered with tempfail");
            Verdict::Tempfail
        }
    };
    let text = connection.reply.take_if(|reply| takes_verdict && reply.goes_with(status));
    let said = match text {
        Some(reply) => connection.session.respond_text(&verdict, reply.text()),
        None => connection.session.respond(verdict),
    };
    if let Err(misuse) = said {
        log::error(format_args!("{callback} at {stage}: {misuse}"));
    }
}

/// Logs, once for a connection, that a callback does what it should not.
fn complain(connection: &mut Connection, callback: &str, status: Status, what: &str) {
    if !std::mem::replace(&mut connection.complained, true) {
        log::warning(format_args!("{callback} returned {status}, {what}"));
    }
}

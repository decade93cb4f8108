//! What a filter's verdict means to the chain, stage by stage.

use tamis_proto::{Misuse, Stage, Verdict};

/// What a verdict of one filter comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// It goes on.
    Next,
    /// MTAs misbehave on this verdict at this stage: it counts as continue, with a warning.
    Ignored,
    /// The filter wants no more of the body.
    SkipsBody,
    /// The filter is out, until the end of what it accepted.
    Leaves(Extent),
    /// This is the end, for all filters.
    Stops(Extent),
}

/// How much a verdict is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Extent {
    /// A command that the MTA does not know.
    Command,
    Recipient,
    Message,
    Connection,
}

/// A verdict that ends something for all filters, and whose it is.
#[derive(Clone, Debug)]
pub(super) struct Decision {
    pub(super) verdict: Verdict,
    pub(super) extent: Extent,
    pub(super) by: usize,
}

/// The filtering of a connection is over.
#[derive(Clone, Debug)]
pub(super) struct Ended(pub(super) Verdict);

/// Says what a verdict means at a stage.
///
/// # Errors
///
/// When the stage does not know it.
pub(super) fn effect(verdict: &Verdict, stage: Stage) -> Result<Effect, Misuse> {
    let extent = match (verdict, stage) {
        (Verdict::Reply(reply), _) if reply.code() == 421 => Extent::Connection,
        (_, Stage::Connect | Stage::Helo) => Extent::Connection,
        (Verdict::Reject | Verdict::Tempfail | Verdict::Reply(_), Stage::Rcpt) => Extent::Recipient,
        (Verdict::Reject | Verdict::Tempfail | Verdict::Reply(_), Stage::Unknown) => Extent::Command,
        _ => Extent::Message,
    };
    Ok(match (verdict, stage) {
        (Verdict::Continue, _) => Effect::Next,
        (Verdict::Skip, Stage::Body) => Effect::SkipsBody,
        (Verdict::Skip, _) => return Err(Misuse::NotAtThisStage { verdict: verdict.name(), stage }),
        (Verdict::Discard, Stage::Connect | Stage::Helo | Stage::Unknown) => Effect::Ignored,
        (Verdict::Accept, _) => Effect::Leaves(extent),
        _ => Effect::Stops(extent),
    })
}

impl Decision {
    /// The one of two that counts: the severer, else that of the filter earlier in the chain.
    pub(super) fn or(self, other: Self) -> Self {
        let rank = |decision: &Self| (severity(&decision.verdict), std::cmp::Reverse(decision.by));
        if rank(&other) > rank(&self) { other } else { self }
    }
}

/// How severe it is: refusals for good, then 421, then refusals for now, then discard.
fn severity(verdict: &Verdict) -> u8 {
    match verdict {
        Verdict::Reject => 4,
        Verdict::Reply(reply) if reply.code() >= 500 => 4,
        Verdict::Reply(reply) if reply.code() == 421 => 3,
        Verdict::Tempfail | Verdict::Reply(_) => 2,
        Verdict::Discard => 1,
        Verdict::Continue | Verdict::Accept | Verdict::Skip => 0,
    }
}

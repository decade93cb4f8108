//! What a filter answers to an MTA's offer (spec §4.5).

use std::ffi::c_ulong;

use tamis_proto::{Actions, BitAnswer, Offer, Stage, Steps};

use crate::connection::Lists;
use crate::descr::{Ctx, Filter, Status, low_bits, status, widened};
use crate::metrics;

/// What the negotiation callback left behind.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    status: Status,
    actions: c_ulong,
    steps: c_ulong,
}

/// Calls the negotiation callback, if there is one.
pub(crate) fn ask(filter: &Filter, ctx: Ctx, offer: Offer) -> Option<Outcome> {
    let callback = filter.negotiate?;
    let steps = offer.steps & !Steps::INTERNAL | Steps::NO_REPLIES;
    let mut wanted = [widened(offer.actions.bits()), widened(preset(filter, offer).bits()), 0, 0];
    let [actions, preset, third, fourth] = &mut wanted;
    let status = metrics::measured("xxfi_negotiate", || {
        // SAFETY: the program registered it as a callback of this type, and the pointers are good until it returns.
        Some(unsafe {
            callback(
                ctx,
                widened(offer.actions.bits()),
                widened(steps.bits()),
                0,
                0,
                &raw mut *actions,
                &raw mut *preset,
                &raw mut *third,
                &raw mut *fourth,
            )
        })
    })?;
    Some(Outcome { status, actions: wanted[0], steps: wanted[1] })
}

/// Makes an answer of it; `None` if the filter wants no connection.
pub(crate) fn answer(
    filter: &Filter,
    offer: Offer,
    outcome: Option<Outcome>,
    lists: Option<&Lists>,
) -> Option<BitAnswer> {
    let (actions, steps) = match outcome {
        None => (Actions::from_bits_retain(low_bits(filter.flags)), missing(filter)),
        Some(Outcome { status: status::ALL_OPTS, .. }) => (offer.actions, preset(filter, offer)),
        Some(Outcome { status: status::CONTINUE, actions, steps }) => {
            (Actions::from_bits_retain(low_bits(actions)), Steps::from_bits_retain(low_bits(steps)))
        }
        Some(_) => return None,
    };
    let unseen = Stage::ALL.into_iter().filter(|stage| !filter.has(*stage));
    let answer = BitAnswer::new(actions, steps).unseen(unseen);
    Some(
        lists
            .into_iter()
            .flat_map(Lists::iter)
            .fold(answer, |answer, (stage, names)| answer.macros(stage, names)),
    )
}

/// The steps that a filter does without for want of a callback.
fn missing(filter: &Filter) -> Steps {
    let without = Stage::ALL.into_iter().filter(|stage| !filter.has(*stage));
    without.fold(Steps::empty(), |steps, stage| steps | Steps::no_send(stage))
}

fn preset(filter: &Filter, offer: Offer) -> Steps {
    missing(filter) | offer.steps & Steps::SKIP
}

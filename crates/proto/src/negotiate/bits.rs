//! A filter's answer to an offer in option bits, for bindings to filters that think in them.

use super::{Actions, MacroStage, Offer, Refusal, See, Steps, VERSION};
use crate::codec::Put;
use crate::stage::Stage;

/// What a filter answers to an offer, bit for bit, for bindings to filters written for libmilter.
///
/// Where [`Needs`](super::Needs) asks and takes what it gets, this insists: a bit that is not offered is a refusal
/// (spec §4.5), but for those that libmilter drops or makes up for.
///
/// ```
/// use tamis_proto::{Actions, BitAnswer, MacroStage, Stage, Steps};
///
/// let answer = BitAnswer::new(Actions::ADD_HEADERS, Steps::NO_HELO | Steps::NO_REPLY_MAIL)
///     .unseen([Stage::Unknown])
///     .macros(MacroStage::Mail, b"i {auth_authen}");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BitAnswer {
    actions: Actions,
    steps: Steps,
    see: [See; Stage::COUNT],
    lists: [Option<Vec<u8>>; 7],
}

impl BitAnswer {
    /// These bits, from a filter that sees every stage that comes. Stages with a no-reply bit take no verdict,
    /// whether or not the MTA offers the bit.
    #[doc(alias = "xxfi_flags")]
    pub fn new(actions: Actions, steps: Steps) -> Self {
        let see = Stage::ALL.map(|stage| if steps.answers(stage) { See::Answer } else { See::Watch });
        Self { actions, steps, see, lists: [const { None }; 7] }
    }

    /// Stages that the filter has nothing for: they are answered with continue where an answer is due.
    #[must_use]
    pub fn unseen(mut self, stages: impl IntoIterator<Item = Stage>) -> Self {
        for stage in stages {
            self.see[stage.index()] = See::Nothing;
        }
        self
    }

    /// The macros wanted at a stage, as on the wire: separated by spaces.
    #[must_use]
    #[doc(alias = "smfi_setsymlist")]
    pub fn macros(mut self, stage: MacroStage, names: &[u8]) -> Self {
        self.lists[stage as usize] = Some(names.to_vec());
        self
    }

    pub(crate) const fn see(&self) -> [See; Stage::COUNT] {
        self.see
    }

    /// The answer as on the wire, to an offer that was normalized.
    pub(crate) fn to(&self, offer: Offer) -> Result<super::Answer<Vec<u8>>, Refusal> {
        let missing = self.actions & !offer.actions;
        if !missing.is_empty() {
            return Err(Refusal::MissingActions { missing, offered: offer.actions });
        }
        let offered = offer.steps & !Steps::INTERNAL;
        // What an MTA does not know it does not send, and what it waits for is said on the filter's behalf.
        let needless = (Steps::NO_DATA | Steps::NO_UNKNOWN | Steps::NO_REPLIES) & !offered;
        let steps = self.steps & !needless;
        let missing = steps & !offered;
        if !missing.is_empty() {
            return Err(Refusal::MissingSteps { missing, offered });
        }
        let mut macros = Vec::new();
        if offer.actions.contains(Actions::MACRO_LISTS) {
            for stage in MacroStage::ALL {
                if let Some(names) = &self.lists[stage as usize] {
                    macros.u32(stage as u32);
                    macros.cstr(names);
                }
            }
        }
        Ok(super::Answer { version: offer.version.min(VERSION), actions: self.actions, steps, macros })
    }
}

//! From an offer and needs to an agreement.

use super::{Actions, Answer, DataSize, MIN_VERSION, MacroLists, Needs, Offer, See, Steps, VERSION};
use crate::edit::EditRules;
use crate::rules::Rules;
use crate::stage::Stage;

/// What both sides agreed on for the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreement {
    /// The protocol version spoken.
    pub version: u32,
    /// Actions the filter may use.
    pub actions: Actions,
    /// Steps as they stand on the wire.
    pub steps: Steps,
    /// Largest payload either side sends.
    pub data_size: DataSize,
    /// Macro lists that the filter sent; empty where the MTA takes none.
    pub macros: MacroLists,
}

impl Agreement {
    /// Whether header values carry the space after the colon.
    pub fn leading_space(&self) -> bool {
        self.steps.contains(Steps::LEADING_SPACE)
    }

    /// What was agreed on about modifications.
    pub fn edit_rules(&self) -> EditRules {
        EditRules::new(self.actions, self.data_size)
    }
}

/// Why a filter cannot work with an MTA.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The MTA does not offer actions that the filter declared required.
    MissingActions {
        /// What is missing.
        missing: Actions,
        /// What is offered.
        offered: Actions,
    },
    /// The MTA does not offer steps that the filter insists on.
    MissingSteps {
        /// What is missing.
        missing: Steps,
        /// What is offered.
        offered: Steps,
    },
    /// The macro lists cannot be sent.
    BadMacros(String),
    /// There is no offer to answer, or it was answered already.
    NotNow,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::MissingActions { missing, offered } => write!(
                f,
                "the filter needs {missing}, the MTA offers {offered}; raise the MTA's milter protocol version \
                 (Postfix: milter_protocol = 6), and mind that Sendmail without an F= flag passes mail unfiltered"
            ),
            Self::MissingSteps { missing, offered } => {
                write!(f, "the filter insists on {missing}, the MTA offers {offered}")
            }
            Self::BadMacros(why) => write!(f, "bad macro list: {why}"),
            Self::NotNow => f.write_str("no negotiation is waiting for an answer"),
        }
    }
}

impl std::error::Error for Refusal {}

/// Reads an offer of nothing as one of version 1, as libmilter does.
pub(crate) fn normalize(offer: Offer) -> Offer {
    Offer {
        actions: if offer.actions.is_empty() { Actions::VERSION_1 } else { offer.actions },
        steps: if offer.steps.is_empty() { Steps::VERSION_1 } else { offer.steps },
        ..offer
    }
}

/// Computes the answer to an offer.
pub(crate) fn agree(
    offer: Offer,
    needs: &Needs,
    rules: Rules,
) -> Result<(Agreement, Answer<Vec<u8>>), Refusal> {
    let offer = normalize(offer);
    debug_assert!(offer.version >= MIN_VERSION, "the session refuses older versions");
    needs.macros.check().map_err(Refusal::BadMacros)?;
    let missing = needs.required & !offer.actions;
    if !missing.is_empty() {
        return Err(Refusal::MissingActions { missing, offered: offer.actions });
    }
    let mut actions = needs.actions() & offer.actions;
    let sends_lists = !needs.macros.is_empty() && offer.actions.contains(Actions::MACRO_LISTS);
    if sends_lists {
        actions |= Actions::MACRO_LISTS;
    }
    let macros = if sends_lists { needs.macros.clone() } else { MacroLists::default() };
    let data_size = data_size(offer.steps, needs.data_size);
    let steps = (wanted_steps(needs) & offer.steps) | size_bit(data_size);
    let version = offer.version.min(VERSION);
    let answer = Answer { version, actions, steps, macros: macros.encode(rules.pair_end_lists) };
    Ok((Agreement { version, actions, steps, data_size, macros }, answer))
}

fn wanted_steps(needs: &Needs) -> Steps {
    let mut steps = Steps::empty();
    for stage in Stage::ALL {
        match needs.sees(stage) {
            See::Nothing => steps |= Steps::no_send(stage),
            See::Watch => steps |= Steps::no_reply(stage),
            See::Answer => {}
        }
    }
    // Skipping is an answer to a piece of the body.
    steps.set(Steps::SKIP, needs.skip && needs.sees(Stage::Body) == See::Answer);
    steps.set(Steps::REJECTED_RECIPIENTS, needs.rejected_recipients);
    steps.set(Steps::LEADING_SPACE, needs.leading_space);
    steps
}

/// The largest size that is offered and not above what is wanted.
fn data_size(offered: Steps, wanted: DataSize) -> DataSize {
    [DataSize::M1, DataSize::K256]
        .into_iter()
        .find(|size| *size <= wanted && offered.contains(size_bit(*size)))
        .unwrap_or_default()
}

pub(crate) fn size_bit(size: DataSize) -> Steps {
    match size {
        DataSize::K64 => Steps::empty(),
        DataSize::K256 => Steps::PAYLOAD_256K,
        DataSize::M1 => Steps::PAYLOAD_1M,
    }
}

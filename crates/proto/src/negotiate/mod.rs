//! Negotiation: what the MTA offers, what a filter needs, what they agree on (spec §4).

mod agree;
mod bits;
mod flags;
mod lists;
mod needs;

pub use agree::{Agreement, Refusal};
pub(crate) use agree::{agree, normalize, size_bit};
pub use bits::BitAnswer;
pub use flags::{Actions, Steps};
pub use lists::{MacroLists, MacroStage};
pub use needs::{DataSize, IfMissing, Needs, See};

use crate::codec::{Put, Reader};
use crate::error::Fault;

/// Highest protocol version, that of Sendmail 8.14 and Postfix 2.6 and all later ones.
#[doc(alias = "SMFI_PROT_VERSION")]
#[doc(alias = "smfi_version")]
#[doc(alias = "xxfi_version")]
pub const VERSION: u32 = 6;

/// Lowest protocol version that is served.
pub const MIN_VERSION: u32 = 2;

/// The three numbers that both sides exchange, as an MTA offers them (`O`).
#[doc(alias = "SMFIC_OPTNEG")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Highest protocol version the MTA speaks.
    pub version: u32,
    /// Modifications it can perform.
    pub actions: Actions,
    /// Steps it understands.
    pub steps: Steps,
}

impl Offer {
    /// What Sendmail since 8.14 and Postfix since 2.6 offer.
    pub const CURRENT: Self = Self { version: VERSION, actions: Actions::CURRENT, steps: Steps::CURRENT };

    /// What Postfix offers when it is configured for `version`.
    pub const fn of_version(version: u32) -> Self {
        let steps = match version {
            0..=2 => Steps::VERSION_2,
            3 => Steps::VERSION_3,
            4 | 5 => Steps::VERSION_4,
            _ => Steps::CURRENT,
        };
        Self { version, actions: Actions::CURRENT, steps }
    }

    /// Reads the twelve bytes; more of them are ignored.
    pub(crate) fn decode(payload: &[u8]) -> Result<Self, Fault> {
        Self::read(&mut Reader(payload))
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Fault> {
        Ok(Self {
            version: reader.u32()?,
            actions: Actions::from_bits_retain(reader.u32()?),
            steps: Steps::from_bits_retain(reader.u32()?),
        })
    }

    pub(crate) fn encode(self, out: &mut Vec<u8>) {
        out.u32(self.version);
        out.u32(self.actions.bits());
        out.u32(self.steps.bits());
    }
}

/// A filter's answer to an [`Offer`]: three numbers and the macros it wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer<B> {
    /// The version both will speak.
    pub version: u32,
    /// Modifications the filter may ask for.
    pub actions: Actions,
    /// Steps the filter wants.
    pub steps: Steps,
    /// Macro lists as on the wire: a stage number and a string, repeated (spec §4.8).
    pub macros: B,
}

impl<'b> Answer<&'b [u8]> {
    pub(crate) fn decode(payload: &'b [u8]) -> Result<Self, Fault> {
        let mut reader = Reader(payload);
        let Offer { version, actions, steps } = Offer::read(&mut reader)?;
        Ok(Self { version, actions, steps, macros: reader.0 })
    }
}

impl<B: AsRef<[u8]>> Answer<B> {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        Offer { version: self.version, actions: self.actions, steps: self.steps }.encode(out);
        out.extend_from_slice(self.macros.as_ref());
    }
}

//! Sessions by chance: the same seed gives the same session.

mod calls;
mod legal;
mod mutate;
mod wild;
mod words;

use crate::dice::Dice;
use crate::script::Callback;
use crate::session::Setup;
use crate::stock::{bits, missing_bits};

pub use legal::legal;
pub use mutate::mutated;
pub use wild::wild;

/// What all sessions of one process have in common.
///
/// The stock library keeps what was disabled in a table of the process that only grows (§6.3): sessions that switch
/// off other steps need another process.
#[derive(Clone, Debug)]
pub struct Batch {
    /// How the probe is started.
    pub setup: Setup,
    /// The version that the MTA offers.
    pub version: u32,
    /// How the steps are negotiated.
    pub(crate) negotiation: Negotiation,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Negotiation {
    /// There is no negotiate callback.
    Default,
    /// It returns `SMFIS_ALL_OPTS`.
    Everything,
    /// It returns `SMFIS_CONTINUE` and switches these steps off.
    Steps(u32),
}

/// Chooses what the sessions of a process have in common.
pub fn batch(dice: &mut Dice) -> Batch {
    let version = if dice.one_in(4) { dice.pick(&[2, 3, 4, 5, 7]) } else { 6 };
    let mut setup = Setup::default();
    if dice.one_in(3) {
        setup.without = Callback::ALL
            .into_iter()
            .filter(|callback| dice.one_in(5) && *callback != Callback::Close)
            .collect();
    }
    if dice.one_in(8) {
        setup.without.push(Callback::Close);
    }
    let registered = if dice.one_in(4) { dice.pick(&[2, 3, 4]) } else { 6 };
    if registered != 6 {
        setup = setup.option(format!("version={registered}"));
    }
    setup.without.retain(|callback| *callback != Callback::Negotiate);
    // What the version of the filter does not have, it has not registered.
    let newer = [(2, Callback::Unknown), (3, Callback::Data), (4, Callback::Negotiate)];
    for (newest, callback) in newer {
        if registered <= newest && !setup.without.contains(&callback) {
            setup.without.push(callback);
        }
    }
    let negotiation = if setup.without.contains(&Callback::Negotiate) {
        Negotiation::Default
    } else {
        match dice.below(4) {
            0 => {
                setup.without.push(Callback::Negotiate);
                Negotiation::Default
            }
            1 => Negotiation::Everything,
            2 => Negotiation::Steps(missing_bits(&setup)),
            _ => Negotiation::Steps(dice.some_of(bits::NO_ANYTHING) & dice.some_of(bits::NO_ANYTHING)),
        }
    };
    if negotiation == Negotiation::Default && dice.one_in(2) {
        let flags = dice.some_of(if version < 6 { 0x3f } else { 0x1ff });
        setup = setup.option(format!("flags={flags:#x}"));
    } else if negotiation == Negotiation::Default && version < 6 {
        setup = setup.option("flags=0x3f");
    }
    Batch { setup, version, negotiation }
}

impl Batch {
    /// The steps that a usual MTA of this version offers (§4.1).
    pub(crate) fn offered(&self) -> u32 {
        match self.version {
            2 => 0x7f,
            3 => 0x17f,
            4 | 5 => 0x37f,
            _ => bits::ALL,
        }
    }

    /// The actions that it offers.
    pub(crate) fn actions(&self) -> u32 {
        if self.version < 6 { 0x3f } else { 0x1ff }
    }

    /// The steps that every session of this process wants to be switched off.
    pub(crate) fn wanted_off(&self) -> u32 {
        match self.negotiation {
            Negotiation::Default | Negotiation::Everything => missing_bits(&self.setup),
            Negotiation::Steps(off) => off,
        }
    }

    /// Those that are switched off.
    pub(crate) fn off(&self) -> u32 {
        // These two are left out where they are not offered; others would be the end of the session (§4.5).
        let optional = bits::NO_DATA | bits::NO_UNKNOWN;
        self.wanted_off() & (self.offered() | !optional)
    }
}

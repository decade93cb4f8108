//! Which options come of which offer (specification §4).

use tamis_libmilter_tests::script::{Callback, Script, status};
use tamis_libmilter_tests::session::{Session, Setup};

use crate::same;

fn offering(script: Script, version: u32, actions: u32, steps: u32) -> Session {
    let offer = [version, actions, steps].map(u32::to_be_bytes).concat();
    Session::new(script).sending([(b'O', &offer[..])]).letters("M")
}

const VERSIONS: [u32; 12] = [0, 1, 2, 3, 4, 5, 6, 7, 0x0100_0001, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff];

const OFFERS: [(u32, u32); 16] = [
    (0x1ff, 0x1f_ffff),
    (0x3f, 0x7f),
    (0x3f, 0x17f),
    (0x1ff, 0x37f),
    (0xff, 0x42),
    (0, 0),
    (0, 0x1f_ffff),
    (0x1ff, 0),
    (1, 1),
    (0xffff_ffff, 0xffff_ffff),
    (0x8000_0000, 0x8000_0000),
    (0x1ff, 0x101f_ffff),
    (0x1ff, 0x301f_ffff),
    (0x1ff, 0x701f_ffff),
    (0x3ff, 0x3f_ffff),
    (0x1ff, 0x80),
];

/// A process for each: what a session switched off stays so in the stock library.
fn alone(setup: &Setup, sessions: impl IntoIterator<Item = Session>) {
    sessions.into_iter().for_each(|session| same(setup, [session]));
}

#[test]
fn every_version_with_every_offer() {
    for script in [Script::default(), Script::default().with_everything()] {
        let sessions = VERSIONS.into_iter().flat_map(|version| {
            let script = &script;
            OFFERS.map(move |(actions, steps)| offering(script.clone(), version, actions, steps))
        });
        same(&Setup::default(), sessions);
    }
}

#[test]
fn every_offer_without_a_negotiate_callback() {
    for flags in [0, 1, 0x3f, 0x1ff, 0x200, 0xffff_ffff_u32] {
        let setup = Setup::without([Callback::Negotiate]).option(format!("flags={flags:#x}"));
        let sessions = VERSIONS.into_iter().flat_map(|version| {
            OFFERS.map(move |(actions, steps)| offering(Script::default(), version, actions, steps))
        });
        same(&setup, sessions);
    }
}

#[test]
fn every_return_value_of_the_negotiate_callback() {
    let statuses = [-3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 20, 21, 22];
    let sessions = statuses.map(|status| {
        let script = Script::default().calls(Callback::Negotiate, 1, "out 0 0x1").returns(
            Callback::Negotiate,
            1,
            status,
        );
        offering(script, 6, 0x1ff, 0x1f_ffff)
    });
    same(&Setup::default(), sessions);
}

#[test]
fn every_step_that_is_wanted_and_offered_or_not() {
    let sessions = (0..32).flat_map(|bit| {
        let wanted = 1_u32 << bit;
        let script = Script::default().calls(Callback::Negotiate, 1, format!("out 1 {wanted:#x}"));
        [0x1f_ffff, 0x1f_ffff & !wanted, wanted, 0x8000_0000 | wanted]
            .map(|offered| offering(script.clone(), 6, 0x1ff, offered))
    });
    alone(&Setup::default(), sessions);
}

#[test]
fn every_action_that_is_wanted_and_offered_or_not() {
    let sessions = (0..32).flat_map(|bit| {
        let wanted = 1_u32 << bit;
        let script = Script::default().calls(Callback::Negotiate, 1, format!("out 0 {wanted:#x}"));
        [0x1ff, 0x1ff & !wanted, wanted, wanted | 1]
            .map(|offered| offering(script.clone(), 6, offered, 0x1f_ffff))
    });
    same(&Setup::default(), sessions);
}

#[test]
fn only_the_low_bits_and_the_first_two_outputs_count() {
    let script = Script::default()
        .calls(Callback::Negotiate, 1, "out 0 0x100000001")
        .calls(Callback::Negotiate, 1, "out 1 0x700000400")
        .calls(Callback::Negotiate, 1, "out 2 0xffff")
        .calls(Callback::Negotiate, 1, "out 3 0xffff");
    same(&Setup::default(), [offering(script, 6, 0x1ff, 0x1f_ffff)]);
}

#[test]
fn a_missing_callback_switches_its_step_off() {
    for missing in Callback::ALL {
        for negotiates in [true, false] {
            let mut without = vec![missing];
            if !negotiates && missing != Callback::Negotiate {
                without.push(Callback::Negotiate);
            }
            let setup = Setup::without(without);
            for status in [status::CONTINUE, status::ALL_OPTS] {
                let script = Script::default().returns(Callback::Negotiate, 1, status);
                for (version, steps) in [(6, 0x1f_ffff), (2, 0x7f), (3, 0x17f), (4, 0x37f), (6, 0x7f)] {
                    let actions = if version == 6 || negotiates { 0x1ff } else { 0x3f };
                    let offer = [version, actions, steps].map(u32::to_be_bytes).concat();
                    let session = Session::new(script.clone()).sending([(b'O', &offer[..])]);
                    // What is missing is answered all the same.
                    alone(&setup, [session.letters("CHMRTLNBE").letters("Q")]);
                }
            }
        }
    }
}

#[test]
fn older_filters_have_no_newer_callbacks() {
    for version in [2, 3, 4, 0x0100_0000, 0x0100_0001, 0x0100_0002, 0x0100_007f] {
        let setup = Setup::default().option(format!("version={version:#x}")).option("flags=0x3f");
        for (offered, steps) in [(6, 0x1f_ffff), (2, 0x7f), (3, 0x17f), (4, 0x37f)] {
            let session = offering(Script::default(), offered, 0x3f, steps).letters("RTLNBE");
            alone(&setup, [session]);
        }
    }
}

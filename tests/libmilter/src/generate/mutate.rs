//! Sessions whose bytes are damaged.

use super::{Batch, legal};
use crate::dice::Dice;
use crate::session::{Manner, Session};

/// A legal session with bytes flipped, cut out, put in, or a length changed.
pub fn mutated(dice: &mut Dice, batch: &Batch) -> Session {
    let mut session = legal(dice, batch);
    session.manner = Manner::Pour;
    let length = session.turns.len();
    for _ in 0..=dice.below(2) {
        let turn = dice.below(length);
        damage(dice, &mut session.turns[turn].bytes);
    }
    if dice.one_in(6) {
        session.turns.truncate(1 + dice.below(length));
        let last = &mut session.turns.last_mut().expect("the first is always kept").bytes;
        last.truncate(dice.below(last.len()));
    }
    session
}

fn damage(dice: &mut Dice, bytes: &mut Vec<u8>) {
    if bytes.is_empty() {
        return;
    }
    let at = dice.below(bytes.len().min(80));
    match dice.below(7) {
        0 => bytes[at] ^= 1 << dice.below(8),
        1 => bytes[at] = dice.pick(&[0, 1, 0x20, 0x7f, 0x80, 0xff]),
        2 => drop(bytes.remove(at)),
        3 => bytes.insert(at, dice.pick(&[0, 0, b'A', b'Q', 0xff])),
        4 => bytes[3] = bytes[3].wrapping_add(dice.pick(&[1, 2, 0xff, 0xfe])),
        5 => {
            let length =
                dice.pick(&[0_u32, 1, 65_536, 65_537, 0x7fff_ffff, 0x8000_0000, 0x8000_0001, 0xffff_ffff]);
            bytes[..4].copy_from_slice(&length.to_be_bytes());
        }
        // The last NUL goes, and the length fits.
        _ => {
            if bytes.len() > 5 {
                bytes.pop();
                bytes[3] = bytes[3].wrapping_sub(1);
            }
        }
    }
}

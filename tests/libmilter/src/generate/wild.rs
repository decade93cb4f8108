//! Sessions with commands in any order and a filter that does what it must not.

use super::{Batch, calls, legal, words};
use crate::dice::Dice;
use crate::script::{Callback, status};
use crate::session::{Manner, Session, Turn};

const COMMANDS: &[u8] = b"OCHMRTLNBEAUQKCHMRLBEHMRRTLNBEAUAU";

/// A session that nobody may send: a legal one with commands thrown in, dropped and moved, and with any status and
/// call anywhere.
pub fn wild(dice: &mut Dice, batch: &Batch) -> Session {
    let mut session = legal(dice, batch);
    session.manner = Manner::Pour;
    for _ in 0..=dice.below(3) {
        let at = dice.below(session.turns.len() + 1);
        match dice.below(4) {
            0 if at < session.turns.len() => drop(session.turns.remove(at)),
            1 if at < session.turns.len() => {
                let other = dice.below(session.turns.len());
                session.turns.swap(at, other);
            }
            _ => {
                let code = dice.pick(COMMANDS);
                let bytes = words::command(dice, code);
                session.turns.insert(at, Turn { bytes, answered: false });
            }
        }
    }
    if dice.one_in(2) {
        let callback = dice.pick(&Callback::ANSWERED);
        let any = [
            status::CONTINUE,
            status::REJECT,
            status::DISCARD,
            status::ACCEPT,
            status::TEMPFAIL,
            status::NOREPLY,
            status::SKIP,
            status::ALL_OPTS,
            5,
            -1,
        ];
        session.script = session.script.returns(callback, 1, dice.pick(&any));
    }
    if dice.one_in(3) {
        let callback = dice.pick(&Callback::ALL);
        let call = if dice.one_in(2) { calls::edit(dice) } else { calls::anywhere(dice) };
        session.script = session.script.calls(callback, 1, call);
    }
    session
}

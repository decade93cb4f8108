//! What the stock library is given in place of that which it does not survive, or does wrong in a call.
//!
//! The difference is then exactly the one between the session and its equivalent; everything else must be the same.

use tamis_proto::Frame;

use crate::probe::Transcript;
use crate::rules::Rule;
use crate::script::{Action, Callback, Line};
use crate::session::{Session, Turn, frame};
use crate::walk::{Item, walk};

/// The session for the stock library, and the rule that makes it another one.
pub fn for_stock(session: &Session) -> (Session, Option<Rule>) {
    let mut other = session.clone();
    let mut rule = None;
    for line in &mut other.script.0 {
        if let Some((call, applied)) = call_for_stock(line) {
            line.action = Action::Do(call);
            rule = Some(applied);
        }
    }
    if let Some(turns) = even_macros(session) {
        other.turns = turns;
        rule = Some(Rule::OddMacros);
    }
    (other, rule)
}

fn call_for_stock(line: &Line) -> Option<(String, Rule)> {
    let Action::Do(call) = &line.action else { return None };
    let words: Vec<&str> = call.split(' ').collect();
    match words[..] {
        // Without a context it fails, as it must.
        ["progress"] if line.callback != Callback::Eom => {
            Some(("null-progress".to_owned(), Rule::ProgressElsewhere))
        }
        // A failed assertion is the end of the process; with no such stage it only fails.
        ["null-setsymlist", ..] => Some(("setsymlist -1 ~".to_owned(), Rule::NoContext)),
        ["setmlreply", code, status, "~", ..] | ["setmlreply", code, status] => {
            let default = if code.starts_with("\"4") { "\"4.0.0\"" } else { "\"5.0.0\"" };
            let status = if status == "~" { default } else { status };
            Some((format!("setreply {code} {status} ~"), Rule::NoLines))
        }
        _ => None,
    }
}

/// Takes the macro lists out of what the stock library said to an MTA that did not offer to read them.
pub fn without_lists(session: &Session, stock: &mut Transcript) -> Option<Rule> {
    let items = walk(session, 0, 0);
    let offer = items.iter().find(|item| item.code == b'O')?;
    let offered = u32::from_be_bytes(offer.payload.get(4..8)?.try_into().expect("four bytes"));
    let (used, Frame { code: b'O', payload }) = Frame::parse(&stock.replies, usize::MAX >> 1).ok()?? else {
        return None;
    };
    if offered & SET_SYMLIST != 0 || payload.len() <= OPTIONS {
        return None;
    }
    let plain = frame(b'O', &payload[..OPTIONS]);
    stock.replies.splice(..used, plain);
    Some(Rule::ListsNotOffered)
}

/// `SMFIF_SETSYMLIST`.
const SET_SYMLIST: u32 = 0x100;
/// Bytes of an answer without lists.
const OPTIONS: usize = 12;

/// The turns with an even number of strings in each list of macros, if one is odd: it loses the last one.
fn even_macros(session: &Session) -> Option<Vec<Turn>> {
    let bytes = session.bytes();
    let odd = |item: &Item| {
        let strings = item.payload.iter().skip(1).filter(|byte| **byte == 0).count();
        item.code == b'D' && strings % 2 == 1
    };
    // Which commands there are does not depend on what was agreed on.
    let items = walk(session, 0, 0);
    items.iter().find(|item| odd(item))?;
    let mut even = Vec::new();
    let mut end = 0;
    for item in items {
        end = item.end;
        if odd(&item) {
            even.extend(frame(b'D', &without_last(&item.payload)));
        } else {
            even.extend(&bytes[item.start..item.end]);
        }
    }
    even.extend(&bytes[end..]);
    Some(vec![Turn { bytes: even, answered: false }])
}

/// The list of a macro command up to its last pair.
fn without_last(payload: &[u8]) -> Vec<u8> {
    let nuls: Vec<usize> = (1..payload.len()).filter(|at| payload[*at] == 0).collect();
    match nuls.len() {
        // Nothing is left of it, so it is none.
        1 => payload[..1].to_vec(),
        count => payload[..=nuls[count - 2]].to_vec(),
    }
}

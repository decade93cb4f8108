//! A session's bytes, cut into the commands that Sendmail's libmilter sees in them.

use tamis_proto::Frame;

use crate::script::Callback;
use crate::session::Session;
use crate::stock::{State, Taken, Tracker, callback, no_reply_bit};

/// One command, or what stands in its place.
#[derive(Clone, Debug)]
pub struct Item {
    /// Where its frame begins.
    pub start: usize,
    /// Where it ends, for the stock library.
    pub end: usize,
    /// What its first four bytes say.
    pub length: u32,
    /// The code letter.
    pub code: u8,
    /// The rest; nothing, if the length is 0 or negative.
    pub payload: Vec<u8>,
    /// The state before it.
    pub before: State,
    /// The same without the unknown commands and ignored aborts that came last.
    pub behind: State,
    /// The status that ended the message before, while its commands may still come.
    pub settled: Option<i32>,
    /// What its callback returns, should it be called.
    pub would: i32,
    /// What the body callback returns, should it be called.
    pub would_piece: i32,
    /// Whatever its callback returns is continue.
    pub watched: bool,
    /// It is executed only because states are passed over for which nothing was agreed on.
    pub passes_over: bool,
    /// It goes on with the message only because of that.
    pub goes_on_so: bool,
    /// What the stock library does with it.
    pub taken: Taken,
    /// The state after it.
    pub after: State,
}

/// Walks over the commands of a session, up to its end or to the first frame that is not whole.
///
/// `wanted` and `agreed` are the steps that the filter asked for and that its reply has.
pub fn walk(session: &Session, wanted: u32, agreed: u32) -> Vec<Item> {
    let bytes = session.bytes();
    let mut tracker = Tracker::new(&session.setup, wanted, agreed);
    let mut items = Vec::new();
    let mut start = 0;
    while let Some((length, code, payload, end)) = next(&bytes, start) {
        let (before, behind, settled) = (tracker.state(), tracker.behind(), tracker.settled());
        let next = |callback| session.script.status(callback, tracker.count(callback) + 1);
        let would = State::of(code).map_or(0, |state| next(callback(state)));
        let would_piece = next(Callback::Body);
        let watched = State::of(code).is_some_and(|state| wanted & no_reply_bit(state) != 0);
        let passes_over = State::of(code).is_some_and(|next| {
            let reaches = |steps| before.reaches(next, steps) || State::Helo.reaches(next, steps);
            reaches(tracker.disabled()) && !reaches(agreed)
        });
        let goes_on_so = State::of(code).is_some_and(|next| {
            before.in_transaction()
                && before.reaches(next, tracker.disabled())
                && !before.reaches(next, agreed)
        });
        let taken = tracker.take(Frame { code, payload }, &session.script);
        items.push(Item {
            start,
            end,
            length,
            code,
            payload: payload.to_vec(),
            before,
            behind,
            settled,
            would,
            would_piece,
            watched,
            passes_over,
            goes_on_so,
            taken,
            after: tracker.state(),
        });
        if taken == Taken::Ends {
            break;
        }
        start = end;
    }
    items
}

/// Five bytes are read at once, and the length is a signed number (§1.3).
fn next(bytes: &[u8], start: usize) -> Option<(u32, u8, &[u8], usize)> {
    let [a, b, c, d, code] = *bytes.get(start..start + 5)? else { return None };
    let length = u32::from_be_bytes([a, b, c, d]);
    let payload = match length {
        0 | 0x8000_0001.. => 0,
        length => usize::try_from(length - 1).ok()?,
    };
    if payload > 65_535 {
        return None;
    }
    let end = start + 5 + payload;
    Some((length, code, bytes.get(start + 5..end)?, end))
}

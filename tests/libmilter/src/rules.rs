//! The differences that are accepted: each with a name, a section of the specification, and what exactly happens.
//!
//! A difference is accepted only like this: there is a first command at which one of the rules applies; without that
//! command and what follows, both libraries do the same; and with it, ours does exactly what the rule says.

use tamis_proto::Frame;

use crate::judge::{Both, Pair};
use crate::library::Library;
use crate::probe::Transcript;
use crate::script::{Action, Callback, Script};
use crate::session::{Manner, Session, frame};
use crate::stock::{State, Taken};
use crate::walk::{Item, walk};

/// An accepted difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// §6.4: a command out of order ends the connection; the stock library ignores it, and the MTA waits for ever.
    OutOfOrder,
    /// §12.2: nothing but macros and quit may come before the negotiation.
    BeforeNegotiation,
    /// §1.3: a length of 0 ends the connection; the stock library reads on in the middle of a frame.
    EmptyFrame,
    /// §1.3: so does one from 2³¹ + 1; the stock library takes it for a negative number, and for no payload.
    NegativeLength,
    /// §2.4, §2.7: helo and unknown need their NUL; the stock library does not answer, or reads too far.
    Unterminated,
    /// §2.8: a header field has a name.
    NamelessHeader,
    /// §2.14: the last name of a macro list without a value for it is dropped; the stock library reads beyond the list,
    /// and may crash.
    OddMacros,
}

/// What ours does with the command at which a rule applies.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Expected {
    /// It closes the connection, with abort and close as they are due.
    Closes,
    /// It answers with these bytes, calls these callbacks, and goes on.
    GoesOn { replies: Vec<u8>, callbacks: Vec<Callback> },
}

/// Judges a difference.
///
/// # Errors
///
/// Why it is not accepted.
pub fn judge(pair: &mut Pair, session: &Session, both: &Both) -> Result<Rule, String> {
    if let Some(trouble) = both.stock.trouble.iter().chain(&both.ours.trouble).next() {
        return Err(format!("trouble: {trouble}"));
    }
    let (wanted, agreed) = negotiated(session, &both.stock);
    let items = walk(session, wanted, agreed);
    let Some((item, rule, expected)) = items.iter().find_map(|item| {
        let (rule, expected) = find(item, session)?;
        Some((item, rule, expected))
    }) else {
        return Err("no accepted difference applies".to_owned());
    };
    let bytes = session.bytes();
    let before = session.with_bytes(bytes[..item.start].to_vec());
    let until = pair.run(&before);
    if until.stock != until.ours {
        return Err(format!("differs before {rule:?} applies at byte {}\n{}", item.start, until.difference()));
    }
    let mut with = session.with_bytes(bytes[..item.end].to_vec());
    if expected == Expected::Closes {
        with.manner = Manner::PourAndStay;
    }
    let got = pair.run_on(Library::Ours, &with);
    let expected = expected.applied_to(&until.ours);
    if !expected.fits(&got) {
        let both = Both { stock: until.ours, ours: got };
        return Err(format!("{rule:?} applies at byte {}, but not so\n{}", item.start, both.difference()));
    }
    Ok(rule)
}

/// The session without that which could crash the stock library, if there is such a thing in it.
///
/// A macro list with an odd number of strings loses the last one.
pub fn survivable(session: &Session) -> Option<Session> {
    let bytes = session.bytes();
    let odd = |item: &Item| {
        let strings = item.payload.iter().skip(1).filter(|byte| **byte == 0).count();
        item.code == b'D' && strings % 2 == 1
    };
    // Which commands there are does not depend on what was agreed on.
    let items = walk(session, 0, 0);
    items.iter().find(|item| odd(item))?;
    let mut safe = Vec::new();
    let mut end = 0;
    for item in items {
        end = item.end;
        if odd(&item) {
            safe.extend(frame(b'D', &even(&item.payload)));
        } else {
            safe.extend(&bytes[item.start..item.end]);
        }
    }
    safe.extend(&bytes[end..]);
    Some(session.with_bytes(safe))
}

/// The list of a macro command up to its last pair.
fn even(payload: &[u8]) -> Vec<u8> {
    let nuls: Vec<usize> =
        payload.iter().enumerate().skip(1).filter(|(_, byte)| **byte == 0).map(|(at, _)| at).collect();
    match nuls.len() {
        // Not nothing: that would leave the list before it in place.
        1 => [&payload[..1], b"{dropped}\0\0"].concat(),
        count => payload[..=nuls[count - 2]].to_vec(),
    }
}

/// The steps that the filter wants, and those in its reply.
fn negotiated(session: &Session, stock: &Transcript) -> (u32, u32) {
    let agreed = match Frame::parse(&stock.replies, usize::MAX >> 1) {
        Ok(Some((_, Frame { code: b'O', payload }))) if payload.len() >= 12 => {
            u32::from_be_bytes([payload[8], payload[9], payload[10], payload[11]])
        }
        _ => 0,
    };
    (wanted(&session.script) | agreed, agreed)
}

fn wanted(script: &Script) -> u32 {
    let outs = script.0.iter().filter_map(|line| match &line.action {
        Action::Do(call) => call.strip_prefix("out 1 0x"),
        Action::Return(_) => None,
    });
    outs.filter_map(|bits| u32::from_str_radix(bits, 16).ok()).last().unwrap_or(0)
}

/// The rule that applies to a command, if one does.
fn find(item: &Item, session: &Session) -> Option<(Rule, Expected)> {
    let _ = session;
    if item.length == 0 {
        return Some((Rule::EmptyFrame, Expected::Closes));
    }
    if item.length > 0x8000_0000 {
        return Some((Rule::NegativeLength, Expected::Closes));
    }
    if item.before == State::Init && !matches!(item.code, b'O' | b'D' | b'Q') {
        return Some((Rule::BeforeNegotiation, Expected::Closes));
    }
    if matches!(item.code, b'H' | b'U') && item.payload.last() != Some(&0) {
        return Some((Rule::Unterminated, Expected::Closes));
    }
    if item.code == b'L' && item.payload.first() == Some(&0) {
        return Some((Rule::NamelessHeader, Expected::Closes));
    }
    match item.taken {
        Taken::Ignored { .. } if item.code != b'A' => Some((Rule::OutOfOrder, Expected::Closes)),
        _ => None,
    }
}

/// What must come, made from what comes without the command.
struct Wanted {
    replies: Vec<u8>,
    log: Vec<String>,
    callbacks: Vec<Callback>,
}

impl Expected {
    fn applied_to(&self, before: &Transcript) -> Wanted {
        let (more, callbacks) = match self {
            Self::Closes => (&[][..], Vec::new()),
            Self::GoesOn { replies, callbacks } => (&replies[..], callbacks.clone()),
        };
        Wanted { replies: [&before.replies, more].concat(), log: before.log.clone(), callbacks }
    }
}

impl Wanted {
    fn fits(&self, got: &Transcript) -> bool {
        let mut log = got.log.clone();
        // The callbacks are called before those at the end.
        let end = log.iter().rposition(|entry| !is_end(entry)).map_or(0, |last| last + 1);
        let start = end.saturating_sub(self.callbacks.len());
        let called: Vec<String> = log.drain(start..end).collect();
        let named = called.iter().zip(&self.callbacks).all(|(entry, name)| entry.starts_with(name.name()));
        got.trouble.is_empty() && got.replies == self.replies && named && log == self.log
    }
}

fn is_end(entry: &str) -> bool {
    entry.starts_with("abort") || entry.starts_with("close")
}

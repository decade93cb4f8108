//! Accepts a difference, if it is exactly what one of the [rules](crate::rules) says.
//!
//! There is a first command at which a rule applies; without that command and what follows, both libraries do the same; and
//! with it, ours does what the rule says.

use tamis_proto::{Command, Frame, Rules};

use crate::judge::{Both, Pair};
use crate::library::Library;
use crate::probe::Transcript;
use crate::rules::Rule;
use crate::script::{Action, Callback, status};
use crate::session::{Manner, Session, Setup};
use crate::stock::{Answer, State, Taken, bits, callback, missing_bits, no_reply_bit};
use crate::walk::{Item, walk};

/// What ours does with the command at which a rule applies.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Expected {
    /// The letter of a reply.
    reply: Option<u8>,
    /// These callbacks.
    callbacks: Vec<Callback>,
    /// Whether a message is open after it; `None`: as before.
    open: Option<bool>,
    /// It closes the connection.
    closes: bool,
}

impl Expected {
    fn closes() -> Self {
        Self { reply: None, callbacks: Vec::new(), open: None, closes: true }
    }

    fn goes_on(reply: Option<u8>, callbacks: impl IntoIterator<Item = Callback>) -> Self {
        Self { reply, callbacks: callbacks.into_iter().collect(), open: None, closes: false }
    }

    fn with_message(self, open: bool) -> Self {
        Self { open: Some(open), ..self }
    }
}

/// Judges a difference.
///
/// # Errors
///
/// Why it is not accepted.
pub(crate) fn judge(pair: &mut Pair, session: &Session, both: &Both) -> Result<Rule, String> {
    if let Some(trouble) = both.stock.trouble.iter().chain(&both.ours.trouble).next() {
        return Err(format!("trouble: {trouble}"));
    }
    let (wanted, agreed) = negotiated(session, &both.stock);
    let items = walk(session, wanted, agreed);
    let Some((item, rule, expected)) = items.iter().find_map(|item| {
        let (rule, expected) = find(item, &session.setup, agreed)?;
        Some((item, rule, expected))
    }) else {
        return Err("no accepted difference applies".to_owned());
    };
    let bytes = session.bytes();
    let before = session.with_bytes(bytes[..item.start].to_vec());
    let until = pair.run(&before);
    if until.stock != until.ours {
        return Err(format!(
            "differs before {rule:?} applies at byte {}\n{}",
            item.start,
            until.difference()
        ));
    }
    let mut with = session.with_bytes(bytes[..item.end].to_vec());
    if expected.closes {
        with.manner = Manner::PourAndStay;
    }
    let got = pair.run_on(Library::Ours, &with);
    if let Err(reason) = expected.check(&session.setup, item.before.in_transaction(), &until.ours, &got) {
        let both = Both { stock: until.ours, ours: got, helped: None };
        let difference = both.difference();
        return Err(format!("{rule:?} applies, but not so: {reason} (at byte {})\n{difference}", item.start));
    }
    Ok(rule)
}

/// The steps that the filter wants, and those in its reply.
fn negotiated(session: &Session, stock: &Transcript) -> (u32, u32) {
    let agreed = match Frame::parse(&stock.replies, usize::MAX >> 1) {
        Ok(Some((_, Frame { code: b'O', payload }))) if payload.len() >= 12 => {
            u32::from_be_bytes([payload[8], payload[9], payload[10], payload[11]])
        }
        _ => 0,
    };
    (wanted(session) | agreed, agreed)
}

/// The steps that the filter asks for: what its negotiate callback says, or what comes of missing callbacks.
fn wanted(session: &Session) -> u32 {
    let script = &session.script;
    let outs = script.0.iter().filter_map(|line| match &line.action {
        Action::Do(call) => call.strip_prefix("out 1 0x"),
        Action::Return(_) => None,
    });
    let said = outs.filter_map(|bits| u32::from_str_radix(bits, 16).ok()).next_back();
    let asked = !session.setup.without.contains(&Callback::Negotiate)
        && script.status(Callback::Negotiate, 1) == status::CONTINUE;
    said.filter(|_| asked).unwrap_or_else(|| missing_bits(&session.setup))
}

/// The rule that applies to a command, if one does.
fn find(item: &Item, setup: &Setup, agreed: u32) -> Option<(Rule, Expected)> {
    misframed(item)
        .or_else(|| unreadable(item, setup))
        .or_else(|| misplaced(item, agreed))
        .or_else(|| readable_here(item, agreed))
        .or_else(|| taken(item, agreed))
}

/// What comes before anything that could be read.
fn misframed(item: &Item) -> Option<(Rule, Expected)> {
    let rule = match item.length {
        0 => Rule::EmptyFrame,
        0x8000_0001.. => Rule::NegativeLength,
        _ if item.before == State::Init && !b"ODQ".contains(&item.code) => Rule::BeforeNegotiation,
        _ => return None,
    };
    Some((rule, Expected::closes()))
}

/// Payloads that ours does not read, and the stock library does.
fn unreadable(item: &Item, setup: &Setup) -> Option<(Rule, Expected)> {
    if let Some(expected) = unexamined(item, setup) {
        return Some((Rule::Unexamined, expected));
    }
    let unterminated = item.payload.last().is_some_and(|byte| *byte != 0);
    if unterminated && b"HU".contains(&item.code) {
        return Some((Rule::Unterminated, Expected::closes()));
    }
    // A message that begins so is aborted, by both libraries.
    let ends = || match item.taken {
        Taken::Runs { aborts_first, .. } => {
            let aborts = aborts_first.then_some(Callback::Abort).into_iter().collect();
            Expected { callbacks: aborts, ..Expected::closes().with_message(true) }
        }
        _ => Expected::closes(),
    };
    if unterminated && b"MR".contains(&item.code) && item.payload.contains(&0) {
        return Some((Rule::UnterminatedArgument, ends()));
    }
    (item.code == b'L' && item.payload.first() == Some(&0)).then(|| (Rule::NamelessHeader, ends()))
}

/// Commands that have no place, for one of the libraries.
fn misplaced(item: &Item, agreed: u32) -> Option<(Rule, Expected)> {
    let runs = matches!(item.taken, Taken::Runs { .. });
    if item.code == b'A' && runs && !item.before.in_transaction() {
        return Some((Rule::AbortOutsideMessage, Expected::goes_on(None, [])));
    }
    // Where unknown commands are disabled, their state is passed over on the way from abort.
    let begins = State::of(item.code).is_some_and(|next| State::Helo.reaches(next, agreed));
    if item.before == State::Abrt && runs && b"RTB".contains(&item.code) && !begins {
        return Some((Rule::OutOfOrder, Expected::closes()));
    }
    if item.before != item.behind
        && let Some(found) = behind(item, agreed)
    {
        return Some(found);
    }
    if item.passes_over && item.code != b'A' && !is_headerless(item, agreed) {
        return Some(match item.settled {
            Some(_) => (Rule::DecidedMessage, repeated(item, agreed)),
            None => (Rule::StepsWithoutCallback, Expected::closes()),
        });
    }
    // Where that may begin a message, it does so for ours.
    if item.goes_on_so && begins && item.settled.is_none() && (item.code != b'E' || item.payload.is_empty()) {
        return State::of(item.code).map(|next| {
            let expected = called(item, agreed, item.would, [Callback::Abort, callback(next)]);
            let ends =
                item.code == b'E' || !matches!(item.would, status::CONTINUE | status::NOREPLY | status::SKIP);
            (Rule::StepsWithoutCallback, expected.with_message(!ends || item.watched && item.code != b'E'))
        });
    }
    if item.before == State::Data
        && agreed & bits::NO_EOH != 0
        && let Some(found) = without_header(item, agreed)
    {
        return Some(found);
    }
    // An unreadable command that is out of order, too: the message it ends is aborted once.
    let aborts = matches!(item.taken, Taken::Runs { aborts_first: true, .. });
    let empty = item.payload.is_empty() && b"HMU".contains(&item.code);
    (aborts && empty).then(|| (Rule::DoubleAbort, Expected::closes()))
}

/// Addresses of clients that only one of the libraries reads.
fn readable_here(item: &Item, agreed: u32) -> Option<(Rule, Expected)> {
    if item.code != b'C' || !matches!(item.taken, Taken::Runs { .. }) {
        return None;
    }
    if says_unknown(&item.payload) {
        return Some((Rule::UnknownAddress, called(item, agreed, item.would, [Callback::Connect])));
    }
    trails(&item.payload).then(|| (Rule::AddressBeforeBlank, Expected::closes()))
}

/// Everything else, by what the stock library does with it.
fn taken(item: &Item, agreed: u32) -> Option<(Rule, Expected)> {
    match item.taken {
        Taken::Ignored { .. } => ignored(item, agreed),
        Taken::Runs { aborts_first, answer, status } => {
            let name = callback(State::of(item.code)?);
            let before = aborts_first.then_some(Callback::Abort);
            let piece = (item.code == b'E' && !item.payload.is_empty()).then_some(Callback::Body);
            let calls = before.into_iter().chain(piece).chain([name]);
            ran(item, agreed, answer, status, calls)
        }
        Taken::Aside | Taken::Ends => None,
    }
}

/// What ours does with a command that cannot be read, and for which there is no callback.
fn unexamined(item: &Item, setup: &Setup) -> Option<Expected> {
    let Taken::Runs { aborts_first, .. } = item.taken else { return None };
    let state = State::of(item.code)?;
    let frame = Frame { code: item.code, payload: &item.payload };
    let unread = Command::decode(frame, Rules::libmilter()).is_err();
    if !unread || !setup.without.contains(&callback(state)) || item.code == b'O' {
        return None;
    }
    let callbacks = aborts_first.then_some(Callback::Abort).into_iter().collect();
    let begins = state.in_transaction() && !item.payload.is_empty();
    let open = begins || item.before.in_transaction() && !aborts_first;
    Some(Expected { callbacks, ..Expected::closes().with_message(open) })
}

/// Whether there is a blank in an IPv4 address.
fn trails(payload: &[u8]) -> bool {
    address(payload).is_some_and(|(family, text)| family == b'4' && text.iter().any(u8::is_ascii_whitespace))
}

/// Whether a client of a family that has addresses has none.
fn says_unknown(payload: &[u8]) -> bool {
    address(payload).is_some_and(|(family, text)| b"46".contains(&family) && text == b"unknown\0")
}

/// The family and the address of a client, with its NUL.
fn address(payload: &[u8]) -> Option<(u8, &[u8])> {
    let end = payload.iter().position(|byte| *byte == 0)?;
    Some((*payload.get(end + 1)?, payload.get(end + 4..)?))
}

/// What ours does with a command that follows on an unknown one or an abort outside of messages, where that makes a
/// difference.
fn behind(item: &Item, agreed: u32) -> Option<(Rule, Expected)> {
    let next = State::of(item.code)?;
    // Whatever begins a message may come.
    let runs = matches!(item.taken, Taken::Runs { .. }) && !State::Helo.reaches(next, agreed);
    match item.code {
        b'R' | b'T' | b'B' if runs && item.settled.is_some() => {
            Some((Rule::DecidedMessage, repeated(item, agreed)))
        }
        b'R' | b'T' | b'B' if runs => Some((Rule::UnknownKeepsState, Expected::closes())),
        b'C' if matches!(item.behind, State::Opts | State::QuitNc) => {
            let expected = called(item, agreed, item.would, [Callback::Connect]);
            Some((Rule::UnknownKeepsState, expected.with_message(false)))
        }
        _ => None,
    }
}

/// Whether ours takes a command for that of a message without header fields, which it need not pass over anything for: then
/// it does the same as the stock library, whatever that passes over.
fn is_headerless(item: &Item, agreed: u32) -> bool {
    item.before == State::Data
        && agreed & bits::NO_EOH != 0
        && State::of(item.code).is_some_and(|next| State::Eohs.reaches(next, agreed))
        && matches!(item.taken, Taken::Runs { aborts_first: false, .. })
}

/// What ours does with a message that has no header, where the end of headers is not sent.
fn without_header(item: &Item, agreed: u32) -> Option<(Rule, Expected)> {
    let goes_on =
        |status| item.watched || matches!(status, status::CONTINUE | status::NOREPLY | status::SKIP);
    // Where senders and recipients are disabled, too, the stock library begins another message with it.
    if !matches!(item.taken, Taken::Ignored { .. } | Taken::Runs { aborts_first: true, .. }) {
        return None;
    }
    let expected = match item.code {
        b'B' => called(item, agreed, item.would, [Callback::Body]).with_message(goes_on(item.would)),
        b'E' if item.payload.is_empty() => {
            called(item, agreed, item.would, [Callback::Eom]).with_message(false)
        }
        b'E' if goes_on(item.would_piece) => {
            called(item, agreed, item.would, [Callback::Body, Callback::Eom]).with_message(false)
        }
        b'E' => called(item, agreed, item.would_piece, [Callback::Body]).with_message(false),
        _ => return None,
    };
    Some((Rule::NoHeader, expected))
}

/// A callback is called, and what it returns is answered.
fn called(item: &Item, agreed: u32, status: i32, calls: impl IntoIterator<Item = Callback>) -> Expected {
    let silent = State::of(item.code).is_some_and(|state| agreed & no_reply_bit(state) != 0);
    let letter = if item.watched { b'c' } else { letter(status, agreed) };
    Expected::goes_on((!silent).then_some(letter), calls)
}

/// How ours says what a callback returns.
fn letter(status: i32, agreed: u32) -> u8 {
    match status {
        status::REJECT => b'r',
        status::DISCARD => b'd',
        status::ACCEPT => b'a',
        status::SKIP if agreed & bits::SKIP != 0 => b's',
        status::CONTINUE | status::NOREPLY | status::SKIP => b'c',
        _ => b't',
    }
}

/// What ours does with a command that the stock library ignores.
fn ignored(item: &Item, agreed: u32) -> Option<(Rule, Expected)> {
    match item.code {
        b'A' => None,
        b'K' => {
            let aborts = item.before.in_transaction().then_some(Callback::Abort);
            let calls = aborts.into_iter().chain([Callback::Close]);
            Some((Rule::AnyNewConnection, Expected::goes_on(None, calls).with_message(false)))
        }
        b'O' | b'C' => Some((Rule::OutOfOrder, Expected::closes())),
        _ if item.settled.is_some() => Some((Rule::DecidedMessage, repeated(item, agreed))),
        _ => Some((Rule::OutOfOrder, Expected::closes())),
    }
}

/// Whether a message is open after a command that is continued.
fn open_after(item: &Item) -> bool {
    let state = if item.code == b'U' { item.before } else { item.after };
    state.in_transaction()
}

/// The verdict that ended the message, once more; to what can be read.
fn repeated(item: &Item, agreed: u32) -> Expected {
    if Command::decode(Frame { code: item.code, payload: &item.payload }, Rules::libmilter()).is_err() {
        return Expected::closes().with_message(false);
    }
    let reply = match item.settled {
        Some(status::REJECT) => b'r',
        Some(status::DISCARD) => b'd',
        Some(status::TEMPFAIL) => b't',
        Some(status::ACCEPT) if item.code == b'E' => b'a',
        _ => b'c',
    };
    let silent = State::of(item.code).is_some_and(|state| agreed & no_reply_bit(state) != 0);
    Expected::goes_on((!silent).then_some(reply), []).with_message(false)
}

/// What ours does with a command that the stock library executes.
fn ran(
    item: &Item,
    agreed: u32,
    answer: Answer,
    status: i32,
    calls: impl IntoIterator<Item = Callback>,
) -> Option<(Rule, Expected)> {
    // An unknown command does not abort the message for ours.
    let stays = item.code == b'U' && item.before.in_transaction();
    let calls = calls.into_iter().filter(|call| !stays || *call == Callback::Unknown);
    match answer {
        Answer::Missing if status == status::NOREPLY => {
            Some((Rule::MissingAnswer, Expected::goes_on(Some(b'c'), calls).with_message(open_after(item))))
        }
        Answer::Missing => {
            // One recipient is refused, or everything.
            let open = item.code == b'R' || stays;
            Some((Rule::NoSuchAnswer, Expected::goes_on(Some(b't'), calls).with_message(open)))
        }
        Answer::Piece { watched } => {
            let (reply, last) = if watched || matches!(status, status::NOREPLY | status::SKIP) {
                (letter(item.would, agreed), Some(Callback::Eom))
            } else {
                (letter(status, agreed), None)
            };
            let aborts = calls.filter(|call| *call == Callback::Abort);
            let calls = aborts.chain([Callback::Body]).chain(last);
            Some((Rule::LastPiece, Expected::goes_on(Some(reply), calls).with_message(false)))
        }
        Answer::Unheard => {
            let state = State::of(item.code)?;
            // A message goes on, whatever was said.
            let open = if state == State::Unkn { item.before } else { state }.in_transaction();
            let reply = (agreed & no_reply_bit(state) == 0).then_some(b'c');
            Some((
                Rule::UnheardAnswer,
                Expected { reply, ..Expected::goes_on(None, calls).with_message(open) },
            ))
        }
        Answer::Verdict if status == status::SKIP && agreed & bits::SKIP == 0 => {
            Some((Rule::SkipNotAgreedOn, Expected::goes_on(Some(b'c'), calls).with_message(open_after(item))))
        }
        _ if stays => {
            let reply = (answer != Answer::None).then(|| letter(status, agreed));
            let open = status != status::ACCEPT;
            Some((Rule::UnknownKeepsMessage, Expected::goes_on(reply, calls).with_message(open)))
        }
        _ => None,
    }
}

impl Expected {
    /// Compares what comes with the command with what comes without it.
    fn check(
        &self,
        setup: &Setup,
        was_open: bool,
        without: &Transcript,
        got: &Transcript,
    ) -> Result<(), &'static str> {
        if !got.trouble.is_empty() {
            return Err("trouble");
        }
        let Some(reply) = got.replies.strip_prefix(&without.replies[..]) else {
            return Err("the replies before it are others");
        };
        if !self.has_reply(reply) {
            return Err("its reply is another");
        }
        let is_called = |callback: &Callback| !setup.without.contains(callback);
        let ending = |open: bool| {
            open.then_some(Callback::Abort).into_iter().chain([Callback::Close]).filter(is_called)
        };
        let before = without.log.len().saturating_sub(ending(was_open).count());
        let Some(rest) = got.log.strip_prefix(&without.log[..before]) else {
            return Err("the callbacks before it are others");
        };
        let called = self.callbacks.iter().copied().filter(is_called);
        let expected = called.chain(ending(self.open.unwrap_or(was_open)));
        let names = rest.iter().filter_map(|entry| named(entry));
        if names.eq(expected) { Ok(()) } else { Err("its callbacks are others") }
    }

    fn has_reply(&self, mut bytes: &[u8]) -> bool {
        // Modifications come before it.
        while let Ok(Some((used, frame))) = Frame::parse(bytes, usize::MAX >> 1)
            && b"+-2behimpq".contains(&frame.code)
        {
            bytes = &bytes[used..];
        }
        match (self.reply, Frame::parse(bytes, usize::MAX >> 1)) {
            (None, _) => bytes.is_empty(),
            // A stored text stands for the plain verdict.
            (Some(letter), Ok(Some((used, frame)))) => {
                used == bytes.len() && (frame.code == letter || frame.code == b'y' && b"rt".contains(&letter))
            }
            _ => false,
        }
    }
}

/// Which callback a report is about.
fn named(entry: &str) -> Option<Callback> {
    let word = entry.split([' ', '\n']).next()?;
    Callback::ALL.into_iter().find(|callback| callback.name() == word)
}

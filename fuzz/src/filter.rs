//! Plays a filter's session with a stream of an MTA, and checks what holds at every step.

use tamis_proto::{Error, Event, FilterSession, Limits, Misuse, Needs, Next, Rules, Sent, Stage, Verdict};

use crate::limits::{self, Message};
use crate::{Input, wire};

/// The filter that is played.
#[derive(Debug)]
pub struct Filter {
    pub rules: Rules,
    pub limits: Limits,
    pub needs: Needs,
    /// What it says, over and over.
    pub answers: [u8; 8],
}

/// More than any reply of this filter to a single command.
const LONGEST_REPLY: usize = 100;

/// How the stream arrives.
#[derive(Clone, Copy, Debug)]
pub enum Feed {
    Whole,
    /// Never more than one frame in the buffer.
    Frames,
    /// In pieces whose sizes follow from the number.
    Cuts(u32),
}

/// All that can be seen of a session.
#[derive(Debug, PartialEq)]
pub struct Log {
    pub events: Vec<Event<Vec<u8>>>,
    pub said: Vec<Result<Sent, Misuse>>,
    pub output: Vec<u8>,
    pub error: Option<Error>,
    /// What is said to the end of the stream.
    pub eof: Option<Result<(), Error>>,
    pub last: Vec<Event<Vec<u8>>>,
    pub offset: u64,
}

impl Filter {
    pub fn play(&self, stream: &[u8], feed: Feed) -> Log {
        let mut session = FilterSession::new(self.rules, self.limits);
        let mut log = Log {
            events: Vec::new(),
            said: Vec::new(),
            output: Vec::new(),
            error: None,
            eof: None,
            last: Vec::new(),
            offset: 0,
        };
        let (mut start, mut end, mut turn) = (0, 0, 0);
        let (mut message, mut promised) = (Message::default(), 0);
        loop {
            let open = session.in_message();
            let (used, event) = match next(&mut session, &stream[start..end]) {
                Ok(next) => next,
                Err(error) => {
                    // Frames before the bad one were used all the same.
                    start = usize::try_from(error.offset).expect("inputs are short");
                    limits::check_fault(self.limits, &stream[..start], &stream[start..end], &error);
                    log.error = Some(error);
                    break;
                }
            };
            limits::check_macros(self.limits, &session, promised);
            assert!(session.output().len() <= self.limits.replies + LONGEST_REPLY, "replies without end");
            let given = event.is_some();
            if let Some(event) = event {
                assert!(!matches!(feed, Feed::Frames) || event != Event::Abort || open, "abort of nothing");
                message.count(&event, self.limits, promised);
                log.events.push(event.clone().map(<[u8]>::to_vec));
                if !self.answer(&mut session, &event, &mut log, &mut promised) {
                    start += used;
                    break;
                }
                wire::drain(session.output(), 1 + start % 7, &mut log.output);
            }
            start += used;
            if !session.in_message() || !matches!(feed, Feed::Frames) {
                // Only frame by frame no end of a message is missed.
                message = Message::default();
            }
            if given {
                continue;
            }
            wire::drain(session.output(), usize::MAX, &mut log.output);
            if used > 0 {
                // It may have stopped for the replies.
                continue;
            }
            if session.is_closed() || end == stream.len() {
                log.eof = Some(session.eof(&stream[start..end]));
                break;
            }
            turn += 1;
            end = feed.more(stream, start, end, turn);
        }
        wire::drain(session.output(), usize::MAX, &mut log.output);
        log.offset = session.offset();
        assert_eq!(log.offset, start as u64, "bytes used");
        self.check(&session, &stream[..start], &log);
        self.conclude(&mut session, &mut log);
        log
    }

    /// Does what the filter does at an event; `false` if it cannot work with this MTA.
    fn answer(
        &self,
        session: &mut FilterSession,
        event: &Event<&[u8]>,
        log: &mut Log,
        promised: &mut usize,
    ) -> bool {
        let choice = self.answers[log.events.len() % self.answers.len()];
        if matches!(event, Event::Negotiate(_)) {
            let agreement = session.negotiate(&self.needs);
            *promised = agreement.as_ref().map_or(0, limits::promised);
            return agreement.is_ok();
        }
        let waits = session.waits_for();
        assert_eq!(waits, event.stage(), "an event with a stage waits for a verdict");
        if waits.is_none() {
            assert_eq!(session.respond(Verdict::Continue), Err(Misuse::NoVerdictDue));
            return true;
        }
        let edits = [choice, choice >> 4, 1, b'n', 4, choice, b'\n', b' ', 4, 0, 0, 0, 2];
        let edit = Input(&edits).edit();
        if choice & 0x10 != 0 && session.edit(edit).is_ok() {
            assert!(at_end(waits), "edits before the end of message");
        }
        if choice & 0x20 != 0 {
            let progress = session.progress().is_ok();
            assert!(if progress { at_end(waits) } else { waits != Some(Stage::EndOfMessage) });
        }
        if choice & 0xc0 == 0xc0 {
            session.defer(Input(&[choice]).verdict());
        }
        let before = session.output().len();
        let said = session.respond(Input(&[choice % 9, 4, b'a', b'\n', b'%', 7]).verdict());
        if said.is_err() {
            assert_eq!((before, session.waits_for()), (session.output().len(), waits), "misuse does nothing");
            session.respond(Verdict::Continue).expect("continue is a verdict everywhere");
        }
        log.said.push(said);
        true
    }

    /// Ends the session as a driver does.
    fn conclude(&self, session: &mut FilterSession, log: &mut Log) {
        let open = session.in_message();
        let closed = session.is_closed();
        let unanswered = session.waits_for() == Some(Stage::EndOfMessage) && !self.rules.abort_unanswered_end;
        while let Some(event) = session.end() {
            log.last.push(event.map(<[u8]>::to_vec));
            assert!(log.last.len() <= 2, "the end has no end");
        }
        let mut expected = Vec::new();
        expected.extend((open && !unanswered).then_some(Event::Abort));
        expected.extend((!closed).then_some(Event::Close));
        assert_eq!(log.last, expected);
        assert!(session.is_closed() && session.output().is_empty());
        assert_eq!(session.next(b"\0\0\0\x01A"), Ok((0, None)), "a closed session takes nothing");
    }

    /// Holds against what was written what is known of the frames that were used.
    fn check(&self, session: &FilterSession, used: &[u8], log: &Log) {
        let replies = wire::replies(&log.output, self.rules.body_last);
        let answered = wire::answered(&wire::frames(used), session.steps());
        assert_eq!(replies.verdicts, answered, "verdicts and commands that have to be answered");
        assert!(log.output.len() <= 64 + 100 * wire::frames(used).len(), "more output than answers");
        let macros = Stage::ALL.into_iter().flat_map(|stage| session.macros().of_stage(stage));
        let macros: usize = macros.map(|(name, value)| name.len() + value.len() + 2).sum();
        assert!(macros <= used.len(), "more macros than came");
        let closes = log.events.iter().filter(|event| **event == Event::Close).count();
        let quits = wire::frames(used).iter().filter(|(code, _)| matches!(code, b'K' | b'Q')).count();
        assert_eq!(closes, quits, "closes");
    }
}

/// Takes the next event and checks that it is made of the buffer's bytes.
///
/// # Errors
///
/// As the session's.
pub fn next<'b>(session: &mut FilterSession, buf: &'b [u8]) -> Result<Next<'b>, Error> {
    let (used, event) = session.next(buf)?;
    assert!(used <= buf.len(), "used {used} of {} bytes", buf.len());
    if let Some(event) = event.clone() {
        event.map(|text| {
            let (all, part) = (buf.as_ptr_range(), text.as_ptr_range());
            assert!(text.is_empty() || all.start <= part.start && part.end <= all.end, "bytes of elsewhere");
        });
    }
    Ok((used, event))
}

impl Feed {
    fn more(self, stream: &[u8], start: usize, end: usize, turn: u32) -> usize {
        let wanted = match self {
            Self::Whole => stream.len(),
            Self::Frames => start + wire::first(&stream[start..]),
            Self::Cuts(seed) => end + (seed.rotate_left(turn * 5) & 15) as usize,
        };
        wanted.clamp(end + 1, stream.len())
    }
}

/// Whether the end of the message has come. libmilter's rules let it begin with a last piece of the body.
fn at_end(waits: Option<Stage>) -> bool {
    matches!(waits, Some(Stage::EndOfMessage | Stage::Body))
}

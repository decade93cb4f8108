//! What a session may keep under its limits, and what it says when an MTA goes above one.

use tamis_proto::{Agreement, DataSize, Error, Event, Fault, FilterSession, Limits, Stage};

use crate::wire;

/// The larger packets that the filter promised to take, whatever its limits are.
pub fn promised(agreement: &Agreement) -> usize {
    if agreement.data_size == DataSize::K64 { 0 } else { agreement.data_size.bytes() }
}

/// What a filter was given of one message.
#[derive(Debug, Default)]
pub struct Message {
    headers: usize,
    header_bytes: usize,
    recipients: usize,
}

impl Message {
    /// Counts what an event adds, which must be within the limits.
    pub fn count(&mut self, event: &Event<&[u8]>, limits: Limits, promised: usize) {
        let mut argument = 0;
        match event {
            Event::Mail(_) | Event::Abort | Event::Close => *self = Self::default(),
            Event::Header(header) => {
                self.headers += 1;
                self.header_bytes += header.name.len() + header.value.len();
            }
            Event::Rcpt(_) => self.recipients += 1,
            _ => {}
        }
        match event {
            Event::Mail(envelope) | Event::Rcpt(envelope) => argument = envelope.address.len(),
            Event::Helo(text) | Event::Unknown(text) => argument = text.len(),
            _ => {}
        }
        let within = self.headers <= limits.headers && self.header_bytes <= limits.header_bytes;
        assert!(within && self.recipients <= limits.recipients, "more than the limits allow");
        assert!(argument <= limits.argument.max(promised), "an argument of {argument} bytes");
    }
}

/// No stage has more macros than it may.
pub fn check_macros(limits: Limits, session: &FilterSession, promised: usize) {
    for stage in Stage::ALL {
        let (mut count, mut bytes) = (0, 0);
        for (name, value) in session.macros().of_stage(stage) {
            count += 1;
            bytes += name.len() + value.len() + 2;
        }
        assert!(count <= limits.macros, "{count} macros at {stage}");
        assert!(bytes <= limits.macro_bytes.max(promised), "{bytes} bytes of macros at {stage}");
    }
}

/// The fault is that of the limit which the frame goes above, after all that was used before.
pub fn check_fault(limits: Limits, used: &[u8], rest: &[u8], error: &Error) {
    let frames = wire::frames(used);
    // Where MAIL is switched off, a message begins with something else.
    let message = &frames[frames.iter().rposition(|(code, _)| *code == b'M').unwrap_or(0)..];
    let of =
        |letter| message.iter().filter(move |(code, _)| *code == letter).map(|(_, payload)| payload.len());
    let (code, length) = (rest.get(4).copied(), wire::first(rest).saturating_sub(5));
    match error.fault {
        Fault::TooManyHeaders { limit } => {
            assert_eq!((code, limit), (Some(b'L'), limits.headers));
            assert!(of(b'L').count() >= limit, "a header field is refused before there are too many");
        }
        Fault::HeadersTooLong { limit } => {
            assert_eq!((code, limit), (Some(b'L'), limits.header_bytes));
            assert!(of(b'L').sum::<usize>() + length > limit, "a header field is refused that fits");
        }
        Fault::TooManyRecipients { limit } => {
            assert_eq!((code, limit), (Some(b'R'), limits.recipients));
            assert!(of(b'R').count() >= limit, "a recipient is refused before there are too many");
        }
        Fault::ArgumentTooLong { length: said, limit } => {
            assert!(code.is_some_and(|code| b"CHMRU".contains(&code)));
            assert!(said == length && length > limit && limit >= limits.argument);
        }
        Fault::MacrosTooLong { length: said, limit } => {
            assert_eq!((code, said), (Some(b'D'), length.saturating_sub(1)));
            assert!(said > limit && limit >= limits.macro_bytes);
        }
        Fault::FrameTooLong { limit, .. } => assert!(limit >= limits.payload),
        _ => {}
    }
}

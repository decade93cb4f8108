//! What a message may have of everything, and how long it may be.

use super::FilterSession;
use crate::command::Kind;
use crate::error::Fault;
use crate::frame::Frame;
use crate::negotiate::DataSize;

/// What came of a message so far.
#[derive(Debug, Default)]
pub(super) struct Counts {
    headers: u32,
    recipients: u32,
    header_bytes: usize,
}

impl FilterSession {
    /// Counts what a frame adds to its message. Each frame that takes a step is counted once.
    pub(super) fn count(&mut self, kind: Kind, frame: Frame<'_>) -> Result<(), Fault> {
        if kind == Kind::Mail || !self.state.in_message() {
            self.counts = Counts::default();
        }
        let (limits, counts, length) = (&self.limits, &mut self.counts, frame.payload.len());
        // A filter that negotiated larger packets promised to take them.
        let promised = if self.data_size == DataSize::K64 { 0 } else { self.data_size.bytes() };
        match kind {
            Kind::Header => {
                counts.headers = counts.headers.saturating_add(1);
                counts.header_bytes = counts.header_bytes.saturating_add(length);
                if counts.headers as usize > limits.headers {
                    return Err(Fault::TooManyHeaders { limit: limits.headers });
                }
                if counts.header_bytes > limits.header_bytes {
                    return Err(Fault::HeadersTooLong { limit: limits.header_bytes });
                }
            }
            Kind::Macros => {
                // The first byte is the command they belong to.
                let (length, limit) = (length.saturating_sub(1), limits.macro_bytes.max(promised));
                if length > limit {
                    return Err(Fault::MacrosTooLong { length, limit });
                }
            }
            Kind::Connect | Kind::Helo | Kind::Mail | Kind::Rcpt | Kind::Unknown => {
                let limit = limits.argument.max(promised);
                if length > limit {
                    return Err(Fault::ArgumentTooLong { length, limit });
                }
                counts.recipients = counts.recipients.saturating_add(u32::from(kind == Kind::Rcpt));
                if counts.recipients as usize > limits.recipients {
                    return Err(Fault::TooManyRecipients { limit: limits.recipients });
                }
            }
            _ => {}
        }
        Ok(())
    }
}

//! Verdicts: how a filter ends its turn.

use super::{Reply, SmtpReply};
use crate::stage::Stage;

/// What a filter says to an event.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Verdict {
    /// Go on; at end of message: accept, with the modifications.
    #[default]
    #[doc(alias = "SMFIS_CONTINUE")]
    Continue,
    /// Pass without further questions: the message, or at connect and helo the whole connection.
    #[doc(alias = "SMFIS_ACCEPT")]
    Accept,
    /// Refuse for good (550): the recipient at rcpt, else the message, or at connect and helo the connection.
    #[doc(alias = "SMFIS_REJECT")]
    Reject,
    /// Refuse for now (451); what, as for reject.
    #[doc(alias = "SMFIS_TEMPFAIL")]
    Tempfail,
    /// Take the message and drop it silently.
    #[doc(alias = "SMFIS_DISCARD")]
    Discard,
    /// Send no more of the body.
    #[doc(alias = "SMFIS_SKIP")]
    Skip,
    /// Refuse with this reply: for good with 5xx, for now with 4xx, and 421 closes the SMTP connection.
    #[doc(alias = "smfi_setreply")]
    #[doc(alias = "smfi_setmlreply")]
    Reply(Box<SmtpReply>),
}

impl Verdict {
    /// Refuses for good, as `550 ENHANCED TEXT`.
    ///
    /// Never fails: an enhanced status code that is not `5.x.y` becomes `5.7.1`, line ends start a new line of
    /// the reply, other control characters become spaces and what is too long is cut. Use
    /// [`SmtpReply::new`] to be told instead.
    pub fn reject(enhanced: &str, text: &str) -> Self {
        Self::Reply(Box::new(SmtpReply::lenient(550, enhanced, text)))
    }

    /// Refuses for now, as `451 ENHANCED TEXT`. Never fails, as [`reject`](Self::reject).
    pub fn tempfail(enhanced: &str, text: &str) -> Self {
        Self::Reply(Box::new(SmtpReply::lenient(451, enhanced, text)))
    }

    /// Makes the MTA say `421 4.7.0 TEXT` and close the SMTP connection.
    pub fn shutdown(text: &str) -> Self {
        Self::Reply(Box::new(SmtpReply::lenient(421, "4.7.0", text)))
    }

    /// The name used in logs.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Continue => "continue",
            Self::Accept => "accept",
            Self::Reject => "reject",
            Self::Tempfail => "tempfail",
            Self::Discard => "discard",
            Self::Skip => "skip",
            Self::Reply(_) => "reply",
        }
    }

    /// Whether the message, or at rcpt the recipient, goes no further.
    pub const fn stops(&self) -> bool {
        matches!(self, Self::Reject | Self::Tempfail | Self::Discard | Self::Reply(_))
    }

    /// Whether the verdict, at this stage, is the last that the filter says about the message.
    pub(crate) fn ends_message(&self, stage: Stage, discard_at_rcpt: bool) -> bool {
        match (self, stage) {
            (Self::Continue | Self::Skip, _)
            | (_, Stage::Connect | Stage::Helo)
            | (Self::Reject | Self::Tempfail, Stage::Rcpt) => false,
            (Self::Reply(reply), Stage::Rcpt) => reply.code() == 421,
            // At unknown the recipients and the sender are not touched by a refusal.
            (verdict, Stage::Unknown) => *verdict == Self::Accept,
            (Self::Discard, Stage::Rcpt) => discard_at_rcpt,
            _ => true,
        }
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let simple: Reply<&[u8]> = match self {
            Self::Continue => Reply::Continue,
            Self::Accept => Reply::Accept,
            Self::Reject => Reply::Reject,
            Self::Tempfail => Reply::Tempfail,
            Self::Discard => Reply::Discard,
            Self::Skip => Reply::Skip,
            Self::Reply(reply) => return Reply::Custom(reply.wire()).encode(out),
        };
        simple.encode(out);
    }
}

impl From<SmtpReply> for Verdict {
    fn from(reply: SmtpReply) -> Self {
        Self::Reply(Box::new(reply))
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Reply(reply) => reply.fmt(f),
            _ => f.pad(self.name()),
        }
    }
}

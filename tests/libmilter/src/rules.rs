//! The differences that are accepted: each with a name, a section of the specification, and what happens on either library.

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
    /// §12.2: so do all arguments of mail and rcpt; the stock library drops the last one.
    UnterminatedArgument,
    /// §12.2: what cannot be read ends the connection; the stock library does not look where there is no callback.
    Unexamined,
    /// §2.8: a header field has a name.
    NamelessHeader,
    /// §2.14: the last name of a macro list without a value for it is dropped; the stock library reads beyond the list,
    /// and may crash.
    OddMacros,
    /// §6.7: a message is aborted once; the stock library does it twice where an unreadable command ends it.
    DoubleAbort,
    /// §2.3: an address has nothing behind it; the stock library reads up to the first blank.
    AddressBeforeBlank,
    /// §2.3: a client's address may be `unknown`; the stock library closes the connection.
    UnknownAddress,
    /// §4.8: macro lists are for an MTA that offers to read them; the stock library sends them to any.
    ListsNotOffered,
    /// §2.11: the last piece of a body inside the end of message has no answer of its own; the stock library sends two
    /// verdicts, or none.
    LastPiece,
    /// §3.5: skip is sent where it was agreed on, and otherwise is continue.
    SkipNotAgreedOn,
    /// §3.6: progress is for the end of message; the stock library sends it wherever it is called, and Sendmail takes it
    /// for a broken filter.
    ProgressElsewhere,
    /// §9.4: a reply of many lines without a line is one line; the stock library says that another follows.
    NoLines,
    /// §9.4: a call without a context fails; one of them is the end of a process on the stock library.
    NoContext,
    /// §6.4: an unknown command does not change the state of the message; the stock library forgets where it was, or
    /// aborts the message.
    UnknownKeepsMessage,
    /// §6.4: nor does one outside of messages, or an abort; in the stock library what belongs into a message may follow
    /// on it, and connect may not.
    UnknownKeepsState,
    /// §6.3: a step is passed over if that was agreed on; the stock library also does so where the filter has no callback
    /// for it.
    StepsWithoutCallback,
    /// §6.3: a message may have no header field; the stock library ignores its body where it sees no end of headers.
    NoHeader,
    /// §2.12: an abort outside of messages is nothing; the stock library calls the callback after an unknown command, and
    /// where mail or unknown commands are disabled (§6.3).
    AbortOutsideMessage,
    /// §6.8: commands that come after a verdict that ended their message are answered with it; the stock library ignores
    /// them.
    DecidedMessage,
    /// §2.13: a new connection may follow in any state; the stock library ignores the command in most.
    AnyNewConnection,
    /// §5: no answer where one is due is continue; the stock library leaves the MTA waiting.
    MissingAnswer,
    /// §6.6: what is no answer is a temporary failure; the stock library leaves the MTA waiting.
    NoSuchAnswer,
    /// §5: where no answer is due, every one is continue; the stock library follows it in its state.
    UnheardAnswer,
}

impl Rule {
    /// Every accepted difference.
    pub const ALL: [Self; 28] = [
        Self::OutOfOrder,
        Self::BeforeNegotiation,
        Self::EmptyFrame,
        Self::NegativeLength,
        Self::Unterminated,
        Self::UnterminatedArgument,
        Self::Unexamined,
        Self::NamelessHeader,
        Self::OddMacros,
        Self::DoubleAbort,
        Self::AddressBeforeBlank,
        Self::UnknownAddress,
        Self::ListsNotOffered,
        Self::LastPiece,
        Self::SkipNotAgreedOn,
        Self::ProgressElsewhere,
        Self::NoLines,
        Self::NoContext,
        Self::UnknownKeepsMessage,
        Self::UnknownKeepsState,
        Self::StepsWithoutCallback,
        Self::NoHeader,
        Self::AbortOutsideMessage,
        Self::DecidedMessage,
        Self::AnyNewConnection,
        Self::MissingAnswer,
        Self::NoSuchAnswer,
        Self::UnheardAnswer,
    ];

    /// What the documentation of the library calls it: the row of `DIFFERENCES.md`.
    pub fn documented(self) -> &'static str {
        match self {
            Self::OutOfOrder => "a command out of order (§6.4)",
            Self::BeforeNegotiation => "a command before the negotiation",
            Self::EmptyFrame | Self::NegativeLength => "a length of 0, or above 2³¹ (§1.3)",
            Self::Unterminated => "HELO without its NUL (§2.4)",
            Self::UnterminatedArgument => "a last ESMTP parameter without its NUL (§2.5)",
            Self::Unexamined => "a command that there is no callback for",
            Self::NamelessHeader => "an empty name of a header field (§2.8)",
            Self::OddMacros => "a list of macros with a name and no value (§2.14)",
            Self::DoubleAbort => "an unreadable command that ends a message (§6.7)",
            Self::AddressBeforeBlank => "something behind a blank in an IPv4 address (§2.3)",
            Self::UnknownAddress => {
                "the address `unknown` of a client, as Postfix has it for some proxies (§2.3)"
            }
            Self::ListsNotOffered => "`smfi_setsymlist`, and the MTA does not offer it (§4.8)",
            Self::LastPiece => {
                "body data inside of the end of message, and the body callback refuses (§2.11)"
            }
            Self::SkipNotAgreedOn => "`SMFIS_SKIP` that was not negotiated (§3.5)",
            Self::ProgressElsewhere => "`smfi_progress` outside of the end of message (§3.6)",
            Self::NoLines => "`smfi_setmlreply` without a line (§9.4)",
            Self::NoContext => "NULL for the context of `smfi_setsymlist` (§9.4)",
            Self::UnknownKeepsMessage => "an unknown command inside of a message (§6.4)",
            Self::UnknownKeepsState => {
                "a recipient or body after an unknown command outside of a message (§6.4)"
            }
            Self::StepsWithoutCallback => "a stage without a callback that was not switched off (§6.3)",
            Self::NoHeader => {
                "a message without header fields, where the end of headers is switched off (§6.5)"
            }
            Self::AbortOutsideMessage => {
                "abort outside of a message, after an unknown command, or where senders or unknown commands are switched off (§6.3)"
            }
            Self::DecidedMessage => "a header, body … after a verdict that ended the message",
            Self::AnyNewConnection => "quit-new-connection other than after a message (§2.13)",
            Self::MissingAnswer => {
                "a callback returns `SMFIS_NOREPLY` at a stage that it did not negotiate for (§5)"
            }
            Self::NoSuchAnswer => "a callback returns what is no status, or `SMFIS_ALL_OPTS` (§6.6)",
            Self::UnheardAnswer => "a callback of a no-reply stage refuses (§5)",
        }
    }
}

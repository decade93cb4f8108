//! Named differences between ways to be a filter.

/// What a [`FilterSession`](crate::FilterSession) does where implementations differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[allow(clippy::struct_excessive_bools)] // independent differences, not a state
pub struct Rules {
    /// Bytes after the expected strings of connect, helo, header and unknown end the session instead of being
    /// ignored (spec §12.2).
    pub refuse_trailing_bytes: bool,
    /// A list of end-of-message macros is never sent without one for the end of headers (spec §4.8).
    pub pair_end_lists: bool,
    /// Short forms of IPv4 addresses such as `10.1` are understood (spec §2.3).
    pub short_ipv4: bool,
    /// Discard at rcpt ends the message for the filter; libmilter stays in it (spec §6.6).
    pub discard_at_rcpt_ends_message: bool,
    /// Accept and discard at unknown, and discard at connect and helo, go out as continue (spec §3.2).
    pub mend_verdicts: bool,
    /// Skip may only answer the body (spec §3.5).
    pub skip_body_only: bool,
    /// Packets of a replaced body are kept back and leave in a row, right before the verdict (spec §3.14).
    pub body_last: bool,
    /// A connection that is lost before the verdict on the end of message aborts the message (spec §6.7).
    pub abort_unanswered_end: bool,
    /// Text of modifications is looked at before it is sent; libmilter sends what it is given (spec §9.4).
    pub check_edits: bool,
    /// [`Limits::payload`](crate::Limits::payload) bounds what is sent as well as what is received, whatever size
    /// was negotiated (spec §9.4, `smfi_setmaxdatasize`).
    pub one_payload_limit: bool,
    /// Modifications are possible from the end-of-message command on, so also on the last piece of the body that it
    /// may bring along (spec §9.4).
    pub edit_last_piece: bool,
    /// Pieces of a body that an MTA sends although it was to be skipped are thrown away; libmilter gives them to
    /// the filter.
    pub drop_skipped_body: bool,
    /// A sender that cannot be read aborts a message that never began, and whatever cannot be read clears macros as if it
    /// could (spec §6.6).
    pub abort_unreadable_sender: bool,
    /// The last byte of connect, helo, header and unknown is NUL, even behind bytes that are ignored (spec §2.3, §2.8).
    pub need_final_nul: bool,
    /// Macros can still be looked up when the connection ends (spec §2.14).
    pub keep_macros_to_the_end: bool,
}

impl Rules {
    /// The rules of Tamis: the "MUST" of the specification everywhere.
    pub const fn tamis() -> Self {
        Self {
            refuse_trailing_bytes: false,
            pair_end_lists: true,
            short_ipv4: false,
            discard_at_rcpt_ends_message: true,
            mend_verdicts: true,
            skip_body_only: true,
            body_last: true,
            abort_unanswered_end: true,
            check_edits: true,
            one_payload_limit: false,
            edit_last_piece: false,
            drop_skipped_body: true,
            abort_unreadable_sender: false,
            need_final_nul: false,
            keep_macros_to_the_end: false,
        }
    }

    /// What a program written for libmilter expects, short of leaving the MTA hanging.
    pub const fn libmilter() -> Self {
        Self {
            refuse_trailing_bytes: false,
            pair_end_lists: false,
            short_ipv4: true,
            discard_at_rcpt_ends_message: false,
            mend_verdicts: false,
            skip_body_only: false,
            body_last: false,
            abort_unanswered_end: false,
            check_edits: false,
            one_payload_limit: true,
            edit_last_piece: true,
            drop_skipped_body: false,
            abort_unreadable_sender: true,
            need_final_nul: true,
            keep_macros_to_the_end: true,
        }
    }

    /// Also ends the session for bytes after the expected strings.
    #[must_use]
    pub const fn strict(mut self) -> Self {
        self.refuse_trailing_bytes = true;
        self
    }
}

impl Default for Rules {
    fn default() -> Self {
        Self::tamis()
    }
}

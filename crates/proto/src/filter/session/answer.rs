//! What the filter says: verdicts, modifications, progress.

use bytes::{Buf, Bytes};

use super::super::table::State;
use super::{FilterSession, LastPiece, NewBody, Sent, Waits};
use crate::edit::{self, Edit, EditRules};
use crate::error::Misuse;
use crate::negotiate::{See, Steps};
use crate::reply::{Reply, Verdict};
use crate::stage::Stage;

impl FilterSession {
    /// Gives the verdict on the last event. At a watched stage it is `Continue`, and nothing is sent.
    ///
    /// # Errors
    ///
    /// When no event waits, or the verdict does not exist at this stage. Nothing is sent then, and the event
    /// still waits.
    pub fn respond(&mut self, verdict: Verdict) -> Result<Sent, Misuse> {
        let Waits::Verdict(stage) = self.waits else { return Err(Misuse::NoVerdictDue) };
        self.check_verdict(&verdict, stage)?;
        let mended = self.rules.mend_verdicts && misleads(&verdict, stage);
        let verdict = if mended { Verdict::Continue } else { verdict };
        self.waits = Waits::Bytes;
        self.macros.leave(stage);
        let sent = if self.last_piece == LastPiece::Given {
            self.answer_last_piece(&verdict, None)
        } else {
            self.answer(stage, &verdict, None)
        };
        Ok(if mended { Sent::ContinueInstead } else { sent })
    }

    pub(super) fn check_verdict(&self, verdict: &Verdict, stage: Stage) -> Result<(), Misuse> {
        if self.see[stage.index()] == See::Watch && *verdict != Verdict::Continue {
            return Err(Misuse::NoReplyStage(stage));
        }
        if *verdict == Verdict::Skip && stage != Stage::Body && self.rules.skip_body_only {
            return Err(Misuse::NotAtThisStage { verdict: verdict.name(), stage });
        }
        Ok(())
    }

    /// Answers with a verdict; `text` is an SMTP reply that goes out in place of it.
    pub(super) fn answer(&mut self, stage: Stage, verdict: &Verdict, text: Option<&[u8]>) -> Sent {
        if stage == Stage::EndOfMessage {
            let new_body = std::mem::take(&mut self.new_body);
            if let NewBody::Kept(Some(pieces)) = new_body
                && !verdict.stops()
            {
                edit::put_body(&mut self.output, *pieces);
            }
        }
        let due = self.steps.answers(stage);
        if due {
            let wire = match verdict {
                Verdict::Skip if !self.steps.contains(Steps::SKIP) => &Verdict::Continue,
                _ => verdict,
            };
            say(wire, text, self.output.frames());
        }
        if stage == Stage::Body && *verdict == Verdict::Skip && self.rules.drop_skipped_body {
            self.skips_body = true;
        }
        if self.state.in_message() && verdict.ends_message(stage, self.rules.discard_at_rcpt_ends_message) {
            self.settled = verdict.clone();
            self.state = State::Settled;
        }
        if stage.in_message() && !self.state.in_message() {
            self.deferred = None;
        }
        if due { Sent::Given } else { Sent::NotDue }
    }

    /// Answers body data inside the end of message, for which the MTA waits for one verdict only.
    pub(super) fn answer_last_piece(&mut self, verdict: &Verdict, text: Option<&[u8]>) -> Sent {
        if matches!(verdict, Verdict::Continue | Verdict::Skip) {
            self.last_piece = LastPiece::Passed;
            return Sent::NotDue;
        }
        self.last_piece = LastPiece::Decided;
        self.state = State::Ended;
        self.deferred = None;
        say(verdict, text, self.output.frames());
        Sent::Given
    }

    /// Gives the next answered stage this verdict: for a filter that failed, or decided, where no answer is due.
    ///
    /// From now on answered stages are not given as events, until the verdict was said: at rcpt to this and every
    /// later recipient, at any other stage once. The end of the message drops it.
    pub fn defer(&mut self, verdict: Verdict) {
        self.deferred = (verdict != Verdict::Continue).then_some(verdict);
    }

    /// Whether the waiting event takes a verdict other than continue: it does not where the filter only watches.
    pub fn takes_verdict(&self) -> bool {
        matches!(self.waits, Waits::Verdict(stage) if self.see[stage.index()] == See::Answer)
    }

    /// Whether a modification could be sent at end of message, without sending it: see [`EditRules::check`].
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn check_edit<B: AsRef<[u8]>>(&self, edit: &Edit<B>) -> Result<(), Misuse> {
        self.edit_rules().check(edit)
    }

    /// What was negotiated about modifications.
    pub fn edit_rules(&self) -> EditRules {
        let mut edits = EditRules::new(self.actions, self.data_size);
        if self.rules.one_payload_limit {
            edits = edits.limited(self.limits.payload);
        }
        if self.rules.check_edits { edits } else { edits.any_text() }
    }

    /// Asks for a modification; the end of message must be waiting for its verdict.
    ///
    /// A replaced body of any size is split into packets; pieces of it are gathered and leave last, as Postfix
    /// wants them in a row.
    ///
    /// # Errors
    ///
    /// When it is not the end of message, or as [`check_edit`](Self::check_edit). Nothing is sent then.
    pub fn edit(&mut self, edit: Edit<Bytes>) -> Result<(), Misuse> {
        if !self.at_end_of_message() {
            return Err(Misuse::NotAtEndOfMessage);
        }
        self.check_edit(&edit)?;
        match (self.without_space(edit), &mut self.new_body) {
            (_, NewBody::Begun) => return Err(Misuse::InsideBody),
            (Edit::ReplaceBody(piece), NewBody::Kept(pieces)) if self.rules.body_last => {
                pieces.get_or_insert_default().push(piece);
            }
            (Edit::ReplaceBody(piece), _) => edit::put_body(&mut self.output, vec![piece]),
            (edit, _) => edit.encode(self.output.frames()),
        }
        Ok(())
    }

    /// Sends a piece of a replaced body at once, for bodies that are not to be in memory as a whole: write the
    /// [`output`](Self::output) before the next piece. The end of message must be waiting for its verdict.
    ///
    /// Pieces given to [`edit`](Self::edit) before leave first. From now on there can be no other modification and no
    /// progress. Only a verdict that refuses the message takes back what was sent.
    ///
    /// # Errors
    ///
    /// When it is not the end of message, or as [`check_edit`](Self::check_edit). Nothing is sent then.
    pub fn stream_body(&mut self, piece: Bytes) -> Result<(), Misuse> {
        if !self.at_end_of_message() {
            return Err(Misuse::NotAtEndOfMessage);
        }
        self.check_edit(&Edit::ReplaceBody(&piece))?;
        let mut pieces = match std::mem::replace(&mut self.new_body, NewBody::Begun) {
            NewBody::Kept(pieces) => pieces.map_or_else(Vec::new, |pieces| *pieces),
            NewBody::Begun if piece.is_empty() => return Ok(()),
            NewBody::Begun => Vec::new(),
        };
        pieces.push(piece);
        edit::put_body(&mut self.output, pieces);
        Ok(())
    }

    /// Takes off the leading space that the filter counts on and the MTA puts there by itself.
    pub(super) fn without_space(&self, mut edit: Edit<Bytes>) -> Edit<Bytes> {
        if let Edit::AddHeader { value, .. }
        | Edit::InsertHeader { value, .. }
        | Edit::ChangeHeader { value, .. } = &mut edit
            && self.mends_space
            && value.first() == Some(&b' ')
        {
            value.advance(1);
        }
        edit
    }

    /// Tells the MTA that the filter is still working; the end of message must be waiting for its verdict.
    ///
    /// # Errors
    ///
    /// When it is not the end of message, or packets of a new body were sent.
    #[doc(alias = "smfi_progress")]
    pub fn progress(&mut self) -> Result<(), Misuse> {
        let frame = self.progress_frame()?;
        self.output.frames().extend_from_slice(frame);
        Ok(())
    }

    /// The bytes that [`progress`](Self::progress) writes, for a driver that writes them while something else
    /// holds the session. The output must be empty at that time.
    ///
    /// # Errors
    ///
    /// As [`progress`](Self::progress).
    pub fn progress_frame(&self) -> Result<&'static [u8], Misuse> {
        match self.new_body {
            _ if !self.at_end_of_message() => Err(Misuse::NotAtEndOfMessage),
            NewBody::Begun => Err(Misuse::InsideBody),
            NewBody::Kept(_) => Ok(crate::reply::PROGRESS_FRAME),
        }
    }

    pub(super) fn at_end_of_message(&self) -> bool {
        self.waits == Waits::Verdict(Stage::EndOfMessage)
            || self.last_piece == LastPiece::Given && self.rules.edit_last_piece
    }
}

fn say(verdict: &Verdict, text: Option<&[u8]>, out: &mut Vec<u8>) {
    match text {
        Some(text) => Reply::Custom(text).encode(out),
        None => verdict.encode(out),
    }
}

/// Whether MTAs do something else than the verdict says at this stage: both ignore or worse a discard at
/// connect and helo, and accept or discard at unknown upset the next message (spec §3.2).
pub(super) fn misleads(verdict: &Verdict, stage: Stage) -> bool {
    match verdict {
        Verdict::Discard => matches!(stage, Stage::Connect | Stage::Helo | Stage::Unknown),
        Verdict::Accept => stage == Stage::Unknown,
        _ => false,
    }
}

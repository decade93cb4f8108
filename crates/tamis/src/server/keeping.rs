//! What is kept of a message, and what becomes of it: from its begin to the edits at its end.

use bytes::Bytes;
use tamis_proto::Stage;

use super::call;
use super::connection::{Connection, Declared};
use super::lost::Lost;
use super::work::{Turn, Work};
use crate::filter::{BoxError, Copies, Event, Filter, MessageState, MtaHints};
use crate::message::{Envelope, Facts, Replacement};
use crate::recorder::Cause;

impl<F: Filter> Connection<F> {
    /// Begins to keep a message.
    pub(super) fn begin_message(&mut self, work: &mut Work<F>) {
        work.open = true;
        let Declared { collect, own_space, .. } = self.declared;
        let rules = self.session.edit_rules();
        work.message.transaction.begin(collect, rules, own_space, &self.shared.bodies);
    }

    /// Forgets the message, however it ended.
    pub(super) fn end_message(&mut self, work: &mut Work<F>) {
        self.drop_state(&mut work.message);
        if let Some(envelope) = &mut self.envelope {
            envelope.end_message();
        }
        work.open = false;
        work.turn = Turn::Filter;
    }

    /// Forgets who connected to the MTA, which may go on with another client.
    pub(super) fn forget_client(&mut self) {
        if let Some(envelope) = &mut self.envelope {
            **envelope = Envelope::default();
        }
    }

    /// Drops the state of a message, which is the filter's code too.
    pub(super) fn drop_state(&mut self, message: &mut MessageState<F::Message>) {
        if let Err(text) = call::guard(|| drop(std::mem::take(message))) {
            self.dead = true;
            let what = format!("panic: {text}");
            tracing::error!("filter failed at the end of its message: {what}");
            self.shared.witness.failed("the end of its message", &what);
            self.record(Cause::Panic, "the end of its message", &what);
        }
    }

    /// Sends the modifications but for a new body, which is returned.
    pub(super) fn modify(&mut self, work: &mut Work<F>) -> Result<Option<Replacement>, BoxError> {
        let options = &self.shared.options;
        let hints =
            MtaHints { target: options.mta, header_macros: self.header_macros, strict: options.strict };
        let target = || hints.target(self.session.macros());
        let transaction = std::mem::take(&mut work.message.transaction);
        let (edits, body) = transaction.into_edits(target, options.strict)?;
        for edit in edits {
            self.session.edit(edit)?;
        }
        Ok(body)
    }

    /// Sends a new body, reading on when what was read is written; the last of it leaves with the verdict. Nothing, not
    /// even progress, may be sent meanwhile.
    pub(super) async fn send_body(&mut self, body: &Replacement) -> Result<Result<(), BoxError>, Lost> {
        let mut packets = body.packets();
        while let Some(packet) = packets.next().await {
            let streamed =
                packet.map_err(BoxError::from).and_then(|packet| Ok(self.session.stream_body(packet)?));
            if streamed.is_err() {
                return Ok(streamed);
            }
            if self.session.output().len() >= self.session.replies_limit() {
                self.flush().await?;
            }
        }
        Ok(Ok(()))
    }

    /// Takes note of what belongs to the envelope, and of what tells MTAs apart.
    pub(super) fn observe(&mut self, stage: Stage, event: &Event) {
        if stage == Stage::Header {
            self.header_macros = self.header_macros || self.session.macros().of_stage(stage).next().is_some();
        }
        let Some(envelope) = &mut self.envelope else { return };
        if stage.in_message() && !self.declared.collect.envelope {
            return;
        }
        // It stays for longer than what was read with it; what stays while the connection is idle takes no more than it is.
        let event = if stage.in_message() {
            Copies::default().of(event)
        } else {
            event.clone().map(|bytes| Bytes::copy_from_slice(&bytes))
        };
        envelope.observe(&event, Facts::new(self.session.macros()));
    }
}

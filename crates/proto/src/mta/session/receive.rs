//! What the filter says: the answer to the offer, modifications, verdicts.

use std::time::Instant;

use super::{Agreed, BodyRun, Edits, MtaEvent, MtaSession, Phase};
use crate::edit::model::Profile;
use crate::edit::{Edit, validate};
use crate::error::{Error, Fault, Misuse};
use crate::frame::Frame;
use crate::negotiate::{self, Agreement, DataSize, MIN_VERSION, Offer, Steps};
use crate::reply::{self, Reply, SmtpReply, Verdict};
use crate::stage::Stage;

impl MtaSession {
    /// Takes what the filter says next off `buf`: the bytes it used, and the event if there is one.
    ///
    /// Call it again with the rest of the buffer until there is no event.
    ///
    /// # Errors
    ///
    /// When the filter breaks the protocol, also by speaking while nothing is due. The session is over.
    pub fn next<'b>(&mut self, buf: &'b [u8], now: Instant) -> Result<(usize, Option<MtaEvent<'b>>), Error> {
        if buf.is_empty() || self.phase == Phase::Closed {
            return Ok((0, None));
        }
        let Some(waits) = self.waits else {
            return Err(self.fail(buf.get(4).copied(), Fault::Unsolicited));
        };
        let parsed = Frame::parse(buf, self.config.limits.payload).map_err(|fault| self.fail(None, fault))?;
        let Some((used, frame)) = parsed else { return Ok((0, None)) };
        let event = match waits.stage {
            None => self.take_answer(frame),
            Some(stage) => self.take_reply(frame, stage),
        };
        let event = event.map_err(|fault| self.fail(Some(frame.code), fault))?;
        if let Some(waits) = &mut self.waits {
            waits.alive = now;
        }
        self.offset += used as u64;
        Ok((used, Some(event)))
    }

    pub(super) fn take_answer<'b>(&mut self, frame: Frame<'b>) -> Result<MtaEvent<'b>, Fault> {
        let Reply::Negotiate(answer) = Reply::decode(frame)? else { return Err(Fault::OutOfOrder) };
        let Offer { version, actions, steps } = negotiate::normalize(self.config.offer);
        if answer.version < MIN_VERSION || answer.version > version {
            return Err(Fault::BadVersion(answer.version));
        }
        let excess = answer.actions & !actions;
        if !excess.is_empty() {
            return Err(Fault::ExcessActions(excess.bits()));
        }
        let excess = answer.steps & !steps;
        if !excess.is_empty() && self.config.strict {
            return Err(Fault::ExcessSteps(excess.bits()));
        }
        let (macros, unknown_stages) =
            negotiate::MacroLists::decode(answer.macros, self.config.limits.macros)?;
        let steps = answer.steps & steps;
        let sizes = [DataSize::M1, DataSize::K256];
        let data_size = sizes.into_iter().find(|size| steps.intersects(negotiate::size_bit(*size)));
        let data_size = data_size.unwrap_or_default();
        self.agreed = Agreed { version: answer.version, actions: answer.actions, steps, data_size };
        self.phase = Phase::Negotiated;
        self.waits = None;
        let agreement =
            Agreement { version: answer.version, actions: answer.actions, steps, data_size, macros };
        Ok(MtaEvent::Negotiated { agreement, unknown_stages })
    }

    pub(super) fn take_reply<'b>(&mut self, frame: Frame<'b>, stage: Stage) -> Result<MtaEvent<'b>, Fault> {
        let reply = match Reply::decode(frame) {
            Err(Fault::UnexpectedPayload) if !self.config.strict => {
                Reply::decode(Frame { payload: &[], ..frame })?
            }
            Err(_) if reply::is_custom(frame.code) => return self.mend(stage, frame.payload),
            reply => reply?,
        };
        let verdict = match reply {
            Reply::Edit(edit) => return self.take_edit(edit, stage),
            Reply::Progress if stage == Stage::EndOfMessage => {
                self.edits.interrupt();
                return Ok(MtaEvent::Progress);
            }
            Reply::Continue => Verdict::Continue,
            Reply::Accept => Verdict::Accept,
            Reply::Reject => Verdict::Reject,
            Reply::Tempfail => Verdict::Tempfail,
            Reply::Discard => Verdict::Discard,
            Reply::Skip if stage == Stage::Body && self.agreed.steps.contains(Steps::SKIP) => Verdict::Skip,
            Reply::Custom(text) => match SmtpReply::parse(text) {
                Ok(reply) => reply.into(),
                Err(_) => return self.mend(stage, text),
            },
            Reply::Skip if stage == Stage::Body => return Err(Fault::NotNegotiated),
            Reply::Skip
            | Reply::Progress
            | Reply::Negotiate(_)
            | Reply::ConnectionFailed
            | Reply::Shutdown => return Err(Fault::OutOfOrder),
        };
        Ok(self.conclude(stage, verdict, false))
    }

    pub(super) fn take_edit<'b>(
        &mut self,
        edit: Edit<&'b [u8]>,
        stage: Stage,
    ) -> Result<MtaEvent<'b>, Fault> {
        if stage != Stage::EndOfMessage {
            return Err(Fault::OutOfOrder);
        }
        if let Edit::ReplaceBody(bytes) = edit {
            // Postfix calls this a configuration error, Sendmail does not mind (spec §3.12).
            if self.edits.body == BodyRun::Broken && self.config.profile == Profile::Postfix {
                return Err(Fault::ScatteredBody);
            }
            self.edits.body = BodyRun::Running;
            self.edits.body_bytes += bytes.len() as u64;
            if self.edits.body_bytes > self.config.body_limit {
                return Err(Fault::BodyTooLong { limit: self.config.body_limit });
            }
        } else {
            self.edits.interrupt();
        }
        let action = edit.action();
        if !self.agreed.actions.contains(action) {
            return if self.config.strict {
                Err(Fault::NotNegotiated)
            } else {
                Ok(MtaEvent::RefusedEdit(edit, Misuse::DisabledAction(action)))
            };
        }
        // What is sent on may be as unsafe as it was; only what no side of ours would send is not.
        let checked = if self.config.relays { validate::edit(&edit) } else { validate::received_edit(&edit) };
        Ok(match checked {
            Ok(()) => MtaEvent::Edit(edit),
            Err(invalid) => MtaEvent::RefusedEdit(edit, invalid.into()),
        })
    }

    pub(super) fn conclude<'b>(&mut self, stage: Stage, verdict: Verdict, mended: bool) -> MtaEvent<'b> {
        self.waits = None;
        let shuts_down = matches!(&verdict, Verdict::Reply(reply) if reply.code() == 421);
        match stage {
            _ if shuts_down => self.phase = Phase::SitsOut,
            // Both MTAs go on after a discard here (spec §3.2).
            Stage::Connect | Stage::Helo if !matches!(verdict, Verdict::Continue | Verdict::Discard) => {
                self.phase = Phase::SitsOut;
            }
            Stage::Connect | Stage::Helo | Stage::EndOfMessage => {}
            Stage::Unknown => {
                if verdict == Verdict::Accept && self.in_message() {
                    self.phase = Phase::Settled;
                }
            }
            Stage::Rcpt if matches!(verdict, Verdict::Reject | Verdict::Tempfail | Verdict::Reply(_)) => {
                self.refused += 1;
            }
            _ => match verdict {
                Verdict::Continue => {}
                Verdict::Skip => self.skips_body = true,
                _ => {
                    self.discarded = verdict == Verdict::Discard;
                    self.phase = Phase::Settled;
                }
            },
        }
        self.leaves_silently |= self.phase == Phase::SitsOut && matches!(stage, Stage::Connect | Stage::Helo);
        MtaEvent::Verdict { stage, verdict, mended }
    }

    /// Takes the verdict that a text means which is no SMTP reply: its first digit still tells (spec §12.3).
    pub(super) fn mend<'b>(&mut self, stage: Stage, text: &[u8]) -> Result<MtaEvent<'b>, Fault> {
        let verdict = match text.first() {
            Some(b'5') => Verdict::Reject,
            Some(b'4') => Verdict::Tempfail,
            _ => return Err(Fault::BadReply),
        };
        Ok(self.conclude(stage, verdict, true))
    }
}

impl Edits {
    /// Something other than a piece of the body came.
    fn interrupt(&mut self) {
        if self.body == BodyRun::Running {
            self.body = BodyRun::Broken;
        }
    }
}

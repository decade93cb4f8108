//! The filter under test: a [`Script`] as a Tamis filter.

mod configured;
mod function;
mod kept;
mod serving;

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tamis::proto::command::{Client, Envelope};
use tamis::{
    Actions, BoxError, Collect, Context, Event, Filter, MacroStage, Needs, Reply, SmtpReply, Verdict,
};

pub use self::configured::Configured;
pub(crate) use self::configured::keep_lines;
pub use self::serving::{ConfiguredHost, RunningChain, TamisHost};
use crate::host::EventLog;
use crate::script::{Action, Attention, Edit, KeptEdit, Position, Script, Stage, Verdict as Answer};

/// A script in one connection.
pub(crate) struct ScriptFilter {
    script: Arc<Script>,
    log: EventLog,
    position: Position,
}

impl ScriptFilter {
    pub(crate) fn new(script: Arc<Script>, log: EventLog) -> Self {
        Self { script, log, position: Position::default() }
    }

    /// Writes the event down, and returns the stage and what the script's rules compare.
    fn note(&self, cx: &Context<'_, BytesMut>, event: &Event) -> Option<(Stage, Bytes)> {
        let log = &self.log;
        Some(match event {
            Event::Connect(connect) => {
                let address = match connect.client() {
                    Client::Inet(address) => Some(address.ip().to_string()),
                    _ => None,
                };
                log.connect(&connect.host, address.as_deref());
                (Stage::Connect, address.unwrap_or_default().into())
            }
            Event::Helo(name) => {
                log.helo(name);
                (Stage::Helo, name.clone())
            }
            Event::Mail(sender) => {
                log.mail(&sender.address, sender.args());
                (Stage::Mail, sender.address.clone())
            }
            Event::Rcpt(recipient) => {
                log_recipient(log, cx, recipient);
                (Stage::Rcpt, recipient.address.clone())
            }
            Event::Header(header) => {
                log.header(&header.name, &header.value);
                (Stage::Header, header.name.clone())
            }
            Event::Body(piece) => {
                log.body(piece);
                (Stage::Body, Bytes::new())
            }
            Event::Unknown(line) => {
                log.unknown(line);
                (Stage::Unknown, line.clone())
            }
            Event::Data => self.plain("data", Stage::Data),
            Event::EndOfHeaders => self.plain("eoh", Stage::EndOfHeaders),
            Event::EndOfMessage => self.plain("eom", Stage::EndOfMessage),
            Event::Abort => {
                log.plain("abort");
                return None;
            }
            Event::Close => {
                log.plain("close");
                return None;
            }
            Event::Negotiate(_) => return None,
        })
    }

    fn plain(&self, name: &str, stage: Stage) -> (Stage, Bytes) {
        self.log.plain(name);
        (stage, Bytes::new())
    }

    /// Writes down what the library kept of the message.
    async fn note_kept(&self, cx: &Context<'_, BytesMut>) -> Result<(), BoxError> {
        if self.script.keeps_headers() {
            for header in cx.headers()? {
                self.log.field(header.name().as_bytes(), header.value().as_bytes());
            }
        }
        if self.script.keeps_body() {
            let body = cx.body()?;
            self.log.kept_body(&body.to_bytes(usize::MAX).await?);
        }
        Ok(())
    }

    fn collects_body(&self) -> bool {
        self.script.all_actions().any(|action| matches!(action, Action::Edit(Edit::AppendBody(_))))
    }
}

fn log_recipient(log: &EventLog, cx: &Context<'_, BytesMut>, recipient: &Envelope<Bytes>) {
    let rejected = cx.macro_value("{rcpt_mailer}") == Some(b"error");
    log.rcpt(&recipient.address, recipient.args(), rejected);
}

impl Filter for ScriptFilter {
    /// The body, where the script appends to it.
    type Message = BytesMut;

    fn needs(&self) -> Needs {
        let mut needs = Needs::new().require(actions(&self.script));
        for stage in Stage::ALL {
            needs = match self.script.attention(stage) {
                Attention::Answer => needs.answer([tamis_stage(stage)]),
                Attention::Watch => needs.watch([tamis_stage(stage)]),
                Attention::Off => needs,
            };
            if let Some(names) = self.script.needs.macros.get(&stage) {
                needs = needs.macros(macro_stage(stage), names);
            }
        }
        if self.script.needs.rejected_recipients {
            needs = needs.rejected_recipients();
        }
        if self.script.needs.leading_space {
            needs = needs.leading_space();
        }
        needs
    }

    fn collect(&self) -> Collect {
        let mut collect = Collect::nothing();
        if self.script.keeps_headers() {
            collect = collect.headers();
        }
        if self.script.keeps_body() {
            collect = collect.body();
        }
        collect
    }

    async fn on(&mut self, cx: &mut Context<'_, BytesMut>, event: Event) -> Reply {
        if let (Event::Body(piece), true) = (&event, self.collects_body()) {
            cx.message.extend_from_slice(piece);
        }
        let Some((stage, argument)) = self.note(cx, &event) else { return Ok(Verdict::Continue) };
        if stage == Stage::EndOfMessage {
            self.note_kept(cx).await?;
        }
        let script = self.script.clone();
        for action in script.actions(&mut self.position, stage, &argument) {
            match action {
                Action::Sleep(time) => tokio::time::sleep(*time).await,
                Action::Edit(edit) => apply(cx, edit)?,
                Action::Kept(edit @ KeptEdit::ExtendBody(_)) => {
                    let (allowance, body) = (cx.allowance(), cx.body()?.clone());
                    cx.set_body(kept::new_body(edit, &allowance, &body).await?)?;
                }
                Action::Kept(edit) => kept::edit_header(cx.headers_mut()?, edit)?,
                Action::Macro(name) => self.log.macro_value(name, cx.macro_value(name)),
                Action::Verdict(verdict) => return tamis_verdict(verdict),
            }
        }
        Ok(Verdict::Continue)
    }
}

fn apply(cx: &mut Context<'_, BytesMut>, edit: &Edit) -> Result<(), BoxError> {
    if let Edit::AppendBody(text) = edit {
        let body = std::mem::take(cx.message).freeze();
        cx.edit(tamis::Edit::ReplaceBody(body))?;
        cx.edit(tamis::Edit::ReplaceBody(text.clone().into()))?;
    } else {
        cx.edit(wire(edit))?;
    }
    Ok(())
}

/// An edit as it stands on the wire.
fn wire(edit: &Edit) -> tamis::Edit<Bytes> {
    let bytes = |text: &Vec<u8>| Bytes::from(text.clone());
    let args = |text: &Vec<u8>| (!text.is_empty()).then(|| bytes(text));
    match edit {
        Edit::AddHeader { name, value } => tamis::Edit::AddHeader { name: bytes(name), value: bytes(value) },
        Edit::InsertHeader { index, name, value } => {
            tamis::Edit::InsertHeader { index: *index, name: bytes(name), value: bytes(value) }
        }
        Edit::ChangeHeader { index, name, value } => {
            tamis::Edit::ChangeHeader { index: *index, name: bytes(name), value: bytes(value) }
        }
        Edit::AddRecipient { path, arguments } if arguments.is_empty() => {
            tamis::Edit::AddRecipient { address: bytes(path) }
        }
        Edit::AddRecipient { path, arguments } => {
            tamis::Edit::AddRecipientWithArgs { address: bytes(path), args: args(arguments) }
        }
        Edit::DeleteRecipient { path } => tamis::Edit::DeleteRecipient { address: bytes(path) },
        Edit::ChangeSender { path, arguments } => {
            tamis::Edit::ChangeSender { address: bytes(path), args: args(arguments) }
        }
        Edit::ReplaceBody(body) => tamis::Edit::ReplaceBody(bytes(body)),
        Edit::AppendBody(_) => unreachable!("only a filter of events keeps the body for it itself"),
        Edit::Quarantine { reason } => tamis::Edit::Quarantine { reason: bytes(reason) },
    }
}

fn actions(script: &Script) -> Actions {
    script.all_actions().fold(Actions::empty(), |all, action| {
        let edit = match action {
            Action::Edit(edit) => edit,
            Action::Kept(KeptEdit::ExtendBody(_)) => return all | Actions::REPLACE_BODY,
            Action::Kept(_) => return all | Actions::ADD_HEADERS | Actions::CHANGE_HEADERS,
            _ => return all,
        };
        all | match edit {
            Edit::AddHeader { .. } | Edit::InsertHeader { .. } => Actions::ADD_HEADERS,
            Edit::ChangeHeader { .. } => Actions::CHANGE_HEADERS,
            Edit::AddRecipient { arguments, .. } if arguments.is_empty() => Actions::ADD_RECIPIENTS,
            Edit::AddRecipient { .. } => Actions::ADD_RECIPIENTS_WITH_ARGS,
            Edit::DeleteRecipient { .. } => Actions::DELETE_RECIPIENTS,
            Edit::ChangeSender { .. } => Actions::CHANGE_SENDER,
            Edit::ReplaceBody(_) | Edit::AppendBody(_) => Actions::REPLACE_BODY,
            Edit::Quarantine { .. } => Actions::QUARANTINE,
        }
    })
}

fn tamis_verdict(verdict: &Answer) -> Reply {
    Ok(match verdict {
        Answer::Continue => Verdict::Continue,
        Answer::Accept => Verdict::Accept,
        Answer::Reject => Verdict::Reject,
        Answer::Tempfail => Verdict::Tempfail,
        Answer::Discard => Verdict::Discard,
        Answer::Skip => Verdict::Skip,
        Answer::Reply { code, status, lines } => {
            SmtpReply::multiline(*code, status.as_deref().unwrap_or_default(), lines)?.into()
        }
    })
}

fn tamis_stage(stage: Stage) -> tamis::Stage {
    match stage {
        Stage::Connect => tamis::Stage::Connect,
        Stage::Helo => tamis::Stage::Helo,
        Stage::Mail => tamis::Stage::Mail,
        Stage::Rcpt => tamis::Stage::Rcpt,
        Stage::Data => tamis::Stage::Data,
        Stage::Header => tamis::Stage::Header,
        Stage::EndOfHeaders => tamis::Stage::EndOfHeaders,
        Stage::Body => tamis::Stage::Body,
        Stage::EndOfMessage => tamis::Stage::EndOfMessage,
        Stage::Unknown => tamis::Stage::Unknown,
    }
}

fn macro_stage(stage: Stage) -> MacroStage {
    let wanted = tamis_stage(stage);
    let found = MacroStage::ALL.into_iter().find(|stage| stage.stage() == wanted);
    found.unwrap_or_else(|| panic!("no macros can be asked for at {wanted}"))
}

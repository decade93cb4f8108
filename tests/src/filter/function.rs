//! A script as a function over each message.

use std::sync::Arc;

use tamis::linear::{Linear, Mail, ReadBody};
use tamis::{BoxError, Filter, Verdict};

use super::{actions, kept, tamis_stage, tamis_verdict, wire};
use crate::host::EventLog;
use crate::script::{Action, KeptEdit, Position, Script, Stage};

/// The filter of a script that is to be a function.
pub(super) fn filter(script: &Arc<Script>, log: &EventLog) -> impl Filter + use<> {
    let says = |stage| {
        let mut actions = script.actions_at(stage);
        actions.any(|action| matches!(action, Action::Verdict(_)))
    };
    let connection = Arc::new(Connection { script: script.clone(), log: log.clone() });
    let mut filter = Linear::new(move |mail: Mail| work(connection.clone(), mail)).require(actions(script));
    for stage in [Stage::Mail, Stage::Rcpt, Stage::EndOfHeaders] {
        if says(stage) {
            filter = filter.decides(tamis_stage(stage));
        }
    }
    if script.keeps_body() {
        filter = filter.body(ReadBody::Collect);
    }
    if script.needs.rejected_recipients {
        filter = filter.rejected_recipients();
    }
    if script.needs.leading_space { filter.leading_space() } else { filter }
}

/// What the function has on a connection.
struct Connection {
    script: Arc<Script>,
    log: EventLog,
}

impl Drop for Connection {
    /// The function is not told, but its filter is gone then.
    fn drop(&mut self) {
        self.log.plain("close");
    }
}

async fn work(connection: Arc<Connection>, mut mail: Mail) -> Result<Verdict, BoxError> {
    let Connection { script, log } = &*connection;
    let mut position = Position::default();
    let sender = mail.sender().address().clone();
    log.mail(sender.as_bytes(), []);
    if let Some(verdict) =
        act(script.actions(&mut position, Stage::Mail, sender.as_bytes()), &mut mail).await?
    {
        return Ok(verdict);
    }
    while let Some(recipient) = mail.recipient().await? {
        let address = recipient.address().as_bytes();
        log.rcpt(address, [], recipient.is_rejected());
        if let Some(verdict) = act(script.actions(&mut position, Stage::Rcpt, address), &mut mail).await? {
            mail.refuse(verdict)?;
        }
    }
    for header in mail.headers().await?.iter() {
        log.field(header.name().as_bytes(), header.value().as_bytes());
    }
    if let Some(verdict) = act(script.actions(&mut position, Stage::EndOfHeaders, b""), &mut mail).await? {
        return Ok(verdict);
    }
    if script.keeps_body() {
        log.kept_body(&mail.body().await?.to_bytes(usize::MAX).await?);
    }
    mail.end().await?;
    log.plain("eom");
    let verdict = act(script.actions(&mut position, Stage::EndOfMessage, b""), &mut mail).await?;
    Ok(verdict.unwrap_or_default())
}

async fn act(actions: impl Iterator<Item = &Action>, mail: &mut Mail) -> Result<Option<Verdict>, BoxError> {
    for action in actions {
        match action {
            Action::Sleep(time) => tokio::time::sleep(*time).await,
            Action::Edit(edit) => mail.edit(wire(edit))?,
            Action::Kept(edit @ KeptEdit::ExtendBody(_)) => {
                let (allowance, body) = (mail.allowance().clone(), mail.body().await?.clone());
                mail.set_body(kept::new_body(edit, &allowance, &body).await?)?;
            }
            Action::Kept(edit) => kept::edit_header(mail.headers().await?, edit)?,
            Action::Macro(name) => return Err(format!("a function does not look up {name}").into()),
            Action::Verdict(verdict) => return tamis_verdict(verdict).map(Some),
        }
    }
    Ok(None)
}

//! The filter under test: a [`Script`] as a Tamis filter.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tamis::proto::address::{Host, Port};
use tamis::proto::command::{Client, Envelope};
use tamis::remote::Milter;
use tamis::server::{BindOptions, ServeError, bind_with};
use tamis::{
    Actions, BoxError, Context, Event, Filter, MacroStage, Needs, Options, Reply, Server, Shutdown,
    SmtpReply, SocketSpec, Verdict,
};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use crate::host::{EventLog, FilterHost, Listen, RunningFilter};
use crate::script::{Action, Attention, Edit, Position, Script, Stage, Verdict as Answer};

/// Runs scripts on Tamis, in this process.
#[derive(Debug, Default)]
pub struct TamisHost {
    relayed: bool,
}

impl TamisHost {
    /// A host with nothing running.
    pub fn new() -> Self {
        Self::default()
    }

    /// A host whose filters are consulted by another, which is the one that the MTA asks.
    pub fn relayed() -> Self {
        Self { relayed: true }
    }
}

impl FilterHost for TamisHost {
    fn start(&self, script: &Script, listen: &Listen) -> Box<dyn RunningFilter> {
        let mut filter = ScriptServer {
            script: Arc::new(script.clone()),
            log: EventLog::default(),
            listen: listen.clone(),
            behind: self.relayed.then(|| TempDir::new().expect("a temporary folder can be made")),
            running: None,
        };
        filter.restart();
        Box::new(filter)
    }
}

/// A script being served.
struct ScriptServer {
    script: Arc<Script>,
    log: EventLog,
    listen: Listen,
    /// Where the script listens, if another filter stands between it and the MTA.
    behind: Option<TempDir>,
    running: Option<Running>,
}

struct Running {
    runtime: Runtime,
    shutdown: Shutdown,
    finished: mpsc::Receiver<()>,
}

impl RunningFilter for ScriptServer {
    fn log(&self) -> &EventLog {
        &self.log
    }

    fn kill(&mut self) {
        if let Some(running) = self.running.take() {
            running.runtime.shutdown_timeout(Duration::from_secs(10));
        }
    }

    fn restart(&mut self) {
        assert!(self.running.is_none(), "restarted while it runs");
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let mut options = BindOptions::default();
        // The MTA runs as another user.
        options.unix_mode = 0o666;
        let listen = |spec| {
            let _entered = runtime.enter();
            bind_with(&[spec], options).unwrap_or_else(|error| panic!("{error}"))
        };
        let front = spec(&self.listen);
        let milter = self.behind.as_ref().map(|folder| SocketSpec::Unix(folder.path().join("milter.sock")));
        let (script, log) = (self.script.clone(), self.log.clone());
        let mut settings = Options::default();
        if let Some(progress) = script.needs.progress {
            settings.progress_every = progress;
        }
        let make = move |_: &tamis::Peer| ScriptFilter::new(script.clone(), log.clone());
        let server = Server::new(make).options(settings.clone());
        let shutdown = Shutdown::new();
        let (done, finished) = mpsc::channel();
        let serve = |serving: Pin<Box<dyn Future<Output = Result<(), ServeError>> + Send>>| {
            let done = done.clone();
            runtime.spawn(async move {
                serving.await.expect("the listener keeps working");
                let _ = done.send(());
            });
        };
        if let Some(socket) = milter {
            serve(Box::pin(server.serve(listen(socket.clone()), shutdown.clone())));
            let milter = Milter::new(socket);
            let server = Server::new(move |_: &tamis::Peer| milter.connection()).options(settings);
            serve(Box::pin(server.serve(listen(front), shutdown.clone())));
        } else {
            serve(Box::pin(server.serve(listen(front), shutdown.clone())));
        }
        self.running = Some(Running { runtime, shutdown, finished });
    }

    fn shutdown(&mut self) {
        if let Some(running) = self.running.take() {
            running.shutdown.drain();
            (0..=usize::from(self.behind.is_some()))
                .for_each(|_| running.finished.recv().expect("serving ends"));
            running.runtime.shutdown_timeout(Duration::from_secs(10));
        }
    }
}

impl Drop for ScriptServer {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spec(listen: &Listen) -> SocketSpec {
    match listen {
        Listen::Tcp(address) => {
            let (host, port) = (Host::Ip(address.ip()), Port::Number(address.port()));
            if address.is_ipv6() { SocketSpec::Inet6 { host, port } } else { SocketSpec::Inet { host, port } }
        }
        Listen::Unix(path) => SocketSpec::Unix(path.clone()),
    }
}

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
                log.body(piece.len());
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

    async fn on(&mut self, cx: &mut Context<'_, BytesMut>, event: Event) -> Reply {
        if let (Event::Body(piece), true) = (&event, self.collects_body()) {
            cx.message.extend_from_slice(piece);
        }
        let Some((stage, argument)) = self.note(cx, &event) else { return Ok(Verdict::Continue) };
        let script = self.script.clone();
        for action in script.actions(&mut self.position, stage, &argument) {
            match action {
                Action::Sleep(time) => tokio::time::sleep(*time).await,
                Action::Edit(edit) => apply(cx, edit)?,
                Action::Macro(name) => self.log.macro_value(name, cx.macro_value(name)),
                Action::Verdict(verdict) => return tamis_verdict(verdict),
            }
        }
        Ok(Verdict::Continue)
    }
}

fn apply(cx: &mut Context<'_, BytesMut>, edit: &Edit) -> Result<(), BoxError> {
    let bytes = |text: &Vec<u8>| Bytes::from(text.clone());
    let args = |text: &Vec<u8>| (!text.is_empty()).then(|| bytes(text));
    let edit = match edit {
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
        Edit::AppendBody(text) => {
            let body = std::mem::take(cx.message).freeze();
            cx.edit(tamis::Edit::ReplaceBody(body))?;
            tamis::Edit::ReplaceBody(bytes(text))
        }
        Edit::Quarantine { reason } => tamis::Edit::Quarantine { reason: bytes(reason) },
    };
    Ok(cx.edit(edit)?)
}

fn actions(script: &Script) -> Actions {
    script.all_actions().fold(Actions::empty(), |all, action| {
        let Action::Edit(edit) = action else { return all };
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

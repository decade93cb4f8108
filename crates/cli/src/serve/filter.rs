//! The filter itself.

use std::sync::Arc;

use tamis::proto::command::{self, Connect};
use tamis::{Actions, Context, Event, Filter, Needs, Now, Reply, Stage, Verdict};

use super::append::{Appendix, MAX_BODY};
use super::header::Template;
use super::record::{Client, Record, bare, text};

/// What the filter does beyond logging.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) headers: Vec<Template>,
    pub(super) appendix: Option<Appendix>,
    /// The name of what a failure makes of a message.
    pub(super) on_failure: &'static str,
}

/// The filter of one connection.
#[derive(Debug)]
pub(super) struct Watcher {
    settings: Arc<Settings>,
    client: Client,
}

type Error = tamis::BoxError;

impl Watcher {
    pub(super) fn new(settings: Arc<Settings>) -> Self {
        Self { settings, client: Client::default() }
    }

    fn handle(&mut self, cx: &mut Context<'_, Record>, event: Event) -> Reply {
        if let Some(stage) = event.stage().filter(|stage| stage.in_message()) {
            if let Event::Mail(sender) = &event {
                cx.message.begin(&sender.address);
            }
            cx.message.stage = Some(stage);
            if cx.message.queue_id.is_none() {
                cx.message.queue_id = cx.queue_id().map(text);
            }
        }
        match event {
            Event::Connect(connect) => self.client = client(&connect),
            Event::Helo(name) => self.client.helo = Some(text(&name)),
            Event::Rcpt(recipient) => cx.message.recipient(&recipient.address),
            Event::Header(field) => {
                cx.message.header(&field.name, &field.value, field.implied_space);
                cx.message.content.see(&field.name, &field.value);
            }
            Event::Body(piece) => {
                cx.message.add_size(piece.len());
                if self.appends_to(cx.message) {
                    cx.message.body.push(piece);
                }
            }
            Event::EndOfMessage => {
                // The empty line between header and body.
                cx.message.add_size(2);
                let result = self.change(cx);
                let verdict = if result.is_ok() { Verdict::Accept.name() } else { self.settings.on_failure };
                cx.message.finished(&self.client, verdict);
                result?;
            }
            Event::Abort => cx.message.aborted(&self.client),
            _ => {}
        }
        Ok(Verdict::Continue)
    }

    /// Asks for all modifications.
    fn change(&self, cx: &mut Context<'_, Record>) -> Result<(), Error> {
        for header in &self.settings.headers {
            let value = header.expand(|name| self.macro_value(cx, name));
            cx.add_header(header.name.clone(), value)?;
        }
        let Some(appendix) = &self.settings.appendix else { return Ok(()) };
        if let Some(why) = appendix.objection(&cx.message.content) {
            tracing::debug!("no text is appended to the message: {why}");
            return Ok(());
        }
        let body = std::mem::take(&mut cx.message.body);
        if body.is_too_long() {
            tracing::warn!("no text is appended to a body of more than {} MiB", MAX_BODY >> 20);
            return Ok(());
        }
        for piece in appendix.append_to(body) {
            cx.replace_body(piece)?;
        }
        Ok(())
    }

    fn appends_to(&self, message: &Record) -> bool {
        self.settings.appendix.as_ref().is_some_and(|text| text.objection(&message.content).is_none())
    }

    /// A macro, or what is known in its stead where MTAs do not send it unless they are told to.
    fn macro_value<'m>(&'m self, cx: &'m Context<'_, Record>, name: &str) -> Option<&'m [u8]> {
        cx.macro_value(name).or_else(|| {
            Some(match name {
                "client_addr" => self.client.address.as_bytes(),
                "client_name" => self.client.name.as_bytes(),
                "client_port" => self.client.port.as_bytes(),
                "mail_addr" => cx.message.sender.as_bytes(),
                _ => return None,
            })
        })
    }
}

impl Filter for Watcher {
    type Message = Record;

    fn needs(&self) -> Needs {
        use Stage::{Body, Connect, EndOfMessage, Header, Helo, Mail, Rcpt};
        // No macro lists: they would replace what the MTA is configured to send.
        let needs = Needs::new().watch([Connect, Helo, Mail, Rcpt, Header, Body]).answer([EndOfMessage]);
        let mut actions = Actions::empty();
        actions.set(Actions::ADD_HEADERS, !self.settings.headers.is_empty());
        actions.set(Actions::REPLACE_BODY, self.settings.appendix.is_some());
        needs.require(actions)
    }

    fn now(&mut self, cx: &mut Context<'_, Record>, event: Event) -> Now {
        Now::Done(self.handle(cx, event))
    }

    async fn on(&mut self, cx: &mut Context<'_, Record>, event: Event) -> Reply {
        self.handle(cx, event)
    }
}

fn client(connect: &Connect<bytes::Bytes>) -> Client {
    let (address, port) = match connect.client() {
        command::Client::Inet(client) => (client.ip().to_string(), client.port().to_string()),
        command::Client::Unix(path) => (format!("unix:{}", text(path)), String::new()),
        command::Client::Unknown => ("unknown".to_owned(), String::new()),
    };
    Client { name: text(bare(&connect.host)), address, port, helo: None }
}

//! Logs everything that an MTA tells: each stage with its macros, each header field, each piece of the body.
//!
//! Nothing is ever answered, so the MTA does not wait. Behind Postfix:
//!
//! ```sh
//! cargo run -p tamis-examples --bin trace -- --bind-port 8899
//! postconf -e 'smtpd_milters = inet:127.0.0.1:8899' && postfix reload
//! ```

use std::fmt::Arguments;
use std::process::ExitCode;

use tamis::handler::Field;
use tamis::message::{Client, Recipient, Sender, Text};
use tamis::{Context, Needs, Offer};
use tracing::info;

pub(crate) struct Trace;

#[tamis::filter(rejected_recipients)]
impl Trace {
    fn negotiate(&mut self, offer: &Offer, needs: Needs) -> Needs {
        info!("negotiate: version {}, {}, {}", offer.version, offer.actions, offer.steps);
        needs
    }
    fn connect(&mut self, client: &Client, cx: &mut Context<'_, ()>) {
        log(cx, format_args!("connect: {client}, port {}", client.port().unwrap_or_default()));
    }
    fn helo(&mut self, name: &Text, cx: &mut Context<'_, ()>) {
        log(cx, format_args!("helo: {name:?}"));
    }
    fn mail(&mut self, sender: &Sender, cx: &mut Context<'_, ()>) {
        log(cx, format_args!("mail: {sender:?}"));
    }
    fn rcpt(&mut self, recipient: &Recipient, cx: &mut Context<'_, ()>) {
        log(cx, format_args!("rcpt: {recipient:?}"));
    }
    fn data(&mut self, cx: &mut Context<'_, ()>) {
        log(cx, format_args!("data"));
    }
    fn header(&mut self, field: &Field, cx: &mut Context<'_, ()>) {
        log(cx, format_args!("header: {:?}: {:?}", field.name(), field.value()));
    }
    fn end_of_headers(&mut self, cx: &mut Context<'_, ()>) {
        log(cx, format_args!("end of headers"));
    }
    fn body(&mut self, piece: &[u8], cx: &mut Context<'_, ()>) {
        log(cx, format_args!("body: {} bytes, \"{}\"", piece.len(), piece.escape_ascii()));
    }
    fn end_of_message(&mut self, cx: &mut Context<'_, ()>) {
        log(cx, format_args!("end of message"));
    }
    fn unknown(&mut self, line: &Text, cx: &mut Context<'_, ()>) {
        log(cx, format_args!("unknown command: {line:?}"));
    }
    fn abort(&mut self, cx: &mut Context<'_, ()>) {
        log(cx, format_args!("abort"));
    }
    fn close(&mut self, cx: &mut Context<'_, ()>) {
        log(cx, format_args!("close"));
    }
}

/// Logs an event, and the macros that came with it.
fn log(cx: &Context<'_, ()>, event: Arguments<'_>) {
    info!("{event}");
    for (name, value) in cx.stage().into_iter().flat_map(|stage| cx.macros().of_stage(stage)) {
        info!("  {} = {}", name.escape_ascii(), value.escape_ascii());
    }
}

fn main() -> ExitCode {
    tamis_examples::run(|_peer| Trace)
}

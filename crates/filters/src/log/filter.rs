//! The filter: looks on, and writes a line at the end.

use std::sync::Arc;
use std::time::Duration;

use tamis::message::{Envelope, Text};
use tamis::{Collect, Context, Event, Filter, Needs, Now, Reply, Stage, Verdict};
use tokio::time::Instant;

use super::Format;
use super::field::{Field, Over};
use super::line;
use crate::template::Template;
use crate::values::Asks;

/// Where lines go: what filters of logs know them by.
pub(super) const TARGET: &str = "tamis::message";

/// What lines look like, for all connections.
#[derive(Debug)]
pub(super) struct Plan {
    fields: Vec<Field>,
    format: Format,
    template: Option<Template<Field>>,
    aborted: bool,
    /// The header fields that are wanted.
    headers: Vec<String>,
    asks: Asks,
    wants_size: bool,
}

/// The filter of one connection.
#[derive(Debug)]
pub(super) struct LogFilter(Arc<Plan>);

/// What is known of a message.
#[derive(Debug, Default)]
pub(super) struct Message {
    begun: Option<Instant>,
    size: u64,
    headers: Vec<(String, Text)>,
}

impl Plan {
    pub(super) fn new(
        fields: Vec<Field>,
        format: Format,
        template: Option<Template<Field>>,
        aborted: bool,
    ) -> Self {
        let mut plan = Self {
            fields,
            format,
            template,
            aborted,
            headers: Vec::new(),
            asks: Asks::default(),
            wants_size: false,
        };
        let wanted: Vec<Field> = match &plan.template {
            Some(template) => template.values().cloned().collect(),
            None => plan.fields.clone(),
        };
        for field in wanted {
            match field {
                Field::Size => plan.wants_size = true,
                Field::Header(name) => plan.headers.push(name),
                Field::Known(value) => plan.asks.value(&value),
                Field::Outcome | Field::Seconds => {}
            }
        }
        plan
    }

    pub(super) fn macros(&self) -> Vec<String> {
        self.asks.macro_names()
    }

    fn write(&self, cx: &Context<'_, Message>, outcome: &'static str) {
        if !tracing::enabled!(target: TARGET, tracing::Level::INFO) {
            return;
        }
        let nobody = Envelope::default();
        let Message { begun, size, headers } = &*cx.message;
        let over = Over {
            envelope: cx.envelope().unwrap_or(&nobody),
            facts: cx.facts(),
            headers,
            outcome,
            time: begun.map_or(Duration::ZERO, |begun| begun.elapsed()),
            size: *size,
        };
        let line = match (&self.template, self.format) {
            (Some(template), _) => line::own(template, over),
            (None, Format::Text) => line::text(&self.fields, over),
            (None, Format::Json) => line::json(&self.fields, over),
            (None, Format::Journald) => return line::event(&self.fields, over),
        };
        tracing::info!(target: TARGET, "{line}");
    }
}

impl LogFilter {
    pub(super) fn new(plan: Arc<Plan>) -> Self {
        Self(plan)
    }
}

impl Filter for LogFilter {
    type Message = Message;

    fn needs(&self) -> Needs {
        let plan = &*self.0;
        let mut needs = Needs::new().watch([Stage::Mail, Stage::EndOfMessage]);
        if plan.wants_size || !plan.headers.is_empty() {
            needs = needs.watch([Stage::Header]);
        }
        if plan.wants_size {
            needs = needs.watch([Stage::Body]);
        }
        plan.asks.add_to(needs)
    }

    fn collect(&self) -> Collect {
        if self.0.asks.envelope { Collect::nothing().envelope() } else { Collect::nothing() }
    }

    fn now(&mut self, cx: &mut Context<'_, Message>, event: Event) -> Now {
        match event {
            Event::Mail(_) => cx.message.begun = Some(Instant::now()),
            Event::Header(header) => {
                let Message { size, headers, .. } = &mut *cx.message;
                // The colon, the space, the line end; a line break is one byte here and two in the message.
                let folds = header.value.split(|byte| *byte == b'\n').count() - 1;
                let length =
                    header.name.len() + header.value.len() + folds + 3 + usize::from(header.implied_space);
                *size += u64::try_from(length).unwrap_or_default();
                let is_wanted = |wanted: &&String| header.name.eq_ignore_ascii_case(wanted.as_bytes());
                if let Some(name) = self.0.headers.iter().find(is_wanted)
                    && headers.iter().all(|(known, _)| !known.eq_ignore_ascii_case(name))
                {
                    headers.push((name.clone(), unfolded(&header.value)));
                }
            }
            Event::Body(piece) => cx.message.size += u64::try_from(piece.len()).unwrap_or_default(),
            Event::EndOfMessage => {
                self.0.write(cx, "passed");
                cx.message.begun = None;
            }
            Event::Abort if self.0.aborted && cx.message.begun.is_some() => self.0.write(cx, "aborted"),
            _ => {}
        }
        Now::Done(Ok(Verdict::Continue))
    }

    async fn on(&mut self, _: &mut Context<'_, Message>, _: Event) -> Reply {
        Ok(Verdict::Continue)
    }
}

/// A value in one line, of its own: what it was read with need not stay for it.
fn unfolded(value: &[u8]) -> Text {
    let line: Vec<u8> = value.iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
    line.trim_ascii().to_vec().into()
}

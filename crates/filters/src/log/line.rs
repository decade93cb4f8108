//! How a line is written.

use std::borrow::Cow;
use std::fmt::Write;

use tracing::info;

use super::field::{Field, Over};
use crate::template::Template;
use crate::values::Value;

/// Most bytes of a value in a line.
const MOST: usize = 1000;

/// `name=value` for each field; a value with anything in it that could mislead is in quotes.
pub(super) fn text(fields: &[Field], over: Over<'_>) -> String {
    let mut line = String::new();
    for field in fields {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(&field.name());
        line.push('=');
        match value(field, over) {
            None => line.push('-'),
            Some(value) if is_plain(&value) => line.push_str(&value),
            Some(value) => {
                let _ = write!(line, "{value:?}");
            }
        }
    }
    line
}

/// An object with the fields in their order.
pub(super) fn json(fields: &[Field], over: Over<'_>) -> String {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let mut line = String::from("{");
    for (at, field) in fields.iter().enumerate() {
        if at > 0 {
            line.push(',');
        }
        line.push_str(&quoted(&field.name()));
        line.push(':');
        match value(field, over) {
            _ if *field == Field::Known(Value::Recipients) => {
                let recipients = over.envelope.recipients().take(Value::MOST_RECIPIENTS);
                let all: Vec<_> =
                    recipients.map(|to| quoted(&String::from_utf8_lossy(to.address().mailbox()))).collect();
                let _ = write!(line, "[{}]", all.join(","));
            }
            None => line.push_str("null"),
            Some(value) if field.is_number() => line.push_str(&value),
            Some(value) => line.push_str(&quoted(&value)),
        }
    }
    line.push('}');
    line
}

/// The line of a template.
pub(super) fn own(template: &Template<Field>, over: Over<'_>) -> String {
    let text =
        template.render(None, |field| value(field, over).map(|value| value.into_owned().into_bytes().into()));
    String::from_utf8_lossy(&text).into_owned()
}

/// Writes an event with a field for each of the fields, as far as they have a name of their own.
pub(super) fn event(fields: &[Field], over: Over<'_>) {
    let has = |field: &Field| fields.contains(field);
    let text = |known: Value| {
        let field = Field::Known(known);
        value(&field, over).filter(|_| has(&field))
    };
    let [client, client_ip, client_name] = [Value::Client, Value::ClientIp, Value::ClientName].map(text);
    let [queue_id, mta, daemon, helo] = [Value::QueueId, Value::Mta, Value::Daemon, Value::Helo].map(text);
    let [tls, user, sender, sender_domain] =
        [Value::Tls, Value::User, Value::Sender, Value::SenderDomain].map(text);
    let recipients = text(Value::Recipients);
    let count = has(&Field::Known(Value::RecipientCount)).then(|| over.envelope.recipients().count());
    let named = |field: &&Field| matches!(field, Field::Header(_) | Field::Known(Value::Macro(_)));
    let others: Vec<Field> = fields.iter().filter(named).cloned().collect();
    info!(
        target: super::filter::TARGET,
        queue_id = queue_id.as_deref(),
        outcome = has(&Field::Outcome).then_some(over.outcome),
        seconds = has(&Field::Seconds).then_some(over.time.as_secs_f64()),
        size = has(&Field::Size).then_some(over.size),
        mta = mta.as_deref(),
        daemon = daemon.as_deref(),
        client = client.as_deref(),
        client_ip = client_ip.as_deref(),
        client_name = client_name.as_deref(),
        helo = helo.as_deref(),
        tls = tls.as_deref(),
        user = user.as_deref(),
        sender = sender.as_deref(),
        sender_domain = sender_domain.as_deref(),
        recipients = recipients.as_deref(),
        recipient_count = count,
        more = (!others.is_empty()).then(|| self::text(&others, over)),
        "message {}",
        over.outcome,
    );
}

/// A value as text, of a length that a log can take.
fn value<'a>(field: &Field, over: Over<'a>) -> Option<Cow<'a, str>> {
    let text = match field.text(over)? {
        Cow::Borrowed(bytes) => String::from_utf8_lossy(bytes),
        Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
    };
    if text.len() <= MOST {
        return Some(text);
    }
    let cut = text.floor_char_boundary(MOST);
    Some(Cow::Owned(format!("{}…", &text[..cut])))
}

/// Whether a value can stand without quotes.
fn is_plain(value: &str) -> bool {
    let is_plain = |letter: char| letter.is_alphanumeric() || letter.is_ascii_punctuation() && letter != '"';
    !value.is_empty() && value != "-" && value.chars().all(is_plain)
}

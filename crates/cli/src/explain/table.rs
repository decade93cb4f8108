//! The last messages and refused clients, a line for each.

use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};
use jiff::tz::TimeZone;

use super::text::outcome;
use super::words::{self, Plain};
use crate::admin::record::{Client, Record, Records, Why};

/// Characters of what is longest: what filters say, and why.
const MAX_WHY: usize = 60;

/// Characters of an address.
const MAX_ADDRESS: usize = 40;

/// `searched` says that these are not all that there are.
pub(super) fn table(records: &Records, searched: bool, zone: &TimeZone) -> String {
    if records.records.is_empty() {
        return match records.history {
            0 => {
                "the daemon keeps no records: `history` under [admin] in its configuration is 0\n".to_owned()
            }
            _ if searched => {
                format!("nothing like that is among the {} records that are kept\n", records.kept)
            }
            _ => "there was no message since the daemon started\n".to_owned(),
        };
    }
    let mut table = Table::new();
    table.load_preset(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header([
        "NUMBER",
        "QUEUE ID",
        "FINISHED",
        "CLIENT",
        "FROM",
        "TO",
        "OUTCOME",
        "DECIDED BY",
        "TIME",
        "WHY",
    ]);
    for record in &records.records {
        let time: f64 = record.filters.iter().map(|filter| filter.ms).sum();
        table.add_row([
            record.number.to_string(),
            record.queue_id.as_deref().map_or_else(|| "-".to_owned(), |id| Plain(id).to_string()),
            words::when(record.finished, zone),
            client(record),
            cut(record.sender.as_deref().unwrap_or("-"), MAX_ADDRESS),
            recipients(record),
            outcome(record),
            record.decision.filter.as_deref().map_or_else(|| "-".to_owned(), |name| Plain(name).to_string()),
            words::time(time),
            why(record),
        ]);
    }
    let mut text = String::new();
    for line in table.lines() {
        text.push_str(line.trim_end().strip_prefix(' ').unwrap_or(&line));
        text.push('\n');
    }
    text
}

/// The client's address, or else its name.
fn client(record: &Record) -> String {
    let Client { name, address, .. } = &record.client;
    match (address, name) {
        (Some(address), _) => address.to_string(),
        (None, name) => cut(name.as_deref().unwrap_or("-"), MAX_ADDRESS),
    }
}

/// The first recipient, and the number of the others.
fn recipients(record: &Record) -> String {
    let first = record.recipients.first().map_or("-", |recipient| &recipient.address);
    let first = cut(first, MAX_ADDRESS);
    match record.recipients.len() + record.recipients_left_out {
        0 | 1 => first,
        all => format!("{first} +{}", all - 1),
    }
}

/// The reply, or how a filter failed.
fn why(record: &Record) -> String {
    let decider = record.filters.iter().find(|filter| Some(&filter.name) == record.decision.filter.as_ref());
    let failure =
        decider.and_then(|filter| filter.failure.as_ref()).filter(|_| record.decision.why == Why::Failed);
    let reply = record.verdict.as_ref().and_then(|verdict| verdict.reply.as_deref());
    let why = match failure {
        Some(failure) => &failure.error,
        None => reply.unwrap_or_default(),
    };
    cut(why, MAX_WHY)
}

fn cut(text: &str, most: usize) -> String {
    let text = Plain(text).to_string();
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

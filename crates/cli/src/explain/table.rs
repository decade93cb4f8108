//! The last messages, a line for each.

use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};
use jiff::tz::TimeZone;

use super::text::outcome;
use super::words::{self, Plain};
use crate::admin::record::{Record, Records, Why};

/// Characters of what is longest: what filters say, and why.
const MAX_WHY: usize = 60;

pub(super) fn table(records: &Records, zone: &TimeZone) -> String {
    if records.records.is_empty() {
        return match records.history {
            0 => {
                "the daemon keeps no records: `history` under [admin] in its configuration is 0\n".to_owned()
            }
            _ => "there was no message since the daemon started\n".to_owned(),
        };
    }
    let mut table = Table::new();
    table.load_preset(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(["NUMBER", "QUEUE ID", "FINISHED", "OUTCOME", "DECIDED BY", "TIME", "WHY"]);
    for record in &records.records {
        let time: f64 = record.filters.iter().map(|filter| filter.ms).sum();
        table.add_row([
            record.number.to_string(),
            record.queue_id.as_deref().map_or_else(|| "-".to_owned(), |id| Plain(id).to_string()),
            words::when(record.finished, zone),
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

/// The reply, or how a filter failed.
fn why(record: &Record) -> String {
    let decider = record.filters.iter().find(|filter| Some(&filter.name) == record.decision.filter.as_ref());
    let failure =
        decider.and_then(|filter| filter.failure.as_ref()).filter(|_| record.decision.why == Why::Failed);
    let reply = record.verdict.as_ref().and_then(|verdict| verdict.reply.as_deref());
    let why = match failure {
        Some(failure) => Plain(&failure.error).to_string(),
        None => Plain(reply.unwrap_or_default()).to_string(),
    };
    match why.char_indices().nth(MAX_WHY) {
        Some((end, _)) => format!("{}…", &why[..end]),
        None => why,
    }
}

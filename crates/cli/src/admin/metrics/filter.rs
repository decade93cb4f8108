//! What is counted about one filter.

use prometheus_client::metrics::histogram::Histogram;
use tamis::chain::FilterRecord;

use super::{Count, Verdicts};

/// Upper bounds of the times that a filter may take about a message, in seconds: from 10 µs, which is what a look at the
/// envelope takes, to the 300 s that MTAs wait.
const TIMES: [f64; 23] = [
    0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1,
    0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0,
];

/// Edits, by the names that they have in records.
const EDITS: [&str; 9] = [
    "add-header",
    "insert-header",
    "change-header",
    "change-sender",
    "add-recipient",
    "add-recipient-with-args",
    "delete-recipient",
    REPLACE_BODY,
    "quarantine",
];

const REPLACE_BODY: &str = "replace-body";

/// What is counted about one filter.
#[derive(Debug)]
pub(in crate::admin) struct FilterCounts {
    pub(super) time: Histogram,
    pub(super) verdicts: Verdicts,
    /// Messages to which it had nothing to say but continue.
    pub(super) continued: Count,
    pub(super) failures: Count,
    edits: [Count; EDITS.len()],
}

impl Default for FilterCounts {
    fn default() -> Self {
        Self {
            time: Histogram::new(TIMES),
            verdicts: Verdicts::default(),
            continued: Count::default(),
            failures: Count::default(),
            edits: Default::default(),
        }
    }
}

impl FilterCounts {
    /// Counts a message that is over.
    pub(in crate::admin) fn message(&self, record: &FilterRecord) {
        self.failures.add(record.failure.is_some().into());
        if record.calls == 0 {
            return;
        }
        self.time.observe(record.time.as_secs_f64());
        match &record.verdict {
            Some((stage, verdict)) => self.verdicts.count(*stage, verdict),
            None if record.failure.is_none() => self.continued.add(1),
            None => {}
        }
        for edit in &record.edits {
            self.edit(edit.name());
        }
        if record.new_body {
            self.edit(REPLACE_BODY);
        }
    }

    fn edit(&self, name: &str) {
        if let Some(place) = EDITS.iter().position(|other| *other == name) {
            self.edits[place].add(1);
        }
    }

    /// Edits by name, those that there were.
    pub(super) fn edits(&self) -> impl Iterator<Item = (&'static str, u64)> {
        EDITS
            .into_iter()
            .zip(&self.edits)
            .map(|(name, count)| (name, count.get()))
            .filter(|(_, count)| *count > 0)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tamis::Edit;

    use super::*;

    #[test]
    fn every_edit_has_a_count() {
        let none = Bytes::new();
        let edits = [
            Edit::AddHeader { name: none.clone(), value: none.clone() },
            Edit::InsertHeader { index: 0, name: none.clone(), value: none.clone() },
            Edit::ChangeHeader { index: 1, name: none.clone(), value: none.clone() },
            Edit::ChangeSender { address: none.clone(), args: None },
            Edit::AddRecipient { address: none.clone() },
            Edit::AddRecipientWithArgs { address: none.clone(), args: None },
            Edit::DeleteRecipient { address: none.clone() },
            Edit::ReplaceBody(none.clone()),
            Edit::Quarantine { reason: none },
        ];
        let counts = FilterCounts::default();
        for edit in &edits {
            counts.edit(edit.name());
        }
        assert_eq!(counts.edits().collect::<Vec<_>>(), EDITS.map(|name| (name, 1)));
    }
}

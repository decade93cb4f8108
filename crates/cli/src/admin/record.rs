//! The record of a message as it is shown: what `tamis explain --json` prints.
//!
//! Names of fields stay as they are; there may be more of them one day. `docs/monitoring.md` describes them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Records, and of how many messages there are any.
#[expect(clippy::struct_field_names, reason = "names in JSON")]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Records {
    /// How many are kept.
    pub(crate) kept: usize,
    /// How many are kept at most.
    pub(crate) history: usize,
    /// When the oldest message of which one is kept was over.
    pub(crate) since: Option<Timestamp>,
    /// The oldest first.
    pub(crate) records: Vec<Record>,
}

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Counts messages from the start of the daemon, from 1.
    pub(crate) number: u64,
    pub(crate) queue_id: Option<String>,
    /// When it was over.
    pub(crate) finished: Timestamp,
    /// What the MTA was told; none for a message that it gave up.
    pub(crate) verdict: Option<Verdict>,
    pub(crate) decision: Decision,
    /// In the order of the chain.
    pub(crate) filters: Vec<Filter>,
    pub(crate) conflicts: Vec<Conflict>,
    /// Conflicts that there was no room to keep.
    pub(crate) conflicts_left_out: usize,
}

#[expect(clippy::struct_field_names, reason = "names in JSON")]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Verdict {
    pub(crate) stage: String,
    pub(crate) verdict: Kind,
    /// The reply to the SMTP client, if it is the filter's own.
    pub(crate) reply: Option<String>,
}

/// What a verdict does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    Continue,
    Accept,
    Reject,
    Tempfail,
    Discard,
    Skip,
}

/// Who decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Decision {
    pub(crate) why: Why,
    /// The filter that did, if one did.
    pub(crate) filter: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Why {
    /// No filter refused it.
    Passed,
    /// All filters accepted it before its end.
    Accepted,
    /// A filter refused it.
    Refused,
    /// A filter failed, and its `on_failure` refuses mail.
    Failed,
    /// What refused it happened earlier on the connection.
    Earlier,
    /// The MTA gave it up.
    GivenUp,
}

/// What one filter did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Filter {
    pub(crate) name: String,
    /// None for a filter that the configuration has no more.
    #[serde(rename = "type")]
    pub(crate) kind: Option<String>,
    pub(crate) dry_run: bool,
    pub(crate) calls: u32,
    pub(crate) ms: f64,
    pub(crate) slowest: Option<Slowest>,
    /// Its last verdict but continue.
    pub(crate) verdict: Option<Verdict>,
    pub(crate) edits: Vec<Edit>,
    /// Edits that there was no room to keep.
    pub(crate) edits_left_out: usize,
    pub(crate) failure: Option<Failure>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Slowest {
    pub(crate) stage: String,
    pub(crate) ms: f64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failure {
    pub(crate) stage: String,
    pub(crate) error: String,
    /// Its `on_failure`, which says what that cost; none for a filter that the configuration has no more.
    pub(crate) policy: Option<String>,
}

/// Two filters of a parallel chain changed the same thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Conflict {
    pub(crate) what: String,
    pub(crate) first: String,
    /// The one whose change counts.
    pub(crate) second: String,
}

/// A change that a filter asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "edit", rename_all = "kebab-case")]
pub(crate) enum Edit {
    AddHeader {
        name: String,
        value: String,
    },
    InsertHeader {
        index: u32,
        name: String,
        value: String,
    },
    /// An empty value deletes the field.
    ChangeHeader {
        index: u32,
        name: String,
        value: String,
    },
    ChangeSender {
        address: String,
        args: Option<String>,
    },
    AddRecipient {
        address: String,
    },
    AddRecipientWithArgs {
        address: String,
        args: Option<String>,
    },
    DeleteRecipient {
        address: String,
    },
    ReplaceBody,
    Quarantine {
        reason: String,
    },
}

/// What came of asking for another configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reloaded {
    /// The new one is in use.
    pub(crate) reloaded: bool,
    /// What was found in it.
    pub(crate) findings: String,
}

/// Why a request was not answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Problem {
    pub(crate) error: String,
}

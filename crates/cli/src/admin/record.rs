//! The record of a message, or of a client that was refused before it had one, as it is shown: what `tamis explain --json` prints.
//!
//! Names of fields stay as they are; there may be more of them one day. `docs/monitoring.md` describes them.

use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Records, and how many there are.
#[expect(clippy::struct_field_names, reason = "names in JSON")]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Records {
    /// How many are kept.
    pub(crate) kept: usize,
    /// How many are kept at most: of messages, and as many again of clients that were refused before.
    pub(crate) history: usize,
    /// When the oldest of them was over.
    pub(crate) since: Option<Timestamp>,
    /// The oldest first.
    pub(crate) records: Vec<Record>,
}

/// What became of a message, or of a client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Counts records from the start of the daemon, from 1.
    pub(crate) number: u64,
    pub(crate) about: About,
    pub(crate) queue_id: Option<String>,
    pub(crate) client: Client,
    /// The account that the client logged in with.
    pub(crate) auth_user: Option<String>,
    /// Without brackets; `<>` for a bounce.
    pub(crate) sender: Option<String>,
    pub(crate) recipients: Vec<Recipient>,
    /// Recipients that there was no room to keep.
    pub(crate) recipients_left_out: usize,
    pub(crate) began: Option<Timestamp>,
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

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum About {
    Message,
    /// A client that was refused at connect or HELO.
    Client,
}

/// Who sends a message, as far as the MTA told it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Client {
    /// What the MTA says for a name: where it could verify none, the address in brackets or `unknown`.
    pub(crate) name: Option<String>,
    pub(crate) address: Option<IpAddr>,
    pub(crate) helo: Option<String>,
}

/// Whom a message is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Recipient {
    /// Without brackets.
    pub(crate) address: String,
    /// By a filter, or by the MTA: the message does not go there.
    pub(crate) refused: bool,
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

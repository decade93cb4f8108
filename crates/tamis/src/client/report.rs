//! What a filter said about a piece of mail.

use std::time::Duration;

use bytes::Bytes;
use tamis_proto::edit::model::{Applied, Message};
use tamis_proto::{Agreement, Edit, Misuse, Stage, Verdict};

/// Everything that a filter said about a piece of mail, and what became of it.
#[derive(Clone, Debug)]
pub struct Report {
    /// What was agreed on.
    pub agreement: Agreement,
    /// Each step in order.
    pub steps: Vec<StepReport>,
    /// Modifications in order, and what each did.
    pub edits: Vec<(Edit<Bytes>, Applied)>,
    /// Modifications that were not done, and why.
    pub refused: Vec<(Edit<Bytes>, String)>,
    /// The verdict on the whole: the first that stopped the mail, or continue or accept.
    pub verdict: Verdict,
    /// The stage of that verdict.
    pub stage: Stage,
    /// The message as it was shown, below the MTA's own trace field.
    pub original: Message,
    /// The message that would be delivered; `None` if it would not be.
    pub delivered: Option<Message>,
    /// From the first step to the last.
    pub elapsed: Duration,
}

/// One step and what the filter said to it.
#[derive(Clone, Debug)]
pub struct StepReport {
    /// The stage.
    pub stage: Stage,
    /// The address, header name or the like that the step was about.
    pub about: Bytes,
    /// What came of it.
    pub outcome: Outcome,
    /// How often the filter said that it is still working.
    pub progress: u32,
    /// How long it took.
    pub elapsed: Duration,
}

/// What came of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The filter does not get this step.
    NotSent,
    /// The filter got it and does not answer it.
    NoReply,
    /// A header field longer than the packets agreed on was left out.
    TooLong,
    /// Its verdict.
    Verdict(Verdict),
}

impl Outcome {
    /// The verdict; continue where there is none.
    pub fn verdict(&self) -> Verdict {
        match self {
            Self::Verdict(verdict) => verdict.clone(),
            _ => Verdict::Continue,
        }
    }
}

/// What a filter says to one step.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The verdict, if it gave one.
    pub outcome: Outcome,
    /// Modifications it asked for.
    pub edits: Vec<Edit<Bytes>>,
    /// Modifications that must not be done.
    pub refused: Vec<(Edit<Bytes>, Misuse)>,
    /// How often it said that it is still working.
    pub progress: u32,
}

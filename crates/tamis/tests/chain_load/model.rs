//! What each message is, how the bad filter fails on it, and what must come of it.

use std::collections::HashMap;
use std::time::Duration;

use tamis::chain::OnFailure;

use crate::common::frames::*;

/// How long the bad filter may take.
pub const BAD_TIME: Duration = Duration::from_millis(15);

/// Each way to be bad with each policy.
pub const CONNECTIONS: u64 = (WAYS.len() * POLICIES.len()) as u64;

const POLICIES: [OnFailure; 4] =
    [OnFailure::Tempfail, OnFailure::Accept, OnFailure::Reject, OnFailure::Quarantine];

/// How the bad filter is bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Error,
    ErrorLater,
    Panic,
    PanicLater,
    Hang,
    PanicWhenCancelled,
    /// Says what its stage does not know.
    WrongVerdict,
    /// Says something where it had said that it would not.
    UnaskedVerdict,
}

const WAYS: [Way; 8] = [
    Way::Error,
    Way::ErrorLater,
    Way::Panic,
    Way::PanicLater,
    Way::Hang,
    Way::PanicWhenCancelled,
    Way::WrongVerdict,
    Way::UnaskedVerdict,
];

impl Way {
    fn kills(self) -> bool {
        matches!(self, Self::Panic | Self::PanicLater | Self::PanicWhenCancelled)
    }
}

/// How the chain is made.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    pub is_pipeline: bool,
    /// A filter that edits comes first.
    pub edits_first: bool,
}

impl Setup {
    /// To filters behind the first one.
    fn shows_content_late(self) -> bool {
        self.is_pipeline && self.edits_first
    }
}

pub fn policy(connection: u64) -> OnFailure {
    POLICIES[index(connection) % POLICIES.len()]
}

pub fn way(connection: u64) -> Way {
    WAYS[index(connection) / POLICIES.len() % WAYS.len()]
}

fn index(connection: u64) -> usize {
    usize::try_from(connection - 1).unwrap()
}

/// A message, which says itself what filters do with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    connection: u64,
    number: u32,
}

/// A stage, with the number of the event where there are several of it.
pub type Place = (&'static str, u32);

/// What must come of a message.
pub struct Expected {
    pub dialogue: Vec<String>,
    /// The stage at which the bad filter failed.
    pub failed_at: Option<&'static str>,
}

const RECIPIENTS: u32 = 3;
const FIELDS: u32 = 3;

impl Letter {
    pub fn all(connection: u64, count: u32) -> impl Iterator<Item = Self> {
        (0..count).map(move |number| Self { connection, number })
    }

    /// Reads it off its sender.
    pub fn of(sender: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(sender).ok()?.strip_prefix("<m")?.strip_suffix("@example.com>")?;
        let (connection, number) = text.split_once('-')?;
        Some(Self { connection: connection.parse().ok()?, number: number.parse().ok()? })
    }

    fn sender(&self) -> String {
        format!("<m{}-{}@example.com>", self.connection, self.number)
    }

    pub fn queue_id(&self) -> String {
        format!("Q{}-{}", self.connection, self.number)
    }

    pub fn body(&self) -> String {
        format!("This is {}.\r\n", self.queue_id())
    }

    /// The stages in order, and what the MTA writes.
    pub fn frames(&self) -> Vec<(&'static str, Vec<u8>)> {
        let mut frames = vec![("mail", mail(&self.sender()))];
        frames.extend((0..RECIPIENTS).map(|at| ("rcpt", rcpt(&format!("<to{at}@example.org>")))));
        frames.push(("data", data()));
        frames.extend((0..FIELDS).map(|at| ("header", header(&format!("X-{at}"), "value"))));
        frames.push(("eoh", end_of_headers()));
        frames.push(("body", body(self.body().as_bytes())));
        frames.push(("end", end_of_message()));
        frames
    }

    fn chance(&self, salt: u32) -> u32 {
        let seed = u32::try_from(self.connection).unwrap() * 31 + self.number * 7 + salt;
        seed.wrapping_mul(2_654_435_761) >> 8
    }

    /// Where the bad filter fails, if it does. Never where the judge says something too, as then it would depend on who
    /// is faster.
    pub fn fails_at(&self) -> Option<Place> {
        const PLACES: [Place; 8] = [
            ("mail", 0),
            ("rcpt", 0),
            ("rcpt", 2),
            ("data", 0),
            ("header", 1),
            ("eoh", 0),
            ("body", 0),
            ("end", 0),
        ];
        let place = PLACES[self.chance(1) as usize % PLACES.len()];
        // The body knows all verdicts.
        let is_no_failure = way(self.connection) == Way::WrongVerdict && place.0 == "body";
        (self.chance(0).is_multiple_of(3) && !is_no_failure).then_some(place)
    }

    /// Where the judge refuses something.
    pub fn is_refused_at(&self) -> Option<Place> {
        match self.chance(2) % 5 {
            0 => Some(("rcpt", 1)),
            1 => Some(("header", 2)),
            _ => None,
        }
    }

    pub fn refusal(&self) -> String {
        format!("not {}", self.queue_id())
    }

    pub fn copy_to(&self) -> String {
        format!("<copy-of-{}@example.net>", self.queue_id())
    }

    pub fn gets_new_body(&self) -> bool {
        self.number.is_multiple_of(2)
    }
}

/// What must come of a message. `lost` is where the bad filter failed for good, from then on.
pub fn expected(letter: &Letter, setup: Setup, lost: &mut Option<&'static str>) -> Expected {
    let (policy, way) = (policy(letter.connection), way(letter.connection));
    let verdict = match policy {
        OnFailure::Tempfail => Some("451 4.7.1 Service unavailable - try again later"),
        OnFailure::Reject => Some("550 5.7.1 Service unavailable"),
        OnFailure::Accept | OnFailure::Quarantine => None,
    };
    let mut dialogue = Vec::new();
    let mut failed_at = *lost;
    // What is said from now on.
    let mut doomed = failed_at.and(verdict).map(str::to_owned);
    let (mut accepted, mut counts) = (0, HashMap::new());
    for (stage, _) in letter.frames() {
        let count = counts.entry(stage).or_insert(0);
        let place = (stage, *count);
        *count += 1;
        if stage == "data" && accepted == 0 {
            return Expected { dialogue, failed_at };
        }
        let mut said = doomed.clone();
        if said.is_none() && failed_at.is_none() && letter.fails_at() == Some(place) {
            failed_at = Some(stage_name(stage));
            if way.kills() {
                *lost = failed_at;
            }
            said = verdict.map(str::to_owned);
            doomed.clone_from(&said);
        }
        if said.is_none() && letter.is_refused_at() == Some(place) {
            said = Some(format!("550 5.7.1 {}", letter.refusal()));
            if stage != "rcpt" {
                doomed.clone_from(&said);
            }
        }
        if matches!(stage, "header" | "eoh" | "body") && setup.shows_content_late() {
            said = None;
        }
        match said {
            Some(said) => {
                dialogue.push(format!("{stage} y {said}"));
                if stage != "rcpt" {
                    return Expected { dialogue, failed_at };
                }
            }
            None if stage == "end" => {}
            None => {
                accepted += usize::from(stage == "rcpt");
                dialogue.push(format!("{stage} c"));
            }
        }
    }
    if failed_at.is_some() && policy == OnFailure::Quarantine {
        dialogue.push("end q filter bad failed".to_owned());
    }
    if failed_at.is_none() {
        dialogue.push(format!("end + {}", letter.copy_to()));
    }
    dialogue.push("end h X-Marks X-0 X-1 X-2".to_owned());
    let marks = if setup.is_pipeline { " X-Marks" } else { "" };
    dialogue.push(format!("end h X-Edits X-0 X-1 X-2{marks}"));
    if letter.gets_new_body() {
        dialogue.push(format!("end b {}And more.", letter.body()));
    }
    dialogue.push("end c".to_owned());
    Expected { dialogue, failed_at }
}

fn stage_name(stage: &'static str) -> &'static str {
    match stage {
        "eoh" => "end-of-headers",
        "end" => "end-of-message",
        stage => stage,
    }
}

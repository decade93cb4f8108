//! What the filter under test does, as plain data: independent of any milter library.

mod parse;

use std::collections::BTreeMap;
use std::time::Duration;

/// A filter's behaviour.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Script {
    /// What it asks for at negotiation, beyond the actions of its rules.
    pub needs: Needs,
    /// What it does when, in the order of the file.
    pub rules: Vec<Rule>,
}

/// What a filter negotiates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// How stages are attended to; a stage that is not here is answered.
    pub stages: BTreeMap<Stage, Attention>,
    /// Whether it wants to see recipients that the MTA refuses.
    pub rejected_recipients: bool,
    /// Whether header values have their leading space, both ways.
    pub leading_space: bool,
    /// How often PROGRESS goes out while it is slow, where not the library's default.
    pub progress: Option<Duration>,
    /// Whether it is a function over each message, not a filter of events.
    pub function: bool,
    /// The macro names it asks for, by stage.
    pub macros: BTreeMap<Stage, Vec<String>>,
}

/// How a filter attends to a stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Attention {
    /// It sees the stage and answers.
    #[default]
    Answer,
    /// It sees the stage, and no reply was agreed.
    Watch,
    /// It does not see the stage.
    Off,
}

/// The stages of a session, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are those of the protocol")]
pub enum Stage {
    Connect,
    Helo,
    Mail,
    Rcpt,
    Data,
    Header,
    EndOfHeaders,
    Body,
    EndOfMessage,
    Unknown,
}

/// Something to do at a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Where.
    pub stage: Stage,
    /// When.
    pub matcher: Matcher,
    /// What, in order.
    pub actions: Vec<Action>,
}

/// When a rule applies; what is `None` always does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matcher {
    /// Only in this message of the connection, counted by MAIL from 1.
    pub message: Option<u32>,
    /// Only in messages of this sender, given as the path with its brackets.
    pub sender: Option<Vec<u8>>,
    /// Only the n-th time that this stage comes in the message, from 1.
    pub nth: Option<u32>,
    /// Only for this argument: see [`Script::actions`].
    pub argument: Option<Vec<u8>>,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Answer; nothing after it is done.
    Verdict(Verdict),
    /// Edit the message; only at end of message.
    Edit(Edit),
    /// Edit what the library keeps of the message; only at end of message.
    Kept(KeptEdit),
    /// Write down the value of the macro of this name.
    Macro(String),
    /// Take this long.
    Sleep(Duration),
}

/// The answers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the protocol")]
pub enum Verdict {
    Continue,
    Accept,
    Reject,
    Tempfail,
    Discard,
    Skip,
    /// An SMTP reply of the filter's own; a percent sign in a line is meant as one.
    Reply {
        code: u16,
        status: Option<String>,
        lines: Vec<Vec<u8>>,
    },
}

/// The edits of a message that the library keeps whole, field by field. Fields are counted from 1 over all that the
/// filter sees; one that is not there is left alone.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the library")]
pub enum KeptEdit {
    Append {
        name: Vec<u8>,
        value: Vec<u8>,
    },
    Prepend {
        name: Vec<u8>,
        value: Vec<u8>,
    },
    Set {
        name: Vec<u8>,
        value: Vec<u8>,
    },
    RemoveAll {
        name: Vec<u8>,
    },
    InsertBefore {
        field: usize,
        name: Vec<u8>,
        value: Vec<u8>,
    },
    InsertAfter {
        field: usize,
        name: Vec<u8>,
        value: Vec<u8>,
    },
    Replace {
        field: usize,
        value: Vec<u8>,
    },
    Remove {
        field: usize,
    },
    /// Replaces the body by itself and these bytes behind it, as a stream.
    ExtendBody(Vec<u8>),
}

/// The edits, with the positions and values of the wire: values of several lines have LF inside.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the protocol")]
pub enum Edit {
    AddHeader {
        name: Vec<u8>,
        value: Vec<u8>,
    },
    InsertHeader {
        index: u32,
        name: Vec<u8>,
        value: Vec<u8>,
    },
    /// An empty value deletes.
    ChangeHeader {
        index: u32,
        name: Vec<u8>,
        value: Vec<u8>,
    },
    AddRecipient {
        path: Vec<u8>,
        arguments: Vec<u8>,
    },
    DeleteRecipient {
        path: Vec<u8>,
    },
    ChangeSender {
        path: Vec<u8>,
        arguments: Vec<u8>,
    },
    ReplaceBody(Vec<u8>),
    /// Replaces the body by itself and these bytes behind it: the filter must have collected it.
    AppendBody(Vec<u8>),
    Quarantine {
        reason: Vec<u8>,
    },
}

/// Counts where in its messages a connection is: one for each connection.
#[derive(Clone, Debug, Default)]
pub struct Position {
    message: u32,
    sender: Vec<u8>,
    counts: BTreeMap<Stage, u32>,
}

impl Script {
    /// Reads the lines of a script; each comes with its number, which errors name.
    pub fn parse<'a>(lines: impl IntoIterator<Item = (usize, &'a str)>) -> Result<Self, (usize, String)> {
        parse::script(lines)
    }

    /// How this stage is attended to.
    pub fn attention(&self, stage: Stage) -> Attention {
        self.needs.stages.get(&stage).copied().unwrap_or_default()
    }

    /// Counts the stage, and returns what to do at it.
    ///
    /// The argument is the client's address at connect, the name at helo, the path with its brackets at mail and
    /// rcpt, the field name at header (compared without case), the line at unknown, and empty elsewhere.
    pub fn actions<'a>(
        &'a self,
        position: &mut Position,
        stage: Stage,
        argument: &[u8],
    ) -> impl Iterator<Item = &'a Action> + use<'a> {
        let nth = position.count(stage, argument);
        let here = |matcher: &Matcher| {
            matcher.message.is_none_or(|message| message == position.message)
                && matcher.sender.as_ref().is_none_or(|sender| *sender == position.sender)
                && matcher.nth.is_none_or(|wanted| wanted == nth)
                && matcher.argument.as_ref().is_none_or(|wanted| match stage {
                    Stage::Header => wanted.eq_ignore_ascii_case(argument),
                    _ => wanted == argument,
                })
        };
        let rules: Vec<&Rule> =
            self.rules.iter().filter(|rule| rule.stage == stage && here(&rule.matcher)).collect();
        rules.into_iter().flat_map(|rule| &rule.actions)
    }

    /// Every edit and verdict of every rule: what has to be negotiated follows from them.
    pub fn all_actions(&self) -> impl Iterator<Item = &Action> {
        self.rules.iter().flat_map(|rule| &rule.actions)
    }

    /// Every edit and verdict of the rules for a stage.
    pub fn actions_at(&self, stage: Stage) -> impl Iterator<Item = &Action> {
        self.rules.iter().filter(move |rule| rule.stage == stage).flat_map(|rule| &rule.actions)
    }

    /// Whether the library must keep the header.
    pub fn keeps_headers(&self) -> bool {
        let of_header = |action: &Action| matches!(action, Action::Kept(edit) if !matches!(edit, KeptEdit::ExtendBody(_)));
        self.all_actions().any(of_header)
    }

    /// Whether the library must keep the body.
    pub fn keeps_body(&self) -> bool {
        self.all_actions().any(|action| matches!(action, Action::Kept(KeptEdit::ExtendBody(_))))
    }
}

impl Position {
    fn count(&mut self, stage: Stage, argument: &[u8]) -> u32 {
        if stage == Stage::Mail {
            self.message += 1;
            self.sender = argument.to_vec();
            self.counts.clear();
        }
        let count = self.counts.entry(stage).or_default();
        *count += 1;
        *count
    }
}

impl Stage {
    /// Every stage, in order.
    pub const ALL: [Self; 10] = [
        Self::Connect,
        Self::Helo,
        Self::Mail,
        Self::Rcpt,
        Self::Data,
        Self::Header,
        Self::EndOfHeaders,
        Self::Body,
        Self::EndOfMessage,
        Self::Unknown,
    ];

    /// The word for it in case files.
    pub fn word(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Helo => "helo",
            Self::Mail => "mail",
            Self::Rcpt => "rcpt",
            Self::Data => "data",
            Self::Header => "header",
            Self::EndOfHeaders => "eoh",
            Self::Body => "body",
            Self::EndOfMessage => "eom",
            Self::Unknown => "unknown",
        }
    }
}

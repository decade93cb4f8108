//! Whether the filter says the same about each message: byte by byte what it said about the first.

mod expect;

use std::fmt;
use std::ops::Range;

use bytes::Bytes;
use tamis::{Edit, Stage, Verdict};

pub(super) use expect::Expect;

/// What was said about the first message, and who differed.
#[derive(Debug, Default)]
pub(super) struct Check {
    first: Transcript,
    /// The first message is over, and all others are compared with it.
    learned: bool,
    pub(super) messages: u64,
    pub(super) mismatches: u64,
    /// What was wrong with the first message that differed.
    pub(super) explained: Option<String>,
}

/// What a filter said about a message.
#[derive(Debug, Default)]
struct Transcript {
    said: Vec<Said>,
    /// All pieces of a new body.
    body: Vec<u8>,
    /// Of everything.
    bytes: usize,
}

/// Bytes that may be said about the first message.
const MOST: usize = 1 << 30;

#[derive(Debug, PartialEq)]
enum Said {
    Edit(Edit<Bytes>),
    /// A new body, in pieces that do not matter: which bytes of all.
    Body(Range<usize>),
    Verdict(Stage, Verdict),
}

/// How far a message has come in the comparison.
#[derive(Clone, Debug, Default)]
pub(super) struct Course {
    message: u64,
    at: usize,
    /// Bytes of a new body that were compared.
    body: usize,
    differs: bool,
}

impl Course {
    /// Begins with a message.
    pub(super) fn new(message: u64) -> Self {
        Self { message, ..Self::default() }
    }
}

impl Check {
    /// Keeps a modification of the first message, and compares those of all others with it.
    ///
    /// # Errors
    ///
    /// When the filter says more about the first message than can be kept.
    pub(super) fn edit(&mut self, course: &mut Course, edit: Edit<&[u8]>) -> Result<(), String> {
        if !self.learned {
            self.first.bytes += edit.payload_len() + size_of::<Said>();
            if self.first.bytes > MOST {
                return Err(format!("modifications of the first message exceed {MOST} bytes"));
            }
        }
        match edit {
            Edit::ReplaceBody(piece) if self.learned => self.compare_body(course, piece),
            Edit::ReplaceBody(piece) => self.first.add_body(piece),
            edit => self.say(course, Said::Edit(edit.map(Bytes::copy_from_slice))),
        }
        Ok(())
    }

    /// The same for a verdict.
    pub(super) fn verdict(&mut self, course: &mut Course, stage: Stage, verdict: &Verdict) {
        self.say(course, Said::Verdict(stage, verdict.clone()));
    }

    /// Ends with a message.
    pub(super) fn finish(&mut self, course: &mut Course) {
        if !self.learned {
            self.learned = true;
            return;
        }
        self.messages += 1;
        if let Some(missing) = self.first.said.get(course.at) {
            let text = format!("it ended where the first had {missing}");
            self.differs(course, &text);
        }
    }

    /// Begins to count; what was learned stays.
    pub(super) fn reset(&mut self) {
        self.messages = 0;
    }

    /// Whether the first message has come to its end.
    pub(super) fn has_learned(&self) -> bool {
        self.learned
    }

    /// Whether what was said about the first message is what is expected.
    ///
    /// # Errors
    ///
    /// Says what is not, or that the message has not come to its end.
    pub(super) fn verify(
        &self,
        expect: Option<Expect>,
        body: impl Iterator<Item = Bytes>,
    ) -> Result<(), String> {
        match expect {
            _ if !self.learned => Err("the first message has not come to its end".to_owned()),
            Some(expect) => expect.verify(&self.first, body),
            None => Ok(()),
        }
    }

    fn say(&mut self, course: &mut Course, said: Said) {
        if !self.learned {
            self.first.said.push(said);
            return;
        }
        if course.differs {
            return;
        }
        if let Some(Said::Body(all)) = self.first.said.get(course.at)
            && course.body > 0
        {
            let all = all.len();
            if course.body < all {
                let text =
                    format!("its new body ends after {} bytes, that of the first has {all}", course.body);
                self.differs(course, &text);
                return;
            }
            (course.at, course.body) = (course.at + 1, 0);
        }
        match self.first.said.get(course.at) {
            Some(expected) if *expected == said => course.at += 1,
            Some(expected) => {
                let text = format!("it had {said} where the first had {expected}");
                self.differs(course, &text);
            }
            None => self.differs(course, &format!("it had {said} where the first was over")),
        }
    }

    fn compare_body(&mut self, course: &mut Course, piece: &[u8]) {
        if course.differs {
            return;
        }
        let text = match self.first.said.get(course.at) {
            Some(Said::Body(all)) => {
                let expected = &self.first.body[all.clone()][course.body..];
                if expected.starts_with(piece) {
                    course.body += piece.len();
                    // A new body without a byte is one as well.
                    course.at += usize::from(all.is_empty());
                    return;
                }
                let same = expected.iter().zip(piece).take_while(|(expected, byte)| expected == byte).count();
                format!("its new body differs from that of the first at byte {}", course.body + same)
            }
            Some(expected) => format!("it had a new body where the first had {expected}"),
            None => "it had a new body where the first was over".to_owned(),
        };
        self.differs(course, &text);
    }

    fn differs(&mut self, course: &mut Course, text: &str) {
        if !course.differs {
            course.differs = true;
            self.mismatches += 1;
            self.explained.get_or_insert(format!("message {}: {text}", course.message));
        }
        course.at = self.first.said.len();
    }
}

impl Transcript {
    fn add_body(&mut self, piece: &[u8]) {
        let start = self.body.len();
        self.body.extend_from_slice(piece);
        match self.said.last_mut() {
            Some(Said::Body(all)) => all.end = self.body.len(),
            _ => self.said.push(Said::Body(start..self.body.len())),
        }
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Verdict(stage, verdict) => write!(f, "the verdict {verdict} at {stage}"),
            Self::Body(all) => write!(f, "a new body of {} bytes", all.len()),
            Self::Edit(edit) => write!(f, "the edit {edit:?}"),
        }
    }
}

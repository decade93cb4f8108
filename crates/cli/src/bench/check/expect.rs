//! What a filter is expected to do with the first message, and so with all.

use bytes::Bytes;
use clap::ValueEnum;
use tamis::{Edit, Verdict};

use super::{Said, Transcript};

/// What a filter does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::bench) enum Expect {
    /// It accepts the message as it is.
    Nothing,
    /// It adds one header field and changes nothing else.
    Header,
    /// It puts something behind the body.
    Footer,
    /// It replaces the body by the same bytes.
    Body,
    /// It refuses the message, for good or for now.
    Refused,
}

impl Expect {
    /// Says what is not as expected.
    pub(super) fn verify(self, first: &Transcript, shown: impl Iterator<Item = Bytes>) -> Result<(), String> {
        let accepted =
            matches!(first.said.last(), Some(Said::Verdict(_, Verdict::Continue | Verdict::Accept)));
        let changes: Vec<&Said> =
            first.said.iter().filter(|said| !matches!(said, Said::Verdict(..))).collect();
        let ends = || first.said.last().map_or_else(|| "nothing".to_owned(), ToString::to_string);
        match self {
            Self::Refused if !accepted => Ok(()),
            Self::Refused => Err(format!("it has {}, no refusal", ends())),
            _ if !accepted => Err(format!("it has {}", ends())),
            Self::Nothing => match changes.first() {
                Some(change) => Err(format!("it has {change}")),
                None => Ok(()),
            },
            Self::Header => match changes[..] {
                [Said::Edit(Edit::AddHeader { .. } | Edit::InsertHeader { .. })] => Ok(()),
                [] => Err("it has no new header field".to_owned()),
                [change] => Err(format!("it has {change}")),
                [first, second, ..] => Err(format!("it has {first} and {second}")),
            },
            Self::Footer => match behind(&first.body, shown)? {
                [] => Err("its new body has nothing behind the old one".to_owned()),
                _ => Ok(()),
            },
            Self::Body => match behind(&first.body, shown)? {
                [] => Ok(()),
                more => Err(format!("its new body has {} bytes behind the old one", more.len())),
            },
        }
    }
}

/// What a new body has behind the body that was shown.
fn behind(body: &[u8], shown: impl Iterator<Item = Bytes>) -> Result<&[u8], String> {
    let mut rest = body;
    for piece in shown {
        rest = rest.strip_prefix(&piece[..]).ok_or_else(|| {
            let equal = rest.iter().zip(&piece).take_while(|(new, old)| new == old).count();
            format!(
                "its new body of {} bytes does not begin with the old one; they differ at byte {}",
                body.len(),
                body.len() - rest.len() + equal
            )
        })?;
    }
    Ok(rest)
}

#[cfg(test)]
mod tests {
    use tamis::Stage;

    use super::*;

    fn transcript(body: Option<&[u8]>, edits: &[&'static str], verdict: Verdict) -> Transcript {
        let mut transcript = Transcript::default();
        for name in edits {
            let edit = Edit::AddHeader { name: Bytes::from_static(name.as_bytes()), value: Bytes::new() };
            transcript.said.push(Said::Edit(edit));
        }
        if let Some(body) = body {
            transcript.add_body(body);
        }
        transcript.said.push(Said::Verdict(Stage::EndOfMessage, verdict));
        transcript
    }

    fn said(expect: Expect, transcript: &Transcript) -> Result<(), String> {
        expect.verify(transcript, [&b"old "[..], b"body"].map(Bytes::from_static).into_iter())
    }

    #[test]
    fn each_expectation_takes_what_it_names_and_nothing_else() {
        let same = || Some(&b"old body"[..]);
        let longer = || Some(&b"old body and more"[..]);
        let filters = [
            transcript(None, &[], Verdict::Continue),
            transcript(None, &["X"], Verdict::Accept),
            transcript(longer(), &[], Verdict::Continue),
            transcript(same(), &[], Verdict::Continue),
            transcript(None, &[], Verdict::Reject),
        ];
        let expectations = [Expect::Nothing, Expect::Header, Expect::Footer, Expect::Body, Expect::Refused];
        for (at, expect) in expectations.into_iter().enumerate() {
            for (filter, transcript) in filters.iter().enumerate() {
                assert_eq!(said(expect, transcript).is_ok(), at == filter, "{expect:?}: {transcript:?}");
            }
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let other = transcript(Some(b"old bodies"), &[], Verdict::Continue);
        let text = "its new body of 10 bytes does not begin with the old one; they differ at byte 7";
        assert_eq!(said(Expect::Footer, &other).unwrap_err(), text);
        let two = transcript(None, &["X", "Y"], Verdict::Continue);
        assert!(said(Expect::Header, &two).unwrap_err().contains("\"Y\""));
        let discards = transcript(None, &[], Verdict::Discard);
        assert!(said(Expect::Nothing, &discards).unwrap_err().contains("discard at end-of-message"));
    }
}

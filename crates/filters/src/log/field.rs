//! What can be in a line.

use std::borrow::Cow;
use std::time::Duration;

use tamis::message::{Envelope, Facts, Text};

use crate::values::Value;

/// What can be in a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Outcome,
    Seconds,
    Size,
    Header(String),
    Known(Value),
}

/// A message that is over.
#[derive(Clone, Copy)]
pub(super) struct Over<'a> {
    pub(super) envelope: &'a Envelope,
    pub(super) facts: Facts<'a>,
    pub(super) headers: &'a [(String, Text)],
    pub(super) outcome: &'static str,
    pub(super) time: Duration,
    pub(super) size: u64,
}

impl Field {
    pub(super) fn named(name: &str) -> Result<Self, String> {
        match name {
            "outcome" => return Ok(Self::Outcome),
            "seconds" => return Ok(Self::Seconds),
            "size" => return Ok(Self::Size),
            _ => {}
        }
        if let Some(header) = name.strip_prefix("header:") {
            let is_name =
                !header.is_empty() && header.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':');
            return if is_name {
                Ok(Self::Header(header.to_owned()))
            } else {
                Err(format!("{header:?} is no name of a header field: write \"header:Subject\""))
            };
        }
        Value::find(name).map(Self::Known).ok_or_else(|| {
            let names = Value::names().collect::<Vec<_>>().join(", ");
            format!(
                "there is no field {name:?}: write one of outcome, seconds, size, {names}, header:NAME, macro:NAME"
            )
        })
    }

    /// Its name as it is written in a configuration.
    pub(super) fn name(&self) -> Cow<'static, str> {
        match self {
            Self::Outcome => "outcome".into(),
            Self::Seconds => "seconds".into(),
            Self::Size => "size".into(),
            Self::Header(name) => format!("header:{name}").into(),
            Self::Known(value) => value.name(),
        }
    }

    /// What it is of this message; none if that is not known.
    pub(super) fn text<'a>(&self, over: Over<'a>) -> Option<Cow<'a, [u8]>> {
        let own = |text: String| Some(Cow::Owned(text.into_bytes()));
        match self {
            Self::Outcome => Some(over.outcome.as_bytes().into()),
            Self::Seconds => own(format!("{:.3}", over.time.as_secs_f64())),
            Self::Size => own(over.size.to_string()),
            Self::Header(name) => {
                let found = over.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
                found.map(|(_, value)| value.as_bytes().into())
            }
            Self::Known(value) => value.text(over.envelope, over.facts),
        }
    }

    /// Whether its text is a number.
    pub(super) fn is_number(&self) -> bool {
        matches!(self, Self::Seconds | Self::Size | Self::Known(Value::RecipientCount))
    }
}

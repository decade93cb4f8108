//! Why a connection ended before its time.

use std::borrow::Cow;
use std::fmt::Debug;
use std::io;
use std::time::Duration;

use tamis::proto::{Error, Misuse};
use tamis::{Stage, Verdict};

/// What went wrong, as a kind to be counted and in full.
#[derive(Clone, Debug)]
pub(in crate::bench) struct Failure {
    pub(in crate::bench) kind: Cow<'static, str>,
    pub(in crate::bench) full: String,
}

impl Failure {
    pub(super) fn connect(error: &io::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::TimedOut => "connect-timed-out",
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => "connect-refused",
            _ => "connect",
        };
        Self { kind: kind.into(), full: format!("cannot connect: {error}") }
    }

    /// The filter reads nothing.
    pub(super) fn stuck(time: Duration) -> Self {
        let full = format!("the filter read nothing of a command for {time:?}");
        Self { kind: "write-timed-out".into(), full }
    }

    /// The filter does not close the connection after QUIT.
    pub(super) fn stays(time: Duration) -> Self {
        let full = format!("the filter did not close the connection within {time:?} after quit");
        Self { kind: "not-closed".into(), full }
    }

    pub(super) fn speaks_after_quit(bytes: &[u8]) -> Self {
        let full = format!("the filter sent {} bytes after quit", bytes.len());
        Self { kind: "unsolicited".into(), full }
    }

    pub(super) fn closed() -> Self {
        Self { kind: "closed".into(), full: "the filter closed the connection".to_owned() }
    }

    /// The filter wants nothing of the connection.
    pub(super) fn sits_out(stage: Stage, verdict: &Verdict) -> Self {
        let full = format!("the filter said {verdict} at {stage}: no message goes over such a connection");
        Self { kind: "no-messages".into(), full }
    }

    pub(super) fn too_much(full: String) -> Self {
        Self { kind: "too-much".into(), full }
    }

    pub(in crate::bench) fn plan(error: &anyhow::Error) -> Self {
        Self { kind: "misuse".into(), full: error.to_string() }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { kind: kebab(&error.fault).into(), full: error.to_string() }
    }
}

impl From<Misuse> for Failure {
    fn from(misuse: Misuse) -> Self {
        Self { kind: "misuse".into(), full: misuse.to_string() }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self { kind: kebab(&error.kind()).into(), full: format!("connection to the filter failed: {error}") }
    }
}

/// The name of a variant: `EndTooEarly` becomes `end-too-early`.
fn kebab(variant: &impl Debug) -> String {
    let text = format!("{variant:?}");
    let name = text.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
    let mut kebab = String::with_capacity(name.len() + 4);
    for c in name.chars() {
        if c.is_ascii_uppercase() && !kebab.is_empty() {
            kebab.push('-');
        }
        kebab.push(c.to_ascii_lowercase());
    }
    kebab
}

#[cfg(test)]
mod tests {
    use tamis::proto::Fault;

    use super::*;

    #[test]
    fn kinds_are_the_names_of_what_is_wrong_without_its_numbers() {
        assert_eq!(kebab(&Fault::EndTooEarly), "end-too-early");
        assert_eq!(kebab(&Fault::FrameTooLong { length: 9, limit: 8 }), "frame-too-long");
        assert_eq!(kebab(&io::ErrorKind::BrokenPipe), "broken-pipe");
    }
}

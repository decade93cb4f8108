//! What the harness needs of an MTA, whichever it is.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

/// The host name under which every instance runs.
pub const HOST_NAME: &str = "mx.tamis.test";

/// The MTAs that cases are run behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Postfix 3.7 or newer.
    #[default]
    Postfix,
    /// Sendmail 8.17.
    Sendmail,
}

impl Kind {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::Postfix, Self::Sendmail];

    /// The name that case files use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Postfix => "postfix",
            Self::Sendmail => "sendmail",
        }
    }

    /// The MTA of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// A running instance; it stops when dropped.
pub trait Mta: fmt::Debug + Send {
    /// Where it takes SMTP.
    fn smtp(&self) -> SocketAddr;

    /// What it has logged so far.
    fn log(&self) -> String;

    /// Waits until no message is on its way; what is held or deferred stays.
    ///
    /// Returns `false` if that did not happen in time.
    fn wait_until_idle(&self, patience: Duration) -> bool;

    /// Whether nothing is held or deferred.
    fn is_clear(&self) -> bool;

    /// The messages on hold.
    fn held(&self) -> Vec<Held>;

    /// The messages that could not be delivered, with what the MTA tells about them.
    fn deferred(&self) -> Vec<String>;

    /// Removes everything from the queue.
    fn clear(&self);
}

/// A message on hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The sender, without brackets.
    pub sender: String,
    /// The recipients, without brackets.
    pub recipients: Vec<String>,
    /// Header and body, with CRLF line ends.
    pub message: Vec<u8>,
}

/// Makes every line end of a stored message CRLF.
pub(crate) fn with_crlf(text: &[u8]) -> Vec<u8> {
    let lines = text.split_inclusive(|byte| *byte == b'\n');
    lines.flat_map(|line| [line.strip_suffix(b"\n").unwrap_or(line), b"\r\n"].concat()).collect()
}
